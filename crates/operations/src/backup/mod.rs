//! Backups: a consistent copy of everything but keys and tokens, streamed while the service goes on.
//!
//! Archives get a second name, then the database is copied as it is at one moment, while others go on changing it. What came
//! in between gets its second name afterwards; should that have gone again, all of it is done once more. Volumes follow one by
//! one, each still while it is copied. Only a few pieces are in memory at a time; what is on the disk for the backup lies in
//! staging and goes with it.

pub(crate) mod beside;
pub(crate) mod packages;
pub(crate) mod restore;
pub(crate) mod stream;

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::{fs, io};

use plugbay_backup::{About, BackupError, EntryName, FORMAT, Writer};
use plugbay_domain::{Chain, DataId, Digest};
use plugbay_registry::Caller;
use plugbay_sandbox::Volumes;
use plugbay_store as store;
use plugbay_store::BackupKey;
use serde_json::json;
use stream::Outlet;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::backup::stream::BackupStream;
use crate::{Service, ServiceError, blocking, disk};

/// The copy of the database in staging.
const DATABASE: &str = "plugbay.db";

/// How often it is tried to copy the database together with its archives.
const MOST_TRIES: u32 = 5;

/// Everything a backup is made of.
struct Prepared {
    about: About,
    staging: TempDir,
    digests: Vec<Digest>,
    kept: Vec<DataId>,
    volumes: Volumes,
    key: BackupKey,
}

impl Prepared {
    fn database(&self) -> PathBuf {
        self.staging.path().join(DATABASE)
    }

    fn archive(&self, digest: Digest) -> PathBuf {
        self.staging.path().join(digest.to_hex())
    }
}

/// Begins a backup. What can go wrong before the first byte is told here; later the stream ends too early.
pub async fn begin_backup(service: &Arc<Service>, caller: &Caller) -> Result<BackupStream, ServiceError> {
    let place = Arc::clone(&service.backups).try_acquire_owned().map_err(|_taken| ServiceError::BackupUnderWay)?;
    disk::require_free_disk(service)?;
    let prepared = prepare_backup(service, caller).await?;
    let file_name = format!("plugbay-{}.tar", prepared.about.created_at.replace([':', '.'], "-"));
    let (tx, rx) = mpsc::channel(stream::PIECES);
    let (shutdown, service, caller) = (&service.shutdown, Arc::clone(service), caller.clone());
    shutdown.spawn("backup", |stop| async move {
        let ended = write_backup(&service, prepared, tx.clone(), stop).await;
        drop(place);
        record_backup(&service, &caller, &ended).await;
        // The end of the stream follows what is known of it.
        if let Err(error) = ended {
            warn!(error = %Chain(&error), "A backup was not completed: {}", Chain(&error));
            tx.send(Err(stream::CutOff)).await.ok();
        }
    });
    Ok(BackupStream { file_name, pieces: rx })
}

async fn prepare_backup(service: &Service, caller: &Caller) -> Result<Prepared, ServiceError> {
    let mut tries = 1;
    let (staging, referred) = loop {
        match copy_database(service).await? {
            Some(copied) => break copied,
            None if tries < MOST_TRIES => tries += 1,
            None => return Err(ServiceError::BackupOvertaken),
        }
    };
    let store::backup::Referred { digests, kept } = referred;
    let about = About {
        format: FORMAT,
        plugbay: env!("CARGO_PKG_VERSION").to_owned(),
        schema: store::backup::newest_schema(),
        created_at: service.now().to_string(),
        instance: service.data.instance()?,
    };
    let prepared =
        Prepared { about, staging, digests, kept, volumes: service.volumes.clone(), key: service.backup_key.clone() };
    let volumes = service.volumes.clone();
    let kept = prepared.kept.clone();
    blocking("look at volumes", move || Ok(volumes.check_copy(&kept)?)).await?;
    // Written before a byte leaves.
    service.registry.record(caller, "system.backup_begun", None, json!({})).await?;
    Ok(prepared)
}

/// A copy of the database in a folder of its own, beside every archive that it refers to. Nothing when one of them
/// went while it was made.
async fn copy_database(service: &Service) -> Result<Option<(TempDir, store::backup::Referred)>, ServiceError> {
    let staging = service.data.stage()?;
    let before = store::plugins::list_digests(&mut *service.store.reader().await?).await?;
    for digest in &before {
        keep_archive(service, *digest, &staging)?;
    }
    let copy = staging.path().join(DATABASE);
    service.store.copy_to(&copy).await?;
    let referred = store::backup::read_copy(&copy).await?;
    for digest in &referred.digests {
        if !keep_archive(service, *digest, &staging)? {
            return Ok(None);
        }
    }
    Ok(Some((staging, referred)))
}

/// Gives an archive a second name, so that it stays. False when it is not there any more.
fn keep_archive(service: &Service, digest: Digest, staging: &TempDir) -> Result<bool, ServiceError> {
    let from = service.data.archive(digest);
    match fs::hard_link(&from, staging.path().join(digest.to_hex())) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(ServiceError::File { action: format!("keep `{}` for the backup", from.display()), source }),
    }
}

async fn write_backup(
    _service: &Service,
    prepared: Prepared,
    pieces: mpsc::Sender<stream::Piece>,
    stop: CancellationToken,
) -> Result<stream::Written, ServiceError> {
    let outlet = Outlet::new(pieces, stop, Handle::current());
    blocking("backup", move || write(&prepared, outlet)).await
}

async fn record_backup(service: &Service, caller: &Caller, ended: &Result<stream::Written, ServiceError>) {
    let (action, detail) = match ended {
        Ok(written) => {
            info!(bytes = written.bytes, "A backup of {} bytes was taken", written.bytes);
            let detail = json!({"bytes": written.bytes, "sha256": written.sha256, "entries": written.entries});
            ("system.backup", detail)
        }
        Err(error) => ("system.backup_failed", json!({"text": plugbay_domain::escape(&Chain(error).to_string())})),
    };
    if let Err(error) = service.registry.record(caller, action, None, detail).await {
        warn!(error = %Chain(&error), "A backup could not be recorded");
    }
}

fn write(prepared: &Prepared, outlet: Outlet) -> Result<stream::Written, ServiceError> {
    let mut writer = Writer::begin(outlet, &prepared.about)?;
    add(&mut writer, EntryName::Database, &prepared.database())?;
    for digest in &prepared.digests {
        add(&mut writer, EntryName::Archive(*digest), &prepared.archive(*digest))?;
    }
    for data in &prepared.kept {
        let copy = prepared.staging.path().join("volume");
        if prepared.volumes.copy(*data, &copy)? {
            let name = EntryName::Image(*data);
            writer.image(name, &File::open(&copy).map_err(BackupError::io("open", name))?)?;
            fs::remove_file(&copy).map_err(BackupError::io("remove the copy of", name))?;
        } else if prepared.volumes.list(data.plugin).is_ok_and(|found| !found.is_empty()) {
            let gone = io::Error::other("its plugin was updated meanwhile; take the backup again");
            return Err(BackupError::io("copy", EntryName::Image(*data))(gone).into());
        }
    }
    let (outlet, entries) = writer.finish(Some(&|bytes| prepared.key.seal(bytes)))?;
    Ok(outlet.finish(entries))
}

fn add(writer: &mut Writer<impl Write>, name: EntryName, path: &std::path::Path) -> Result<(), BackupError> {
    let mut file = File::open(path).map_err(BackupError::io("open", name))?;
    let bytes = file.metadata().map_err(BackupError::io("look at", name))?.len();
    writer.file(name, bytes, &mut file)
}
