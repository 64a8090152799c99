//! What a request needs to be granted, looked up at the moment it is made: what was revoked ends at once.

use tokio::time::Instant;

use super::{Host, HostError};
use plugbay_domain::{Access, Grants, Permission, PermissionUnit, PluginName};
use plugbay_runtime::denials::{Denial, Door};

/// A permission, for one resource where there are several.
#[derive(Clone, Copy, Debug)]
pub(super) enum Need<'a> {
    /// The operator's database of this name.
    Database(&'a str, Access),
    /// The operator's API of this name.
    Api(&'a str),
    /// Messages of a conversation.
    Chat,
    /// Another plugin by its name.
    Plugin(&'a PluginName),
    /// Everything about all plugins.
    Admin,
}

impl Need<'_> {
    fn is_met(self, grants: &Grants) -> bool {
        match self {
            Self::Database(name, access) => grants.database(name, access),
            Self::Api(name) => grants.api(name),
            Self::Chat => grants.chat(),
            Self::Plugin(name) => grants.admin() || grants.edge(name),
            Self::Admin => grants.admin(),
        }
    }

    /// What an administrator would have to grant.
    fn unit(self) -> Result<PermissionUnit, HostError> {
        let part = |permission, part: &str| {
            PermissionUnit::part(permission, part).map_err(|error| HostError::Invalid { rule: error.to_string() })
        };
        match self {
            Self::Database(name, Access::Read) => part(Permission::DatabaseRead, name),
            Self::Database(name, Access::Write) => part(Permission::DatabaseWrite, name),
            Self::Api(name) => part(Permission::ApiAccess, name),
            Self::Plugin(name) => part(Permission::Plugins, name.as_str()),
            Self::Chat => Ok(PermissionUnit::whole(Permission::ChatAccess)),
            Self::Admin => Ok(PermissionUnit::whole(Permission::AdminAccess)),
        }
    }
}

impl Host {
    /// Refuses what was not granted, and says so in the plugin's log and the audit log.
    pub(super) fn require(&self, need: Need<'_>) -> Result<(), HostError> {
        if need.is_met(&self.asker.grants.load()) {
            return Ok(());
        }
        let unit = need.unit()?;
        let wanted = unit.request().to_string();
        let how = self.way_to(&wanted);
        let denied = HostError::Denied { permission: unit.permission, wanted, how: how.clone() };
        let denial = Denial { rule: "permission-denied", text: denied.to_string(), how, is_by_rule: true };
        self.parts.denials.note(self.asker.id, &self.asker.name, Door::HostFunction, denial, Instant::now());
        Err(denied)
    }

    /// The command that grants something.
    pub(super) fn way_to(&self, wanted: &str) -> String {
        match &self.parts.stand_in {
            None => format!("plugbay approve {} --grant {wanted}", self.asker.name),
            Some(_) => format!("plugbay test DIR --grant {wanted}"),
        }
    }
}
