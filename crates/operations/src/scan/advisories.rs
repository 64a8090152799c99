//! Known holes of packages, brought in by an operator: a file with a record of OSV in each line, which every scan compares
//! with `vendor.lock`.

use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use plugbay_analyze::Advisories;
use plugbay_domain::{Digest, FieldError, escape};
use plugbay_registry::{Caller, NotAllowed};
use plugbay_scanner::{AdvisoryFile, ScanError};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::OwnedSemaphorePermit;

use crate::scan::start_scans;
use crate::{Service, ServiceError, blocking, disk};

/// Advisories on their way in. One import at a time.
#[derive(Debug)]
pub struct AdvisoryImport {
    folder: TempDir,
    file: tokio::fs::File,
    _place: OwnedSemaphorePermit,
}

/// What came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportedAdvisories {
    /// Advisories about packages of `PyPI`.
    pub advisories: usize,
    /// The hash of all of it.
    pub digest: Digest,
}

/// Where they are written while they come.
const NAME: &str = "advisories";

/// Begins an import, in the place of what was imported before. They say which plugins may run, so that a token for some
/// plugins brings in none.
pub async fn begin_advisories(service: &Arc<Service>, caller: &Caller) -> Result<AdvisoryImport, ServiceError> {
    if caller.plugins.is_some() {
        return Err(NotAllowed::ForAllPlugins { wanted: NAME }.into());
    }
    let place = Arc::clone(&service.scans.imports).try_acquire_owned().map_err(|_taken| ScanError::Busy)?;
    disk::require_free_disk(service)?;
    let folder = service.data.stage()?;
    let file = tokio::fs::File::create(folder.path().join(NAME)).await.map_err(failed("write the advisories"))?;
    Ok(AdvisoryImport { folder, file, _place: place })
}

impl AdvisoryImport {
    /// Takes the next bytes.
    pub async fn write(&mut self, bytes: &Bytes) -> Result<(), ServiceError> {
        self.file.write_all(bytes).await.map_err(failed("write the advisories"))
    }

    /// Reads all of it, keeps it, and has what is installed read again.
    pub async fn finish(mut self, service: &Arc<Service>, caller: &Caller) -> Result<ImportedAdvisories, ServiceError> {
        self.file.flush().await.map_err(failed("write the advisories"))?;
        self.file.sync_all().await.map_err(failed("write the advisories"))?;
        let (staged, kept) = (self.folder.path().join(NAME), service.data.advisories());
        let imported = blocking("advisories", move || {
            let imported = check(&staged)?;
            std::fs::rename(&staged, &kept).map_err(failed("keep the advisories"))?;
            Ok(imported)
        })
        .await?;
        let detail = json!({"advisories": imported.advisories, "digest": imported.digest});
        service.registry.record(caller, "advisories.imported", None, detail).await?;
        service.scans.scanner.set_advisories(AdvisoryFile { path: service.data.advisories(), digest: imported.digest });
        start_scans(service);
        Ok(imported)
    }
}

/// Finds what was imported before this start.
pub(crate) fn find(path: &Path) -> Result<Option<AdvisoryFile>, ServiceError> {
    match File::open(path) {
        Ok(file) => Ok(Some(AdvisoryFile { path: path.to_owned(), digest: hash(file)? })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read the advisories")(error)),
    }
}

fn check(staged: &Path) -> Result<ImportedAdvisories, ServiceError> {
    let open = || File::open(staged).map_err(failed("read the advisories"));
    let counted = Advisories::count_lines(BufReader::new(open()?)).map_err(failed("read the advisories"))?;
    let advisories = counted.map_err(|(line, problem)| {
        let message = format!("line {line} is no record of OSV: {}", escape(&problem));
        ServiceError::FieldInvalid { fields: vec![FieldError::at("", message)] }
    })?;
    Ok(ImportedAdvisories { advisories, digest: hash(open()?)? })
}

fn hash(file: File) -> Result<Digest, ServiceError> {
    let (mut reader, mut hash, mut piece) = (BufReader::new(file), Sha256::new(), vec![0; 64 * 1024]);
    loop {
        let count = reader.read(&mut piece).map_err(failed("read the advisories"))?;
        if count == 0 {
            return Ok(Digest::from_bytes(hash.finalize().into()));
        }
        hash.update(&piece[..count]);
    }
}

fn failed(action: &'static str) -> impl FnOnce(io::Error) -> ServiceError {
    move |source| ServiceError::File { action: action.to_owned(), source }
}
