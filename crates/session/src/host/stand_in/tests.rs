use std::sync::Arc;

use serde_json::json;
use tokio::time::{Duration, Instant};

use super::*;
use crate::host::{Asker, HostParts};
use plugbay_domain::{Grants, Origin, Permission, PermissionUnit};
use plugbay_store::{Missing, Store};

async fn bench(yaml: &str, granted: &[PermissionUnit]) -> (tempfile::TempDir, Host, Arc<StandIn>) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("plugbay.db"), Missing::Create).await.unwrap();
    let (denials, _reports) = plugbay_runtime::denials::Denials::new();
    let stand_in = Arc::new(StandIn::parse(yaml.as_bytes(), false).unwrap());
    let parts = HostParts {
        stand_in: Some(Arc::clone(&stand_in)),
        ..HostParts::for_testing(folder.path(), store, Arc::new(plugbay_domain::SystemClock), denials)
    };
    let host = Host::new(Asker::for_testing("asker"), parts);
    host.asker.grants.store(Arc::new(Grants::of(granted)));
    (folder, host, stand_in)
}

async fn ask(host: &Host, function: &str, params: Value) -> Result<Value, HostError> {
    let (params, deadline) = (params.to_string(), Instant::now() + Duration::from_mins(1));
    let origin = Origin { conversation: None, depth: 0 };
    let answer = host.answer(Asked { function, params: &params, call: None, deadline, origin, over: None }).await?;
    Ok(serde_json::from_str(answer.get()).unwrap())
}

#[tokio::test]
async fn answers_come_in_their_order_and_are_counted_only_when_they_are_given() {
    let yaml = "plugins.list:\n  - plugins: [1]\n  - refuse: { code: rate-limited, text: slow }\n";
    let (_folder, host, stand_in) = bench(yaml, &[]).await;
    let refused = ask(&host, "plugins.list", json!({})).await.unwrap_err();
    assert_eq!(refused.data().unwrap()["how"], "plugbay test DIR --grant admin_access");
    host.asker.grants.store(Arc::new(Grants::of(&[PermissionUnit::whole(Permission::AdminAccess)])));
    let wrong = ask(&host, "plugins.list", json!({"more": 1})).await;
    assert!(matches!(wrong, Err(HostError::Invalid { .. })), "{wrong:?}");
    assert_eq!(ask(&host, "plugins.list", json!({"call": 7})).await.unwrap(), json!({"plugins": [1]}));
    assert_eq!(ask(&host, "plugins.list", json!({})).await.unwrap_err().data(), Some(json!({"code": "rate-limited"})));
    let over = ask(&host, "plugins.list", json!({})).await.unwrap_err();
    assert!(over.to_string().ends_with("--fake-host answers: 2"), "{over}");
    let noted = serde_json::to_value(stand_in.take_noted()).unwrap();
    assert_eq!(noted[2], json!({"function": "plugins.list", "params": {}, "answered_by": "file"}));
    assert_eq!(noted.as_array().unwrap().len(), 5);
    assert!(stand_in.take_noted().is_empty());
}

#[tokio::test]
async fn small_values_are_kept_and_what_has_no_answer_names_the_flag() {
    let all = [Permission::NetworkAccess, Permission::AdminAccess, Permission::ApiAccess, Permission::DatabaseWrite];
    let (_folder, host, _stand_in) = bench("kv.list: { keys: [canned] }", &all.map(PermissionUnit::whole)).await;
    ask(&host, "kv.set", json!({"key": "k", "value": [1]})).await.unwrap();
    assert_eq!(ask(&host, "kv.get", json!({"key": "k"})).await.unwrap()["value"], json!([1]));
    assert_eq!(ask(&host, "kv.list", json!({})).await.unwrap(), json!({"keys": ["canned"]}));
    for (function, params) in [
        ("http.fetch", json!({"url": "https://a.example/"})),
        ("http.stream", json!({"url": "https://a.example/"})),
        ("http.read", json!({"stream": "stream_1"})),
        ("api.request", json!({"name": "a", "method": "GET", "path": "/"})),
        ("db.execute", json!({"name": "a", "sql": "DELETE FROM t"})),
        ("plugins.execute", json!({"name": "other"})),
        ("plugins.list", json!({})),
    ] {
        let refused = ask(&host, function, params).await.unwrap_err();
        assert!(refused.to_string().contains("--fake-host"), "{function}: {refused}");
        let how = refused.data().unwrap()["how"].as_str().unwrap().to_owned();
        let example = how.split_once(", with `").unwrap().1.split_once("` in it").unwrap().0.to_owned();
        assert!(StandIn::parse(example.as_bytes(), false).is_ok(), "{example}");
    }
    assert!(matches!(ask(&host, "kv.gte", json!({})).await, Err(HostError::Unknown { .. })));
}

#[tokio::test]
async fn requests_that_are_noted_are_bounded() {
    let (_folder, host, stand_in) = bench("kv.get: { found: false }", &[]).await;
    ask(&host, "kv.get", json!({"key": "x".repeat(MAX_NOTED_BYTES)})).await.unwrap();
    for _ in 0..MOST_NOTED {
        ask(&host, "kv.get", json!({"key": "k"})).await.unwrap();
    }
    let noted = stand_in.take_noted();
    assert_eq!((noted.len(), noted[0].params.is_none(), noted[1].params.is_some()), (MOST_NOTED, true, true));
}

#[test]
fn a_file_is_read_strictly() {
    let errors = |text: &str| {
        let errors = StandIn::parse(text.as_bytes(), text.starts_with('{')).unwrap_err();
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    for (text, part) in [
        ("- 1", "expected functions"),
        ("kv.gte: {}", "did you mean `kv.get`?"),
        ("kv.get: 7", "expected an answer such as `{ found: true, value: 1 }`"),
        ("kv.get: []", "at least one"),
        ("http.fetch: { status: ok }", "/http.fetch/status: expected `status`"),
        ("chat.send: { refuse: { code: no-such-code, text: x } }", "docs/problems.md"),
        ("chat.send: { refuse: { code: rate-limited } }", "docs/problems.md"),
        ("http.read: { dta: x }", "at the end, `end: true`"),
        ("http.read: [{ end: true }, { end: false }]", "/http.read/1: expected `data: TEXT`"),
        ("kv.get: { found: no }", "line 1"),
        (r#"{"kv.get": {"found": tru}}"#, "line 1 column"),
    ] {
        let found = errors(text);
        assert!(found.contains(part), "{text}: {found}");
    }
    assert!(StandIn::parse("kv.get: { found: false }".as_bytes(), false).is_ok());
    assert!(StandIn::parse(br#"{"http.fetch": [{"status": 200, "body": {"a": "\ud83d\ude00"}}]}"#, true).is_ok());
}
