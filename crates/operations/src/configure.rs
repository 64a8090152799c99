//! Configuration of plugins: what operators set, checked against the schema of the version that serves, sealed where it
//! is secret, and brought to what runs.
//!
//! What holds is the schema's default, else config.yaml's, else what is stored. Values that hold anyway are not stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use plugbay_domain::{ConfigFindings, Plugin};
use plugbay_fleet::changes;
use plugbay_fleet::settings::ground::{Ground, HeldSecret};
use plugbay_fleet::settings::{checks, ground};
use plugbay_registry::{Caller, InstalledPlugin};
use plugbay_store as store;
use plugbay_store::configs::{ConfigRecord, NewSecret};
use serde_json::{Map, Value, json};

use crate::configuration::proposal::{Change, Proposal};
use crate::configuration::{PendingConfig, incomplete};
use crate::{Service, ServiceError, UpdateOutcome, configuration, find, pending, ready};

/// The configuration of a plugin as it is shown. Secrets are `null` in it.
#[derive(Debug)]
pub struct ConfigView {
    /// Counts the changes, for `ETag`.
    pub revision: i64,
    /// The values that hold.
    pub config: Map<String, Value>,
    /// Which secrets are set.
    pub secrets: BTreeMap<String, bool>,
    /// What may be set, if anything.
    pub schema: Option<Value>,
    /// Required fields without a value.
    pub missing: Vec<String>,
    /// A version that waits for another configuration.
    pub pending: Option<PendingConfig>,
    /// A version that waited for this and serves since.
    pub update: Option<UpdateOutcome>,
}

/// What a caller has seen before it asks for a change.
#[derive(Clone, Debug)]
pub enum IfMatch {
    /// Whatever there is.
    Any,
    /// One of these tags.
    Tags(Vec<String>),
}

impl IfMatch {
    fn admits(&self, revision: i64) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => tags.iter().any(|tag| *tag == revision.to_string()),
        }
    }
}

/// The configuration of a plugin, without its secrets.
pub async fn show_config(service: &Service, caller: &Caller, wanted: &str) -> Result<ConfigView, ServiceError> {
    let installed = service.registry.installed(find::find_plugin(service, caller, wanted).await?).await?;
    let record = configuration::config_record(service, &installed.plugin).await?;
    config_view(service, &installed, &record).await
}

/// Replaces the configuration of a plugin. A version that waits for one that it accepts starts to serve with it.
pub async fn set_config(
    service: &Arc<Service>,
    caller: &Caller,
    wanted: &str,
    condition: &IfMatch,
    fields: Map<String, Value>,
) -> Result<ConfigView, ServiceError> {
    change_config(service, caller, wanted, condition, Change::Replace(fields)).await
}

/// Forgets what is set for one field.
pub async fn unset_config(
    service: &Arc<Service>,
    caller: &Caller,
    wanted: &str,
    condition: &IfMatch,
    field: String,
) -> Result<ConfigView, ServiceError> {
    change_config(service, caller, wanted, condition, Change::Unset(field)).await
}

/// What [`set_config`] would answer, without doing it.
pub async fn validate_config(
    service: &Service,
    caller: &Caller,
    wanted: &str,
    fields: Map<String, Value>,
) -> Result<ConfigView, ServiceError> {
    let installed = service.registry.installed(find::find_plugin(service, caller, wanted).await?).await?;
    let record = configuration::config_record(service, &installed.plugin).await?;
    let decided = decide(service, &installed, &record, &Change::Replace(fields)).await?;
    let (ground, proposal) = (&decided.ground, &decided.proposal);
    let mut secrets = BTreeMap::new();
    for (field, _) in ground.secrets() {
        let is_kept = !proposal.forgotten.contains(field) && ground.has(&record, field)?;
        secrets.insert(field.clone(), is_kept || proposal.new.contains_key(field));
    }
    Ok(view(ground, record.revision, &proposal.values, secrets, proposal.findings.missing.clone()))
}

async fn change_config(
    service: &Arc<Service>,
    caller: &Caller,
    wanted: &str,
    condition: &IfMatch,
    change: Change,
) -> Result<ConfigView, ServiceError> {
    let plugin = find::find_plugin(service, caller, wanted).await?;
    let change = Box::pin(try_change_config(service, caller, &plugin, condition, change));
    service.registry.attempt(caller, "config.set_refused", Some(&plugin.name), json!({}), change).await
}

async fn try_change_config(
    service: &Arc<Service>,
    caller: &Caller,
    plugin: &Plugin,
    condition: &IfMatch,
    change: Change,
) -> Result<ConfigView, ServiceError> {
    let mut changing = find::change(service, caller, plugin).await?;
    let installed = changing.installed().await?;
    let record = configuration::config_record(service, &installed.plugin).await?;
    if !condition.admits(record.revision) {
        return Err(ServiceError::EtagMismatch { revision: record.revision });
    }
    let Decided { proposal, starts, .. } = decide(service, &installed, &record, &change).await?;
    let (id, mut update) = (changing.plugin.id, None);
    if starts || proposal.changes() {
        let mut tx = changing.begin().await?;
        let revision = store::configs::set_values(&mut tx, id, &proposal.values).await?;
        for (field, HeldSecret { value, policies }) in &proposal.new {
            let secret = NewSecret { plugin: id, field, revision, policies, value };
            store::configs::set_secret(&mut tx, &service.sealing_key, secret).await?;
        }
        for field in &proposal.forgotten {
            store::configs::delete_secret(&mut tx, id, field).await?;
        }
        changing.commit(tx, "config.set", proposal.detail(revision)).await?;
    }
    if starts {
        update = Some(pending::serve_pending(service, caller, &mut changing).await?);
    } else if proposal.changes() {
        changes::apply_config(&service.fleet, &changing, proposal.is_seen).await?;
    }
    let installed = changing.installed().await?;
    let record = configuration::config_record(service, &installed.plugin).await?;
    Ok(ConfigView { update, ..config_view(service, &installed, &record).await? })
}

/// Finds the version that the change is for, and refuses it where none accepts it.
async fn decide(
    service: &Service,
    installed: &InstalledPlugin,
    record: &ConfigRecord,
    change: &Change,
) -> Result<Decided, ServiceError> {
    let waiting = match configuration::ready_pending(service, installed).await? {
        Some(version) => {
            let ground = ground::ground(&service.fleet, version)?;
            let proposal = propose(service, &ground, record, change).await?;
            Some((ground, proposal))
        }
        None => None,
    };
    let serving = ground::ground(&service.fleet, installed.serving())?;
    if let Change::Unset(field) = change {
        let is_known = |ground: &Ground| ground.schema().is_some_and(|schema| schema.knows(field));
        let is_set = record.values.contains_key(field) || record.secret(field).is_some();
        if !is_set && !is_known(&serving) && !waiting.as_ref().is_some_and(|(ground, _)| is_known(ground)) {
            return Err(ServiceError::ConfigFieldUnknown { field: plugbay_domain::escape(field) });
        }
    }
    let waiting = match waiting {
        Some((ground, proposal)) if proposal.findings.is_fit() => {
            ready::prepare_pending(service, installed).await?;
            return Ok(Decided { ground, proposal, starts: true });
        }
        Some((_, proposal)) => Some(proposal.findings),
        None => None,
    };
    let proposal = propose(service, &serving, record, change).await?;
    let name = &installed.plugin.name;
    if !proposal.findings.invalid.is_empty() {
        // Whoever sets something for the version that waits has to learn what is wrong with it there.
        let version = installed.plugin.pending.as_ref().filter(|_| waiting.is_some());
        let fields = waiting.as_ref().map_or_else(|| proposal.findings.invalid.clone(), ConfigFindings::fields);
        let version = version.map_or(&installed.plugin.serving, |pending| &pending.version).clone();
        return Err(ServiceError::ConfigInvalid { name: name.clone(), version, fields });
    }
    if installed.plugin.is_enabled() && !proposal.findings.missing.is_empty() {
        return Err(incomplete(installed, &proposal.findings));
    }
    Ok(Decided { ground: serving, proposal, starts: false })
}

/// What the change makes of the configuration of one version.
async fn propose(
    service: &Service,
    ground: &Ground,
    record: &ConfigRecord,
    change: &Change,
) -> Result<Proposal, ServiceError> {
    let mut proposal = Proposal::make(ground, record, change, &service.sealing_key)?;
    let found =
        checks::check_values(&service.fleet, ground, &proposal.values, std::mem::take(&mut proposal.held)).await?;
    proposal.findings.missing.extend(found.missing);
    proposal.findings.invalid.splice(0..0, found.invalid);
    Ok(proposal)
}

async fn config_view(
    service: &Service,
    installed: &InstalledPlugin,
    record: &ConfigRecord,
) -> Result<ConfigView, ServiceError> {
    let ground = ground::ground(&service.fleet, installed.serving())?;
    let is_set = |(field, _): (&String, _)| Ok::<_, ServiceError>((field.clone(), ground.has(record, field)?));
    let secrets = ground.secrets().map(is_set).collect::<Result<_, _>>()?;
    let missing = checks::missing_values(&service.fleet, &ground, record).await?;
    let pending = configuration::pending_config(service, installed, record).await?;
    Ok(ConfigView { pending, ..view(&ground, record.revision, &record.values, secrets, missing) })
}

/// The version that a change is for, and what comes of it.
struct Decided {
    ground: Ground,
    proposal: Proposal,
    /// The version waited for this.
    starts: bool,
}

fn view(
    ground: &Ground,
    revision: i64,
    set: &Map<String, Value>,
    secrets: BTreeMap<String, bool>,
    missing: Vec<String>,
) -> ConfigView {
    let mut config = ground.in_force(set);
    config.extend(secrets.keys().map(|field| (field.clone(), Value::Null)));
    let schema = ground.schema().map(|schema| schema.to_json_schema().clone());
    ConfigView { revision, config, secrets, schema, missing, pending: None, update: None }
}
