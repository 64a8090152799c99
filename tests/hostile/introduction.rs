//! Whoever is at the other end of the first connection, as an engine of the tests lets anybody be: only the plugin's first
//! process with its nonce gets in, once.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{fs, future};

use arc_swap::ArcSwap;
use futures_util::future::FutureExt as _;
use plugbay::config::Config;
use plugbay::databases::Databases;
use plugbay::denials::Denials;
use plugbay::domain::{
    DataId, Grants, Isolation, PluginConfig, PluginName, ResourceLimits, SessionId, SystemClock, Tools,
};
use plugbay::egress::{Egress, Exit, MostOut, SystemResolver};
use plugbay::host::{Asker, Host, HostParts, Rush, Uplink, Web};
use plugbay::protocol::{Initialize, PluginIdentity};
use plugbay::sandbox::{
    EngineFuture, EngineInfo, EntryPoint, FoundSandbox, Network, Pace, RunningSandbox, Sandbox, SandboxError,
    SandboxEvent, SandboxExit, SandboxSpec, Usage,
};
use plugbay::session::{LaunchError, LaunchOrder, PluginLog, SessionLimits, Surroundings, launch};
use plugbay::shutdown::Shutdown;
use plugbay::store::{Missing, Store};
use serde_json::{Value, json};

use super::served::short_folder;

/// What comes into the folder in the place of a sandbox. Its connections stay open as long as what is given back.
type Guest = fn(&Path) -> Vec<UnixStream>;

/// Time for the whole introduction.
const START: Duration = Duration::from_millis(500);

#[derive(Debug)]
struct Impostor {
    guest: Guest,
    pid: i32,
    removed: AtomicUsize,
}

fn nobody<'a, T: Send + 'a>() -> EngineFuture<'a, T> {
    future::pending().boxed()
}

impl Sandbox for Impostor {
    fn isolation(&self) -> Option<Isolation> {
        Some(Isolation::Docker)
    }

    fn probe(&self) -> EngineFuture<'_, EngineInfo> {
        nobody()
    }

    fn plan<'a>(&'a self, _spec: &'a SandboxSpec) -> EngineFuture<'a, Value> {
        nobody()
    }

    fn start<'a>(&'a self, spec: &'a SandboxSpec) -> EngineFuture<'a, RunningSandbox> {
        let (guest, folder) = (self.guest, spec.instance_dir.clone());
        std::thread::spawn(move || {
            let connections = guest(&folder);
            // Until the service is done with it.
            while folder.exists() {
                std::thread::sleep(Duration::from_millis(5));
            }
            drop(connections);
        });
        let (id, image, weaker) = ("x".to_owned(), String::new(), Vec::new());
        future::ready(Ok(RunningSandbox { id, pid: self.pid, image, weaker })).boxed()
    }

    fn pace<'a>(&'a self, _id: &'a str, _spec: &'a SandboxSpec, _pace: Pace) -> EngineFuture<'a, ()> {
        future::ready(Ok(())).boxed()
    }

    fn check_report(&self, _spec: &SandboxSpec, _report: &Value) -> Result<(), SandboxError> {
        Ok(())
    }

    fn wait<'a>(&'a self, _id: &'a str) -> EngineFuture<'a, SandboxExit> {
        nobody()
    }

    fn remove<'a>(&'a self, _id: &'a str) -> EngineFuture<'a, ()> {
        self.removed.fetch_add(1, Ordering::Relaxed);
        future::ready(Ok(())).boxed()
    }

    fn pause<'a>(&'a self, _id: &'a str) -> EngineFuture<'a, ()> {
        nobody()
    }

    fn resume<'a>(&'a self, _id: &'a str) -> EngineFuture<'a, ()> {
        nobody()
    }

    fn usage<'a>(&'a self, _id: &'a str) -> EngineFuture<'a, Usage> {
        nobody()
    }

    fn list(&self) -> EngineFuture<'_, Vec<FoundSandbox>> {
        nobody()
    }

    fn events(&self) -> EngineFuture<'_, futures_util::stream::BoxStream<'static, SandboxEvent>> {
        nobody()
    }
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

/// Why a sandbox with this guest does not start: the reason, and the text. Nothing of it may be left.
async fn refusal(guest: Guest, uid: u32, pid: i32) -> (&'static str, String) {
    let folder = short_folder();
    let engine = Arc::new(Impostor { guest, pid, removed: AtomicUsize::new(0) });
    let clock = Arc::new(SystemClock);
    let (id, name, version) = (
        format!("plugin_{}", "0".repeat(32)).parse().unwrap(),
        "guest".parse().unwrap(),
        semver::Version::new(1, 0, 0),
    );
    let limits = ResourceLimits::default();
    let spec = SandboxSpec {
        instance: "ours".to_owned(),
        session: SessionId::generate(),
        plugin_id: id,
        name,
        version: version.clone(),
        image: String::new(),
        uid,
        limits,
        entry_point: EntryPoint::Stdio { program: "main".to_owned() },
        package: PathBuf::new(),
        runtime: PathBuf::new(),
        instance_dir: PathBuf::new(),
        network: Network::None,
        data: None,
        folders: Vec::new(),
    };
    let plugin = PluginIdentity { id: spec.plugin_id, name: spec.name.clone(), version };
    let order = LaunchOrder {
        config_revision: 0,
        initialize: Initialize { plugin, config: PluginConfig::default(), grants: json!([]), limits },
        spec,
        methods: Vec::new(),
        commands: Vec::new(),
        tools: Tools::default(),
        limits: SessionLimits { message_bytes: 4 << 20, start: START, health_interval: START },
        run_dir: folder.path().to_owned(),
    };
    let log = Arc::new(PluginLog::new(folder.path().join("log"), clock.clone()));
    let store = Store::open(&folder.path().join("plugbay.db"), Missing::Create).await.unwrap();
    let (denials, _reports) = Denials::new();
    let config = Config::for_testing(folder.path());
    let shutdown = Shutdown::default();
    let databases = Databases::new(&BTreeMap::new(), &config.databases, 0, shutdown.clone());
    let egress =
        Egress::new(config.egress.clone(), Arc::new(SystemResolver::default()), denials.clone(), shutdown.clone())
            .unwrap();
    let (name, grants): (PluginName, Arc<ArcSwap<Grants>>) = ("introduced".parse().unwrap(), Arc::default());
    let exit = Arc::new(Exit::new(id, name.clone(), grants.clone(), MostOut { tunnels: 1, relays: 1 }));
    let data = DataId { plugin: id, generation: 0 };
    let asker = Asker { id, name, grants, secrets: Arc::default(), exit, data };
    let (uplink, _requests) = Uplink::channel();
    let web = Web::new(egress, &config);
    let parts = HostParts {
        store,
        clock: clock.clone(),
        databases,
        denials,
        kv_bytes: 0,
        web,
        uplink,
        meters: Arc::default(),
        rush: Rush::default(),
        stand_in: None,
    };
    let host = Host::new(asker, parts);
    let around = Surroundings { engine: engine.clone(), log, host, clock, shutdown, data: None };
    let began = Instant::now();
    let error = launch(order, around, &|_state| {}).await.unwrap_err();
    assert!(began.elapsed() < START * 2, "{:?}", began.elapsed());
    assert_eq!(engine.removed.load(Ordering::Relaxed), 1, "the sandbox is removed");
    let left = fs::read_dir(folder.path()).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir()).count();
    assert_eq!(left, 0, "the folder is removed");
    let LaunchError::Plugin(failure) = error else { panic!("{error}") };
    (failure.reason, failure.text)
}

fn join(folder: &Path) -> Vec<UnixStream> {
    // Who is refused by the first finds no second.
    ["host.sock", "log.sock"].iter().filter_map(|name| UnixStream::connect(folder.join(name)).ok()).collect()
}

fn say(folder: &Path, nonce: &str, more: &str) -> Vec<UnixStream> {
    let mut connections = join(folder);
    let params = format!("{{\"nonce\":\"{nonce}\",\"protocol\":1,\"report\":{{{more}}}}}");
    connections[0]
        .write_all(format!("{{\"jsonrpc\":\"2.0\",\"method\":\"hello\",\"params\":{params}}}\n").as_bytes())
        .ok();
    connections
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_not_the_plugin_is_shut_out() {
    let (reason, text) = refusal(|folder| say(folder, &"0".repeat(64), ""), own_uid(), own_pid()).await;
    assert_eq!((reason, text.as_str()), ("wrong-peer", "the nonce is not the one of this session"));
    let (reason, text) = refusal(|folder| say(folder, "", ""), own_uid(), own_pid()).await;
    assert_eq!((reason, text.as_str()), ("wrong-peer", "the nonce is not the one of this session"));
    let good: Guest = |folder| say(folder, &fs::read_to_string(folder.join("nonce")).unwrap(), "");
    let (reason, text) = refusal(good, own_uid() + 200_000, own_pid()).await;
    assert!(reason == "wrong-peer" && text.contains("connected instead of uid"), "{reason}: {text}");
    let (reason, text) = refusal(good, own_uid(), own_pid() + 1).await;
    assert!(reason == "wrong-peer" && text.contains("connected instead of uid"), "{reason}: {text}");
    // With everything right it is let in, and only then asked for more.
    let (reason, text) = refusal(good, own_uid(), own_pid()).await;
    assert!(reason == "start-timeout" && text.contains("initialize"), "{reason}: {text}");
    // Nobody comes in beside it: the name is gone once it was connected to.
    let second: Guest = |folder| {
        let mut connections = say(folder, &fs::read_to_string(folder.join("nonce")).unwrap(), "");
        while folder.join("nonce").exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        for name in ["host.sock", "log.sock"] {
            if let Ok(more) = UnixStream::connect(folder.join(name)) {
                connections.push(more);
            }
        }
        assert_eq!(connections.len(), 2, "a second connect finds nothing");
        // Which the service sees as the end of the one that may speak.
        Vec::new()
    };
    let (reason, _) = refusal(second, own_uid(), own_pid()).await;
    assert_ne!(reason, "wrong-peer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_connects_or_never_says_hello_fails_to_start() {
    let silent: [(&str, Guest); 4] = [
        ("nobody comes", |_folder| Vec::new()),
        ("only the log", |folder| vec![UnixStream::connect(folder.join("log.sock")).unwrap()]),
        ("says nothing", join),
        ("half a line", |folder| {
            let mut connections = join(folder);
            connections[0].write_all(b"{\"jsonrpc\":\"2.0\"").unwrap();
            connections
        }),
    ];
    for (what, guest) in silent {
        let (reason, text) = refusal(guest, own_uid(), own_pid()).await;
        assert_eq!(reason, "never-connected", "{what}: {text}");
    }
    let rude: [(&str, Guest); 3] = [
        ("hangs up", |folder| {
            drop(join(folder));
            Vec::new()
        }),
        ("no hello", |folder| {
            let mut connections = join(folder);
            connections[0].write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            connections
        }),
        ("too long", |folder| say(folder, "", &"x".repeat(100_000))),
    ];
    for (what, guest) in rude {
        let (reason, text) = refusal(guest, own_uid(), own_pid()).await;
        assert_eq!(reason, "wrong-peer", "{what}: {text}");
    }
}
