//! What is installed, with the version of each plugin that serves and what was decided about it.

use std::collections::HashMap;
use std::sync::Arc;

use semver::Version;

use super::manifests::Manifests;
use super::{Caller, Registry, Target};
use plugbay_domain::{Decision, Digest, Manifest, Pending, Plugin, PluginId, PluginRef, Standing, Timestamp};
use plugbay_store::grants::{AcceptedRisk, GrantRecord};
use plugbay_store::plugins::VersionRecord;
use plugbay_store::{self as store, Connection, StoreError};

/// Every plugin, read at one time.
#[derive(Debug)]
pub struct Installed {
    /// The plugins, by name.
    pub plugins: Vec<InstalledPlugin>,
}

impl Installed {
    /// Enabled plugins, by name.
    pub fn enabled(&self) -> impl Iterator<Item = &InstalledPlugin> {
        self.plugins.iter().filter(|installed| installed.plugin.is_enabled())
    }
}

/// A plugin with its versions and the decisions about them, read at one time.
#[derive(Debug)]
pub struct InstalledPlugin {
    /// The plugin.
    pub plugin: Plugin,
    /// Its versions, in the order they came in.
    pub versions: Vec<VersionRecord>,
    /// Decisions that were not ended.
    pub decisions: Vec<GrantRecord>,
    /// Where in the versions the one is that serves.
    serving: usize,
    manifests: Arc<Manifests>,
}

impl InstalledPlugin {
    /// The version that serves.
    pub fn serving(&self) -> &VersionRecord {
        &self.versions[self.serving]
    }

    /// The manifest of the version that serves. Read only here: one that was damaged concerns its own plugin alone.
    pub fn manifest(&self) -> Result<Arc<Manifest>, StoreError> {
        self.manifests.get(self.serving())
    }

    /// One of its versions.
    pub fn version(&self, number: &Version) -> Result<&VersionRecord, StoreError> {
        let found = self.versions.iter().find(|version| version.version == *number);
        found.ok_or_else(|| StoreError::missing("versions", &self.plugin.name))
    }

    /// The version that waits, and the archive whose decisions it takes over: none if another signer signed it.
    pub fn pending(&self) -> Result<Option<(&VersionRecord, Option<Digest>)>, StoreError> {
        let Some(Pending { version, signer_changed, .. }) = &self.plugin.pending else { return Ok(None) };
        let carries = (!signer_changed).then(|| self.serving().digest);
        Ok(Some((self.version(version)?, carries)))
    }

    /// The version that serves, as one that is decided about.
    pub fn target<'a>(&'a self, manifest: &'a Manifest) -> Target<'a> {
        Target { version: self.serving(), manifest, carries: None }
    }

    /// What the version that serves asks for, and what was decided about it.
    pub fn standing(&self, now: Timestamp) -> Result<Standing, StoreError> {
        Ok(self.target(&*self.manifest()?).standing(&self.decisions, now))
    }

    /// Grants of the version that serves, as far as they hold.
    pub fn granted(&self, now: Timestamp) -> impl Iterator<Item = &GrantRecord> {
        let digest = self.serving().digest;
        let holds = move |row: &&GrantRecord| row.decision == Decision::Granted && row.holds(now);
        self.decisions.iter().filter(move |row| row.digest == digest).filter(holds)
    }
}

impl Registry {
    /// The plugin of this name or id, if the caller may see it. One out of the token's reach is not told from one that does
    /// not exist.
    pub async fn find_for(&self, caller: &Caller, wanted: &str) -> Result<Option<Plugin>, StoreError> {
        let Some(reference) = PluginRef::parse(wanted) else { return Ok(None) };
        let plugin = store::plugins::find(&mut *self.store.reader().await?, &reference).await?;
        Ok(plugin.filter(|plugin| caller.may_see(&plugin.name)))
    }

    /// Everything that is installed.
    pub async fn snapshot(&self) -> Result<Installed, StoreError> {
        self.snapshot_in(&mut *self.store.reader().await?).await
    }

    /// The same over this connection, such as the transaction of a change.
    pub async fn snapshot_in(&self, connection: &mut Connection) -> Result<Installed, StoreError> {
        let plugins = store::plugins::list(connection).await?;
        let mut parts: HashMap<PluginId, (Vec<VersionRecord>, Vec<GrantRecord>)> = HashMap::new();
        for version in store::plugins::list_versions(connection, None).await? {
            parts.entry(version.plugin_id).or_default().0.push(version);
        }
        for row in store::grants::list_open(connection, None).await? {
            parts.entry(row.plugin_id).or_default().1.push(row);
        }
        let mut installed = Vec::new();
        for plugin in plugins {
            let (versions, decisions) = parts.remove(&plugin.id).unwrap_or_default();
            // One that was updated or uninstalled between two of these reads is left out.
            installed.extend(self.assemble(plugin, versions, decisions).ok());
        }
        Ok(Installed { plugins: installed })
    }

    /// One plugin, if it is installed.
    pub async fn find_installed(&self, wanted: &PluginRef) -> Result<Option<InstalledPlugin>, StoreError> {
        let mut reader = self.store.reader().await?;
        match store::plugins::find(&mut reader, wanted).await? {
            Some(plugin) => self.installed_in(&mut reader, plugin).await.map(Some),
            None => Ok(None),
        }
    }

    /// What belongs to a plugin.
    pub async fn installed(&self, plugin: Plugin) -> Result<InstalledPlugin, StoreError> {
        self.installed_in(&mut *self.store.reader().await?, plugin).await
    }

    /// The same over this connection.
    pub async fn installed_in(
        &self,
        connection: &mut Connection,
        plugin: Plugin,
    ) -> Result<InstalledPlugin, StoreError> {
        let versions = store::plugins::list_versions(connection, Some(plugin.id)).await?;
        let decisions = store::grants::list_open(connection, Some(plugin.id)).await?;
        self.assemble(plugin, versions, decisions)
    }

    /// Risks of a plugin that were accepted.
    pub async fn accepted_risks(&self, plugin: PluginId) -> Result<Vec<AcceptedRisk>, StoreError> {
        store::grants::list_accepted(&mut *self.store.reader().await?, plugin).await
    }

    fn assemble(
        &self,
        plugin: Plugin,
        versions: Vec<VersionRecord>,
        decisions: Vec<GrantRecord>,
    ) -> Result<InstalledPlugin, StoreError> {
        let serving = versions.iter().position(|version| version.version == plugin.serving);
        let serving = serving.ok_or_else(|| StoreError::missing("versions", &plugin.name))?;
        Ok(InstalledPlugin { plugin, versions, decisions, serving, manifests: Arc::clone(&self.manifests) })
    }
}
