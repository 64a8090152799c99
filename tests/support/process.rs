//! The service in a process of its own, and its log.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How often something that is waited for is looked at.
const TICK: Duration = Duration::from_millis(5);

/// A running service. Killed when it is dropped.
pub struct Process {
    child: Child,
    pub address: String,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts the service and waits until it listens.
    pub fn serve(data: &Path, config: &Path, flags: &[&str]) -> Self {
        Self::start(serve_command(data, config, flags))
    }

    /// Starts the service by a command of the test's own and waits until it listens.
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut text = String::new();
        let address = loop {
            let line = lines.next().unwrap_or_else(|| panic!("the service did not listen: {text}")).unwrap();
            let found = line.split("http://").nth(1).and_then(|rest| rest.split(['"', ' ']).next()).map(str::to_owned);
            text.push_str(&line);
            text.push('\n');
            if let Some(address) = found.filter(|_| line.contains("Listening")) {
                break address;
            }
        };
        let log = Arc::new(Mutex::new(text));
        let copy = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = copy.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self { child, address, log, reader: Some(reader) }
    }

    /// What the service has written to stderr so far; all of it once it has ended.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// Ends the service in the middle of whatever it does.
    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Waits until the service has ended and its log is read to the end.
    #[track_caller]
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        let deadline = Instant::now() + patience;
        while self.is_running() {
            assert!(Instant::now() < deadline, "the service did not end within {patience:?}");
            std::thread::sleep(TICK);
        }
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.child.wait().unwrap()
    }

    /// Asks the service to stop, and waits until it has.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait(Duration::from_secs(20))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `plugbay serve` on a free port.
#[expect(clippy::disallowed_methods, reason = "starts the program under test")]
fn serve_command(data: &Path, config: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plugbay"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data).arg("--config").arg(config).args(flags);
    command.env("PLUGBAY__SERVER__REQUESTS_PER_SECOND", "100000");
    command
}

/// Waits for something that takes a moment.
#[track_caller]
pub fn until(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {patience:?}");
        std::thread::sleep(TICK);
    }
}

/// `plugbay audit verify` on the data directory of a stopped service: its exit code, and its JSON.
#[expect(clippy::disallowed_methods, reason = "starts the program under test")]
pub fn verify_audit(data: &Path, expect: &str) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plugbay"));
    let output =
        command.args(["audit", "verify", "--json", "--expect", expect, "--data-dir"]).arg(data).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
}
