//! Reads plugin.yaml key by key. Every step notes its mistakes and goes on, so that an author sees all of them at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::Path;

use semver::{Version, VersionReq};

use super::fields::{self, COMMAND, HEALTH, HOOK, MOST, MOST_CPUS, MOST_STREAMS, NETWORK, RESERVED, RESOURCES, ROOT};
use super::kind::{Command, Health, Hook, OnFailure, PluginType, Priority, Runtime};
use super::{Effect, MAX_MANIFEST_BYTES, Manifest, ManifestError, Origin, chat, config, text, tool};
use crate::permission::hint;
use crate::yaml::{self, Fields, Limits, Mistakes, Place};
use crate::{Code, NameError, NetworkRule, Permission, PluginName, Refusal, ResourceRequest, Word, escape};

/// Reads a whole manifest.
pub(super) fn manifest(bytes: &[u8], origin: Origin) -> Result<Manifest, ManifestError> {
    let node = yaml::read(bytes, Limits::bytes(MAX_MANIFEST_BYTES))?;
    let mistakes = Mistakes::default();
    let root = Place::root(&node, &mistakes);
    let found =
        root.fields(fields::names(ROOT).chain(RESERVED)).and_then(|fields| read_root(&fields, &mistakes, origin));
    if let Some(manifest) = found.as_ref().filter(|manifest| origin == Origin::Package && manifest.name.is_address()) {
        let message = format!("`{}` is a word of the service's own addresses; choose another name", manifest.name);
        root.find("/name").fail_as(Code::NameReserved, message);
    }
    match found {
        Some(manifest) if mistakes.count() == 0 => Ok(manifest),
        _ => Err(ManifestError::new(mistakes)),
    }
}

fn read_root(fields: &Fields<'_>, mistakes: &Mistakes, origin: Origin) -> Option<Manifest> {
    for key in RESERVED {
        if fields.get(key).is_some() {
            fields.place().fail_key(key, format!("`{key}` is reserved for a later version of plugbay"));
        }
    }
    let name = fields.required("name").and_then(|place| read_name(&place));
    let version = fields.required("version").and_then(|place| read_version(&place));
    let main = fields.required("main").and_then(|place| checked(&place, text::entry_point));
    let line = |key: &str| Some(fields.get(key)?.line()?.to_owned());
    let by = |key: &str, rule: Rule| checked(&fields.get(key)?, rule);
    let permissions = read_permissions(fields, "permissions");
    let optional_permissions = read_permissions(fields, "optional_permissions");
    for (permission, place) in &optional_permissions {
        if permissions.iter().any(|(required, _)| required == permission) {
            place.fail(format!("`{permission}` stands in `permissions` too; keep it in one of them"));
        }
    }
    let declared: Vec<Permission> = permissions.iter().chain(&optional_permissions).map(|found| found.0).collect();
    let runtime = read_runtime(fields, main.as_deref());
    let required: Vec<Permission> = permissions.iter().map(|found| found.0).collect();
    let chat = chat::read(fields, &required);
    let kind = fields.get("type").and_then(|place| place.word());
    let manifest = Manifest {
        description: fields.get("description").and_then(|place| place.text().map(ToOwned::to_owned)),
        author: line("author"),
        email: by("email", text::email),
        license: by("license", text::license),
        repository: by("repository", text::web_address),
        homepage: by("homepage", text::web_address),
        documentation: by("documentation", text::web_address),
        tags: read_lines(fields, "tags", |text| Ok(text.to_owned())),
        capabilities: read_lines(fields, "capabilities", |text| Ok(text.to_owned())),
        plugbay: fields.get("plugbay").and_then(|place| read_range(&place)),
        python: fields.get("python").and_then(|place| place.parse()),
        kind: kind.or(chat.as_ref().map(|chat| chat.kind.plugin_type())).unwrap_or(PluginType::Extension),
        class: by("class", text::class_name),
        image: by("image", text::operator_name),
        build: line("build"),
        dependencies: read_lines(fields, "dependencies", text::dependency),
        requires: read_requires(fields, name.as_ref()),
        network: read_network(fields, &declared, origin),
        access: read_access(fields, &declared),
        resources: fields.get("resources").map(|place| read_resources(&place)).unwrap_or_default(),
        config_schema: fields.get("config_schema").and_then(|place| config::read(&place, mistakes, origin)),
        chat,
        hooks: read_hooks(fields),
        commands: read_commands(fields),
        health: fields.get("health").and_then(|place| read_health(&place)),
        tools: tool::read(fields, name.as_ref(), origin),
        permissions: permissions.into_iter().map(|found| found.0).collect(),
        optional_permissions: optional_permissions.into_iter().map(|found| found.0).collect(),
        name: name?,
        version: version?,
        main: main?,
        runtime: runtime?,
    };
    Some(manifest)
}

type Rule = fn(&str) -> Result<String, text::Complaint>;

fn checked(place: &Place<'_>, rule: Rule) -> Option<String> {
    rule(place.line()?).map_err(|why| place.fail(why)).ok()
}

fn read_name(place: &Place<'_>) -> Option<PluginName> {
    let noted = |error: NameError| match error.code() {
        Code::NameReserved => place.fail_as(Code::NameReserved, error.to_string()),
        _ => place.fail(error.to_string()),
    };
    place.line()?.parse().map_err(noted).ok()
}

/// Nothing that YAML reads as a number is a version, so its raw text can be judged: `1.10` is refused and not read as 1.1.
fn read_version(place: &Place<'_>) -> Option<Version> {
    const MAX_CHARACTERS: usize = 100;
    let text = &place.scalar("a version")?.text;
    if text.len() > MAX_CHARACTERS {
        place.fail(format!("a version has at most {MAX_CHARACTERS} characters"));
        return None;
    }
    let noted = |error: semver::Error| {
        place.fail(format!("`{}` is not a version ({error}); expected such as `1.0.0`", escape(text)));
    };
    Version::parse(text).map_err(noted).ok()
}

fn read_range(place: &Place<'_>) -> Option<VersionReq> {
    let text = place.line()?;
    let noted = |error: semver::Error| {
        place.fail(format!("`{}` is not a range of versions ({error}); expected such as \"^1.2\"", escape(text)));
    };
    VersionReq::parse(text).map_err(noted).ok()
}

fn read_runtime(fields: &Fields<'_>, main: Option<&str>) -> Option<Runtime> {
    let Some(place) = fields.get("runtime") else {
        let is_python = Path::new(main?).extension().is_some_and(|suffix| suffix == "py");
        return Some(if is_python { Runtime::Python } else { Runtime::Exec });
    };
    let text = place.scalar("a runtime")?.text.as_str();
    if RESERVED.contains(&text) {
        let message = format!("the runtime `{text}` is reserved for a later version of plugbay");
        place.fail_as(Code::RuntimeUnsupported, message);
        return None;
    }
    place.word()
}

/// A list of single lines, each once.
fn read_lines(fields: &Fields<'_>, key: &str, rule: Rule) -> Vec<String> {
    let found = fields.list(key).into_iter().filter_map(|place| Some((checked(&place, rule)?, place))).collect();
    each_once(found)
}

fn each_once<T: Ord + Clone + Display>(found: Vec<(T, Place<'_>)>) -> Vec<T> {
    let mut seen = BTreeSet::new();
    for (value, place) in &found {
        if !seen.insert(value.clone()) {
            place.fail(format!("`{}` stands in the list twice", escape(&value.to_string())));
        }
    }
    found.into_iter().map(|(value, _)| value).collect()
}

fn read_permissions<'a>(fields: &Fields<'a>, key: &str) -> Vec<(Permission, Place<'a>)> {
    let found: Vec<_> = fields.list(key).into_iter().filter_map(|place| Some((permission(&place)?, place))).collect();
    each_once(found.clone());
    found
}

fn permission(place: &Place<'_>) -> Option<Permission> {
    let text = place.line()?;
    let found = Permission::DECLARABLE.into_iter().find(|permission| permission.as_str() == text);
    if text == Permission::Plugins.as_str() {
        place.fail("`plugins` is asked for by `requires`; list the other plugins there");
    } else if found.is_none() {
        place.fail(format!("unknown permission `{}`; {}", escape(text), hint(text, &Permission::DECLARABLE)));
    }
    found
}

fn read_requires(fields: &Fields<'_>, own: Option<&PluginName>) -> BTreeMap<PluginName, VersionReq> {
    let Some(place) = fields.get("requires") else { return BTreeMap::new() };
    let mut found = BTreeMap::new();
    for (key, inner) in place.map() {
        let range = read_range(&inner);
        match key.parse::<PluginName>() {
            Err(error) => place.fail_key(key, error.to_string()),
            Ok(name) if own == Some(&name) => place.fail_key(key, "a plugin cannot require itself"),
            Ok(name) if found.contains_key(&name) => {
                place.fail_key(key, format!("`{name}` stands here twice; `_` reads as `-`"));
            }
            Ok(name) => {
                found.insert(name, range.unwrap_or(VersionReq::STAR));
            }
        }
    }
    found
}

fn read_network(fields: &Fields<'_>, declared: &[Permission], origin: Origin) -> Vec<NetworkRule> {
    let Some(place) = fields.get("network") else { return Vec::new() };
    let Some(inner) = place.fields(fields::names(NETWORK)) else { return Vec::new() };
    if !declared.contains(&Permission::NetworkAccess) {
        place.fail("hosts need the permission `network_access`; list it, or remove `network`");
    }
    let Some(allow) = inner.required("allow") else { return Vec::new() };
    let items = allow.list();
    if items.is_empty() && matches!(&allow.node().value, yaml::Value::List(_)) {
        allow.fail("no hosts are listed; name some, or remove `network` to ask for every public host");
    }
    let rules: Vec<(NetworkRule, _)> = items.into_iter().filter_map(|place| Some((place.parse()?, place))).collect();
    for (rule, place) in rules.iter().filter(|_| origin == Origin::Package) {
        if let Some(instead) = rule.meant_for_this_machine() {
            place.fail(format!("`{rule}` is the sandbox itself, with any grant; for this machine write `{instead}`"));
        }
    }
    each_once(rules)
}

fn read_access(fields: &Fields<'_>, declared: &[Permission]) -> BTreeMap<Permission, Vec<String>> {
    let Some(place) = fields.get("access") else { return BTreeMap::new() };
    let mut found = BTreeMap::new();
    let known = Permission::NARROWABLE.map(Permission::as_str);
    let Some(inner) = place.fields(known) else { return found };
    for permission in Permission::NARROWABLE {
        let Some(names) = inner.get(permission.as_str()) else { continue };
        if !declared.contains(&permission) {
            place.fail_key(permission.as_str(), format!("`{permission}` is not asked for; list it in `permissions`"));
        }
        let items = names.list();
        if items.is_empty() && matches!(&names.node().value, yaml::Value::List(_)) {
            names.fail("no names are listed; name some, or remove the key to ask for all");
        }
        let items = items.into_iter().filter_map(|place| Some((checked(&place, text::operator_name)?, place)));
        found.insert(permission, each_once(items.collect()));
    }
    found
}

fn read_resources(place: &Place<'_>) -> ResourceRequest {
    let Some(fields) = place.fields(fields::names(RESOURCES)) else { return ResourceRequest::default() };
    let whole = |key: &str, least: u64, most: u64| fields.get(key)?.whole(least..=most);
    ResourceRequest {
        memory_mb: whole("memory_mb", 6, MOST),
        cpus: fields.get("cpus").and_then(|place| place.number(0.01..=MOST_CPUS)),
        cpu_shares: whole("cpu_shares", 2, 262_144),
        pids: whole("pids", 1, MOST),
        tmp_mb: whole("tmp_mb", 1, MOST),
        data_mb: whole("data_mb", 1, MOST),
        timeout_seconds: whole("timeout_seconds", 1, MOST),
        max_concurrency: whole("max_concurrency", 1, MOST),
        max_streams: whole("max_streams", 1, MOST_STREAMS),
    }
}

fn read_hooks(fields: &Fields<'_>) -> Vec<Hook> {
    let mut hooks: Vec<Hook> = Vec::new();
    for place in fields.list("hooks") {
        let Some(hook) = read_hook(&place) else { continue };
        if hooks.iter().any(|known| known.name == hook.name) {
            place.fail(format!("`{}` stands in the list twice", hook.name));
        }
        hooks.push(hook);
    }
    hooks
}

fn read_hook(place: &Place<'_>) -> Option<Hook> {
    let mut hook = Hook {
        name: Word::ALL[0],
        priority: Priority::Normal,
        timeout_ms: None,
        on_failure: OnFailure::Ignore,
        effect: Effect::Observe,
    };
    if matches!(place.node().value, yaml::Value::Scalar(_)) {
        hook.name = place.word()?;
        return Some(hook);
    }
    let fields = place.fields(fields::names(HOOK))?;
    let name = fields.required("name").and_then(|place| place.word());
    hook.priority = fields.get("priority").and_then(|place| place.word()).unwrap_or(hook.priority);
    hook.timeout_ms = fields.get("timeout_ms").and_then(|place| place.whole(1..=MOST));
    let effect = fields.get("effect");
    hook.effect = effect.as_ref().and_then(Place::word).unwrap_or(hook.effect);
    let default = if hook.effect == Effect::Decide { OnFailure::Block } else { OnFailure::Ignore };
    hook.on_failure = fields.get("on_failure").and_then(|place| place.word()).unwrap_or(default);
    hook.name = name?;
    if let Some(place) = effect.filter(|_| hook.effect != Effect::Observe && !hook.name.may_intervene()) {
        place.fail(format!("`{}` only tells; expected `observe`", hook.name));
    }
    Some(hook)
}

fn read_commands(fields: &Fields<'_>) -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    for place in fields.list("commands") {
        let Some(inner) = place.fields(fields::names(COMMAND)) else { continue };
        let line = |key: &str| Some(inner.get(key)?.line()?.to_owned());
        let (description, usage) = (line("description"), line("usage"));
        let Some(name) = inner.required("name").and_then(|place| checked(&place, text::command_name)) else { continue };
        if commands.iter().any(|known| known.name == name) {
            place.fail(format!("the command `{name}` stands in the list twice"));
        }
        commands.push(Command { name, description, usage });
    }
    commands
}

fn read_health(place: &Place<'_>) -> Option<Health> {
    let fields = place.fields(fields::names(HEALTH))?;
    Some(Health { interval_seconds: fields.get("interval_seconds")?.whole(1..=MOST)? })
}
