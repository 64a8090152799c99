//! What a request must look like, and what must be granted for it: the same as in a service, so that a trial refuses what a
//! service would.

use super::super::need::Need;
use super::super::{Asked, Host, HostError, api, chat, db, http, kv, plugins, read};
use plugbay_domain::escape;

impl Host {
    /// Refuses what a service would refuse before it does anything.
    pub(super) fn check_in_trial(&self, Asked { function, params, .. }: Asked<'_>) -> Result<(), HostError> {
        match function {
            "kv.get" | "kv.delete" => read::<kv::Key>(params).map(drop),
            "kv.set" => read::<kv::Set<'_>>(params).map(drop),
            "kv.list" => read::<kv::List>(params).map(drop),
            "db.query" => self.require(read::<db::Query>(params)?.need()),
            "db.execute" => self.require(read::<db::Execute>(params)?.need()),
            "http.fetch" => self.check_fetch(read::<http::Fetch>(params)?),
            "api.request" => self.require(read::<api::Request<'_>>(params)?.need()),
            "chat.send" => read::<chat::Send>(params).and_then(|_fits| self.require(Need::Chat)),
            "chat.history" => read::<chat::History>(params).and_then(|_fits| self.require(Need::Chat)),
            "plugins.execute" => {
                let plugin = read::<plugins::Execute>(params)?.plugin()?;
                self.require(Need::Plugin(&plugin))
            }
            "plugins.list" => read::<plugins::Nothing>(params).and_then(|_fits| self.require(Need::Admin)),
            _ => Err(HostError::Unknown { function: escape(function) }),
        }
    }
}
