//! How far decisions cover what a manifest asks for.

use super::{Grants, PermissionUnit};
use crate::manifest::Manifest;
use crate::{Permission, PermissionRequest, words};

words! {
    /// What an administrator decided.
    Decision {
        /// The plugin may.
        Granted = "granted",
        /// The plugin may not.
        Denied = "denied",
    }
}

/// One unit that a manifest asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What.
    pub unit: PermissionUnit,
    /// The plugin does not run without.
    pub required: bool,
}

impl Manifest {
    /// What is asked for, unit by unit: each host, each named resource, each other plugin.
    pub fn asked(&self) -> Vec<Asked> {
        let units = |permission: &Permission| -> Vec<PermissionUnit> {
            let parts: Vec<String> = match permission {
                Permission::NetworkAccess => self.network.iter().map(ToString::to_string).collect(),
                permission => self.access.get(permission).cloned().unwrap_or_default(),
            };
            if parts.is_empty() {
                return vec![PermissionUnit::whole(*permission)];
            }
            parts.into_iter().map(|part| PermissionUnit { permission: *permission, part: Some(part) }).collect()
        };
        let edges = self
            .requires
            .keys()
            .map(|name| PermissionUnit { permission: Permission::Plugins, part: Some(name.as_str().to_owned()) });
        let required = self.permissions.iter().flat_map(units).chain(edges);
        let required = required.map(|unit| Asked { unit, required: true });
        let optional = self.optional_permissions.iter().flat_map(units).map(|unit| Asked { unit, required: false });
        required.chain(optional).collect()
    }
}

/// What a version asks for, and what was decided about it.
///
/// A unit that is asked for counts as decided once any part of it was: whoever grants one of all public hosts has
/// decided about `network_access`. What reaches beyond what is asked for counts for nothing.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    asked: Vec<Asked>,
    granted: Vec<PermissionUnit>,
    denied: Vec<PermissionUnit>,
}

impl Standing {
    /// Compares what is asked for with decisions that hold.
    pub fn of<'a>(manifest: &Manifest, held: impl IntoIterator<Item = (&'a PermissionUnit, Decision)>) -> Self {
        let asked = manifest.asked();
        let (mut granted, mut denied) = (Vec::new(), Vec::new());
        for (unit, decision) in held {
            if asked.iter().any(|asked| asked.unit.covers(unit)) {
                match decision {
                    Decision::Granted => granted.push(unit.clone()),
                    Decision::Denied => denied.push(unit.clone()),
                }
            }
        }
        Self { asked, granted, denied }
    }

    /// The required units of which nothing is granted.
    pub fn missing(&self) -> Vec<PermissionUnit> {
        let is_met = |unit: &PermissionUnit| self.granted.iter().any(|granted| unit.covers(granted));
        self.asked
            .iter()
            .filter(|asked| asked.required && !is_met(&asked.unit))
            .map(|asked| asked.unit.clone())
            .collect()
    }

    /// Tells whether everything required is granted.
    pub fn is_complete(&self) -> bool {
        self.missing().is_empty()
    }

    /// What is required and not decided.
    pub fn pending(&self) -> Vec<PermissionRequest> {
        self.shown(&self.missing().into_iter().filter(|unit| !self.is_denied(unit)).collect::<Vec<_>>())
    }

    /// What is required and was denied.
    pub fn refused(&self) -> Vec<PermissionRequest> {
        self.shown(&self.missing().into_iter().filter(|unit| self.is_denied(unit)).collect::<Vec<_>>())
    }

    fn is_denied(&self, unit: &PermissionUnit) -> bool {
        self.denied.iter().any(|denied| denied.overlaps(unit))
    }

    /// What is granted.
    pub fn granted(&self) -> Vec<PermissionRequest> {
        self.shown(&self.granted)
    }

    /// What is denied.
    pub fn denied(&self) -> Vec<PermissionRequest> {
        self.shown(&self.denied)
    }

    /// What follows for a plugin that runs.
    pub fn grants(&self) -> Grants {
        Grants::of(&self.granted)
    }

    /// Units as requests in the order they are asked for: in the words of the manifest where they are all of a
    /// permission, else with their own scope.
    fn shown(&self, units: &[PermissionUnit]) -> Vec<PermissionRequest> {
        let mut shown: Vec<PermissionRequest> = Vec::new();
        let mut done: Vec<Permission> = Vec::new();
        for Asked { unit: PermissionUnit { permission, .. }, .. } in &self.asked {
            if done.contains(permission) {
                continue;
            }
            done.push(*permission);
            let own: Vec<&PermissionUnit> = units.iter().filter(|unit| unit.permission == *permission).collect();
            if *permission == Permission::Plugins {
                shown.extend(own.iter().map(|unit| unit.request()));
                continue;
            }
            let mut asked = self.asked.iter().filter(|asked| asked.unit.permission == *permission);
            let is_all = asked.clone().all(|asked| own.iter().any(|unit| **unit == asked.unit));
            if own.is_empty() {
                continue;
            }
            let parts: Vec<String> = own.iter().filter_map(|unit| unit.part.clone()).collect();
            let is_whole = own.iter().any(|unit| unit.part.is_none());
            let scope = match *permission {
                _ if is_whole => Vec::new(),
                // A manifest lists its hosts apart, so the word alone stands for all of them.
                Permission::NetworkAccess if is_all && asked.all(|asked| asked.unit.part.is_some()) => Vec::new(),
                _ => parts,
            };
            shown.push(PermissionRequest { permission: *permission, scope });
        }
        shown
    }
}
