//! Configuration of plugins: what operators set, checked against the schema of the version that serves, sealed where it
//! is secret, and brought to what runs.
//!
//! What holds is the schema's default, else config.yaml's, else what is stored. Values that hold anyway are not stored.

mod apply;
mod bind;
mod checks;
mod ground;
mod pending;
mod proposal;

use std::collections::BTreeMap;
use std::sync::Arc;

use semver::Version;
use serde_json::{Map, Value, json};

pub(super) use checks::{Checked, Checks};
pub(super) use ground::Ground;

use self::ground::HeldSecret;
use self::proposal::{Change, Proposal};
use super::{Caller, Service, ServiceError, UpdateOutcome};
use crate::domain::{ConfigFindings, FieldError, Plugin};
use crate::registry::InstalledPlugin;
use crate::store;
use crate::store::configs::{ConfigRecord, NewSecret, SealedSecret};

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

/// Why a version waits.
#[derive(Debug)]
pub struct PendingConfig {
    /// The version.
    pub version: Version,
    /// What may be set for it.
    pub schema: Option<Value>,
    /// What it does not accept, and what it lacks.
    pub errors: Vec<FieldError>,
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

impl Service {
    /// The configuration of a plugin, without its secrets.
    pub async fn show_config(&self, caller: &Caller, wanted: &str) -> Result<ConfigView, ServiceError> {
        let installed = self.registry.installed(self.find_plugin(caller, wanted).await?).await?;
        let record = self.config_record(&installed.plugin).await?;
        self.config_view(&installed, &record).await
    }

    /// Replaces the configuration of a plugin. A version that waits for one that it accepts starts to serve with it.
    pub async fn set_config(
        self: &Arc<Self>,
        caller: &Caller,
        wanted: &str,
        condition: &IfMatch,
        fields: Map<String, Value>,
    ) -> Result<ConfigView, ServiceError> {
        self.change_config(caller, wanted, condition, Change::Replace(fields)).await
    }

    /// Forgets what is set for one field.
    pub async fn unset_config(
        self: &Arc<Self>,
        caller: &Caller,
        wanted: &str,
        condition: &IfMatch,
        field: String,
    ) -> Result<ConfigView, ServiceError> {
        self.change_config(caller, wanted, condition, Change::Unset(field)).await
    }

    /// What [`Service::set_config`] would answer, without doing it.
    pub async fn validate_config(
        &self,
        caller: &Caller,
        wanted: &str,
        fields: Map<String, Value>,
    ) -> Result<ConfigView, ServiceError> {
        let installed = self.registry.installed(self.find_plugin(caller, wanted).await?).await?;
        let record = self.config_record(&installed.plugin).await?;
        let decided = self.decide(&installed, &record, &Change::Replace(fields)).await?;
        let (ground, proposal) = (&decided.ground, &decided.proposal);
        let mut secrets = BTreeMap::new();
        for (field, _) in ground.secrets() {
            let is_kept = !proposal.forgotten.contains(field) && ground.has(&record, field)?;
            secrets.insert(field.clone(), is_kept || proposal.new.contains_key(field));
        }
        Ok(view(ground, record.revision, &proposal.values, secrets, proposal.findings.missing.clone()))
    }

    async fn change_config(
        self: &Arc<Self>,
        caller: &Caller,
        wanted: &str,
        condition: &IfMatch,
        change: Change,
    ) -> Result<ConfigView, ServiceError> {
        let plugin = self.find_plugin(caller, wanted).await?;
        let change = Box::pin(self.try_change_config(caller, &plugin, condition, change));
        self.registry.attempt(caller, "config.set_refused", Some(&plugin.name), json!({}), change).await
    }

    async fn try_change_config(
        self: &Arc<Self>,
        caller: &Caller,
        plugin: &Plugin,
        condition: &IfMatch,
        change: Change,
    ) -> Result<ConfigView, ServiceError> {
        let mut changing = self.change(caller, plugin).await?;
        let installed = changing.installed().await?;
        let record = self.config_record(&installed.plugin).await?;
        if !condition.admits(record.revision) {
            return Err(ServiceError::EtagMismatch { revision: record.revision });
        }
        let Decided { proposal, starts, .. } = self.decide(&installed, &record, &change).await?;
        let (id, mut update) = (changing.plugin.id, None);
        if starts || proposal.changes() {
            let mut tx = changing.begin().await?;
            let revision = store::configs::set_values(&mut tx, id, &proposal.values).await?;
            for (field, HeldSecret { value, policies }) in &proposal.new {
                let secret = NewSecret { plugin: id, field, revision, policies, value };
                store::configs::set_secret(&mut tx, &self.sealing_key, secret).await?;
            }
            for field in &proposal.forgotten {
                store::configs::delete_secret(&mut tx, id, field).await?;
            }
            changing.commit(tx, "config.set", proposal.detail(revision)).await?;
        }
        if starts {
            update = Some(self.serve_pending(caller, &mut changing).await?);
        } else if proposal.changes() {
            self.apply_config(&changing, proposal.is_seen).await?;
        }
        let installed = changing.installed().await?;
        let record = self.config_record(&installed.plugin).await?;
        Ok(ConfigView { update, ..self.config_view(&installed, &record).await? })
    }

    /// Finds the version that the change is for, and refuses it where none accepts it.
    async fn decide(
        &self,
        installed: &InstalledPlugin,
        record: &ConfigRecord,
        change: &Change,
    ) -> Result<Decided, ServiceError> {
        let waiting = match self.ready_pending(installed).await? {
            Some(version) => {
                let ground = self.ground(version)?;
                let proposal = self.propose(&ground, record, change).await?;
                Some((ground, proposal))
            }
            None => None,
        };
        let serving = self.ground(installed.serving())?;
        if let Change::Unset(field) = change {
            let is_known = |ground: &Ground| ground.schema().is_some_and(|schema| schema.knows(field));
            let is_set = record.values.contains_key(field) || record.secret(field).is_some();
            if !is_set && !is_known(&serving) && !waiting.as_ref().is_some_and(|(ground, _)| is_known(ground)) {
                return Err(ServiceError::ConfigFieldUnknown { field: crate::domain::escape(field) });
            }
        }
        let waiting = match waiting {
            Some((ground, proposal)) if proposal.findings.is_fit() => {
                self.prepare_pending(installed).await?;
                return Ok(Decided { ground, proposal, starts: true });
            }
            Some((_, proposal)) => Some(proposal.findings),
            None => None,
        };
        let proposal = self.propose(&serving, record, change).await?;
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
    async fn propose(&self, ground: &Ground, record: &ConfigRecord, change: &Change) -> Result<Proposal, ServiceError> {
        let mut proposal = Proposal::make(ground, record, change, &self.sealing_key)?;
        let found = self.check_values(ground, &proposal.values, std::mem::take(&mut proposal.held)).await?;
        proposal.findings.missing.extend(found.missing);
        proposal.findings.invalid.splice(0..0, found.invalid);
        Ok(proposal)
    }

    /// What is set for a plugin.
    async fn config_record(&self, plugin: &Plugin) -> Result<ConfigRecord, ServiceError> {
        Ok(store::configs::find(&mut *self.store.reader().await?, plugin.id).await?)
    }

    async fn config_view(
        &self,
        installed: &InstalledPlugin,
        record: &ConfigRecord,
    ) -> Result<ConfigView, ServiceError> {
        let ground = self.ground(installed.serving())?;
        let is_set = |(field, _): (&String, _)| Ok::<_, ServiceError>((field.clone(), ground.has(record, field)?));
        let secrets = ground.secrets().map(is_set).collect::<Result<_, _>>()?;
        let missing = self.missing_values(&ground, record).await?;
        let pending = self.pending_config(installed, record).await?;
        Ok(ConfigView { pending, ..view(&ground, record.revision, &record.values, secrets, missing) })
    }

    /// Required fields of the serving version without a value.
    pub(super) async fn missing_config(&self, installed: &InstalledPlugin) -> Result<Vec<String>, ServiceError> {
        self.missing_values(&self.ground(installed.serving())?, &self.config_record(&installed.plugin).await?).await
    }

    /// Refuses to start a plugin that lacks required values, or whose stored ones do not fit.
    pub(super) async fn check_config(&self, installed: &InstalledPlugin) -> Result<(), ServiceError> {
        let version = installed.serving();
        let findings = self.findings(&self.ground(version)?, &self.config_record(&installed.plugin).await?).await?;
        if findings.is_fit() {
            Ok(())
        } else if findings.invalid.is_empty() {
            Err(incomplete(installed, &findings))
        } else {
            let (name, version) = (installed.plugin.name.clone(), version.version.clone());
            Err(ServiceError::ConfigInvalid { name, version, fields: findings.fields() })
        }
    }

    /// What a version finds wrong with what is stored.
    async fn findings(&self, ground: &Ground, record: &ConfigRecord) -> Result<ConfigFindings, ServiceError> {
        self.check_values(ground, &record.values, self.open_secrets(record)?).await
    }

    fn open_secrets(&self, record: &ConfigRecord) -> Result<ground::Held, ServiceError> {
        let open = |secret: &SealedSecret| {
            let (value, policies) = (secret.open(&self.sealing_key)?, secret.policies()?);
            Ok((secret.field.clone(), HeldSecret { value, policies }))
        };
        record.secrets.iter().map(open).collect()
    }
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

fn incomplete(installed: &InstalledPlugin, findings: &ConfigFindings) -> ServiceError {
    let (name, missing) = (installed.plugin.name.clone(), findings.missing.clone());
    ServiceError::ConfigIncomplete { name, missing, fields: findings.missing_fields() }
}
