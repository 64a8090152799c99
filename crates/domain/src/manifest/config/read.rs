//! Reads `config_schema` in both of its forms and checks the schema that comes out.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::work::Budget;
use super::{Checker, ConfigSchema, DRAFT, Secret, bounds, field};
use crate::escape;
use crate::manifest::Origin;
use crate::yaml::{self, Place};

/// Reads the schema; `None` if it cannot be used, with the reasons noted.
pub(in crate::manifest) fn read(place: &Place<'_>, mistakes: &yaml::Mistakes, origin: Origin) -> Option<ConfigSchema> {
    let before = mistakes.count();
    let is_schema = is_json_schema(place);
    let (schema, secrets) = if is_schema { json_schema(place, origin)? } else { field_map(place, origin) };
    let source = place.json()?;
    if mistakes.count() > before {
        return None;
    }
    if origin == Origin::Accepted {
        return Some(ConfigSchema { source, schema, secrets });
    }
    if let Err(why) = bounds::weigh(&schema) {
        place.fail(why);
        return None;
    }
    // A fault below `/properties` of a field map stands directly below `config_schema` in the text.
    let strip = if is_schema { "" } else { "/properties" };
    for error in jsonschema::draft202012::meta::validator().iter_errors(&schema) {
        let pointer = error.instance_path().as_str();
        let place = place.find(pointer.strip_prefix(strip).unwrap_or(pointer));
        place.fail(escape(&error.to_string()));
    }
    if mistakes.count() > before {
        return None;
    }
    let found = ConfigSchema { source, schema, secrets };
    check_defaults(&found, place, strip);
    (mistakes.count() == before).then_some(found)
}

fn is_json_schema(place: &Place<'_>) -> bool {
    let yaml::Value::Map(entries) = &place.node().value else { return false };
    entries.iter().any(|entry| {
        let is_object = matches!(&entry.node.value, yaml::Value::Scalar(scalar) if scalar.text == "object");
        entry.key == "$schema" || (entry.key == "type" && is_object)
    })
}

type Parts = (Value, BTreeMap<String, Secret>);

fn json_schema(place: &Place<'_>, origin: Origin) -> Option<Parts> {
    let schema = place.json()?;
    if schema.get("$schema").is_some_and(|dialect| dialect != DRAFT) {
        place.find("/$schema").fail(format!("only `{DRAFT}` is read"));
    }
    if schema.get("type") != Some(&json!("object")) {
        place.find("/type").fail("a configuration is a map: `type` must be `object`");
    }
    let mut secrets = BTreeMap::new();
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        let pointer = format!("/properties/{}", yaml::pointer_token(name));
        let place = place.find(&pointer);
        let secret = place.some_fields().and_then(|fields| field::read_secret(&fields, origin));
        let hidden = property.get("writeOnly") == Some(&Value::Bool(true));
        let Some(secret) = secret.or(hidden.then(Secret::delivered)) else { continue };
        if property.get("default").is_some() {
            place.fail_key("default", "a secret has no default: everyone who has the archive could read it");
        }
        if property.get("type") != Some(&json!("string")) {
            place.fail("a secret is of type string");
        }
        secrets.insert(name.clone(), secret);
    }
    Some((schema, secrets))
}

fn field_map(place: &Place<'_>, origin: Origin) -> Parts {
    let mut properties = Map::new();
    let mut required = Vec::new();
    let mut secrets = BTreeMap::new();
    for (name, inner) in place.map() {
        if name.starts_with("x-") {
            continue;
        }
        if !is_field_name(name) {
            let shown = escape(name);
            place.fail_key(name, format!("`{shown}` is not a field name; expected up to 63 letters, digits, `-`, `_`"));
        }
        let Some(field) = field::read(&inner, origin) else { continue };
        if field.required {
            required.push(name);
        }
        if let Some(secret) = field.secret {
            secrets.insert(name.to_owned(), secret);
        }
        properties.insert(name.to_owned(), field.schema);
    }
    let schema = json!({
        "$schema": DRAFT,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    (schema, secrets)
}

fn is_field_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        && name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
}

/// A default that its own schema refuses could never be used.
fn check_defaults(config: &ConfigSchema, place: &Place<'_>, strip: &str) {
    let checker = match Checker::new(&config.schema) {
        Ok(checker) => checker,
        Err(why) => return place.fail(why),
    };
    let mut budget = Budget::of(&checker, &config.schema, Budget::MAX_STEPS);
    for (name, default) in config.defaults() {
        let pointer = format!("/{}", yaml::pointer_token(&name));
        let instance = Value::Object(Map::from_iter([(name, default)]));
        let errors = match checker.errors_within(&mut budget, &instance) {
            Ok(errors) => errors,
            Err(why) => return place.fail(format!("the defaults are not checked: {why}")),
        };
        // Other fields are missing here on purpose; only what is said about this one counts.
        if let Some(error) = errors.into_iter().find(|error| error.instance_path().as_str().starts_with(&pointer)) {
            let at = format!("/properties{pointer}/default");
            place
                .find(at.strip_prefix(strip).unwrap_or(&at))
                .fail(format!("the default does not fit its own field: {}", escape(&error.to_string())));
        }
    }
}
