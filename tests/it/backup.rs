//! Backups: what is in them and what is not, and what a restore makes of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plugbay::backup::{About, EntryName, FORMAT, Reader, Writer};
use plugbay::domain::Refusal as _;
use plugbay::operations::{AuditFound, RestoreOrder, Restored, ServiceError, restore};
use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;

use crate::support::app::{PATIENCE, Setup, TestApp, send};
use crate::support::author::{Author, manifest, pack, package};
use crate::support::database;

const SECRET_SCHEMA: &str = "config_schema:\n  api_key: { type: string, required: true, secret: true }\n";

/// A service with two plugins, one of which has a secret.
pub(crate) async fn service() -> TestApp {
    let setup = TestApp::setup().unsigned();
    let app = setup
        .with(|config| "unix:///nonexistent/docker.sock".clone_into(&mut config.sandbox.docker_host))
        .start()
        .await;
    let author = Author::new();
    app.trust(&author).await;
    let signed = package(&manifest("signed", "1.0.0"));
    app.install(&signed, Some(&author.sign(&signed))).await.expect(201);
    app.install(&package(&format!("{}{SECRET_SCHEMA}", manifest("my-plugin", "1.0.0"))), None).await.expect(201);
    let body = json!({"api_key": "hunter2-hunter2"});
    let config = app.request(Method::PUT, "/api/plugins/my-plugin/config").header("If-Match", "*");
    send(config.json(&body)).await.expect(200);
    app
}

pub(crate) async fn backup(app: &TestApp) -> Vec<u8> {
    let response = app.request(Method::POST, "/api/system/backup").send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/x-tar");
    let disposition = response.headers()["content-disposition"].to_str().unwrap().to_owned();
    assert!(disposition.starts_with("attachment; filename=\"plugbay-2026-11-20T12-00-00"), "{disposition}");
    response.bytes().await.unwrap().to_vec()
}

/// A folder to restore in.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn target(&self) -> PathBuf {
        self.0.path().join("restored")
    }

    async fn restore(&self, backup: &[u8], key: Option<&Path>) -> Result<Restored, ServiceError> {
        let outside = tempfile::tempdir().unwrap();
        let file = outside.path().join("backup.tar");
        fs::write(&file, backup).unwrap();
        let key_file = key.map(Path::to_owned);
        restore(&RestoreOrder { backup: file, data_dir: self.target(), key_file, accept_unsealed: false }).await
    }

    /// Restores what is refused, and leaves nothing behind.
    async fn refused(&self, backup: &[u8], code: &str) -> String {
        let error = self.restore(backup, None).await.unwrap_err();
        assert_eq!(error.code().as_str(), code, "{error}");
        assert_eq!(fs::read_dir(self.0.path()).unwrap().count(), 0, "left behind");
        error.to_string()
    }

    fn serve(&self) -> Setup {
        TestApp::setup().unsigned().with(|config| {
            config.server.data_dir = self.target();
            "unix:///nonexistent/docker.sock".clone_into(&mut config.sandbox.docker_host);
        })
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[tokio::test]
async fn a_backup_holds_no_key_and_no_token() {
    let app = service().await;
    let token = app.token(&["read"], None).await;
    let bytes = backup(&app).await;
    assert!(contains(&bytes, b"my-plugin"), "the database is in it");
    let key = fs::read(app.data().join("master.key")).unwrap();
    for secret in [&key[..], app.token.as_bytes(), token.as_bytes(), b"hunter2-hunter2", b"master.key", b"admin.token"]
    {
        assert!(!contains(&bytes, secret), "{}", String::from_utf8_lossy(secret));
    }
    assert!(app.audit_actions().await.ends_with(&["system.backup_begun".to_owned(), "system.backup".to_owned()]));
    let entry = app.get("/api/audit?limit=1").await.expect(200)["entries"][0].take();
    assert_eq!((&entry["detail"]["bytes"], &entry["detail"]["entries"]), (&json!(bytes.len()), &json!(4)), "{entry}");
}

#[tokio::test]
async fn with_the_key_everything_is_as_it_was() {
    let app = service().await;
    let (bytes, old_token) = (backup(&app).await, app.token.clone());
    let setup = app.stop().await;
    let place = Place::new();
    let restored = place.restore(&bytes, Some(&setup.data().join("master.key"))).await.unwrap();
    assert_eq!(restored.audit, AuditFound::Verified);
    assert!(restored.lost_secrets.is_empty() && restored.plugins == 2 && restored.old_tokens == 1, "{restored:?}");
    for (path, mode) in [("", 0o700), ("plugbay.db", 0o600), ("master.key", 0o600), ("admin.token", 0o600)] {
        let found = fs::metadata(place.target().join(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(found, mode, "{path}");
    }
    let app = place.serve().start().await;
    assert_ne!(app.token, old_token, "whoever restores gets a token of its own");
    let listed = app.get("/api/plugins").await.expect(200);
    assert_eq!(listed["total"], 2);
    assert!(listed["plugins"].as_array().unwrap().iter().all(|plugin| plugin["status"] == "installed"), "{listed}");
    let signed = app.get("/api/plugins/signed").await.expect(200);
    assert_eq!((&signed["signature"], &signed["status"]), (&json!("valid"), &json!("installed")), "{signed}");
    let config = app.get("/api/plugins/my-plugin/config").await.expect(200);
    assert_eq!(config["secrets"]["api_key"]["set"], true, "{config}");
    let old = app.bare(Method::GET, "/api/plugins").bearer_auth(&old_token);
    send(old).await.expect(200);
    assert_eq!(app.get("/api/audit/verify").await.expect(200)["taken_over"], json!(null));
    let actions = app.audit_actions().await;
    assert!(actions.contains(&"system.restored".to_owned()), "{actions:?}");
    assert_ne!(fs::read(app.data().join("instance")).unwrap(), restored.instance.as_bytes());
}

#[tokio::test]
async fn without_the_key_secrets_are_listed_and_the_audit_log_begins_anew() {
    let app = service().await;
    let bytes = backup(&app).await;
    let place = Place::new();
    let restored = place.restore(&bytes, None).await.unwrap();
    assert_eq!(restored.audit, AuditFound::TakenOver);
    let lost: Vec<_> = restored.lost_secrets.iter().map(|lost| (lost.plugin.as_str(), lost.field.as_str())).collect();
    assert_eq!(lost, [("my-plugin", "api_key")]);
    let again = place.serve().start().await;
    let config = again.get("/api/plugins/my-plugin/config").await.expect(200);
    assert_eq!(config["secrets"]["api_key"]["set"], false, "{config}");
    let body = json!({"api_key": "another-secret"});
    let set = again.request(Method::PUT, "/api/plugins/my-plugin/config").header("If-Match", "*");
    send(set.json(&body)).await.expect(200);
    again.get("/api/audit/verify").await.expect(200);
    let rows = again.get("/api/audit?limit=100").await.expect(200)["entries"].take();
    let row = rows.as_array().unwrap().iter().find(|row| row["action"] == "system.restored").unwrap().clone();
    assert_eq!(row["detail"]["audit"], "taken_over");
    assert_eq!(row["detail"]["rows_before"], row["seq"].as_i64().unwrap() - 1);
    assert_eq!(again.get("/api/audit/verify").await.expect(200)["taken_over"], row["detail"]["rows_before"]);
    // Its head is that of the chain it came from.
    let old = format!("/api/audit?limit=1&cursor={}", data_encoding(&row["seq"].to_string()));
    let last = app.get(&old).await.expect(200)["entries"][0].take();
    assert!(row["detail"]["old_head"].as_str().unwrap().starts_with(&format!("{}:", last["seq"])), "{row} {last}");
}

/// As a cursor is written.
fn data_encoding(text: &str) -> String {
    data_encoding::BASE64URL_NOPAD.encode(text.as_bytes())
}

#[tokio::test]
async fn a_changed_audit_log_is_restored_and_told() {
    let setup = service().await.stop().await;
    database::run(&setup.data(), "UPDATE audit SET actor = 'x' WHERE seq = 2").await;
    let key = setup.data().join("master.key");
    let app = setup.start().await;
    let bytes = backup(&app).await;
    let restored = Place::new().restore(&bytes, Some(&key)).await.unwrap();
    assert_eq!(restored.audit, AuditFound::Broken("row 2 does not match its hash".to_owned()));
}

#[tokio::test]
async fn another_key_or_a_readable_one_is_refused() {
    let app = service().await;
    let bytes = backup(&app).await;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    fs::write(&key, [7; 32]).unwrap();
    for (mode, wanted) in [(0o600, "is not the master key that was in force"), (0o644, "has mode 0644")] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let place = Place::new();
        let error = place.restore(&bytes, Some(&key)).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(wanted) && text.contains(key.to_str().unwrap()), "{text}");
        assert!(!text.contains("restoring"), "{text}");
        assert_eq!(fs::read_dir(place.0.path()).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_held_still_refuses_the_backup_before_it_begins() {
    let setup = service().await.stop().await;
    let plugin = "plugin_00000000000070008000000000000000";
    database::run(
        &setup.data(),
        &format!("INSERT INTO kept_data (plugin_id, name, kept_at, fate) VALUES ('{plugin}', 'x', 0, 'kept')"),
    )
    .await;
    fs::create_dir(setup.data().join("volumes").join(plugin)).unwrap();
    let app = setup.start().await;
    let problem = send(app.request(Method::POST, "/api/system/backup")).await.expect_problem(503, "data-unavailable");
    assert!(problem["how"].as_str().unwrap().contains("copy the data directory"), "{problem}");
    assert!(!app.audit_actions().await.contains(&"system.backup_begun".to_owned()));
    // Its place is free again.
    fs::remove_dir(app.data().join("volumes").join(plugin)).unwrap();
    backup(&app).await;
}

#[tokio::test]
async fn only_the_owner_takes_backups() {
    let app = service().await;
    for scopes in [&["read", "execute", "operate", "install", "approve", "trust", "audit"][..], &["read"]] {
        let token = app.token(scopes, None).await;
        let request = app.bare(Method::POST, "/api/system/backup").bearer_auth(token);
        send(request).await.expect_problem(403, "scope-missing");
    }
    send(app.bare(Method::POST, "/api/system/backup")).await.expect_problem(401, "token-missing");
    send(app.request(Method::POST, "/api/system/backup").body("x")).await.expect_problem(400, "bad-request");
}

/// Waits until nothing is in staging, and a backup failed.
async fn until_given_up(app: &TestApp) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !app.audit_actions().await.contains(&"system.backup_failed".to_owned())
        || fs::read_dir(app.data().join("staging")).unwrap().count() > 0
    {
        assert!(tokio::time::Instant::now() < deadline, "the backup goes on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn there_is_one_at_a_time_and_a_dropped_one_leaves_nothing() {
    let app = service().await;
    // More than the sockets in between take up.
    let noise: Vec<u8> = (0..6_000_000_u32).flat_map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let large = pack(&[("plugin.yaml", manifest("large", "1.0.0").as_bytes()), ("main.py", &noise)]);
    app.install(&large, None).await.expect(201);
    let mut first = app.request(Method::POST, "/api/system/backup").send().await.unwrap();
    first.chunk().await.unwrap().unwrap();
    assert_eq!(fs::read_dir(app.data().join("staging")).unwrap().count(), 1);
    let second = app.post("/api/system/backup", &json!(null)).await;
    assert_eq!(second.status, 400, "{}", second.text);
    let second = send(app.request(Method::POST, "/api/system/backup")).await;
    second.expect_problem(503, "unavailable");
    assert!(second.headers.contains_key("retry-after"));
    drop(first);
    until_given_up(&app).await;
    assert!(contains(&backup(&app).await, b"manifest.json"));
}

#[tokio::test]
async fn a_backup_taken_while_much_changes_restores() {
    let app = service().await;
    let changes = async {
        for number in 0..12 {
            let name = format!("plugin-{number}");
            app.install(&package(&manifest(&name, "1.0.0")), None).await.expect(201);
            app.token(&["read"], None).await;
            if number % 2 == 0 {
                app.delete(&format!("/api/plugins/{name}")).await;
            }
        }
    };
    let backups = async {
        let mut taken = Vec::new();
        for _ in 0..5 {
            taken.push(backup(&app).await);
        }
        taken
    };
    let ((), taken) = tokio::join!(changes, backups);
    let key = app.data().join("master.key");
    for bytes in taken {
        let place = Place::new();
        let restored = place.restore(&bytes, Some(&key)).await.unwrap();
        assert_eq!(restored.audit, AuditFound::Verified);
        let again = place.serve().start().await;
        let listed = again.get("/api/plugins").await.expect(200);
        assert_eq!(listed["total"], restored.plugins);
        let quarantined = |plugin: &serde_json::Value| plugin["status"] == "quarantined";
        assert!(!listed["plugins"].as_array().unwrap().iter().any(quarantined), "{listed}");
    }
}

#[tokio::test]
async fn what_is_not_a_whole_backup_of_this_version_is_refused_and_leaves_nothing() {
    let app = service().await;
    let bytes = backup(&app).await;
    let place = Place::new();
    for end in [0, 511, 3_000, bytes.len() / 2, bytes.len() - 1, bytes.len() - 1024] {
        place.refused(&bytes[..end], "backup-invalid").await;
    }
    let mut changed = bytes.clone();
    changed[5_000] ^= 1;
    place.refused(&changed, "backup-invalid").await;
    place.refused(&[&bytes[..], &[0; 512]].concat(), "backup-invalid").await;

    // As an older program sees what a later one made.
    let mut reader = Reader::open(&bytes[..], i64::MAX).unwrap();
    let about = reader.about().clone();
    let entry = reader.next_entry().unwrap().unwrap();
    assert_eq!(entry.name, EntryName::Database);
    let mut database = Vec::new();
    let mut keep = |_: u64, piece: &[u8]| {
        database.extend_from_slice(piece);
        Ok(())
    };
    reader.content(&entry, &mut keep).unwrap();
    let later = |about: About| {
        let mut writer = Writer::begin(Vec::new(), &about).unwrap();
        writer.file(EntryName::Database, database.len() as u64, &mut &database[..]).unwrap();
        writer.finish(None).unwrap().0
    };
    let text = place.refused(&later(About { format: FORMAT + 1, ..about.clone() }), "backup-newer").await;
    assert!(text.contains("made by a later plugbay"), "{text}");
    let schema = about.schema + 1;
    place.refused(&later(About { schema, ..about.clone() }), "backup-newer").await;
    // The archives that the database refers to are missing.
    let text = place.refused(&later(about), "backup-invalid").await;
    assert!(text.contains("is not what the database refers to"), "{text}");
}

#[tokio::test]
async fn foreign_tars_are_refused_and_leave_nothing() {
    let app = service().await;
    let bytes = backup(&app).await;
    let place = Place::new();
    // Before the manifest, which begins a block of its own.
    let at = bytes.windows(13).rposition(|window| window == b"manifest.json").unwrap();
    let with = |name: &str, kind: tar::EntryType, size: u64| {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o600);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header.set_cksum();
        [&bytes[..at], &header.as_bytes()[..], &bytes[at..]].concat()
    };
    let hex = "0".repeat(64);
    for name in ["master.key", "admin.token", "../evil", "/etc/evil", "archives/../../evil", "archives", "lock", "x"] {
        let text = place.refused(&with(name, tar::EntryType::Regular, 0), "backup-invalid").await;
        assert!(text.contains("is not a name that a backup has"), "{text}");
    }
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Directory, tar::EntryType::Fifo] {
        let text = place.refused(&with(&format!("archives/{hex}"), kind, 0), "backup-invalid").await;
        assert!(text.contains("no backup has") || text.contains("another hash"), "{text}");
    }
    place.refused(&with("plugbay.db", tar::EntryType::Regular, 0), "backup-invalid").await;
    place.refused(&with(&format!("archives/{hex}"), tar::EntryType::Regular, 0), "backup-invalid").await;
    place.refused(&with(&format!("archives/{hex}"), tar::EntryType::Regular, 1 << 40), "backup-invalid").await;
}

#[tokio::test]
async fn a_directory_that_is_used_is_not_restored_into() {
    let app = service().await;
    let bytes = backup(&app).await;
    let outside = tempfile::tempdir().unwrap();
    let file = outside.path().join("backup.tar");
    fs::write(&file, &bytes).unwrap();
    let order = RestoreOrder { backup: file, data_dir: app.data(), key_file: None, accept_unsealed: false };
    assert_eq!(restore(&order).await.unwrap_err().code().as_str(), "data-dir-in-use");
    let setup = app.stop().await;
    assert_eq!(restore(&order).await.unwrap_err().code().as_str(), "data-dir-not-empty");
    let empty = Place::new();
    fs::create_dir(empty.target()).unwrap();
    empty.restore(&bytes, None).await.unwrap();
    drop(setup);
}
