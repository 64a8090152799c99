//! What is promised of the process engine alone: how it looks from the machine, what it leaves, and when it is refused.

use std::fs;
use std::time::{Duration, Instant};

use plugbay::config::EngineChoice;
use plugbay::domain::Isolation;
use plugbay::sandbox::{DataMount, DataQuota};
use serde_json::json;
use tokio::task::block_in_place;

use super::bench::{Bench, PATIENCE};
use super::client::fixture;
use super::kind::{kind, process_is_there, processes, running, sandboxes};
use super::machine::Machine;
use super::served::Served;

/// Docker promises it as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_process_of_a_plugin_is_roots_or_the_services_or_reaches_another_plugin() {
    let Some(served) = Served::with("probe").await else { return };
    served.add_as(&fixture("probe"), "neighbour").await;
    served.enable("neighbour").await.expect(200);
    let neighbour = served.about("neighbour", "sandbox").await["spec"].take();
    // Started while its neighbour runs.
    served.disable("probe").await.expect(200);
    served.enable("probe").await.expect(200);
    let sandbox = served.container("probe").await;
    let uid = served.result("probe", "look", json!({})).await["uid"].as_u64().unwrap();
    assert!(uid >= 200_000 && neighbour["uid"] != uid, "{uid}");
    let found = processes(served.instance(), &sandbox);
    let least = if kind() == Isolation::Docker { 2 } else { 3 };
    assert!(found.len() >= least, "shim and plugin, and bubblewrap: {found:?}");
    for pid in found {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        for field in ["Uid:", "Gid:"] {
            let ids = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
            assert!(ids.split_whitespace().all(|id| id.parse() == Ok(uid)), "{pid}: {field} {ids}");
        }
        assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
        // Bubblewrap waits outside of the sandbox; not even there is anything of another plugin.
        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
        for field in ["instance_dir", "data"] {
            let path = neighbour[field].as_str().unwrap();
            assert!(!mounts.contains(path), "{pid}: {path} in {mounts}");
            assert!(!fs::exists(format!("/proc/{pid}/root{path}")).unwrap(), "{pid}: {path}");
        }
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_is_shown_with_its_isolation_and_its_plan() {
    if !process_is_there() {
        return;
    }
    let served = Served::with("probe").await.unwrap();
    // Nothing of its mounts is seen outside.
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(served.data().to_str().unwrap()), "{mounts}");
    let shown = served.plugin("probe").await;
    assert_eq!(shown["isolation"], "process", "{shown}");
    let system = served.get("/api/system").await.expect(200);
    assert_eq!((&system["engine"], &system["isolation"]), (&json!("process"), &json!("process")), "{system}");
    let plan = served.about("probe", "sandbox/plan").await;
    let words = plan["body"]["command"].as_array().unwrap();
    assert!(words.contains(&json!("--disable-userns")) && words.contains(&json!("/usr/bin/bwrap")), "{plan}");
    served.end().await;
}

#[tokio::test]
async fn nothing_of_the_machine_is_there_that_is_not_needed() {
    if !process_is_there() {
        return;
    }
    let code = r#"
import json, os
found = {}
for path in ["/root", "/home", "/var", "/run", "/srv", "/boot", "/media", "/tmp", "/etc", "/sys", "/sys/fs/cgroup", "/mnt", "/opt"]:
    try:
        found[path] = sorted(os.listdir(path))
    except OSError as error:
        found[path] = error.errno
try:
    open("/proc/sys/kernel/core_pattern", "w").close()
    found["core_pattern"] = True
except OSError as error:
    found["core_pattern"] = error.errno
found["tmp"] = os.statvfs("/tmp").f_files
print(json.dumps(found))
"#;
    let found = Bench::python(code).unwrap().start().await.call().await;
    for path in ["/root", "/home", "/var", "/srv", "/boot", "/media", "/mnt"] {
        assert_eq!(found[path], 2, "{path}: {found}");
    }
    assert_eq!((&found["/run"], &found["/opt"]), (&json!(["plugbay"]), &json!(["plugbay"])), "{found}");
    assert_eq!((&found["/tmp"], &found["/sys"]), (&json!([]), &json!(["fs"])), "{found}");
    let known = ["alternatives", "hosts", "ld.so.cache", "localtime", "passwd", "ssl"];
    let etc = found["/etc"].as_array().unwrap();
    assert!(etc.iter().all(|name| known.contains(&name.as_str().unwrap())), "{found}");
    assert_eq!((&found["core_pattern"], &found["tmp"]), (&json!(30), &json!(4096)), "{found}");
}

#[tokio::test]
async fn nothing_in_data_can_be_executed_and_no_user_is_the_services() {
    if !process_is_there() {
        return;
    }
    let code = r#"
import json, os, shutil, subprocess
found = {}
for folder in ["/tmp", "/data", "/dev/shm"]:
    path = folder + "/true"
    shutil.copy("/usr/bin/true", path)
    try:
        subprocess.run([path], check=True)
        found[folder] = True
    except OSError as error:
        found[folder] = error.errno
print(json.dumps(found))
"#;
    let mut bench = Bench::python(code).unwrap();
    let data = bench.writable_folder("data");
    bench.spec = bench.spec.clone().with_data(DataMount { source: data, quota: DataQuota::Soft });
    let mut started = bench.start().await;
    started.bench.engine.check_report(&started.bench.spec, started.report()).unwrap();
    assert_eq!(started.call().await, json!({"/tmp": 13, "/data": 13, "/dev/shm": 13}));

    for uid in [0, rustix::process::geteuid().as_raw()] {
        let mut bench = Bench::exec("#!/bin/sh\necho 1\n").unwrap();
        bench.spec.uid = uid;
        let error = bench.engine.start(&bench.spec).await.unwrap_err().to_string();
        assert!(error.contains("neither root's nor the service's"), "{error}");
        assert_eq!(bench.sandbox_count(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_die_with_a_killed_service_and_the_next_one_tidies_up() {
    if !process_is_there() {
        return;
    }
    let machine = Machine::new().unwrap();
    let (mut process, mut client) = machine.serve();
    client.run(&fixture("probe")).await;
    let instance = machine.instance();
    let mut took = Vec::new();
    for _ in 0..3 {
        assert_eq!((sandboxes(&instance).len(), running(&instance)), (1, 1));
        let before = sandboxes(&instance);
        block_in_place(|| process.kill());
        let killed = Instant::now();
        let deadline = killed + PATIENCE;
        while running(&instance) > 0 {
            assert!(Instant::now() < deadline, "a plugin outlives its service");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        took.push(killed.elapsed());
        assert_eq!(sandboxes(&instance), before, "empty cgroups are left");
        (process, client) = machine.serve();
        client.until_active("probe").await;
        while sandboxes(&instance).contains(&before[0]) {
            assert!(Instant::now() < deadline, "they are removed at the next look");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    println!("no process was left {took:?} after the kill");
    // The machine may have been busy with something else once.
    assert!(took.iter().min() < Some(&Duration::from_millis(100)), "{took:?}");
    assert!(block_in_place(|| process.stop()).success(), "{}", process.log());
    assert_eq!((sandboxes(&instance), machine.run_dirs()), (Vec::new(), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_weaker_than_demanded_does_not_start() {
    if !process_is_there() {
        return;
    }
    let served = Served::start_with(|config| config.security.min_isolation.unsigned = Isolation::Docker).await.unwrap();
    served.add(&fixture("probe"), &[]).await;
    let problem = served.enable("probe").await.expect_problem(409, "isolation-too-weak");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("isolation `process`") && detail.contains("`security.min_isolation.unsigned`"), "{detail}");
    assert!(problem["how"].as_str().unwrap().contains("security.min_isolation.unsigned: process"), "{problem}");
    assert_eq!(served.plugin("probe").await["status"], "installed");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_docker_auto_takes_bubblewrap_and_says_so() {
    if !process_is_there() {
        return;
    }
    let change = |config: &mut plugbay::config::Config| {
        config.sandbox.engine = EngineChoice::Auto;
        config.sandbox.docker_host = "unix:///nonexistent/docker.sock".to_owned();
    };
    let served = Served::start_with(change).await.unwrap();
    served.run(&fixture("probe")).await;
    assert_eq!(served.plugin("probe").await["isolation"], "process");
    let system = served.get("/api/system").await.expect(200);
    assert_eq!(system["engine"], "process", "{system}");
    let checks = system["doctor"].as_array().unwrap();
    let check = |name: &str| checks.iter().find(|check| check["check"] == name).unwrap_or_else(|| panic!("{system}"));
    assert_eq!(
        (&check("engine")["ok"], &check("docker")["ok"], &check("process")["ok"]),
        (&json!(true), &json!(false), &json!(true))
    );
    assert!(check("docker")["how"].as_str().unwrap().contains("apt-get install docker.io"), "{system}");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_neither_engine_works_both_reasons_are_told() {
    if !process_is_there() {
        return;
    }
    let change = |config: &mut plugbay::config::Config| {
        config.sandbox.engine = EngineChoice::Auto;
        config.sandbox.docker_host = "unix:///nonexistent/docker.sock".to_owned();
        config.sandbox.process.python = "/usr/bin/no-such-python".to_owned();
    };
    let served = Served::start_with(change).await.unwrap();
    served.add(&fixture("probe"), &[]).await;
    let problem = served.enable("probe").await.expect_problem(503, "engine-unavailable");
    let (detail, how) = (problem["detail"].as_str().unwrap(), problem["how"].as_str().unwrap());
    assert!(detail.contains("/nonexistent/docker.sock") && detail.contains("no Python at"), "{detail}");
    assert!(how.contains("docker.io") && how.contains("apt-get install python3"), "{how}");
    let ready = served.get("/readyz").await;
    assert_eq!(ready.status, 503, "{}", ready.text);
    served.end().await;
}
