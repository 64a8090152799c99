//! What tests ask a service over HTTP, whatever it runs in.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reqwest::header::ACCEPT;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::bench::PATIENCE;
use super::support::app::{Answer, form, send};
use super::support::author::pack_folder;

/// How often something that is waited for is looked at.
const TICK: Duration = Duration::from_millis(10);

/// Longest wait for an answer.
const LONGEST: Duration = Duration::from_secs(40);

/// One server-sent event.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) data: Value,
}

/// A plugin of the tests.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/plugins").join(name)
}

/// A plugin of the examples.
pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins").join(name)
}

/// Makes the program of an example.
#[expect(clippy::disallowed_methods, reason = "as `plugbay pack` does")]
pub(crate) fn build_native_echo() {
    let status = std::process::Command::new("sh").arg(example("native-echo").join("build.sh")).status().unwrap();
    assert!(status.success());
}

/// A caller with the first token.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, token: &str) -> Self {
        // A proxy of the machine's has no business here.
        rustls::crypto::ring::default_provider().install_default().ok();
        let http = reqwest::Client::builder().no_proxy().timeout(LONGEST).build().unwrap();
        Self { http, address, token: token.to_owned() }
    }

    /// A request without a token.
    pub(crate) fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("http://{}{path}", self.address))
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.bare(method, path).bearer_auth(&self.token)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        send(self.request(Method::DELETE, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::PUT, path).json(body)).await
    }

    pub(crate) async fn install(&self, archive: &[u8]) -> Answer {
        send(self.request(Method::POST, "/api/plugins/install").multipart(form(archive, None))).await
    }

    /// Installs a plugin and enables it.
    pub(crate) async fn run(&self, folder: &Path) {
        let name = self.add(folder, &[]).await;
        self.enable(&name).await.expect(200);
    }

    /// Installs a plugin, some of its files replaced.
    pub(crate) async fn add(&self, folder: &Path, instead: &[(&str, &str)]) -> String {
        self.let_in(&pack_folder(folder, instead)).await
    }

    /// Installs a plugin and accepts what its code looks like: some of those of the tests do what attacks do.
    pub(crate) async fn let_in(&self, archive: &[u8]) -> String {
        let installed = self.install(archive).await.expect(201);
        let name = installed["name"].as_str().unwrap().to_owned();
        let risk = json!("scan-suspicious");
        if installed["risks"].as_array().unwrap().contains(&risk) {
            let path = format!("/api/plugins/{name}/permissions/approve");
            self.post(&path, &json!({ "accept_risks": [risk] })).await.expect(200);
        }
        name
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
        self.until_figure(name, "in_flight", wanted).await;
    }

    /// Waits until so many calls wait for a plugin.
    pub(crate) async fn until_queued(&self, name: &str, wanted: usize) {
        self.until_figure(name, "queued", wanted).await;
    }

    async fn until_figure(&self, name: &str, figure: &str, wanted: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.about(name, "metrics").await[figure] != wanted {
            assert!(Instant::now() < deadline, "{figure} is not {wanted}");
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
