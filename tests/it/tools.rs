//! Tools of plugins: what is listed for whom, in which forms, and which tokens are for them.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp, send};
use crate::support::author::{manifest, package};
use crate::support::database;

const GIT: &str = "tools:\n  - name: git_status\n    description: Shows what changed\n    \
                   input: { type: object, properties: { path: { type: string } }, required: [path] }\n    \
                   output: { type: object }\n    annotations: { read_only: true, destructive: false }\n  \
                   - { name: git-push, method: push }\n";

async fn with(app: &TestApp, token: &str, method: Method, path: &str) -> Answer {
    send(app.bare(method, path).bearer_auth(token)).await
}

/// Enabled as far as there is no engine: the wish is kept.
async fn enabled(app: &TestApp, name: &str, extra: &str) {
    app.install(&package(&format!("{}{extra}", manifest(name, "1.0.0"))), None).await.expect(201);
    post(app, &format!("/api/plugins/{name}/enable")).await.expect_problem(503, "engine-unavailable");
}

async fn post(app: &TestApp, path: &str) -> Answer {
    send(app.request(Method::POST, path)).await
}

async fn token_for(app: &TestApp, body: Value) -> String {
    let mut all = json!({"label": "tools", "scopes": ["read", "execute"]});
    all.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    app.post("/api/tokens", &all).await.expect(201)["token"].as_str().unwrap().to_owned()
}

async fn names(app: &TestApp, token: &str) -> Vec<String> {
    let list = with(app, token, Method::GET, "/api/tools").await.expect(200);
    list["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn tools_of_enabled_plugins_are_listed_in_both_forms() {
    let app = TestApp::setup().unsigned().without_engine().start().await;
    enabled(&app, "git", GIT).await;
    enabled(&app, "my-echo", "").await;
    enabled(&app, "quiet", "tools: []\n").await;
    enabled(&app, "ears", "hooks: [on_message]\n").await;
    app.install(&package(&manifest("idle", "1.0.0")), None).await.expect(201);
    let list = app.get("/api/tools").await.expect(200);
    let status = json!({
        "name": "git.git_status", "plugin": "git", "tool": "git_status", "method": "git_status", "read_only": true,
        "openai": {
            "type": "function",
            "function": {
                "name": "git__git_status",
                "description": "Shows what changed",
                "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
            },
        },
        "mcp": {
            "name": "git.git_status",
            "description": "Shows what changed",
            "inputSchema": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
            "outputSchema": {"type": "object"},
            "annotations": {"readOnlyHint": true, "destructiveHint": false},
        },
    });
    assert_eq!(list["tools"][1], status);
    assert_eq!(list["tools"][0]["openai"]["function"]["name"], "git__git_push");
    assert_eq!((&list["tools"][0]["name"], &list["tools"][0]["method"]), (&json!("git.git-push"), &json!("push")));
    let itself = &list["tools"][2];
    assert_eq!((&itself["name"], &itself["method"]), (&json!("my-echo"), &json!("execute")));
    assert_eq!(
        itself["mcp"],
        json!({
            "name": "my-echo", "description": "Example plugin", "inputSchema": {"type": "object"},
        })
    );
    assert_eq!(itself["openai"]["function"]["name"], "my_echo__my_echo");
    assert_eq!((&list["total"], &list["next_cursor"]), (&json!(3), &json!(null)));

    let one = app.get("/api/tools?form=openai").await.expect(200);
    assert!(one["tools"][0].get("mcp").is_none() && one["tools"][0].get("openai").is_some());
    let other = app.get("/api/tools?form=mcp").await.expect(200);
    assert!(other["tools"][0].get("openai").is_none() && other["tools"][0].get("mcp").is_some());
    app.get("/api/tools?form=xml").await.expect_problem(400, "bad-request");

    let mut paged = Vec::new();
    let mut path = "/api/tools?limit=1".to_owned();
    loop {
        let page = app.get(&path).await.expect(200);
        paged.extend(page["tools"].as_array().unwrap().clone());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/tools?limit=1&cursor={cursor}");
    }
    assert_eq!(Value::from(paged), list["tools"]);
}

#[tokio::test]
async fn a_token_lists_the_tools_that_it_is_for() {
    let app = TestApp::setup().unsigned().without_engine().start().await;
    for (name, extra) in [("git", GIT), ("fs", ""), ("other", "")] {
        enabled(&app, name, extra).await;
    }
    for (limits, wanted) in [
        (json!({}), &["fs", "git.git-push", "git.git_status", "other"][..]),
        (json!({"tools": ["git.git_status", "fs.*"]}), &["fs", "git.git_status"]),
        (json!({"tools": ["git.*"], "read_only": true}), &["git.git_status"]),
        (json!({"read_only": true}), &["git.git_status"]),
        (json!({"tools": ["*"], "plugins": ["other"]}), &["other"]),
        (json!({"tools": ["nothing"]}), &[]),
    ] {
        let token = token_for(&app, limits.clone()).await;
        assert_eq!(names(&app, &token).await, wanted, "{limits}");
    }
    let listed = app.get("/api/tokens").await.expect(200);
    assert_eq!(listed["tokens"][2]["tools"], json!(["git.git_status", "fs.*"]));
    assert_eq!((&listed["tokens"][3]["read_only"], &listed["tokens"][1]["read_only"]), (&json!(true), &json!(false)));
    let audit = app.get("/api/audit?limit=1000").await.expect(200);
    let told = audit["entries"].as_array().unwrap().iter().filter(|entry| entry["action"] == "token.created");
    assert!(
        told.clone().any(|entry| entry["detail"]["tools"] == json!(["git.*"]) && entry["detail"]["read_only"] == true)
    );
    // It is what was decided about the token, also after a restart.
    let token = token_for(&app, json!({"tools": ["git.*"], "read_only": true})).await;
    let app = app.restart().await;
    assert_eq!(names(&app, &token).await, ["git.git_status"]);
}

#[tokio::test]
async fn a_token_for_tools_has_no_way_around_them() {
    let app = TestApp::setup().unsigned().without_engine().start().await;
    for scope in ["operate", "install", "approve", "trust", "audit", "admin"] {
        for limits in [json!({"tools": ["a"]}), json!({"read_only": true})] {
            let mut body = json!({"label": "x", "scopes": ["execute", scope]});
            body.as_object_mut().unwrap().extend(limits.as_object().unwrap().clone());
            let problem = app.post("/api/tokens", &body).await.expect_problem(422, "field-invalid");
            assert_eq!(problem["errors"][0]["pointer"], "/scopes", "{scope}");
        }
    }
    for tools in [json!([]), json!(["a b"]), json!([""]), json!(vec!["a"; 257]), json!("a"), json!([1])] {
        let body = json!({"label": "x", "scopes": ["execute"], "tools": tools});
        assert!(app.post("/api/tokens", &body).await.status.is_client_error(), "{body}");
    }
    let conversation =
        app.post("/api/chat/conversations", &json!({})).await.expect(201)["id"].as_str().unwrap().to_owned();
    for limits in [json!({"tools": ["*"]}), json!({"read_only": true})] {
        let token = token_for(&app, limits).await;
        // Everything that calls plugins in other ways, and everything that could make a way.
        let messages = format!("/api/chat/conversations/{conversation}/messages");
        for (method, path) in [
            (Method::POST, messages.as_str()),
            (Method::GET, &messages),
            (Method::POST, "/api/chat/conversations"),
            (Method::GET, "/api/chat/conversations"),
            (Method::POST, "/api/tokens"),
            (Method::POST, "/api/plugins/x/enable"),
            (Method::POST, "/api/plugins/install"),
            (Method::PUT, "/api/plugins/x/config"),
            (Method::POST, "/api/plugins/x/config/validate"),
            (Method::POST, "/api/plugins/x/permissions/approve"),
        ] {
            with(&app, &token, method, path).await.expect_problem(403, "scope-missing");
        }
        with(&app, &token, Method::GET, "/api/plugins").await.expect(200);
    }
}

/// Every route of the description, so that one that is added later is asked, too.
#[tokio::test]
async fn no_route_but_the_known_ones_takes_a_token_for_tools() {
    let app = TestApp::setup().unsigned().without_engine().start().await;
    let token = token_for(&app, json!({"tools": ["a.b"]})).await;
    let description = app.get("/api/openapi.json").await.expect(200);
    let mut taken = Vec::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        let address = path.replace("{id}", "x").replace("{field}", "x").replace("{key_id}", "x").replace("{file}", "x");
        for method in methods.as_object().unwrap().keys().filter(|method| *method != "get" && *method != "parameters") {
            let answer = with(&app, &token, method.to_uppercase().parse().unwrap(), &address).await;
            if answer.status.as_u16() != 403 {
                taken.push(format!("{method} {path}"));
            }
        }
    }
    assert_eq!(taken, ["post /api/plugins/{id}/execute"]);
}

#[tokio::test]
async fn what_a_token_is_not_for_does_not_exist_for_it() {
    let app = TestApp::setup().unsigned().without_engine().start().await;
    enabled(&app, "git", GIT).await;
    enabled(&app, "fs", "").await;
    let token = token_for(&app, json!({"tools": ["fs.*"]})).await;
    let call = async |name: &str| {
        let request = app.bare(Method::POST, &format!("/api/plugins/{name}/execute")).bearer_auth(&token);
        send(request.json(&json!({"method": "git_status"}))).await
    };
    let detail = |problem: Value| problem["detail"].as_str().unwrap().replace("git", "gone");
    let hidden = detail(call("git").await.expect_problem(404, "plugin-unknown"));
    assert_eq!(hidden, detail(call("gone").await.expect_problem(404, "plugin-unknown")));
    assert_ne!(call("fs").await.status, 404);
}

#[tokio::test]
async fn of_two_tools_that_models_could_not_tell_apart_one_is_enabled() {
    let app = TestApp::setup().unsigned().without_engine().start().await;
    // Their names are cut and end alike: found by trying, as an attacker would.
    let mut seen = std::collections::HashMap::new();
    let (one, other) = (0_u32..)
        .find_map(|number| {
            let name = format!("{}{number:x}", "a".repeat(55)).parse().ok()?;
            let other: plugbay::domain::PluginName =
                seen.insert(plugbay::domain::model_name(&name, "same-tool"), name.clone())?;
            Some((other, name))
        })
        .unwrap();
    let tools = "tools: [{ name: same-tool }]\n";
    enabled(&app, one.as_str(), tools).await;
    app.install(&package(&format!("{}{tools}", manifest(other.as_str(), "1.0.0"))), None).await.expect(201);
    let enable = format!("/api/plugins/{other}/enable");
    let problem = post(&app, &enable).await.expect_problem(409, "tool-name-taken");
    assert!(problem["detail"].as_str().unwrap().contains(&format!("`same-tool` of `{one}`")), "{problem}");
    let how = problem["how"].as_str().unwrap();
    assert!(how.contains(&format!("plugbay disable {one}")) && how.contains("rename the tool"), "{problem}");
    post(&app, &format!("/api/plugins/{one}/disable")).await.expect(200);
    post(&app, &enable).await.expect_problem(503, "engine-unavailable");
}

#[tokio::test]
async fn an_update_does_not_widen_a_token_that_only_reads() {
    let app = TestApp::setup().unsigned().without_engine().start().await;
    let tools =
        |push: bool| GIT.replace("method: push }", &format!("method: push, annotations: {{ read_only: {push} }} }}"));
    enabled(&app, "git", &tools(false)).await;
    let token = token_for(&app, json!({"read_only": true})).await;
    assert_eq!(names(&app, &token).await, ["git.git_status"]);
    let newer = package(&format!("{}{}", manifest("git", "1.1.0"), tools(true)));
    let waiting = app.upload("/api/plugins/git/update", &newer, None).await.expect(200);
    assert_eq!(waiting["status"], "pending_approval", "{waiting}");
    assert_eq!(waiting["permission_diff"]["added"], json!(["changed tool git-push"]));
    assert_eq!(names(&app, &token).await, ["git.git_status"]);
    // Who may only install cannot make it serve.
    let pending = app.get("/api/plugins/git").await.expect(200)["pending"].take();
    let installer = app.token(&["read", "install"], None).await;
    let body = json!({"digest": pending["digest"]});
    let approve =
        |token: &str| app.bare(Method::POST, "/api/plugins/git/permissions/approve").bearer_auth(token).json(&body);
    send(approve(&installer)).await.expect_problem(403, "scope-missing");
    assert_eq!(names(&app, &token).await, ["git.git_status"]);
    send(approve(&app.token)).await;
    assert_eq!(app.get("/api/plugins/git").await.expect(200)["version"], "1.1.0");
    assert_eq!(names(&app, &token).await, ["git.git-push", "git.git_status"], "decided about, it counts");
}

/// Who writes to the database could take the limits off a token.
#[tokio::test]
async fn the_tools_of_a_token_are_in_the_audit_log() {
    let app = TestApp::start().await;
    token_for(&app, json!({"tools": ["fs.*"], "read_only": true})).await;
    token_for(&app, json!({"rate": 5})).await;
    let setup = app.stop().await;
    let verdict = async || plugbay::startup::verify_audit(&setup.data(), None).await.map_err(|error| error.to_string());
    assert!(verdict().await.is_ok());
    let limited = "WHERE tools IS NOT NULL";
    for (change, back) in [
        (format!("UPDATE tokens SET read_only = 0 {limited}"), format!("UPDATE tokens SET read_only = 1 {limited}")),
        (
            format!("UPDATE tokens SET tools = '[\"*\"]' {limited}"),
            format!("UPDATE tokens SET tools = '[\"fs.*\"]' {limited}"),
        ),
        (
            format!("UPDATE tokens SET tools = NULL {limited}"),
            "UPDATE tokens SET tools = '[\"fs.*\"]' WHERE read_only = 1".to_owned(),
        ),
        (
            "UPDATE tokens SET tools = '[\"*\"]' WHERE rate = 5".to_owned(),
            "UPDATE tokens SET tools = NULL WHERE rate = 5".to_owned(),
        ),
    ] {
        database::run(&setup.data(), &change).await;
        let found = verdict().await.unwrap_err();
        assert!(found.contains("of table `tokens` is not what row"), "{change}: {found}");
        database::run(&setup.data(), &back).await;
        assert!(verdict().await.is_ok(), "{back}");
    }
}
