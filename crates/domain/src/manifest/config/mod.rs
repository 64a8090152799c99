//! `config_schema`: what an operator can set, as a JSON Schema however the author wrote it.
//!
//! It is a JSON Schema object where it has `$schema`, or where its `type` is the word `object`. Otherwise it is a field
//! map: a field called `type` would be a map, never a word.

mod bounds;
mod defaults;
mod field;
mod read;
mod secret;
#[cfg(test)]
mod tests;
mod work;

use std::collections::{BTreeMap, HashMap};

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

pub(super) use field::{FIELD_KEYS, SECRET_KEYS};
pub(super) use read::read;
pub use secret::{Secret, SecretPolicies};

pub(super) use bounds::{Weight, weigh};
pub(super) use work::Budget;

use self::work::{TooMuchWork, find_patterns};
use super::FieldType;
use crate::{FieldError, escape, yaml};

/// The dialect of every schema here.
pub(super) const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// What an operator can set.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigSchema {
    source: Value,
    schema: Value,
    secrets: BTreeMap<String, Secret>,
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

    /// The names of its fields.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.properties().into_iter().flatten().map(|(name, _)| name.as_str())
    }

    fn properties(&self) -> Option<&Map<String, Value>> {
        self.schema.get("properties")?.as_object()
    }

    /// Whether the schema names the field.
    pub fn knows(&self, field: &str) -> bool {
        self.properties().is_some_and(|properties| properties.contains_key(field))
    }

    /// Checks a whole configuration. Values are not repeated in the messages: some are secret.
    pub fn check(&self, config: &Value) -> ConfigFindings {
        let mut findings = ConfigFindings::default();
        let checker = match Checker::new(&self.schema) {
            Ok(checker) => checker,
            Err(why) => return ConfigFindings::unchecked(why),
        };
        let errors = match checker.errors(&self.schema, config) {
            Ok(errors) => errors,
            Err(why) => return ConfigFindings::unchecked(why.to_string()),
        };
        for error in errors {
            match error.kind() {
                ValidationErrorKind::Required { property: Value::String(name) }
                    if error.instance_path().as_str().is_empty() =>
                {
                    findings.missing.push(name.clone());
                }
                ValidationErrorKind::AdditionalProperties { unexpected } => {
                    let within = error.instance_path().as_str();
                    let field = |name: &String| {
                        FieldError::at(format!("{within}/{}", yaml::pointer_token(name)), "there is no such field")
                    };
                    findings.invalid.extend(unexpected.iter().map(field));
                }
                _ => findings.invalid.push(FieldError::at(error.instance_path().as_str(), message(&error))),
            }
        }
        findings
    }
}

/// What is wrong with a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigFindings {
    /// Values that the schema refuses.
    pub invalid: Vec<FieldError>,
    /// Required fields without a value.
    pub missing: Vec<String>,
}

impl ConfigFindings {
    fn unchecked(why: String) -> Self {
        Self { invalid: vec![FieldError::at("", why)], missing: Vec::new() }
    }

    /// Tells whether a plugin can run with the configuration.
    pub fn is_fit(&self) -> bool {
        self.invalid.is_empty() && self.missing.is_empty()
    }

    /// Fields without a value, as single mistakes.
    pub fn missing_fields(&self) -> Vec<FieldError> {
        let pointer = |name: &String| format!("/{}", yaml::pointer_token(name));
        self.missing.iter().map(|name| FieldError::at(pointer(name), "required")).collect()
    }

    /// Everything as single mistakes.
    pub fn fields(&self) -> Vec<FieldError> {
        let mut fields = self.invalid.clone();
        fields.extend(self.missing_fields());
        fields
    }
}

/// What is wrong with one value, without the value.
pub(super) fn message(error: &ValidationError<'_>) -> String {
    let ValidationErrorKind::Type { kind } = error.kind() else { return escape(&error.masked().to_string()) };
    let expected = match kind {
        TypeKind::Single(expected) => expected.to_string(),
        TypeKind::Multiple(expected) => expected.iter().map(|one| one.to_string()).collect::<Vec<_>>().join(" or "),
    };
    format!("expected {expected}, found {}", type_of(error.instance()))
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Mistakes that are told of one value.
const MAX_ERRORS: usize = 100;

/// Steps of a check up to which all mistakes are looked for; beyond, the first one is told. The validator makes all of them
/// before it gives the first, some hundred bytes for each step at the most.
const MAX_COLLECTED_STEPS: u64 = 20_000;

/// A compiled schema.
pub(super) struct Checker {
    validator: jsonschema::Validator,
    /// What each pattern costs.
    patterns: HashMap<String, u64>,
}

impl Checker {
    /// Compiles a schema. Patterns run in linear time: a backtracking engine would let a plugin stop the service.
    pub(super) fn new(schema: &Value) -> Result<Self, String> {
        let patterns = jsonschema::PatternOptions::regex().size_limit(1 << 20).dfa_size_limit(1 << 20);
        let validator = jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .with_pattern_options(patterns)
            .build(schema)
            .map_err(|error| format!("not a usable JSON Schema: {}", escape(&error.to_string())))?;
        Ok(Self { validator, patterns: find_patterns(schema) })
    }

    /// What is wrong with the value. Refuses to look where that would take too long.
    fn errors<'v>(&'v self, schema: &Value, value: &'v Value) -> Result<Vec<ValidationError<'v>>, TooMuchWork> {
        self.errors_within(&mut Budget::of(self, schema, Budget::MAX_STEPS), value)
    }

    /// Whether anything is wrong with it.
    pub(super) fn fits_within(&self, budget: &mut Budget<'_>, value: &Value) -> Result<bool, TooMuchWork> {
        budget.spend(value)?;
        Ok(self.validator.is_valid(value))
    }

    /// The same for one of several values that share a budget.
    pub(super) fn errors_within<'v>(
        &'v self,
        budget: &mut Budget<'_>,
        value: &'v Value,
    ) -> Result<Vec<ValidationError<'v>>, TooMuchWork> {
        if budget.spend(value)? > MAX_COLLECTED_STEPS {
            return Ok(self.validator.validate(value).err().into_iter().collect());
        }
        Ok(self.validator.iter_errors(value).take(MAX_ERRORS).collect())
    }
}

impl Serialize for ConfigSchema {
    /// As the author wrote it.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.source.serialize(serializer)
    }
}
