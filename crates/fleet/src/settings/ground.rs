//! What may be set for one version of a plugin, and what holds where nothing is set. Nothing here reads or writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use plugbay_domain::{
    ConfigFindings, ConfigSchema, FieldError, Manifest, PluginConfig, PluginName, Secret, SecretPolicies, Secrets, yaml,
};
use plugbay_store::StoreError;
use plugbay_store::configs::ConfigRecord;
use plugbay_store::plugins::VersionRecord;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

use crate::{Fleet, FleetError};

/// Secrets that are set, by field.
pub type Held = BTreeMap<String, HeldSecret>;

/// A secret that is set, with what it was set for.
#[derive(Clone, Debug)]
pub struct HeldSecret {
    /// The secret.
    pub value: SecretString,
    /// What it was set for.
    pub policies: SecretPolicies,
}

/// What a version says about its configuration.
#[derive(Clone, Debug)]
pub struct Ground {
    manifest: Arc<Manifest>,
    /// The schema's defaults, then config.yaml.
    defaults: Map<String, Value>,
}

/// What a stored version says about its configuration.
pub fn ground(fleet: &Fleet, version: &VersionRecord) -> Result<Ground, FleetError> {
    Ground::new(fleet.registry.manifest(version)?, version)
}

impl Ground {
    /// Of a version and its manifest.
    pub fn new(manifest: Arc<Manifest>, version: &VersionRecord) -> Result<Self, FleetError> {
        let mut defaults = manifest.config_schema.as_ref().map(ConfigSchema::defaults).unwrap_or_default();
        if let Some(text) = &version.default_config {
            // It was valid when it came in, so a caller cannot mend it.
            let brought = Manifest::accepted_config(text.as_bytes())
                .map_err(|error| StoreError::bad_row("versions", version.digest, error))?;
            defaults.extend(brought);
        }
        Ok(Self { manifest, defaults })
    }

    /// Whose configuration it is.
    pub fn name(&self) -> &PluginName {
        &self.manifest.name
    }

    /// What may be set, if anything.
    pub fn schema(&self) -> Option<&ConfigSchema> {
        self.manifest.config_schema.as_ref()
    }

    /// What a secret field may be used for.
    pub fn secret(&self, field: &str) -> Option<&Secret> {
        self.schema()?.secrets().get(field)
    }

    /// The fields that are secret.
    pub fn secrets(&self) -> impl Iterator<Item = (&String, &Secret)> {
        self.schema().into_iter().flat_map(ConfigSchema::secrets)
    }

    /// What holds where nothing is set.
    pub fn default(&self, field: &str) -> Option<&Value> {
        self.defaults.get(field)
    }

    /// The plain values that hold.
    pub fn in_force(&self, set: &Map<String, Value>) -> Map<String, Value> {
        let mut values = self.defaults.clone();
        values.extend(set.iter().map(|(field, value)| (field.clone(), value.clone())));
        values
    }

    /// What is wrong with these values and secrets together. `checks::check_values` runs it where it may take its time.
    pub fn check(&self, set: &Map<String, Value>, held: &Held) -> ConfigFindings {
        let at = |field: &String, message: &str| FieldError::at(format!("/{}", yaml::pointer_token(field)), message);
        let Some(schema) = self.schema() else {
            let message = "the plugin has no `config_schema`, so nothing can be set";
            let invalid = set.keys().chain(held.keys()).map(|field| at(field, message)).collect();
            return ConfigFindings { invalid, missing: Vec::new() };
        };
        let (mut values, mut strange) = (self.in_force(set), Vec::new());
        for field in set.keys().filter(|field| self.secret(field).is_some()) {
            // It lies open in the database, so it must not be taken for a secret.
            strange.push(at(field, "it is secret in this version; set it again"));
            values.remove(field);
        }
        for (field, held) in held {
            match self.secret(field) {
                Some(policy) if held.policies.admit(policy) => {
                    values.insert(field.clone(), held.value.expose_secret().into());
                }
                // As if it were not set: this version would do more with it than it was set for.
                Some(_) => {}
                None => strange.push(at(field, "it is no secret in this version; unset it first")),
            }
        }
        let mut findings = schema.check(&Value::Object(values));
        findings.invalid.extend(strange);
        findings
    }

    /// Whether a secret is set that this version may have.
    pub fn has(&self, record: &ConfigRecord, field: &str) -> Result<bool, FleetError> {
        let Some((policy, secret)) = self.secret(field).zip(record.secret(field)) else { return Ok(false) };
        Ok(secret.policies()?.admit(policy))
    }

    /// Everything that the plugin's functions and the plugin itself may use.
    pub(crate) fn plugin_config(&self, record: &ConfigRecord, held: Held) -> PluginConfig {
        let mut secrets = Secrets::default();
        for (field, HeldSecret { value, policies }) in held {
            match self.secret(&field) {
                Some(policy) if policies.admit(policy) => secrets.insert(field, value, policy.clone()),
                _ => secrets.withhold(field, value),
            }
        }
        let mut values = self.in_force(&record.values);
        values.retain(|field, _| self.secret(field).is_none());
        PluginConfig::new(values, secrets)
    }
}
