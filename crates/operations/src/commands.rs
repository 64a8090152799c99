//! Commands of the chat: each belongs to one enabled plugin at most.

use plugbay_domain::{Code, Manifest, Plugin};
use plugbay_fleet::PluginProblem;
use plugbay_registry::Installed;
use plugbay_store::WriteTransaction;

use crate::{Service, ServiceError};

/// Refuses to enable a plugin whose command another enabled plugin has.
pub(crate) async fn check_commands(
    service: &Service,
    plugin: &Plugin,
    manifest: &Manifest,
) -> Result<(), ServiceError> {
    if manifest.commands.is_empty() {
        return Ok(());
    }
    refuse_taken(&service.registry.snapshot().await?, plugin, manifest)
}

/// The same in the transaction that lets a version of an enabled plugin serve, so that of two plugins that are
/// enabled at once only one gets the command.
pub(crate) async fn claim_commands(
    service: &Service,
    tx: &mut WriteTransaction,
    plugin: &Plugin,
    manifest: &Manifest,
) -> Result<(), ServiceError> {
    if manifest.commands.is_empty() || !plugin.is_enabled() {
        return Ok(());
    }
    refuse_taken(&service.registry.snapshot_in(tx).await?, plugin, manifest)
}

fn refuse_taken(installed: &Installed, plugin: &Plugin, manifest: &Manifest) -> Result<(), ServiceError> {
    for other in installed.enabled().filter(|other| other.plugin.id != plugin.id) {
        let theirs = other.manifest()?;
        let is_theirs = |name: &str| theirs.commands.iter().any(|their| their.name == name);
        if let Some(taken) = manifest.commands.iter().find(|own| is_theirs(&own.name)) {
            let (command, name, other) = (&taken.name, &plugin.name, &other.plugin.name);
            let detail = format!("`{command}` of `{name}` is a command of the enabled plugin `{other}` already");
            let how = format!("plugbay disable {other}, or rename `{command}` in plugin.yaml");
            return Err(PluginProblem::new(Code::CommandTaken, detail).with_how(how).into());
        }
    }
    Ok(())
}
