//! Reading the code of packages, and what follows from how it looks: when one comes in, when an operator asks for it,
//! and when the rules have changed.

pub(crate) mod advisories;

use std::path::Path;
use std::sync::Arc;

use plugbay_analyze::{Hit, Scan};
use plugbay_config::Config;
use plugbay_data_dir::DataDir;
use plugbay_domain::{
    Chain, Code, Digest, Manifest, Plugin, PluginName, Risk, Timestamp, Verdict, VerdictPolicy, escape,
};
use plugbay_fleet::{PluginProblem, guest};
use plugbay_registry::{Actor, Caller, Target};
use plugbay_scanner::{Reason, Scanner, sarif};
use plugbay_store as store;
use plugbay_store::StoreError;
use plugbay_store::plugins::VersionRecord;
use plugbay_store::scans::Outdated;
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{Mutex, Semaphore};
use tracing::{error, info, warn};

use crate::{Service, ServiceError, blocking, find};

/// What reading the code of a version said, and when.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScanRecord {
    /// When it was read, in milliseconds of Unix time.
    at: i64,
    /// What it said.
    #[serde(flatten)]
    pub scan: Scan,
}

impl ScanRecord {
    /// When it was read.
    pub fn at(&self) -> Option<Timestamp> {
        Timestamp::from_millis(self.at)
    }

    fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers serialise")
    }
}

/// The scan of one version.
#[derive(Clone, Debug)]
pub struct VersionScan {
    /// The version.
    pub version: Version,
    /// Its bytes.
    pub digest: Digest,
    /// What was said of it; none if it was not read yet.
    pub record: Option<ScanRecord>,
    /// What follows from its verdict.
    pub policy: Option<VerdictPolicy>,
    /// The rules have changed since.
    pub is_outdated: bool,
}

/// The scans of a plugin.
#[derive(Clone, Debug)]
pub struct ScanView {
    /// The plugin.
    pub plugin: Plugin,
    /// That of the version that serves.
    pub serving: VersionScan,
    /// That of the version that waits.
    pub pending: Option<VersionScan>,
}

/// What was said of a package that comes in.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) verdict: Verdict,
    /// As it is stored.
    pub(crate) text: String,
}

/// Reads the code of a package that comes in, and refuses what the operator does not let in.
pub(crate) async fn judge_arrival(
    service: &Service,
    folder: &Path,
    manifest: &Manifest,
) -> Result<Arrived, ServiceError> {
    let scan = judge(service, Reason::Arriving, folder).await?;
    if policy_for(service, scan.verdict) == VerdictPolicy::Refuse {
        return Err(refusal(&manifest.name, scan.verdict, scan.hits.first()).into());
    }
    let record = ScanRecord { at: service.now().as_millis(), scan };
    Ok(Arrived { verdict: record.scan.verdict, text: record.to_json() })
}

/// Judges a package: by our own reader, then by each program of the operator's.
async fn judge(service: &Service, reason: Reason, folder: &Path) -> Result<Scan, ServiceError> {
    let turn = service.scans.scanner.turn(reason).await?;
    let mut scan = turn.scan(folder).await?;
    for program in &service.config.security.external_scanners {
        let name = &program.name;
        let asked = Box::pin(guest::ask(&service.fleet, program, folder)).await;
        if asked.is_err() && service.fleet.is_stopping() {
            // It says nothing of the package.
            return Err(PluginProblem::new(Code::Unavailable, "the service is being stopped").into());
        }
        let found = asked.and_then(|printed| sarif::read(name, printed.get()));
        let hits = found.unwrap_or_else(|why| {
            warn!(scanner = %name, "A package could not be scanned: {}", escape(&why));
            vec![sarif::failed(name, &why)]
        });
        scan = scan.with(hits);
    }
    Ok(scan)
}

/// What an operator should know about it.
pub(crate) fn warning(manifest: &Manifest, arrived: &Arrived) -> Option<String> {
    let name = &manifest.name;
    (arrived.verdict >= Verdict::Suspicious)
        .then(|| format!("its code looks {}: plugbay scan --installed {name} shows why", arrived.verdict))
}

/// The risk that a version is by the look of its code.
pub(crate) fn risk_of(service: &Service, version: &VersionRecord) -> Option<Risk> {
    let policy = version.verdict.map(|verdict| policy_for(service, verdict));
    policy.is_some_and(|policy| policy != VerdictPolicy::Warn).then_some(Risk::ScanSuspicious)
}

/// The risk that a version is, if it was not accepted. Refuses one that would not be let in today.
pub(crate) async fn open_risk(
    service: &Service,
    version: &VersionRecord,
    manifest: &Manifest,
) -> Result<Option<Risk>, ServiceError> {
    check_policy(service, version, manifest)?;
    let accepted = service.registry.accepted_risks(version.plugin_id).await?;
    let target = Target { version, manifest, carries: None };
    Ok(risk_of(service, version).filter(|risk| !target.has_accepted(&accepted, *risk)))
}

/// Refuses to run what would not be let in today.
pub(crate) fn check_policy(
    service: &Service,
    version: &VersionRecord,
    manifest: &Manifest,
) -> Result<(), ServiceError> {
    match version.verdict {
        Some(verdict) if policy_for(service, verdict) == VerdictPolicy::Refuse => {
            Err(refusal(&manifest.name, verdict, None).into())
        }
        _ => Ok(()),
    }
}

fn policy_for(service: &Service, verdict: Verdict) -> VerdictPolicy {
    let policy = &service.config.security.scan;
    match verdict {
        Verdict::Clean | Verdict::Notes => VerdictPolicy::Warn,
        Verdict::Suspicious => policy.suspicious,
        Verdict::Malicious => policy.malicious,
    }
}

fn refusal(name: &PluginName, verdict: Verdict, worst: Option<&Hit>) -> PluginProblem {
    let why = worst.map(|hit| format!(": {}", told(hit))).unwrap_or_default();
    let how = match worst {
        Some(_) => format!("plugbay scan FILE shows all of it; `security.scan.{verdict}` says what is let in"),
        None => format!("plugbay scan --installed {name} shows why; `security.scan.{verdict}` says what may run"),
    };
    PluginProblem::new(Code::ScanRefused, format!("the code of `{name}` looks {verdict}{why}")).with_how(how)
}

fn told(hit: &Hit) -> String {
    let line = hit.place.map(|place| format!(":{}", place.line)).unwrap_or_default();
    format!("{}{line}: {} (`{}`)", escape(&hit.path), escape(&hit.reason), escape(&hit.what))
}

/// What is known of the code of a plugin.
pub async fn show_scan(service: &Service, caller: &Caller, wanted: &str) -> Result<ScanView, ServiceError> {
    let plugin = find::find_plugin(service, caller, wanted).await?;
    view(service, plugin).await
}

/// Reads the code of a plugin again: that of the version that serves, and of the one that waits.
pub async fn scan_again(service: &Service, caller: &Caller, wanted: &str) -> Result<ScanView, ServiceError> {
    let plugin = find::find_plugin(service, caller, wanted).await?;
    let installed = service.registry.installed(plugin.clone()).await?;
    let pending = installed.pending()?.map(|(version, _)| version);
    for version in [Some(installed.serving()), pending].into_iter().flatten() {
        let digest = version.digest;
        let outdated = Outdated { plugin: plugin.id, version: version.version.clone(), digest };
        refresh(service, caller, &plugin.name, &outdated, Reason::Asked).await?;
    }
    let plugin = find::find_plugin(service, caller, wanted).await?;
    view(service, plugin).await
}

async fn view(service: &Service, plugin: Plugin) -> Result<ScanView, ServiceError> {
    let installed = service.registry.installed(plugin).await?;
    let serving = version_scan(service, installed.serving()).await?;
    let pending = match installed.pending()? {
        Some((version, _)) => Some(version_scan(service, version).await?),
        None => None,
    };
    Ok(ScanView { plugin: installed.plugin, serving, pending })
}

async fn version_scan(service: &Service, version: &VersionRecord) -> Result<VersionScan, ServiceError> {
    let text = store::scans::find(&mut *service.store.reader().await?, version.plugin_id, version.digest).await?;
    let bad = |error: serde_json::Error| StoreError::bad_row("versions", version.digest, error);
    let record = text.map(|text| serde_json::from_str::<ScanRecord>(&text).map_err(bad)).transpose()?;
    let is_outdated = record.as_ref().is_none_or(|record| record.scan.rules != service.scans.scanner.rules());
    let policy = record.as_ref().map(|record| policy_for(service, record.scan.verdict));
    Ok(VersionScan { version: version.version.clone(), digest: version.digest, record, policy, is_outdated })
}

/// Reads one version again and keeps what is said. It goes on running, if it runs: the next start is where a new verdict
/// counts, and an operator is told before.
async fn refresh(
    service: &Service,
    by: impl Into<Actor>,
    name: &PluginName,
    outdated: &Outdated,
    reason: Reason,
) -> Result<Verdict, ServiceError> {
    let scan = judge(service, reason, &service.data.package(outdated.digest)).await?;
    let verdict = scan.verdict;
    let detail = json!({
        "version": outdated.version, "digest": outdated.digest, "verdict": verdict, "rules": scan.rules,
    });
    let text = ScanRecord { at: service.now().as_millis(), scan }.to_json();
    let _changing = service.registry.lock(name).await;
    let mut tx = service.store.begin().await?;
    store::scans::set(&mut tx, outdated.plugin, outdated.digest, &text).await?;
    service.registry.commit(tx, by, "plugin.scanned", Some(name), detail).await?;
    Ok(verdict)
}

/// What reads the code of packages, and who may have it do so.
#[derive(Debug)]
pub(crate) struct Scans {
    pub(crate) scanner: Scanner,
    /// One place: for the one import of advisories at a time.
    pub(crate) imports: Arc<Semaphore>,
    /// Places of tasks that read again what is installed: one that does, and one that begins when it has ended. Rules
    /// that change meanwhile are seen by one of the two.
    rescans: Semaphore,
    rescanning: Mutex<()>,
}

impl Scans {
    /// With the advisories that were brought in before.
    pub(crate) async fn open(config: &Config, data: &DataDir) -> Result<Self, ServiceError> {
        let scanner = Scanner::new(&config.security.scan, &config.security.external_scanners);
        let found = data.advisories();
        if let Some(file) = blocking("advisories", move || advisories::find(&found)).await? {
            scanner.set_advisories(file);
        }
        let (imports, rescans) = (Arc::new(Semaphore::new(1)), Semaphore::new(2));
        Ok(Self { scanner, imports, rescans, rescanning: Mutex::default() })
    }
}

/// Reads again what was read by other rules, one version after the other, until all is up to date.
async fn scan_outdated(service: &Service) -> Result<(), ServiceError> {
    let Scans { scanner, rescans, rescanning, .. } = &service.scans;
    let Ok(_place) = rescans.try_acquire() else { return Ok(()) };
    let _only_one = rescanning.lock().await;
    loop {
        // They may change while this goes on.
        let rules = scanner.rules();
        let mut reader = service.store.reader().await?;
        let Some(outdated) = store::scans::next_outdated(&mut reader, &rules).await? else { return Ok(()) };
        let plugins = store::plugins::list(&mut reader).await?;
        drop(reader);
        let Some(plugin) = plugins.iter().find(|plugin| plugin.id == outdated.plugin) else { return Ok(()) };
        let verdict = refresh(service, Actor::Service, &plugin.name, &outdated, Reason::Own).await?;
        if verdict >= Verdict::Suspicious {
            warn!(plugin.name = %plugin.name, version = %outdated.version, %verdict,
                "The code of `{}` looks {verdict} by the present rules", plugin.name);
        } else {
            info!(plugin.name = %plugin.name, version = %outdated.version, %verdict, "Code was read by the present rules");
        }
    }
}

/// Reads again what is installed, when rules may be newer than what is stored: at the start, and with new advisories.
pub(crate) fn start_scans(service: &Arc<Service>) {
    let scanned = Arc::clone(service);
    service.shutdown.spawn("scans", |token| async move {
        if let Some(Err(error)) = token.run_until_cancelled(scan_outdated(&scanned)).await {
            error!(error = %Chain(&error), "Failed to read the code of installed plugins again");
        }
    });
}
