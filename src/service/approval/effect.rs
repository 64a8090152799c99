//! What follows from decisions for a plugin that runs. Live parts are swapped in one value that host functions read;
//! what a sandbox has open needs a fresh one, and a plugin that lost what it requires is stopped.

use std::sync::Arc;

use tokio::time::Instant;

use crate::domain::{Code, Grants, Permission, PluginName, PluginRef, Standing};
use crate::registry::PluginChange;
use crate::sandbox::{FolderMount, Network};
use crate::service::fleet::{FirstStart, Member, STOP_GRACE};
use crate::service::{PluginProblem, Service, ServiceError};
use crate::session::Session;

impl Service {
    /// Reads the decisions about a plugin and makes them hold for what runs of it.
    pub(in crate::service) async fn refresh_grants(&self, member: &Member) -> Result<Standing, ServiceError> {
        // Two readers must not store in the other order: an older state would bring a revoked grant back.
        let _refreshing = member.refreshing.lock().await;
        let unknown = || ServiceError::PluginUnknown { wanted: member.name.to_string() };
        let installed = self.registry.find_installed(&PluginRef::Id(member.id)).await?.ok_or_else(unknown)?;
        let standing = installed.standing(self.now())?;
        member.reach().grant(standing.grants());
        Ok(standing)
    }

    /// Lets a change of decisions take effect.
    pub(in crate::service) async fn apply_grants(
        self: &Arc<Self>,
        change: &PluginChange<'_>,
    ) -> Result<(), ServiceError> {
        let plugin = &change.plugin;
        let member = self.member(plugin.id, &plugin.name);
        let standing = self.refresh_grants(&member).await?;
        let is_wanted = plugin.should_run();
        if !member.is_supervised() {
            if is_wanted && standing.is_complete() && self.is_verified() {
                self.supervise(&member, FirstStart::Resumed);
            }
        } else if !standing.is_complete() {
            member.stop(Instant::now() + STOP_GRACE).await;
        } else {
            member.renew(|session| self.is_outdated(&member, session));
        }
        Ok(())
    }

    /// Tells whether a sandbox has something open that the plugin may not have, or lacks what it may, or has not got the
    /// present configuration.
    pub(in crate::service) fn is_outdated(&self, member: &Member, session: &Session) -> bool {
        session.config_revision() < member.config_revision() || self.is_open_wrongly(member, session)
    }

    /// The same for what a sandbox has open.
    pub(in crate::service) fn is_open_wrongly(&self, member: &Member, session: &Session) -> bool {
        let (reach, spec) = (member.reach(), session.spec());
        let grants = reach.grants.load();
        let network = if grants.network().is_some() { Network::Proxied } else { Network::None };
        network != spec.network || self.folders(&member.name, &grants).map_or(true, |folders| folders != spec.folders)
    }

    /// The folders of the machine that a plugin with these grants sees.
    pub(in crate::service) fn folders(
        &self,
        name: &PluginName,
        grants: &Grants,
    ) -> Result<Vec<FolderMount>, ServiceError> {
        let known = &self.config.resources.folders;
        for permission in [Permission::FilesystemRead, Permission::FilesystemWrite] {
            check_known(name, permission, "folders", grants, |folder| known.contains_key(folder))?;
        }
        let mount = |(folder, config): (&String, &crate::config::FolderConfig)| {
            let (name, source) = (folder.clone(), config.path.clone());
            grants.folder(folder).map(|access| FolderMount { name, source, access })
        };
        Ok(known.iter().filter_map(mount).collect())
    }

    /// Refuses grants for resources that the operator has not named.
    pub(in crate::service) fn check_resources(&self, name: &PluginName, grants: &Grants) -> Result<(), ServiceError> {
        for FolderMount { name: folder, source, .. } in self.folders(name, grants)? {
            if !source.is_dir() {
                let detail =
                    format!("`{name}` was granted the folder `{folder}`, and `{}` is no folder", source.display());
                return Err(PluginProblem::new(Code::ResourceUnknown, detail).into());
            }
        }
        let resources = &self.config.resources;
        for permission in [Permission::DatabaseRead, Permission::DatabaseWrite] {
            check_known(name, permission, "databases", grants, |known| resources.databases.contains_key(known))?;
        }
        check_known(name, Permission::ApiAccess, "apis", grants, |known| resources.apis.contains_key(known))
    }
}

fn check_known(
    name: &PluginName,
    permission: Permission,
    key: &str,
    grants: &Grants,
    is_known: impl Fn(&str) -> bool,
) -> Result<(), ServiceError> {
    let Some(unknown) = grants.names(permission).find(|resource| !is_known(resource)) else { return Ok(()) };
    let detail = format!("`{name}` was granted `{permission}:{unknown}`, and `resources.{key}` has no `{unknown}`");
    let how = format!(
        "name `{unknown}` under resources.{key} in plugbay.yaml and restart, or: plugbay revoke {name} {permission}:{unknown}"
    );
    Err(PluginProblem::new(Code::ResourceUnknown, detail).with_how(how).into())
}

/// Why a plugin must not run, if anything it requires is not granted.
pub(in crate::service) fn permissions_problem(name: &PluginName, standing: &Standing) -> Option<PluginProblem> {
    let texts = |requests: &[crate::domain::PermissionRequest]| {
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
