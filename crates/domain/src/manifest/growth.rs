//! What a newer manifest asks for beyond an older one. Grants are carried over only where that is nothing.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Effect, Manifest, OnFailure, chat};
use crate::{NetworkRule, Permission};

/// The difference between two manifests, in words for whoever decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Growth {
    /// What was not asked for before, such as `network_access`, `host api.example.com:443`, `memory_mb 512`.
    pub added: Vec<String>,
    /// What is not asked for any more.
    pub removed: Vec<String>,
}

impl Growth {
    /// What a manifest asks for beyond an older one.
    pub(super) fn between(older: &Manifest, newer: &Manifest) -> Self {
        Self { added: beyond(newer, older), removed: beyond(older, newer) }
    }

    /// Tells whether an administrator has to decide again.
    pub fn asks_more(&self) -> bool {
        !self.added.is_empty()
    }
}

/// Every permission that a manifest declares, the optional ones last.
fn declared(manifest: &Manifest) -> impl Iterator<Item = Permission> + '_ {
    manifest.permissions.iter().chain(&manifest.optional_permissions).copied()
}

/// With `network_access` and no list every public host is asked for.
fn wants_every_host(manifest: &Manifest) -> bool {
    manifest.declares(Permission::NetworkAccess) && manifest.network.is_empty()
}

/// Everything `manifest` has that `base` does not cover.
fn beyond(manifest: &Manifest, base: &Manifest) -> Vec<String> {
    let mut found = Vec::new();
    for permission in declared(manifest) {
        if !base.declares(permission) {
            found.push(permission.to_string());
        } else if manifest.permissions.contains(&permission) && !base.permissions.contains(&permission) {
            // It may have been denied while it was optional.
            found.push(format!("{permission} (required)"));
        }
    }
    hosts(manifest, base, &mut found);
    access(manifest, base, &mut found);
    let edges = manifest.requires.keys().filter(|name| !base.requires.contains_key(name));
    found.extend(edges.map(|name| format!("requires {name}")));
    hooks_and_commands(manifest, base, &mut found);
    chat::beyond(manifest.chat.as_ref(), base.chat.as_ref(), &mut found);
    if manifest.runtime != base.runtime {
        found.push(format!("runtime {}", manifest.runtime));
    }
    if manifest.image != base.image {
        found.push(format!("image {}", manifest.image.as_deref().unwrap_or("of the runtime")));
    }
    tools(manifest, base, &mut found);
    limits(manifest, base, &mut found);
    secrets(manifest, base, &mut found);
    found
}

/// Named hosts count even after "every public host": only a named host can be one of the operator's private ones.
fn hosts(manifest: &Manifest, base: &Manifest, found: &mut Vec<String>) {
    if wants_every_host(manifest) && !wants_every_host(base) {
        found.push("every public host".to_owned());
    }
    let is_new = |rule: &&NetworkRule| !base.network.iter().any(|known| known.covers(rule));
    found.extend(manifest.network.iter().filter(is_new).map(|rule| format!("host {rule}")));
}

fn access(manifest: &Manifest, base: &Manifest, found: &mut Vec<String>) {
    for permission in declared(manifest).filter(|permission| Permission::NARROWABLE.contains(permission)) {
        let known = base.access.get(&permission);
        let had_all = base.declares(permission) && known.is_none();
        match manifest.access.get(&permission) {
            None if base.declares(permission) && !had_all => found.push(format!("{permission} everywhere")),
            Some(names) if !had_all => {
                let is_new = |name: &&String| !known.is_some_and(|known| known.contains(name));
                found.extend(names.iter().filter(is_new).map(|name| format!("{permission} {name}")));
            }
            _ => {}
        }
    }
}

fn hooks_and_commands(manifest: &Manifest, base: &Manifest, found: &mut Vec<String>) {
    for hook in &manifest.hooks {
        match base.hooks.iter().find(|known| known.name == hook.name) {
            None => found.push(format!("hook {}", hook.name)),
            Some(known) => {
                if hook.on_failure == OnFailure::Block && known.on_failure != OnFailure::Block {
                    found.push(format!("hook {} that can block", hook.name));
                }
                if hook.effect != known.effect && hook.effect != Effect::Observe {
                    found.push(format!("hook {} with effect {}", hook.name, hook.effect));
                }
            }
        }
    }
    let known: BTreeSet<&str> = base.commands.iter().map(|command| command.name.as_str()).collect();
    let added = manifest.commands.iter().filter(|command| !known.contains(command.name.as_str()));
    found.extend(added.map(|command| format!("command {}", command.name)));
}

/// Every change of a tool counts: models read its texts, and tokens that only read go by its annotations.
fn tools(manifest: &Manifest, base: &Manifest, found: &mut Vec<String>) {
    let known = base.tools();
    for tool in manifest.tools().offered(None) {
        match known.offered(None).iter().find(|known| known.name == tool.name) {
            None => found.push(format!("tool {}", tool.name)),
            Some(known) if known != tool => found.push(format!("changed tool {}", tool.name)),
            Some(_) => {}
        }
    }
}

/// What the operator's defaults are is not known here, so a limit that begins or ends to be written down counts.
fn limits(manifest: &Manifest, base: &Manifest, found: &mut Vec<String>) {
    let (new, old) = (&manifest.resources, &base.resources);
    let mut compare = |name: &str, grows: bool, shown: Option<String>| {
        if grows {
            found.push(format!("{name} {}", shown.as_deref().unwrap_or("by default")));
        }
    };
    for (name, new, old) in [
        ("memory_mb", new.memory_mb, old.memory_mb),
        ("cpu_shares", new.cpu_shares, old.cpu_shares),
        ("pids", new.pids, old.pids),
        ("tmp_mb", new.tmp_mb, old.tmp_mb),
        ("data_mb", new.data_mb, old.data_mb),
        ("timeout_seconds", new.timeout_seconds, old.timeout_seconds),
        ("max_concurrency", new.max_concurrency, old.max_concurrency),
        ("max_streams", new.max_streams, old.max_streams),
    ] {
        compare(name, grows(new, old), new.map(|value| value.to_string()));
    }
    compare("cpus", grows(new.cpus, old.cpus), new.cpus.map(|value| value.to_string()));
}

fn grows<T: PartialOrd>(new: Option<T>, old: Option<T>) -> bool {
    match (new, old) {
        (Some(new), Some(old)) => new > old,
        (None, None) => false,
        _ => true,
    }
}

/// A secret that an operator has set for some hosts must not go to others by an update.
fn secrets(manifest: &Manifest, base: &Manifest, found: &mut Vec<String>) {
    let (Some(new), Some(old)) = (&manifest.config_schema, &base.config_schema) else { return };
    for (name, secret) in new.secrets() {
        let Some(known) = old.secrets().get(name) else { continue };
        if secret.deliver && !known.deliver {
            found.push(format!("secret {name} delivered to the plugin"));
        }
        let is_new = |rule: &&NetworkRule| !known.hosts.iter().any(|known| known.covers(rule));
        found.extend(secret.hosts.iter().filter(is_new).map(|rule| format!("secret {name} sent to {rule}")));
        // Where it was sent nowhere, the hosts say it.
        if !secret.hosts.is_empty() && !known.hosts.is_empty() && secret.header() != known.header() {
            found.push(format!("secret {name} sent as {}", secret.header()));
        }
    }
}
