//! The service under test, in this process, over real HTTP.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use plugbay::config::{Config, EngineChoice};
use plugbay::domain::{Isolation, ManualClock, SignaturePolicy, Timestamp};
use plugbay::egress::{Resolver, SystemResolver};
use plugbay::shutdown::Shutdown;
use plugbay::startup::Running;
use reqwest::multipart::{Form, Part};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::author::Author;

/// Longest wait for anything a test waits for.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The body, if the answer has this status.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// Whether an answer of `/readyz` lacks nothing but perhaps the engine, which most tests do without.
    pub fn is_ready_but_for_the_engine(&self) -> bool {
        let checks = self.json()["checks"].take();
        checks.as_object().unwrap().iter().all(|(check, found)| check == "engine" || found == "ok")
    }

    /// The problem, if the answer is one with this status and code and is complete.
    #[track_caller]
    pub fn expect_problem(&self, status: u16, code: &str) -> Value {
        let problem = self.expect(status);
        assert_eq!(problem["code"], code, "{}", self.text);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], format!("/problems/{code}"));
        assert_eq!(problem["instance"].as_str(), self.headers["x-request-id"].to_str().ok());
        for field in ["title", "detail", "how"] {
            assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{field} in {}", self.text);
        }
        problem
    }
}

/// How to start a service.
pub struct Setup {
    folder: TempDir,
    clock: Arc<ManualClock>,
    config: Config,
    resolver: Arc<dyn Resolver>,
}

impl Setup {
    /// Changes the configuration before the start.
    pub fn with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Names that plugins ask for lead where the test wants.
    pub fn resolving(mut self, resolver: Arc<dyn Resolver>) -> Self {
        self.resolver = resolver;
        self
    }

    /// Signatures are not needed.
    pub fn unsigned(self) -> Self {
        self.with(|config| {
            config.insecure_dev = true;
            // As the flag does it.
            config.security.min_isolation.unsigned = Isolation::Process;
            config.security.signatures = SignaturePolicy::Off;
        })
    }

    /// What would start answers 503, whatever this machine has.
    pub fn without_engine(self) -> Self {
        self.with(|config| {
            config.sandbox.engine = EngineChoice::Docker;
            "unix:///nonexistent/docker.sock".clone_into(&mut config.sandbox.docker_host);
        })
    }

    pub async fn start(self) -> TestApp {
        self.try_start().await.unwrap_or_else(|(_, error)| panic!("{error}"))
    }

    /// Starts the service; gives back what was set up if that is refused.
    pub async fn try_start(self) -> Result<TestApp, (Self, plugbay::startup::StartupError)> {
        let app = self.launch().await?;
        app.until_ready().await;
        Ok(app)
    }

    /// Starts a service that lacks something and will not be ready.
    pub async fn start_unready(self) -> TestApp {
        self.launch().await.unwrap_or_else(|(_, error)| panic!("{error}"))
    }

    async fn launch(self) -> Result<TestApp, (Self, plugbay::startup::StartupError)> {
        let running = match Running::start_with(self.config.clone(), self.clock.clone(), self.resolver.clone()).await {
            Ok(running) => running,
            Err(error) => return Err((self, error)),
        };
        let (address, shutdown) = (running.address(), running.shutdown());
        #[expect(clippy::disallowed_methods, reason = "the test itself awaits it in `stop`")]
        let ended = tokio::spawn(async move { running.run().await.unwrap() });
        let token = std::fs::read_to_string(self.data().join("admin.token")).unwrap().trim().to_owned();
        // A proxy of the machine's has no business here.
        let client = Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Ok(TestApp { setup: Some(self), address, token, client, shutdown, ended })
    }
}

/// A running service.
pub struct TestApp {
    /// Taken by `stop`.
    setup: Option<Setup>,
    pub address: SocketAddr,
    pub token: String,
    pub client: Client,
    shutdown: Shutdown,
    ended: JoinHandle<()>,
}

impl TestApp {
    /// A service in an empty folder.
    pub fn setup() -> Setup {
        rustls::crypto::ring::default_provider().install_default().ok();
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::for_testing(&folder.path().join("data"));
        // The test itself is another program.
        config.databases.program = env!("CARGO_BIN_EXE_plugbay").into();
        config.security.scan.program = env!("CARGO_BIN_EXE_plugbay").into();
        let start: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        Setup {
            folder,
            clock: Arc::new(ManualClock::new(start)),
            config,
            resolver: Arc::new(SystemResolver::default()),
        }
    }

    /// A service with its defaults.
    pub async fn start() -> Self {
        Self::setup().start().await
    }

    /// Stops the service; what it stored can be looked at, changed, and started again.
    pub async fn stop(mut self) -> Setup {
        self.shutdown.stop();
        tokio::time::timeout(PATIENCE, &mut self.ended).await.expect("the service stops").unwrap();
        self.setup.take().expect("only `stop` takes it")
    }

    pub async fn restart(self) -> Self {
        let setup = self.stop().await;
        // Whatever a test did, the log tells of everything that the service wrote.
        let verified = plugbay::startup::verify_audit(&setup.data(), None).await;
        assert!(verified.is_ok(), "{verified:?}");
        Box::pin(setup.start()).await
    }

    fn setup_of(&self) -> &Setup {
        self.setup.as_ref().expect("only `stop` takes it")
    }

    pub fn clock(&self) -> &ManualClock {
        &self.setup_of().clock
    }

    pub fn folder(&self) -> &Path {
        self.setup_of().folder.path()
    }

    pub fn data(&self) -> PathBuf {
        self.setup_of().data()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A request without a token.
    pub fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    /// A request with the first token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.bare(method, path).bearer_auth(&self.token)
    }

    pub async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        send(self.request(Method::DELETE, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::POST, path).json(body)).await
    }

    /// Registers the author's key for every name.
    pub async fn trust(&self, author: &Author) {
        self.trust_for(author, &["*"]).await.expect(201);
    }

    pub async fn trust_for(&self, author: &Author, names: &[&str]) -> Answer {
        let body = serde_json::json!({"public_key": author.public_key(), "label": "acme", "names": names});
        self.post("/api/keys", &body).await
    }

    /// Uploads an archive to install it.
    pub async fn install(&self, archive: &[u8], signature: Option<&str>) -> Answer {
        self.upload("/api/plugins/install", archive, signature).await
    }

    pub async fn upload(&self, path: &str, archive: &[u8], signature: Option<&str>) -> Answer {
        send(self.request(Method::POST, path).multipart(form(archive, signature))).await
    }

    /// A token with these scopes, for these plugins.
    pub async fn token(&self, scopes: &[&str], plugins: Option<&[&str]>) -> String {
        let mut body = serde_json::json!({"label": "test", "scopes": scopes});
        if let Some(plugins) = plugins {
            body["plugins"] = plugins.into();
        }
        self.post("/api/tokens", &body).await.expect(201)["token"].as_str().unwrap().to_owned()
    }

    /// Actions in the audit log, oldest first.
    pub async fn audit_actions(&self) -> Vec<String> {
        let entries = self.get("/api/audit?limit=1000").await.expect(200)["entries"].take();
        let mut actions: Vec<String> =
            entries.as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap().to_owned()).collect();
        actions.reverse();
        actions
    }

    /// Waits until everything is ready but the engine.
    pub async fn until_ready(&self) {
        let is_ready = async || send(self.bare(Method::GET, "/readyz")).await.is_ready_but_for_the_engine();
        until("the service gets ready", is_ready).await;
    }

    /// Waits until the audit log has so many rows of an action.
    pub async fn until_recorded(&self, action: &str, times: usize) {
        let found = async || self.audit_actions().await.iter().filter(|found| *found == action).count();
        until(action, async || found().await >= times).await;
    }
}

/// Asks now and then.
pub async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(tokio::time::Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Setup {
    pub fn data(&self) -> PathBuf {
        self.config.server.data_dir.clone()
    }
}

/// Nothing may be left in staging once the answer was given.
impl Drop for TestApp {
    fn drop(&mut self) {
        if std::thread::panicking() || self.setup.is_none() {
            return;
        }
        let staging = self.data().join("staging");
        let left: Vec<_> =
            std::fs::read_dir(staging).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        assert!(left.is_empty(), "left in staging: {left:?}");
    }
}

/// The parts of an upload.
pub fn form(archive: &[u8], signature: Option<&str>) -> Form {
    let form = Form::new().part("file", Part::bytes(archive.to_vec()).file_name("a.tar.gz"));
    match signature {
        Some(text) => form.text("signature", text.to_owned()),
        None => form,
    }
}

/// Sends a request and reads the answer to its end.
pub async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap_or_else(|error| panic!("{error:?}"));
    let (status, headers) = (response.status(), response.headers().clone());
    Answer { status, headers, text: response.text().await.unwrap() }
}
