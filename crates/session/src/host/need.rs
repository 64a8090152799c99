//! What a request needs to be granted, by the table of host functions, looked up at the moment it is made: what was
//! revoked ends at once.

use serde::Deserialize;
use tokio::time::Instant;

use super::{Host, HostError};
use plugbay_domain::{Access, Grants, HostFunction, HostNeed, Permission, PermissionUnit, PluginName, escape};
use plugbay_runtime::denials::{Denial, Door};

/// The parameters of a function.
pub(super) trait Params<'a>: Deserialize<'a> {
    /// The name of the resource that is asked for, where the permission is for one of several. Without it, such a
    /// permission is never granted.
    fn resource(&self) -> Option<&str> {
        None
    }
}

/// Parameters of a request that may be made. Only [`Host::admit`] makes it, so that no function works without a grant.
pub(super) struct Granted<T>(T);

impl<T> Granted<T> {
    pub(super) fn params(self) -> T {
        self.0
    }
}

/// A need, and the name of the resource that it is for.
#[derive(Clone, Copy)]
struct Need<'a>(HostNeed, &'a str);

impl Need<'_> {
    fn is_met(self, grants: &Grants) -> Result<bool, HostError> {
        let Self(need, name) = self;
        Ok(match need {
            // What the network is asked for, `egress` decides where it is reached.
            HostNeed::Nothing | HostNeed::Network => true,
            HostNeed::Database(access) => grants.database(name, access),
            HostNeed::Api => grants.api(name),
            HostNeed::Chat => grants.chat(),
            HostNeed::Plugin => {
                let name = plugin_name(name)?;
                grants.admin() || grants.edge(&name)
            }
            HostNeed::Admin => grants.admin(),
        })
    }

    /// What an administrator would have to grant.
    fn unit(self) -> Result<PermissionUnit, HostError> {
        let Self(need, name) = self;
        let part = |permission| {
            PermissionUnit::part(permission, name).map_err(|error| HostError::Invalid { rule: error.to_string() })
        };
        match need {
            HostNeed::Database(Access::Read) => part(Permission::DatabaseRead),
            HostNeed::Database(Access::Write) => part(Permission::DatabaseWrite),
            HostNeed::Api => part(Permission::ApiAccess),
            HostNeed::Plugin => part(Permission::Plugins),
            HostNeed::Chat => Ok(PermissionUnit::whole(Permission::ChatAccess)),
            // The first two are met without a grant.
            HostNeed::Nothing | HostNeed::Network | HostNeed::Admin => {
                Ok(PermissionUnit::whole(Permission::AdminAccess))
            }
        }
    }
}

/// A name of a plugin in a request.
pub(super) fn plugin_name(text: &str) -> Result<PluginName, HostError> {
    text.parse().map_err(|_not_one| HostError::Invalid { rule: format!("`{}` is no name", escape(text)) })
}

impl Host {
    /// Reads the parameters of a request, and refuses what was not granted for it.
    pub(super) fn admit<'a, T: Params<'a>>(
        &self,
        function: HostFunction,
        params: &'a str,
    ) -> Result<Granted<T>, HostError> {
        let params: T = super::read(params)?;
        self.require(Need(function.need(), params.resource().unwrap_or_default()))?;
        Ok(Granted(params))
    }

    /// Refuses what was not granted, and says so in the plugin's log and the audit log.
    fn require(&self, need: Need<'_>) -> Result<(), HostError> {
        if need.is_met(&self.asker.grants.load())? {
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
