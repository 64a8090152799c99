//! Backups that somebody changed who has them but not the key: everything in them fits together again.

use std::fs;
use std::path::Path;

use plugbay::backup::{EntryName, Reader, Writer};
use plugbay::domain::Refusal as _;
use plugbay::operations::{AuditFound, RestoreOrder, Restored, SealFound, ServiceError, restore};

use crate::backup::{backup, service};
use crate::support::database;

/// A token of the forger's own.
const TOKEN: &str = "INSERT INTO tokens (id, secret_sha256, label, scopes, created_at)
    SELECT 'token_019aa000000070008000000000000000', REPLACE(HEX(ZEROBLOB(32)), '00', 'ab'), 'forged', scopes, created_at
    FROM tokens LIMIT 1";

/// A small value.
const VALUE: &str = "INSERT INTO kv (plugin_id, generation, key, value) SELECT id, 0, 'k', '1' FROM plugins";

/// The backup with this change of its database and hashes that fit, and what seal it had.
async fn forged(backup: &[u8], change: &str, keep_seal: bool) -> Vec<u8> {
    let mut reader = Reader::open(backup, i64::MAX).unwrap();
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let mut content = Vec::new();
        let mut keep = |_: u64, piece: &[u8]| {
            content.extend_from_slice(piece);
            Ok(())
        };
        reader.content(&entry, &mut keep).unwrap();
        entries.push((entry.name, content));
    }
    let seal = reader.manifest().unwrap().seal.clone();
    assert!(seal.is_some());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plugbay.db");
    let mut writer = Writer::begin(Vec::new(), reader.about()).unwrap();
    for (name, mut content) in entries {
        if name == EntryName::Database {
            fs::write(&file, &content).unwrap();
            database::run(folder.path(), change).await;
            content = fs::read(&file).unwrap();
        }
        writer.file(name, content.len() as u64, &mut &content[..]).unwrap();
    }
    let carried = |_: &[u8]| seal.clone().unwrap();
    writer.finish(keep_seal.then_some(&carried)).unwrap().0
}

async fn restored(backup: &[u8], key: Option<&Path>, accept_unsealed: bool) -> Result<Restored, ServiceError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup.tar");
    fs::write(&file, backup).unwrap();
    let (data_dir, key_file) = (folder.path().join("restored"), key.map(Path::to_owned));
    let done = restore(&RestoreOrder { backup: file, data_dir: data_dir.clone(), key_file, accept_unsealed }).await;
    assert_eq!(data_dir.exists(), done.is_ok(), "all or nothing");
    done
}

#[tokio::test]
async fn a_backup_that_was_changed_is_refused_with_the_key() {
    let app = service().await;
    let bytes = backup(&app).await;
    let key = app.data().join("master.key");
    let whole = restored(&bytes, Some(&key), false).await.unwrap();
    assert_eq!((whole.seal, whole.audit), (SealFound::Verified, AuditFound::Verified));
    for change in [TOKEN, VALUE, "UPDATE plugins SET status = 'enabled'", "DELETE FROM floors"] {
        let error = restored(&forged(&bytes, change, true).await, Some(&key), false).await.unwrap_err();
        assert_eq!(error.code().as_str(), "backup-invalid", "{change}: {error}");
        assert!(error.to_string().contains("changed after it was made"), "{error}");
        // Taking the seal off makes no older backup of it.
        let error = restored(&forged(&bytes, change, false).await, Some(&key), false).await.unwrap_err();
        assert_eq!(error.code().as_str(), "backup-unsealed", "{change}: {error}");
    }
}

#[tokio::test]
async fn of_a_backup_without_seal_the_registry_is_compared_with_the_log() {
    let app = service().await;
    let bytes = backup(&app).await;
    let key = app.data().join("master.key");
    let found = restored(&forged(&bytes, TOKEN, false).await, Some(&key), true).await.unwrap();
    let AuditFound::Broken(text) = &found.audit else { panic!("{found:?}") };
    assert!(text.contains("of table `tokens` is not recorded by the log"), "{text}");
    assert_eq!(found.seal, SealFound::None);
    assert!(found.seal.to_string().contains("cannot be told whether it was changed"));
}

#[tokio::test]
async fn without_the_key_it_is_said_that_nothing_can_be_told() {
    let app = service().await;
    let bytes = forged(&backup(&app).await, TOKEN, true).await;
    let found = restored(&bytes, None, false).await.unwrap();
    assert_eq!((found.seal, found.audit), (SealFound::Unknown, AuditFound::TakenOver));
    assert!(found.seal.to_string().contains("cannot be told whether the backup was changed"));
}
