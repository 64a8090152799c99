//! What a plugin asks for in plugin.yaml, as far as code can be compared with it.

use std::collections::BTreeSet;

use plugbay_domain::{Manifest, Permission, Runtime};

/// What plugin.yaml asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// Permissions, required and optional.
    pub permissions: BTreeSet<Permission>,
    /// What `network.allow` lists; empty with `network_access` means every public host.
    pub hosts: Vec<String>,
    /// How the entry point is run.
    pub runtime: Option<Runtime>,
    /// The entry point.
    pub main: String,
    /// Packages that `dependencies` asks for, by their names alone.
    pub vendor: Vec<String>,
    /// Other plugins that it calls.
    pub requires: Vec<String>,
}

impl Declared {
    /// What this manifest asks for.
    pub fn of(manifest: &Manifest) -> Self {
        let name_of = |dependency: &String| {
            let is_name = |character: &char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
            dependency.trim().chars().take_while(is_name).collect::<String>()
        };
        Self {
            permissions: manifest.permissions.iter().chain(&manifest.optional_permissions).copied().collect(),
            hosts: manifest.network.iter().map(ToString::to_string).collect(),
            runtime: Some(manifest.runtime),
            main: manifest.main.clone(),
            vendor: manifest.dependencies.iter().map(name_of).filter(|name| !name.is_empty()).collect(),
            requires: manifest.requires.keys().map(ToString::to_string).collect(),
        }
    }
}
