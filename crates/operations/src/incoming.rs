//! An archive on its way in: staged, hashed, not yet believed.

use std::sync::Arc;

use bytes::Bytes;
use plugbay_domain::Digest;
use plugbay_package::{Receiver, Upload};
use tempfile::TempDir;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::{Service, ServiceError, disk};

/// Chunks of an upload that wait to be written.
const QUEUED_CHUNKS: usize = 16;

/// A staging folder and one of the places for uploads; both are given back when it is dropped.
#[derive(Debug)]
pub struct Staging {
    pub(crate) folder: TempDir,
    _place: OwnedSemaphorePermit,
}

/// An uploaded archive with what was said about it.
#[derive(Debug)]
pub struct Incoming {
    pub(crate) staging: Staging,
    pub(crate) upload: Upload,
    /// The text of the .minisig file.
    pub(crate) signature: Option<String>,
    pub(crate) expected: Option<Digest>,
}

/// Takes an archive chunk by chunk and writes it on a thread of its own, so that memory stays flat and no
/// thread that answers requests waits for the disk.
#[derive(Debug)]
pub struct UploadWriter {
    chunks: mpsc::Sender<Bytes>,
    done: tokio::task::JoinHandle<Result<Upload, ServiceError>>,
}

/// Makes a place to upload to; refused when the disk is nearly full or all places are taken.
pub fn stage(service: &Arc<Service>) -> Result<Staging, ServiceError> {
    let place = service.admit_upload()?;
    disk::require_free_disk(service)?;
    Ok(Staging { folder: service.data.stage()?, _place: place })
}

/// Starts to write an archive into a staging folder.
pub fn start_upload(service: &Service, staging: &Staging) -> Result<UploadWriter, ServiceError> {
    let mut receiver = Receiver::create(staging.folder.path(), &service.config.limits)?;
    let (chunks, mut queue) = mpsc::channel::<Bytes>(QUEUED_CHUNKS);
    let done = tokio::task::spawn_blocking(move || {
        while let Some(chunk) = queue.blocking_recv() {
            receiver.write(&chunk)?;
        }
        Ok(receiver.finish()?)
    });
    Ok(UploadWriter { chunks, done })
}

impl UploadWriter {
    /// Queues a chunk; an error of an earlier one, such as a full disk or an archive that is too large, ends the upload.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), ServiceError> {
        if self.chunks.send(chunk).await.is_ok() {
            return Ok(());
        }
        let ended = (&mut self.done).await.unwrap_or(Err(ServiceError::TaskDied { name: "upload" }));
        Err(ended.err().unwrap_or(ServiceError::TaskDied { name: "upload" }))
    }

    /// Waits until everything is written.
    pub async fn finish(self) -> Result<Upload, ServiceError> {
        drop(self.chunks);
        self.done.await.unwrap_or(Err(ServiceError::TaskDied { name: "upload" }))
    }
}

impl Incoming {
    /// Puts together what arrived.
    pub fn new(staging: Staging, upload: Upload, signature: Option<String>, expected: Option<Digest>) -> Self {
        Self { staging, upload, signature, expected }
    }

    /// What the request said, for telling it from another one.
    pub fn fingerprint(&self) -> String {
        self.upload.digest().to_string()
    }
}
