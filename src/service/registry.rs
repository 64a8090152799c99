//! Looking plugins up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use semver::Version;

use super::install::label_of;
use super::{Caller, RuntimeView, Service, ServiceError};
use crate::domain::{Digest, Growth, Manifest, PluginName, PluginStatus, ResourceLimits, ResourceRequest, TrustedKey};
use crate::store::plugins::{PluginRecord, VersionRecord};
use crate::store::{self, StoreError};

/// Manifests already parsed, by the archive they came from. Bounded by the versions kept.
#[derive(Debug, Default)]
pub(super) struct ManifestCache(Mutex<HashMap<Digest, Arc<Manifest>>>);

impl ManifestCache {
    /// The manifest of a stored version.
    pub(super) fn get(&self, version: &VersionRecord) -> Result<Arc<Manifest>, ServiceError> {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(manifest) = cache.get(&version.digest) {
            return Ok(Arc::clone(manifest));
        }
        // It was valid when it came in, so a caller cannot mend it.
        let manifest = Manifest::parse(version.manifest.as_bytes())
            .map_err(|error| StoreError::bad_row("versions", version.digest, error))?;
        let manifest = Arc::new(manifest);
        cache.insert(version.digest, Arc::clone(&manifest));
        Ok(manifest)
    }

    /// Forgets a version that is gone.
    pub(super) fn forget(&self, digest: Digest) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest);
    }
}

/// A plugin with everything that is shown of it.
#[derive(Clone, Debug)]
pub struct PluginView {
    /// The plugin.
    pub plugin: PluginRecord,
    /// The version that serves.
    pub serving: VersionRecord,
    /// Its manifest.
    pub manifest: Arc<Manifest>,
    /// What it gets when it runs.
    pub limits: ResourceLimits,
    /// The operator's name for the key that signed it.
    pub signer_label: Option<String>,
    /// Versions kept, in the order they came in.
    pub versions: Vec<Version>,
    /// What is true of it now.
    pub runtime: RuntimeView,
    /// The version that waits, and what it asks for in addition.
    pub pending: Option<(Version, Growth)>,
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
    pub plugin: PluginRecord,
    /// Its versions, in the order they came in.
    pub versions: Vec<VersionRecord>,
    /// The highest that ever served.
    pub floor: Version,
}

impl Service {
    /// Every plugin that fits and that the caller may see, by name.
    pub async fn list_plugins(&self, caller: &Caller, listing: &Listing) -> Result<Vec<PluginView>, ServiceError> {
        let (plugins, versions, keys, limits) = {
            let mut reader = self.store.reader().await?;
            (
                store::plugins::list(&mut reader).await?,
                store::plugins::list_versions(&mut reader, None).await?,
                store::keys::list(&mut reader).await?,
                store::running::list_limits(&mut reader).await?,
            )
        };
        let mut by_plugin: HashMap<_, Vec<VersionRecord>> = HashMap::new();
        for version in versions {
            by_plugin.entry(version.plugin_id).or_default().push(version);
        }
        let wanted = plugins.into_iter().filter(|plugin| {
            caller.may_see(&plugin.name)
                && listing.quarantined.is_none_or(|wanted| plugin.quarantine.is_some() == wanted)
                && (listing.statuses.is_empty() || listing.statuses.contains(&plugin.status))
        });
        let mut found = Vec::new();
        for plugin in wanted {
            let versions = by_plugin.remove(&plugin.id).unwrap_or_default();
            let set = limits.get(&plugin.id).copied().unwrap_or_default();
            let view = self.assemble(plugin, &versions, &keys, set)?;
            if listing.search.as_deref().is_none_or(|text| mentions(&view.manifest, text)) {
                found.push(view);
            }
        }
        Ok(found)
    }

    /// Names of the plugins an administrator wants in this status.
    pub async fn plugins_by_status(&self, status: PluginStatus) -> Result<Vec<PluginName>, ServiceError> {
        let plugins = store::plugins::list(&mut *self.store.reader().await?).await?;
        Ok(plugins.into_iter().filter(|plugin| plugin.status == status).map(|plugin| plugin.name).collect())
    }

    /// One plugin.
    pub async fn show_plugin(&self, caller: &Caller, wanted: &str) -> Result<PluginView, ServiceError> {
        let plugin = self.find_plugin(caller, wanted).await?;
        self.view(plugin).await
    }

    /// The versions of one plugin.
    pub async fn list_versions(&self, caller: &Caller, wanted: &str) -> Result<VersionsView, ServiceError> {
        let plugin = self.find_plugin(caller, wanted).await?;
        let mut reader = self.store.reader().await?;
        let versions = store::plugins::list_versions(&mut reader, Some(plugin.id)).await?;
        let floor = store::plugins::find_floor(&mut reader, &plugin.name).await?;
        let floor = floor.map_or_else(|| plugin.serving.clone(), |floor| floor.version);
        Ok(VersionsView { plugin, versions, floor })
    }

    /// A plugin with everything that is shown of it.
    pub(super) async fn view(&self, plugin: PluginRecord) -> Result<PluginView, ServiceError> {
        let (versions, keys, set) = {
            let mut reader = self.store.reader().await?;
            let versions = store::plugins::list_versions(&mut reader, Some(plugin.id)).await?;
            let set = store::running::find_limits(&mut reader, plugin.id).await?;
            (versions, store::keys::list(&mut reader).await?, set)
        };
        self.assemble(plugin, &versions, &keys, set)
    }

    fn assemble(
        &self,
        plugin: PluginRecord,
        versions: &[VersionRecord],
        keys: &[TrustedKey],
        set: ResourceRequest,
    ) -> Result<PluginView, ServiceError> {
        let find = |number: &Version| versions.iter().find(|version| version.version == *number);
        let serving = find(&plugin.serving).ok_or_else(|| StoreError::missing("versions", &plugin.name))?.clone();
        let manifest = self.manifests.get(&serving)?;
        let pending = match plugin.pending.as_ref().and_then(find) {
            Some(pending) => Some((pending.version.clone(), self.manifests.get(pending)?.growth(&manifest))),
            None => None,
        };
        Ok(PluginView {
            limits: self.limits_of(&manifest, set),
            runtime: self.runtime_view(plugin.id, &plugin.name),
            signer_label: label_of(keys, &serving),
            versions: versions.iter().map(|version| version.version.clone()).collect(),
            plugin,
            serving,
            manifest,
            pending,
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
