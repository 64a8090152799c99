//! Processes: reaping, ending, and keeping the plugin out of the shim.

use std::io::Write;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getuid, kill_process};
use serde_json::json;

use super::Shim;

/// Ignores what can be ignored, says its id and sleeps.
const DEAF: &str = "import os, signal, time
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
os.write(3, b'%d\\n' % os.getpid())
while True: time.sleep(1)";

/// As process 1 of an own namespace where the tests may make one.
fn as_first() -> Vec<&'static str> {
    if getuid().is_root() { vec!["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"] } else { Vec::new() }
}

/// A zombie is dead: who reaps it is not the shim's affair any more.
fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with(['Z', 'X']))
}

fn id_of(shim: &mut Shim) -> i32 {
    i32::try_from(shim.receive().as_i64().unwrap()).unwrap()
}

#[track_caller]
fn assert_soon(holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !holds() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn orphans_are_reaped() {
    let code = "import os, time, json
for _ in range(30):
    if (child := os.fork()) == 0:
        if os.fork() == 0: time.sleep(0.02); os._exit(0)
        os._exit(0)
    os.waitpid(child, 0)
deadline = time.time() + 5
while time.time() < deadline:
    zombies = mine = 0
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try: fields = open(f'/proc/{pid}/stat').read().rsplit(')', 1)[1].split()
        except OSError: continue
        mine += fields[1] == str(os.getppid())
        zombies += fields[1] == str(os.getppid()) and fields[0] == 'Z'
    if mine == 1: break
    time.sleep(0.01)
os.write(3, (json.dumps([mine, zombies]) + '\\n').encode())";
    for through in [as_first(), Vec::new()] {
        let mut shim = Shim::start_with(&through, "python", &[], &["/usr/bin/python3", "-c", code]);
        assert_eq!(shim.receive(), json!([1, 0]), "the plugin alone is left");
        shim.assert_code(0);
    }
}

#[test]
fn all_ends_when_the_service_is_gone() {
    let mut shim = Shim::start_with(&[], "python", &[], &["/usr/bin/python3", "-c", DEAF]);
    let plugin = id_of(&mut shim);
    assert!(is_alive(plugin));
    let start = Instant::now();
    shim.host.get_ref().shutdown(std::net::Shutdown::Both).unwrap();
    shim.assert_code(75);
    assert_soon(|| !is_alive(plugin));
    assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
}

#[test]
fn as_process_1_it_takes_everything_along() {
    let start_session = "import os, subprocess, sys
child = subprocess.Popen([sys.executable, '-c', CODE], start_new_session=True, pass_fds=[3])
child.wait()"
        .replace("CODE", &format!("'''{DEAF}'''").replace("\\n", "\\\\n"));
    let mut shim = Shim::start_with(&as_first(), "python", &[], &["/usr/bin/python3", "-c", &start_session]);
    id_of(&mut shim);
    let start = Instant::now();
    shim.host.get_ref().shutdown(std::net::Shutdown::Both).unwrap();
    shim.assert_code(75);
    // `unshare` ends only after the whole namespace has.
    assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
}

#[test]
fn sigterm_ends_it_at_once() {
    let mut shim = Shim::python("python", DEAF);
    let plugin = id_of(&mut shim);
    let id = i32::try_from(shim.child.id()).unwrap();
    kill_process(Pid::from_raw(id).unwrap(), Signal::TERM).unwrap();
    shim.assert_code(143);
    assert_soon(|| !is_alive(plugin));
}

#[test]
fn the_plugin_cannot_open_the_shim() {
    let code = "import os, json
found = []
for name in ['mem', 'maps', 'environ', 'fd']:
    path = f'/proc/{os.getppid()}/{name}'
    try: os.listdir(path) if name == 'fd' else open(path, 'rb').read(1); found.append(name)
    except PermissionError: pass
    except OSError as error: found.append(repr(error))
adj = open('/proc/self/oom_score_adj').read().strip()
os.write(3, (json.dumps([os.getuid(), found, adj]) + '\\n').encode())
os.read(3, 1)";
    let uid = if getuid().is_root() { 65534 } else { getuid().as_raw() };
    let text = uid.to_string();
    // The build folder may be closed to that user: a file of its own is open to all.
    let dir = tempfile::tempdir().unwrap();
    let shim = dir.path().join("shim");
    std::fs::copy(super::binary(), &shim).unwrap();
    for path in [dir.path(), &shim] {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let through: Vec<&str> = if getuid().is_root() {
        vec!["setpriv", "--reuid", &text, "--regid", &text, "--clear-groups", "--no-new-privs"]
    } else {
        Vec::new()
    };
    let mut shim = Shim::start_binary(&shim, &through, "python", &[], &["/usr/bin/python3", "-c", code]);
    assert_eq!(shim.receive(), json!([uid, [], "1000"]));
    let score = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).ok();
    assert_soon(|| score(shim.child.id()) == score(std::process::id()));
    if getuid().is_root() {
        let report = &shim.hello["params"]["report"];
        assert_eq!(report["uid"], uid);
        assert_eq!(report["no_new_privs"], true);
        assert_eq!(report["capabilities"]["effective"], "0000000000000000");
    }
    writeln!(shim.host.get_mut()).unwrap();
    shim.assert_code(0);
}

/// Removes the group when the test ends; it is empty by then.
struct MemoryGroup(std::path::PathBuf);

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        std::fs::remove_dir(&self.0).ok();
    }
}

#[test]
fn a_plugin_that_eats_its_memory_ends_with_76() {
    let path = format!("/sys/fs/cgroup/memory/plugbay-shim-{}", std::process::id());
    if !getuid().is_root() || std::fs::create_dir(&path).is_err() {
        // The decision itself is tested in `oom.rs` on recorded texts.
        return;
    }
    let group = MemoryGroup(path.clone().into());
    std::fs::write(group.0.join("memory.limit_in_bytes"), "50331648").unwrap();
    std::fs::write(group.0.join("memory.memsw.limit_in_bytes"), "50331648").ok();
    let enter = format!("echo $$ > {path}/cgroup.procs && exec \"$@\"");
    let code = "import os; os.write(3, b'1\\n'); data = [b'x' * 1000000 for _ in range(300)]";
    let through = ["/bin/sh", "-c", &enter, "sh"];
    let mut shim = Shim::start_with(&through, "python", &[], &["/usr/bin/python3", "-c", code]);
    assert_eq!(shim.hello["params"]["report"]["cgroup"]["memory"], 50_331_648);
    assert_eq!(shim.receive(), json!(1));
    shim.assert_code(76);
    assert_eq!(shim.log(), [json!({"exit": {"code": null, "signal": 9, "oom": true}})]);
}
