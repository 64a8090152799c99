//! Plugins that take all they can get of what the service shares: its database, its lookups of names. Beside them a
//! neighbour uses every kind of host function, and operators work.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::{FutureExt as _, join_all};
use plugbay::domain::Isolation;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;
use tokio::task::{JoinSet, block_in_place};

use super::bench::PATIENCE;
use super::client::{Client, fixture};
use super::hosts::{Host, Speaks};
use super::kind::kind;
use super::machine::Machine;
use super::support::app::Answer;
use super::support::process::Process;
use super::target::{Attack, TURN, Target, attack};

/// Five times what operators are promised.
const SLOWEST: Duration = Duration::from_millis(2_500);

/// Five times what they are promised at the median.
const USUAL: Duration = Duration::from_secs(1);

/// Five times what callers of neighbours are promised.
const SLOWEST_CALL: Duration = Duration::from_millis(1_250);

/// Requests of one call that tries everything.
const WAYS: u32 = 8;

/// How many times longer something may take than without any flood, where that is more than what is promised. That is so
/// for starts and ends alone: they compute for a while, and so do fourteen plugins, as much as they are let.
const FEW: u32 = 40;

/// How often everything is asked for.
const ROUNDS: usize = 12;

/// Plugins that flood small values, half of them with lists and half with changes.
const LOUD: usize = 8;

/// Plugins that ask for names whose servers never answer.
const DEAF: usize = 6;

/// Where a name server is that never answers.
const NAME_SERVER: &str = "127.53.53.53:53";

/// Keys that a list has.
const KEYS: usize = 4_000;

/// Every kind of host function.
const PERMISSIONS: [&str; 8] = [
    "filesystem_read",
    "filesystem_write",
    "network_access",
    "database_read",
    "database_write",
    "api_access",
    "chat_access",
    "admin_access",
];

pub(crate) const TABLE: &[Attack] =
    &[attack(&[], "callers that do not read their answers", |target| unread(target).boxed()).within(UNREAD_GROWTH)];

/// 16 MiB of answers, ten copies of the one call under way, and what the allocator does not give back at once.
const UNREAD_GROWTH: u64 = 128 << 20;

/// Callers that get an answer each that is longer than what the system keeps for them.
const SILENT: usize = 96;

/// The least that the system lets a caller have for what it has not read.
const UNREAD_BYTES: u32 = 4096;

/// What the system does not keep of the answers stays with the service, which has 16 MiB for all of them. The system
/// keeps up to 2.6 MiB for each; an answer that is not read to its end keeps its memory as a whole, 360 MiB in all.
async fn unread(target: &Target) {
    target.run(&fixture("probe")).await;
    let body = json!({"context": {"text": "x".repeat(3_900_000)}}).to_string();
    let head = format!(
        "POST /api/plugins/probe/execute HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        target.token,
        body.len()
    );
    let mut held = Vec::new();
    for _ in 0..SILENT {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(UNREAD_BYTES).unwrap();
        let mut caller = socket.connect(target.address).await.unwrap();
        caller.write_all(head.as_bytes()).await.unwrap();
        caller.write_all(body.as_bytes()).await.unwrap();
        let mut begun = [0; 12];
        let peeked = tokio::time::timeout(PATIENCE, caller.peek(&mut begun)).await;
        peeked.expect("an answer comes").unwrap();
        assert_eq!(&begun, b"HTTP/1.1 200", "{}", String::from_utf8_lossy(&begun));
        held.push(caller);
    }
}

struct World {
    process: Process,
    client: Client,
    machine: Machine,
    _api: Host,
    _folder: TempDir,
    _name_server: UdpSocket,
}

/// What an operator names.
fn resources(folder: &TempDir, api: u16) -> String {
    let root = folder.path();
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["docs", "drop"] {
        fs::create_dir(root.join(name)).unwrap();
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o777)).unwrap();
        fs::write(root.join(name).join("letter"), name).unwrap();
        fs::set_permissions(root.join(name).join("letter"), fs::Permissions::from_mode(0o666)).unwrap();
    }
    let database = rusqlite::Connection::open(root.join("chat.db")).unwrap();
    database.execute_batch("CREATE TABLE notes (text TEXT NOT NULL) STRICT").unwrap();
    let root = root.display();
    format!(
        "sandbox: {{ engine: {} }}\negress: {{ allow_private: [allowed.test] }}\nresources:\n  folders: {{ docs: {{ path: {root}/docs }}, drop: {{ path: {root}/drop }} }}\n  \
         databases: {{ chat: {{ url: \"sqlite://{root}/chat.db\" }} }}\n  \
         apis: {{ chat: {{ base_url: \"http://127.0.0.1:{api}\", allow: [\"GET /v1/notes\"] }} }}\n",
        kind()
    )
}

impl World {
    /// `None` where the engine may be left out and is. Only beside the process engine the machine's name servers can be
    /// replaced for the service alone: Docker would not see what is mounted for it.
    fn start() -> Option<Self> {
        Machine::new()?;
        let (folder, api) = (tempfile::tempdir().unwrap(), Host::start(Speaks::Plain));
        let machine = Machine::with_config(&resources(&folder, api.port));
        let name_server = UdpSocket::bind(NAME_SERVER).unwrap();
        let (process, client) = if kind() == Isolation::Process {
            let servers = folder.path().join("resolv.conf");
            fs::write(&servers, format!("nameserver {}\n", name_server.local_addr().unwrap().ip())).unwrap();
            // Nothing listens there, which is known at once.
            fs::write(folder.path().join("hosts"), "127.0.0.1 localhost allowed.test\n").unwrap();
            let root = folder.path().display();
            let mount = |name| format!("mount --bind {root}/{name} /etc/{name}");
            machine.serve_elsewhere(&format!("{} && {}", mount("resolv.conf"), mount("hosts")))
        } else {
            machine.serve()
        };
        Some(Self { process, client, machine, _api: api, _folder: folder, _name_server: name_server })
    }

    /// Installs a plugin under this name with more in its manifest, grants something, and starts it.
    async fn run(&self, plugin: &str, name: &str, more: &str, grant: &[&str]) {
        let manifest = fs::read_to_string(fixture(plugin).join("plugin.yaml")).unwrap();
        let rest = manifest.split_once('\n').unwrap().1.replace("PORT", "1");
        self.client.add(&fixture(plugin), &[("plugin.yaml", &format!("name: {name}\n{rest}{more}"))]).await;
        if !grant.is_empty() {
            let body = json!({ "grant": grant });
            self.client.post(&format!("/api/plugins/{name}/permissions/approve"), &body).await.expect(200);
        }
        self.client.enable(name).await.expect(200);
    }
}

fn asking(function: &str, params: &Value, times: usize) -> Value {
    json!({ "context": { "function": function, "params": params, "times": times } })
}

/// Calls without end until the flood is over.
fn flood(floods: &mut JoinSet<()>, client: &Client, name: &str, over: &Arc<AtomicBool>, body: fn(usize) -> Value) {
    let number = Arc::new(AtomicUsize::new(0));
    for _ in 0..2 {
        let (client, over, name, number) = (client.clone(), Arc::clone(over), name.to_owned(), Arc::clone(&number));
        floods.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                client.execute(&name, &body(number.fetch_add(1, Ordering::Relaxed))).await;
            }
        });
    }
}

/// How long everything took that was asked for by one name.
#[derive(Default)]
struct Taken(Vec<Duration>);

impl Taken {
    async fn measure<T>(&mut self, work: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let found = work.await;
        self.0.push(began.elapsed());
        found
    }

    /// The median, and the slowest but one: of so few, one may have met something else on the machine.
    fn figures(&mut self) -> (Duration, Duration) {
        self.0.sort_unstable();
        (self.0[self.0.len() / 2], self.0[self.0.len() - 2])
    }
}

/// What operators do.
const OPERATORS: [&str; 6] = ["list", "show", "limits", "disable", "enable", "token create"];

async fn operate(client: &Client, what: &str) -> Answer {
    match what {
        "list" => client.get("/api/plugins").await,
        "show" => client.get("/api/plugins/everything").await,
        "limits" => client.put("/api/plugins/resting/limits", &json!({"memory_mb": 64})).await,
        "disable" => client.disable("switched").await,
        "enable" => client.enable("switched").await,
        _ => client.post("/api/tokens", &json!({"label": "made meanwhile", "scopes": ["read"]})).await,
    }
}

/// What callers of a neighbour do.
async fn neighbours(client: &Client, messages: &str, taken: &mut [(&'static str, Taken)]) {
    for (function, times) in taken.iter_mut() {
        let params = match *function {
            "kv.set" => json!({"key": "own", "value": 1}),
            "kv.get" | "kv.delete" => json!({"key": "own"}),
            _ => json!({}),
        };
        let answer = match *function {
            "everything" => times.measure(client.call("everything", "execute", json!({"port": 1}))).await,
            "chat" => times.measure(client.post(messages, &json!({"text": "/everything", "user": "ada"}))).await,
            _ => times.measure(client.execute("calm", &asking(function, &params, 1))).await,
        };
        assert_eq!(answer.status, 200, "{function}: {}", answer.text);
        if *function == "everything" {
            let tried = answer.json()["result"].take();
            for way in ["database_read", "database_write", "api_access", "admin_access", "filesystem_read"] {
                assert_eq!(tried[way], "open", "{tried}");
            }
        }
    }
}

/// Shows all figures before one of them ends the test.
fn show(taken: &mut [(&str, Taken)], alone: &mut [(&str, Taken)]) {
    for ((what, taken), (_, alone)) in taken.iter_mut().zip(alone) {
        let ((usual, slowest), (alone, _)) = (taken.figures(), alone.figures());
        println!("    {what}: usually {usual:?}, at worst {slowest:?}, alone {alone:?}");
    }
}

/// What takes long on a machine that is busy anyway may take a few times as long beside fourteen busy plugins.
fn judge(taken: &mut [(&str, Taken)], alone: &mut [(&str, Taken)], (promised, at_worst): (Duration, Duration)) {
    for ((what, taken), (_, alone)) in taken.iter_mut().zip(alone) {
        let ((usual, slowest), (alone, _)) = (taken.figures(), alone.figures());
        let most = |promised: Duration| promised.max(alone * FEW);
        assert!(usual < most(promised) && slowest < most(at_worst), "{what}: usually {usual:?}, at worst {slowest:?}");
    }
}

pub(crate) async fn run() {
    let _turn = TURN.lock().await;
    let Some(mut world) = block_in_place(World::start) else { return };
    for name in ["calm", "switched", "resting"] {
        world.run("asker", name, "", &[]).await;
    }
    world.run("everything", "everything", "", &PERMISSIONS).await;
    let loud: Vec<_> = (0..LOUD).map(|number| format!("loud-{number}")).collect();
    let deaf: Vec<_> = (0..DEAF).map(|number| format!("deaf-{number}")).collect();
    for name in &loud {
        world.run("asker", name, "", &[]).await;
    }
    let network = "optional_permissions: [network_access]\nnetwork: { allow: [\"*.silent.example\"] }\n";
    for name in &deaf {
        world.run("asker", name, network, &["network_access"]).await;
    }
    // Lists are long.
    join_all(loud.iter().step_by(2).map(async |name| {
        for at in 0..KEYS / 500 {
            let many = json!({"context": {"function": "kv.set", "from": at * 500, "count": 500}});
            world.client.execute(name, &many).await.expect(200);
        }
    }))
    .await;
    let made = world.client.post("/api/chat/conversations", &json!({})).await.expect(201);
    let messages = format!("/api/chat/conversations/{}/messages", made["id"].as_str().unwrap());
    let calls = ["everything", "chat", "kv.get", "kv.set", "kv.list", "kv.delete"];
    let (mut calling, mut calling_alone) =
        (calls.map(|what| (what, Taken::default())), calls.map(|what| (what, Taken::default())));
    let mut alone = OPERATORS.map(|what| (what, Taken::default()));
    for _ in 0..3 {
        for (what, taken) in &mut alone {
            assert!(taken.measure(operate(&world.client, what)).await.status.is_success(), "{what}");
        }
        neighbours(&world.client, &messages, &mut calling_alone).await;
    }
    let (over, mut floods) = (Arc::<AtomicBool>::default(), JoinSet::new());
    for (number, name) in loud.iter().enumerate() {
        let body: fn(usize) -> Value = if number % 2 == 0 {
            |_| asking("kv.list", &json!({}), 60)
        } else {
            |at| asking("kv.set", &json!({"key": format!("key-{}", at % 50), "value": at}), 60)
        };
        flood(&mut floods, &world.client, name, &over, body);
    }
    for name in &deaf {
        flood(&mut floods, &world.client, name, &over, |at| {
            asking("http.fetch", &json!({"url": format!("https://n{at}.silent.example/")}), 16)
        });
    }
    let mut operating = OPERATORS.map(|what| (what, Taken::default()));
    for _ in 0..ROUNDS {
        for (what, taken) in &mut operating {
            let answer = taken.measure(operate(&world.client, what)).await;
            assert!(answer.status.is_success(), "{what}: {}", answer.text);
        }
        neighbours(&world.client, &messages, &mut calling).await;
    }
    over.store(true, Ordering::Relaxed);
    show(&mut operating, &mut alone);
    show(&mut calling, &mut calling_alone);
    judge(&mut operating, &mut alone, (USUAL, SLOWEST));
    // Of these the neighbour makes many requests, one after the other.
    let (long, short) = calling.split_at_mut(2);
    let (long_alone, short_alone) = calling_alone.split_at_mut(2);
    judge(long, long_alone, (WAYS * SLOWEST_CALL, WAYS * SLOWEST_CALL));
    judge(short, short_alone, (SLOWEST_CALL, SLOWEST));
    floods.abort_all();
    let began = Instant::now();
    assert!(block_in_place(|| world.process.stop()).success(), "{}", world.process.log());
    assert!(began.elapsed() < Duration::from_secs(20), "the service stops: {:?}", began.elapsed());
    drop(world.machine);
}
