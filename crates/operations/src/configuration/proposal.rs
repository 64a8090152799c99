//! What a request would make of a configuration. Nothing here reads or writes.

use std::collections::BTreeSet;

use plugbay_domain::{ConfigFindings, FieldError, SecretPolicies, yaml};
use plugbay_fleet::settings::ground::{Ground, Held, HeldSecret};
use plugbay_store::SealingKey;
use plugbay_store::configs::ConfigRecord;
use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::ServiceError;

/// What is to be done.
#[derive(Clone)]
pub(crate) enum Change {
    /// This is the whole configuration from now on; `null` keeps a secret.
    Replace(Map<String, Value>),
    /// What is set for this field is forgotten.
    Unset(String),
}

/// What comes of it under one version.
pub(crate) struct Proposal {
    /// Plain values to keep.
    pub(crate) values: Map<String, Value>,
    /// Secrets to seal.
    pub(crate) new: Held,
    /// Secrets to forget.
    pub(crate) forgotten: Vec<String>,
    /// All secrets that hold then.
    pub(crate) held: Held,
    /// What is wrong with it: at first what is seen without the schema.
    pub(crate) findings: ConfigFindings,
    /// The plugin itself gets something else than before.
    pub(crate) is_seen: bool,
    changed: BTreeSet<String>,
}

impl Proposal {
    pub(crate) fn make(
        ground: &Ground,
        record: &ConfigRecord,
        change: &Change,
        key: &SealingKey,
    ) -> Result<Self, ServiceError> {
        let (mut values, mut new, mut wrong) = (Map::new(), Held::new(), Vec::new());
        let mut kept = BTreeSet::new();
        match change {
            Change::Unset(field) => {
                values.clone_from(&record.values);
                values.remove(field);
                kept.extend(record.secrets.iter().map(|secret| secret.field.clone()).filter(|held| held != field));
            }
            Change::Replace(fields) => {
                for (field, value) in fields {
                    match value {
                        _ if ground.secret(field).is_none() => {
                            // What holds anyway is not written down: a later version may bring a better default.
                            if ground.default(field) != Some(value) {
                                values.insert(field.clone(), value.clone());
                            }
                        }
                        Value::Null => {
                            kept.insert(field.clone());
                        }
                        Value::String(text) => {
                            let policies = ground.secret(field).map(SecretPolicies::of).unwrap_or_default();
                            let value = SecretString::from(text.as_str());
                            new.insert(field.clone(), HeldSecret { value, policies });
                        }
                        _ => wrong.push(field_error(field, "a secret is of type string")),
                    }
                }
            }
        }
        let mut held = new.clone();
        let mut forgotten = Vec::new();
        for secret in &record.secrets {
            if kept.contains(&secret.field) {
                let (value, policies) = (secret.open(key)?, secret.policies()?);
                held.insert(secret.field.clone(), HeldSecret { value, policies });
            } else if !new.contains_key(&secret.field) {
                forgotten.push(secret.field.clone());
            }
        }
        let findings = ConfigFindings { invalid: wrong, missing: Vec::new() };
        let differs = |field: &&String| values.get(*field) != record.values.get(*field);
        let changed: BTreeSet<String> = values.keys().chain(record.values.keys()).filter(differs).cloned().collect();
        let is_delivered = |field: &String| ground.secret(field).is_none_or(|policy| policy.deliver);
        let is_seen = !changed.is_empty() || new.keys().chain(&forgotten).any(is_delivered);
        Ok(Self { values, new, forgotten, held, findings, is_seen, changed })
    }

    /// Whether anything is to be written down.
    pub(crate) fn changes(&self) -> bool {
        !(self.changed.is_empty() && self.new.is_empty() && self.forgotten.is_empty())
    }

    /// Names for the audit log, never values.
    pub(crate) fn detail(&self, revision: i64) -> Value {
        let (unset, set): (Vec<&String>, Vec<&String>) =
            self.changed.iter().partition(|field| !self.values.contains_key(*field));
        let unset: Vec<&String> = unset.into_iter().chain(&self.forgotten).collect();
        let secrets: Vec<&String> = self.new.keys().collect();
        serde_json::json!({"revision": revision, "set": set, "secrets": secrets, "unset": unset})
    }
}

fn field_error(field: &str, message: &str) -> FieldError {
    FieldError::at(format!("/{}", yaml::pointer_token(field)), message)
}
