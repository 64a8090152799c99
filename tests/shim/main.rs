//! The shim alone: compiled once as it is for sandboxes, and run against sockets of the test.
#![expect(clippy::unwrap_used, reason = "a failed step should stop the test")]

mod bridge;
mod entry;
mod exec;
mod processes;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Longest wait for anything in these tests.
const PATIENCE: Duration = Duration::from_secs(10);

/// A started program with the service's ends of its sockets. Killed when it is dropped.
struct Shim {
    child: Child,
    host: BufReader<UnixStream>,
    log: BufReader<UnixStream>,
    hello: Value,
    /// Held for its sockets.
    _dir: tempfile::TempDir,
}

/// The shim, built by the command that builds it for sandboxes.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shim");
        let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("shim");
        let mut rustc = command("rustc");
        rustc.arg(format!("@{}", package.join("rustc.args").display()));
        rustc.arg("-o").arg(&path).arg(package.join("src/main.rs"));
        assert!(rustc.status().unwrap().success());
        path
    })
}

#[expect(clippy::disallowed_methods, reason = "starts the program under test")]
fn command(program: &str) -> Command {
    Command::new(program)
}

/// A run directory with both listeners.
fn run_dir() -> (tempfile::TempDir, UnixListener, UnixListener) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let host = UnixListener::bind(dir.path().join("host.sock")).unwrap();
    let log = UnixListener::bind(dir.path().join("log.sock")).unwrap();
    for socket in ["host.sock", "log.sock"] {
        std::fs::set_permissions(dir.path().join(socket), PermissionsExt::from_mode(0o666)).unwrap();
    }
    std::fs::write(dir.path().join("nonce"), "secret-nonce\n").unwrap();
    (dir, host, log)
}

/// The same with the socket of what leaves.
fn run_dir_with_egress() -> (tempfile::TempDir, UnixListener, UnixListener, UnixListener) {
    let (dir, host, log) = run_dir();
    let egress = UnixListener::bind(dir.path().join("egress.sock")).unwrap();
    (dir, host, log, egress)
}

impl Shim {
    fn start(runtime: &str, program: &[&str]) -> Self {
        Self::start_with(&[], runtime, &[], program)
    }

    /// A Python program as entry point.
    fn python(runtime: &str, code: &str) -> Self {
        Self::start(runtime, &["/usr/bin/python3", "-c", code])
    }

    /// Starts the shim, perhaps through another program.
    fn start_with(through: &[&str], runtime: &str, flags: &[&str], program: &[&str]) -> Self {
        Self::start_binary(binary(), through, runtime, flags, program)
    }

    /// Starts a copy of the shim.
    fn start_binary(shim: &Path, through: &[&str], runtime: &str, flags: &[&str], program: &[&str]) -> Self {
        Self::start_in(run_dir(), shim, through, runtime, flags, program)
    }

    fn start_in(
        (dir, host, log): (tempfile::TempDir, UnixListener, UnixListener),
        shim: &Path,
        through: &[&str],
        runtime: &str,
        flags: &[&str],
        program: &[&str],
    ) -> Self {
        let shim = shim.to_str().unwrap();
        let mut words: Vec<&str> = through.to_vec();
        words.extend([shim, "--runtime", runtime, "--run-dir", dir.path().to_str().unwrap()]);
        words.extend(flags);
        words.push("--");
        words.extend(program);
        let child = command(words[0]).args(&words[1..]).stdin(Stdio::null()).spawn().unwrap();
        let accept = |listener: UnixListener| {
            let (socket, _) = listener.accept().unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            BufReader::new(socket)
        };
        let (mut host, log) = (accept(host), accept(log));
        let hello = line(&mut host).unwrap();
        Self { child, host, log, hello, _dir: dir }
    }

    fn send(&mut self, message: &Value) {
        writeln!(self.host.get_mut(), "{message}").unwrap();
    }

    /// The next message to the service.
    #[track_caller]
    fn receive(&mut self) -> Value {
        line(&mut self.host).expect("the socket was closed")
    }

    fn log_line(&mut self) -> Value {
        line(&mut self.log).expect("the log was closed")
    }

    /// All lines of the log up to its end.
    fn log(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| line(&mut self.log)).collect()
    }

    #[track_caller]
    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the shim did not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[track_caller]
    fn assert_code(&mut self, code: i32) {
        assert_eq!(self.wait().code(), Some(code));
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn line(from: &mut BufReader<UnixStream>) -> Option<Value> {
    let mut line = String::new();
    let count = from.read_line(&mut line).unwrap();
    (count > 0).then(|| serde_json::from_str(&line).unwrap())
}

#[test]
fn binary_is_small() {
    let size = binary().metadata().unwrap().len();
    assert!(size <= 1_700_000, "{size} bytes");
}

#[test]
fn wrong_arguments_are_64() {
    for words in [
        vec![],
        vec!["--runtime", "python"],
        vec!["--runtime", "python", "--"],
        vec!["--runtime", "cobol", "--", "true"],
        vec!["--runtime", "python", "--timeout-ms", "5", "--", "true"],
        vec!["--runtime", "exec", "--timeout-ms", "0", "--", "true"],
        vec!["--runtime", "exec", "--unknown", "0", "--", "true"],
    ] {
        let status = command(binary().to_str().unwrap()).args(&words).stderr(Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(64), "{words:?}");
    }
}

#[test]
fn no_service_is_72() {
    let dir = tempfile::tempdir().unwrap();
    let mut shim = command(binary().to_str().unwrap());
    shim.args(["--runtime", "python", "--run-dir"]).arg(dir.path()).args(["--", "true"]);
    assert_eq!(shim.stderr(Stdio::null()).status().unwrap().code(), Some(72));
}

#[test]
fn hello_carries_the_nonce_and_a_report() {
    let mut shim = Shim::start("python", &["/bin/true"]);
    assert_eq!(shim.hello["method"], "hello");
    assert_eq!(shim.hello["params"]["nonce"], "secret-nonce");
    assert_eq!(shim.hello["params"]["protocol"], 1);
    let report = &shim.hello["params"]["report"];
    assert!(report["uid"].is_u64() && report["gid"].is_u64() && report["groups"].is_array(), "{report}");
    assert_eq!(report["capabilities"]["effective"].as_str().unwrap().len(), 16);
    assert_eq!(report["no_new_privs"], false);
    assert_eq!(report["seccomp"], 0);
    assert!(report["mounts"]["/"]["flags"].as_array().unwrap().contains(&json!("rw")), "{report}");
    assert_eq!(report["mounts"]["/plugin"], Value::Null);
    assert!(report["rlimits"]["nofile"]["soft"].is_u64(), "{report}");
    assert!(report["cgroup"].as_object().unwrap().contains_key("memory"));
    assert_eq!(report["egress"], false);
    assert!(report["interfaces"].as_array().unwrap().contains(&json!("lo")));
    shim.assert_code(0);
}
