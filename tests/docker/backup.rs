//! Backups of a service whose plugins run and write, restored into a service that runs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use plugbay::operations::{AuditFound, RestoreOrder, restore};
use reqwest::Method;
use serde_json::json;

use super::bench::PATIENCE;
use super::client::fixture;
use super::served::{Served, short_folder};
use super::support::app::{TestApp, send};

async fn backup(served: &Served) -> Vec<u8> {
    let response = served.request(Method::POST, "/api/system/backup").send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.bytes().await.unwrap().to_vec()
}

/// A service on a restored directory.
async fn serve(data: PathBuf) -> Served {
    let run_dir = short_folder();
    let setup = TestApp::setup().unsigned().with(|config| {
        run_dir.path().clone_into(&mut config.server.run_dir);
        config.server.data_dir = data;
    });
    Served::of(setup.start().await, run_dir)
}

async fn restored(bytes: &[u8], folder: &Path, key_file: Option<PathBuf>) -> (PathBuf, AuditFound) {
    let backup = folder.join("backup.tar");
    fs::write(&backup, bytes).unwrap();
    let data_dir = folder.join(if key_file.is_some() { "with-key" } else { "without-key" });
    let made =
        restore(&RestoreOrder { backup, data_dir: data_dir.clone(), key_file, accept_unsealed: false }).await.unwrap();
    (data_dir, made.audit)
}

/// Known to its plugin alone.
const SECRET: &str = "CANARY-backup-51d27f3a";

/// A small value of one plugin and a secret of another.
async fn keep_things(served: &Served) {
    served.run(&fixture("asker")).await;
    let set = json!({"function": "kv.set", "params": {"key": "state", "value": {"visits": 3}}});
    served.result("asker", "execute", set).await;
    served.add(&fixture("configured"), &[]).await;
    let config = served.request(Method::PUT, "/api/plugins/configured/config").header("If-Match", "*");
    send(config.json(&json!({"api_key": SECRET}))).await.expect(200);
    served.enable("configured").await.expect(200);
}

async fn things_are_there(again: &Served, with_key: bool) {
    again.until_active("asker").await;
    let get = json!({"function": "kv.get", "params": {"key": "state"}});
    assert_eq!(again.result("asker", "execute", get).await, json!({"visits": 3}));
    if with_key {
        again.until_active("configured").await;
        assert_eq!(again.result("configured", "execute", json!({})).await["config"]["api_key"], SECRET);
    } else {
        let config = again.about("configured", "config").await;
        assert_eq!(config["secrets"]["api_key"]["set"], false, "{config}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_taken_under_load_restores_to_plugins_that_answer() {
    let Some(served) = Served::with("probe").await else { return };
    if !rustix::process::geteuid().is_root() {
        // Folders cannot be held still.
        return served.end().await;
    }
    served.result("probe", "store", json!({"text": "before|"})).await;
    keep_things(&served).await;
    let calls = async {
        let until = Instant::now() + Duration::from_secs(3);
        let mut count = 0;
        while Instant::now() < until {
            served.result("probe", "store", json!({"text": "x"})).await;
            count += 1;
        }
        count
    };
    let installs = async {
        for number in 0..4 {
            served.add_as(&fixture("probe"), &format!("other-{number}")).await;
        }
    };
    let backups = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        (backup(&served).await, backup(&served).await)
    };
    let (count, (), (first, second)) = tokio::join!(calls, installs, backups);
    assert!(count > 20, "calls went on: {count}");
    // What was frozen has thawed.
    served.result("probe", "store", json!({"text": "|after"})).await;
    let key = served.data().join("master.key");
    let token = fs::read_to_string(served.data().join("admin.token")).unwrap();
    for secret in [&fs::read(&key).unwrap()[..], token.trim().as_bytes(), SECRET.as_bytes()] {
        for bytes in [&first, &second] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret), "a secret is in it");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    for (bytes, key) in [(&first, Some(key.clone())), (&second, None)] {
        let with_key = key.is_some();
        let (data, audit) = restored(bytes, folder.path(), key).await;
        assert_eq!(audit, if with_key { AuditFound::Verified } else { AuditFound::TakenOver });
        let again = serve(data).await;
        assert_ne!(again.instance(), served.instance());
        again.until_active("probe").await;
        let kept = again.result("probe", "store", json!({})).await;
        let kept = kept.as_str().unwrap();
        assert!(kept.starts_with("before|") && !kept.contains("after"), "{kept}");
        assert!(kept["before|".len()..].bytes().all(|byte| byte == b'x'), "{kept}");
        let verified = again.get("/api/audit/verify").await.expect(200);
        assert_eq!(verified["taken_over"].is_null(), with_key, "{verified}");
        things_are_there(&again, with_key).await;
        again.end().await;
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_left_frozen_by_a_killed_service_thaws_at_the_next_start() {
    use super::kind::engine_is_there;
    use super::machine::Machine;
    if !engine_is_there() || !rustix::process::geteuid().is_root() {
        return;
    }
    let Some(machine) = Machine::new() else { return };
    let (mut process, client) = machine.serve();
    client.run(&fixture("probe")).await;
    client.result("probe", "store", json!({"text": "kept"})).await;
    let instance = fs::read_to_string(machine.data().join("instance")).unwrap();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = mounts.lines().find(|line| line.contains(instance.trim())).unwrap();
    let mount_point = line.split(' ').nth(4).unwrap();
    process.kill();
    #[expect(clippy::disallowed_methods, reason = "does what a killed service leaves")]
    let frozen = std::process::Command::new("fsfreeze").args(["--freeze", mount_point]).status().unwrap();
    assert!(frozen.success());
    let (mut process, client) = machine.serve();
    let deadline = Instant::now() + PATIENCE;
    while client.plugin("probe").await["state"] != "active" {
        assert!(Instant::now() < deadline, "it starts again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(client.result("probe", "store", json!({})).await, "kept");
    process.stop();
}
