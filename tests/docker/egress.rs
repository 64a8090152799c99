//! What leaves plugins: from inside a plugin with unchanged programs, through shim and service, to hosts on this machine.

use std::fs;
use std::sync::Arc;
use std::time::Instant;

use plugbay::config::Config;
use plugbay::domain::Isolation;
use serde_json::{Value, json};

use super::bench::docker;
use super::client::fixture;
use super::hosts::{Host, Names, Speaks, tls_file};
use super::kind::{engine_is_there, kind};
use super::served::{Served, setup, short_folder};
use super::support::author::pack_folder;

pub(crate) const NAME: &str = "outgoing";

/// A service with a plugin that reaches out, and hosts.
pub(crate) struct World {
    pub(crate) served: Served,
    pub(crate) allowed: Host,
    /// Nobody may come here.
    pub(crate) sentinel: Host,
    pub(crate) names: Arc<Names>,
}

impl World {
    /// A plugin that runs and was granted these rules, in which `PORT` is the port of the allowed host; `None` where Docker may
    /// be left out and is.
    pub(crate) async fn start(rules: &[&str]) -> Option<Self> {
        let ca = fs::read_to_string(tls_file("ca.pem")).unwrap();
        let archive = pack_folder(&fixture(NAME), &[("ca.pem", &ca)]);
        if engine_is_there() { Some(Self::start_archive(&archive, rules, |_| {}).await) } else { None }
    }

    /// The same with another archive and configuration.
    pub(crate) async fn start_archive(archive: &[u8], rules: &[&str], change: impl FnOnce(&mut Config)) -> Self {
        let (allowed, sentinel) = (Host::start(Speaks::Tls), Host::start(Speaks::Plain));
        let (names, run_dir) = (Arc::<Names>::default(), short_folder());
        let setup = setup(&run_dir).resolving(names.clone()).with(|config| {
            let listed = ["allowed.test", "second.test", "a.wild.test", "b.wild.test"];
            config.egress.allow_private = listed.map(|host| host.parse().unwrap()).into();
            change(config);
        });
        let served = Served::of(setup.start().await, run_dir);
        let world = Self { served, allowed, sentinel, names };
        world.served.let_in(archive).await;
        world.grant(rules).await;
        world.served.enable(NAME).await.expect(200);
        world
    }

    /// A rule as it is written in requests; `*` is every public host.
    fn unit(&self, rule: &str) -> Value {
        if rule == "*" {
            return "network_access".into();
        }
        json!({"permission": "network_access", "scope": [rule.replace("PORT", &self.allowed.port.to_string())]})
    }

    pub(crate) async fn grant(&self, rules: &[&str]) {
        for rule in rules {
            let body = json!({"grant": [self.unit(rule)]});
            self.served.post(&format!("/api/plugins/{NAME}/permissions/approve"), &body).await.expect(200);
        }
    }

    pub(crate) async fn revoke(&self, rule: &str) {
        let body = json!({"permissions": [self.unit(rule)]});
        self.served.post(&format!("/api/plugins/{NAME}/permissions/revoke"), &body).await.expect(200);
    }

    /// What comes of one way out: what was got, or why it failed.
    pub(crate) async fn try_out(&self, way: &str, with: Value) -> Result<Value, String> {
        self.try_with(way, with, json!({})).await
    }

    pub(crate) async fn try_with(&self, way: &str, with: Value, options: Value) -> Result<Value, String> {
        let context = json!({"way": way, "with": with, "options": options});
        let mut result = self.served.result(NAME, "execute", context).await;
        match result["failed"].as_str() {
            Some(text) => Err(text.to_owned()),
            None => Ok(result["got"].take()),
        }
    }

    /// What the proxy answers to some bytes.
    pub(crate) async fn proxy(&self, text: &str) -> String {
        let answer = self.try_out("raw", json!(["127.0.0.1", 3128, text])).await;
        answer.map_or_else(|error| error, |text| text.as_str().unwrap_or_default().to_owned())
    }

    pub(crate) fn url(&self, host: &str) -> String {
        format!("https://{host}:{}/", self.allowed.port)
    }

    /// Rows of the audit log about what was refused.
    pub(crate) async fn refusals(&self) -> Vec<Value> {
        let entries = self.served.get("/api/audit?limit=1000").await.expect(200)["entries"].take();
        let entries = entries.as_array().unwrap().iter().filter(|entry| entry["action"] == "egress.refused");
        entries.map(|entry| entry["detail"].clone()).collect()
    }
}

const HELLO: &str = "hello from the host";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_reaches_the_allowed_host_unchanged_and_nothing_else() {
    let Some(world) = World::start(&["allowed.test:PORT"]).await else { return };
    let (port, url) = (world.allowed.port, world.url("allowed.test"));
    let good = json!([200, HELLO]);
    assert_eq!(world.try_out("fetch", json!([url])).await, Ok(good.clone()), "urllib by the proxy");
    let direct = json!({"direct": true});
    assert_eq!(world.try_with("fetch", json!([url]), direct.clone()).await, Ok(good.clone()), "urllib by name");
    assert_eq!(world.try_out("client", json!(["allowed.test", port])).await, Ok(good), "http.client");
    let raw = world.try_out("tls", json!(["allowed.test", "allowed.test", port])).await.unwrap();
    assert!(raw.as_str().unwrap().ends_with(HELLO), "{raw}");
    assert_eq!(world.try_out("lookup", json!(["allowed.test"])).await, Ok(json!(["127.64.0.1"])));

    let other_port = world.sentinel.port;
    for (way, with, options, wanted) in [
        ("fetch", json!([world.url("second.test")]), json!({}), "403 Forbidden"),
        ("fetch", json!([world.url("second.test")]), direct.clone(), "Name or service not known"),
        ("fetch", json!([format!("https://allowed.test:{other_port}/")]), json!({}), "403 Forbidden"),
        ("fetch", json!([format!("https://allowed.test:{other_port}/")]), direct.clone(), "Connection refused"),
        ("fetch", json!([format!("http://127.0.0.1:{other_port}/")]), direct.clone(), "Connection refused"),
        (
            "fetch",
            json!([format!("http://second.test:{other_port}/")]),
            json!({}),
            "HTTPError 403: plugbay: `second.test",
        ),
        ("fetch", json!(["https://192.0.2.1/"]), json!({}), "403 Forbidden"),
        ("raw", json!(["192.0.2.1", 443, ""]), json!({}), "Network is unreachable"),
        ("raw", json!(["::1", 443, ""]), json!({}), "Errno"),
        ("tls", json!(["allowed.test", "second.test", port]), json!({}), "TLSV1_UNRECOGNIZED_NAME"),
        ("tls", json!(["allowed.test", null, port]), json!({}), "TLSV1_UNRECOGNIZED_NAME"),
        ("lookup", json!(["second.test"]), json!({}), "gaierror"),
    ] {
        let found = world.try_with(way, with.clone(), options).await;
        assert!(found.as_ref().is_err_and(|text| text.contains(wanted)), "{way} {with}: wanted {wanted}, {found:?}");
    }
    assert_eq!(world.sentinel.seen(), 0);
    assert!(world.names.asked().iter().all(|name| name == "allowed.test"), "{:?}", world.names.asked());
    world.served.until_logged(NAME, "is not granted").await;
    world.served.until_logged(NAME, "plugbay approve outgoing --grant network_access:second.test").await;
    let stats = world.served.about(NAME, "stats").await;
    let bytes = |key: &str| stats[key].as_u64().unwrap();
    assert!(bytes("network_rx_bytes") > 1_000 && bytes("network_tx_bytes") > 500, "{stats}");
    world.served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_way_out_is_there_only_while_it_is_granted() {
    let Some(world) = World::start(&[]).await else { return };
    let url = world.url("allowed.test");
    assert_eq!(world.try_out("environment", json!([])).await, Ok(json!([])));
    assert!(world.try_out("fetch", json!([url])).await.is_err());
    let closed = world.served.container(NAME).await;
    // What the other engine did is told by the programs inside alone.
    let has_names = |container: &str| {
        let mounts = docker(&["inspect", "--format", "{{json .Mounts}}", container]).unwrap();
        mounts.contains("/etc/resolv.conf")
    };
    let is_docker = kind() == Isolation::Docker;
    assert!(!is_docker || !has_names(&closed));

    // A fresh sandbox takes its place, and the next call sees it.
    world.grant(&["allowed.test:PORT"]).await;
    assert_eq!(world.try_out("fetch", json!([url])).await, Ok(json!([200, HELLO])));
    let open = world.served.container(NAME).await;
    assert!(open != closed && (!is_docker || has_names(&open)));
    if is_docker {
        assert_eq!(docker(&["inspect", "--format", "{{.HostConfig.NetworkMode}}", &open]).unwrap(), "none");
    }
    let variables = world.try_out("environment", json!([])).await.unwrap();
    assert_eq!(variables.as_array().unwrap().len(), 8, "{variables}");

    // Another host is live: the sandbox stays.
    world.grant(&["second.test:PORT"]).await;
    assert_eq!(world.try_out("fetch", json!([world.url("second.test")])).await, Ok(json!([200, HELLO])));
    world.revoke("second.test:PORT").await;
    assert!(world.try_out("fetch", json!([world.url("second.test")])).await.is_err());
    assert_eq!(world.served.container(NAME).await, open);

    // The last one: no call under way is lost.
    let calls = futures_util::future::join_all((0..4).map(|_| world.try_out("run", json!(["sleep", "1"]))));
    let revoking = async {
        world.served.until_in_flight(NAME, 4).await;
        world.revoke("allowed.test:PORT").await;
        assert!(world.try_out("fetch", json!([url])).await.is_err());
    };
    let (done, ()) = tokio::join!(calls, revoking);
    assert!(done.iter().all(|done| *done == Ok(json!([0, "", ""]))), "{done:?}");
    assert_ne!(world.served.container(NAME).await, open);
    assert_eq!(world.served.plugin(NAME).await["restarts"], 0);
    world.served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_a_plugin_are_bounded_and_end_when_their_grant_ends() {
    let echo = Host::start(Speaks::Echo);
    let rule = format!("tcp://allowed.test:{}", echo.port);
    let Some(world) = World::start(&[&rule]).await else { return };
    let held = world.try_out("many", json!(["allowed.test", echo.port, 40])).await;
    assert_eq!(held, Ok(json!([32, 8])));
    // One that waits for more than comes.
    let began = Instant::now();
    let waiting = world.try_out("raw", json!(["allowed.test", echo.port, "x"]));
    let revoking = async {
        while echo.seen() < 33 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        world.revoke(&rule).await;
    };
    let (ended, ()) = tokio::join!(waiting, revoking);
    assert!(began.elapsed().as_secs() < 10, "{ended:?}");
    world.served.end().await;
}
