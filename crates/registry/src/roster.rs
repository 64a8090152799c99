//! Who requires whom, of what was installed at one time.

use std::collections::{BTreeMap, HashMap};

use plugbay_domain::{Demand, Offer, Offers, Plugin, PluginId, PluginName};
use plugbay_store::StoreError;

use crate::Installed;

/// Every plugin, and the version of each that serves.
#[derive(Debug, Default)]
pub struct Roster {
    /// Every plugin.
    pub plugins: BTreeMap<PluginName, Plugin>,
    /// What the serving version of each offers and requires.
    pub offers: Offers,
}

impl Roster {
    /// Of what was read.
    pub fn of(installed: Installed) -> Result<Self, StoreError> {
        let mut roster = Self::default();
        for installed in installed.plugins {
            let (manifest, plugin) = (installed.manifest()?, installed.plugin);
            roster.offers.put(plugin.name.clone(), Offer::from(&*manifest));
            roster.plugins.insert(plugin.name.clone(), plugin);
        }
        Ok(roster)
    }

    /// Enabled plugins that require `name`.
    pub fn enabled_demands_on(&self, name: &PluginName) -> impl Iterator<Item = Demand> {
        self.offers.demands_on(name).into_iter().filter(|demand| self.is_enabled(&demand.by))
    }

    /// Whether an administrator wants it to run.
    pub fn is_enabled(&self, name: &PluginName) -> bool {
        self.plugins.get(name).is_some_and(Plugin::is_enabled)
    }

    /// Enabled, and not held back.
    pub fn may_run(&self, name: &PluginName) -> bool {
        self.plugins.get(name).is_some_and(Plugin::should_run)
    }

    /// One of them.
    pub fn find(&self, name: &PluginName) -> Option<&Plugin> {
        self.plugins.get(name)
    }

    /// The plugins as they come, but none before what it requires.
    pub fn required_first(&self, ids: &[PluginId]) -> Vec<PluginId> {
        let names: HashMap<PluginId, &PluginName> =
            self.plugins.values().map(|plugin| (plugin.id, &plugin.name)).collect();
        let wanted: Vec<PluginName> = ids.iter().filter_map(|id| names.get(id).map(|name| (*name).clone())).collect();
        let ordered = self.offers.required_first(&wanted);
        ordered.iter().filter_map(|name| self.find(name).map(|plugin| plugin.id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plugbay_domain::Timestamp;
    use semver::{Version, VersionReq};

    fn record(name: &str) -> Plugin {
        let at = Timestamp::from_millis(0).unwrap();
        let mut plugin = Plugin::new(name.parse().unwrap(), Version::new(1, 0, 0), at);
        plugin.enable(at);
        plugin
    }

    #[test]
    fn plugins_start_as_they_come_but_after_what_they_require() {
        let mut roster = Roster::default();
        let mut add = |name: &str, requires: &[&str]| {
            let record = record(name);
            let requires = requires.iter().map(|name| (name.parse().unwrap(), VersionReq::STAR)).collect();
            roster.offers.put(record.name.clone(), Offer { version: Version::new(1, 0, 0), requires });
            let id = record.id;
            roster.plugins.insert(record.name.clone(), record);
            id
        };
        let (a, b, c, other) = (add("a", &["b"]), add("b", &["c"]), add("c", &[]), add("other", &["gone"]));
        // What was called last comes first; what nobody knows is left out.
        let order = roster.required_first(&[other, a, PluginId::generate(), c, b]);
        assert_eq!(order, [other, c, b, a]);
        // What is not to be started is not, though it leads from one to another.
        assert_eq!(roster.required_first(&[a, c]), [c, a]);
    }
}
