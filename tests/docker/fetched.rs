//! Requests that the service makes for plugins: `http.fetch` and `api.request` from inside a sandbox.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use plugbay::config::ApiConfig;
use plugbay::domain::Isolation;
use reqwest::Method;
use serde_json::{Value, json};

use super::bench::PATIENCE;
use super::client::fixture;
use super::hosts::{Host, Names, Speaks, tls_file};
use super::kind::{engine_is_there, kind};
use super::served::{Served, inspect, setup, short_folder};
use super::support::app::{form, send};
use super::support::author::pack_folder;

const NAME: &str = "asker";

/// Not to be found where it has no business.
const CANARY: &str = "CANARY-fetch-5d81e0";
const TOKEN: &str = "CANARY-token-c02f";

/// A service with a plugin that asks, and hosts.
struct World {
    served: Served,
    allowed: Host,
    api: Host,
    /// Nobody may come here.
    sentinel: Host,
    names: Arc<Names>,
}

impl World {
    async fn start() -> Option<Self> {
        if !engine_is_there() {
            return None;
        }
        let (allowed, api, sentinel) = (Host::start(Speaks::Tls), Host::start(Speaks::Plain), Host::start(Speaks::Tls));
        let (names, run_dir) = (Arc::<Names>::default(), short_folder());
        let setup = setup(&run_dir).resolving(names.clone()).with(|config| {
            config.egress.allow_private = vec!["allowed.test".parse().unwrap(), "second.test".parse().unwrap()];
            config.egress.ca_file = Some(tls_file("ca.pem"));
            let allow = vec!["GET /echo".parse().unwrap(), "POST /v1/messages/*".parse().unwrap()];
            let base_url = format!("http://127.0.0.1:{}", api.port);
            config.resources.apis.insert("chat".to_owned(), ApiConfig { base_url, token: Some(TOKEN.into()), allow });
        });
        let served = Served::of(setup.start().await, run_dir);
        let manifest = fs::read_to_string(fixture(NAME).join("plugin.yaml")).unwrap();
        let more = format!(
            "optional_permissions: [network_access, api_access]\naccess: {{ api_access: [chat] }}\nconfig_schema:\n  \
             api_key: {{ type: string, secret: {{ hosts: ['allowed.test:{0}'], deliver: false, header: X-Key }} }}\n  \
             token: {{ type: string, secret: {{ hosts: ['allowed.test:{0}'], deliver: false }} }}\n",
            allowed.port
        );
        let archive = pack_folder(&fixture(NAME), &[("plugin.yaml", &format!("{manifest}{more}"))]);
        served.install(&archive).await.expect(201);
        served.enable(NAME).await.expect(200);
        Some(Self { served, allowed, api, sentinel, names })
    }

    async fn ask(&self, function: &str, params: Value) -> Value {
        self.served.result(NAME, "execute", json!({"function": function, "params": params})).await
    }

    async fn fetch(&self, url: &str) -> Value {
        self.ask("http.fetch", json!({ "url": url })).await
    }

    fn url(&self, path: &str) -> String {
        format!("https://allowed.test:{}{path}", self.allowed.port)
    }

    async fn decide(&self, body: &Value) {
        self.served.post(&format!("/api/plugins/{NAME}/permissions/approve"), body).await.expect(200);
    }

    async fn revoke(&self, unit: &Value) {
        let body = json!({ "permissions": [unit] });
        self.served.post(&format!("/api/plugins/{NAME}/permissions/revoke"), &body).await.expect(200);
    }

    async fn configure(&self, body: &Value) {
        let request = self.served.request(Method::PUT, &format!("/api/plugins/{NAME}/config"));
        send(request.header("If-Match", "*").json(body)).await.expect(200);
    }

    async fn audited(&self, action: &str) -> Vec<Value> {
        let entries = self.served.get("/api/audit?limit=1000").await.expect(200)["entries"].take();
        let entries = entries.as_array().unwrap().iter().filter(|entry| entry["action"] == action);
        entries.map(|entry| entry["detail"].clone()).collect()
    }

    /// Waits for a row of this rule: it is written after the line in the plugin's log.
    async fn until_audited(&self, action: &str, rule: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let refusals = self.audited(action).await;
            if refusals.iter().any(|detail| detail["rule"] == rule) {
                return;
            }
            assert!(Instant::now() < deadline, "`{rule}` in {refusals:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// One request under every decision there is.
    async fn walk(&self, unit: Value, how: &str, function: &str, params: Value) {
        let denied = async |moment: &str| {
            let found = self.ask(function, params.clone()).await;
            assert_eq!((&found["code"], &found["data"]["how"]), (&json!(-32001), &json!(how)), "{moment}: {found}");
        };
        let granted = async |moment: &str| {
            let found = self.ask(function, params.clone()).await;
            assert_eq!(found["status"], 200, "{moment}: {found}");
        };
        denied("absent").await;
        let permission = unit["permission"].as_str().unwrap_or_else(|| unit.as_str().unwrap()).to_owned();
        self.decide(&json!({ "deny": [permission] })).await;
        denied("denied").await;
        self.decide(&json!({ "grant": [unit] })).await;
        granted("granted").await;
        self.revoke(&unit).await;
        denied("revoked").await;
        let end = self.served.clock_plus(Duration::from_hours(1));
        self.decide(&json!({"grant": [unit], "expires_at": end})).await;
        granted("granted for an hour").await;
        self.served.clock().advance(Duration::from_hours(2));
        let deadline = Instant::now() + Duration::from_secs(15);
        while self.ask(function, params.clone()).await["status"] == 200 {
            assert!(Instant::now() < deadline, "expired within one period");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        denied("expired").await;
        assert_eq!(self.served.plugin(NAME).await["restarts"], 0);
    }
}

impl Served {
    /// A moment that is so far ahead.
    fn clock_plus(&self, time: Duration) -> String {
        plugbay::domain::Clock::now(self.clock()).plus(time).to_string()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_asks_hosts_exactly_while_that_is_granted() {
    let Some(world) = World::start().await else { return };
    let rule = format!("allowed.test:{}", world.allowed.port);
    let unit = json!({"permission": "network_access", "scope": [rule]});
    let how = format!("plugbay approve asker --grant network_access:{rule}");
    world.walk(unit.clone(), &how, "http.fetch", json!({"url": world.url("/")})).await;

    world.decide(&json!({ "grant": [unit] })).await;
    let port = world.sentinel.port;
    for (url, code, word) in [
        (format!("https://second.test:{port}/"), -32001, "network_access:second.test"),
        (format!("https://allowed.test:{port}/"), -32001, "network_access:allowed.test"),
        (format!("https://127.0.0.1:{port}/"), -32001, "network_access:127.0.0.1"),
        (world.url(&format!("/to/https://second.test:{port}/")), -32001, "network_access:second.test"),
        (world.url(&format!("/to/http://allowed.test:{port}/")), -32002, "leaves https"),
        (format!("https://x:y@allowed.test:{port}/"), -32002, "user name or password"),
    ] {
        let refused = world.fetch(&url).await;
        assert_eq!(refused["code"], code, "{url}: {refused}");
        assert!(refused["text"].as_str().unwrap().contains(word), "{url}: {refused}");
    }
    assert_eq!(world.sentinel.seen(), 0);
    assert!(world.names.asked().iter().all(|name| name == "allowed.test"), "{:?}", world.names.asked());
    world.served.until_logged(NAME, "network: the redirect to `http://allowed.test").await;
    world.until_audited("egress.refused", "redirect").await;
    let stats = world.served.about(NAME, "stats").await;
    assert!(stats["network_tx_bytes"].as_u64().unwrap() > 100, "{stats}");
    world.served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_asks_apis_exactly_while_that_is_granted() {
    let Some(world) = World::start().await else { return };
    let params = json!({"name": "chat", "method": "GET", "path": "/echo"});
    let how = "plugbay approve asker --grant api_access:chat";
    world.walk(json!("api_access"), how, "api.request", params.clone()).await;

    world.decide(&json!({"grant": ["api_access"]})).await;
    let answer = world.ask("api.request", params).await;
    let request = answer["body"]["request"].as_str().unwrap();
    assert!(request.contains("authorization: Bearer [redacted]"), "{request}");
    assert!(world.api.requests_in_full().last().unwrap().contains(&format!("Bearer {TOKEN}")));
    let seen = world.api.seen();
    for (method, path, rule) in [
        ("GET", "/admin", "api-not-allowed"),
        ("POST", "/echo", "api-not-allowed"),
        ("POST", "/v1/messages/%2e%2e", "path"),
        ("POST", "/v1/messages/../../echo", "path"),
        ("POST", "/v1/messages/7?x", "api-not-allowed"),
    ] {
        let refused = world.ask("api.request", json!({"name": "chat", "method": method, "path": path})).await;
        assert_eq!(refused["data"]["code"], rule, "{method} {path}: {refused}");
    }
    assert_eq!(world.api.seen(), seen);
    let posted = json!({"name": "chat", "method": "POST", "path": "/v1/messages/7", "body": {"text": "hi"}});
    assert_eq!(world.ask("api.request", posted).await["body"], "hello from the host");
    assert!(world.api.requests_in_full().last().unwrap().ends_with("\r\n\r\n{\"text\":\"hi\"}"));
    world.served.until_logged(NAME, "host function: `GET /admin` is not allowed for the API `chat`").await;
    world.until_audited("host.refused", "api-not-allowed").await;
    everything_is_clean(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_sent_and_seen_nowhere() {
    let Some(world) = World::start().await else { return };
    for port in [world.allowed.port, world.sentinel.port] {
        let rules = [format!("allowed.test:{port}"), format!("second.test:{port}")];
        world.decide(&json!({"grant": [{"permission": "network_access", "scope": rules}]})).await;
    }
    let with = |url: String, value: &str| json!({"url": url, "headers": {"X-Key": value}});
    let unset = world.ask("http.fetch", with(world.url("/echo"), "{{secret:api_key}}")).await;
    assert_eq!(unset["data"]["code"], "secret", "{unset}");
    world.configure(&json!({"api_key": CANARY})).await;

    let answer = world.ask("http.fetch", with(world.url("/echo"), "Token {{secret:api_key}}")).await;
    assert!(answer["text"].as_str().unwrap().contains("x-key: Token [redacted]"), "{answer}");
    assert!(world.allowed.requests_in_full()[0].contains(&format!("x-key: Token {CANARY}\r\n")));
    let elsewhere = format!("https://second.test:{}/", world.sentinel.port);
    let refused = world.ask("http.fetch", with(elsewhere.clone(), "{{secret:api_key}}")).await;
    assert!(refused["text"].as_str().unwrap().contains("is not for `second.test"), "{refused}");
    assert_eq!(world.sentinel.seen(), 0);
    // A redirect takes it nowhere.
    world.ask("http.fetch", with(world.url(&format!("/to/{elsewhere}")), "{{secret:api_key}}")).await;
    let there = world.sentinel.requests_in_full().remove(0);
    assert!(there.starts_with("GET / ") && !there.contains("x-key"), "{there}");
    for port in [1, 2] {
        let failed = world.ask("http.fetch", with(format!("https://allowed.test:{port}/"), "{{secret:api_key}}")).await;
        assert!(failed["code"].as_i64().is_some(), "{failed}");
    }
    everything_is_clean(world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_host_hands_no_secret_on() {
    let Some(world) = World::start().await else { return };
    let elsewhere = format!("second.test:{}", world.sentinel.port);
    let rules = json!([format!("allowed.test:{}", world.allowed.port), elsewhere, format!("http://{elsewhere}")]);
    world.decide(&json!({"grant": [{"permission": "network_access", "scope": rules}]})).await;
    world.configure(&json!({"token": CANARY})).await;
    for (path, name, value) in [
        ("/to/https://@x-forwarded-host@/dir/", "X-Forwarded-Host", format!("{elsewhere}/{{{{secret:token}}}}")),
        ("/to/https://@x-forwarded-host@/dir/", "X-Forwarded-Host", "{{secret:token}}.evil.example".to_owned()),
        ("/to/https://@authorization@.evil.example/", "Authorization", "{{secret:token}}".to_owned()),
        ("/to/https://second.test/?from=@authorization@", "Authorization", "{{secret:token}}".to_owned()),
        ("/to/http:// x@authorization@", "Authorization", "Bearer {{secret:token}}".to_owned()),
        ("/to/https://second.test:1/@x-trace@", "X-Trace", format!("{}{{{{secret:token}}}}", "A".repeat(40))),
    ] {
        let url = world.url(&path.replace(' ', "%20"));
        let answer = world.ask("http.fetch", json!({"url": url, "headers": { name: value }})).await;
        assert!(!answer.to_string().to_lowercase().contains("canary"), "{name}: {value}: {answer}");
        assert_eq!(answer["data"]["code"], "secret", "{name}: {value}: {answer}");
    }
    assert_eq!(world.sentinel.requests_in_full(), Vec::<String>::new(), "the secret left");
    let audited = world.audited("host.refused").await;
    assert!(!audited.is_empty() && !json!(audited).to_string().to_lowercase().contains("canary"), "{audited:?}");
    everything_is_clean(world).await;
}

/// An update that an administrator has approved before is none that may send a secret elsewhere, or under another header.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_that_sends_a_secret_elsewhere_waits_and_sends_it_nowhere_before() {
    let Some(world) = World::start().await else { return };
    let (here, there) =
        (format!("allowed.test:{}", world.allowed.port), format!("second.test:{}", world.sentinel.port));
    world.decide(&json!({"grant": [{"permission": "network_access", "scope": [here, there]}]})).await;
    world.configure(&json!({"api_key": CANARY, "token": TOKEN})).await;
    let manifest = fs::read_to_string(fixture(NAME).join("plugin.yaml")).unwrap();
    let version = |version: &str, key: &str, token: &str| {
        let more = format!(
            "optional_permissions: [network_access, api_access]\naccess: {{ api_access: [chat] }}\nconfig_schema:\n  \
             api_key: {{ type: string, secret: {{ hosts: [{key}], deliver: false, header: X-Key }} }}\n  \
             token: {{ type: string, secret: {{ hosts: ['{here}'], deliver: false{token} }} }}\n"
        );
        let manifest = manifest.replace("version: 1.0.0", &format!("version: {version}"));
        pack_folder(&fixture(NAME), &[("plugin.yaml", &format!("{manifest}{more}"))])
    };
    let key_there = json!({"url": format!("https://{there}/"), "headers": {"X-Key": "{{secret:api_key}}"}});
    let token_as = |name: &str| json!({"url": world.url("/echo"), "headers": {name: "{{secret:token}}"}});
    let both = format!("'{here}', '{there}'");
    // Each was approved, and says nothing of what the next one may.
    for (number, key, token, added, asked) in [
        ("2.0.0", &both, "", format!("secret api_key sent to {there}"), key_there),
        ("3.0.0", &both, ", header: X-Token", "secret token sent as x-token".to_owned(), token_as("X-Token")),
    ] {
        let form = form(&version(number, key, token), None);
        let update = world.served.request(Method::POST, &format!("/api/plugins/{NAME}/update")).multipart(form);
        let waiting = send(update).await.expect(200);
        let (status, grows) = (&waiting["status"], &waiting["permission_diff"]["added"]);
        assert_eq!((status, grows), (&json!("pending_approval"), &json!([added])));
        // The version that serves has what it had.
        let seen = (world.allowed.seen(), world.sentinel.seen());
        let refused = world.ask("http.fetch", asked.clone()).await;
        assert_eq!(refused["data"]["code"], "secret", "{number}: {refused}");
        assert_eq!((world.allowed.seen(), world.sentinel.seen()), seen, "{number}: something was sent");
        let digest = world.served.plugin(NAME).await["pending"]["digest"].take();
        world.decide(&json!({ "digest": digest })).await;
        assert_eq!(world.served.plugin(NAME).await["version"], number);
        let answer = world.ask("http.fetch", asked).await;
        assert_eq!(answer["status"], 200, "{number}: {answer}");
    }
    assert!(world.sentinel.requests_in_full()[0].contains(&format!("x-key: {CANARY}\r\n")));
    assert!(world.allowed.requests_in_full().iter().any(|said| said.contains(&format!("x-token: {TOKEN}\r\n"))));
    let refused = world.ask("http.fetch", token_as("Authorization")).await;
    assert_eq!(refused["data"]["code"], "secret", "the header of before: {refused}");
    everything_is_clean(world).await;
}

/// Neither what callers can read nor what is stored holds a secret.
async fn everything_is_clean(mut world: World) {
    let mut shown = Vec::new();
    for path in
        ["", "/config", "/health", "/stats", "/metrics", "/calls", "/logs", "/sandbox", "/sandbox/plan", "/permissions"]
    {
        let path = format!("/api/plugins/{NAME}{path}");
        shown.push((path.clone(), world.served.get(&path).await.text));
    }
    for path in ["/api/audit?limit=1000", "/api/plugins", "/health", "/api/system"] {
        shown.push((path.to_owned(), world.served.get(path).await.text));
    }
    if kind() == Isolation::Docker {
        shown.push(("inspect".to_owned(), inspect(&world.served.container(NAME).await).to_string()));
    }
    for (place, text) in &shown {
        assert!(!text.contains("CANARY"), "{place}: {text}");
    }
    let setup = world.served.stop_service().await;
    let mut folders = vec![setup.data()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(bytes) = fs::read(&path) {
                assert!(!bytes.windows(6).any(|window| window == b"CANARY"), "{}", path.display());
            }
        }
    }
}
