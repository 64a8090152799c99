//! Approval: who may do what to others. Installing grants nothing; an administrator grants, denies and takes back, each
//! decision for the bytes of one archive, and what runs follows at once.

pub(crate) mod decisions;
pub(crate) mod expiry;
pub(crate) mod revoke;

use std::sync::Arc;

use plugbay_domain::{
    Code, Digest, FieldError, Grants, Manifest, PermissionRequest, Plugin, Risk, Standing, Timestamp,
};
use plugbay_fleet::{PluginProblem, authority, changes};
use plugbay_registry::{Caller, InstalledPlugin, Target};
use plugbay_store as store;
use plugbay_store::grants::{AcceptedRisk, EndReason, GrantEnd, GrantRecord};
use plugbay_store::plugins::VersionRecord;
use serde_json::json;

use crate::approve::decisions::Decisions;
use crate::risks::risk_problem;
use crate::{
    RatingChange, Service, ServiceError, UpdateOutcome, configuration, find, pending, rating, ready, risks, scan,
};

/// Longest note, in characters. It is stored with every decision and shown on one line.
const MAX_NOTE: usize = 500;

/// What an administrator decides.
#[derive(Clone, Debug, Default)]
pub struct Approval {
    /// What the plugin may do.
    pub grant: Vec<PermissionRequest>,
    /// What it may not do.
    pub deny: Vec<PermissionRequest>,
    /// Risks that are taken.
    pub accept_risks: Vec<Risk>,
    /// Why, for whoever asks later.
    pub note: Option<String>,
    /// When the grants end.
    pub expires_at: Option<Timestamp>,
    /// The archive that was looked at.
    pub digest: Option<Digest>,
}

/// What came of it.
#[derive(Debug)]
pub struct ApprovalOutcome {
    /// The plugin.
    pub plugin: Plugin,
    /// What the version asks for.
    pub manifest: Arc<Manifest>,
    /// What was decided about it so far.
    pub standing: Standing,
    /// How much trust it needs, before and after.
    pub rating: RatingChange,
    /// The decisions that were made, or ended.
    pub records: Vec<GrantRecord>,
    /// A version that waited for this and serves since.
    pub update: Option<UpdateOutcome>,
}

/// Grants and denies. A version that waited for nothing else starts to serve.
pub async fn approve(
    service: &Arc<Service>,
    caller: &Caller,
    wanted: &str,
    approval: Approval,
) -> Result<ApprovalOutcome, ServiceError> {
    let plugin = find::find_plugin(service, caller, wanted).await?;
    let change = Box::pin(try_approve(service, caller, &plugin, approval));
    service.registry.attempt(caller, "permissions.approve_refused", Some(&plugin.name), json!({}), change).await
}

async fn try_approve(
    service: &Arc<Service>,
    caller: &Caller,
    plugin: &Plugin,
    approval: Approval,
) -> Result<ApprovalOutcome, ServiceError> {
    let now = service.now();
    check_words(&approval, now)?;
    let mut change = find::change(service, caller, plugin).await?;
    let installed = change.installed().await?;
    let (version, carries) = self::wanted(&installed, approval.digest)?;
    let manifest = service.registry.manifest(version)?;
    let target = Target { version, manifest: &manifest, carries };
    let made = Decisions::read(&manifest, &approval.grant, &approval.deny)?;
    let waits = installed.plugin.awaits(&version.version);
    let is_risk = scan::risk_of(service, version).is_some();
    if made.is_empty() && approval.accept_risks.is_empty() && !waits && !is_risk {
        let message = "name something to grant, to deny, or a risk to accept";
        return Err(ServiceError::FieldInvalid { fields: vec![FieldError::at("/grant", message)] });
    }
    let standing = made.standing(&target, &installed.decisions, now);
    let starts = waits && standing.is_complete();
    // New bytes take over what was granted to those before: then all of it is what this decision opens.
    caller.require_reach(&if starts { standing.grants() } else { Grants::of(&made.granted) })?;
    check_risks(service, &installed, &target, &standing, &approval.accept_risks, starts).await?;
    if (starts || !waits) && service.fleet.member(plugin.id, &plugin.name).is_supervised() {
        // What runs would not start again.
        authority::check_resources(&service.fleet, &plugin.name, &standing.grants())?;
    }
    let prepared = if starts { Some(next_step(service, &installed, version, &manifest).await?) } else { None };

    let before = target.standing(&installed.decisions, now).grants();
    let rating = RatingChange {
        before: rating::rating_of(service, version, &manifest, &before),
        after: rating::rating_of(service, version, &manifest, &standing.grants()),
    };
    let by = Decider::of(service, caller);
    let mut tx = change.begin().await?;
    let mut records = Vec::new();
    for (unit, decision) in made.iter() {
        let overlapped = |row: &&GrantRecord| row.digest == version.digest && row.unit.overlaps(unit);
        for row in installed.decisions.iter().filter(overlapped) {
            store::grants::end(&mut tx, row.id, &by.end(EndReason::Replaced, None, now)).await?;
        }
        let expires_at = approval.expires_at.filter(|_| decision == plugbay_domain::Decision::Granted);
        let mut record = GrantRecord {
            id: 0,
            plugin_id: plugin.id,
            digest: version.digest,
            unit: unit.clone(),
            decision,
            by: by.token.clone(),
            label: by.label.clone(),
            at: now,
            note: approval.note.clone(),
            expires_at,
            carried_from: None,
            end: None,
        };
        store::grants::insert(&mut tx, &mut record).await?;
        records.push(record);
    }
    for risk in &approval.accept_risks {
        let (digest, note) = (version.digest, approval.note.clone());
        let accepted =
            AcceptedRisk { risk: *risk, digest, by: by.token.clone(), label: by.label.clone(), at: now, note };
        store::grants::accept(&mut tx, plugin.id, &accepted).await?;
    }
    let mut update = match prepared {
        Some(Next::AwaitConfig) => pending::await_config(service, &installed, &mut change.plugin)?,
        Some(Next::Serve) | None => None,
    };
    change.commit(tx, "permissions.approved", made.detail(version, &approval)).await?;
    if matches!(prepared, Some(Next::Serve)) {
        update = Some(pending::serve_pending(service, caller, &mut change).await?);
    } else if !waits {
        changes::apply_grants(&service.fleet, &change).await?;
    }
    Ok(ApprovalOutcome { plugin: change.plugin, manifest: Arc::clone(&manifest), standing, rating, records, update })
}

/// What follows for a waiting version once everything was decided about it.
async fn next_step(
    service: &Service,
    installed: &InstalledPlugin,
    version: &VersionRecord,
    manifest: &Manifest,
) -> Result<Next, ServiceError> {
    if !configuration::pending_accepts_config(service, installed).await? {
        return Ok(Next::AwaitConfig);
    }
    ready::prepare_start(service, version, manifest).await?;
    Ok(Next::Serve)
}

/// Refuses grants whose risks nobody accepted by name.
async fn check_risks(
    service: &Service,
    installed: &InstalledPlugin,
    target: &Target<'_>,
    standing: &Standing,
    accepts: &[Risk],
    starts: bool,
) -> Result<(), ServiceError> {
    let mut risks = risks::risks_of(service, target.version, target.manifest, &standing.grants()).await?;
    if starts && installed.plugin.signer_changed() {
        risks.push(Risk::SignerChanged);
    }
    let accepted = service.registry.accepted_risks(installed.plugin.id).await?;
    risks.retain(|risk| !accepts.contains(risk) && !target.has_accepted(&accepted, *risk));
    if risks.is_empty() {
        return Ok(());
    }
    Err(risk_problem(Code::RiskNotAccepted, &installed.plugin.name, &risks).into())
}

/// The version that a request is about: the one it names, else the one that waits, else the one that serves.
fn wanted(
    installed: &InstalledPlugin,
    digest: Option<Digest>,
) -> Result<(&VersionRecord, Option<Digest>), ServiceError> {
    let serving = (installed.serving(), None);
    let pending = installed.pending()?;
    match digest {
        None => Ok(pending.unwrap_or(serving)),
        Some(digest) if digest == serving.0.digest => Ok(serving),
        Some(digest) => pending.filter(|(version, _)| version.digest == digest).ok_or_else(|| {
            let name = &installed.plugin.name;
            let detail = match pending {
                Some((waits, _)) => {
                    format!("`{name}` is {} and {} waits, not {digest}", serving.0.digest, waits.digest)
                }
                None => format!("`{name}` is {}, not {digest}", serving.0.digest),
            };
            let how = format!("look at it again: plugbay approve {name}");
            PluginProblem::new(Code::DigestChanged, detail).with_how(how).into()
        }),
    }
}

fn check_words(approval: &Approval, now: Timestamp) -> Result<(), ServiceError> {
    let mut fields = Vec::new();
    if approval.expires_at.is_some_and(|end| end <= now) {
        fields.push(FieldError::at("/expires_at", "the time has passed"));
    }
    fields.extend(note_error(approval.note.as_deref()));
    if fields.is_empty() { Ok(()) } else { Err(ServiceError::FieldInvalid { fields }) }
}

fn note_error(note: Option<&str>) -> Option<FieldError> {
    let count = note.map_or(0, |note| note.chars().count());
    let message = || format!("a note has at most {MAX_NOTE} characters, this one has {count}");
    (count > MAX_NOTE).then(|| FieldError::at("/note", message()))
}

/// What follows for a version about which everything was decided.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// It serves.
    Serve,
    /// It waits for a configuration that it accepts.
    AwaitConfig,
}

/// Who decides, as it is written down.
struct Decider {
    token: String,
    label: String,
}

impl Decider {
    fn of(service: &Service, caller: &Caller) -> Self {
        let label = service.tokens.label_of(caller.token).unwrap_or_default();
        Self { token: caller.token.to_string(), label }
    }

    fn end(&self, reason: EndReason, note: Option<String>, at: Timestamp) -> GrantEnd {
        GrantEnd { at, by: self.token.clone(), reason, note }
    }
}
