//! One sandbox with everything that the service would put around it: package, instance directory, sockets, engine.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use plugbay::config::{Config, SandboxConfig};
use plugbay::domain::{ResourceLimits, SessionId};
use plugbay::sandbox::{EntryPoint, Network, RunningSandbox, RuntimeFiles, Sandbox, SandboxSpec};
use semver::Version;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use super::kind;

/// Longest wait for anything in these tests.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Output of the docker command.
#[expect(clippy::disallowed_methods, reason = "the second opinion on what the engine did")]
pub(crate) fn docker(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("docker").args(arguments).output();
    let output = output.expect("these tests need the docker command: apt-get install docker.io");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// The runtime files, written once for all tests.
pub(crate) fn runtime() -> &'static Path {
    static RUNTIME: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = RUNTIME.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = RuntimeFiles::write_out(folder.path()).unwrap();
        (folder, path)
    });
    path
}

/// The configuration of the sandbox as in a service without a file.
pub(crate) fn config() -> SandboxConfig {
    Config::for_testing(Path::new("/tmp/unused")).sandbox
}

/// The engine of one service.
pub(crate) fn engine(instance: &str, config: &SandboxConfig) -> Box<dyn Sandbox> {
    kind::make(instance, config, Config::for_testing(Path::new("/tmp/unused")).calls)
}

/// A service with one sandbox, not yet started. Its containers are removed when it is dropped.
pub(crate) struct Bench {
    pub(crate) engine: Box<dyn Sandbox>,
    pub(crate) spec: SandboxSpec,
    pub(crate) folder: TempDir,
    host: UnixListener,
    log: UnixListener,
}

/// A sandbox that has introduced itself.
pub(crate) struct Started {
    pub(crate) bench: Bench,
    pub(crate) sandbox: RunningSandbox,
    pub(crate) hello: Value,
    host: BufReader<UnixStream>,
    _log: UnixStream,
    last_id: u64,
}

impl Bench {
    /// A plugin of these files; `None` where the engine may be left out and is.
    pub(crate) fn new(entry_point: EntryPoint, files: &[(&str, &str)]) -> Option<Self> {
        kind::engine_is_there().then(|| Self::make(entry_point, files))
    }

    /// A program that is started for each call.
    pub(crate) fn exec(program: &str) -> Option<Self> {
        Self::new(
            EntryPoint::Exec { program: "run".to_owned(), methods: vec!["execute".to_owned()] },
            &[("run", program)],
        )
    }

    /// Python code that is run for each call and prints its answer.
    pub(crate) fn python(code: &str) -> Option<Self> {
        Self::exec(&format!("#!/usr/bin/python3\n{code}\n"))
    }

    fn make(entry_point: EntryPoint, files: &[(&str, &str)]) -> Self {
        static NEXT_UID: AtomicU32 = AtomicU32::new(210_000);
        let uid = NEXT_UID.fetch_add(1, Ordering::Relaxed);
        let folder = tempfile::tempdir().unwrap();
        let (package, run) = (folder.path().join("package"), folder.path().join("run"));
        for (path, mode) in [(&package, 0o755), (&run, 0o711)] {
            fs::create_dir(path).unwrap();
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        for (name, text) in files {
            fs::write(package.join(name), text).unwrap();
            fs::set_permissions(package.join(name), Permissions::from_mode(0o755)).unwrap();
        }
        fs::write(run.join("nonce"), "nonce-of-the-test").unwrap();
        fs::write(run.join("passwd"), format!("plugin:x:{uid}:{uid}::/tmp:/bin/sh\n")).unwrap();
        let listen = |name: &str| {
            let path = run.join(name);
            let listener = UnixListener::bind(&path).unwrap();
            let mode = match chown(&path, Some(uid), Some(uid)) {
                Err(error) if error.kind() == ErrorKind::PermissionDenied => 0o666,
                other => other.map(|()| 0o600).unwrap(),
            };
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            listener
        };
        let (host, log) = (listen("host.sock"), listen("log.sock"));
        let session = SessionId::generate();
        let instance = format!("test-{session}");
        let spec = SandboxSpec {
            instance: instance.clone(),
            session,
            plugin_id: format!("plugin_{}", "0".repeat(32)).parse().unwrap(),
            name: "test-plugin".parse().unwrap(),
            version: Version::new(1, 0, 0),
            image: "plugbay/python:3".to_owned(),
            uid,
            limits: ResourceLimits::default(),
            entry_point,
            package,
            runtime: runtime().to_owned(),
            instance_dir: run,
            data: None,
            folders: Vec::new(),
            network: Network::None,
        };
        Self { engine: engine(&instance, &config()), spec, folder, host, log }
    }

    /// Makes a folder that the plugin may write.
    pub(crate) fn writable_folder(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        path
    }

    /// Starts the sandbox and waits until it has introduced itself.
    pub(crate) async fn start(self) -> Started {
        let sandbox = self.engine.start(&self.spec).await.unwrap();
        let accept = async |listener: &UnixListener| timeout(PATIENCE, listener.accept()).await.unwrap().unwrap().0;
        let host = accept(&self.host).await;
        let log = accept(&self.log).await;
        let peer = host.peer_cred().unwrap();
        assert_eq!((peer.uid(), peer.pid()), (self.spec.uid, Some(sandbox.pid)));
        let mut started =
            Started { bench: self, sandbox, hello: Value::Null, host: BufReader::new(host), _log: log, last_id: 0 };
        started.hello = started.receive().await;
        started
    }

    /// How many sandboxes of this service there are.
    pub(crate) fn sandbox_count(&self) -> usize {
        kind::sandboxes(&self.spec.instance).len()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        kind::clean_up(&self.spec.instance);
    }
}

impl Started {
    async fn receive(&mut self) -> Value {
        let mut line = String::new();
        timeout(PATIENCE, self.host.read_line(&mut line)).await.unwrap().unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("the sandbox hung up; last words: `{line}`"))
    }

    /// Sends a text.
    pub(crate) async fn send(&mut self, text: &str) {
        self.host.get_mut().write_all(text.as_bytes()).await.unwrap();
    }

    /// Sends a request and returns the whole answer.
    pub(crate) async fn request(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        self.send(&format!("{message}\n")).await;
        loop {
            let answer = self.receive().await;
            if answer["id"] == id {
                return answer;
            }
        }
    }

    /// Calls the plugin, and returns the result.
    pub(crate) async fn call(&mut self) -> Value {
        let call = format!("call_{}", self.last_id);
        let params = json!({ "method": "execute", "params": { "context": {} }, "call": call, "deadline_ms": 15_000 });
        let mut answer = self.request("invoke", params).await;
        assert!(answer["error"].is_null(), "{answer}");
        answer["result"].take()
    }

    /// What the shim saw.
    pub(crate) fn report(&self) -> &Value {
        &self.hello["params"]["report"]
    }

    /// What `docker inspect` says.
    pub(crate) fn inspect(&self) -> Value {
        let text = docker(&["inspect", &self.sandbox.id]).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()[0].take()
    }

    /// A file of the first process below /proc.
    pub(crate) fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.sandbox.pid)).unwrap()
    }

    /// Hangs up, as a service that died.
    pub(crate) fn hang_up(self) -> Bench {
        self.bench
    }
}
