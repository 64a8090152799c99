//! Plugins that require other plugins: started in order, not taken away, and undone where one of them fails.

use reqwest::Method;
use serde_json::{Value, json};

use super::chat::Hears;
use super::client::fixture;
use super::served::Served;
use super::support::app::{Answer, form, send};
use super::support::author::pack_folder;

impl Served {
    /// Installs a plugin that asks what it is told to ask, and lets it call what it requires.
    async fn requiring(&self, name: &str, requires: &str) {
        let extra = format!("requires: {{ {requires} }}");
        self.add_listener(&Hears { name, mood: "ask", extra: &extra }).await;
        if !requires.is_empty() {
            self.decide_about(name, &json!({"grant": ["plugins"]})).await.expect(200);
        }
    }

    /// `a` requires `b`, which requires `c`.
    async fn chain(&self) {
        self.requiring("c", "").await;
        self.requiring("b", "c: ^1").await;
        self.requiring("a", "b: '*'").await;
    }

    /// Status and state of each.
    async fn shown(&self, names: &[&str]) -> Vec<String> {
        let mut shown = Vec::new();
        for name in names {
            let plugin = self.plugin(name).await;
            shown.push(format!("{name} {} {}", plugin["status"].as_str().unwrap(), plugin["state"].as_str().unwrap()));
        }
        shown
    }

    /// Plugins in the order in which these changes of them were recorded, oldest first.
    async fn recorded(&self, action: &str) -> Vec<String> {
        let entries = self.get("/api/audit?limit=1000").await.expect(200)["entries"].take();
        let of_action = entries.as_array().unwrap().iter().rev().filter(|entry| entry["action"] == action);
        of_action.map(|entry| entry["plugin"].as_str().unwrap().to_owned()).collect()
    }

    async fn act(&self, path: &str) -> Answer {
        send(self.request(Method::POST, &format!("/api/plugins/{path}"))).await
    }
}

fn calling(name: &str, context: &Value) -> Value {
    json!({"function": "plugins.execute", "params": {"name": name, "context": context}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_starts_from_its_end_and_stops_from_its_beginning() {
    let Some(served) = Served::start().await else { return };
    served.chain().await;
    let enabled = served.enable("a").await.expect(200);
    assert_eq!((&enabled["state"], &enabled["also_enabled"]), (&json!("active"), &json!(["c", "b"])));
    assert_eq!(served.recorded("plugin.enabled").await, ["c", "b", "a"]);
    assert_eq!(served.shown(&["a", "b", "c"]).await, ["a enabled active", "b enabled active", "c enabled active"]);
    let through = calling("b", &calling("c", &json!({"seconds": 0})));
    let answer = served.result("a", "execute", through).await;
    assert_eq!(answer["result"]["result"], "slept", "{answer}");
    assert_eq!(served.enable("a").await.expect(200).get("also_enabled"), None, "there was nothing left to do");

    for path in ["c/disable", "b/disable"] {
        let problem = served.act(path).await.expect_problem(409, "dependents-running");
        assert!(problem["how"].as_str().unwrap().ends_with("--cascade"), "{problem}");
    }
    served.delete("/api/plugins/c").await.expect_problem(409, "dependents-running");
    assert_eq!(served.shown(&["a", "b", "c"]).await, ["a enabled active", "b enabled active", "c enabled active"]);
    let disabled = served.act("c/disable?cascade=true").await.expect(200);
    assert_eq!((&disabled["state"], &disabled["also_disabled"]), (&json!("unloaded"), &json!(["a", "b"])));
    assert_eq!(served.recorded("plugin.disabled").await, ["a", "b", "c"]);
    assert_eq!(
        served.shown(&["a", "b", "c"]).await,
        ["a disabled unloaded", "b disabled unloaded", "c disabled unloaded"]
    );
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_enabled_along_is_undone_when_a_later_one_fails() {
    let Some(served) = Served::start().await else { return };
    served.requiring("c", "").await;
    served.requiring("d", "").await;
    served.enable("d").await.expect(200);
    let folder = fixture("listener");
    let manifest = std::fs::read_to_string(folder.join("plugin.yaml")).unwrap();
    let manifest = manifest.replace("name: listener", "name: b") + "\nrequires: { c: '*', d: '*' }\n";
    served.add(&folder, &[("plugin.yaml", &manifest), ("main.py", "raise RuntimeError('no such luck')\n")]).await;
    served.decide_about("b", &json!({"grant": ["plugins"]})).await.expect(200);
    served.requiring("a", "b: '*'").await;
    let problem = served.enable("a").await.expect_problem(502, "plugin-start-failed");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.starts_with("`a` requires `b`, which cannot be enabled: "), "{detail}");
    let tail = problem["log_tail"].to_string();
    assert!(tail.contains("no such luck"), "{problem}");
    assert_eq!(
        served.shown(&["a", "b", "c", "d"]).await,
        ["a installed unloaded", "b installed unloaded", "c installed unloaded", "d enabled active"],
        "what ran before goes on"
    );
    let entries = served.get("/api/audit?limit=2").await.expect(200)["entries"].take();
    assert_eq!(entries[0]["action"], "plugin.enable_refused");
    assert_eq!((&entries[1]["plugin"], &entries[1]["detail"]["undone_for"]), (&json!("c"), &json!("a")));

    // The same when the last of them fails.
    let mended = manifest.replace("version: 1.0.0", "version: 1.0.1");
    let update = |name: &str, manifest: &str, main: Option<&str>| {
        let mut instead = vec![("plugin.yaml", manifest)];
        instead.extend(main.map(|main| ("main.py", main)));
        let request = served.request(Method::POST, &format!("/api/plugins/{name}/update"));
        send(request.multipart(form(&pack_folder(&folder, &instead), None)))
    };
    assert_eq!(update("b", &mended, None).await.expect(200)["status"], "updated");
    let broken = manifest.replace("name: b", "name: a").replace("1.0.0", "1.1.0").replace("c: '*', d: '*'", "b: '*'");
    assert_eq!(update("a", &broken, Some("raise SystemExit(3)\n")).await.expect(200)["status"], "updated");
    served.enable("a").await.expect_problem(502, "plugin-start-failed");
    assert_eq!(
        served.shown(&["a", "b", "c", "d"]).await,
        ["a installed unloaded", "b installed unloaded", "c installed unloaded", "d enabled active"]
    );
    let disabled = served.recorded("plugin.disabled").await;
    assert_eq!(disabled, ["c", "b", "c"], "from the last to the first");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_dependent_is_asked_before_an_update() {
    let Some(served) = Served::start().await else { return };
    served.chain().await;
    served.enable("a").await.expect(200);
    let folder = fixture("listener");
    let update = |version: &str| {
        let manifest = std::fs::read_to_string(folder.join("plugin.yaml")).unwrap();
        let manifest = manifest.replace("name: listener", "name: c").replace("default: hear", "default: ask");
        let manifest = manifest.replace("version: 1.0.0", &format!("version: {version}"));
        let request = served.request(Method::POST, "/api/plugins/c/update");
        send(request.multipart(form(&pack_folder(&folder, &[("plugin.yaml", &manifest)]), None)))
    };
    let problem = update("2.0.0").await.expect_problem(409, "requires-conflict");
    assert_eq!(problem["detail"], "`c` 2.0.0 does not fit what the enabled plugin `b` 1.0.0 requires (^1)");
    assert_eq!(update("1.4.0").await.expect(200)["status"], "updated");
    served.until_active("c").await;
    let through = calling("b", &calling("c", &json!({"seconds": 0})));
    assert_eq!(served.result("a", "execute", through).await["result"]["result"], "slept");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_others_require_is_held_back_alone() {
    let Some(served) = Served::start().await else { return };
    let folder = fixture("listener");
    let manifest = std::fs::read_to_string(folder.join("plugin.yaml")).unwrap().replace("name: listener", "name: c");
    let main = "import os, threading\nclass Listener:\n    def __init__(self, config):\n        pass\n    def initialize(self):\n        \
                threading.Timer(0.1, os._exit, (9,)).start()\n    def execute(self, context):\n        return 1\n";
    served.add(&folder, &[("plugin.yaml", &manifest), ("main.py", main)]).await;
    served.requiring("a", "c: '*'").await;
    assert_eq!(served.enable("a").await.expect(200)["also_enabled"], json!(["c"]));
    served.until("c", |plugin| plugin["status"] == "quarantined").await;
    assert_eq!(served.shown(&["a"]).await, ["a enabled active"]);
    let refused = served.result("a", "execute", calling("c", &json!({"seconds": 0}))).await;
    assert_eq!(refused["data"], json!({"code": "plugin-quarantined"}), "{refused}");
    served.disable("a").await.expect(200);
    let problem = served.enable("a").await.expect_problem(409, "plugin-quarantined");
    assert_eq!(problem["detail"], "`a` requires `c`, which cannot be enabled: `c` is quarantined: crash-loop");
    served.enable("c").await.expect(200);
    served.enable("a").await.expect(200);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_required_is_waited_for_after_a_restart() {
    let Some(mut served) = Served::start().await else { return };
    served.chain().await;
    served.enable("a").await.expect(200);
    served.result("a", "execute", json!({"seconds": 0})).await;
    served.restart().await;
    // What it requires was started before it, and may still be on its way.
    served.until_active("a").await;
    let through = calling("b", &calling("c", &json!({"seconds": 0})));
    let answer = served.result("a", "execute", through).await;
    assert_eq!(answer["result"]["result"], "slept", "calls wait for what is being started");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_without_sight_starts_nothing() {
    let Some(served) = Served::start().await else { return };
    served.chain().await;
    let body = json!({"label": "a only", "scopes": ["operate", "read"], "plugins": ["a"]});
    let created = served.post("/api/tokens", &body).await.expect(201);
    let token = created["token"].as_str().unwrap();
    let enable = async || send(served.bare(Method::POST, "/api/plugins/a/enable").bearer_auth(token)).await;
    let problem = enable().await.expect_problem(403, "scope-missing");
    assert_eq!(problem["detail"], "`a` requires `b`, which cannot be enabled: the token is not for `b`");
    assert!(!problem.to_string().contains("`c`"), "{problem}");
    assert_eq!(
        served.shown(&["a", "b", "c"]).await,
        ["a installed unloaded", "b installed unloaded", "c installed unloaded"]
    );
    served.enable("b").await.expect(200);
    assert_eq!(enable().await.expect(200)["state"], "active", "what runs already is not touched");
    served.end().await;
}
