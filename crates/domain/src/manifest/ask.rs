//! What a manifest asks an administrator for.

use serde::Serialize;

use super::Manifest;
use crate::{Permission, PermissionRequest};

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
        let edge = |name: &crate::PluginName| PermissionRequest {
            permission: Permission::Plugins,
            scope: vec![name.as_str().to_owned()],
        };
        Requested {
            required: self.permissions.iter().map(narrowed).chain(self.requires.keys().map(edge)).collect(),
            optional: self.optional_permissions.iter().map(narrowed).collect(),
        }
    }
}
