//! What a manifest asks an administrator for.

use serde::Serialize;

use super::Manifest;
use crate::domain::{Permission, PermissionRequest};

/// Everything that needs a decision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Requested {
    /// Without these the plugin cannot be enabled.
    pub required: Vec<PermissionRequest>,
    /// These may be denied.
    pub optional: Vec<PermissionRequest>,
}

impl Manifest {
    /// The permissions asked for, narrowed by `access`; each edge of `requires` is one of them.
    pub fn requested(&self) -> Requested {
        let narrowed = |permission: &Permission| PermissionRequest {
            permission: *permission,
            scope: self.access.get(permission).cloned().unwrap_or_default(),
        };
        let edge = |name: &crate::domain::PluginName| PermissionRequest {
            permission: Permission::Plugins,
            scope: vec![name.as_str().to_owned()],
        };
        Requested {
            required: self.permissions.iter().map(narrowed).chain(self.requires.keys().map(edge)).collect(),
            optional: self.optional_permissions.iter().map(narrowed).collect(),
        }
    }

    /// Combinations that an administrator has to accept by name.
    ///
    /// `data-egress`: the plugin can reach hosts and holds something worth sending there.
    pub fn risks(&self) -> Vec<&'static str> {
        let holds_data = self.permissions.iter().chain(&self.optional_permissions).any(|found| found.reaches_data());
        let holds_secrets = self.config_schema.as_ref().is_some_and(|schema| !schema.secrets().is_empty());
        let leaks = self.declares(Permission::NetworkAccess) && (holds_data || holds_secrets);
        if leaks { vec!["data-egress"] } else { Vec::new() }
    }
}
