//! Backups: a consistent copy of everything but keys and tokens, streamed while the service goes on.
//!
//! The database is copied, and archives get a second name, while no change is committed, so that everything the copy
//! refers to is there. Volumes follow one by one, each still while it is copied. Only a few pieces are in memory at a time;
//! what is on the disk for the backup lies in staging and goes with it.

mod packages;
mod restore;
mod stream;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Actor, Caller, Service, ServiceError};
use crate::backup::{About, BackupError, EntryName, FORMAT, Writer};
use crate::domain::{Chain, DataId, Digest};
use crate::sandbox::Volumes;
use crate::store::{self, audit};
use stream::Outlet;

pub use restore::{AuditFound, LostSecret, RestoreOrder, Restored, restore};
pub use stream::BackupStream;

/// Everything a backup is made of.
struct Prepared {
    about: About,
    staging: TempDir,
    digests: Vec<Digest>,
    kept: Vec<DataId>,
    volumes: Volumes,
}

impl Prepared {
    fn database(&self) -> PathBuf {
        self.staging.path().join("plugbay.db")
    }

    fn archive(&self, digest: Digest) -> PathBuf {
        self.staging.path().join(digest.to_hex())
    }
}

impl Service {
    /// Begins a backup. What can go wrong before the first byte is told here; later the stream ends too early.
    pub async fn begin_backup(self: &Arc<Self>, caller: &Caller) -> Result<BackupStream, ServiceError> {
        let place = Arc::clone(&self.backups).try_acquire_owned().map_err(|_taken| ServiceError::BackupUnderWay)?;
        self.require_free_disk()?;
        let prepared = self.prepare_backup(caller).await?;
        let file_name = format!("plugbay-{}.tar", prepared.about.created_at.replace([':', '.'], "-"));
        let (tx, rx) = mpsc::channel(stream::PIECES);
        let (service, caller) = (Arc::clone(self), caller.clone());
        self.shutdown.spawn("backup", |stop| async move {
            let ended = service.write_backup(prepared, tx.clone(), stop).await;
            drop(place);
            service.record_backup(&caller, &ended).await;
            // The end of the stream follows what is known of it.
            if let Err(error) = ended {
                warn!(error = %Chain(&error), "A backup was not completed: {}", Chain(&error));
                tx.send(Err(stream::CutOff)).await.ok();
            }
        });
        Ok(BackupStream { file_name, pieces: rx })
    }

    async fn prepare_backup(&self, caller: &Caller) -> Result<Prepared, ServiceError> {
        let staging = self.data.stage()?;
        // The one writer is ours until the archives have their second names: nothing that the copy refers to goes.
        let mut tx = self.store.begin().await?;
        self.store.copy_to(&staging.path().join("plugbay.db")).await?;
        let about = About {
            format: FORMAT,
            plugbay: env!("CARGO_PKG_VERSION").to_owned(),
            schema: store::backup::newest_schema(),
            created_at: self.now().to_string(),
            instance: self.data.instance()?,
        };
        let prepared = Prepared {
            about,
            staging,
            digests: store::plugins::list_digests(&mut tx).await?,
            kept: store::backup::list_kept(&mut tx).await?,
            volumes: self.volumes.clone(),
        };
        for digest in &prepared.digests {
            let from = self.data.archive(*digest);
            fs::hard_link(&from, prepared.archive(*digest)).map_err(|source| ServiceError::File {
                action: format!("keep `{}` for the backup", from.display()),
                source,
            })?;
        }
        let volumes = self.volumes.clone();
        let kept = prepared.kept.clone();
        Self::blocking("look at volumes", move || Ok(volumes.check_copy(&kept)?)).await?;
        // Written before a byte leaves.
        let entry = self.entry(&Actor::from(caller), "system.backup_begun", None, json!({}));
        audit::append(&mut tx, &self.audit_key, &entry).await?;
        tx.commit().await?;
        Ok(prepared)
    }

    async fn write_backup(
        &self,
        prepared: Prepared,
        pieces: mpsc::Sender<stream::Piece>,
        stop: CancellationToken,
    ) -> Result<stream::Written, ServiceError> {
        let outlet = Outlet::new(pieces, stop, Handle::current());
        Self::blocking("backup", move || write(&prepared, outlet)).await
    }

    async fn record_backup(&self, caller: &Caller, ended: &Result<stream::Written, ServiceError>) {
        let (action, detail) = match ended {
            Ok(written) => {
                info!(bytes = written.bytes, "A backup of {} bytes was taken", written.bytes);
                let detail = json!({"bytes": written.bytes, "sha256": written.sha256, "entries": written.entries});
                ("system.backup", detail)
            }
            Err(error) => ("system.backup_failed", json!({"text": crate::domain::escape(&Chain(error).to_string())})),
        };
        if let Err(error) = self.record(self.entry(&Actor::from(caller), action, None, detail)).await {
            warn!(error = %Chain(&error), "A backup could not be recorded");
        }
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
    let (outlet, entries) = writer.finish()?;
    Ok(outlet.finish(entries))
}

fn add(writer: &mut Writer<impl Write>, name: EntryName, path: &std::path::Path) -> Result<(), BackupError> {
    let mut file = File::open(path).map_err(BackupError::io("open", name))?;
    let bytes = file.metadata().map_err(BackupError::io("look at", name))?.len();
    writer.file(name, bytes, &mut file)
}
