//! What a plugin may do to others at this moment. Host functions and egress ask here, once per request.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::PermissionUnit;
use crate::{NetworkRule, Permission, PluginName};

/// What is done to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// It is read.
    Read,
    /// It is changed.
    Write,
}

/// What a plugin may do in a granted folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FolderAccess {
    /// Read.
    ReadOnly,
    /// Read and write.
    ReadWrite,
}

/// Which hosts may be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkGrant {
    /// Every public host; never one of the operator's private ones.
    EveryPublicHost,
    /// These.
    Hosts(Vec<NetworkRule>),
}

/// Which resources of the operator may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// Every one that the operator names.
    Every,
    /// These.
    Only(BTreeSet<String>),
}

impl Named {
    /// Tells whether the resource of this name may be used.
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::Every => true,
            Self::Only(names) => names.contains(name),
        }
    }
}

/// What a plugin was granted and has not lost. Without a grant nothing is allowed: the default value allows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    network: Option<NetworkGrant>,
    named: BTreeMap<Permission, Named>,
    edges: BTreeSet<PluginName>,
    chat: bool,
    admin: bool,
}

/// A grant as a plugin is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GrantNotice {
    permission: Permission,
    scope: Vec<String>,
}

impl Grants {
    /// What these units allow together.
    pub fn of<'a>(units: impl IntoIterator<Item = &'a PermissionUnit>) -> Self {
        let mut grants = Self::default();
        for unit in units {
            grants.add(unit);
        }
        grants
    }

    fn add(&mut self, unit: &PermissionUnit) {
        let part = unit.part.as_deref();
        match unit.permission {
            Permission::ChatAccess => self.chat = true,
            Permission::AdminAccess => self.admin = true,
            Permission::Plugins => self.edges.extend(part.and_then(|name| name.parse().ok())),
            Permission::NetworkAccess => match (part, &mut self.network) {
                (None, network) => *network = Some(NetworkGrant::EveryPublicHost),
                (Some(rule), network) => {
                    let Ok(rule) = rule.parse() else { return };
                    match network {
                        Some(NetworkGrant::Hosts(rules)) => rules.push(rule),
                        Some(NetworkGrant::EveryPublicHost) => {}
                        None => *network = Some(NetworkGrant::Hosts(vec![rule])),
                    }
                }
            },
            permission => match (part, self.named.entry(permission).or_insert_with(|| Named::Only(BTreeSet::new()))) {
                (None, named) => *named = Named::Every,
                (Some(name), Named::Only(names)) => {
                    names.insert(name.to_owned());
                }
                (Some(_), Named::Every) => {}
            },
        }
    }

    fn named(&self, permission: Permission, name: &str) -> bool {
        self.named.get(&permission).is_some_and(|named| named.has(name))
    }

    /// Which hosts may be reached.
    pub fn network(&self) -> Option<&NetworkGrant> {
        self.network.as_ref()
    }

    /// Whether the operator's database of this name may be read or changed.
    pub fn database(&self, name: &str, access: Access) -> bool {
        let permission = match access {
            Access::Read => Permission::DatabaseRead,
            Access::Write => Permission::DatabaseWrite,
        };
        self.named(permission, name)
    }

    /// What may be done in the operator's folder of this name.
    pub fn folder(&self, name: &str) -> Option<FolderAccess> {
        if self.named(Permission::FilesystemWrite, name) {
            Some(FolderAccess::ReadWrite)
        } else {
            self.named(Permission::FilesystemRead, name).then_some(FolderAccess::ReadOnly)
        }
    }

    /// Whether the operator's API of this name may be called.
    pub fn api(&self, name: &str) -> bool {
        self.named(Permission::ApiAccess, name)
    }

    /// Whether chat messages may be read and written.
    pub fn chat(&self) -> bool {
        self.chat
    }

    /// Whether every plugin may be listed and called.
    pub fn admin(&self) -> bool {
        self.admin
    }

    /// Whether this plugin may be called.
    pub fn edge(&self, plugin: &PluginName) -> bool {
        self.edges.contains(plugin)
    }

    /// The plugins that may be called by name.
    pub fn edges(&self) -> &BTreeSet<PluginName> {
        &self.edges
    }

    /// The resources that are named for a permission, which the operator must know.
    pub fn names(&self, permission: Permission) -> impl Iterator<Item = &str> {
        let only = self.named.get(&permission).and_then(|named| match named {
            Named::Only(names) => Some(names),
            Named::Every => None,
        });
        only.into_iter().flatten().map(String::as_str)
    }

    /// Tells whether any of it leads to data that is not the plugin's own.
    pub fn reach_data(&self) -> bool {
        self.chat || self.named.keys().any(|permission| permission.reaches_data())
    }

    /// Tells whether any of it changes data that is not the plugin's own. Which requests of an API change something is the
    /// API's business, so all of them count.
    pub fn changes_data(&self) -> bool {
        let writes = [Permission::DatabaseWrite, Permission::FilesystemWrite, Permission::ApiAccess];
        writes.iter().any(|permission| self.named.contains_key(permission))
    }

    /// The same as a plugin is told: each permission once; no scope means all of it.
    pub fn notices(&self) -> Vec<GrantNotice> {
        let mut notices = Vec::new();
        let mut add = |permission, scope| notices.push(GrantNotice { permission, scope });
        for (permission, named) in &self.named {
            match named {
                Named::Every => add(*permission, Vec::new()),
                Named::Only(names) => add(*permission, names.iter().cloned().collect()),
            }
        }
        match &self.network {
            Some(NetworkGrant::EveryPublicHost) => add(Permission::NetworkAccess, Vec::new()),
            Some(NetworkGrant::Hosts(rules)) => {
                add(Permission::NetworkAccess, rules.iter().map(ToString::to_string).collect());
            }
            None => {}
        }
        for (permission, is_granted) in [(Permission::ChatAccess, self.chat), (Permission::AdminAccess, self.admin)] {
            if is_granted {
                add(permission, Vec::new());
            }
        }
        if !self.edges.is_empty() {
            add(Permission::Plugins, self.edges.iter().map(ToString::to_string).collect());
        }
        notices
    }
}
