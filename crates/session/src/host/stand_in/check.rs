//! What a request must look like, and what must be granted for it: the same as in a service, so that a trial refuses what a
//! service would.

use super::super::need::Params;
use super::super::{Asked, Host, HostError, api, chat, db, http, kv, plugins};
use plugbay_domain::{HostFunction, escape};

/// Refuses what a service would refuse before it does anything.
pub(super) fn check(host: &Host, Asked { function: name, params, .. }: Asked<'_>) -> Result<(), HostError> {
    let function = HostFunction::of(name);
    match function {
        HostFunction::KvGet | HostFunction::KvDelete => admit::<kv::Key>(host, function, params),
        HostFunction::KvSet => admit::<kv::Set<'_>>(host, function, params),
        HostFunction::KvList => admit::<kv::List>(host, function, params),
        HostFunction::DbQuery => admit::<db::Query>(host, function, params),
        HostFunction::DbExecute => admit::<db::Execute>(host, function, params),
        HostFunction::HttpFetch | HostFunction::HttpStream => http::check(host, host.admit(function, params)?),
        HostFunction::HttpRead | HostFunction::HttpClose => admit::<http::stream::OfStream>(host, function, params),
        HostFunction::ApiRequest => admit::<api::Request<'_>>(host, function, params),
        HostFunction::ChatSend => admit::<chat::Send>(host, function, params),
        HostFunction::ChatHistory => admit::<chat::History>(host, function, params),
        HostFunction::PluginsExecute => admit::<plugins::Execute>(host, function, params),
        HostFunction::PluginsList => admit::<plugins::Nothing>(host, function, params),
        HostFunction::Unknown => Err(HostError::Unknown { function: escape(name) }),
    }
}

fn admit<'a, T: Params<'a>>(host: &Host, function: HostFunction, params: &'a str) -> Result<(), HostError> {
    host.admit::<T>(function, params).map(drop)
}
