//! Looking plugins up, as they are shown.

use std::ops::DerefMut;
use std::sync::Arc;

use semver::Version;

use super::approval::grant_warnings;
use super::{Caller, PendingVersion, Requirement, RuntimeView, Service, ServiceError, Signed};
use crate::domain::{
    Manifest, Plugin, PluginName, PluginRef, PluginStatus, ResourceLimits, ResourceRequest, Risk, Standing, TrustedKey,
};
use crate::registry::{InstalledPlugin, PluginChange};
use crate::store::grants::GrantRecord;
use crate::store::plugins::VersionRecord;
use crate::store::{self, Connection, PluginReader};

/// A plugin with everything that is shown of it.
#[derive(Clone, Debug)]
pub struct PluginView {
    /// The plugin.
    pub plugin: Plugin,
    /// The version that serves.
    pub serving: VersionRecord,
    /// Its manifest.
    pub manifest: Arc<Manifest>,
    /// What it gets when it runs.
    pub limits: ResourceLimits,
    /// Who vouches for it.
    pub signed: Signed,
    /// Versions kept, in the order they came in.
    pub versions: Vec<Version>,
    /// What is true of it now.
    pub runtime: RuntimeView,
    /// What was decided about its permissions.
    pub standing: Standing,
    /// The grants that hold.
    pub grants: Vec<GrantRecord>,
    /// What has to be accepted by name; told where a single plugin is shown.
    pub risks: Vec<Risk>,
    /// Required configuration without a value; told where a single plugin is shown.
    pub missing_config: Vec<String>,
    /// What somebody should know.
    pub warnings: Vec<String>,
    /// The version that waits.
    pub pending: Option<PendingVersion>,
    /// Plugins that it requires; told where a single plugin is shown.
    pub requires: Vec<Requirement>,
    /// Plugins that require it; told where a single plugin is shown.
    pub required_by: Vec<PluginName>,
}

/// Which plugins to list.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Only quarantined ones, or only ones that are not.
    pub quarantined: Option<bool>,
    /// Only these wishes; all when empty.
    pub statuses: Vec<PluginStatus>,
    /// Only plugins whose name, description or tags contain this text.
    pub search: Option<String>,
}

/// The versions of a plugin.
#[derive(Clone, Debug)]
pub struct VersionsView {
    /// The plugin.
    pub plugin: Plugin,
    /// Its versions, in the order they came in.
    pub versions: Vec<VersionRecord>,
    /// The highest that ever served.
    pub floor: Version,
}

impl Service {
    /// Every plugin that fits and that the caller may see, by name.
    pub async fn list_plugins(&self, caller: &Caller, listing: &Listing) -> Result<Vec<PluginView>, ServiceError> {
        self.list_where(self.store.reader().await?, listing, |name| caller.may_see(name)).await
    }

    /// Every plugin, by name.
    pub(super) async fn every_plugin(&self, reader: PluginReader) -> Result<Vec<PluginView>, ServiceError> {
        self.list_where(reader, &Listing { quarantined: None, statuses: Vec::new(), search: None }, |_| true).await
    }

    async fn list_where(
        &self,
        mut reader: impl DerefMut<Target = Connection>,
        listing: &Listing,
        may_see: impl Fn(&PluginName) -> bool,
    ) -> Result<Vec<PluginView>, ServiceError> {
        let installed = self.registry.snapshot_in(&mut reader).await?;
        let (keys, limits) = (store::keys::list(&mut reader).await?, store::running::list_limits(&mut reader).await?);
        // What follows reads nothing more, and others wait for the connection.
        drop(reader);
        let wanted = installed.plugins.iter().filter(|InstalledPlugin { plugin, .. }| {
            may_see(&plugin.name)
                && listing.quarantined.is_none_or(|wanted| plugin.quarantine.is_some() == wanted)
                && (listing.statuses.is_empty() || listing.statuses.contains(&plugin.status))
        });
        let mut found = Vec::new();
        for installed in wanted {
            let set = limits.get(&installed.plugin.id).copied().unwrap_or_default();
            let view = self.assemble(installed, &keys, set)?;
            if listing.search.as_deref().is_none_or(|text| mentions(&view.manifest, text)) {
                found.push(view);
            }
        }
        Ok(found)
    }

    /// Names of the plugins an administrator wants in this status.
    pub async fn plugins_by_status(&self, status: PluginStatus) -> Result<Vec<PluginName>, ServiceError> {
        let plugins = store::plugins::list(&mut *self.store.reader().await?).await?;
        Ok(plugins.into_iter().filter(|plugin| plugin.status == status).map(|plugin| plugin.name.clone()).collect())
    }

    /// One plugin.
    pub async fn show_plugin(&self, caller: &Caller, wanted: &str) -> Result<PluginView, ServiceError> {
        let plugin = self.find_plugin(caller, wanted).await?;
        let mut view = self.view(plugin).await?;
        (view.requires, view.required_by) = self.edges_of(caller, &view.manifest).await?;
        Ok(view)
    }

    /// Finds a plugin that the caller may see.
    pub async fn find_plugin(&self, caller: &Caller, wanted: &str) -> Result<Plugin, ServiceError> {
        let unknown = || ServiceError::PluginUnknown { wanted: crate::domain::escape(wanted) };
        let reference = PluginRef::parse(wanted).ok_or_else(unknown)?;
        let plugin = store::plugins::find(&mut *self.store.reader().await?, &reference).await?;
        // A plugin out of the token's reach is not told from one that does not exist.
        plugin.filter(|plugin| caller.may_see(&plugin.name)).ok_or_else(unknown)
    }

    /// Begins a change of a plugin that was found before.
    pub(super) async fn change(&self, by: &Caller, plugin: &Plugin) -> Result<PluginChange<'_>, ServiceError> {
        let change = self.registry.change(by, (plugin.id, &plugin.name)).await?;
        change.ok_or_else(|| ServiceError::PluginUnknown { wanted: plugin.id.to_string() })
    }

    /// The versions of one plugin.
    pub async fn list_versions(&self, caller: &Caller, wanted: &str) -> Result<VersionsView, ServiceError> {
        let plugin = self.find_plugin(caller, wanted).await?;
        let mut reader = self.store.reader().await?;
        let versions = store::plugins::list_versions(&mut reader, Some(plugin.id)).await?;
        let floor = store::floors::find(&mut reader, &plugin.name).await?;
        let floor = floor.map_or_else(|| plugin.serving.clone(), |floor| floor.version);
        Ok(VersionsView { plugin, versions, floor })
    }

    /// A plugin with everything that is shown of it.
    pub(super) async fn view(&self, plugin: Plugin) -> Result<PluginView, ServiceError> {
        let installed = self.registry.installed(plugin).await?;
        let (keys, set) = {
            let mut reader = self.store.reader().await?;
            let set = store::running::find_limits(&mut reader, installed.plugin.id).await?;
            (store::keys::list(&mut reader).await?, set)
        };
        let mut view = self.assemble(&installed, &keys, set)?;
        view.risks = self.asked_risks(installed.plugin.id, &view.manifest).await?;
        view.missing_config = self.missing_config(&installed).await?;
        view.pending = self.with_risks(&installed, view.pending).await?;
        Ok(view)
    }

    fn assemble(
        &self,
        installed: &InstalledPlugin,
        keys: &[TrustedKey],
        set: ResourceRequest,
    ) -> Result<PluginView, ServiceError> {
        let (plugin, serving, manifest, now) =
            (&installed.plugin, installed.serving(), installed.manifest()?, self.now());
        Ok(PluginView {
            limits: self.limits_of(&manifest, set),
            runtime: self.runtime_view(plugin.id, &plugin.name),
            signed: Signed::of(serving, keys),
            versions: installed.versions.iter().map(|version| version.version.clone()).collect(),
            standing: installed.standing(now)?,
            grants: installed.granted(now).cloned().collect(),
            risks: Vec::new(),
            missing_config: Vec::new(),
            requires: Vec::new(),
            required_by: Vec::new(),
            warnings: grant_warnings(installed, now),
            pending: self.pending_version(installed, keys)?,
            plugin: plugin.clone(),
            serving: serving.clone(),
            manifest,
        })
    }
}

fn mentions(manifest: &Manifest, text: &str) -> bool {
    let text = text.to_lowercase();
    let description = manifest.description.as_deref().unwrap_or_default();
    manifest.name.as_str().contains(&text)
        || description.to_lowercase().contains(&text)
        || manifest.tags.iter().any(|tag| tag.to_lowercase().contains(&text))
}
