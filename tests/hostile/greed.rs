//! Plugins that take what they can get: each limit holds, and only its plugin feels it.

use std::os::unix::fs::MetadataExt as _;

use futures_util::future::FutureExt as _;
use plugbay::domain::Isolation;
use serde_json::json;

use super::kind::kind;
use super::target::{Attack, Target, attack};

pub(crate) const TABLE: &[Attack] = &[
    attack(&["B.35"], "a fork bomb", |target| fork_bomb(target).boxed()),
    attack(&["B.36"], "all memory", |target| memory(target).boxed()),
    attack(&["B.37"], "all processors", |target| processors(target).boxed()),
    attack(&["B.38"], "all of /tmp and /dev/shm", |target| disk(target).boxed()),
    attack(&[], "all of /data", |target| data(target).boxed()),
    attack(&["B.43"], "children that nobody waits for", |target| zombies(target).boxed()),
    attack(&[], "all descriptors", |target| descriptors(target).boxed()),
];

async fn fork_bomb(target: &Target) {
    let victim = target.raw().await;
    let seen = victim.result("greed.fork_bomb", json!({"seconds": 2})).await.as_u64().unwrap();
    // Exactly full at most times; a process may have ended just then.
    assert!((40..=64).contains(&seen), "{seen} processes");
    victim.works().await;
    victim.expect_restarts(0).await;
}

async fn memory(target: &Target) {
    let victim = target.raw().await;
    assert_eq!(victim.result("greed.feed_child", json!({})).await, -9);
    victim.expect_restarts(0).await;
    for pause in [0.0, 0.005] {
        let problem = victim.perform("greed.eat", json!({ "pause": pause })).await;
        problem.expect_problem(502, "plugin-out-of-memory");
        victim.works().await;
    }
    victim.expect_restarts(2).await;
    assert_eq!(victim.shown().await["last_failure"]["kind"], "out-of-memory");
}

async fn processors(target: &Target) {
    let victim = target.raw().await;
    let share = victim.result("greed.spin", json!({"processes": 16, "seconds": 3})).await.as_f64().unwrap();
    println!("    16 processes had {share:.2} processors");
    // Half of one is what plugin.yaml leaves them.
    assert!(share < 0.65, "{share}");
    victim.works().await;
}

async fn disk(target: &Target) {
    const NO_SPACE: u32 = 28;
    let victim = target.raw().await;
    for folder in ["/tmp", "/dev/shm"] {
        let filled = victim.result("greed.fill", json!({ "folder": folder })).await;
        assert_eq!(filled, json!([1 << 20, NO_SPACE]), "{folder}");
    }
    let made = victim.result("greed.files", json!({"folder": "/tmp"})).await;
    assert!((4_000..=4_096).contains(&made[0].as_u64().unwrap()) && made[1] == NO_SPACE, "{made}");
    victim.works().await;
    victim.expect_restarts(0).await;
    if kind() == Isolation::Process {
        let made = victim.result("greed.files", json!({"folder": "/dev/shm"})).await;
        assert!((1_000..=1_024).contains(&made[0].as_u64().unwrap()) && made[1] == NO_SPACE, "{made}");
        return;
    }
    // Docker's has no limit of files; each counts as memory.
    let full = victim.perform("greed.files", json!({"folder": "/dev/shm"})).await;
    full.expect_problem(502, "plugin-out-of-memory");
    victim.works().await;
}

/// As `/tmp`, but that it lies on the disk: the machine gives no more than the limit.
async fn data(target: &Target) {
    const NO_SPACE: u32 = 28;
    const LIMIT: u64 = 4 << 20;
    let victim = target.raw().await;
    if target.about(&victim.name, "stats").await["data_quota"] == "soft" {
        assert!(!rustix::process::geteuid().is_root(), "root has volumes of its own");
        return;
    }
    let filled = victim.result("greed.fill", json!({"folder": "/data"})).await;
    assert!((LIMIT * 9 / 10..LIMIT).contains(&filled[0].as_u64().unwrap()) && filled[1] == NO_SPACE, "{filled}");
    let made = victim.result("greed.files", json!({"folder": "/data"})).await;
    assert!((500..=512).contains(&made[0].as_u64().unwrap()) && made[1] == NO_SPACE, "{made}");
    victim.works().await;
    let images = std::fs::read_dir(target.machine.data().join("volumes")).unwrap();
    let largest = images.map(|image| image.unwrap().metadata().unwrap().blocks() * 512).max();
    assert!(largest.is_some_and(|bytes| bytes <= LIMIT), "{largest:?}");
    victim.works().await;
    victim.expect_restarts(0).await;
}

async fn zombies(target: &Target) {
    let victim = target.raw().await;
    // Many more than there may be at one time.
    assert_eq!(victim.result("greed.zombies", json!({"count": 500})).await, 0);
    victim.expect_restarts(0).await;
}

async fn descriptors(target: &Target) {
    let victim = target.raw().await;
    let held = victim.result("greed.descriptors", json!({})).await;
    assert!((1_000..=1_024).contains(&held[0].as_u64().unwrap()) && held[1] == 24, "{held}");
    victim.works().await;
}
