//! The smallest thing that is decided on: a permission as a whole, or for one resource.

use crate::manifest::operator_name;
use crate::{NetworkRule, Permission, PermissionRequest, PluginName, escape};

/// A permission as a whole, or for one host, database, folder, API or plugin.
///
/// `network_access` as a whole is every public host, `plugins` is never asked for as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PermissionUnit {
    /// What.
    pub permission: Permission,
    /// For which resource only, in its canonical form.
    pub part: Option<String>,
}

/// A scope names something that is no resource of the permission.
#[derive(Debug, thiserror::Error)]
pub enum UnitError {
    /// The permission is not about resources.
    #[error("`{0}` has no scope")]
    NoScope(Permission),
    /// The text is no name of a resource.
    #[error("`{found}` is not a scope of `{permission}`: {reason}")]
    Form {
        /// The permission.
        permission: Permission,
        /// The text, escaped.
        found: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl PermissionUnit {
    /// The whole permission.
    pub const fn whole(permission: Permission) -> Self {
        Self { permission, part: None }
    }

    /// The permission for one resource, whose name is brought into its canonical form.
    pub fn part(permission: Permission, text: &str) -> Result<Self, UnitError> {
        let bad = |reason: String| UnitError::Form { permission, found: escape(text), reason };
        let part = match permission {
            Permission::ChatAccess | Permission::AdminAccess => return Err(UnitError::NoScope(permission)),
            Permission::NetworkAccess => {
                text.parse::<NetworkRule>().map_err(|error| bad(error.to_string()))?.to_string()
            }
            Permission::Plugins => text.parse::<PluginName>().map_err(|error| bad(error.to_string()))?.to_string(),
            Permission::FilesystemRead
            | Permission::FilesystemWrite
            | Permission::DatabaseRead
            | Permission::DatabaseWrite
            | Permission::ApiAccess => operator_name(text).map_err(bad)?,
        };
        Ok(Self { permission, part: Some(part) })
    }

    /// Tells whether everything `other` allows is allowed by this unit too.
    pub fn covers(&self, other: &Self) -> bool {
        if self.permission != other.permission {
            return false;
        }
        match (&self.part, &other.part) {
            (None, _) => true,
            (Some(own), Some(found)) if own == found => true,
            (Some(own), Some(found)) if self.permission == Permission::NetworkAccess => {
                let rules = own.parse::<NetworkRule>().ok().zip(found.parse::<NetworkRule>().ok());
                rules.is_some_and(|(own, found)| own.covers(&found))
            }
            _ => false,
        }
    }

    /// Tells whether a decision about one of the two is about the other as well.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// The same as it is written in requests and answers.
    pub fn request(&self) -> PermissionRequest {
        PermissionRequest { permission: self.permission, scope: self.part.iter().cloned().collect() }
    }
}
