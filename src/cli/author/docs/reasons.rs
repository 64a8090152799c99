//! Permissions, with what they give and what in the plugin needs them.

use std::collections::BTreeSet;

use super::collect::Source;
use super::page::{Block, Inline, code, text};
use crate::analyze::Capability;
use crate::domain::{HostFunction, HostNeed, Permission, PermissionRequest};

/// Reasons that are told of one permission.
const MOST: usize = 6;

/// A table of all permissions, and the hosts.
pub(super) fn permissions(source: &Source<'_>) -> Vec<Block> {
    let requested = source.manifest.requested();
    let rows = |asked: &[PermissionRequest], is_required: bool| {
        let row = |request: &PermissionRequest| {
            let needed = if is_required { "required" } else { "optional" };
            let mut asked = vec![code(request.permission.to_string())];
            asked.extend(named(source, request));
            vec![asked, vec![text(needed)], vec![text(gives(request.permission))], why(source, request.permission)]
        };
        asked.iter().map(row).collect::<Vec<_>>()
    };
    let all = [rows(&requested.required, true), rows(&requested.optional, false)].concat();
    if all.is_empty() {
        return Vec::new();
    }
    vec![Block::Table(vec!["Permission", "", "Gives", "Because of"], all)]
}

/// What it is narrowed to.
fn named(source: &Source<'_>, request: &PermissionRequest) -> Vec<Inline> {
    let names: Vec<String> = match request.permission {
        Permission::NetworkAccess => source.manifest.network.iter().map(ToString::to_string).collect(),
        _ => request.scope.clone(),
    };
    let name =
        |(place, name): (usize, &String)| [Inline::Text(if place == 0 { ": " } else { ", " }.to_owned()), code(name)];
    names.iter().enumerate().flat_map(name).collect()
}

fn gives(permission: Permission) -> &'static str {
    match permission {
        Permission::FilesystemRead => "reads folders that the operator names",
        Permission::FilesystemWrite => "writes to folders that the operator names",
        Permission::NetworkAccess => "reaches these hosts, or every public one where none is named",
        Permission::DatabaseRead => "reads databases that the operator names",
        Permission::DatabaseWrite => "changes databases that the operator names",
        Permission::ApiAccess => "calls APIs that the operator names, with the operator's credentials",
        Permission::ChatAccess => "reads and writes messages of the chat",
        Permission::AdminAccess => "lists and calls every plugin",
        Permission::Plugins => "calls this other plugin",
    }
}

/// Names in plugin.yaml and in the code for which it is needed.
fn why(source: &Source<'_>, permission: Permission) -> Vec<Inline> {
    let mut found: BTreeSet<String> = BTreeSet::new();
    if permission == Permission::ChatAccess {
        found.extend(source.manifest.hooks.iter().map(|hook| hook.name.as_str().to_owned()));
        found.extend(source.manifest.commands.iter().map(|command| command.name.clone()));
    }
    let own = source.analysis.modules.iter().filter(|module| !module.path.starts_with("vendor/"));
    for module in own {
        for call in &module.calls {
            let Some((_, function)) = call.callee.rsplit_once("host.") else { continue };
            if needs(function, permission) {
                found.insert(function.to_owned());
            }
        }
        let capability = match permission {
            Permission::NetworkAccess => Capability::Network,
            Permission::FilesystemRead | Permission::FilesystemWrite => Capability::Files,
            _ => continue,
        };
        found.extend(module.uses.iter().filter(|used| used.capability == capability).map(|used| used.what.clone()));
    }
    let shown = found.iter().take(MOST).enumerate();
    shown
        .flat_map(|(place, name)| {
            let gap = (place > 0).then(|| Inline::Text(", ".to_owned()));
            gap.into_iter().chain([code(name)])
        })
        .collect()
}

fn needs(function: &str, permission: Permission) -> bool {
    use crate::domain::Access;
    let function = HostFunction::of(function);
    let needed: &[Permission] = match function.need() {
        HostNeed::Network => &[Permission::NetworkAccess],
        HostNeed::Database(Access::Read) => &[Permission::DatabaseRead],
        HostNeed::Database(Access::Write) => &[Permission::DatabaseWrite],
        HostNeed::Api => &[Permission::ApiAccess],
        HostNeed::Chat => &[Permission::ChatAccess],
        HostNeed::Plugin => &[Permission::Plugins, Permission::AdminAccess],
        HostNeed::Admin if function != HostFunction::Unknown => &[Permission::AdminAccess],
        HostNeed::Nothing | HostNeed::Admin => &[],
    };
    needed.contains(&permission)
}
