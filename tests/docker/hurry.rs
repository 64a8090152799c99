//! The hurry of a start has an end also where the start has none.

use std::time::{Duration, Instant};

use plugbay::domain::Isolation;
use reqwest::Method;

use super::bench::docker;
use super::kind::{kind, processes, sandboxes};
use super::outside::limit;
use super::served::Served;
use super::support::app::send;
use super::support::author::pack;

/// Never ready, and never waits for anything.
const BUSY: &str = "class Busy:\n    def __init__(self, config):\n        while True:\n            pass\n";

/// A process of a sandbox that lives as long as it does.
fn process_of(instance: &str, sandbox: &str) -> Option<i32> {
    match kind() {
        Isolation::Docker => {
            let said = docker(&["inspect", "--format", "{{.State.Pid}}", sandbox]).ok()?;
            said.parse().ok().filter(|process| *process > 0)
        }
        Isolation::Process => processes(instance, sandbox).first().copied(),
    }
}

/// Until something is so, however slow the machine is.
async fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_only_computes_in_its_start_has_its_usual_weight_before_it_is_given_up() {
    // Several times the longest hurry.
    let Some(served) = Served::start_with(|config| config.calls.start = Duration::from_secs(20)).await else { return };
    let manifest = "name: busy\nversion: 1.0.0\nmain: main.py\nclass: Busy\nresources: { cpu_shares: 100 }\n";
    served.install(&pack(&[("plugin.yaml", manifest.as_bytes()), ("main.py", BUSY.as_bytes())])).await.expect(201);
    let enabling = send(served.request(Method::POST, "/api/plugins/busy/enable"));
    let watching = async {
        let instance = served.instance();
        let sandbox = until("a sandbox", || sandboxes(instance).pop()).await;
        // A file of the machine: neither engine is asked for it.
        let process = until("its first process", || process_of(instance, &sandbox)).await;
        let weight = || -> u64 { limit(process, "cpu", "cpu.shares", "cpu.weight").parse().unwrap() };
        let hurried = weight();
        let usual = until("another weight", || Some(weight()).filter(|weight| *weight != hurried)).await;
        assert!(usual < hurried, "first {hurried}, then {usual}");
        assert_eq!(sandboxes(instance), [sandbox], "it is starting still");
    };
    let (answer, ()) = tokio::join!(enabling, watching);
    assert_ne!(answer.status.as_u16(), 200);
    served.end().await;
}
