//! What a plugin may do now. Decisions are read here, and swapped in one value that host functions read; what a sandbox
//! has open is compared with them.

use plugbay_domain::{Code, Grants, Permission, PluginName, PluginRef, Standing};
use plugbay_sandbox::{FolderMount, Network};
use plugbay_session::Session;

use crate::{Fleet, FleetError, Member, PluginProblem};

/// Reads the decisions about a plugin and makes them hold for what runs of it.
pub(crate) async fn refresh_grants(fleet: &Fleet, member: &Member) -> Result<Standing, FleetError> {
    // Two readers must not store in the other order: an older state would bring a revoked grant back.
    let _refreshing = member.refreshing.lock().await;
    let unknown = || FleetError::PluginUnknown { wanted: member.name.to_string() };
    let installed = fleet.registry.find_installed(&PluginRef::Id(member.id)).await?.ok_or_else(unknown)?;
    let standing = installed.standing(fleet.now())?;
    member.reach().grant(standing.grants());
    Ok(standing)
}

/// Tells whether a sandbox has something open that the plugin may not have, or lacks what it may, or has not got the
/// present configuration.
pub(crate) fn is_outdated(fleet: &Fleet, member: &Member, session: &Session) -> bool {
    session.config_revision() < member.config_revision() || is_open_wrongly(fleet, member, session)
}

/// The same for what a sandbox has open.
pub(crate) fn is_open_wrongly(fleet: &Fleet, member: &Member, session: &Session) -> bool {
    let (reach, spec) = (member.reach(), session.spec());
    let grants = reach.grants.load();
    let network = if grants.network().is_some() { Network::Proxied } else { Network::None };
    network != spec.network || folders(fleet, &member.name, &grants).map_or(true, |folders| folders != spec.folders)
}

/// The folders of the machine that a plugin with these grants sees.
pub(crate) fn folders(fleet: &Fleet, name: &PluginName, grants: &Grants) -> Result<Vec<FolderMount>, FleetError> {
    let known = &fleet.config.resources.folders;
    for permission in [Permission::FilesystemRead, Permission::FilesystemWrite] {
        check_known(name, permission, "folders", grants, |folder| known.contains_key(folder))?;
    }
    let mount = |(folder, config): (&String, &plugbay_config::FolderConfig)| {
        let (name, source) = (folder.clone(), config.path.clone());
        grants.folder(folder).map(|access| FolderMount { name, source, access })
    };
    Ok(known.iter().filter_map(mount).collect())
}

/// Refuses grants for resources that the operator has not named.
pub fn check_resources(fleet: &Fleet, name: &PluginName, grants: &Grants) -> Result<(), FleetError> {
    for FolderMount { name: folder, source, .. } in folders(fleet, name, grants)? {
        if !source.is_dir() {
            let detail = format!("`{name}` was granted the folder `{folder}`, and `{}` is no folder", source.display());
            return Err(PluginProblem::new(Code::ResourceUnknown, detail).into());
        }
    }
    let resources = &fleet.config.resources;
    for permission in [Permission::DatabaseRead, Permission::DatabaseWrite] {
        check_known(name, permission, "databases", grants, |known| resources.databases.contains_key(known))?;
    }
    check_known(name, Permission::ApiAccess, "apis", grants, |known| resources.apis.contains_key(known))
}

fn check_known(
    name: &PluginName,
    permission: Permission,
    key: &str,
    grants: &Grants,
    is_known: impl Fn(&str) -> bool,
) -> Result<(), FleetError> {
    let Some(unknown) = grants.names(permission).find(|resource| !is_known(resource)) else { return Ok(()) };
    let detail = format!("`{name}` was granted `{permission}:{unknown}`, and `resources.{key}` has no `{unknown}`");
    let how = format!(
        "name `{unknown}` under resources.{key} in plugbay.yaml and restart, or: plugbay revoke {name} {permission}:{unknown}"
    );
    Err(PluginProblem::new(Code::ResourceUnknown, detail).with_how(how).into())
}

/// Why a plugin must not run, if anything it requires is not granted.
pub fn permissions_problem(name: &PluginName, standing: &Standing) -> Option<PluginProblem> {
    let texts = |requests: &[plugbay_domain::PermissionRequest]| {
        requests.iter().map(ToString::to_string).collect::<Vec<String>>()
    };
    let (pending, refused) = (texts(&standing.pending()), texts(&standing.refused()));
    let mut details = Vec::new();
    if !pending.is_empty() {
        let needs = if pending.len() == 1 { "needs" } else { "need" };
        details.push(format!("{} {needs} an administrator's decision", pending.join(", ")));
    }
    if !refused.is_empty() {
        let was = if refused.len() == 1 { "was" } else { "were" };
        details.push(format!("{} {was} denied, and `{name}` does not run without", refused.join(", ")));
    }
    if details.is_empty() {
        return None;
    }
    let flags: Vec<String> = pending.iter().chain(&refused).map(|text| format!("--grant {text}")).collect();
    let how = format!("plugbay approve {name} {}", flags.join(" "));
    Some(PluginProblem::new(Code::PermissionsPending, details.join("; ")).with_how(how))
}
