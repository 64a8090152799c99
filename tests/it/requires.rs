//! Plugins that require other plugins, as far as it needs no engine: what is meant to run is stored without one.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp, form, send};
use crate::support::author::{manifest, package};

/// A plugin as `name version` with what it requires.
async fn add(app: &TestApp, plugin: &str, requires: &str) -> Value {
    let installed = app.install(&archive(plugin, requires), None).await.expect(201);
    let (name, _) = plugin.split_once(' ').unwrap();
    if !requires.is_empty() {
        app.post(&format!("/api/plugins/{name}/permissions/approve"), &json!({"grant": ["plugins"]})).await.expect(200);
    }
    installed
}

fn archive(plugin: &str, requires: &str) -> Vec<u8> {
    let (name, version) = plugin.split_once(' ').unwrap();
    package(&format!("{}requires: {{ {requires} }}\n", manifest(name, version)))
}

async fn update(app: &TestApp, plugin: &str, requires: &str) -> Answer {
    let (name, _) = plugin.split_once(' ').unwrap();
    app.upload(&format!("/api/plugins/{name}/update"), &archive(plugin, requires), None).await
}

async fn act(app: &TestApp, path: &str) -> Answer {
    send(app.request(Method::POST, &format!("/api/plugins/{path}"))).await
}

/// What is there in `requires` and `required_by`, and the status.
async fn shown(app: &TestApp, name: &str) -> Value {
    let plugin = app.get(&format!("/api/plugins/{name}")).await.expect(200);
    json!([plugin["status"], plugin["requires"], plugin["required_by"]])
}

async fn statuses(app: &TestApp) -> Vec<String> {
    let list = app.get("/api/plugins").await.expect(200);
    let text = |plugin: &Value| format!("{} {}", plugin["name"].as_str().unwrap(), plugin["status"].as_str().unwrap());
    list["plugins"].as_array().unwrap().iter().map(text).collect()
}

async fn service() -> TestApp {
    TestApp::setup().unsigned().without_engine().start().await
}

/// `a` requires `b`, which requires `c`; all of them are meant to run.
async fn chain() -> TestApp {
    let app = service().await;
    add(&app, "c 1.2.0", "").await;
    add(&app, "b 1.0.0", "c: ^1").await;
    add(&app, "a 1.0.0", "b: '*'").await;
    act(&app, "a/enable").await.expect_problem(503, "engine-unavailable");
    assert_eq!(statuses(&app).await, ["a enabled", "b enabled", "c enabled"]);
    app
}

#[tokio::test]
async fn what_is_required_may_come_later_and_is_asked_for_meanwhile() {
    let app = service().await;
    let installed = add(&app, "a 1.0.0", "b: ^1.2, c: '*'").await;
    assert_eq!(
        installed["warnings"],
        json!([
            "`b` (^1.2) is required to enable it, and is not installed",
            "`c` (*) is required to enable it, and is not installed"
        ])
    );
    let problem = act(&app, "a/enable").await.expect_problem(409, "requires-missing");
    assert_eq!(
        problem["detail"],
        "`b` is required by `a` (^1.2) and is not installed; `c` is required by `a` (*) and is not installed"
    );
    assert_eq!(problem["how"], "install `b`: plugbay install FILE; install `c`: plugbay install FILE");

    add(&app, "b 1.1.0", "").await;
    add(&app, "c 1.0.0", "").await;
    let problem = act(&app, "a/enable").await.expect_problem(409, "requires-conflict");
    assert_eq!(problem["detail"], "`b` 1.1.0 is installed, which does not fit what `a` 1.0.0 requires (^1.2)");
    assert_eq!(problem["how"], "plugbay update b FILE with a version that fits ^1.2");
    let requires = json!([
        {"name": "b", "range": "^1.2", "installed": "1.1.0", "satisfied": false},
        {"name": "c", "range": "*", "installed": "1.0.0", "satisfied": true},
    ]);
    assert_eq!(shown(&app, "a").await, json!(["installed", requires, []]));
    assert_eq!(shown(&app, "b").await, json!(["installed", [], ["a"]]));

    assert_eq!(update(&app, "b 1.2.0", "").await.expect(200)["status"], "updated");
    act(&app, "a/enable").await.expect_problem(503, "engine-unavailable");
    assert_eq!(statuses(&app).await, ["a enabled", "b enabled", "c enabled"], "everything starts with the engine");
    let actions = app.audit_actions().await;
    assert_eq!(
        actions[actions.len() - 4..],
        ["plugin.enabled", "plugin.enabled", "plugin.enabled", "plugin.enable_refused"]
    );
    assert!(actions.iter().filter(|action| *action == "plugin.enable_refused").count() == 3);
}

#[tokio::test]
async fn what_is_not_ready_is_named_and_nothing_is_touched() {
    let app = service().await;
    add(&app, "c 1.0.0", "").await;
    let text = format!("{}permissions: [chat_access]\nrequires: {{ c: '*' }}\n", manifest("b", "1.0.0"));
    app.install(&package(&text), None).await.expect(201);
    add(&app, "a 1.0.0", "b: '*'").await;
    let problem = act(&app, "a/enable").await.expect_problem(409, "permissions-pending");
    assert_eq!(
        problem["detail"],
        "`a` requires `b`, which cannot be enabled: chat_access, plugins:c need an administrator's decision"
    );
    assert_eq!(problem["how"], "plugbay approve b --grant chat_access --grant plugins:c");
    assert_eq!(statuses(&app).await, ["a installed", "b installed", "c installed"]);
    // Its own permissions come first.
    let own = package(&format!("{}requires: {{ gone: '*' }}\n", manifest("own", "1.0.0")));
    app.install(&own, None).await.expect(201);
    act(&app, "own/enable").await.expect_problem(409, "permissions-pending");

    let text = format!("{}config_schema: {{ key: {{ type: string, required: true }} }}\n", manifest("d", "1.0.0"));
    app.install(&package(&text), None).await.expect(201);
    add(&app, "e 1.0.0", "c: '*', d: '*'").await;
    let problem = act(&app, "e/enable").await.expect_problem(409, "config-incomplete");
    assert_eq!(problem["detail"], "`e` requires `d`, which cannot be enabled: `d` needs a value for key");
    assert_eq!(
        (&problem["how"], &problem["errors"][0]["pointer"]),
        (&json!("plugbay config set d key"), &json!("/key"))
    );
    assert_eq!(statuses(&app).await[2], "c installed");
}

#[tokio::test]
async fn what_others_require_is_not_taken_away() {
    let app = chain().await;
    let problem = act(&app, "c/disable").await.expect_problem(409, "dependents-running");
    assert_eq!(problem["detail"], "`c` is required by the enabled plugin `b`");
    assert_eq!(problem["how"], "disable what requires it first: plugbay disable c --cascade");
    app.delete("/api/plugins/c").await.expect_problem(409, "dependents-running");
    app.delete("/api/plugins/b?purge=true").await.expect_problem(409, "dependents-running");
    act(&app, "c/disable?cascade=maybe").await.expect_problem(400, "bad-request");
    assert_eq!(statuses(&app).await, ["a enabled", "b enabled", "c enabled"]);
    assert_eq!(shown(&app, "c").await[2], json!(["b"]));

    let disabled = act(&app, "c/disable?cascade=true").await.expect(200);
    assert_eq!((&disabled["status"], &disabled["also_disabled"]), (&json!("disabled"), &json!(["a", "b"])));
    assert_eq!(disabled.get("also_enabled"), None);
    assert_eq!(statuses(&app).await, ["a disabled", "b disabled", "c disabled"]);
    let entries = app.get("/api/audit?limit=3").await.expect(200)["entries"].take();
    let order: Vec<_> = entries.as_array().unwrap().iter().rev().map(|entry| entry["plugin"].clone()).collect();
    assert_eq!(order, ["a", "b", "c"]);
    let again = act(&app, "c/disable").await.expect(200);
    assert_eq!(again.get("also_disabled"), None);
    app.delete("/api/plugins/c").await.expect(204);
    assert_eq!(shown(&app, "b").await[1][0]["installed"], json!(null));
}

#[tokio::test]
async fn a_version_that_an_enabled_plugin_does_not_accept_is_refused() {
    let app = chain().await;
    add(&app, "x 1.0.0", "c: '>=1.1'").await;
    act(&app, "x/enable").await.expect_problem(503, "engine-unavailable");
    let problem = update(&app, "c 2.0.0", "").await.expect_problem(409, "requires-conflict");
    assert_eq!(problem["detail"], "`c` 2.0.0 does not fit what the enabled plugin `b` 1.0.0 requires (^1)");
    assert_eq!(problem["how"], "first update b to accept 2.0.0, or: plugbay disable b");
    assert_eq!(app.get("/api/plugins/c/versions").await.expect(200)["versions"].as_array().unwrap().len(), 1);
    assert_eq!(update(&app, "c 1.9.0", "").await.expect(200)["status"], "updated");
    // Who is not enabled has time to follow.
    act(&app, "b/disable?cascade=true").await.expect(200);
    assert_eq!(update(&app, "c 2.0.0", "").await.expect(200)["status"], "updated");
    act(&app, "b/enable").await.expect_problem(409, "requires-conflict");
    // The other way round: what an enabled plugin requires from now on.
    let problem = update(&app, "x 1.1.0", "c: '>=3'").await.expect_problem(409, "requires-conflict");
    assert_eq!(problem["detail"], "`c` 2.0.0 is installed, which does not fit what `x` 1.1.0 requires (>=3)");
    let warned = update(&app, "b 1.1.0", "c: ^3").await.expect(200);
    assert_eq!(warned["warnings"], json!(["`c` (^3) is required to enable it, and `c` 2.0.0 is installed"]));
}

#[tokio::test]
async fn a_version_that_waited_is_looked_at_when_it_starts() {
    let app = chain().await;
    let waiting = update(&app, "a 2.0.0", "b: '*', d: ^1").await.expect(200);
    assert_eq!(
        (&waiting["status"], &waiting["permission_diff"]["added"]),
        (&json!("pending_approval"), &json!(["requires d"]))
    );
    let approve = async || app.post("/api/plugins/a/permissions/approve", &json!({"grant": ["plugins"]})).await;
    let problem = approve().await.expect_problem(409, "requires-missing");
    assert_eq!(problem["detail"], "`d` is required by `a` (^1) and is not installed");
    add(&app, "d 1.0.0", "").await;
    let problem = approve().await.expect_problem(409, "requires-missing");
    assert_eq!(problem["detail"], "`d` is required by `a` (^1) and is not enabled");
    assert_eq!(problem["how"], "plugbay enable d");
    assert_eq!(app.get("/api/plugins/a").await.expect(200)["version"], "1.0.0", "it goes on as it was");
    act(&app, "d/enable").await.expect_problem(503, "engine-unavailable");
    assert_eq!(approve().await.expect(200)["update"]["version"], "2.0.0");
    act(&app, "d/disable").await.expect_problem(409, "dependents-running");

    // A dependent came while the version waited.
    let grown = package(&format!("{}resources: {{ memory_mb: 64 }}\n", manifest("d", "2.0.0")));
    act(&app, "a/disable").await.expect(200);
    let waiting = app.upload("/api/plugins/d/update", &grown, None).await.expect(200);
    assert_eq!(waiting["status"], "pending_approval");
    act(&app, "a/enable").await.expect_problem(503, "engine-unavailable");
    let refused = app.post("/api/plugins/d/permissions/approve", &json!({})).await;
    let problem = refused.expect_problem(409, "requires-conflict");
    assert_eq!(problem["detail"], "`d` 2.0.0 does not fit what the enabled plugin `a` 2.0.0 requires (^1)");
}

#[tokio::test]
async fn nothing_closes_a_circle() {
    let app = service().await;
    add(&app, "a 1.0.0", "b: '*'").await;
    add(&app, "b 1.0.0", "c: '*'").await;
    let refused = app.install(&archive("c 1.0.0", "a: '*'"), None).await;
    let problem = refused.expect_problem(422, "requires-cycle");
    assert_eq!(problem["detail"], "plugins require each other in a circle: `c` -> `a` -> `b` -> `c`");
    assert_eq!(
        problem["how"],
        "take one of the entries out of `requires`: the one in `c`, or the one in `a`, or the one in `b`"
    );
    app.get("/api/plugins/c").await.expect_problem(404, "plugin-unknown");
    add(&app, "c 1.0.0", "").await;
    update(&app, "c 1.1.0", "a: '*'").await.expect_problem(422, "requires-cycle");
    assert_eq!(app.get("/api/plugins/c").await.expect(200)["pending"], json!(null));
    assert!(app.audit_actions().await.contains(&"plugin.refused".to_owned()));
}

#[tokio::test]
async fn a_token_for_some_plugins_hears_of_others_what_the_manifest_says() {
    let app = service().await;
    add(&app, "c 1.0.0", "").await;
    add(&app, "b 1.0.0", "c: '*'").await;
    let token = app.token(&["install", "operate", "read", "approve"], Some(&["a", "c"])).await;
    let ask = async |method: Method, path: &str| {
        send(app.bare(method, &format!("/api/plugins/{path}")).bearer_auth(&token)).await
    };
    let upload = app.bare(Method::POST, "/api/plugins/install").bearer_auth(&token);
    let installed = send(upload.multipart(form(&archive("a 1.0.0", "b: ^1, gone: '*'"), None))).await.expect(201);
    assert_eq!(
        installed["warnings"],
        json!([
            "`b` (^1) is required; the token is not for it, so nothing is told about it",
            "`gone` (*) is required; the token is not for it, so nothing is told about it"
        ])
    );
    let unseen = |name: &str, range: &str| json!({"name": name, "range": range, "installed": null, "satisfied": null});
    let shown = ask(Method::GET, "a").await.expect(200);
    assert_eq!(shown["requires"], json!([unseen("b", "^1"), unseen("gone", "*")]));
    assert_eq!(ask(Method::GET, "c").await.expect(200)["required_by"], json!([]));
    app.delete("/api/plugins/a").await.expect(204);

    // There or not, the answer is the same.
    for name in ["b", "gone"] {
        add(&app, "a 1.0.0", &format!("{name}: ^1")).await;
        let problem = ask(Method::POST, "a/enable").await.expect_problem(403, "scope-missing");
        assert_eq!(
            problem["detail"],
            format!("`a` requires `{name}`, which cannot be enabled: the token is not for `{name}`")
        );
        app.delete("/api/plugins/a").await.expect(204);
    }
    // What runs already needs nobody's leave.
    add(&app, "a 1.0.0", "b: ^1").await;
    act(&app, "b/enable").await.expect_problem(503, "engine-unavailable");
    ask(Method::POST, "a/enable").await.expect_problem(503, "engine-unavailable");
    assert_eq!(statuses(&app).await, ["a enabled", "b enabled", "c enabled"]);
    for path in ["c/disable", "c/disable?cascade=true"] {
        let problem = ask(Method::POST, path).await.expect_problem(409, "dependents-running");
        assert_eq!(problem["detail"], "`c` is required by an enabled plugin that the token is not for");
        assert!(problem["how"].as_str().unwrap().starts_with("use a token whose `plugins` cover"), "{problem}");
    }
    let upload = app.bare(Method::POST, "/api/plugins/c/update").bearer_auth(&token);
    // `b` 1.0.0 accepts every `c`.
    send(upload.multipart(form(&archive("c 2.0.0", ""), None))).await.expect(200);
    act(&app, "a/disable").await.expect(200);
    assert_eq!(update(&app, "b 1.1.0", "c: ^2").await.expect(200)["status"], "updated");
    let upload = app.bare(Method::POST, "/api/plugins/c/update").bearer_auth(&token);
    let refused = send(upload.multipart(form(&archive("c 3.0.0", ""), None))).await;
    let problem = refused.expect_problem(409, "requires-conflict");
    assert_eq!(problem["detail"], "`c` 3.0.0 does not fit what an enabled plugin requires that the token is not for");
    // A circle through plugins out of reach is refused without their names.
    let upload = app.bare(Method::POST, "/api/plugins/c/update").bearer_auth(&token);
    let refused = send(upload.multipart(form(&archive("c 2.1.0", "b: '*'"), None))).await;
    let problem = refused.expect_problem(422, "requires-cycle");
    assert_eq!(
        problem["detail"],
        "`c` requires plugins that require each other in a circle; the token is not for all of them"
    );
}

#[tokio::test]
async fn changes_at_once_leave_nothing_enabled_without_what_it_requires() {
    let app = chain().await;
    add(&app, "x 1.0.0", "b: '*', c: '*'").await;
    let (mut kept, mut refused) = (0, 0);
    for round in 0..25 {
        let asked =
            ["a/enable", "c/disable", "x/enable", "b/disable?cascade=true", "b/enable", "c/disable?cascade=true"];
        let mut order: Vec<_> = asked.iter().cycle().skip(round % asked.len()).take(asked.len()).collect();
        order.swap(round % 5, round % 3);
        let answers = futures_util::future::join_all(order.iter().map(|path| act(&app, path))).await;
        for (path, answer) in order.iter().zip(&answers) {
            // Without an engine a wish that is kept is a 503.
            let expected: &[u16] = if path.contains("enable") { &[503, 409] } else { &[200, 409] };
            assert!(expected.contains(&answer.status.as_u16()), "{path}: {}", answer.text);
            *(if answer.status == 409 { &mut refused } else { &mut kept }) += 1;
        }
        let enabled: Vec<String> = statuses(&app).await.into_iter().filter(|text| text.ends_with(" enabled")).collect();
        let is_enabled = |name: &str| enabled.contains(&format!("{name} enabled"));
        for (name, required) in [("a", "b"), ("b", "c"), ("x", "b"), ("x", "c")] {
            assert!(!is_enabled(name) || is_enabled(required), "round {round}: {enabled:?}");
        }
    }
    assert!(kept > 0 && refused > 0, "{kept} changes were made, {refused} refused");
}
