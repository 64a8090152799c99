//! What a version gives up does not come back with the version before it, whichever way that one comes back.

use std::fs;

use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Client, fixture};
use super::served::Served;
use super::support::app::{Answer, form, send};
use super::support::author::pack_folder;

const CANARY: &str = "CANARY-given-up-81d2";

/// A version that gets the secret.
const WIDE: &str = "optional_permissions: [network_access]
config_schema:
  token: { type: string, secret: { hosts: [api.example.com, evil.example.com] } }
";

/// A version that has given up the secret, one of its hosts, and the way out.
const NARROW: &str = "config_schema:
  token: { type: string, secret: { hosts: [api.example.com], deliver: false } }
";

/// The ledger, which tells its configuration.
fn ledger(version: &str, manner: &str, asks: &str) -> Vec<u8> {
    let read = |file: &str| fs::read_to_string(fixture("ledger").join(file)).unwrap();
    let manifest = read("plugin.yaml").replace("version: 1.0.0", &format!("version: {version}")) + asks;
    let tells = "    host: Any\n\n    def __init__(self, config: dict[str, Any]) -> None:\n        self.config = config\n\n    \
                 @plugbay.method\n    def tell(self, _context: dict[str, Any]) -> Any:\n        return self.config\n";
    let main = read("main.py").replace("    host: Any\n", tells);
    let main = main.replace("VERSION = \"1.0.0\"", &format!("VERSION = \"{version}\""));
    let main = main.replace("MANNER = \"good\"", &format!("MANNER = \"{manner}\""));
    pack_folder(&fixture("ledger"), &[("plugin.yaml", &manifest), ("main.py", &main)])
}

async fn update(client: &Client, archive: &[u8]) -> Answer {
    send(client.request(Method::POST, "/api/plugins/ledger/update").multipart(form(archive, None))).await
}

async fn configure(client: &Client, token: &str) -> Answer {
    let request = client.request(Method::PUT, "/api/plugins/ledger/config").header("If-Match", "*");
    send(request.json(&json!({"token": token}))).await
}

async fn told(client: &Client) -> Value {
    client.result("ledger", "tell", json!({})).await
}

async fn granted(client: &Client) -> Value {
    client.plugin("ledger").await["permissions"]["granted"].take()
}

/// A caller with a token for these scopes alone.
async fn caller(served: &Served, scopes: &[&str]) -> Client {
    let made = served.post("/api/tokens", &json!({"label": "t", "scopes": scopes})).await.expect(201);
    Client::new(served.address, made["token"].as_str().unwrap())
}

/// The wide version served, was granted what it asked for, and was followed by the narrow one. Only then was the secret set.
async fn narrowed(manner: &str) -> Option<Served> {
    let served = Served::start().await?;
    served.install(&ledger("1.0.0", "good", WIDE)).await.expect(201);
    let grant = json!({"grant": ["network_access"], "accept_risks": ["data-egress"]});
    let decided = served.post("/api/plugins/ledger/permissions/approve", &grant).await;
    assert!(decided.status == 200, "{}", decided.text);
    served.enable("ledger").await.expect(200);
    assert_eq!(update(&served, &ledger("2.0.0", manner, NARROW)).await.expect(200)["status"], "updated");
    configure(&served, CANARY).await.expect(200);
    assert_eq!((told(&served).await, granted(&served).await), (json!({}), json!([])), "the narrow version");
    Some(served)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_ends_itself_brings_back_neither_secret_nor_permission() {
    let Some(served) = narrowed("dies-in-calls").await else { return };
    served.call("ledger", "execute", json!({"number": 1})).await.expect_problem(502, "plugin-crashed");
    served.until("ledger", |plugin| plugin["version"] == "1.0.0" && plugin["state"] == "active").await;
    let told = told(&served).await;
    assert!(!told.to_string().contains("CANARY"), "after its crash the service handed out the secret: {told}");
    assert_eq!(granted(&served).await, json!([]), "granted after the crash");
    let config = served.get("/api/plugins/ledger/config").await.expect(200);
    assert_eq!(config["secrets"]["token"]["set"], false, "not set for this version: {config}");
    // Also not by a fresh start.
    served.disable("ledger").await.expect(200);
    served.enable("ledger").await.expect(200);
    assert!(!self::told(&served).await.to_string().contains("CANARY"));
    // Set again, it is what the operator wants.
    configure(&served, CANARY).await.expect(200);
    assert_eq!(self::told(&served).await, json!({"token": CANARY}));
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn going_back_to_a_version_that_may_more_is_for_who_may_approve() {
    let Some(served) = narrowed("good").await else { return };
    let installer = caller(&served, &["install"]).await;
    let rollback = async |client: &Client| client.post("/api/plugins/ledger/rollback", &json!({})).await;
    let problem = rollback(&installer).await.expect_problem(403, "scope-missing");
    assert!(problem["detail"].as_str().unwrap().contains("network_access"), "{problem}");
    assert_eq!(served.plugin("ledger").await["version"], "2.0.0");
    assert_eq!(told(&served).await, json!({}));
    // Nor by way of a plugin that is at rest.
    served.disable("ledger").await.expect(200);
    rollback(&installer).await.expect_problem(403, "scope-missing");
    let operator = caller(&served, &["operate"]).await;
    operator.enable("ledger").await.expect(200);
    assert_eq!(told(&served).await, json!({}));
    // Who may approve decides about permissions. A secret was set for what the narrow version said.
    let approver = caller(&served, &["install", "approve"]).await;
    rollback(&approver).await.expect(200);
    assert_eq!((told(&served).await, granted(&served).await), (json!({}), json!(["network_access"])));
    configure(&served, CANARY).await.expect(200);
    assert_eq!(told(&served).await, json!({"token": CANARY}));
    // Forwards again there is nothing to decide: that version asks for less.
    rollback(&installer).await.expect(200);
    assert_eq!((told(&served).await, granted(&served).await), (json!({}), json!([])));
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_a_version_needs_is_set_again_before_it_comes_back() {
    let wide = WIDE.replace("type: string", "type: string, required: true");
    let Some(served) = Served::start().await else { return };
    served.install(&ledger("1.0.0", "good", &wide)).await.expect(201);
    served.post("/api/plugins/ledger/permissions/approve", &json!({"deny": ["network_access"]})).await.expect(200);
    configure(&served, "first-of-all").await.expect(200);
    served.enable("ledger").await.expect(200);
    update(&served, &ledger("2.0.0", "dies-in-calls", NARROW)).await.expect(200);
    configure(&served, CANARY).await.expect(200);
    let rollback = async || served.post("/api/plugins/ledger/rollback", &json!({})).await;
    let problem = rollback().await.expect_problem(409, "config-incomplete");
    assert!(problem.to_string().contains("token"), "{problem}");
    served.call("ledger", "execute", json!({"number": 1})).await.expect_problem(502, "plugin-crashed");
    served.until("ledger", |plugin| plugin["version"] == "1.0.0" && plugin["state"] != "active").await;
    served.disable("ledger").await.expect(200);
    served.enable("ledger").await.expect_problem(409, "config-incomplete");
    configure(&served, "set-once-more").await.expect(200);
    served.enable("ledger").await.expect(200);
    assert_eq!(told(&served).await, json!({"token": "set-once-more"}));
    served.end().await;
}
