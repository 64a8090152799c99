//! Combinations of permissions that are worse than their parts. The one place that knows them.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use super::{Grants, NetworkGrant};
use crate::manifest::Manifest;
use crate::{PluginName, Word as _, escape, words};

words! {
    /// What an administrator has to accept by name.
    Risk {
        /// Data that is not the plugin's own can leave for any public host.
        DataEgress = "data-egress",
        /// The version comes from somebody else than the one before.
        SignerChanged = "signer-changed",
        /// The code of these bytes looks as an attack would.
        ScanSuspicious = "scan-suspicious",
    }
}

/// The text is not a risk.
#[derive(Debug, thiserror::Error)]
#[error("unknown risk `{0}`; expected one of data-egress, signer-changed, scan-suspicious")]
pub struct UnknownRisk(String);

impl FromStr for Risk {
    type Err = UnknownRisk;

    fn from_str(text: &str) -> Result<Self, UnknownRisk> {
        let found = Self::ALL.iter().copied().find(|risk| risk.as_str() == text);
        found.ok_or_else(|| UnknownRisk(escape(text)))
    }
}

impl Risk {
    /// Whether it lies in what the plugin is granted. Then accepting it for one version counts for the next one, which
    /// has the same grants; what lies in the bytes, or in who sent them, is accepted for these bytes alone.
    pub const fn lies_in_grants(self) -> bool {
        matches!(self, Self::DataEgress)
    }
}

/// How far a plugin reaches out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Egress {
    /// Nowhere.
    #[default]
    None,
    /// To hosts that an administrator has seen by name.
    Named,
    /// To every public host.
    Open,
}

/// What a plugin holds, and whom it can pass it on to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// It sees data that is not its own: chat, a database, a folder, an API of the operator, or a secret that it is given.
    pub holds_data: bool,
    /// Where it connects to.
    pub egress: Egress,
    /// The plugins it calls.
    pub calls: BTreeSet<PluginName>,
    /// It calls every plugin.
    pub calls_all: bool,
}

impl Reach {
    /// What a plugin with this manifest can do under these grants.
    pub fn of(manifest: &Manifest, grants: &Grants) -> Self {
        Self {
            holds_data: grants.reach_data() || holds_secrets(manifest),
            egress: match grants.network() {
                None => Egress::None,
                Some(NetworkGrant::Hosts(rules)) if rules.iter().any(|rule| rule.names_nobody().is_some()) => {
                    Egress::Open
                }
                Some(NetworkGrant::Hosts(_)) => Egress::Named,
                Some(NetworkGrant::EveryPublicHost) => Egress::Open,
            },
            calls: grants.edges().clone(),
            calls_all: grants.admin(),
        }
    }

    /// Tells whether it alone holds data and reaches any host. Shown, as a hint to look at the hosts.
    pub fn reaches_out_with_data(&self) -> bool {
        self.holds_data && self.egress >= Egress::Named
    }

    fn may_call(&self, other: &PluginName) -> bool {
        self.calls_all || self.calls.contains(other)
    }
}

impl Manifest {
    /// What the plugin could do if everything were granted that it asks for.
    pub fn asked_reach(&self) -> Reach {
        let units: Vec<_> = self.asked().into_iter().map(|asked| asked.unit).collect();
        Reach::of(self, &Grants::of(&units))
    }

    /// The risks of what is asked for, as far as they can be seen without other plugins.
    pub fn risks(&self) -> Vec<Risk> {
        self.asked_reach().reaches_out_with_data().then_some(Risk::DataEgress).into_iter().collect()
    }
}

/// A secret that is never delivered goes to its own hosts by way of the service and is not the plugin's to send. That it
/// becomes delivered is growth, so an update cannot make it so without a decision.
fn holds_secrets(manifest: &Manifest) -> bool {
    manifest.config_schema.as_ref().is_some_and(|schema| schema.secrets().values().any(|secret| secret.deliver))
}

/// Tells whether data can leave for any public host by way of this plugin: from itself, from plugins it calls, or
/// from plugins that call it. Arguments and results both carry data, so a call counts in either direction.
pub fn leaks(own: &PluginName, plugins: &BTreeMap<PluginName, Reach>) -> bool {
    let below = callees(own, plugins);
    let callers = callers(own, plugins);
    let data = |names: &BTreeSet<&PluginName>| has(names, plugins, |reach| reach.holds_data);
    let open = |names: &BTreeSet<&PluginName>| has(names, plugins, |reach| reach.egress == Egress::Open);
    let (data_below, open_below) = (data(&below), open(&below));
    if data_below { open_below || open(&callers) } else { open_below && data(&callers) }
}

fn has(names: &BTreeSet<&PluginName>, plugins: &BTreeMap<PluginName, Reach>, what: fn(&Reach) -> bool) -> bool {
    names.iter().any(|name| plugins.get(*name).is_some_and(what))
}

/// The plugin and everything it can call, also through others.
fn callees<'a>(own: &'a PluginName, plugins: &'a BTreeMap<PluginName, Reach>) -> BTreeSet<&'a PluginName> {
    let mut found = BTreeSet::from([own]);
    let mut open = vec![own];
    while let Some(name) = open.pop() {
        let Some(reach) = plugins.get(name) else { continue };
        for other in plugins.keys().filter(|other| reach.may_call(other)) {
            if found.insert(other) {
                open.push(other);
            }
        }
    }
    found
}

/// Every plugin that can call it, also through others; not the plugin itself.
fn callers<'a>(own: &'a PluginName, plugins: &'a BTreeMap<PluginName, Reach>) -> BTreeSet<&'a PluginName> {
    let mut found = BTreeSet::new();
    let mut open = vec![own];
    while let Some(name) = open.pop() {
        for (other, _) in plugins.iter().filter(|(other, reach)| *other != own && reach.may_call(name)) {
            if found.insert(other) {
                open.push(other);
            }
        }
    }
    found
}
