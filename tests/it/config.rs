//! Configuration of plugins: every route, what is refused, who changed it meanwhile, and what lies on the disk.

use std::fs;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp, send};
use crate::support::author::{manifest, pack, package};
use crate::support::database;

const CONFIG: &str = "/api/plugins/my-plugin/config";

/// As the example of a plugin that needs a key and has a default.
const FIELDS: &str = "config_schema:\n  api_key: { type: string, required: true, secret: true, minLength: 3 }\n  \
    endpoint: { type: string, default: 'https://api.example.com' }\n  port: { type: integer }\n";

/// The same in the other form.
const SCHEMA: &str = "config_schema:\n  $schema: https://json-schema.org/draft/2020-12/schema\n  type: object\n  \
    required: [api_key]\n  additionalProperties: false\n  properties:\n    \
    api_key: { type: string, writeOnly: true, minLength: 3 }\n    \
    endpoint: { type: string, default: 'https://api.example.com' }\n    port: { type: integer }\n";

/// A service without an engine: what would start answers 503.
async fn service() -> TestApp {
    let setup = TestApp::setup().unsigned();
    setup.without_engine().start().await
}

async fn with(extra: &str) -> TestApp {
    let app = service().await;
    app.install(&package(&format!("{}{extra}", manifest("my-plugin", "1.0.0"))), None).await.expect(201);
    app
}

async fn update(app: &TestApp, version: &str, extra: &str) -> Value {
    let archive = package(&format!("{}{extra}", manifest("my-plugin", version)));
    app.upload("/api/plugins/my-plugin/update", &archive, None).await.expect(200)
}

async fn put(app: &TestApp, tag: &str, body: &Value) -> Answer {
    send(app.request(Method::PUT, CONFIG).header("If-Match", tag).json(body)).await
}

async fn unset(app: &TestApp, tag: &str, field: &str) -> Answer {
    send(app.request(Method::DELETE, &format!("{CONFIG}/{field}")).header("If-Match", tag)).await
}

async fn validate(app: &TestApp, body: &Value) -> Answer {
    app.post(&format!("{CONFIG}/validate"), body).await
}

async fn enable(app: &TestApp) -> Answer {
    send(app.request(Method::POST, "/api/plugins/my-plugin/enable")).await
}

fn tag(answer: &Answer) -> &str {
    answer.headers["etag"].to_str().unwrap()
}

#[tokio::test]
async fn what_is_set_holds_before_what_the_package_brings() {
    for form in [FIELDS, SCHEMA] {
        let app = service().await;
        let yaml = format!("{}{form}", manifest("my-plugin", "1.0.0"));
        let files: &[(&str, &[u8])] =
            &[("plugin.yaml", yaml.as_bytes()), ("main.py", b"class P: pass\n"), ("config.yaml", b"port: 80\n")];
        app.install(&pack(files), None).await.expect(201);
        let first = app.get(CONFIG).await;
        assert_eq!(tag(&first), "\"0\"");
        let shown = first.expect(200);
        assert_eq!(shown["config"], json!({"api_key": null, "endpoint": "https://api.example.com", "port": 80}));
        assert_eq!((&shown["secrets"], &shown["missing"]), (&json!({"api_key": {"set": false}}), &json!(["api_key"])));
        assert_eq!(shown["schema"]["properties"]["port"], json!({"type": "integer"}));
        assert!(shown.get("pending").is_none() && shown.get("update").is_none());

        let body = json!({"endpoint": "https://e.example", "port": 80, "api_key": "hunter2hunter2"});
        let second = put(&app, "\"0\"", &body).await;
        assert_eq!(tag(&second), "\"1\"");
        let shown = second.expect(200);
        assert_eq!(shown["config"], json!({"api_key": null, "endpoint": "https://e.example", "port": 80}));
        assert_eq!((&shown["secrets"], &shown["missing"]), (&json!({"api_key": {"set": true}}), &json!([])));
        // What is shown can be sent back as it is, and changes nothing.
        let same = put(&app, "\"1\"", &shown["config"]).await;
        assert_eq!((tag(&same), same.expect(200)), ("\"1\"", shown));
        // Left out: the default again, and no secret.
        let third = put(&app, "*", &json!({})).await;
        assert_eq!(tag(&third), "\"2\"");
        let shown = third.expect(200);
        assert_eq!(
            (&shown["config"]["endpoint"], &shown["missing"][0]),
            (&json!("https://api.example.com"), &json!("api_key"))
        );
        assert_eq!(shown["secrets"], json!({"api_key": {"set": false}}));
    }
}

#[tokio::test]
async fn what_the_schema_refuses_is_named_and_never_repeated() {
    let app = with(FIELDS).await;
    let body = json!({"port": "CANARY-1", "api_key": 7, "colour": "CANARY-2"});
    for answer in [put(&app, "*", &body).await, validate(&app, &body).await] {
        let problem = answer.expect_problem(422, "config-invalid");
        let mut errors: Vec<_> = problem["errors"].as_array().unwrap().iter().map(Value::to_string).collect();
        errors.sort();
        let expected = [
            r#"{"pointer":"/api_key","message":"a secret is of type string"}"#,
            r#"{"pointer":"/colour","message":"there is no such field"}"#,
            r#"{"pointer":"/port","message":"expected integer, found string"}"#,
        ];
        assert_eq!(errors, expected);
        assert!(!answer.text.contains("CANARY"));
    }
    let short = put(&app, "*", &json!({"api_key": "xy"})).await;
    assert_eq!(short.expect_problem(422, "config-invalid")["errors"][0]["pointer"], "/api_key");
    assert!(!short.text.contains("xy\""));
    assert_eq!(tag(&app.get(CONFIG).await), "\"0\"", "nothing was kept");

    let bare = with("").await;
    assert_eq!(bare.get(CONFIG).await.expect(200)["schema"], Value::Null);
    put(&bare, "*", &json!({"a": 1})).await.expect_problem(422, "config-invalid");
    put(&bare, "*", &json!({})).await.expect(200);
}

#[tokio::test]
async fn a_change_names_what_it_changes() {
    let app = with(FIELDS).await;
    let body = json!({"port": 1});
    send(app.request(Method::PUT, CONFIG).json(&body)).await.expect_problem(428, "if-match-required");
    send(app.request(Method::DELETE, &format!("{CONFIG}/port"))).await.expect_problem(428, "if-match-required");
    for stale in ["\"1\"", "W/\"0\"", "0", "\"x\", \"2\""] {
        put(&app, stale, &body).await.expect_problem(412, "etag-mismatch");
        unset(&app, stale, "port").await.expect_problem(412, "etag-mismatch");
    }
    assert_eq!(tag(&put(&app, "\"9\", \"0\"", &body).await), "\"1\"");
    // Of many who have seen the same, one comes first.
    let race = (0..8).map(|port| {
        let app = &app;
        async move { put(app, "\"1\"", &json!({"port": 100 + port})).await.status.as_u16() }
    });
    let mut statuses = futures_util::future::join_all(race).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412]);
}

#[tokio::test]
async fn requests_that_cannot_be_read_are_refused() {
    let app = with(FIELDS).await;
    let raw = |method: Method, path: &str, text: String| {
        send(app.request(method, path).header("If-Match", "*").header("content-type", "application/json").body(text))
    };
    for text in ["[]", "null", "{", r#"{"port": 1, "port": 2}"#] {
        raw(Method::PUT, CONFIG, text.to_owned()).await.expect_problem(400, "bad-request");
        raw(Method::POST, &format!("{CONFIG}/validate"), text.to_owned()).await.expect_problem(400, "bad-request");
    }
    let long = format!(r#"{{"endpoint": "{}"}}"#, "x".repeat(256 * 1024));
    raw(Method::PUT, CONFIG, long).await.expect_problem(413, "body-too-large");
    let text = app.request(Method::PUT, CONFIG).header("If-Match", "*").body("{}");
    send(text).await.expect_problem(415, "unsupported-media-type");
    unset(&app, "*", "colour").await.expect_problem(404, "not-found");
    send(app.request(Method::POST, &format!("{CONFIG}/port")).json(&json!({})))
        .await
        .expect_problem(405, "method-not-allowed");
    app.get("/api/plugins/nobody/config").await.expect_problem(404, "plugin-unknown");
    let reader = app.token(&["read", "install", "approve"], None).await;
    for (method, path) in [(Method::GET, ""), (Method::PUT, ""), (Method::DELETE, "/port"), (Method::POST, "/validate")]
    {
        let request = app.bare(method, &format!("{CONFIG}{path}")).bearer_auth(&reader);
        send(request).await.expect_problem(403, "scope-missing");
    }
    let other = app.token(&["operate"], Some(&["other-*"])).await;
    send(app.bare(Method::GET, CONFIG).bearer_auth(&other)).await.expect_problem(404, "plugin-unknown");
}

#[tokio::test]
async fn one_field_can_be_forgotten_and_everything_tried_out() {
    let app = with(FIELDS).await;
    put(&app, "*", &json!({"endpoint": "https://e.example", "api_key": "hunter2", "port": 7})).await.expect(200);
    let tried = validate(&app, &json!({"port": 8})).await.expect(200);
    assert_eq!((&tried["config"]["port"], &tried["missing"]), (&json!(8), &json!(["api_key"])));
    assert_eq!(validate(&app, &json!({"api_key": null})).await.expect(200)["missing"], json!([]));
    assert_eq!(app.get(CONFIG).await.expect(200)["config"]["port"], 7, "trying out changes nothing");

    let left = unset(&app, "\"1\"", "endpoint").await;
    assert_eq!((tag(&left), &left.expect(200)["config"]["endpoint"]), ("\"2\"", &json!("https://api.example.com")));
    assert_eq!(tag(&unset(&app, "*", "endpoint").await), "\"2\"", "there was nothing left to forget");
    let left = unset(&app, "*", "api_key").await.expect(200);
    assert_eq!((&left["secrets"]["api_key"]["set"], &left["missing"]), (&json!(false), &json!(["api_key"])));
    let plugin = app.get("/api/plugins/my-plugin").await.expect(200);
    assert_eq!(plugin["missing_config"], json!(["api_key"]));
}

#[tokio::test]
async fn enabling_names_what_is_missing() {
    let app = with(FIELDS).await;
    let problem = enable(&app).await.expect_problem(409, "config-incomplete");
    assert_eq!(problem["errors"], json!([{"pointer": "/api_key", "message": "required"}]));
    assert_eq!(problem["how"], "plugbay config set my-plugin api_key");
    put(&app, "*", &json!({"api_key": "hunter2"})).await.expect(200);
    // The wish is kept until there is an engine.
    enable(&app).await.expect_problem(503, "engine-unavailable");
    assert_eq!(app.get("/api/plugins/my-plugin").await.expect(200)["status"], "enabled");
    // What should run must not lose what it needs.
    unset(&app, "*", "api_key").await.expect_problem(409, "config-incomplete");
    put(&app, "*", &json!({})).await.expect_problem(409, "config-incomplete");
    assert_eq!(app.get(CONFIG).await.expect(200)["secrets"]["api_key"]["set"], true);
}

#[tokio::test]
async fn the_audit_log_names_fields_and_never_values() {
    let app = with(FIELDS).await;
    put(&app, "*", &json!({"endpoint": "https://CANARY-1.example", "api_key": "CANARY-2"})).await.expect(200);
    put(&app, "*", &json!({"port": 1, "api_key": null})).await.expect(200);
    unset(&app, "*", "api_key").await.expect(200);
    put(&app, "*", &json!({"CANARY-3": "CANARY-4", "port": "CANARY-5"})).await.expect_problem(422, "config-invalid");
    let audit = app.get("/api/audit").await;
    let entries = audit.expect(200)["entries"].take();
    let of_config = |entry: &&Value| entry["action"].as_str().unwrap().starts_with("config.");
    let details: Vec<_> = entries.as_array().unwrap().iter().filter(of_config).map(|entry| &entry["detail"]).collect();
    assert_eq!(details[3], &json!({"revision": 1, "set": ["endpoint"], "secrets": ["api_key"], "unset": []}));
    assert_eq!(details[2], &json!({"revision": 2, "set": ["port"], "secrets": [], "unset": ["endpoint"]}));
    assert_eq!(details[1], &json!({"revision": 3, "set": [], "secrets": [], "unset": ["api_key"]}));
    assert_eq!(details[0]["code"], "config-invalid");
    assert!(!audit.text.contains("CANARY"), "{}", audit.text);
    app.get("/api/audit/verify").await.expect(200);
}

#[tokio::test]
async fn an_update_that_refuses_what_is_set_waits_for_another_configuration() {
    let app = with(FIELDS).await;
    put(&app, "*", &json!({"api_key": "hunter2", "port": 80})).await.expect(200);
    let newer = "config_schema:\n  api_key: { type: string, required: true, secret: true }\n  \
        port: { type: string }\n  region: { type: string, required: true }\n";
    let waiting = update(&app, "2.0.0", newer).await;
    assert_eq!((&waiting["status"], &waiting["permission_diff"]["added"]), (&json!("pending_config"), &json!([])));
    let plugin = app.get("/api/plugins/my-plugin").await.expect(200);
    assert_eq!((&plugin["version"], &plugin["pending"]["status"]), (&json!("1.0.0"), &json!("pending_config")));
    let errors = json!([{"pointer": "/port", "message": "expected string, found integer"}, {"pointer": "/region", "message": "required"}]);
    assert_eq!(plugin["pending"]["config"], errors);
    let shown = app.get(CONFIG).await.expect(200);
    assert_eq!((&shown["pending"]["version"], &shown["pending"]["errors"]), (&json!("2.0.0"), &errors));
    assert_eq!(shown["pending"]["schema"]["properties"]["region"], json!({"type": "string"}));

    // What fits the serving version alone is set for it, and the other waits on.
    let kept = put(&app, "*", &json!({"api_key": null, "port": 81})).await.expect(200);
    assert_eq!((&kept["config"]["port"], &kept["pending"]["version"]), (&json!(81), &json!("2.0.0")));
    // What fits neither is told in words of the one that waits.
    let wrong = put(&app, "*", &json!({"api_key": null, "port": 81, "region": 1})).await;
    let wrong = wrong.expect_problem(422, "config-invalid");
    assert!(wrong["detail"].as_str().unwrap().contains("2.0.0"), "{wrong}");

    let started = put(&app, "*", &json!({"api_key": null, "port": "81", "region": "eu"})).await.expect(200);
    assert_eq!((&started["update"]["status"], &started["update"]["version"]), (&json!("updated"), &json!("2.0.0")));
    assert_eq!(started["config"], json!({"api_key": null, "port": "81", "region": "eu"}));
    assert_eq!((&started["secrets"]["api_key"]["set"], started.get("pending")), (&json!(true), None));
    let plugin = app.get("/api/plugins/my-plugin").await.expect(200);
    assert_eq!((&plugin["version"], &plugin["pending"]), (&json!("2.0.0"), &json!(null)));
    let actions = app.audit_actions().await;
    assert_eq!(actions[actions.len() - 2..], ["config.set".to_owned(), "plugin.updated".to_owned()]);
    // A tag that was read before says nothing about another version.
    put(&app, "\"2\"", &json!({})).await.expect_problem(412, "etag-mismatch");
}

#[tokio::test]
async fn what_would_show_a_secret_or_lose_one_waits() {
    let app = with(FIELDS).await;
    put(&app, "*", &json!({"api_key": "hunter2", "endpoint": "open"})).await.expect(200);
    // A secret becomes open, and an open value secret.
    let turned = "config_schema:\n  api_key: { type: string }\n  endpoint: { type: string, secret: true }\n";
    assert_eq!(update(&app, "2.0.0", turned).await["status"], "pending_config");
    let errors = app.get(CONFIG).await.expect(200)["pending"]["errors"].take();
    let pointers: Vec<_> = errors.as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers, ["/endpoint", "/api_key"]);
    // Forgetting is enough for the one, and the other is set anew.
    unset(&app, "*", "api_key").await.expect(200);
    let started = unset(&app, "*", "endpoint").await.expect(200);
    assert_eq!(started["update"]["version"], "2.0.0");
    assert_eq!(
        (&started["config"], &started["secrets"]),
        (&json!({"endpoint": null}), &json!({"endpoint": {"set": false}}))
    );
}

#[tokio::test]
async fn a_plugin_that_is_being_set_up_is_updated_without_waiting() {
    let app = with(FIELDS).await;
    let more = FIELDS.replace("port: { type: integer }", "port: { type: integer, required: true }");
    assert_eq!(update(&app, "2.0.0", &more).await["status"], "updated");
    assert_eq!(app.get(CONFIG).await.expect(200)["missing"], json!(["api_key", "port"]));
}

#[tokio::test]
async fn approval_goes_before_configuration() {
    let app = with(FIELDS).await;
    put(&app, "*", &json!({"api_key": "hunter2"})).await.expect(200);
    let more = format!(
        "permissions: [chat_access]\n{}",
        FIELDS.replace("port: { type: integer }", "port: { type: integer, required: true }")
    );
    assert_eq!(update(&app, "2.0.0", &more).await["status"], "pending_approval");
    // It would fit, and is not approved.
    let body = json!({"api_key": null, "port": 1});
    let set = put(&app, "*", &body).await.expect(200);
    assert_eq!((set.get("update"), &set["config"]["port"]), (None, &json!(1)));
    unset(&app, "*", "port").await.expect(200);
    let approve = async |body: &Value| app.post("/api/plugins/my-plugin/permissions/approve", body).await.expect(200);
    let approved = approve(&json!({"grant": ["chat_access"]})).await;
    assert_eq!(approved["update"]["status"], "pending_config");
    let plugin = app.get("/api/plugins/my-plugin").await.expect(200);
    assert_eq!((&plugin["version"], &plugin["pending"]["status"]), (&json!("1.0.0"), &json!("pending_config")));
    // What was granted can be taken back while it waits.
    app.post("/api/plugins/my-plugin/permissions/revoke", &json!({"permissions": ["chat_access"]})).await.expect(200);
    assert_eq!(put(&app, "*", &body).await.expect(200).get("update"), None);
    assert_eq!(approve(&json!({"grant": ["chat_access"]})).await["update"]["status"], "updated");
    assert_eq!(app.get(CONFIG).await.expect(200)["config"]["port"], 1);
}

#[tokio::test]
async fn secrets_lie_sealed_and_open_under_their_own_key_alone() {
    let app = with(FIELDS).await;
    put(&app, "*", &json!({"api_key": "hunter2-CANARY"})).await.expect(200);
    let app = app.restart().await;
    assert_eq!(app.get(CONFIG).await.expect(200)["secrets"]["api_key"]["set"], true);
    let setup = app.stop().await;
    for entry in fs::read_dir(setup.data()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        let bytes = fs::read(&entry).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"CANARY"), "{}", entry.display());
    }
    // Another key is told from damage, and refused before anything is written with it.
    let key = setup.data().join("master.key");
    let right = fs::read(&key).unwrap();
    fs::write(&key, [7; 32]).unwrap();
    let (setup, error) = setup.try_start().await.err().unwrap();
    assert!(error.to_string().contains("is not the key"), "{error}");
    fs::remove_file(&key).unwrap();
    let (setup, error) = setup.try_start().await.err().unwrap();
    assert!(error.to_string().contains("is missing"), "{error}");
    fs::write(&key, right).unwrap();
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    // A changed row is told by name, and setting it again mends it.
    database::run(&setup.data(), "UPDATE secrets SET sealed = zeroblob(32)").await;
    let app = setup.start().await;
    assert_eq!(app.get(CONFIG).await.expect(200)["secrets"]["api_key"]["set"], true);
    let problem = enable(&app).await.expect_problem(409, "secret-unreadable");
    assert!(problem["detail"].as_str().unwrap().contains("`api_key`"), "{problem}");
    put(&app, "*", &json!({"api_key": null})).await.expect_problem(409, "secret-unreadable");
    put(&app, "*", &json!({"api_key": "hunter3"})).await.expect(200);
    enable(&app).await.expect_problem(503, "engine-unavailable");
}

#[tokio::test]
async fn configuration_and_secrets_are_gone_with_the_plugin() {
    let app = with(FIELDS).await;
    put(&app, "*", &json!({"api_key": "hunter2", "port": 1})).await.expect(200);
    app.delete("/api/plugins/my-plugin").await.expect(204);
    app.install(&package(&format!("{}{FIELDS}", manifest("my-plugin", "1.0.0"))), None).await.expect(201);
    let shown = app.get(CONFIG).await.expect(200);
    assert_eq!((&shown["secrets"]["api_key"]["set"], &shown["config"]["port"]), (&json!(false), &Value::Null));
}

/// Definitions that look for what the next one left unevaluated: each doubles the work of the one before.
fn endless_schema() -> String {
    let level =
        |n: usize| format!("    d{n}: {{ allOf: [{{ $ref: '#/$defs/d{}' }}], unevaluatedProperties: false }}\n", n + 1);
    let levels: String = (0..30).map(level).collect();
    format!(
        "config_schema:\n  type: object\n  properties: {{ a: {{}} }}\n  $ref: '#/$defs/d0'\n  $defs:\n{levels}    \
         d30: {{ properties: {{ a: {{}} }} }}\n"
    )
}

#[tokio::test]
async fn a_schema_that_would_never_end_holds_up_nobody() {
    let app = service().await;
    let yaml = format!("{}{}", manifest("my-plugin", "1.0.0"), endless_schema());
    let brings: &[(&str, &[u8])] =
        &[("plugin.yaml", yaml.as_bytes()), ("main.py", b"class P: pass\n"), ("config.yaml", b"a: x\n")];
    let install =
        async || app.install(&pack(brings), None).await.expect_problem(422, "manifest-invalid")["detail"].to_string();
    // Several at once, on a machine that may have one processor.
    let (first, second, third, looked) =
        tokio::join!(install(), install(), install(), async { app.get("/api/plugins").await.expect(200) });
    assert!([first, second, third].iter().all(|detail| detail.contains("steps")));
    assert_eq!(looked["total"], 0);
    // Without values nothing is to be checked yet; with some, every way in refuses.
    app.install(&pack(&brings[..2]), None).await.expect(201);
    let body = json!({"a": "x"});
    for refused in [validate(&app, &body).await, put(&app, "\"0\"", &body).await] {
        assert!(refused.expect_problem(422, "config-invalid").to_string().contains("steps"));
    }
    assert_eq!(app.get(CONFIG).await.expect(200)["config"], json!({}));
}
