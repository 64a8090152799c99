//! What a request must look like, and what must be granted for it: the same as in a service, so that a trial refuses what a
//! service would.

use super::super::need::Need;
use super::super::{Asked, Host, HostError, api, chat, db, http, kv, plugins, read};
use plugbay_domain::escape;
use plugbay_runtime::metrics::HostFunction;

/// Refuses what a service would refuse before it does anything.
pub(super) fn check(host: &Host, Asked { function, params, .. }: Asked<'_>) -> Result<(), HostError> {
    match HostFunction::of(function) {
        HostFunction::KvGet | HostFunction::KvDelete => read::<kv::Key>(params).map(drop),
        HostFunction::KvSet => read::<kv::Set<'_>>(params).map(drop),
        HostFunction::KvList => read::<kv::List>(params).map(drop),
        HostFunction::DbQuery => host.require(read::<db::Query>(params)?.need()),
        HostFunction::DbExecute => host.require(read::<db::Execute>(params)?.need()),
        HostFunction::HttpFetch => http::check(host, read::<http::Fetch>(params)?),
        HostFunction::ApiRequest => host.require(read::<api::Request<'_>>(params)?.need()),
        HostFunction::ChatSend => read::<chat::Send>(params).and_then(|_fits| host.require(Need::Chat)),
        HostFunction::ChatHistory => read::<chat::History>(params).and_then(|_fits| host.require(Need::Chat)),
        HostFunction::PluginsExecute => {
            let plugin = read::<plugins::Execute>(params)?.plugin()?;
            host.require(Need::Plugin(&plugin))
        }
        HostFunction::PluginsList => read::<plugins::Nothing>(params).and_then(|_fits| host.require(Need::Admin)),
        HostFunction::Unknown => Err(HostError::Unknown { function: escape(function) }),
    }
}
