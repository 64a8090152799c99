//! `config_schema`: what an operator can set, as a JSON Schema however the author wrote it.
//!
//! It is a JSON Schema object where it has `$schema`, or where its `type` is the word `object`. Otherwise it is a field
//! map: a field called `type` would be a map, never a word.

mod bounds;
mod defaults;
mod field;
mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

pub(super) use field::{FIELD_KEYS, SECRET_KEYS};
pub(super) use read::read;

use super::FieldType;
use crate::domain::{FieldError, NetworkRule, escape};

/// The dialect of every schema here.
pub(super) const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// What an operator can set.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigSchema {
    source: Value,
    schema: Value,
    secrets: BTreeMap<String, Secret>,
}

/// How a secret value is treated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Secret {
    /// The only places `http.fetch` may send it to; none where the plugin itself uses it.
    pub hosts: Vec<NetworkRule>,
    /// Whether the plugin gets to see it.
    pub deliver: bool,
}

impl ConfigSchema {
    /// The JSON Schema (draft 2020-12) of the whole configuration.
    pub fn to_json_schema(&self) -> &Value {
        &self.schema
    }

    /// The fields whose values are kept out of answers and logs.
    pub fn secrets(&self) -> &BTreeMap<String, Secret> {
        &self.secrets
    }

    /// What holds where nobody set anything.
    pub fn defaults(&self) -> Map<String, Value> {
        let default = |(name, property): (&String, &Value)| Some((name.clone(), property.get("default")?.clone()));
        self.properties().into_iter().flatten().filter_map(default).collect()
    }

    /// The fields that must have a value before the plugin can be enabled.
    pub fn required(&self) -> Vec<&str> {
        let names = self.schema.get("required").and_then(Value::as_array);
        names.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    fn properties(&self) -> Option<&Map<String, Value>> {
        self.schema.get("properties")?.as_object()
    }

    /// Checks a whole configuration. Values are not repeated in the messages: some are secret.
    pub fn validate(&self, config: &Value) -> Vec<FieldError> {
        match validator(&self.schema) {
            Ok(validator) => validator
                .iter_errors(config)
                .map(|error| FieldError::at(error.instance_path().as_str(), escape(&error.masked().to_string())))
                .collect(),
            Err(why) => vec![FieldError::at("", why)],
        }
    }
}

/// Compiles a schema. Patterns run in linear time: a backtracking engine would let a plugin stop the service.
fn validator(schema: &Value) -> Result<jsonschema::Validator, String> {
    let patterns = jsonschema::PatternOptions::regex().size_limit(1 << 20).dfa_size_limit(1 << 20);
    jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .with_pattern_options(patterns)
        .build(schema)
        .map_err(|error| format!("not a usable JSON Schema: {}", escape(&error.to_string())))
}

impl Serialize for ConfigSchema {
    /// As the author wrote it.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.source.serialize(serializer)
    }
}
