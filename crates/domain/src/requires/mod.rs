//! Plugins that require other plugins: in which order they start, and why they cannot.
//!
//! Of each name one version is there to choose, the one that serves or would; so the answer is found by walking the
//! edges, and a range means exactly what [`VersionReq::matches`] says. Nothing here looks anything up.

mod explain;
mod fit;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use semver::{Version, VersionReq};

use super::{Manifest, PluginName};

/// The version of a plugin that can be chosen.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Its number.
    pub version: Version,
    /// What it requires.
    pub requires: BTreeMap<PluginName, VersionReq>,
}

impl From<&Manifest> for Offer {
    fn from(manifest: &Manifest) -> Self {
        Self { version: manifest.version.clone(), requires: manifest.requires.clone() }
    }
}

/// What can be chosen, by name.
#[derive(Clone, Debug, Default)]
pub struct Offers(BTreeMap<PluginName, Offer>);

/// A plugin that requires another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Its name.
    pub by: PluginName,
    /// How it came in: what was asked for, then each plugin that the one before requires. Empty if it was asked for itself.
    pub way: Vec<PluginName>,
    /// Its version.
    pub version: Version,
    /// What it accepts.
    pub range: VersionReq,
}

/// Why plugins cannot run together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// They require each other: each the next, the last the first.
    Cycle(Vec<PluginName>),
    /// Plugins are missing, or have a version that others do not accept.
    Gaps(Vec<Gap>),
}

/// One plugin that is not as others require it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gap {
    /// There is none of the name.
    Missing {
        /// The name.
        name: PluginName,
        /// Who requires it.
        demands: Vec<Demand>,
    },
    /// There is one, and it is not accepted.
    Unfit {
        /// The name.
        name: PluginName,
        /// The version that is there.
        version: Version,
        /// Who does not accept it.
        refusing: Vec<Demand>,
        /// Who does.
        accepting: Vec<Demand>,
    },
}

/// What a walk along the edges has found.
#[derive(Debug, Default)]
struct Walk {
    /// Every plugin that was reached, after what it requires.
    order: Vec<PluginName>,
    /// The first circle that was closed.
    cycle: Option<Vec<PluginName>>,
}

impl FromIterator<(PluginName, Offer)> for Offers {
    fn from_iter<T: IntoIterator<Item = (PluginName, Offer)>>(offers: T) -> Self {
        Self(offers.into_iter().collect())
    }
}

impl Offers {
    /// Lets `offer` stand for the name, in place of what stood there.
    pub fn put(&mut self, name: PluginName, offer: Offer) {
        self.0.insert(name, offer);
    }

    /// What stands for the name.
    pub fn find(&self, name: &PluginName) -> Option<&Offer> {
        self.0.get(name)
    }

    /// The order in which `roots` and everything they require are started: nothing before what it requires.
    pub fn resolve(&self, roots: &[PluginName]) -> Result<Vec<PluginName>, Unresolved> {
        let Walk { order, cycle } = self.walk(roots);
        if let Some(cycle) = cycle {
            return Err(Unresolved::Cycle(cycle));
        }
        let gaps = self.gaps(roots, &order);
        if gaps.is_empty() { Ok(order) } else { Err(Unresolved::Gaps(gaps)) }
    }

    /// The circle that `name` is part of, or leads to.
    pub fn find_cycle(&self, name: &PluginName) -> Option<Vec<PluginName>> {
        self.walk(std::slice::from_ref(name)).cycle
    }

    /// The same plugins, each after those of them that it requires, be it by way of others. Apart from that they stay in
    /// their order. Circles and gaps are no obstacle.
    pub fn required_first(&self, names: &[PluginName]) -> Vec<PluginName> {
        let mut order = self.walk(names).order;
        let wanted: BTreeSet<_> = names.iter().collect();
        order.retain(|name| wanted.contains(name));
        order
    }

    /// Every one of the plugins that requires `name`, be it by way of others, each before what it requires.
    pub fn dependents_first(&self, name: &PluginName) -> Vec<PluginName> {
        let all: Vec<PluginName> = self.0.keys().cloned().collect();
        let mut reaching = BTreeSet::from([name.clone()]);
        let order = self.walk(&all).order;
        let mut found = Vec::new();
        for other in order.into_iter().filter(|other| other != name) {
            if self.edges(&other).any(|(required, _)| reaching.contains(required)) {
                reaching.insert(other.clone());
                found.push(other);
            }
        }
        found.reverse();
        found
    }

    /// Every plugin that requires `name` itself, with what it accepts.
    pub fn demands_on(&self, name: &PluginName) -> Vec<Demand> {
        let demands = self.0.iter().filter_map(|(by, offer)| {
            let range = offer.requires.get(name)?.clone();
            Some(Demand { by: by.clone(), way: Vec::new(), version: offer.version.clone(), range })
        });
        demands.collect()
    }

    fn edges(&self, name: &PluginName) -> impl Iterator<Item = (&PluginName, &VersionReq)> {
        self.0.get(name).into_iter().flat_map(|offer| &offer.requires)
    }

    /// Goes depth first, without recursion: how long a chain gets is up to whoever wrote the manifests.
    fn walk(&self, roots: &[PluginName]) -> Walk {
        let mut walk = Walk::default();
        let mut seen = BTreeSet::new();
        for root in roots {
            // The plugins from the root to where it stands, each with what of it is still to be looked at.
            let mut open: Vec<(&PluginName, Vec<&PluginName>)> = Vec::new();
            let mut next = Some(root);
            loop {
                if let Some(name) = next.take()
                    && self.0.contains_key(name)
                {
                    if seen.insert(name) {
                        let required: Vec<_> = self.edges(name).map(|(required, _)| required).collect();
                        open.push((name, required.into_iter().rev().collect()));
                    } else if let Some(at) = open.iter().position(|(other, _)| *other == name) {
                        let circle = open.iter().skip(at).map(|(other, _)| (*other).clone()).collect();
                        walk.cycle.get_or_insert(circle);
                    }
                }
                let Some((name, left)) = open.last_mut() else { break };
                next = left.pop();
                if next.is_none() {
                    walk.order.push((*name).clone());
                    open.pop();
                }
            }
        }
        walk
    }

    /// What is not as it is required. What a version requires that is itself not accepted is left out: another version
    /// has to come, and may require something else.
    fn gaps(&self, roots: &[PluginName], order: &[PluginName]) -> Vec<Gap> {
        let mut ways: BTreeMap<&PluginName, Vec<PluginName>> = BTreeMap::new();
        let mut demands: BTreeMap<&PluginName, Vec<Demand>> = BTreeMap::new();
        let mut gaps = Vec::new();
        for root in roots {
            ways.insert(root, Vec::new());
            if !self.0.contains_key(root) {
                demands.entry(root).or_default();
            }
        }
        for name in order.iter().rev() {
            let (Some(way), Some(offer)) = (ways.get(name).cloned(), self.0.get(name)) else { continue };
            for (required, range) in &offer.requires {
                let (version, range) = (offer.version.clone(), range.clone());
                if self.0.get(required).is_some_and(|found| range.matches(&found.version)) {
                    ways.entry(required).or_insert_with(|| way.iter().chain([name]).cloned().collect());
                }
                demands.entry(required).or_default().push(Demand {
                    by: name.clone(),
                    way: way.clone(),
                    version,
                    range,
                });
            }
        }
        for (name, demands) in demands {
            let name = name.clone();
            let Some(found) = self.0.get(&name) else {
                gaps.push(Gap::Missing { name, demands });
                continue;
            };
            let (accepting, refusing): (Vec<_>, Vec<_>) =
                demands.into_iter().partition(|demand| demand.range.matches(&found.version));
            if !refusing.is_empty() {
                gaps.push(Gap::Unfit { name, version: found.version.clone(), refusing, accepting });
            }
        }
        gaps
    }
}
