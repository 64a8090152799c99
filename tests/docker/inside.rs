//! A plugin that tries what it must not be able to do. Each script answers with what succeeded.

use serde_json::{Value, json};

use super::bench::Bench;

/// What the code of a plugin answers.
async fn answer(code: &str) -> Option<Value> {
    Some(Bench::python(code)?.start().await.call().await)
}

#[tokio::test]
async fn nothing_but_tmp_can_be_written() {
    let code = r#"
import json, os
found = {}
for folder in ["/", "/plugin", "/opt/plugbay", "/run/plugbay", "/etc", "/usr", "/dev", "/sys/fs/cgroup", "/proc/sys/kernel", "/mnt", "/data", "/tmp", "/dev/shm"]:
    try:
        with open(os.path.join(folder, "new"), "w") as file:
            file.write("x")
        found[folder] = True
    except OSError:
        pass
for file in ["/etc/hosts", "/etc/passwd", "/opt/plugbay/shim", "/plugin/run", "/run/plugbay/nonce", "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger"]:
    try:
        open(file, "r+b").close()
        found[file] = True
    except OSError:
        pass
for path in ["/run/plugbay/host.sock", "/run/plugbay/log.sock"]:
    try:
        os.unlink(path)
        found[path] = True
    except OSError:
        pass
print(json.dumps(found))
"#;
    let Some(found) = answer(code).await else { return };
    assert_eq!(found, json!({ "/tmp": true, "/dev/shm": true }));
}

#[tokio::test]
async fn tmp_is_small_and_runs_nothing() {
    let code = r#"
import json, os, subprocess
with open("/tmp/program", "w") as file:
    file.write('#!/bin/sh\necho ran\n')
os.chmod("/tmp/program", 0o755)
try:
    ran = subprocess.run(["/tmp/program"], capture_output=True).stdout.decode()
except OSError as error:
    ran = error.errno
written = 0
try:
    with open("/tmp/big", "wb", buffering=0) as file:
        while written < 100:
            file.write(b"x" * 1048576)
            written += 1
except OSError as error:
    full = error.errno
print(json.dumps([ran, written, full]))
"#;
    let Some(found) = answer(code).await else { return };
    assert_eq!(found[0], 13, "EACCES");
    assert!((60..=64).contains(&found[1].as_u64().unwrap()), "{found}");
    assert_eq!(found[2], 28, "ENOSPC");
}

#[tokio::test]
async fn the_first_process_is_out_of_reach() {
    let code = r#"
import json, os
found = []
for name in ["mem", "maps", "environ", "fd/3"]:
    try:
        os.open("/proc/1/" + name, os.O_RDONLY)
        found.append(name)
    except OSError:
        pass
try:
    open("/opt/plugbay/shim", "rb")
    found.append("shim")
except OSError:
    pass
environment = sorted(name for name in os.environ if name not in ("PWD", "SHLVL", "_", "LC_CTYPE"))
print(json.dumps([found, os.getpid() != 1, environment]))
"#;
    let Some(found) = answer(code).await else { return };
    let environment = json!(["HOME", "HOSTNAME", "LANG", "PATH", "PLUGBAY_METHOD", "PLUGIN_DIR", "PLUGIN_ID"]);
    assert_eq!(found, json!([[], true, environment]));
}

#[tokio::test]
async fn system_calls_are_those_of_the_table() {
    let code = r#"
import ctypes, errno, json, socket, threading
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(number, *arguments)
    return 0 if result >= 0 else ctypes.get_errno()
families = {}
for family in [0, 1, 2, 3, 10, 16, 17, 38, 40]:
    try:
        socket.socket(family, socket.SOCK_DGRAM).close()
        families[family] = 0
    except OSError as error:
        families[family] = error.errno
numbers = {"ptrace": 101, "unshare": 272, "setns": 308, "mount": 165, "memfd_create": 319, "io_uring_setup": 425, "bpf": 321, "userfaultfd": 323, "keyctl": 250, "personality": 135, "shmget": 29, "mq_open": 240, "add_key": 248, "perf_event_open": 298, "execveat": 322}
calls = {name: call(number, 0, 0, 0, 0, 0) for name, number in numbers.items()}
thread = threading.Thread(target=lambda: None)
thread.start()
thread.join()
print(json.dumps({"families": families, "calls": calls, "clone3": call(435, 0, 0), "user namespace": call(56, 0x10000011, 0, 0, 0, 0)}))
"#;
    if !cfg!(target_arch = "x86_64") {
        return;
    }
    let Some(found) = answer(code).await else { return };
    let families = json!({ "0": 97, "1": 0, "2": 0, "3": 97, "10": 0, "16": 97, "17": 97, "38": 97, "40": 97 });
    assert_eq!(found["families"], families);
    for (name, errno) in found["calls"].as_object().unwrap() {
        assert_eq!(*errno, 1, "{name}");
    }
    assert_eq!((&found["clone3"], &found["user namespace"]), (&json!(38), &json!(1)));
}

#[tokio::test]
async fn there_is_no_network() {
    let code = r#"
import json, os, socket
found = {"interfaces": [line.split(":")[0].strip() for line in open("/proc/net/dev").readlines()[2:]], "hosts": open("/etc/hosts").read()}
probe = socket.socket()
probe.settimeout(2)
try:
    probe.connect(("192.0.2.1", 80))
    found["connect"] = 0
except OSError as error:
    found["connect"] = error.errno
server = socket.create_server(("127.0.0.1", 53))
socket.create_connection(server.getsockname()).close()
print(json.dumps(found))
"#;
    let Some(found) = answer(code).await else { return };
    assert_eq!(found["connect"], 101, "ENETUNREACH");
    assert_eq!(found["hosts"], "127.0.0.1 localhost plugin\n");
    assert!(found["interfaces"].as_array().unwrap().contains(&json!("lo")), "{found}");
}

#[tokio::test]
async fn what_tells_about_the_machine_is_masked() {
    let code = r#"
import json, os
found = []
for path in ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts", "/proc/cmdline", "/proc/kallsyms"]:
    try:
        if open(path, "rb").read(1):
            found.append(path)
    except OSError:
        pass
for path in ["/sys/firmware", "/sys/block", "/sys/class/thermal", "/sys/devices/virtual/powercap", "/proc/acpi", "/proc/scsi"]:
    try:
        if os.listdir(path):
            found.append(path)
    except OSError:
        pass
print(json.dumps(found))
"#;
    let Some(found) = answer(code).await else { return };
    assert_eq!(found, json!([]));
}

/// In a folder of the operator's such a file would be a way into the sandbox for every user of the machine. All calls are
/// made directly, as no library stands between a plugin and the kernel.
#[tokio::test]
async fn no_file_gets_a_mode_that_lends_its_owner() {
    let code = r#"
import ctypes, json, os, platform
libc = ctypes.CDLL(None, use_errno=True)
path = b"/data/tool" if os.access("/data", os.W_OK) else b"/tmp/tool"
flags = os.O_CREAT | os.O_WRONLY
fd = os.open(path, flags, 0o755)
how = (ctypes.c_uint64 * 3)(flags, 0o6755, 0)
calls = {
    "fchmod": (91, fd, 0o6755), "fchmodat": (268, -100, path, 0o4755), "fchmodat2": (452, -100, path, 0o2755, 0),
    "openat": (257, -100, path + b"1", flags, 0o4755), "openat2": (437, -100, path + b"2", ctypes.byref(how), 24),
    "mkdirat": (258, -100, path + b"3", 0o6755), "mknodat": (259, -100, path + b"4", 0o106755, 0),
    "chmod": (90, path, 0o6755), "open": (2, path + b"5", flags, 0o6755), "creat": (85, path + b"6", 0o2755),
    "mkdir": (83, path + b"7", 0o2755),
}
found = {}
for name, (number, *arguments) in calls.items():
    ctypes.set_errno(0)
    done = libc.syscall(ctypes.c_long(number), *[
        ctypes.c_long(value) if isinstance(value, int) else value for value in arguments])
    found[name] = ctypes.get_errno() if done < 0 else "done"
modes = {os.stat(os.path.join(os.path.dirname(path), name)).st_mode & 0o6000 for name in os.listdir(os.path.dirname(path))}
os.chmod(path, 0o1755)
print(json.dumps({"calls": found, "modes": sorted(modes)}))
"#;
    let Some(found) = answer(code).await else { return };
    let refused = |name: &str| if name == "openat2" { 38 } else { 1 };
    for (name, result) in found["calls"].as_object().unwrap() {
        // The kernel may be older than the call.
        let expected = [json!(refused(name)), json!(38)];
        assert!(expected.contains(result), "{name}: {result}");
    }
    assert_eq!(found["modes"], json!([0]), "{found}");
}
