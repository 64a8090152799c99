//! Looking plugins up, as they are shown.

use std::ops::DerefMut;
use std::sync::Arc;

use plugbay_domain::{
    Manifest, Plugin, PluginName, PluginStatus, Rating, ResourceLimits, ResourceRequest, Risk, Standing, TrustedKey,
};
use plugbay_fleet::order;
use plugbay_registry::{Caller, InstalledPlugin};
use plugbay_store as store;
use plugbay_store::grants::GrantRecord;
use plugbay_store::plugins::VersionRecord;
use plugbay_store::{Connection, PluginReader};
use semver::Version;

use crate::permissions::grant_warnings;
use crate::{
    PendingVersion, Requirement, RuntimeView, Service, ServiceError, Signed, configuration, find, permissions, rating,
    requires, risks, running,
};

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
    /// How much trust it needs.
    pub rating: Rating,
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

/// Every plugin that fits and that the caller may see, by name.
pub async fn list_plugins(
    service: &Service,
    caller: &Caller,
    listing: &Listing,
) -> Result<Vec<PluginView>, ServiceError> {
    list_where(service, service.store.reader().await?, listing, |name| caller.may_see(name)).await
}

/// Every plugin, by name.
pub(crate) async fn every_plugin(service: &Service, reader: PluginReader) -> Result<Vec<PluginView>, ServiceError> {
    list_where(service, reader, &Listing { quarantined: None, statuses: Vec::new(), search: None }, |_| true).await
}

async fn list_where(
    service: &Service,
    mut reader: impl DerefMut<Target = Connection>,
    listing: &Listing,
    may_see: impl Fn(&PluginName) -> bool,
) -> Result<Vec<PluginView>, ServiceError> {
    let installed = service.registry.snapshot_in(&mut reader).await?;
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
        let view = assemble(service, installed, &keys, set)?;
        if listing.search.as_deref().is_none_or(|text| mentions(&view.manifest, text)) {
            found.push(view);
        }
    }
    Ok(found)
}

/// Names of the plugins an administrator wants in this status.
pub async fn plugins_by_status(service: &Service, status: PluginStatus) -> Result<Vec<PluginName>, ServiceError> {
    let plugins = store::plugins::list(&mut *service.store.reader().await?).await?;
    Ok(plugins.into_iter().filter(|plugin| plugin.status == status).map(|plugin| plugin.name.clone()).collect())
}

/// One plugin.
pub async fn show_plugin(service: &Service, caller: &Caller, wanted: &str) -> Result<PluginView, ServiceError> {
    let plugin = find::find_plugin(service, caller, wanted).await?;
    let mut view = view(service, plugin).await?;
    (view.requires, view.required_by) = requires::edges_of(service, caller, &view.manifest).await?;
    Ok(view)
}

/// The versions of one plugin.
pub async fn list_versions(service: &Service, caller: &Caller, wanted: &str) -> Result<VersionsView, ServiceError> {
    let plugin = find::find_plugin(service, caller, wanted).await?;
    let mut reader = service.store.reader().await?;
    let versions = store::plugins::list_versions(&mut reader, Some(plugin.id)).await?;
    let floor = store::floors::find(&mut reader, &plugin.name).await?;
    let floor = floor.map_or_else(|| plugin.serving.clone(), |floor| floor.version);
    Ok(VersionsView { plugin, versions, floor })
}

/// A plugin with everything that is shown of it.
pub(crate) async fn view(service: &Service, plugin: Plugin) -> Result<PluginView, ServiceError> {
    let installed = service.registry.installed(plugin).await?;
    let (keys, set) = {
        let mut reader = service.store.reader().await?;
        let set = store::running::find_limits(&mut reader, installed.plugin.id).await?;
        (store::keys::list(&mut reader).await?, set)
    };
    let mut view = assemble(service, &installed, &keys, set)?;
    view.risks = risks::asked_risks(service, installed.serving(), &view.manifest).await?;
    view.missing_config = configuration::missing_config(service, &installed).await?;
    view.pending = permissions::with_risks(service, &installed, view.pending).await?;
    Ok(view)
}

fn assemble(
    service: &Service,
    installed: &InstalledPlugin,
    keys: &[TrustedKey],
    set: ResourceRequest,
) -> Result<PluginView, ServiceError> {
    let (plugin, serving, manifest, now) =
        (&installed.plugin, installed.serving(), installed.manifest()?, service.now());
    Ok(PluginView {
        limits: order::limits_of(&service.fleet, &manifest, set),
        runtime: running::runtime_view(service, plugin.id, &plugin.name),
        signed: Signed::of(serving, keys),
        versions: installed.versions.iter().map(|version| version.version.clone()).collect(),
        standing: installed.standing(now)?,
        grants: installed.granted(now).cloned().collect(),
        rating: rating::rating_of(service, serving, &manifest, &installed.standing(now)?.grants()),
        risks: Vec::new(),
        missing_config: Vec::new(),
        requires: Vec::new(),
        required_by: Vec::new(),
        warnings: grant_warnings(installed, now),
        pending: permissions::pending_version(service, installed, keys)?,
        plugin: plugin.clone(),
        serving: serving.clone(),
        manifest,
    })
}

fn mentions(manifest: &Manifest, text: &str) -> bool {
    let text = text.to_lowercase();
    let description = manifest.description.as_deref().unwrap_or_default();
    manifest.name.as_str().contains(&text)
        || description.to_lowercase().contains(&text)
        || manifest.tags.iter().any(|tag| tag.to_lowercase().contains(&text))
}
