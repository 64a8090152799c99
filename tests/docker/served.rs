//! The whole service over HTTP, with plugins in a real Docker.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use plugbay::config::Config;
use reqwest::Method;
use reqwest::header::ACCEPT;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::bench::{PATIENCE, docker, docker_is_there};
use super::support::app::{Answer, Setup, TestApp, send};
use super::support::author::pack_folder;

/// How often something that is waited for is looked at.
const TICK: Duration = Duration::from_millis(10);

/// A running service whose containers are gone when its test has ended.
pub(crate) struct Served {
    /// Taken by `end` and `restart`.
    app: Option<TestApp>,
    /// Short, as paths of sockets must be.
    run_dir: TempDir,
    instance: String,
}

/// One server-sent event.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) data: Value,
}

impl Deref for Served {
    type Target = TestApp;

    fn deref(&self) -> &TestApp {
        self.app.as_ref().unwrap()
    }
}

/// A folder for sockets.
pub(crate) fn short_folder() -> TempDir {
    tempfile::Builder::new().prefix("pb-").tempdir_in("/tmp").unwrap()
}

/// A plugin of the tests.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/plugins").join(name)
}

/// A plugin of the examples.
pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins").join(name)
}

/// The containers of a service, running or not.
pub(crate) fn containers(instance: &str) -> Vec<String> {
    let filter = format!("label=plugbay.instance={instance}");
    let found = docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &filter]).unwrap();
    found.lines().map(str::to_owned).collect()
}

/// What Docker says of a container.
pub(crate) fn inspect(container: &str) -> Value {
    let text = docker(&["inspect", container]).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()[0].take()
}

impl Served {
    /// A service; `None` where Docker may be left out and is.
    pub(crate) async fn start() -> Option<Self> {
        Self::start_with(|_| {}).await
    }

    /// A service with another configuration.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Option<Self> {
        if !docker_is_there() {
            return None;
        }
        let run_dir = short_folder();
        let setup = TestApp::setup().unsigned().with(|config| {
            config.server.run_dir = run_dir.path().to_owned();
            change(config);
        });
        Some(Self::of(setup.start().await, run_dir))
    }

    /// A service with one plugin of the tests that runs.
    pub(crate) async fn with(plugin: &str) -> Option<Self> {
        let served = Self::start().await?;
        served.run(&fixture(plugin)).await;
        Some(served)
    }

    pub(crate) fn of(app: TestApp, run_dir: TempDir) -> Self {
        let instance = fs::read_to_string(app.data().join("instance")).unwrap().trim().to_owned();
        Self { app: Some(app), run_dir, instance }
    }

    /// Stops the service and starts it again on what it stored.
    pub(crate) async fn restart(&mut self) {
        let setup = self.stop_service().await;
        self.app = Some(setup.start().await);
    }

    /// Stops the service. None of its containers may be left, and no folder of a session.
    pub(crate) async fn stop_service(&mut self) -> Setup {
        let setup = self.app.take().unwrap().stop().await;
        assert_eq!(containers(&self.instance), Vec::<String>::new(), "left behind");
        assert_eq!(fs::read_dir(self.run_dir.path()).unwrap().count(), 0, "instance directories are left");
        setup
    }

    /// What every test ends with.
    pub(crate) async fn end(mut self) {
        self.stop_service().await;
    }

    pub(crate) fn instance(&self) -> &str {
        &self.instance
    }

    pub(crate) fn run_dir(&self) -> &Path {
        self.run_dir.path()
    }

    /// Installs a plugin and enables it.
    pub(crate) async fn run(&self, folder: &Path) {
        let name = self.add(folder, &[]).await;
        self.enable(&name).await.expect(200);
    }

    /// Installs a plugin, some of its files replaced.
    pub(crate) async fn add(&self, folder: &Path, instead: &[(&str, &str)]) -> String {
        let installed = self.install(&pack_folder(folder, instead), None).await.expect(201);
        installed["name"].as_str().unwrap().to_owned()
    }

    /// Installs a plugin under another name.
    pub(crate) async fn add_as(&self, folder: &Path, name: &str) -> String {
        let manifest = fs::read_to_string(folder.join("plugin.yaml")).unwrap();
        let rest = manifest.split_once('\n').unwrap().1;
        self.add(folder, &[("plugin.yaml", &format!("name: {name}\n{rest}"))]).await
    }

    pub(crate) async fn enable(&self, name: &str) -> Answer {
        send(self.request(Method::POST, &format!("/api/plugins/{name}/enable"))).await
    }

    pub(crate) async fn disable(&self, name: &str) -> Answer {
        send(self.request(Method::POST, &format!("/api/plugins/{name}/disable"))).await
    }

    /// Calls a plugin with a body of the test's own.
    pub(crate) async fn execute(&self, name: &str, body: &Value) -> Answer {
        self.post(&format!("/api/plugins/{name}/execute"), body).await
    }

    /// The same with a text that need not be JSON.
    pub(crate) async fn execute_text(&self, name: &str, body: String) -> Answer {
        let request = self.request(Method::POST, &format!("/api/plugins/{name}/execute"));
        send(request.header("content-type", "application/json").body(body)).await
    }

    /// Calls a method.
    pub(crate) async fn call(&self, name: &str, method: &str, context: Value) -> Answer {
        self.execute(name, &json!({ "method": method, "context": context })).await
    }

    /// Calls a method whose answer is good, and returns its result.
    #[track_caller]
    pub(crate) fn result<'a>(
        &'a self,
        name: &'a str,
        method: &'a str,
        context: Value,
    ) -> impl Future<Output = Value> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let answer = self.call(name, method, context).await;
            assert_eq!(answer.status, 200, "{caller}: {}", answer.text);
            let mut answer = answer.json();
            assert_eq!(answer["success"], true, "{caller}: {answer}");
            answer["result"].take()
        }
    }

    /// Calls a method and returns everything that was streamed.
    pub(crate) async fn stream(&self, name: &str, body: &Value) -> Vec<Event> {
        let request = self.request(Method::POST, &format!("/api/plugins/{name}/execute")).header(ACCEPT, EVENTS);
        let answer = send(request.json(body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.headers["content-type"], EVENTS);
        events_of(&answer.text)
    }

    /// What the service says of a plugin.
    pub(crate) async fn plugin(&self, name: &str) -> Value {
        self.get(&format!("/api/plugins/{name}")).await.expect(200)
    }

    /// What the service says of one side of a plugin.
    pub(crate) async fn about(&self, name: &str, what: &str) -> Value {
        self.get(&format!("/api/plugins/{name}/{what}")).await.expect(200)
    }

    /// Waits until a plugin is as wanted.
    #[track_caller]
    pub(crate) fn until<'a>(
        &'a self,
        name: &'a str,
        mut holds: impl FnMut(&Value) -> bool + 'a,
    ) -> impl Future<Output = Value> + 'a {
        let (caller, deadline) = (std::panic::Location::caller(), Instant::now() + PATIENCE);
        async move {
            loop {
                let plugin = self.plugin(name).await;
                if holds(&plugin) {
                    return plugin;
                }
                assert!(Instant::now() < deadline, "{caller}: {plugin}");
                tokio::time::sleep(TICK).await;
            }
        }
    }

    pub(crate) async fn until_active(&self, name: &str) -> Value {
        self.until(name, |plugin| plugin["state"] == "active").await
    }

    /// Waits until a plugin works on so many calls.
    pub(crate) async fn until_in_flight(&self, name: &str, wanted: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.about(name, "metrics").await["in_flight"] != wanted {
            assert!(Instant::now() < deadline, "{wanted} calls under way");
            tokio::time::sleep(TICK).await;
        }
    }

    /// Everything a plugin printed, one line each.
    pub(crate) async fn log(&self, name: &str) -> Vec<Value> {
        let text = self.get(&format!("/api/plugins/{name}/logs")).await.text;
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits until a plugin has printed something.
    pub(crate) async fn until_logged(&self, name: &str, wanted: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = self.log(name).await;
            if log.iter().any(|line| line["text"].as_str().is_some_and(|text| text.contains(wanted))) {
                return;
            }
            assert!(Instant::now() < deadline, "`{wanted}` in {log:#?}");
            tokio::time::sleep(TICK).await;
        }
    }

    /// The container a plugin runs in.
    pub(crate) async fn container(&self, name: &str) -> String {
        self.about(name, "sandbox").await["container_id"].as_str().unwrap().to_owned()
    }
}

/// The media type of streams.
pub(crate) const EVENTS: &str = "text/event-stream";

/// The events of a stream that was read to its end.
pub(crate) fn events_of(text: &str) -> Vec<Event> {
    let blocks = text.split("\n\n").filter(|block| !block.is_empty() && !block.starts_with(':'));
    let event = |block: &str| {
        let (name, data) = block.split_once('\n').unwrap();
        Event {
            name: name.strip_prefix("event: ").unwrap().to_owned(),
            data: serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap(),
        }
    };
    blocks.map(event).collect()
}

/// Nothing stays in Docker, also of a test that failed.
impl Drop for Served {
    fn drop(&mut self) {
        let left = containers(&self.instance);
        for id in &left {
            docker(&["rm", "--force", id]).ok();
        }
        if !std::thread::panicking() {
            assert!(self.app.is_none(), "a test ends with `end`");
            assert_eq!(left, Vec::<String>::new(), "left behind");
        }
    }
}
