//! An engine that is away, dies, or hangs. These tests have a dockerd of their own, which they may end.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::bench::docker;
use super::client::{Client, fixture};
use super::kind::docker_is_there;
use super::machine::Machine;
use super::served::short_folder;
use super::support::process::until;

/// Longest wait for dockerd to come and go.
const DOCKERD: Duration = Duration::from_secs(30);

/// The time in which plugins must be back once their engine is.
const BACK: Duration = Duration::from_secs(15);

/// Everything a caller may be told while the engine comes and goes.
const DOCUMENTED: [&str; 5] =
    ["plugin-crashed", "plugin-restarting", "plugin-timeout", "engine-unavailable", "plugin-busy"];

/// A dockerd with folders and containers of its own, without networks.
struct Dockerd {
    folder: TempDir,
    child: Option<Child>,
}

impl Dockerd {
    /// Not yet started; `None` where Docker may be left out and is.
    fn new() -> Option<Self> {
        docker_is_there().then(|| Self { folder: short_folder(), child: None })
    }

    fn host(&self) -> String {
        format!("unix://{}/s", self.folder.path().display())
    }

    /// After a kill its containerd may need a second try, which an init system would make.
    fn start(&mut self) {
        let started = (0..3).any(|_| self.try_start());
        assert!(started, "{}", fs::read_to_string(self.folder.path().join("log")).unwrap());
        if self.docker(&["image", "inspect", "plugbay/python:3"]).is_err() {
            let archive = self.folder.path().join("image.tar");
            let archive = archive.to_str().unwrap();
            docker(&["save", "--output", archive, "plugbay/python:3"]).unwrap();
            self.docker(&["load", "--input", archive]).unwrap();
            fs::remove_file(archive).unwrap();
        }
    }

    #[expect(clippy::disallowed_methods, reason = "an engine that may be ended")]
    fn try_start(&mut self) -> bool {
        let path = |name: &str| self.folder.path().join(name);
        let log = || Stdio::from(fs::File::options().append(true).create(true).open(path("log")).unwrap());
        // What a killed one left names a process that is not there any more.
        fs::remove_file(path("pid")).ok();
        let mut command = Command::new("dockerd");
        command.arg("--data-root").arg(path("data")).arg("--exec-root").arg(path("exec"));
        command.arg("--pidfile").arg(path("pid")).arg("--host").arg(self.host());
        command.args(["--bridge=none", "--iptables=false", "--ip6tables=false"]);
        let mut child = command.stdin(Stdio::null()).stdout(log()).stderr(log()).spawn().unwrap();
        let mut has_ended = false;
        until("dockerd answers", DOCKERD, || {
            has_ended = child.try_wait().unwrap().is_some();
            has_ended || self.docker(&["version"]).is_ok()
        });
        self.child = Some(child).filter(|_| !has_ended);
        !has_ended
    }

    fn docker(&self, arguments: &[&str]) -> Result<String, String> {
        docker(&[&["--host", &self.host()], arguments].concat())
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.as_ref().unwrap().id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    fn end(&mut self, signal: Signal) {
        self.signal(signal);
        let mut child = self.child.take().unwrap();
        until("dockerd ends", DOCKERD, || child.try_wait().unwrap().is_some());
    }

    /// The configuration of a service that uses it.
    fn config(&self) -> String {
        format!("sandbox: {{ docker_host: \"{}\" }}\n", self.host())
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.signal(Signal::CONT);
            // It ends its containers first.
            self.end(Signal::TERM);
        }
        // What containers of a killed one were mounted on stays.
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let below = mounts
            .lines()
            .filter_map(|line| line.split(' ').nth(1))
            .filter(|path| Path::new(path).starts_with(self.folder.path()));
        for path in below {
            #[expect(clippy::disallowed_methods, reason = "removes what dockerd left")]
            Command::new("umount").args(["--lazy", path]).status().ok();
        }
    }
}

/// Runs what blocks beside everything else.
fn blocking<T>(what: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(what)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_without_engine_says_what_helps_and_starts_its_plugins_later() {
    let Some(mut dockerd) = Dockerd::new() else { return };
    let machine = Machine::with_config(&dockerd.config());
    let (mut process, client) = machine.serve();
    let ready = client.get("/readyz").await.expect(503);
    assert!(ready["checks"]["engine"].as_str().unwrap().contains("Docker"), "{ready}");
    assert_eq!(client.get("/healthz").await.text, "ok\n");
    client.add(&fixture("probe"), &[]).await;
    let began = Instant::now();
    let answer = client.enable("probe").await;
    let problem = answer.expect_problem(503, "engine-unavailable");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(answer.headers.contains_key("retry-after"));
    assert!(problem["how"].to_string().contains("docker"), "{problem}");
    let plugin = client.plugin("probe").await;
    assert_eq!((&plugin["status"], &plugin["state"]), (&json!("enabled"), &json!("error")), "the wish is kept");
    let answer = client.call("probe", "execute", json!({})).await;
    answer.expect_problem(503, "engine-unavailable");
    assert!(answer.headers.contains_key("retry-after"));

    // The wish can be taken back, and had again.
    let disabled = client.disable("probe").await.expect(200);
    assert_eq!((&disabled["status"], &disabled["state"]), (&json!("disabled"), &json!("unloaded")));
    client.enable("probe").await.expect_problem(503, "engine-unavailable");

    blocking(|| dockerd.start());
    let began = Instant::now();
    client.until_active("probe").await;
    println!("active {:?} after dockerd was there", began.elapsed());
    assert!(began.elapsed() < BACK);
    client.result("probe", "execute", json!({})).await;
    client.get("/readyz").await.expect(200);
    assert!(blocking(|| process.stop()).success(), "{}", process.log());
    assert_eq!(dockerd.docker(&["ps", "--all", "--quiet"]).unwrap(), "");
}

/// Calls two plugins until told to stop. Every call must end in its time and with a documented code.
async fn load(client: &Client, stop: &AtomicBool) -> (usize, Vec<String>) {
    let caller = async |number: usize| {
        let (mut good, mut codes) = (0, Vec::new());
        let name = ["one", "two"][number % 2];
        while !stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            let context = json!({"seconds": ([0.0, 0.05, 0.5][number % 3])});
            let body = json!({"method": "sleep", "context": context, "timeout_ms": 3_000});
            let answer = client.execute(name, &body).await;
            assert!(began.elapsed() < Duration::from_secs(5), "{:?} for {}", began.elapsed(), answer.text);
            if answer.status == 200 {
                good += 1;
                continue;
            }
            let problem = answer.json();
            let code = problem["code"].as_str().unwrap().to_owned();
            assert!(DOCUMENTED.contains(&code.as_str()), "{problem}");
            codes.push(code);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        (good, codes)
    };
    let all = join_all((0..8).map(caller)).await;
    let mut codes: Vec<String> = all.iter().flat_map(|(_, codes)| codes.clone()).collect();
    codes.sort();
    codes.dedup();
    (all.iter().map(|(good, _)| good).sum(), codes)
}

async fn restarts(client: &Client) -> Vec<Value> {
    join_all(["one", "two"].map(|name| client.plugin(name)))
        .await
        .iter()
        .map(|plugin| plugin["restarts"].clone())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_dies_under_load_hangs_nobody_and_plugins_are_soon_back() {
    let Some(mut dockerd) = Dockerd::new() else { return };
    blocking(|| dockerd.start());
    let machine = Machine::with_config(&dockerd.config());
    let (mut process, client) = machine.serve();
    for name in ["one", "two"] {
        client.add_as(&fixture("probe"), name).await;
        client.enable(name).await.expect(200);
    }
    for signal in [Signal::TERM, Signal::KILL] {
        let stop = AtomicBool::new(false);
        let scenario = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            blocking(|| dockerd.end(signal));
            // Some calls meet the engine's absence.
            tokio::time::sleep(Duration::from_secs(2)).await;
            blocking(|| dockerd.start());
            let began = Instant::now();
            for name in ["one", "two"] {
                while client.call(name, "execute", json!({})).await.status != 200 {
                    assert!(began.elapsed() < BACK, "{}", client.plugin(name).await);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                let plugin = client.until_active(name).await;
                assert_eq!(plugin["status"], "enabled", "{plugin}");
            }
            let back = began.elapsed();
            tokio::time::sleep(Duration::from_secs(1)).await;
            stop.store(true, Ordering::Relaxed);
            back
        };
        let ((good, codes), back) = tokio::join!(load(&client, &stop), scenario);
        let restarts = restarts(&client).await;
        println!("{signal:?}: back {back:?} after dockerd; {good} calls answered, others told {codes:?}; {restarts:?}");
        assert!(back < BACK, "{back:?}");
    }
    assert!(blocking(|| process.stop()).success(), "{}", process.log());
    assert_eq!(dockerd.docker(&["ps", "--all", "--quiet"]).unwrap(), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_is_stopped_without_its_engine_and_swept_when_it_is_back() {
    let Some(mut dockerd) = Dockerd::new() else { return };
    blocking(|| dockerd.start());
    let machine = Machine::with_config(&dockerd.config());
    let (mut process, client) = machine.serve();
    client.run(&fixture("probe")).await;
    blocking(|| dockerd.end(Signal::KILL));
    // Calls need no engine.
    client.result("probe", "execute", json!({})).await;
    let began = Instant::now();
    let disabled = client.disable("probe").await.expect(200);
    println!("disabled without dockerd after {:?}", began.elapsed());
    assert_eq!(disabled["state"], "unloaded");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    client.until_logged("probe", "cleaned up").await;
    blocking(|| dockerd.start());
    blocking(|| until("it is swept", BACK, || dockerd.docker(&["ps", "--all", "--quiet"]).unwrap().is_empty()));
    client.enable("probe").await.expect(200);
    client.result("probe", "execute", json!({})).await;
    assert!(blocking(|| process.stop()).success(), "{}", process.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_hangs_slows_neither_reads_nor_calls() {
    let Some(mut dockerd) = Dockerd::new() else { return };
    blocking(|| dockerd.start());
    let machine = Machine::with_config(&dockerd.config());
    let (mut process, client) = machine.serve();
    for name in ["one", "two"] {
        client.add_as(&fixture("probe"), name).await;
        client.enable(name).await.expect(200);
    }
    dockerd.signal(Signal::STOP);
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    while began.elapsed() < Duration::from_secs(4) {
        let one = Instant::now();
        for path in
            ["/healthz", "/readyz", "/api/plugins", "/api/plugins/one", "/api/plugins/one/health", "/api/system"]
        {
            client.get(path).await;
        }
        client.result("one", "execute", json!({})).await;
        slowest = slowest.max(one.elapsed());
    }
    println!("slowest round of six reads and a call while dockerd hung: {slowest:?}");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    let one = Instant::now();
    client.get("/api/plugins/one/stats").await.expect(200);
    println!("stats while dockerd hung: {:?}", one.elapsed());
    assert!(one.elapsed() < Duration::from_secs(3), "{:?}", one.elapsed());
    // A plugin that ends now cannot be started again until the engine goes on, and its callers hear of both.
    let problem = client.call("two", "crash", json!({"code": 3})).await.expect_problem(502, "plugin-crashed");
    assert_eq!(problem["exit_code"], 3, "the shim's word needs no engine");
    let body = json!({"context": {}, "timeout_ms": 2_000});
    let one = Instant::now();
    let answer = client.execute("two", &body).await;
    println!("a call of the other: {} after {:?}", answer.json()["code"], one.elapsed());
    assert!(DOCUMENTED.contains(&answer.json()["code"].as_str().unwrap()), "{}", answer.text);
    assert!(one.elapsed() < Duration::from_secs(3), "{:?}", one.elapsed());
    dockerd.signal(Signal::CONT);
    let began = Instant::now();
    client.until_active("two").await;
    println!("active {:?} after dockerd went on", began.elapsed());
    assert!(began.elapsed() < BACK);
    assert_eq!(client.result("two", "execute", json!({})).await, json!({"echo": {}}));
    assert_eq!(client.plugin("one").await["restarts"], 0);
    assert!(blocking(|| process.stop()).success(), "{}", process.log());
    assert_eq!(dockerd.docker(&["ps", "--all", "--quiet"]).unwrap(), "");
}
