//! `kv.get`, `kv.set`, `kv.delete`, `kv.list`: small values of the plugin's own. They need no permission, since they
//! touch nobody else's data; a quota bounds them.

use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use serde_json::value::RawValue;

use super::{Host, HostError};
use crate::domain::{Code, Timestamp};
use crate::store;

/// Bytes of a key.
const MAX_KEY_BYTES: usize = 256;

/// Bytes of a value as JSON.
const MAX_VALUE_BYTES: usize = 64 * 1024;

/// Values of one plugin.
const MAX_VALUES: u64 = 4_096;

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
pub(super) struct Prefix {
    #[serde(default)]
    prefix: String,
    #[serde(rename = "call", default)]
    _call: Option<IgnoredAny>,
}

impl Host {
    pub(super) async fn kv_get(&self, Key { key, .. }: Key) -> Result<Box<RawValue>, HostError> {
        let mut reader = self.parts.store.reader().await?;
        let found = store::kv::find(&mut reader, self.asker.data, &key, self.parts.clock.now()).await?;
        Ok(found.map_or_else(
            || super::json(&json!({"found": false})),
            // It was JSON when it came, and is kept as it came.
            |value| {
                RawValue::from_string(format!(r#"{{"found":true,"value":{value}}}"#)).expect("a stored value is JSON")
            },
        ))
    }

    pub(super) async fn kv_set(&self, set: Set<'_>) -> Result<Box<RawValue>, HostError> {
        let Set { key, value, expires_seconds, .. } = set;
        let value = value.get();
        within("a key", key.len(), MAX_KEY_BYTES)?;
        within("a value", value.len(), MAX_VALUE_BYTES)?;
        if key.is_empty() {
            return Err(HostError::Invalid { rule: "`key` is empty".to_owned() });
        }
        let now = self.parts.clock.now();
        let expires_at = expires_seconds.map(|seconds| expiry(now, seconds)).transpose()?;
        let mut tx = self.parts.store.begin().await?;
        let kept = store::kv::kept_besides(&mut tx, self.asker.data, &key, now).await?;
        let bytes = kept.bytes.saturating_add((key.len() + value.len()) as u64);
        if kept.values >= MAX_VALUES || bytes > self.parts.kv_bytes {
            let most = self.parts.kv_bytes;
            let rule = format!("a plugin keeps at most {MAX_VALUES} values and {most} bytes; delete some first");
            return Err(HostError::Refused { code: Code::QuotaExceeded, rule });
        }
        store::kv::set(&mut tx, self.asker.data, &key, value, expires_at).await?;
        tx.commit().await?;
        Ok(RawValue::NULL.to_owned())
    }

    pub(super) async fn kv_delete(&self, Key { key, .. }: Key) -> Result<Box<RawValue>, HostError> {
        let mut tx = self.parts.store.begin().await?;
        store::kv::delete(&mut tx, self.asker.data, &key).await?;
        tx.commit().await?;
        Ok(RawValue::NULL.to_owned())
    }

    pub(super) async fn kv_list(&self, Prefix { prefix, .. }: Prefix) -> Result<Box<RawValue>, HostError> {
        let mut reader = self.parts.store.reader().await?;
        let keys = store::kv::list(&mut reader, self.asker.data, &prefix, self.parts.clock.now()).await?;
        Ok(super::json(&json!({"keys": keys})))
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
mod tests {
    use std::sync::Arc;

    use serde_json::Value;

    use tokio::time::Instant;

    use super::super::{Asked, Asker, HostParts};
    use super::*;
    use crate::denials::Denials;
    use crate::domain::{ManualClock, Origin};
    use crate::store::{Missing, Store};

    struct Bench {
        _folder: tempfile::TempDir,
        clock: Arc<ManualClock>,
        parts: HostParts,
        host: Host,
    }

    async fn bench() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("plugbay.db"), Missing::Create).await.unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_800_000_000_000).unwrap()));
        let (denials, _reports) = Denials::new();
        let parts =
            HostParts { kv_bytes: 100_000, ..HostParts::for_testing(folder.path(), store, clock.clone(), denials) };
        Bench { _folder: folder, clock, host: Host::new(Asker::for_testing("asker"), parts.clone()), parts }
    }

    async fn ask(host: &Host, function: &str, params: Value) -> Result<Value, HostError> {
        let params = params.to_string();
        let deadline = Instant::now() + Duration::from_secs(10);
        let answer =
            host.answer(Asked { function, params: &params, call: None, deadline, origin: Origin::default() }).await?;
        Ok(serde_json::from_str(answer.get()).unwrap())
    }

    #[tokio::test]
    async fn values_come_back_as_they_were_and_belong_to_one_plugin() {
        let bench = bench().await;
        let value = json!({"a": [1, null, "é\n"]});
        ask(&bench.host, "kv.set", json!({"key": "k", "value": value, "call": "call_x"})).await.unwrap();
        assert_eq!(
            ask(&bench.host, "kv.get", json!({"key": "k"})).await.unwrap(),
            json!({"found": true, "value": value})
        );
        let other = Host::new(Asker::for_testing("other"), bench.parts.clone());
        assert_eq!(ask(&other, "kv.get", json!({"key": "k"})).await.unwrap(), json!({"found": false}));
        ask(&bench.host, "kv.set", json!({"key": "k", "value": null})).await.unwrap();
        assert_eq!(
            ask(&bench.host, "kv.get", json!({"key": "k"})).await.unwrap(),
            json!({"found": true, "value": null})
        );
        ask(&bench.host, "kv.delete", json!({"key": "k"})).await.unwrap();
        ask(&bench.host, "kv.delete", json!({"key": "k"})).await.unwrap();
        assert_eq!(ask(&bench.host, "kv.get", json!({"key": "k"})).await.unwrap(), json!({"found": false}));
    }

    #[tokio::test]
    async fn keys_are_listed_by_their_beginning_and_no_pattern() {
        let bench = bench().await;
        for key in ["b", "a%2", "a%1", "aB", "a_"] {
            ask(&bench.host, "kv.set", json!({"key": key, "value": 1})).await.unwrap();
        }
        let list = async |prefix: &str| ask(&bench.host, "kv.list", json!({"prefix": prefix})).await.unwrap();
        assert_eq!(list("a%").await, json!({"keys": ["a%1", "a%2"]}));
        assert_eq!(list("ab").await, json!({"keys": []}));
        assert_eq!(list("").await, json!({"keys": ["a%1", "a%2", "aB", "a_", "b"]}));
    }

    #[tokio::test]
    async fn what_has_expired_is_gone() {
        let bench = bench().await;
        ask(&bench.host, "kv.set", json!({"key": "k", "value": 1, "expires_seconds": 1.5})).await.unwrap();
        bench.clock.advance(Duration::from_secs(1));
        assert_eq!(ask(&bench.host, "kv.get", json!({"key": "k"})).await.unwrap()["found"], json!(true));
        bench.clock.advance(Duration::from_secs(1));
        assert_eq!(ask(&bench.host, "kv.get", json!({"key": "k"})).await.unwrap(), json!({"found": false}));
        assert_eq!(ask(&bench.host, "kv.list", json!({})).await.unwrap(), json!({"keys": []}));
        for seconds in [json!(0), json!(-1), json!(1e300)] {
            let refused = ask(&bench.host, "kv.set", json!({"key": "k", "value": 1, "expires_seconds": seconds})).await;
            assert!(matches!(refused, Err(HostError::Invalid { .. })), "{refused:?}");
        }
    }

    #[tokio::test]
    async fn a_quota_bounds_what_is_kept_and_leaves_what_is_there() {
        let bench = bench().await;
        let full = json!("x".repeat(49_000));
        for key in ["a", "b"] {
            ask(&bench.host, "kv.set", json!({"key": key, "value": full})).await.unwrap();
        }
        for params in [
            json!({"key": "c", "value": full}),
            json!({"key": "c", "value": "x".repeat(MAX_VALUE_BYTES)}),
            json!({"key": "k".repeat(MAX_KEY_BYTES + 1), "value": 1}),
        ] {
            let refused = ask(&bench.host, "kv.set", params).await.unwrap_err();
            assert_eq!(refused.data(), Some(json!({"code": "quota-exceeded"})));
        }
        // Its own old value does not count against a new one.
        ask(&bench.host, "kv.set", json!({"key": "a", "value": full})).await.unwrap();
        ask(&bench.host, "kv.set", json!({"key": "a", "value": 1})).await.unwrap();
        ask(&bench.host, "kv.set", json!({"key": "c", "value": full})).await.unwrap();
    }

    #[tokio::test]
    async fn other_parameters_and_functions_are_refused() {
        let bench = bench().await;
        for (function, params) in
            [("kv.get", json!({})), ("kv.get", json!({"key": 1})), ("kv.set", json!({"key": "", "value": 1}))]
        {
            let refused = ask(&bench.host, function, params).await;
            assert!(matches!(refused, Err(HostError::Invalid { .. })), "{refused:?}");
        }
        let unknown = ask(&bench.host, "kv.drop", json!({})).await;
        assert!(matches!(unknown, Err(HostError::Unknown { .. })));
    }
}
