//! Commands of the chat: each belongs to one enabled plugin at most.

use super::{PluginProblem, Service, ServiceError};
use crate::domain::{Code, Manifest, PluginStatus};
use crate::store::plugins::{PluginRecord, VersionRecord};
use crate::store::{self, WriteTransaction};

impl Service {
    /// Refuses to enable a plugin whose command another enabled plugin has.
    pub(super) async fn check_commands(&self, plugin: &PluginRecord, manifest: &Manifest) -> Result<(), ServiceError> {
        if manifest.commands.is_empty() {
            return Ok(());
        }
        let (plugins, versions) = {
            let mut reader = self.store.reader().await?;
            (store::plugins::list(&mut reader).await?, store::plugins::list_versions(&mut reader, None).await?)
        };
        self.compare_commands(plugin, manifest, &plugins, &versions)
    }

    /// The same in the transaction that lets a version of an enabled plugin serve, so that of two plugins that are
    /// enabled at once only one gets the command.
    pub(super) async fn claim_commands(
        &self,
        tx: &mut WriteTransaction,
        plugin: &PluginRecord,
        manifest: &Manifest,
    ) -> Result<(), ServiceError> {
        if manifest.commands.is_empty() || plugin.status != PluginStatus::Enabled {
            return Ok(());
        }
        let plugins = store::plugins::list(tx).await?;
        let versions = store::plugins::list_versions(tx, None).await?;
        self.compare_commands(plugin, manifest, &plugins, &versions)
    }

    fn compare_commands(
        &self,
        plugin: &PluginRecord,
        manifest: &Manifest,
        plugins: &[PluginRecord],
        versions: &[VersionRecord],
    ) -> Result<(), ServiceError> {
        for other in plugins.iter().filter(|other| other.id != plugin.id && other.status == PluginStatus::Enabled) {
            let serves = |version: &&VersionRecord| version.plugin_id == other.id && version.version == other.serving;
            let Some(version) = versions.iter().find(serves) else { continue };
            let theirs = self.registry.manifest(version)?;
            let is_theirs = |name: &str| theirs.commands.iter().any(|their| their.name == name);
            if let Some(taken) = manifest.commands.iter().find(|own| is_theirs(&own.name)) {
                let (command, name, other) = (&taken.name, &plugin.name, &other.name);
                let detail = format!("`{command}` of `{name}` is a command of the enabled plugin `{other}` already");
                let how = format!("plugbay disable {other}, or rename `{command}` in plugin.yaml");
                return Err(PluginProblem::new(Code::CommandTaken, detail).with_how(how).into());
            }
        }
        Ok(())
    }
}
