//! Scans for a service. The code of a package is read in a process of its own, `plugbay scan-worker`, which has the
//! package alone: a fault of a reader on hostile code, its memory and its time are none of the service's.
//!
//! All that a worker does not manage counts against the package: what makes the reader fail has not been read.

mod child;
mod order;
pub mod sarif;
mod worker;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use plugbay_analyze::Scan;
use plugbay_config::{ExternalScanner, ScanConfig};
use plugbay_domain::Digest;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, SemaphorePermit};

pub use order::Order;
pub use worker::run as run_worker;

/// For whom a package is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It comes in. There are as many at a time as there are uploads, and they wait for each other.
    Arriving,
    /// A caller asks for it. There is no line: another caller is told to come again.
    Asked,
    /// The service does it by itself.
    Own,
}

/// Why there is no scan.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// One that was asked for is enough.
    #[error("another plugin is being read")]
    Busy,
    /// No worker could be started.
    #[error("failed to start the reader of code")]
    Start(#[source] io::Error),
}

/// A file of advisories, a record in each line, which the service has checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdvisoryFile {
    /// Where it is.
    pub path: PathBuf,
    /// The hash of its content.
    pub digest: Digest,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    scanner: &'a Scanner,
    _place: SemaphorePermit<'a>,
}

/// Starts workers, one for each reason at a time: asking again and again keeps no package from coming in.
#[derive(Debug)]
pub struct Scanner {
    config: ScanConfig,
    /// The rules of the reader and of the operator.
    rules: String,
    advisories: Mutex<Option<AdvisoryFile>>,
    arriving: Semaphore,
    asked: Semaphore,
    own: Semaphore,
}

impl Scanner {
    /// By these settings.
    pub fn new(config: &ScanConfig, beside: &[ExternalScanner]) -> Self {
        let place = || Semaphore::new(1);
        Self {
            rules: rules_of(config, beside),
            advisories: Mutex::default(),
            config: config.clone(),
            arriving: place(),
            asked: place(),
            own: place(),
        }
    }

    /// A turn, in which a package is judged.
    pub async fn turn(&self, reason: Reason) -> Result<Turn<'_>, ScanError> {
        let place = match reason {
            Reason::Arriving => wait(&self.arriving).await,
            Reason::Asked => self.asked.try_acquire().map_err(|_taken| ScanError::Busy)?,
            Reason::Own => wait(&self.own).await,
        };
        Ok(Turn { scanner: self, _place: place })
    }

    /// From now on packages are compared with these.
    pub fn set_advisories(&self, file: AdvisoryFile) {
        *self.advisories.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
    }

    fn advisories(&self) -> Option<AdvisoryFile> {
        self.advisories.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// By which rules, demands and advisories packages are judged at present. A result with others is out of date.
    pub fn rules(&self) -> String {
        self.rules_with(self.advisories().as_ref())
    }

    fn rules_with(&self, advisories: Option<&AdvisoryFile>) -> String {
        let rules = &self.rules;
        advisories.map_or_else(|| rules.clone(), |file| format!("{rules}+{}", file.digest.to_hex()))
    }
}

impl Turn<'_> {
    /// Judges the package in a folder.
    pub async fn scan(&self, folder: &Path) -> Result<Scan, ScanError> {
        let (config, advisories) = (&self.scanner.config, self.scanner.advisories());
        let rules = self.scanner.rules_with(advisories.as_ref());
        let order = Order {
            folder: folder.to_owned(),
            allowed_imports: config.allowed_imports.clone(),
            denied_imports: config.denied_imports.clone(),
            advisories: advisories.map(|file| file.path),
        };
        let scan = child::scan(&config.program, &order).await.map_err(ScanError::Start)?;
        Ok(Scan { rules, ..scan })
    }
}

async fn wait(places: &Semaphore) -> SemaphorePermit<'_> {
    places.acquire().await.expect("the places of scans are never closed")
}

/// The rules of the reader, and those of the operator where there are any.
fn rules_of(config: &ScanConfig, beside: &[ExternalScanner]) -> String {
    let own = plugbay_analyze::rules_digest();
    let ScanConfig { allowed_imports, denied_imports, .. } = config;
    if allowed_imports.is_empty() && denied_imports.is_empty() && beside.is_empty() {
        return own;
    }
    let programs: Vec<_> = beside.iter().map(|found| (&found.name, &found.command, &found.image)).collect();
    let text = serde_json::to_string(&(allowed_imports, denied_imports, programs)).expect("texts serialise");
    format!("{own}+{}", Digest::from_bytes(Sha256::digest(text.as_bytes()).into()).to_hex())
}
