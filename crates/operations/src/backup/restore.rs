//! A backup made a data directory again, offline. Everything is made and checked beside the directory and takes its name at
//! the end; whatever goes wrong before leaves nothing.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::{fs, io};

use plugbay_backup::{About, BackupError, EntryName, Manifest, Reader};
use plugbay_data_dir::{DataDir, DataDirError, KeyNeeded, read_key_file, write_master_key};
use plugbay_domain::{Clock as _, DataId, Digest, Scope, ScopeSet, SystemClock, TokenId};
use plugbay_store as store;
use plugbay_store::audit::{AuditKey, NewEntry, Verdict};
use plugbay_store::tokens::TokenRecord;
use plugbay_store::{BackupKey, Missing, SealingKey, Store, audit};
use serde::Serialize;
use serde_json::json;
use zeroize::Zeroizing;

use crate::ServiceError;
use crate::backup::beside::Beside;
use crate::backup::packages;
use crate::tokens::{draw_secret, hash};

/// What to restore.
#[derive(Clone, Debug)]
pub struct RestoreOrder {
    /// The backup.
    pub backup: PathBuf,
    /// Where to; empty, or not there yet.
    pub data_dir: PathBuf,
    /// The master key that was in force; without it secrets are lost.
    pub key_file: Option<PathBuf>,
    /// A backup without a seal will do, as older versions made them. Without a key no seal is looked at.
    pub accept_unsealed: bool,
}

/// What was restored.
#[derive(Clone, Debug, Serialize)]
pub struct Restored {
    /// Where to.
    pub data_dir: PathBuf,
    /// When the backup was made.
    pub created_at: String,
    /// By which plugbay.
    pub made_by: String,
    /// Of which installation.
    pub instance: String,
    /// Plugins in it.
    pub plugins: usize,
    /// Volumes in it.
    pub volumes: usize,
    /// Secrets that have to be set again.
    pub lost_secrets: Vec<LostSecret>,
    /// Rows of the audit log that came along.
    pub audit_rows: i64,
    /// Whether those rows were verified; without the key they cannot be.
    pub audit: AuditFound,
    /// Where a new token with scope admin is.
    pub admin_token: PathBuf,
    /// Whether the backup is as it was made.
    pub seal: SealFound,
    /// Tokens of the backup that are valid, also ones that were revoked after it was made.
    pub old_tokens: usize,
}

/// A secret that has to be set again.
#[derive(Clone, Debug, Serialize)]
pub struct LostSecret {
    /// Name of its plugin.
    pub plugin: String,
    /// Its field.
    pub field: String,
}

/// What is known of the audit log that came along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditFound {
    /// Nobody had changed it.
    Verified,
    /// It does not fit, and stays as it is.
    Broken(String),
    /// It was taken over as it was, under a new key.
    TakenOver,
}

impl std::fmt::Display for AuditFound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Verified => f.write_str("verified"),
            Self::Broken(found) => write!(f, "broken: {found}"),
            Self::TakenOver => {
                f.write_str("taken over as found, under a new key; without the old one nobody can verify it")
            }
        }
    }
}

/// What is known of the backup as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SealFound {
    /// It is as the installation made it.
    Verified,
    /// It carries none, and that was accepted.
    None,
    /// The key that it was made with was not given.
    Unknown,
}

impl std::fmt::Display for SealFound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Verified => "the backup is as it was made",
            Self::None => "the backup carries no seal: it cannot be told whether it was changed",
            Self::Unknown => "without the master key it cannot be told whether the backup was changed",
        })
    }
}

/// The master key that whoever restores has named.
struct Key<'a> {
    file: &'a Path,
    bytes: Zeroizing<[u8; 32]>,
}

impl<'a> Key<'a> {
    fn read(file: &'a Path) -> Result<Self, DataDirError> {
        Ok(Self { file, bytes: Zeroizing::new(read_key_file(file)?) })
    }
}

/// What the tar held.
#[derive(Debug, Default)]
struct Found {
    archives: BTreeSet<Digest>,
    volumes: BTreeSet<DataId>,
    manifest: Manifest,
}

impl Found {
    /// Compares the seal with what the key makes of the list. A backup whose seal was taken off is no older one, as far as
    /// anybody can tell, so that has to be said.
    fn check_seal(&self, key: &BackupKey, accept_unsealed: bool) -> Result<SealFound, BackupError> {
        match &self.manifest.seal {
            Some(seal) if *seal == key.seal(&self.manifest.sealed_bytes()) => Ok(SealFound::Verified),
            Some(_) => Err(BackupError::SealBroken),
            None if accept_unsealed => Ok(SealFound::None),
            None => Err(BackupError::Unsealed),
        }
    }
}

fn file_error<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> DataDirError + 'a {
    move |source| DataDirError::File { action, path: path.to_owned(), source }
}

/// Restores a backup. All or nothing.
pub async fn restore(order: &RestoreOrder) -> Result<Restored, ServiceError> {
    let target = std::path::absolute(&order.data_dir).map_err(file_error("find", &order.data_dir))?;
    check_target(&target)?;
    let key = order.key_file.as_deref().map(Key::read).transpose()?;
    let beside = Beside::make(&target)?;
    let data = DataDir::open(beside.path())?;
    let (about, found) = unpack_tar(&order.backup, &data)?;
    let mut restored = Restored {
        data_dir: target.clone(),
        created_at: about.created_at.clone(),
        made_by: about.plugbay.clone(),
        instance: about.instance.clone(),
        plugins: 0,
        volumes: found.volumes.len(),
        lost_secrets: Vec::new(),
        audit_rows: 0,
        audit: AuditFound::TakenOver,
        admin_token: target.join("admin.token"),
        seal: SealFound::Unknown,
        old_tokens: 0,
    };
    let store = Store::open(&data.database(), Missing::Refuse).await?;
    let done = finish(&store, &data, &about, &found, (key.as_ref(), order.accept_unsealed), &mut restored).await;
    store.close().await;
    done?;
    data.release();
    beside.become_target(&target)?;
    Ok(restored)
}

fn check_target(target: &Path) -> Result<(), DataDirError> {
    let is_empty = match fs::read_dir(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(file_error("open", target)(error)),
        Ok(mut entries) => entries.next().is_none(),
    };
    if is_empty {
        return Ok(());
    }
    if target.join("lock").exists() {
        // That it is in use says more than that it is not empty.
        DataDir::open_existing(target)?;
    }
    Err(DataDirError::NotEmpty { path: target.to_owned() })
}

fn unpack_tar(backup: &Path, data: &DataDir) -> Result<(About, Found), ServiceError> {
    let file = File::open(backup).map_err(file_error("open", backup))?;
    let mut reader = Reader::open(BufReader::with_capacity(1 << 20, file), store::backup::newest_schema())?;
    let mut found = Found::default();
    while let Some(entry) = reader.next_entry()? {
        let path = match entry.name {
            EntryName::Database => data.database(),
            EntryName::Archive(digest) => {
                found.archives.insert(digest);
                data.archive(digest)
            }
            EntryName::Image(kept) => {
                found.volumes.insert(kept);
                data.volumes().join(format!("{kept}.img"))
            }
            EntryName::About | EntryName::Manifest => {
                return Err(malformed(entry.name, "stands in the middle"));
            }
        };
        take(&mut reader, &entry, &path)?;
    }
    found.manifest = reader.manifest().cloned().unwrap_or_default();
    Ok((reader.about().clone(), found))
}

fn malformed(name: EntryName, rule: &str) -> ServiceError {
    BackupError::Malformed { place: name.to_string(), rule: rule.to_owned() }.into()
}

fn take(reader: &mut Reader<impl Read>, entry: &plugbay_backup::Entry, path: &Path) -> Result<(), ServiceError> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let file = file.map_err(file_error("make", path))?;
    if matches!(entry.name, EntryName::Image(_)) {
        file.set_len(entry.length).map_err(file_error("make", path))?;
    }
    Ok(reader.content(entry, &mut |at, piece| file.write_all_at(piece, at))?)
}

async fn finish(
    store: &Store,
    data: &DataDir,
    about: &About,
    found: &Found,
    (key, accept_unsealed): (Option<&Key<'_>>, bool),
    restored: &mut Restored,
) -> Result<(), ServiceError> {
    let mut tx = store.begin().await?;
    let digests: BTreeSet<_> = store::plugins::list_digests(&mut tx).await?.into_iter().collect();
    if let Some(digest) = digests.symmetric_difference(&found.archives).next() {
        return Err(malformed(EntryName::Archive(*digest), "is not what the database refers to"));
    }
    let kept: BTreeSet<_> = store::backup::list_kept(&mut tx).await?.into_iter().collect();
    if let Some(data) = found.volumes.difference(&kept).next() {
        return Err(malformed(EntryName::Image(*data), "belongs to no plugin of the database"));
    }
    let old_head = audit::head(&mut tx).await?;
    restored.audit_rows = old_head.as_ref().map_or(0, |head| head.seq);
    // As it came, before anything of it is changed here.
    let audit_key = take_keys(&mut tx, data, found, (key, accept_unsealed), restored).await?;
    store::backup::drop_snapshots(&mut tx).await?;
    restored.plugins = store::plugins::list(&mut tx).await?.len();
    let mut unpacked = BTreeSet::new();
    for version in store::plugins::list_versions(&mut tx, None).await? {
        if unpacked.insert(version.digest) {
            let files = store::plugins::find_files(&mut tx, version.digest).await?.unwrap_or_default();
            packages::unpack(data, &version, &files)?;
        }
    }
    let detail = json!({
        "created_at": about.created_at,
        "instance": about.instance,
        "made_by": about.plugbay,
        "rows_before": restored.audit_rows,
        "audit": restored.audit,
        "seal": restored.seal,
        "old_head": old_head.map(|head| head.to_string()),
    });
    record_row(&mut tx, &audit_key, "system.restored", detail).await?;
    way_in(&mut tx, data, &audit_key, restored).await?;
    tx.commit().await?;
    Ok(())
}

/// Takes the key that was in force, or makes a new one and lets go of what only the old one opens.
async fn take_keys(
    tx: &mut store::WriteTransaction,
    data: &DataDir,
    found: &Found,
    (key, accept_unsealed): (Option<&Key<'_>>, bool),
    restored: &mut Restored,
) -> Result<AuditKey, ServiceError> {
    if let Some(Key { bytes: key, file }) = key {
        if !store::configs::check_key(tx, &SealingKey::derive(key)).await? {
            return Err(DataDirError::KeyOfAnother { path: (*file).to_owned() }.into());
        }
        restored.seal = found.check_seal(&BackupKey::derive(key), accept_unsealed)?;
        let audit_key = AuditKey::derive(key);
        restored.audit = match audit::verify(tx, &audit_key, None).await? {
            Verdict::Whole(_) => AuditFound::Verified,
            Verdict::Broken(found) => AuditFound::Broken(found),
        };
        write_master_key(data.root(), key)?;
        return Ok(audit_key);
    }
    let key = Zeroizing::new(data.master_key(KeyNeeded::MayBeNew)?);
    let lost = store::backup::drop_secrets(tx).await?;
    restored.lost_secrets =
        lost.into_iter().map(|lost| LostSecret { plugin: lost.plugin, field: lost.field }).collect();
    let audit_key = AuditKey::derive(&key);
    store::backup::take_over_audit(tx, &audit_key).await?;
    Ok(audit_key)
}

/// A token for whoever restores: that of the old directory may be lost with it.
async fn way_in(
    tx: &mut store::WriteTransaction,
    data: &DataDir,
    key: &AuditKey,
    restored: &mut Restored,
) -> Result<(), ServiceError> {
    let now = SystemClock.now();
    let valid = |token: &TokenRecord| token.revoked_at.is_none() && token.expires_at.is_none_or(|end| end > now);
    restored.old_tokens = store::tokens::list(tx).await?.iter().filter(|token| valid(token)).count();
    let secret = draw_secret()?;
    data.write_admin_token(&secret)?;
    let record = TokenRecord {
        id: TokenId::generate(),
        secret: hash(&secret),
        label: "made by restore".to_owned(),
        scopes: ScopeSet::new([Scope::Admin]).expect("one scope is not none"),
        plugins: None,
        tools: None,
        read_only: false,
        rate: None,
        created_at: now,
        expires_at: None,
        last_used_at: None,
        revoked_at: None,
    };
    store::tokens::insert(tx, &record).await?;
    let detail = json!({"token": record.id, "label": record.label, "scopes": record.scopes.as_slice()});
    record_row(tx, key, "token.created", detail).await
}

async fn record_row(
    tx: &mut store::WriteTransaction,
    key: &AuditKey,
    action: &'static str,
    detail: serde_json::Value,
) -> Result<(), ServiceError> {
    let entry =
        NewEntry { at: SystemClock.now(), actor: "service".to_owned(), action, plugin: None, detail, request_id: None };
    audit::append(tx, key, &entry).await?;
    Ok(())
}
