//! `kv.get`, `kv.set`, `kv.delete`, `kv.list`: small values of the plugin's own. They need no permission, since they
//! touch nobody else's data; a quota bounds them.

mod writes;

use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use serde_json::value::RawValue;

pub(super) use writes::Writes;
use writes::{Change, Ground};

use super::need::{Granted, Params};
use super::{Host, HostError};
use plugbay_domain::{Code, Timestamp};
use plugbay_store::kv::Wanted;

/// Bytes of a key.
const MAX_KEY_BYTES: usize = 256;

/// Bytes of a value as JSON.
const MAX_VALUE_BYTES: usize = 64 * 1024;

/// Values of one plugin.
const MAX_VALUES: u64 = 4_096;

/// Keys that are read at once.
const MAX_PAGE: u16 = 256;

/// Longest time until a value expires, in seconds: a hundred years.
const MAX_EXPIRY_SECONDS: f64 = 3_155_760_000.0;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Key {
    key: String,
    #[serde(rename = "call", default)]
    _call: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Set<'a> {
    key: String,
    #[serde(borrow)]
    value: &'a RawValue,
    #[serde(default)]
    expires_seconds: Option<f64>,
    #[serde(rename = "call", default)]
    _call: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    #[serde(default)]
    prefix: String,
    /// The key that the page follows.
    #[serde(default)]
    after: Option<String>,
    /// Keys of one page; the whole list when neither this nor `after` is there.
    #[serde(default)]
    limit: Option<u16>,
    #[serde(rename = "call", default)]
    _call: Option<IgnoredAny>,
}

impl Params<'_> for Key {}

impl<'a> Params<'a> for Set<'a> {}

impl Params<'_> for List {}

/// Bytes that a plugin may keep.
#[derive(Clone, Copy, Debug)]
struct Limit {
    bytes: u64,
}

pub(super) async fn get(host: &Host, key: Granted<Key>) -> Result<Box<RawValue>, HostError> {
    let Key { key, .. } = key.params();
    let mut reader = host.store.reader().await?;
    let found = plugbay_store::kv::find(&mut reader, host.asker.data, &key, host.parts.clock.now()).await?;
    Ok(found.map_or_else(
        || super::json(&json!({"found": false})),
        // It was JSON when it came, and is kept as it came.
        |value| RawValue::from_string(format!(r#"{{"found":true,"value":{value}}}"#)).expect("a stored value is JSON"),
    ))
}

pub(super) async fn set(host: &Host, set: Granted<Set<'_>>) -> Result<Box<RawValue>, HostError> {
    let Set { key, value, expires_seconds, .. } = set.params();
    let value = value.get();
    within("a key", key.len(), MAX_KEY_BYTES)?;
    within("a value", value.len(), MAX_VALUE_BYTES)?;
    if key.is_empty() {
        return Err(HostError::Invalid { rule: "`key` is empty".to_owned() });
    }
    let now = host.parts.clock.now();
    let expires_at = expires_seconds.map(|seconds| expiry(now, seconds)).transpose()?;
    change(host, Change::Set { key, value: value.to_owned(), expires_at }).await
}

pub(super) async fn delete(host: &Host, key: Granted<Key>) -> Result<Box<RawValue>, HostError> {
    let Key { key, .. } = key.params();
    // No longer key was ever kept, and a longer one would be held in memory until its turn.
    within("a key", key.len(), MAX_KEY_BYTES)?;
    change(host, Change::Delete { key }).await
}

async fn change(host: &Host, change: Change) -> Result<Box<RawValue>, HostError> {
    let (data, clock, most) = (host.asker.data, &*host.parts.clock, Limit { bytes: host.parts.kv_bytes });
    host.writes.make(Ground { store: &host.store, data, clock, most }, change).await?;
    Ok(RawValue::NULL.to_owned())
}

/// Reads page by page and waits for its turn before each, so that no list holds up others longer than a page takes.
pub(super) async fn list(host: &Host, list: Granted<List>) -> Result<Box<RawValue>, HostError> {
    let List { prefix, after, limit, .. } = list.params();
    if let Some(found) = limit.filter(|limit| !(1..=MAX_PAGE).contains(limit)) {
        return Err(HostError::Invalid { rule: format!("`limit` is 1 to {MAX_PAGE}, found {found}") });
    }
    let is_one_page = limit.is_some() || after.is_some();
    let page = limit.unwrap_or(MAX_PAGE);
    let (mut keys, mut after): (Vec<String>, _) = (Vec::new(), after);
    loop {
        // One more than a page tells whether another one follows.
        let mut found = {
            let mut reader = host.store.reader().await?;
            let wanted = Wanted { prefix: &prefix, after: after.as_deref(), limit: i64::from(page) + 1 };
            plugbay_store::kv::list(&mut reader, host.asker.data, wanted, host.parts.clock.now()).await?
        };
        let has_more = found.len() > usize::from(page);
        found.truncate(usize::from(page));
        keys.append(&mut found);
        after = keys.last().filter(|_| has_more).cloned();
        // What came meanwhile may make the list longer than a plugin may keep at one time.
        let is_full = keys.len() as u64 >= MAX_VALUES;
        match after {
            Some(next) if is_one_page => return Ok(super::json(&json!({"keys": keys, "next": next}))),
            Some(_) if !is_full => {}
            _ => return Ok(super::json(&json!({"keys": keys}))),
        }
    }
}

fn within(what: &str, found: usize, most: usize) -> Result<(), HostError> {
    if found <= most {
        return Ok(());
    }
    let rule = format!("{what} has {found} bytes; at most {most} are kept");
    Err(HostError::Refused { code: Code::QuotaExceeded, rule })
}

fn expiry(now: Timestamp, seconds: f64) -> Result<Timestamp, HostError> {
    if !(seconds > 0.0 && seconds <= MAX_EXPIRY_SECONDS) {
        let rule = format!("`expires_seconds` is more than 0 and at most {MAX_EXPIRY_SECONDS}, found {seconds}");
        return Err(HostError::Invalid { rule });
    }
    Ok(now.plus(Duration::from_secs_f64(seconds)))
}

#[cfg(test)]
mod tests;
