//! Which words the members of answers and requests may have, for the published description: a client can switch over them.
//!
//! Answers carry texts, so that a client of an older description still reads those of a newer service; the sets are
//! closed for each version of the description.

use plugbay_domain::{
    Decision, HookName, Isolation, Permission, PluginState, PluginType, Priority, QuarantineReason, Risk, Role, Scope,
    SignatureStatus, Word,
};
use utoipa::openapi::schema::ArrayItems;
use utoipa::openapi::{Components, RefOr, Schema};

const STATUSES: &[&str] = &["installed", "enabled", "disabled", "quarantined"];
const WAITS: &[&str] = &["pending_approval", "pending_config"];
const ENGINES: &[&str] = &["docker", "process"];

/// Adds the words to the schemas.
pub(super) fn add(components: &mut Components) {
    for (schema, member, words) in table() {
        let Some(RefOr::T(schema)) = components.schemas.get_mut(schema) else { continue };
        let values = || Some(words.iter().map(|word| serde_json::Value::from(*word)).collect::<Vec<_>>());
        match member_of(schema, member) {
            Some(Schema::Object(found)) => found.enum_values = values(),
            Some(Schema::Array(found)) => {
                if let ArrayItems::RefOrSchema(items) = &mut found.items
                    && let RefOr::T(Schema::Object(item)) = &mut **items
                {
                    item.enum_values = values();
                }
            }
            _ => {}
        }
    }
}

/// A member of an object, or of one of the objects that it is put together from.
fn member_of<'a>(schema: &'a mut Schema, member: &str) -> Option<&'a mut Schema> {
    let inline = |part: &'a mut RefOr<Schema>| if let RefOr::T(schema) = part { Some(schema) } else { None };
    match schema {
        Schema::Object(object) => object.properties.get_mut(member).and_then(inline),
        Schema::AllOf(parts) => parts.items.iter_mut().filter_map(inline).find_map(|part| member_of(part, member)),
        _ => None,
    }
}

fn all<T: Word>() -> Vec<&'static str> {
    T::ALL.iter().map(|word| word.as_str()).collect()
}

fn table() -> Vec<(&'static str, &'static str, Vec<&'static str>)> {
    let mut table = vec![
        ("Health", "status", vec!["healthy", "degraded"]),
        ("HealthWord", "status", vec!["healthy", "degraded", "unhealthy"]),
        ("PluginSummary", "status", STATUSES.to_vec()),
        ("PluginSummary", "type", all::<PluginType>()),
        ("StatusChanged", "status", STATUSES.to_vec()),
        ("PendingView", "status", WAITS.to_vec()),
        ("Updated", "status", [&["updated", "unchanged"], WAITS].concat()),
        ("Breaker", "state", vec!["closed", "open", "half_open"]),
        ("CallView", "outcome", vec!["ok", "failed", "raised", "timeout", "cancelled", "ended", "refused"]),
        ("LogLine", "stream", vec!["stdout", "stderr", "log", "plugbay"]),
        ("LastUpdateView", "status", vec!["watched", "kept", "rolled_back"]),
        ("System", "signatures", vec!["required", "off"]),
        ("SandboxPlan", "engine", ENGINES.to_vec()),
        ("SandboxView", "engine", ENGINES.to_vec()),
        ("System", "engine", ENGINES.to_vec()),
        ("GrantView", "permission", all::<Permission>()),
        ("DecisionRecord", "decision", all::<Decision>()),
        ("AcceptedRiskView", "risk", all::<Risk>()),
        ("MessageView", "role", all::<Role>()),
        ("HookView", "priority", all::<Priority>()),
        ("HookView", "name", all::<HookName>()),
        ("QuarantineView", "reason", QuarantineReason::ALL.map(QuarantineReason::as_str).to_vec()),
        ("SignatureView", "status", SignatureStatus::ALL.map(SignatureStatus::as_str).to_vec()),
        ("PluginSummary", "signature", SignatureStatus::ALL.map(SignatureStatus::as_str).to_vec()),
    ];
    let scopes = Scope::ALL.map(Scope::as_str).to_vec();
    table.extend(["NewToken", "TokenView"].map(|schema| (schema, "scopes", scopes.clone())));
    let risks = ["Installed", "PendingView", "PermissionsShown", "PluginDetail"];
    table.extend(risks.map(|schema| (schema, "risks", all::<Risk>())));
    let states = [
        ("PluginHealth", "state"),
        ("PluginHealthView", "state"),
        ("PluginSummary", "state"),
        ("StateEvent", "from"),
        ("StateEvent", "to"),
        ("Stats", "status"),
        ("StatusChanged", "state"),
    ];
    table.extend(states.map(|(schema, member)| (schema, member, all::<PluginState>())));
    let isolations = ["PluginSummary", "SandboxView", "System"];
    table.extend(isolations.map(|schema| (schema, "isolation", all::<Isolation>())));
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_table_stands_in_the_document() {
        let document = serde_json::to_value(super::super::openapi::document()).unwrap();
        for (schema, member, words) in table() {
            let schema_of = &document["components"]["schemas"][schema];
            let parts = std::iter::once(schema_of).chain(schema_of["allOf"].as_array().into_iter().flatten());
            let found: Vec<_> = parts.map(|part| &part["properties"][member]).filter(|part| !part.is_null()).collect();
            let is_there = |part: &&serde_json::Value| {
                part["enum"] == serde_json::json!(words) || part["items"]["enum"] == serde_json::json!(words)
            };
            assert!(found.iter().any(is_there), "{schema}.{member}: {found:?}");
        }
    }
}
