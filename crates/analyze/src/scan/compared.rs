//! Compares what the code uses with what plugin.yaml asks for. The sandbox refuses what was not granted, so that a
//! difference is a note: the author forgot a line, or asks for more than is needed.

use std::collections::BTreeMap;

use plugbay_domain::{Access, HostFunction, HostNeed, Permission, Runtime};

use super::declared::Declared;
use super::hit::{Hit, MAX_HITS_IN_FILE};
use crate::capability::Capability;
use crate::model::{Analysis, Call, Module, Place};
use crate::verdict::Verdict;

/// What uses a permission.
struct Evidence {
    permission: Permission,
    path: String,
    place: Place,
    what: String,
}

/// Differences between code and manifest. Only Python is read, so that there is nothing to compare for other runtimes.
pub(super) fn hits(analysis: &Analysis, declared: &Declared, manifest: &str) -> Vec<Hit> {
    if declared.runtime != Some(Runtime::Python) {
        return Vec::new();
    }
    let own = || analysis.modules.iter().filter(|module| !module.path.starts_with("vendor/"));
    let evidence: Vec<Evidence> = own().flat_map(of_module).collect();
    let mut hits = Vec::new();
    let mut told: BTreeMap<(Permission, &str), usize> = BTreeMap::new();
    for found in &evidence {
        let is_asked = match found.permission {
            Permission::Plugins => {
                !declared.requires.is_empty() || declared.permissions.contains(&Permission::AdminAccess)
            }
            permission => declared.permissions.contains(&permission),
        };
        let count = told.entry((found.permission, &found.path)).or_default();
        *count += 1;
        if !is_asked && *count <= MAX_HITS_IN_FILE {
            hits.push(used_not_declared(found));
        }
    }
    // Names that only running the file tells may be those of host functions.
    let is_open = own()
        .any(|module| module.makes_names || module.uses.iter().any(|used| used.capability == Capability::DynamicCode));
    let brings_network = analysis.modules.iter().any(uses_network);
    let is_used = |permission: Permission| match permission {
        Permission::AdminAccess => evidence.iter().any(|found| found.permission == Permission::Plugins),
        Permission::NetworkAccess if brings_network => true,
        Permission::ChatAccess if own().any(handles_chat) => true,
        // One function reads and writes, depending on what it is given.
        Permission::FilesystemRead | Permission::FilesystemWrite => {
            own().any(|module| module.uses.iter().any(|used| used.capability == Capability::Files))
        }
        permission => evidence.iter().any(|found| found.permission == permission),
    };
    for permission in declared.permissions.iter().copied().filter(|permission| !is_open && !is_used(*permission)) {
        hits.push(declared_not_used(permission, manifest));
    }
    hits
}

fn used_not_declared(found: &Evidence) -> Hit {
    let name = found.permission.as_str();
    let how = match found.permission {
        Permission::Plugins => "List the plugin under `requires`, or remove the call.".to_owned(),
        _ => format!("List `{name}` under `permissions` or `optional_permissions`, or remove the call."),
    };
    Hit {
        rule: "used-not-declared".to_owned(),
        verdict: Verdict::Notes,
        path: found.path.clone(),
        place: Some(found.place),
        what: format!("`{}` needs `{name}`", found.what),
        reason: "The code uses what plugin.yaml does not ask for; the sandbox refuses it.".to_owned(),
        how,
    }
}

fn declared_not_used(permission: Permission, manifest: &str) -> Hit {
    let name = permission.as_str();
    Hit {
        rule: "declared-not-used".to_owned(),
        verdict: Verdict::Notes,
        path: "plugin.yaml".to_owned(),
        place: place_of(name, manifest),
        what: format!("nothing in the code uses `{name}`"),
        reason: "A permission that is not used only serves an attacker who gets hold of the plugin.".to_owned(),
        how: format!("Remove `{name}` from plugin.yaml."),
    }
}

/// Where a word stands in plugin.yaml, outside of comments.
fn place_of(word: &str, manifest: &str) -> Option<Place> {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    manifest.lines().enumerate().find_map(|(number, line)| {
        let code = line.split(" #").next().filter(|code| !code.trim_start().starts_with('#'))?;
        let at = code.match_indices(word).map(|(at, _)| at).find(|at| {
            let before = code[..*at].chars().next_back().is_some_and(is_part);
            let after = code[at + word.len()..].chars().next().is_some_and(is_part);
            !before && !after
        })?;
        let column = code[..at].chars().count() + 1;
        Some(Place { line: u32::try_from(number + 1).ok()?, column: u32::try_from(column).ok()? })
    })
}

fn uses_network(module: &Module) -> bool {
    module.uses.iter().any(|used| used.capability == Capability::Network)
        || module.calls.iter().any(|call| permission_of_call(call) == Some(Permission::NetworkAccess))
}

fn handles_chat(module: &Module) -> bool {
    let is_handler = |name: &str| matches!(name, "on_message" | "on_command" | "on_reply");
    let methods = module.classes.iter().flat_map(|class| &class.methods);
    module.functions.iter().chain(methods).any(|function| is_handler(&function.name))
}

/// What in a file uses permissions.
fn of_module(module: &Module) -> Vec<Evidence> {
    let evidence = |permission, place, what: &str| Evidence {
        permission,
        path: module.path.clone(),
        place,
        what: what.to_owned(),
    };
    let network = module.uses.iter().filter(|used| used.capability == Capability::Network);
    let mut found: Vec<Evidence> =
        network.map(|used| evidence(Permission::NetworkAccess, used.place, &used.what)).collect();
    for call in &module.calls {
        let permission = permission_of_call(call).or_else(|| permission_of_file(call));
        found.extend(permission.map(|permission| evidence(permission, call.place, &call.callee)));
    }
    found
}

/// What a host function needs that is called, such as `self.host.http.fetch`.
fn permission_of_call(call: &Call) -> Option<Permission> {
    let (_, function) =
        call.callee.rsplit_once("host.").filter(|(before, _)| before.is_empty() || before.ends_with('.'))?;
    // `transaction` is made of `db.execute`.
    let function = if function == "db.transaction" { "db.execute" } else { function };
    Some(match HostFunction::of(function) {
        HostFunction::Unknown => return None,
        function => match function.need() {
            HostNeed::Nothing => return None,
            HostNeed::Network => Permission::NetworkAccess,
            HostNeed::Database(Access::Read) => Permission::DatabaseRead,
            HostNeed::Database(Access::Write) => Permission::DatabaseWrite,
            HostNeed::Api => Permission::ApiAccess,
            HostNeed::Chat => Permission::ChatAccess,
            HostNeed::Plugin => Permission::Plugins,
            HostNeed::Admin => Permission::AdminAccess,
        },
    })
}

/// What opening a file of an operator's folder needs.
fn permission_of_file(call: &Call) -> Option<Permission> {
    let name = call.callee.as_str();
    let opens = matches!(name, "builtins.open" | "io.open" | "codecs.open");
    let changes =
        ["os.remove", "os.unlink", "os.mkdir", "os.makedirs", "os.rename", "os.replace", "os.rmdir", "shutil.rmtree"];
    let reads = ["os.listdir", "os.scandir", "os.walk", "glob.glob", "pathlib.Path"];
    let path = call.texts.first()?;
    if !path.starts_with("/mnt/") {
        return None;
    }
    if changes.contains(&name) {
        return Some(Permission::FilesystemWrite);
    }
    let mode = call.keywords.get("mode").cloned().flatten().or_else(|| call.arguments.get(1).cloned().flatten());
    let mode = mode.as_ref().and_then(|mode| mode.as_text());
    match (opens, mode) {
        (true, Some(mode)) if mode.contains(['w', 'a', 'x', '+']) => Some(Permission::FilesystemWrite),
        (true, _) => Some(Permission::FilesystemRead),
        _ => reads.contains(&name).then_some(Permission::FilesystemRead),
    }
}
