//! The schema of arguments or results, compiled when it is first needed and once for all that share the manifest.

use std::fmt;
use std::sync::{Arc, OnceLock};

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::manifest::config::{Budget, Checker, message};
use crate::{FieldError, escape, yaml};

/// Mistakes that are told of one value.
pub const MAX_TOOL_MISTAKES: usize = 20;

/// Bytes of a pointer that is told: names in it are a caller's own.
const MAX_POINTER_BYTES: usize = 256;

/// Steps and bytes of a check that is done at once, in some hundred microseconds.
const FEW_STEPS: u64 = 1_000;
const FEW_BYTES: usize = 16 * 1024;

/// A JSON Schema (draft 2020-12) of an object, within the limits of plugin.yaml.
#[derive(Clone)]
pub struct ToolSchema(Arc<Parts>);

struct Parts {
    schema: Value,
    compiled: OnceLock<Result<Checker, String>>,
}

impl ToolSchema {
    pub(super) fn of(schema: Value) -> Self {
        Self(Arc::new(Parts { schema, compiled: OnceLock::new() }))
    }

    /// The schema.
    pub fn as_json(&self) -> &Value {
        &self.0.schema
    }

    /// Tells whether every object fits.
    pub fn is_any_object(&self) -> bool {
        self.0.schema.as_object().is_some_and(|members| members.len() == 1 && members.contains_key("type"))
    }

    pub(super) fn compiled(&self) -> Result<&Checker, &str> {
        self.0.compiled.get_or_init(|| Checker::new(&self.0.schema)).as_ref().map_err(String::as_str)
    }

    /// Checks JSON text where that is done at once; `None` where it takes longer and needs a thread of its own.
    pub fn check_at_once(&self, json: &str) -> Option<Result<(), Vec<FieldError>>> {
        if json.len() > FEW_BYTES {
            return None;
        }
        let checker = self.0.compiled.get()?.as_ref().ok()?;
        let value = serde_json::from_str(json).ok()?;
        let mut budget = Budget::of(checker, &self.0.schema, FEW_STEPS);
        // Nearly all values fit, and to say so takes a fraction of saying what does not.
        let fits = checker.fits_within(&mut budget, &value).ok()?;
        if fits { Some(Ok(())) } else { Some(told(checker.errors_within(&mut budget, &value).ok()?)) }
    }

    /// Checks JSON text, however long it takes within the steps of a check: half a second at the most.
    pub fn check(&self, json: &str) -> Result<(), Vec<FieldError>> {
        let one = |why: String| vec![FieldError::at("", why)];
        let checker = self.compiled().map_err(|why| one(why.to_owned()))?;
        let value = serde_json::from_str(json).map_err(|error| one(escape(&error.to_string())))?;
        let mut budget = Budget::of(checker, &self.0.schema, Budget::MAX_STEPS);
        let errors = checker.errors_within(&mut budget, &value).map_err(|why| one(why.to_string()))?;
        told(errors)
    }
}

fn told(errors: Vec<ValidationError<'_>>) -> Result<(), Vec<FieldError>> {
    let mut found = Vec::new();
    for error in errors {
        let within = error.instance_path().as_str();
        let below = |name: &str| cut(format!("{within}/{}", yaml::pointer_token(name)));
        match error.kind() {
            ValidationErrorKind::Required { property: Value::String(name) } => {
                found.push(FieldError::at(below(name), "required"));
            }
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                let unknown = |name: &String| FieldError::at(below(name), "there is no such property");
                found.extend(unexpected.iter().take(MAX_TOOL_MISTAKES).map(unknown));
            }
            _ => found.push(FieldError::at(cut(within.to_owned()), message(&error))),
        }
        if found.len() >= MAX_TOOL_MISTAKES {
            break;
        }
    }
    found.truncate(MAX_TOOL_MISTAKES);
    if found.is_empty() { Ok(()) } else { Err(found) }
}

fn cut(mut pointer: String) -> String {
    if pointer.len() > MAX_POINTER_BYTES {
        let end = (0..=MAX_POINTER_BYTES).rev().find(|end| pointer.is_char_boundary(*end)).unwrap_or_default();
        pointer.truncate(end);
        pointer.push('…');
    }
    pointer
}

impl PartialEq for ToolSchema {
    fn eq(&self, other: &Self) -> bool {
        self.0.schema == other.0.schema
    }
}

impl fmt::Debug for ToolSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.schema.fmt(f)
    }
}

impl Serialize for ToolSchema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.schema.serialize(serializer)
    }
}
