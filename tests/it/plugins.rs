//! Looking plugins up, and uninstalling them.

use reqwest::Method;
use serde_json::json;

use crate::support::app::{TestApp, send};
use crate::support::author::{Author, manifest, package};

async fn with_plugins(names: &[&str]) -> TestApp {
    let app = TestApp::setup().unsigned().start().await;
    for name in names {
        app.install(&package(&manifest(name, "1.0.0")), None).await.expect(201);
    }
    app
}

#[tokio::test]
async fn the_list_comes_in_pages_by_name() {
    let app = with_plugins(&["c", "a", "b"]).await;
    let first = app.get("/api/plugins?limit=2").await.expect(200);
    let names = |page: &serde_json::Value| {
        page["plugins"].as_array().unwrap().iter().map(|plugin| plugin["name"].clone()).collect::<Vec<_>>()
    };
    assert_eq!((names(&first), &first["total"]), (vec![json!("a"), json!("b")], &json!(3)));
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = app.get(&format!("/api/plugins?limit=2&cursor={cursor}")).await.expect(200);
    assert_eq!((names(&second), &second["next_cursor"]), (vec![json!("c")], &json!(null)));
}

#[tokio::test]
async fn the_list_is_filtered_by_status_and_text() {
    let app = with_plugins(&["mail", "weather"]).await;
    let total = |path: &'static str| {
        let app = &app;
        async move { app.get(path).await.expect(200)["total"].as_u64().unwrap() }
    };
    assert_eq!(total("/api/plugins?status=all").await, 2);
    assert_eq!(total("/api/plugins?status=installed").await, 2);
    assert_eq!(total("/api/plugins?status=disabled").await, 2);
    assert_eq!(total("/api/plugins?status=enabled").await, 0);
    assert_eq!(total("/api/plugins?status=quarantined").await, 0);
    assert_eq!(total("/api/plugins?q=WEATH").await, 1);
    assert_eq!(total("/api/plugins?q=example").await, 2);
    app.get("/api/plugins?status=broken").await.expect_problem(400, "bad-request");
}

#[tokio::test]
async fn a_plugin_is_shown_by_id_and_by_name() {
    let app = TestApp::start().await;
    let author = Author::new();
    app.trust(&author).await;
    let text = format!(
        "{}hooks: [on_message]\ncommands: [{{ name: /go, description: Go, usage: \"/go now\" }}]\n",
        manifest("my_plugin", "1.2.3")
    );
    let archive = package(&text);
    let id = app.install(&archive, Some(&author.sign(&archive))).await.expect(201)["plugin_id"].take();
    let by_id = app.get(&format!("/api/plugins/{}", id.as_str().unwrap())).await.expect(200);
    for name in ["my-plugin", "my_plugin"] {
        assert_eq!(app.get(&format!("/api/plugins/{name}")).await.expect(200), by_id);
    }
    assert_eq!(by_id["name"], "my-plugin");
    assert_eq!(
        (&by_id["status"], &by_id["state"], &by_id["type"]),
        (&json!("installed"), &json!("unloaded"), &json!("extension"))
    );
    assert_eq!(by_id["hooks"], json!([{"name": "on_message", "priority": "NORMAL"}]));
    assert_eq!(by_id["commands"], json!([{"name": "/go", "description": "Go", "usage": "/go now"}]));
    assert_eq!(by_id["limits"]["memory_mb"], 256);
    assert_eq!(by_id["versions"], json!(["1.2.3"]));

    let manifest = app.get("/api/plugins/my-plugin/manifest").await.expect(200);
    assert_eq!(
        (&manifest["name"], &manifest["main"], &manifest["runtime"]),
        (&json!("my-plugin"), &json!("main.py"), &json!("python"))
    );
    let versions = app.get("/api/plugins/my-plugin/versions").await.expect(200);
    assert_eq!(
        (&versions["serving"], &versions["floor"], &versions["pending"]),
        (&json!("1.2.3"), &json!("1.2.3"), &json!(null))
    );
    assert_eq!(versions["versions"][0]["signer"], author.key_id());
}

#[tokio::test]
async fn what_is_unknown_is_not_found() {
    let app = TestApp::start().await;
    for path in ["nope", "plugin_00000000000000000000000000000000", "..%2f..%2fetc", "A", "a%00b"] {
        app.get(&format!("/api/plugins/{path}")).await.expect_problem(404, "plugin-unknown");
    }
}

#[tokio::test]
async fn an_uninstalled_plugin_is_gone_and_its_name_gets_a_new_id() {
    let app = TestApp::setup().unsigned().start().await;
    let archive = package(&manifest("my-plugin", "2.0.0"));
    let id = app.install(&archive, None).await.expect(201)["plugin_id"].take();
    app.delete("/api/plugins/my-plugin?purge=true").await.expect(204);
    app.delete("/api/plugins/my-plugin").await.expect_problem(404, "plugin-unknown");
    for folder in ["archives", "packages", "staging"] {
        assert_eq!(std::fs::read_dir(app.data().join(folder)).unwrap().count(), 0, "{folder}");
    }
    // The floor survives: an older version does not come back this way.
    let older = app.install(&package(&manifest("my-plugin", "1.0.0")), None).await;
    older.expect_problem(409, "downgrade-refused");
    let again = app.install(&archive, None).await.expect(201);
    assert_ne!(again["plugin_id"], id);
}

#[tokio::test]
async fn what_is_enabled_while_the_engine_is_away_is_said_to_start_once_it_answers() {
    let app = TestApp::setup().unsigned().without_engine().start_unready().await;
    app.install(&package(&manifest("my-plugin", "1.0.0")), None).await.expect(201);
    let problem = send(app.request(Method::POST, "/api/plugins/my-plugin/enable")).await;
    let problem = problem.expect_problem(503, "engine-unavailable");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.starts_with("`my-plugin` is enabled and starts as soon as the engine answers: "), "{detail}");
    assert_eq!(app.get("/api/plugins/my-plugin").await.expect(200)["status"], "enabled");
}
