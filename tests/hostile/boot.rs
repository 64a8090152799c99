//! Many plugins that were enabled when the service ended.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use plugbay::domain::Isolation;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::client::{build_native_echo, example};
use super::kind::{kind, sandboxes};
use super::machine::Machine;
use super::target::{TURN, events, now};

const PLUGINS: usize = 50;

/// Most starts at one time: a few more than there are processors, so that none of them waits for nothing.
fn most() -> usize {
    std::thread::available_parallelism().unwrap().get() + 2
}

/// How many containers were between `create` and `start` at one time.
fn most_at_once(instance: &str, since: Duration) -> (usize, usize) {
    let mut events: Vec<(u64, bool)> = events(instance, since, &["create", "start"], "{{json .}}")
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|event| (event["timeNano"].as_u64().unwrap(), event["Action"] == "create"))
        .collect();
    events.sort_unstable();
    let (mut under_way, mut most, mut all) = (0_usize, 0, 0);
    for (_, is_create) in events {
        if is_create {
            (under_way, all) = (under_way + 1, all + 1);
            most = most.max(under_way);
        } else {
            under_way -= 1;
        }
    }
    (most, all)
}

/// What Docker noted says that each was started once, and few at one time.
fn few_at_once(instance: &str, since: Duration) {
    let (at_once, all) = most_at_once(instance, since);
    println!("at most {at_once} started at one time");
    assert_eq!(all, PLUGINS, "each is started once");
    assert!(at_once <= most() && at_once > 1, "{at_once}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_plugins_start_at_boot_and_few_of_them_at_once() {
    let _turn = TURN.lock().await;
    let Some(machine) = Machine::new() else { return };
    let (mut process, client) = machine.serve();
    build_native_echo();
    let names: Vec<String> = (0..PLUGINS).map(|number| format!("echo-{number}")).collect();
    let folder = example("native-echo");
    for name in &names {
        client.add_as(&folder, name).await;
    }
    for answer in join_all(names.iter().map(|name| client.enable(name))).await {
        answer.expect(200);
    }
    // As a machine that lost its power: every plugin is to run, and none does.
    block_in_place(|| process.kill());
    let (since, began) = (now(), Instant::now());
    let (mut process, client) = machine.serve();
    // One after the other: those who wait must not be the load.
    for name in &names {
        client.until_active(name).await;
    }
    let took = began.elapsed();
    println!("{PLUGINS} plugins were back {took:?} after the start");
    if kind() == Isolation::Docker {
        few_at_once(&machine.instance(), since);
    }
    assert!(took < Duration::from_secs(30), "{took:?}");
    let answers = join_all(names.iter().map(|name| client.result(name, "execute", json!({ "name": name })))).await;
    for (name, answer) in names.iter().zip(answers) {
        assert_eq!(answer, json!({"echo": { "name": name }}));
    }
    assert!(block_in_place(|| process.stop()).success(), "{}", process.log());
    assert_eq!((sandboxes(&machine.instance()), machine.run_dirs()), (Vec::new(), 0));
}
