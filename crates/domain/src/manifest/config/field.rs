//! One entry of a field map: `endpoint: { type: string, default: …, description: … }`.

use serde_json::{Map, Value};

use super::{FieldType, Secret};
use crate::NetworkRule;
use crate::manifest::Origin;
use crate::yaml::{Fields, Place};

/// The keys of one entry.
pub(in crate::manifest) const FIELD_KEYS: [&str; 19] = [
    "type",
    "required",
    "default",
    "title",
    "description",
    "secret",
    "enum",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "pattern",
    "format",
    "minLength",
    "maxLength",
    "items",
    "minItems",
    "maxItems",
    "properties",
];

/// The keys of `secret`, where it is a map.
pub(in crate::manifest) const SECRET_KEYS: [&str; 3] = ["hosts", "deliver", "header"];

/// The types a keyword says something about; all others would be accepted and never looked at.
fn applies(keyword: &str, kind: FieldType) -> bool {
    match keyword {
        "pattern" | "format" | "minLength" | "maxLength" => kind == FieldType::String,
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => {
            matches!(kind, FieldType::Integer | FieldType::Number)
        }
        "items" | "minItems" | "maxItems" => kind == FieldType::Array,
        "properties" => kind == FieldType::Object,
        _ => true,
    }
}

/// One entry as read.
pub(super) struct Field {
    pub(super) schema: Value,
    pub(super) required: bool,
    pub(super) secret: Option<Secret>,
}

/// Reads one entry and makes its part of the JSON Schema.
pub(super) fn read(place: &Place<'_>, origin: Origin) -> Option<Field> {
    let fields = place.fields(FIELD_KEYS)?;
    let kind = fields.required("type").and_then(|kind| kind.word::<FieldType>());
    let mut schema = Map::new();
    if let Some(kind) = kind {
        schema.insert("type".to_owned(), kind.as_str().into());
        for keyword in FIELD_KEYS.into_iter().filter(|keyword| !applies(keyword, kind)) {
            if fields.get(keyword).is_some() {
                place.fail_key(keyword, format!("`{keyword}` says nothing about a value of type {kind}"));
            }
        }
    }
    for keyword in ["title", "description", "pattern", "format"] {
        if let Some(text) = fields.get(keyword).and_then(|place| place.text().map(ToOwned::to_owned)) {
            schema.insert(keyword.to_owned(), text.into());
        }
    }
    for keyword in ["minLength", "maxLength", "minItems", "maxItems"] {
        if let Some(count) = fields.get(keyword).and_then(|place| place.whole(0..=u64::from(u32::MAX))) {
            schema.insert(keyword.to_owned(), count.into());
        }
    }
    for keyword in
        ["default", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "items", "properties"]
    {
        if let Some(json) = fields.get(keyword).and_then(|place| place.json()) {
            schema.insert(keyword.to_owned(), json);
        }
    }
    let required = fields.get("required").and_then(|place| place.boolean()).unwrap_or(false);
    let secret = read_secret(&fields, origin);
    if let Some(secret) = &secret {
        if kind.is_some_and(|kind| kind != FieldType::String) {
            place.fail_key("secret", "a secret is of type string");
        }
        if fields.get("default").is_some() {
            place.fail_key("default", "a secret has no default: everyone who has the archive could read it");
        }
        schema.insert("writeOnly".to_owned(), true.into());
        schema.insert("secret".to_owned(), serde_json::json!(secret));
    }
    Some(Field { schema: Value::Object(schema), required, secret })
}

/// Reads `secret: true` or `secret: { hosts: […], deliver: false, header: x-api-key }`.
pub(super) fn read_secret(fields: &Fields<'_>, origin: Origin) -> Option<Secret> {
    let place = fields.get("secret")?;
    if matches!(place.node().value, crate::yaml::Value::Scalar(_)) {
        return place.boolean()?.then(Secret::delivered);
    }
    let inner = place.fields(SECRET_KEYS)?;
    let mut hosts = Vec::<NetworkRule>::new();
    for place in inner.list("hosts") {
        let Some(rule) = place.parse::<NetworkRule>() else { continue };
        if origin == Origin::Package && rule.is_for_strangers() {
            place.fail(format!("anybody can have a host that `{rule}` covers; name the hosts that the secret is for"));
        }
        if let Some(instead) = rule.meant_for_this_machine().filter(|_| origin == Origin::Package) {
            place.fail(format!("nothing is sent to `{rule}`, the sandbox itself; for this machine write `{instead}`"));
        }
        hosts.push(rule);
    }
    let deliver = inner.get("deliver").and_then(|place| place.boolean()).unwrap_or(true);
    if !deliver && hosts.is_empty() {
        place.fail("a secret that is neither delivered nor sent to a host is of no use; name `hosts`");
    }
    let header = inner.get("header").and_then(|place| place.parse());
    if header.is_some() && hosts.is_empty() {
        place.fail_key("header", "`header` says nothing about a secret that is sent to no host; name `hosts`");
    }
    Some(Secret { hosts, deliver, header })
}
