//! Which engine these tests run against: Docker, or the process engine with `PLUGBAY_TEST_ENGINE=process`. Tests that are
//! about one of them alone leave themselves out with the other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use plugbay::config::{CallLimits, EngineChoice, SandboxConfig};
use plugbay::domain::Isolation;
use plugbay::sandbox::{DockerEngine, Place, ProcessEngine, Sandbox};
use plugbay::shutdown::Shutdown;
use rustix::process::{Pid, Signal, kill_process};

use super::bench::{docker, runtime};

/// The engine of this run.
pub(crate) fn kind() -> Isolation {
    match std::env::var_os("PLUGBAY_TEST_ENGINE").as_ref().and_then(|name| name.to_str()) {
        Some("process") => Isolation::Process,
        Some("docker") | None => Isolation::Docker,
        Some(other) => panic!("PLUGBAY_TEST_ENGINE is docker or process, not {other}"),
    }
}

pub(crate) fn choice() -> EngineChoice {
    match kind() {
        Isolation::Docker => EngineChoice::Docker,
        Isolation::Process => EngineChoice::Process,
    }
}

fn may_be_left_out() -> bool {
    std::env::var_os("PLUGBAY_TEST_WITHOUT_DOCKER").is_some_and(|value| value == "1")
}

/// Whether tests of Docker alone can run. Panics where they must.
pub(crate) fn docker_is_there() -> bool {
    if kind() != Isolation::Docker || may_be_left_out() {
        return false;
    }
    docker(&["version"]).expect("these tests need Docker; PLUGBAY_TEST_WITHOUT_DOCKER=1 leaves them out");
    docker(&["image", "inspect", "plugbay/python:3"])
        .expect("these tests need the image plugbay/python:3: docker/python/build.sh");
    true
}

/// Whether tests of the process engine alone can run. Panics where they must.
pub(crate) fn process_is_there() -> bool {
    if kind() != Isolation::Process {
        return false;
    }
    assert!(rustix::process::geteuid().is_root(), "the process engine needs root");
    assert!(Path::new("/usr/bin/bwrap").exists(), "these tests need bubblewrap: apt-get install bubblewrap");
    true
}

/// Whether tests of either engine can run. Panics where they must.
pub(crate) fn engine_is_there() -> bool {
    docker_is_there() || process_is_there()
}

/// The engine of one service.
pub(crate) fn make(instance: &str, config: &SandboxConfig, calls: CallLimits) -> Box<dyn Sandbox> {
    match kind() {
        Isolation::Docker => Box::new(DockerEngine::new(instance, config, calls)),
        Isolation::Process => {
            let place = Place { runtime: runtime(), shutdown: Shutdown::default() };
            Box::new(ProcessEngine::new(instance, config, calls, place).unwrap())
        }
    }
}

/// The folder of a service below one hierarchy of cgroups.
fn cgroups(instance: &str) -> PathBuf {
    let top = Path::new("/sys/fs/cgroup");
    let top = if top.join("cgroup.controllers").exists() { top.to_owned() } else { top.join("pids") };
    top.join("plugbay").join(instance)
}

/// The sandboxes of a service, running or not.
pub(crate) fn sandboxes(instance: &str) -> Vec<String> {
    if kind() == Isolation::Docker {
        let filter = format!("label=plugbay.instance={instance}");
        let found = docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &filter]).unwrap();
        return found.lines().map(str::to_owned).collect();
    }
    let entries = fs::read_dir(cgroups(instance)).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// How many of them run.
pub(crate) fn running(instance: &str) -> usize {
    if kind() == Isolation::Docker {
        let filter = format!("label=plugbay.instance={instance}");
        return docker(&["ps", "--quiet", "--filter", &filter]).unwrap().lines().count();
    }
    sandboxes(instance).iter().filter(|sandbox| !processes(instance, sandbox).is_empty()).count()
}

/// The processes of a sandbox, bubblewrap's own included.
pub(crate) fn processes(instance: &str, sandbox: &str) -> Vec<i32> {
    if kind() == Isolation::Docker {
        let table = match docker(&["top", sandbox, "-eo", "pid"]) {
            Ok(table) => table,
            // It ended between the list and this look.
            Err(error) if error.contains("is not running") => return Vec::new(),
            Err(error) => panic!("{error}"),
        };
        return table.lines().skip(1).map(|line| line.trim().parse().unwrap()).collect();
    }
    let procs = fs::read_to_string(cgroups(instance).join(sandbox).join("cgroup.procs")).unwrap_or_default();
    procs.lines().map(|line| line.parse().unwrap()).collect()
}

/// The first process of a sandbox, as the machine sees it.
pub(crate) fn first_process(instance: &str, sandbox: &str) -> i32 {
    if kind() == Isolation::Docker {
        return docker(&["inspect", "--format", "{{.State.Pid}}", sandbox]).unwrap().parse().unwrap();
    }
    let is_first = |pid: &i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let inner = status.lines().find_map(|line| line.strip_prefix("NSpid:")?.split_whitespace().nth(1));
        inner == Some("1")
    };
    processes(instance, sandbox).into_iter().find(is_first).unwrap()
}

/// Kills a sandbox from outside.
pub(crate) fn kill(instance: &str, sandbox: &str) {
    let pid = Pid::from_raw(first_process(instance, sandbox)).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

/// Removes whatever is left of a service that has ended, also of a test that failed.
pub(crate) fn clean_up(instance: &str) {
    remove_sandboxes(instance);
    remove_cgroups(instance);
    unmount_volumes(instance);
}

/// Removes the sandboxes of a service behind its back.
pub(crate) fn remove_sandboxes(instance: &str) {
    for sandbox in sandboxes(instance) {
        if kind() == Isolation::Docker {
            docker(&["rm", "--force", &sandbox]).ok();
        } else {
            // The rest of it ends with its first process.
            for pid in processes(instance, &sandbox) {
                kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).ok();
            }
        }
    }
}

/// Cgroups of the process engine, as soon as nothing runs in them. Nobody else would look for those of a test.
fn remove_cgroups(instance: &str) {
    let tops = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    for top in tops.chain([PathBuf::from("/sys/fs/cgroup")]) {
        let own = top.join("plugbay").join(instance);
        let began = Instant::now();
        while own.exists() && began.elapsed() < Duration::from_secs(5) {
            let inner = fs::read_dir(&own).into_iter().flatten().flatten().map(|entry| entry.path());
            for folder in inner.chain([own.clone()]).filter(|path| path.is_dir()) {
                fs::remove_dir(folder).ok();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Volumes of a service that was killed, or did not end in order. Their loop devices go with them.
#[expect(clippy::disallowed_methods, reason = "as an operator would do it")]
fn unmount_volumes(instance: &str) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    for point in points.filter(|point| point.contains(&format!("/volumes-{instance}/"))) {
        Command::new("umount").args(["-l", point]).status().ok();
    }
}
