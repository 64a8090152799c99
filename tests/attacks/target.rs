//! A service in a process of its own, between files it must not touch.

#![allow(unreachable_pub, reason = "a test binary has no outside")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;

use crate::support::app::{Answer, form, send};
use crate::support::process::Process;

/// Memory that one attack may cost.
const MAX_GROWTH_KIB: u64 = 64 * 1024;

/// Longest wait for an answer to an attack.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longest wait until staging is empty again.
const CLEANED_UP: Duration = Duration::from_secs(5);

/// What is recorded of a file: inode, mode, time of change, and content.
type Fingerprint = (u64, u32, i64, Vec<u8>);

/// The service under attack.
pub struct Target {
    folder: tempfile::TempDir,
    flags: Vec<String>,
    pub process: Process,
    pub address: String,
    pub token: String,
    pub runtime: Runtime,
    pub client: Client,
    canaries: BTreeMap<PathBuf, Fingerprint>,
    audit_rows: u64,
    plugins: Value,
    idle_kib: u64,
}

impl Target {
    /// A service that installs unsigned archives.
    pub fn start() -> Self {
        Self::start_with("security: { signatures: off }\n", &["--insecure-dev"])
    }

    /// A service that needs signatures.
    pub fn start_signed() -> Self {
        Self::start_with("", &[])
    }

    /// A service with this configuration and these flags.
    pub fn start_with(config: &str, flags: &[&str]) -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let folder = tempfile::tempdir().unwrap();
        // Names that archives of the list try to write, beside the data directory and above it.
        for name in ["evil", "evil.txt", "moo", "tmp/moo", "etc/passwd"] {
            let path = folder.path().join("around").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"canary").unwrap();
        }
        fs::write(folder.path().join("plugbay.yaml"), config).unwrap();
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let process = serve(folder.path(), &flags);
        let address = process.address.clone();
        let token = fs::read_to_string(folder.path().join("around/data/admin.token")).unwrap().trim().to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(PATIENCE).build().unwrap();
        let mut target = Self {
            canaries: BTreeMap::new(),
            folder,
            flags,
            process,
            address,
            token,
            runtime,
            client,
            audit_rows: 0,
            plugins: Value::Null,
            idle_kib: 0,
        };
        target.remember();
        target
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("around/data")
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A request with the first token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path)).bearer_auth(&self.token)
    }

    pub fn send(&self, request: RequestBuilder) -> Answer {
        self.runtime.block_on(async { send(request).await })
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path))
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body))
    }

    pub fn install(&self, archive: &[u8], signature: Option<&str>) -> Answer {
        // Building the form needs no runtime, sending it does.
        self.send(self.request(Method::POST, "/api/plugins/install").multipart(form(archive, signature)))
    }

    /// Takes the present state as the one that attacks must not change.
    pub fn remember(&mut self) {
        self.canaries = self.snapshot();
        self.audit_rows = self.count_audit_rows();
        self.plugins = self.get("/api/plugins?limit=1000").expect(200);
        fs::write(format!("/proc/{}/clear_refs", self.process.id()), "5").ok();
        self.idle_kib = self.peak_kib();
    }

    /// Installs an unsigned archive that must be refused with one of these codes, and checks that nothing is left.
    #[track_caller]
    pub fn refuses(&mut self, what: &str, archive: &[u8], codes: &[&str]) {
        self.refuses_signed(what, archive, None, codes);
    }

    /// The same for an archive with a signature.
    #[track_caller]
    pub fn refuses_signed(&mut self, what: &str, archive: &[u8], signature: Option<&str>, codes: &[&str]) {
        let answer = self.install(archive, signature);
        let code = answer.json()["code"].as_str().unwrap_or("installed").to_owned();
        assert!(codes.contains(&code.as_str()), "{what}: expected {codes:?}, found {}", answer.text);
        answer.expect_problem(answer.status.as_u16(), &code);
        assert!(matches!(answer.status.as_u16(), 400 | 409 | 413 | 415 | 422), "{what}: {}", answer.status);
        self.unchanged(what, 1);
        let last = self.get("/api/audit?limit=1").expect(200)["entries"][0].take();
        assert_eq!(last["detail"]["code"], code, "{what}: {last}");
    }

    /// Installs an archive that is honest after all, and removes it again.
    #[track_caller]
    pub fn accepts(&mut self, what: &str, archive: &[u8]) -> Value {
        let installed = self.install(archive, None);
        assert_eq!(installed.status.as_u16(), 201, "{what}: {}", installed.text);
        let name = installed.json()["name"].as_str().unwrap().to_owned();
        self.uninstall(&name);
        self.unchanged(what, 2);
        installed.json()
    }

    /// Removes a plugin that an attack installed.
    pub fn uninstall(&self, name: &str) {
        self.send(self.request(Method::DELETE, &format!("/api/plugins/{name}"))).expect(204);
    }

    /// Checks that nothing but this many rows of the audit log has changed.
    #[track_caller]
    pub fn unchanged(&mut self, what: &str, new_audit_rows: u64) {
        assert!(self.process.is_running(), "{what}: the service ended");
        assert_eq!(self.client_health(), 200, "{what}");
        let deadline = Instant::now() + CLEANED_UP;
        while fs::read_dir(self.data().join("staging")).unwrap().count() > 0 {
            assert!(Instant::now() < deadline, "{what}: staging is not empty");
            std::thread::sleep(Duration::from_millis(5));
        }
        let rows = self.count_audit_rows();
        assert_eq!(rows - self.audit_rows, new_audit_rows, "{what}: rows of the audit log");
        self.audit_rows = rows;
        assert_eq!(self.get("/api/plugins?limit=1000").expect(200), self.plugins, "{what}: the registry changed");
        assert_eq!(self.snapshot(), self.canaries, "{what}: something outside the data directory changed");
        let grown = self.peak_kib().saturating_sub(self.idle_kib);
        assert!(grown < MAX_GROWTH_KIB, "{what}: memory grew by {grown} KiB");
    }

    /// Ends the service in the middle of whatever it does.
    pub fn stop(&mut self) {
        self.process.kill();
    }

    /// Asks the service to stop; returns its log.
    pub fn stop_in_order(&mut self) -> String {
        assert!(self.process.stop().success(), "{}", self.process.log());
        self.process.log()
    }

    /// Starts it again on the same data.
    pub fn restart(&mut self) {
        self.process = serve(self.folder.path(), &self.flags);
        self.address = self.process.address.clone();
        let deadline = Instant::now() + PATIENCE;
        while !self.send(self.client.get(self.url("/readyz"))).is_ready_but_for_the_engine() {
            assert!(Instant::now() < deadline, "the service does not get ready");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts it again on the same data, with signatures needed.
    pub fn restart_signed(&mut self) {
        fs::write(self.folder.path().join("plugbay.yaml"), "").unwrap();
        self.flags.clear();
        self.restart();
    }

    /// Stops the service, which must have lived to the end.
    pub fn finish(mut self) {
        assert!(self.process.is_running(), "the service ended");
    }

    fn client_health(&self) -> u16 {
        self.send(self.client.get(self.url("/healthz"))).status.as_u16()
    }

    fn count_audit_rows(&self) -> u64 {
        self.get("/api/audit/verify").expect(200)["entries"].as_u64().unwrap()
    }

    /// The most memory the service has held, in KiB.
    fn peak_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Everything around the data directory.
    fn snapshot(&self) -> BTreeMap<PathBuf, Fingerprint> {
        let data = self.data();
        let mut found = BTreeMap::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path != data {
                    found.insert(path.clone(), fingerprint(&path));
                    if path.is_dir() {
                        folders.push(path);
                    }
                }
            }
        }
        found
    }
}

fn fingerprint(path: &Path) -> Fingerprint {
    let metadata = fs::symlink_metadata(path).unwrap();
    let content = if metadata.is_file() { Sha256::digest(fs::read(path).unwrap()).to_vec() } else { Vec::new() };
    (metadata.ino(), metadata.mode(), metadata.mtime(), content)
}

/// Starts the program in a folder with its configuration, and waits until it answers.
fn serve(folder: &Path, flags: &[String]) -> Process {
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    Process::serve(&folder.join("around/data"), &folder.join("plugbay.yaml"), &flags)
}
