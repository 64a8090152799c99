//! `config.yaml`: the configuration that a package brings along.

use jsonschema::error::ValidationErrorKind;
use serde_json::{Map, Value};

use super::Checker;
use crate::manifest::{MAX_MANIFEST_BYTES, Manifest, ManifestError};
use crate::yaml::{self, Limits, Mistakes, Place};
use crate::{escape, nearest};

impl Manifest {
    /// Reads the content of config.yaml and checks each value against the manifest's schema. What it leaves out may still
    /// be missing afterwards.
    pub fn read_config(&self, bytes: &[u8]) -> Result<Map<String, Value>, ManifestError> {
        Self::config_values(bytes, |json, root| self.check(json, root))
    }

    /// Reads the content of a config.yaml that [`Manifest::read_config`] has accepted, without checking it again.
    pub fn accepted_config(bytes: &[u8]) -> Result<Map<String, Value>, ManifestError> {
        Self::config_values(bytes, |_, _| {})
    }

    fn config_values(
        bytes: &[u8],
        check: impl FnOnce(&Value, &Place<'_>),
    ) -> Result<Map<String, Value>, ManifestError> {
        let in_file = |error: ManifestError| error.in_file("config.yaml");
        let is_blank = |line: &[u8]| line.trim_ascii().is_empty() || line.trim_ascii().starts_with(b"#");
        if bytes.split(|byte| *byte == b'\n').all(is_blank) {
            return Ok(Map::new());
        }
        let node = yaml::read(bytes, Limits::bytes(MAX_MANIFEST_BYTES)).map_err(|error| in_file(error.into()))?;
        let mistakes = Mistakes::default();
        let root = Place::root(&node, &mistakes);
        root.map();
        let json = root.json();
        if let Some(json) = &json {
            check(json, &root);
        }
        match json {
            Some(Value::Object(config)) if mistakes.count() == 0 => Ok(config),
            _ => Err(in_file(ManifestError::new(mistakes))),
        }
    }

    fn check(&self, json: &Value, root: &Place<'_>) {
        let Some(schema) = &self.config_schema else { return };
        for name in schema.secrets().keys().filter(|name| json.get(name).is_some()) {
            root.fail_key(name, "a secret has no place in the archive: everyone who has it could read it");
        }
        let checker = match Checker::new(schema.to_json_schema()) {
            Ok(checker) => checker,
            Err(why) => return root.fail(why),
        };
        let errors = match checker.errors(schema.to_json_schema(), json) {
            Ok(errors) => errors,
            Err(why) => return root.fail(why.to_string()),
        };
        for error in errors {
            let place = root.find(error.instance_path().as_str());
            match error.kind() {
                ValidationErrorKind::Required { .. } => {}
                ValidationErrorKind::AdditionalProperties { unexpected } => {
                    // Only the top level is known by name here; what is below it may be described by a reference.
                    let known = schema.names().filter(|_| place.pointer().is_empty());
                    let known: Vec<&str> = known.collect();
                    for name in unexpected {
                        place.fail_key(name, unknown_key(name, &known));
                    }
                }
                _ => place.fail(escape(&error.masked().to_string())),
            }
        }
    }
}

fn unknown_key(name: &str, known: &[&str]) -> String {
    let hint = match nearest(name, known.iter().copied()) {
        Some(meant) => format!("; did you mean `{meant}`?"),
        None if known.is_empty() => String::new(),
        None => format!("; config_schema has {}", escape(&known.join(", "))),
    };
    format!("unknown key `{}`{hint}", escape(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Refusal;

    #[test]
    fn defaults_in_a_file_obey_the_schema() {
        let manifest = "name: demo\nversion: 1.0.0\nmain: main.py\nconfig_schema:\n  port: { type: integer, required: true }\n  \
                        key: { type: string, secret: true, required: true }\n";
        let manifest = Manifest::parse(manifest.as_bytes()).unwrap();
        assert!(manifest.read_config(b"# nothing\n").unwrap().is_empty());
        assert_eq!(manifest.read_config(b"port: 80\n").unwrap()["port"], 80);
        let error = manifest.read_config(b"port: x\nkey: hunter2\ncolour: red\n").unwrap_err();
        let pointers: Vec<_> = error.fields().iter().map(|field| field.pointer.as_str()).collect();
        assert_eq!(pointers, ["/port", "/key", "/colour"]);
        assert!(error.to_string().starts_with("config.yaml has 3 mistakes"), "{error}");
        assert!(manifest.read_config(b"[]").is_err());
    }
}
