//! Plugins that simply do not do what they should. They cost nothing but time, so they all wait together.

use std::fs;
use std::time::{Duration, Instant};

use futures_util::future::FutureExt as _;
use plugbay::domain::Isolation;
use serde_json::json;

use super::bench::docker;
use super::inside::source_of;
use super::kind::{kind, sandboxes};
use super::served::inspect;
use super::target::{Attack, Target, Victim, attack};

/// How long a line may take, and how long a cancelled call, and what stops in order.
const GRACE: Duration = Duration::from_secs(10);

pub(crate) const TABLE: &[Attack] = &[
    attack(&["B.32"], "never answers", |target| never_answers(target).boxed()),
    attack(&[], "closes its descriptors", |target| hangs_up(target).boxed()),
    attack(&["A.169"], "half a line", |target| half_a_line(target).boxed()),
    attack(&[], "a line byte by byte", |target| trickle(target).boxed()),
    attack(&["B.41"], "hears neither `shutdown` nor SIGTERM", |target| deaf(target).boxed()),
    attack(&["B.42"], "frozen", |target| frozen(target).boxed()),
    attack(&["B.44"], "the folder of its sockets is gone", |target| folder_gone(target).boxed()),
];

async fn never_answers(target: &Target) {
    let victim = target.raw().await;
    let began = Instant::now();
    let silent = json!({"context": {"silent": true}, "timeout_ms": 300});
    target.execute(&victim.name, &silent).await.expect_problem(504, "plugin-timeout");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    victim.works().await;
    replaced(&victim, began).await;
}

async fn hangs_up(target: &Target) {
    let victim = target.raw().await;
    let began = Instant::now();
    let hang_up = json!({"context": {"do": "bad.hang_up"}, "timeout_ms": 300});
    target.execute(&victim.name, &hang_up).await.expect_problem(504, "plugin-timeout");
    replaced(&victim, began).await;
}

/// A call that goes on after its cancel costs the session.
async fn replaced(victim: &Victim<'_>, began: Instant) {
    let target = victim.target;
    let plugin = target.until(&victim.name, |plugin| plugin["restarts"] == 1).await;
    assert_eq!(plugin["last_failure"]["kind"], "unresponsive", "{plugin}");
    assert!(began.elapsed() > GRACE && began.elapsed() < GRACE + Duration::from_secs(4), "{:?}", began.elapsed());
    victim.works().await;
}

async fn stalls(target: &Target, trickle: bool) {
    let victim = target.raw().await;
    let began = Instant::now();
    let half = json!({"context": {"do": "bad.half_line", "trickle": trickle}, "timeout_ms": 500});
    target.execute(&victim.name, &half).await.expect_problem(504, "plugin-timeout");
    let waiting = victim.execute(json!({}));
    let problem = waiting.await.expect_problem(502, "plugin-protocol");
    assert!(problem["detail"].as_str().unwrap().contains("unfinished"), "{problem}");
    assert!(began.elapsed() > GRACE && began.elapsed() < GRACE + Duration::from_secs(3), "{:?}", began.elapsed());
    victim.works().await;
    victim.expect_restarts(1).await;
}

async fn half_a_line(target: &Target) {
    stalls(target, false).await;
}

async fn trickle(target: &Target) {
    stalls(target, true).await;
}

async fn deaf(target: &Target) {
    let victim = target.raw().await;
    assert_eq!(victim.result("bad.deaf_to_the_end", json!({})).await, "deaf");
    let (container, began) = (target.container(&victim.name).await, Instant::now());
    target.disable(&victim.name).await.expect(200);
    assert!(began.elapsed() > GRACE && began.elapsed() < GRACE + Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(!sandboxes(&target.machine.instance()).contains(&container), "it is gone");
}

/// By Docker, which says so, and behind its back.
async fn frozen(target: &Target) {
    if kind() != Isolation::Docker {
        // Nobody but root freezes processes, and no engine is asked to.
        return;
    }
    let victim = target.raw().await;
    let call = json!({"context": {}, "timeout_ms": 500});
    let container = target.container(&victim.name).await;
    docker(&["pause", &container]).unwrap();
    target.execute(&victim.name, &call).await.expect_problem(504, "plugin-timeout");
    target.until(&victim.name, |plugin| plugin["state"] == "paused").await;
    let began = Instant::now();
    target.disable(&victim.name).await.expect(200);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(docker(&["inspect", &container]).is_err(), "what is frozen goes as well");

    target.enable(&victim.name).await.expect(200);
    let container = target.container(&victim.name).await;
    let freezer = Freezer::of(&container);
    freezer.freeze();
    target.execute(&victim.name, &call).await.expect_problem(504, "plugin-timeout");
    let began = Instant::now();
    let disabled = target.disable(&victim.name).await;
    println!("    disabling what is frozen behind Docker's back: {} after {:?}", disabled.status, began.elapsed());
    disabled.expect(200);
    assert_eq!(target.plugin(&victim.name).await["state"], "unloaded");
    freezer.thaw();
    let deadline = Instant::now() + Duration::from_secs(25);
    while sandboxes(&target.machine.instance()).contains(&container) {
        assert!(Instant::now() < deadline, "what could not be removed is removed later");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The switch by which the kernel stops all processes of a container.
struct Freezer {
    file: String,
    words: [&'static str; 2],
}

impl Freezer {
    fn of(container: &str) -> Self {
        let pid = inspect(container)["State"]["Pid"].as_i64().unwrap();
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let first = groups.lines().find_map(|line| line.split_once(":freezer:"));
        if let Some((_, path)) = first {
            let file = format!("/sys/fs/cgroup/freezer{path}/freezer.state");
            return Self { file, words: ["THAWED", "FROZEN"] };
        }
        let path = groups.trim().trim_start_matches("0::");
        Self { file: format!("/sys/fs/cgroup{path}/cgroup.freeze"), words: ["0", "1"] }
    }

    fn freeze(&self) {
        fs::write(&self.file, self.words[1]).unwrap();
    }

    /// Unless it is gone.
    fn thaw(&self) {
        fs::write(&self.file, self.words[0]).ok();
    }
}

/// Frozen processes would outlive a failed test.
impl Drop for Freezer {
    fn drop(&mut self) {
        self.thaw();
    }
}

async fn folder_gone(target: &Target) {
    let victim = target.raw().await;
    let folder = source_of(target, &victim.name, "/run/plugbay").await;
    fs::remove_dir_all(&folder).unwrap();
    victim.works().await;
    victim.perform("bad.end", json!({"code": 4})).await.expect_problem(502, "plugin-crashed");
    victim.works().await;
    victim.expect_restarts(1).await;
    // The one that has taken its place stands where it should.
    let folder = source_of(target, &victim.name, "/run/plugbay").await;
    assert!(fs::exists(folder).unwrap());
}
