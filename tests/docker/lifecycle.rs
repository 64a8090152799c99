//! Watching, measuring and removing.

use futures_util::StreamExt as _;
use plugbay::domain::SessionId;
use plugbay::sandbox::{EntryPoint, FoundSandbox, Pace};
use serde_json::json;
use tokio::time::timeout;

use super::bench::{Bench, PATIENCE, config, docker, engine};
use super::kind::docker_is_there;

const SCRIPT: &str = "#!/bin/sh\necho 1\n";

/// A sandbox whose program is this Python code from the start.
fn program(code: &str) -> Option<Bench> {
    let text = format!("#!/usr/bin/python3\n{code}\n");
    Bench::new(EntryPoint::Stdio { program: "serve".to_owned() }, &[("serve", &text)])
}

#[tokio::test]
async fn the_end_is_told_with_its_code() {
    let cases = [("import sys; sys.exit(7)", 7), ("", 0), ("import os; os.kill(os.getpid(), 11)", 139)];
    for (code, wanted) in cases {
        let Some(bench) = program(&format!("input()\n{code}")) else { return };
        let mut started = bench.start().await;
        // Not before the engine has looked at it.
        started.send("go on\n").await;
        let exit = timeout(PATIENCE, started.bench.engine.wait(&started.sandbox.id)).await.unwrap().unwrap();
        assert_eq!((exit.exit_code, exit.out_of_memory), (wanted, false), "{code}");
    }
}

#[tokio::test]
async fn running_out_of_memory_is_told() {
    let Some(mut bench) = program("held = []\nwhile True: held.append(bytearray(1 << 20))") else { return };
    bench.spec.limits.memory_mb = 24;
    bench.spec.limits.tmp_mb = 8;
    let started = bench.start().await;
    let exit = timeout(PATIENCE, started.bench.engine.wait(&started.sandbox.id)).await.unwrap().unwrap();
    assert_eq!((exit.exit_code, exit.out_of_memory), (76, true));
}

#[tokio::test]
async fn a_sandbox_ends_with_its_service() {
    let Some(bench) =
        program("import signal, time\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))\ntime.sleep(600)")
    else {
        return;
    };
    let started = bench.start().await;
    let id = started.sandbox.id.clone();
    let bench = started.hang_up();
    let exit = timeout(PATIENCE, bench.engine.wait(&id)).await.unwrap().unwrap();
    assert_eq!(exit.exit_code, 75);
}

#[tokio::test]
async fn removing_ends_the_wait_and_can_be_repeated() {
    let Some(bench) = Bench::exec(SCRIPT) else { return };
    let started = bench.start().await;
    let (engine, id) = (&started.bench.engine, started.sandbox.id.as_str());
    let (exit, first, second) = tokio::join!(engine.wait(id), engine.remove(id), engine.remove(id));
    first.unwrap();
    second.unwrap();
    let exit = exit.unwrap();
    assert_eq!((exit.exit_code, exit.out_of_memory), (137, false));
    assert_eq!(started.bench.sandbox_count(), 0);
    engine.remove(id).await.unwrap();
    assert!(engine.wait(id).await.is_err());
    assert!(engine.usage(id).await.is_err());
}

#[tokio::test]
async fn only_sandboxes_of_this_service_are_listed() {
    if !docker_is_there() {
        return;
    }
    let Some(bench) = Bench::exec(SCRIPT) else { return };
    let other = SessionId::generate();
    let label = format!("plugbay.instance=other-{other}");
    let foreign = docker(&["create", "--label", &label, "plugbay/python:3", "true"]).unwrap();
    let own = format!("plugbay.instance={}", bench.spec.instance);
    let broken =
        docker(&["create", "--label", &own, "--label", "plugbay.session=?", "plugbay/python:3", "true"]).unwrap();
    let started = bench.start().await;
    let (engine, id) = (&started.bench.engine, started.sandbox.id.clone());
    let find = async |id: &str| engine.list().await.unwrap().into_iter().find(|found| found.id == id);
    let found =
        |paused| FoundSandbox { id: id.clone(), session: Some(started.bench.spec.session), paused, running: true };
    assert_eq!(find(&id).await, Some(found(false)));
    docker(&["pause", &id]).unwrap();
    assert_eq!(find(&id).await, Some(found(true)));
    let unknown = FoundSandbox { id: broken.clone(), session: None, paused: false, running: false };
    assert_eq!(find(&broken).await, Some(unknown));
    assert_eq!(find(&foreign).await, None);
    assert_eq!(engine.list().await.unwrap().len(), 2);
    assert_eq!(super::bench::engine(&format!("other-{other}"), &config()).list().await.unwrap().len(), 1);
    engine.remove(&id).await.unwrap();
    docker(&["rm", &foreign]).unwrap();
}

#[tokio::test]
async fn usage_is_sane() {
    let code = "#!/usr/bin/python3\nimport time\nheld = bytearray(32 << 20)\nend = time.monotonic() + 1\n\
                while time.monotonic() < end: pass\nprint(1)\n";
    let Some(bench) = Bench::exec(code) else { return };
    let mut started = bench.start().await;
    let id = started.sandbox.id.clone();
    started.bench.engine.pace(&id, &started.bench.spec, Pace::Usual).await.unwrap();
    let idle = started.bench.engine.usage(&id).await.unwrap();
    assert!(idle.memory_bytes > 0 && idle.memory_bytes < 64 << 20, "{idle:?}");
    assert!((1..16).contains(&idle.pids), "{idle:?}");
    assert_eq!(started.call().await, json!(1));
    let busy = started.bench.engine.usage(&id).await.unwrap();
    // Half a processor is the quota; other tests may take their share of the machine.
    assert!(busy.cpu_percent > 2.0 && busy.cpu_percent < 75.0, "{busy:?}");
}

#[tokio::test]
async fn events_tell_of_own_sandboxes_alone() {
    if !docker_is_there() {
        return;
    }
    let Some(bench) = Bench::exec(SCRIPT) else { return };
    let other = engine(&format!("other-{}", bench.spec.session), &config());
    let mut events = bench.engine.events().await.unwrap();
    let mut foreign = other.events().await.unwrap();
    let watch = async {
        let mut seen = Vec::new();
        while !seen.iter().any(|(_, what)| what == "die") {
            let event = timeout(PATIENCE, events.next()).await.unwrap().unwrap();
            seen.push((event.id, event.what));
        }
        seen
    };
    let act = async {
        // The stream must have been asked for before something happens.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let started = bench.start().await;
        started.bench.engine.remove(&started.sandbox.id).await.unwrap();
        started
    };
    let (seen, started) = tokio::join!(watch, act);
    assert!(seen.iter().all(|(id, _)| *id == started.sandbox.id), "{seen:?}");
    assert!(seen.iter().any(|(_, what)| what == "start"), "{seen:?}");
    assert!(timeout(std::time::Duration::from_millis(50), foreign.next()).await.is_err());
}
