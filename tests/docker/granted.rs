//! What plugins that run were granted: seen inside, lost at once when it is taken back, and no call is lost with it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use plugbay::config::{ApiConfig, DatabaseConfig, FolderConfig};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::client::fixture;
use super::kind::docker_is_there;
use super::kind::sandboxes;
use super::served::{Served, inspect};
use super::support::app::{Answer, form, send};
use super::support::author::pack_folder;

/// Folders of the operator's that everybody can read and change; what holds plugins back is the mount alone.
fn folders() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["docs", "drop", "other"] {
        let path = folder.path().join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        fs::write(path.join("letter"), name).unwrap();
    }
    folder
}

async fn served(folders: &Path) -> Option<Served> {
    Served::start_with(|config| {
        for name in ["docs", "drop", "other"] {
            config.resources.folders.insert(name.to_owned(), FolderConfig { path: folders.join(name) });
        }
    })
    .await
}

impl Served {
    async fn decide(&self, body: &Value) -> Answer {
        self.post("/api/plugins/granted/permissions/approve", body).await
    }

    async fn revoke(&self, permission: &str) -> Answer {
        self.post("/api/plugins/granted/permissions/revoke", &json!({ "permissions": [permission] })).await
    }

    async fn seen(&self) -> Value {
        self.result("granted", "execute", json!({})).await
    }

    /// The folders that the container of the plugin has mounted below /mnt.
    async fn mounted(&self) -> Vec<(String, bool)> {
        let mounts = inspect(&self.container("granted").await)["Mounts"].take();
        let mounts = mounts.as_array().unwrap().iter().filter_map(|mount| {
            let target = mount["Destination"].as_str().unwrap().strip_prefix("/mnt/")?;
            Some((target.to_owned(), mount["RW"].as_bool().unwrap()))
        });
        let mut mounts: Vec<_> = mounts.collect();
        mounts.sort();
        mounts
    }
}

const NOTHING: fn() -> Value = || json!({"grants": [], "docs": null, "drop": null});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folders_are_there_as_they_were_granted_and_only_then() {
    if !docker_is_there() {
        return;
    }
    let folders = folders();
    let Some(served) = served(folders.path()).await else { return };
    served.run(&fixture("granted")).await;
    assert_eq!(served.seen().await, NOTHING(), "absent");
    assert_eq!(served.mounted().await, []);

    served.decide(&json!({"deny": ["filesystem_read", "filesystem_write"]})).await.expect(200);
    assert_eq!(served.seen().await, NOTHING(), "denied");

    // While it runs: the next call sees it.
    served.decide(&json!({"grant": ["filesystem_read"]})).await.expect(200);
    let seen = served.seen().await;
    let docs = json!({"permission": "filesystem_read", "scope": ["docs"]});
    assert_eq!(seen, json!({"grants": [docs], "docs": ["docs", "ro"], "drop": null}));
    served.decide(&json!({"grant": ["filesystem_write"]})).await.expect(200);
    let seen = served.seen().await;
    assert_eq!((&seen["docs"], &seen["drop"]), (&json!(["docs", "ro"]), &json!(["drop", "rw"])));
    assert_eq!(seen["grants"].as_array().unwrap().len(), 2);
    assert_eq!(served.mounted().await, [("docs".to_owned(), false), ("drop".to_owned(), true)]);
    assert_eq!(fs::read_to_string(folders.path().join("drop/made")).unwrap(), "by a plugin");
    assert!(!folders.path().join("docs/made").exists());

    // A permission without a mount needs no fresh sandbox.
    let before = served.container("granted").await;
    served.decide(&json!({"grant": ["chat_access"]})).await.expect(200);
    served.seen().await;
    assert_eq!(served.container("granted").await, before);

    // What needs no fresh sandbox goes first: `initialize` is not said again for it.
    for permission in ["chat_access", "filesystem_write", "filesystem_read"] {
        served.revoke(permission).await.expect(200);
    }
    assert_eq!(served.seen().await, NOTHING(), "revoked");
    assert_eq!(served.plugin("granted").await["restarts"], 0, "nothing failed");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grants_are_there_again_after_a_restart_of_the_service() {
    let folders = folders();
    let Some(mut served) = served(folders.path()).await else { return };
    served.add(&fixture("granted"), &[]).await;
    served.decide(&json!({"grant": ["filesystem_read"]})).await.expect(200);
    served.enable("granted").await.expect(200);
    assert_eq!(served.seen().await["docs"], json!(["docs", "ro"]));
    served.restart().await;
    served.until_active("granted").await;
    assert_eq!(served.seen().await["docs"], json!(["docs", "ro"]));
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admitted_call_is_answered_when_a_folder_is_taken_back() {
    let folders = folders();
    let Some(served) = served(folders.path()).await else { return };
    served.add(&fixture("granted"), &[]).await;
    served.decide(&json!({"grant": ["filesystem_read"]})).await.expect(200);
    served.enable("granted").await.expect(200);
    let old = served.container("granted").await;
    // Eight run, four wait for a place.
    let calls = join_all((0..12).map(|_| served.result("granted", "execute", json!({"seconds": 2}))));
    let revoking = async {
        served.until_in_flight("granted", 8).await;
        served.revoke("filesystem_read").await.expect(200);
        let began = Instant::now();
        let seen = served.seen().await;
        println!("the first call after the revocation was answered after {:?}", began.elapsed());
        seen
    };
    let (answers, after) = tokio::join!(calls, revoking);
    assert_eq!(after, NOTHING(), "a call that comes after sees nothing");
    let of_the_old = answers.iter().filter(|seen| seen["docs"] == json!(["docs", "ro"])).count();
    let of_the_new = answers.iter().filter(|seen| **seen == NOTHING()).count();
    assert_eq!((of_the_old, of_the_new), (8, 4), "{answers:?}");
    let new = served.container("granted").await;
    assert_ne!(old, new);
    let deadline = Instant::now() + Duration::from_secs(20);
    while sandboxes(served.instance()) != [new.as_str()] {
        assert!(Instant::now() < deadline, "the old sandbox is removed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let metrics = served.about("granted", "metrics").await;
    assert_eq!((&metrics["invocations"], &metrics["failures"]), (&json!(13), &json!(0)));
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_decisions_in_a_row_lose_no_call() {
    let folders = folders();
    let Some(served) = served(folders.path()).await else { return };
    served.run(&fixture("granted")).await;
    let calls = async {
        for _ in 0..60 {
            served.result("granted", "execute", json!({"seconds": 0.05})).await;
        }
    };
    let decisions = async {
        for _ in 0..4 {
            served.decide(&json!({"grant": ["filesystem_read"]})).await.expect(200);
            served.revoke("filesystem_read").await.expect(200);
        }
    };
    tokio::join!(calls, decisions);
    assert_eq!(served.seen().await, NOTHING());
    served.end().await;
}

/// Every permission there is, each for one resource where it has any.
const EVERYTHING: &str = "permissions: []\noptional_permissions: [filesystem_read, filesystem_write, network_access, \
    database_read, database_write, api_access, chat_access, admin_access]\nnetwork: { allow: [api.example.com] }\n\
    access: { filesystem_read: [docs], filesystem_write: [drop], database_read: [chat], database_write: [chat], \
    api_access: [chat] }\nrequires: { other: '*' }\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_permission_is_told_as_it_was_decided() {
    let folders = folders();
    let served = Served::start_with(|config| {
        for name in ["docs", "drop"] {
            config.resources.folders.insert(name.to_owned(), FolderConfig { path: folders.path().join(name) });
        }
        let database = DatabaseConfig { url: "sqlite:///nonexistent/chat.db".to_owned() };
        config.resources.databases.insert("chat".to_owned(), database);
        let api = ApiConfig { base_url: "http://127.0.0.1:1".to_owned(), token: None, allow: Vec::new() };
        config.resources.apis.insert("chat".to_owned(), api);
    });
    let Some(served) = served.await else { return };
    let manifest = fs::read_to_string(fixture("granted").join("plugin.yaml")).unwrap();
    let (head, rest) = manifest.split_once("optional_permissions:").unwrap();
    served.add_as(&fixture("asker"), "other").await;
    let tail = &rest[rest.find("resources:").unwrap()..];
    served.add(&fixture("granted"), &[("plugin.yaml", &format!("{head}{EVERYTHING}{tail}"))]).await;
    let scope = |word: &str| match word {
        "filesystem_read" => json!(["docs"]),
        "filesystem_write" => json!(["drop"]),
        "network_access" => json!(["api.example.com:443"]),
        "chat_access" | "admin_access" => json!([]),
        "plugins" => json!(["other"]),
        _ => json!(["chat"]),
    };
    let words = [
        "filesystem_read",
        "filesystem_write",
        "network_access",
        "database_read",
        "database_write",
        "api_access",
        "chat_access",
        "admin_access",
    ];
    let told = async || {
        served.disable("granted").await.expect(200);
        served.enable("granted").await.expect(200);
        served.seen().await["grants"].take()
    };
    served.decide(&json!({"grant": ["plugins"], "accept_risks": ["data-egress"]})).await.expect(200);
    let edge = json!({"permission": "plugins", "scope": ["other"]});
    assert_eq!(told().await, json!([edge]), "absent");
    served.decide(&json!({ "deny": words })).await.expect(200);
    assert_eq!(told().await, json!([edge]), "denied");
    served.decide(&json!({ "grant": words })).await.expect(200);
    let all = words.iter().chain(&["plugins"]).map(|word| json!({"permission": word, "scope": scope(word)}));
    let mut found = told().await.as_array().unwrap().clone();
    let mut all: Vec<Value> = all.collect();
    for list in [&mut found, &mut all] {
        list.sort_by_key(ToString::to_string);
    }
    assert_eq!(found, all, "granted");
    served.post("/api/plugins/granted/permissions/revoke", &json!({ "permissions": words })).await.expect(200);
    assert_eq!(told().await, json!([edge]), "revoked");
    let end = json!({"grant": words, "expires_at": "2026-11-20T13:00:00Z", "accept_risks": ["data-egress"]});
    served.decide(&end).await.expect(200);
    served.clock().advance(Duration::from_hours(2));
    assert_eq!(told().await, json!([edge]), "expired");
    served.end().await;
}

/// The fixture with its permissions required.
fn required() -> String {
    let manifest = fs::read_to_string(fixture("granted").join("plugin.yaml")).unwrap();
    manifest.replace(
        "optional_permissions: [filesystem_read, filesystem_write, chat_access]",
        "permissions: [chat_access]\noptional_permissions: [filesystem_read, filesystem_write]",
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_lost_what_it_requires_stops_and_starts_again_when_it_is_granted() {
    let folders = folders();
    let Some(served) = served(folders.path()).await else { return };
    served.add(&fixture("granted"), &[("plugin.yaml", &required())]).await;
    served.enable("granted").await.expect_problem(409, "permissions-pending");
    served.decide(&json!({"deny": ["chat_access"]})).await.expect(200);
    served.enable("granted").await.expect_problem(409, "permissions-pending");
    served.decide(&json!({"grant": ["chat_access"]})).await.expect(200);
    served.enable("granted").await.expect(200);
    assert_eq!(served.seen().await["grants"], json!([{"permission": "chat_access", "scope": []}]));
    let call = served.result("granted", "execute", json!({"seconds": 1}));
    let revoking = async {
        served.until_in_flight("granted", 1).await;
        served.revoke("chat_access").await.expect(200);
    };
    let (answered, ()) = tokio::join!(call, revoking);
    assert_eq!(answered["docs"], json!(null), "the call under way is answered");
    let problem = served.call("granted", "execute", json!({})).await.expect_problem(409, "permissions-pending");
    assert_eq!(problem["how"], "plugbay approve granted --grant chat_access");
    assert_eq!(sandboxes(served.instance()), Vec::<String>::new());
    let plugin = served.plugin("granted").await;
    assert_eq!((&plugin["status"], &plugin["state"]), (&json!("enabled"), &json!("unloaded")), "the wish stays");
    served.decide(&json!({"grant": ["chat_access"]})).await.expect(200);
    served.until_active("granted").await;
    served.seen().await;
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_is_gone_once_its_grant_has_expired() {
    let folders = folders();
    let Some(served) = served(folders.path()).await else { return };
    served.run(&fixture("granted")).await;
    let body = json!({"grant": ["filesystem_read"], "expires_at": "2026-11-20T13:00:00Z"});
    served.decide(&body).await.expect(200);
    assert_eq!(served.seen().await["docs"], json!(["docs", "ro"]));
    served.clock().advance(Duration::from_hours(2));
    let deadline = Instant::now() + Duration::from_secs(15);
    while served.seen().await != NOTHING() {
        assert!(Instant::now() < deadline, "within one period");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_the_operator_does_not_name_stops_nothing_that_runs() {
    let folders = folders();
    let Some(served) = served(folders.path()).await else { return };
    let manifest = fs::read_to_string(fixture("granted").join("plugin.yaml")).unwrap();
    served.add(&fixture("granted"), &[("plugin.yaml", &manifest.replace("[docs]", "[nowhere]"))]).await;
    served.enable("granted").await.expect(200);
    served.decide(&json!({"grant": ["filesystem_read"]})).await.expect_problem(409, "resource-unknown");
    assert_eq!(served.seen().await, NOTHING());
    // Nor does a version that waits take the place of one that runs.
    let newer = required().replace("[docs]", "[nowhere]").replace("version: 1.0.0", "version: 2.0.0");
    let archive = pack_folder(&fixture("granted"), &[("plugin.yaml", &newer)]);
    let request = served.request(reqwest::Method::POST, "/api/plugins/granted/update").multipart(form(&archive, None));
    assert_eq!(send(request).await.expect(200)["status"], "pending_approval");
    let both = json!({"grant": ["chat_access", "filesystem_read"]});
    served.decide(&both).await.expect_problem(409, "resource-unknown");
    assert_eq!(served.seen().await, NOTHING());
    let started = served.decide(&json!({"grant": ["chat_access"]})).await.expect(200);
    assert_eq!(started["update"]["version"], "2.0.0");
    served.until_active("granted").await;
    assert_eq!(served.seen().await["grants"], json!([{"permission": "chat_access", "scope": []}]));
    served.disable("granted").await.expect(200);
    served.decide(&json!({"grant": ["filesystem_read"]})).await.expect(200);
    served.enable("granted").await.expect_problem(409, "resource-unknown");
    served.end().await;
}
