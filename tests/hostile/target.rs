//! A service in a process of its own, a neighbour, and what is checked around every attack: the neighbour answers, the
//! service stays small, and nothing is left behind.

use std::fs;
use std::ops::Deref;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::{BoxFuture, join_all};
use plugbay::domain::Isolation;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::task::block_in_place;

use super::bench::{PATIENCE, docker};
use super::client::{Client, fixture};
use super::kind::{kind, sandboxes};
use super::left;
use super::machine::Machine;
use super::neighbour::{self, Caller};
use super::support::app::Answer;
use super::support::process::{Process, until};

/// How much the service may grow at any moment of an attack.
const GROWTH: u64 = 64 << 20;

/// How much may be written to the data directory: two files of the log, the database, the package.
const WRITTEN: u64 = 12 << 20;

/// Descriptors that connections of the tests themselves take.
const DESCRIPTORS: usize = 24;

/// The longest a broken rule takes to be told.
const AT_ONCE: Duration = Duration::from_secs(2);

/// One service at a time: what the neighbour is measured by must not be the load of another test.
pub(crate) static TURN: Mutex<()> = Mutex::const_new(());

/// One family of attacks.
pub(crate) struct Attack {
    /// The numbers it covers.
    pub(crate) numbers: &'static [&'static str],
    what: &'static str,
    run: fn(&Target) -> BoxFuture<'_, ()>,
    growth: u64,
}

impl Attack {
    /// One that is about what the service may hold by its settings: it may grow by more.
    pub(crate) const fn within(self, growth: u64) -> Self {
        Self { growth, ..self }
    }
}

/// Shorthand for the tables.
pub(crate) const fn attack(
    numbers: &'static [&'static str],
    what: &'static str,
    run: fn(&Target) -> BoxFuture<'_, ()>,
) -> Attack {
    Attack { numbers, what, run, growth: GROWTH }
}

/// Runs one table, one attack after the other.
pub(crate) async fn run(table: &[Attack], config: &str) {
    let _turn = TURN.lock().await;
    let Some(target) = Target::start(config).await else { return };
    for attack in table {
        target.check(attack.what, attack.growth, (attack.run)(&target)).await;
    }
    target.finish();
}

/// Runs a table of attacks that do nothing but wait, all at once.
pub(crate) async fn run_together(table: &[Attack], config: &str) {
    let _turn = TURN.lock().await;
    let Some(target) = Target::start(config).await else { return };
    let all = async {
        join_all(table.iter().map(|attack| (attack.run)(&target))).await;
    };
    target.check("what takes its time", GROWTH, all).await;
    target.finish();
}

/// The service under attack.
pub(crate) struct Target {
    /// Ends before its folders and containers are removed, also when an attack has failed.
    process: Process,
    pub(crate) machine: Machine,
    client: Client,
    installed: AtomicUsize,
}

impl Deref for Target {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// What the service has and uses.
struct Usage {
    memory: u64,
    descriptors: usize,
    written: u64,
    since: Duration,
}

impl Target {
    /// A service with its neighbour; `None` where Docker may be left out and is.
    async fn start(config: &str) -> Option<Self> {
        Machine::new()?;
        let machine = Machine::with_config(config);
        let (process, client) = machine.serve();
        neighbour::move_in(&client).await;
        Some(Self { machine, process, client, installed: AtomicUsize::new(0) })
    }

    /// The process of the service.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    fn memory(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    fn usage(&self) -> Usage {
        // The kernel forgets the peak so far.
        fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").unwrap();
        let written = bytes_below(&self.machine.data());
        Usage { memory: self.memory("VmRSS"), descriptors: self.descriptors(), written, since: now() }
    }

    /// Lets an attack happen beside the neighbour, and looks what it did.
    async fn check(&self, what: &str, growth: u64, attack: impl Future<Output = ()>) {
        println!("attack: {what}");
        let before = self.usage();
        let (caller, began) = (Caller::start(&self.client), Instant::now());
        attack.await;
        let took = began.elapsed();
        let heard = block_in_place(|| caller.stop(what));
        let grown = self.memory("VmHWM").saturating_sub(before.memory);
        let written = bytes_below(&self.machine.data()).saturating_sub(before.written);
        let (calls, slowest) = (heard.calls, heard.slowest);
        println!("    {took:?}, {calls} calls, slowest {slowest:?}, {} KiB more", grown >> 10);
        assert!(grown < growth, "{what}: the service grew by {} MiB", grown >> 20);
        assert!(written < WRITTEN, "{what}: {written} bytes were written");
        self.tidy_up().await;
        block_in_place(|| self.expect_nothing_left(what, &before));
    }

    /// Uninstalls everything but the neighbour.
    async fn tidy_up(&self) {
        let plugins = self.get("/api/plugins").await.expect(200)["plugins"].take();
        let names = plugins.as_array().unwrap().iter().map(|plugin| plugin["name"].as_str().unwrap());
        join_all(names.filter(|name| *name != neighbour::NAME).map(async |name: &str| {
            self.delete(&format!("/api/plugins/{name}?purge=true")).await.expect(204);
        }))
        .await;
    }

    fn expect_nothing_left(&self, what: &str, before: &Usage) {
        let (data, instance) = (self.machine.data(), self.machine.instance());
        until(&format!("{what}: containers go"), PATIENCE, || sandboxes(&instance).len() == 1);
        until(&format!("{what}: folders of sessions go"), PATIENCE, || self.machine.run_dirs() == 1);
        if kind() == Isolation::Docker {
            left::nothing_of_containers(&events(&instance, before.since, &["create"], "{{.ID}}"), what);
        }
        left::only_of(&self.machine, &sandboxes(&instance)[0], what);
        for folder in ["volumes", "logs", "packages", "archives"] {
            let left = fs::read_dir(data.join(folder)).map_or(0, Iterator::count);
            assert!(left <= 1, "{what}: {left} entries in {folder}");
        }
        assert_eq!(fs::read_dir(data.join("staging")).unwrap().count(), 0, "{what}: staging");
        for folder in ["/tmp", "/dev/shm", "/var/tmp"] {
            // Users of plugins; nobody else has such numbers.
            let foreign = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.uid() >= 200_000);
            let left: Vec<_> = fs::read_dir(folder)
                .unwrap()
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| foreign(path))
                .collect();
            assert!(left.is_empty(), "{what}: {left:?}");
        }
        let few = before.descriptors + DESCRIPTORS;
        until(&format!("{what}: descriptors go"), PATIENCE, || self.descriptors() <= few);
    }

    /// Stops the service: in order, with everything gone.
    fn finish(mut self) {
        assert!(block_in_place(|| self.process.stop()).success(), "{}", self.process.log());
        assert_eq!((sandboxes(&self.machine.instance()), self.machine.run_dirs()), (Vec::new(), 0));
        assert!(!self.process.log().contains("panicked"), "{}", self.process.log());
    }

    /// Installs a plugin that speaks the protocol by itself, under a name of its own.
    pub(crate) async fn install_raw(&self, files: &[(&str, &str)]) -> Victim<'_> {
        let name = format!("raw-{}", self.installed.fetch_add(1, Ordering::Relaxed));
        let manifest = fs::read_to_string(fixture("raw").join("plugin.yaml")).unwrap();
        let manifest = manifest.replacen("name: raw", &format!("name: {name}"), 1);
        self.add(&fixture("raw"), &[&[("plugin.yaml", manifest.as_str())], files].concat()).await;
        Victim { target: self, name }
    }

    /// The same, and it runs.
    pub(crate) async fn raw(&self) -> Victim<'_> {
        let victim = self.install_raw(&[]).await;
        self.enable(&victim.name).await.expect(200);
        victim
    }
}

/// A plugin that does its worst.
pub(crate) struct Victim<'a> {
    pub(crate) target: &'a Target,
    pub(crate) name: String,
}

impl Victim<'_> {
    pub(crate) async fn execute(&self, context: Value) -> Answer {
        self.target.call(&self.name, "execute", context).await
    }

    /// Does something by its name.
    pub(crate) async fn perform(&self, what: &str, more: Value) -> Answer {
        self.execute(with_name(what, more)).await
    }

    /// Does something by its name that ends with an answer.
    pub(crate) async fn result(&self, what: &str, more: Value) -> Value {
        self.target.result(&self.name, "execute", with_name(what, more)).await
    }

    /// Does something that breaks the protocol: told at once, and the next call works. The answer is the problem.
    pub(crate) async fn breaks(&self, context: Value) -> Value {
        let (shown, began) = (context["do"].to_string(), Instant::now());
        let answer = self.execute(context).await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{shown}: {}", answer.text);
        let problem = answer.expect_problem(502, "plugin-protocol");
        assert!(began.elapsed() < AT_ONCE, "{shown}: {:?}", began.elapsed());
        self.works().await;
        assert_eq!(self.shown().await["last_failure"]["kind"], "protocol", "{shown}");
        problem
    }

    /// The same by its name.
    pub(crate) async fn breaks_by(&self, what: &str, more: Value) -> Value {
        self.breaks(with_name(what, more)).await
    }

    /// A good call.
    pub(crate) async fn works(&self) {
        let result = self.target.result(&self.name, "execute", json!({})).await;
        assert!(result["line"].is_string(), "{result}");
    }

    /// What the service says of it.
    pub(crate) async fn shown(&self) -> Value {
        self.target.plugin(&self.name).await
    }

    pub(crate) async fn expect_restarts(&self, count: usize) {
        let plugin = self.shown().await;
        assert_eq!(plugin["restarts"], count, "{plugin}");
    }
}

/// A context that asks for something by its name.
pub(crate) fn with_name(what: &str, mut more: Value) -> Value {
    more["do"] = what.into();
    more
}

fn bytes_below(path: &Path) -> u64 {
    let Ok(found) = fs::symlink_metadata(path) else { return 0 };
    if !found.is_dir() {
        return found.blocks() * 512;
    }
    fs::read_dir(path).into_iter().flatten().flatten().map(|entry| bytes_below(&entry.path())).sum()
}

/// The time as Docker's list of events is asked by.
#[expect(clippy::disallowed_methods, reason = "nothing is decided by it")]
pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// What Docker did for a service since then, one line each.
pub(crate) fn events(instance: &str, since: Duration, kinds: &[&str], format: &str) -> Vec<String> {
    let moment = |time: Duration| format!("{}.{:09}", time.as_secs(), time.subsec_nanos());
    let (since, until) = (moment(since), moment(now()));
    let filters = [format!("label=plugbay.instance={instance}")];
    let filters: Vec<String> = filters.into_iter().chain(kinds.iter().map(|kind| format!("event={kind}"))).collect();
    let mut arguments = vec!["events", "--since", &since, "--until", &until, "--format", format];
    arguments.extend(filters.iter().flat_map(|filter| ["--filter", filter]));
    docker(&arguments).unwrap().lines().map(str::to_owned).collect()
}
