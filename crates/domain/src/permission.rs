//! What a plugin may be allowed to do to others, and how it asks for it.

use std::fmt;
use std::str::FromStr;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Word, escape, nearest};

super::words! {
    /// One thing an administrator can grant.
    Permission {
        /// Read folders that the operator has named.
        FilesystemRead = "filesystem_read",
        /// Write to folders that the operator has named.
        FilesystemWrite = "filesystem_write",
        /// Reach hosts.
        NetworkAccess = "network_access",
        /// Read databases that the operator has named.
        DatabaseRead = "database_read",
        /// Change databases that the operator has named.
        DatabaseWrite = "database_write",
        /// Call APIs that the operator has named, with the operator's credentials.
        ApiAccess = "api_access",
        /// Read and write chat messages.
        ChatAccess = "chat_access",
        /// List and call every plugin.
        AdminAccess = "admin_access",
        /// Call one other plugin; asked for by `requires`, never written as a permission in plugin.yaml.
        Plugins = "plugins",
    }
}

/// The text is not a permission.
#[derive(Debug, thiserror::Error)]
#[error("unknown permission `{found}`; {hint}")]
pub struct UnknownPermission {
    found: String,
    hint: String,
}

impl Permission {
    /// The permissions a manifest may list.
    pub const DECLARABLE: [Self; 8] = [
        Self::FilesystemRead,
        Self::FilesystemWrite,
        Self::NetworkAccess,
        Self::DatabaseRead,
        Self::DatabaseWrite,
        Self::ApiAccess,
        Self::ChatAccess,
        Self::AdminAccess,
    ];

    /// The permissions that `access` can narrow to resources of the operator.
    pub const NARROWABLE: [Self; 5] =
        [Self::FilesystemRead, Self::FilesystemWrite, Self::DatabaseRead, Self::DatabaseWrite, Self::ApiAccess];

    /// Tells whether the permission leads to data that is not the plugin's own.
    pub const fn reaches_data(self) -> bool {
        matches!(
            self,
            Self::FilesystemRead
                | Self::FilesystemWrite
                | Self::DatabaseRead
                | Self::DatabaseWrite
                | Self::ApiAccess
                | Self::ChatAccess
        )
    }
}

impl FromStr for Permission {
    type Err = UnknownPermission;

    fn from_str(text: &str) -> Result<Self, UnknownPermission> {
        let found = Self::ALL.iter().copied().find(|permission| permission.as_str() == text);
        found.ok_or_else(|| UnknownPermission { found: escape(text), hint: hint(text, Self::ALL) })
    }
}

/// What was probably meant, or everything there is.
pub(super) fn hint(text: &str, known: &[Permission]) -> String {
    let names: Vec<&str> = known.iter().map(|permission| permission.as_str()).collect();
    match nearest(text, names.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("expected one of {}", names.join(", ")),
    }
}

/// A permission as asked for or granted; an empty scope means the whole of it.
///
/// Written as the bare name, or as `{"permission": …, "scope": […]}` where it is narrowed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PermissionRequest {
    /// What.
    pub permission: Permission,
    /// For which resources only.
    pub scope: Vec<String>,
}

impl PermissionRequest {
    /// The whole permission.
    pub const fn whole(permission: Permission) -> Self {
        Self { permission, scope: Vec::new() }
    }
}

impl fmt::Display for PermissionRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.permission.fmt(f)?;
        if !self.scope.is_empty() {
            write!(f, ":{}", self.scope.join(","))?;
        }
        Ok(())
    }
}

impl Serialize for PermissionRequest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.scope.is_empty() {
            return self.permission.serialize(serializer);
        }
        let mut object = serializer.serialize_struct("PermissionRequest", 2)?;
        object.serialize_field("permission", &self.permission)?;
        object.serialize_field("scope", &self.scope)?;
        object.end()
    }
}

impl<'de> Deserialize<'de> for PermissionRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Name(Permission),
            Narrowed(Narrowed),
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Narrowed {
            permission: Permission,
            scope: Vec<String>,
        }
        Ok(match Form::deserialize(deserializer)? {
            Form::Name(permission) => Self::whole(permission),
            Form::Narrowed(Narrowed { permission, scope }) => Self { permission, scope },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_name_or_names_its_scope() {
        let whole = PermissionRequest::whole(Permission::ChatAccess);
        assert_eq!(serde_json::to_string(&whole).unwrap(), r#""chat_access""#);
        let narrowed = PermissionRequest { permission: Permission::DatabaseRead, scope: vec!["chat".into()] };
        let json = r#"{"permission":"database_read","scope":["chat"]}"#;
        assert_eq!(serde_json::to_string(&narrowed).unwrap(), json);
        assert_eq!(serde_json::from_str::<PermissionRequest>(json).unwrap(), narrowed);
        assert_eq!(serde_json::from_str::<PermissionRequest>(r#""chat_access""#).unwrap(), whole);
        assert_eq!(narrowed.to_string(), "database_read:chat");
    }

    #[test]
    fn an_unknown_permission_names_the_nearest() {
        let error = "network_acess".parse::<Permission>().unwrap_err();
        assert_eq!(error.to_string(), "unknown permission `network_acess`; did you mean `network_access`?");
        for text in ["*", "all", "", "Chat_Access", "chat-access "] {
            assert!(text.parse::<Permission>().is_err(), "{text}");
        }
    }
}
