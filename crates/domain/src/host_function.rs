//! What plugins may ask of the service, in one table: the name of each function, which is also its label in
//! `plugin_host_requests_total`, and what must be granted for it.

use crate::{Access, words};

/// What must be granted before a host function does anything. Where it is for one resource, the request names that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostNeed {
    /// Nothing: it touches what is the plugin's own.
    Nothing,
    /// `network_access` for the host, decided by `egress` for each address that is reached.
    Network,
    /// `database_read` or `database_write` for one database.
    Database(Access),
    /// `api_access` for one API.
    Api,
    /// `chat_access`.
    Chat,
    /// The edge to one plugin, or `admin_access`.
    Plugin,
    /// `admin_access`.
    Admin,
}

/// Makes [`HostFunction`]: no row is without a need.
macro_rules! host_functions {
    ($($function:ident = $name:literal needs $need:expr;)*) => {
        words! {
            /// The host functions.
            HostFunction {
                $(#[doc = concat!("`", $name, "`")] $function = $name,)*
                /// Any other name.
                Unknown = "unknown",
            }
        }

        impl HostFunction {
            /// What must be granted for it.
            pub const fn need(self) -> HostNeed {
                match self {
                    $(Self::$function => $need,)*
                    Self::Unknown => HostNeed::Admin,
                }
            }
        }
    };
}

host_functions! {
    KvGet = "kv.get" needs HostNeed::Nothing;
    KvSet = "kv.set" needs HostNeed::Nothing;
    KvDelete = "kv.delete" needs HostNeed::Nothing;
    KvList = "kv.list" needs HostNeed::Nothing;
    DbQuery = "db.query" needs HostNeed::Database(Access::Read);
    DbExecute = "db.execute" needs HostNeed::Database(Access::Write);
    HttpFetch = "http.fetch" needs HostNeed::Network;
    HttpStream = "http.stream" needs HostNeed::Network;
    HttpRead = "http.read" needs HostNeed::Nothing;
    HttpClose = "http.close" needs HostNeed::Nothing;
    ApiRequest = "api.request" needs HostNeed::Api;
    ChatSend = "chat.send" needs HostNeed::Chat;
    ChatHistory = "chat.history" needs HostNeed::Chat;
    PluginsExecute = "plugins.execute" needs HostNeed::Plugin;
    PluginsList = "plugins.list" needs HostNeed::Admin;
}

impl HostFunction {
    /// The function of this name.
    pub fn of(name: &str) -> Self {
        use crate::Word as _;
        Self::ALL.iter().copied().find(|function| function.as_str() == name).unwrap_or(Self::Unknown)
    }
}
