//! Every permission in every state: not asked for, undecided, denied, granted, taken back while the plugin runs, expired.
//! The plugin tries what each permission opens; nothing but a grant opens it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use plugbay::config::{ApiConfig, Config, DatabaseConfig, FolderConfig};
use plugbay::domain::Operation;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::client::fixture;
use super::hosts::{Host, Names, Speaks};
use super::kind::engine_is_there;
use super::served::{Served, setup, short_folder};
use super::support::author::pack_folder;

const NAME: &str = "everything";

/// Every permission but `plugins`, which nobody can leave open: a plugin that requires another one does not run without.
const PERMISSIONS: [&str; 8] = [
    "filesystem_read",
    "filesystem_write",
    "network_access",
    "database_read",
    "database_write",
    "api_access",
    "chat_access",
    "admin_access",
];

/// What an operator has, and hosts that count who comes.
struct World {
    served: Served,
    echo: Host,
    api: Host,
    _resources: TempDir,
}

impl World {
    /// `None` where the engine may be left out and is.
    async fn start() -> Option<Self> {
        if !engine_is_there() {
            return None;
        }
        let (echo, api) = (Host::start(Speaks::Echo), Host::start(Speaks::Plain));
        let (resources, run_dir) = (resources(), short_folder());
        let setup = setup(&run_dir).resolving(Arc::<Names>::default()).with(|config| {
            name_resources(config, resources.path(), api.port);
        });
        let served = Served::of(setup.start().await, run_dir);
        served.add_as(&fixture("asker"), "neighbour").await;
        served.enable("neighbour").await.expect(200);
        Some(Self { served, echo, api, _resources: resources })
    }

    /// Installs the plugin with these lines added to or replaced in its manifest, and enables it.
    async fn run(&self, change: impl FnOnce(String) -> String) {
        self.install(change).await;
        self.served.enable(NAME).await.expect(200);
    }

    async fn install(&self, change: impl FnOnce(String) -> String) {
        let manifest = fs::read_to_string(fixture(NAME).join("plugin.yaml")).unwrap();
        let manifest = change(manifest.replace("PORT", &self.echo.port.to_string()));
        let archive = pack_folder(&fixture(NAME), &[("plugin.yaml", &manifest)]);
        self.served.install(&archive).await.expect(201);
    }

    /// What the plugin says of each permission; `open` is what is open.
    async fn tried(&self) -> BTreeMap<String, Value> {
        let tried = self.served.result(NAME, "execute", json!({"port": self.echo.port})).await;
        let mut tried: BTreeMap<String, Value> = tried.as_object().unwrap().clone().into_iter().collect();
        tried.insert("chat_access".to_owned(), self.chat().await);
        tried
    }

    async fn chat(&self) -> Value {
        let made = self.served.post("/api/chat/conversations", &json!({})).await.expect(201);
        let path = format!("/api/chat/conversations/{}/messages", made["id"].as_str().unwrap());
        let posted = self.served.post(&path, &json!({"text": "/everything", "user": "ada"})).await.expect(200);
        match posted["answers"].as_array().unwrap().as_slice() {
            [] => json!("nobody was asked"),
            [answer] => answer["result"]["chat_access"].clone(),
            more => panic!("{more:?}"),
        }
    }

    async fn open(&self) -> BTreeSet<String> {
        let tried = self.tried().await;
        tried.into_iter().filter(|(_, said)| said == "open").map(|(permission, _)| permission).collect()
    }

    async fn decide(&self, body: Value) {
        self.served.post(&format!("/api/plugins/{NAME}/permissions/approve"), &body).await.expect(200);
    }

    async fn revoke(&self, permission: &str) {
        let body = json!({ "permissions": [permission] });
        self.served.post(&format!("/api/plugins/{NAME}/permissions/revoke"), &body).await.expect(200);
    }

    /// Expired grants end within one period of the loop that compares.
    async fn until_nothing_is_open(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let open = self.open().await;
            if open.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "still open: {open:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Folders and a database that everybody can read and change; what holds plugins back is plugbay alone.
fn resources() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["docs", "drop"] {
        let path = folder.path().join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        fs::write(path.join("letter"), name).unwrap();
        fs::set_permissions(path.join("letter"), fs::Permissions::from_mode(0o666)).unwrap();
    }
    let database = rusqlite::Connection::open(folder.path().join("chat.db")).unwrap();
    database.execute_batch("CREATE TABLE notes (text TEXT NOT NULL) STRICT").unwrap();
    folder
}

fn name_resources(config: &mut Config, folder: &Path, api: u16) {
    for name in ["docs", "drop"] {
        config.resources.folders.insert(name.to_owned(), FolderConfig { path: folder.join(name) });
    }
    let url = format!("sqlite://{}", folder.join("chat.db").display());
    config.resources.databases.insert("chat".to_owned(), DatabaseConfig { url });
    let allow = vec!["GET /v1/notes".parse::<Operation>().unwrap()];
    let base_url = format!("http://127.0.0.1:{api}");
    config.resources.apis.insert("chat".to_owned(), ApiConfig { base_url, token: None, allow });
    config.egress.allow_private = vec!["allowed.test".parse().unwrap()];
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_but_a_grant_opens_what_a_permission_is_for() {
    let Some(world) = World::start().await else { return };
    world.run(|manifest| manifest).await;
    assert_eq!(world.open().await, set(&[]), "undecided");
    world.decide(json!({ "deny": PERMISSIONS })).await;
    assert_eq!(world.open().await, set(&[]), "denied");
    assert_eq!((world.echo.seen(), world.api.seen()), (0, 0), "no connection was made");

    world.decide(json!({"grant": PERMISSIONS})).await;
    let tried = world.tried().await;
    let mut every = set(&PERMISSIONS);
    // Who may call every plugin needs no edge.
    every.insert("plugins".to_owned());
    assert_eq!(world.open().await, every, "granted: {tried:?}");
    assert!(world.echo.seen() > 0 && world.api.seen() > 0);

    for permission in PERMISSIONS {
        world.revoke(permission).await;
        every.remove(permission);
        if permission == "admin_access" {
            every.remove("plugins");
        }
        assert_eq!(world.open().await, every, "{permission} was taken back");
    }

    world.decide(json!({"grant": PERMISSIONS, "expires_at": "2026-11-20T13:00:00Z"})).await;
    assert_eq!(world.open().await.len(), PERMISSIONS.len() + 1, "granted for an hour");
    world.served.clock().advance(Duration::from_hours(2));
    world.until_nothing_is_open().await;
    let (echo, api) = (world.echo.seen(), world.api.seen());
    assert_eq!(world.open().await, set(&[]), "expired");
    assert_eq!((world.echo.seen(), world.api.seen()), (echo, api), "no connection was made");
    // Without a way out there is nobody to refuse a connection; host functions tell.
    let rows = world.served.get(&format!("/api/audit?plugin={NAME}&limit=1000")).await.expect(200)["entries"].take();
    assert!(rows.as_array().unwrap().iter().any(|row| row["action"] == "host.refused"), "{rows}");
    world.served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_manifest_does_not_ask_for_is_not_there() {
    let Some(world) = World::start().await else { return };
    let asks_for_nothing = |manifest: String| {
        let rest = manifest.split_once("optional_permissions:").unwrap();
        let (_, commands) = rest.1.split_once("commands:").unwrap();
        format!("{}commands:{commands}", rest.0)
    };
    world.run(asks_for_nothing).await;
    let tried = world.tried().await;
    assert_eq!(world.open().await, set(&[]), "{tried:?}");
    for (permission, said) in [("database_read", "denied: database_read"), ("plugins", "denied: plugins")] {
        assert_eq!(tried[permission], said);
    }
    for permission in PERMISSIONS {
        let body = json!({"grant": [permission]});
        let path = format!("/api/plugins/{NAME}/permissions/approve");
        world.served.post(&path, &body).await.expect_problem(422, "permission-not-requested");
    }
    assert_eq!((world.echo.seen(), world.api.seen()), (0, 0));
    world.served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_plugin_is_called_along_a_granted_edge_only() {
    let Some(world) = World::start().await else { return };
    world.install(|manifest| format!("{manifest}requires: {{ neighbour: \"^1\" }}\n")).await;
    let pending = async || {
        world.served.enable(NAME).await.expect_problem(409, "permissions-pending");
    };
    pending().await;
    world.decide(json!({"deny": ["plugins"]})).await;
    pending().await;
    world.decide(json!({"grant": ["plugins"]})).await;
    world.served.enable(NAME).await.expect(200);
    assert_eq!(world.open().await, set(&["plugins"]), "granted");
    world.revoke("plugins").await;
    let call = world.served.call(NAME, "execute", json!({"port": 1})).await;
    call.expect_problem(409, "permissions-pending");
    world.decide(json!({"grant": ["plugins"], "expires_at": "2026-11-20T13:00:00Z"})).await;
    world.served.until_active(NAME).await;
    assert_eq!(world.open().await, set(&["plugins"]), "granted for an hour");
    world.served.clock().advance(Duration::from_hours(2));
    let deadline = Instant::now() + Duration::from_secs(20);
    while world.served.call(NAME, "execute", json!({"port": 1})).await.status != 409 {
        assert!(Instant::now() < deadline, "the grant has expired");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    world.served.end().await;
}
