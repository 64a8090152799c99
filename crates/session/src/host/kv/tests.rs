use std::sync::Arc;

use serde_json::Value;

use tokio::time::Instant;

use super::super::{Asked, Asker, HostParts};
use super::*;
use plugbay_domain::{ManualClock, Origin};
use plugbay_runtime::denials::Denials;
use plugbay_store::{Missing, Store};

struct Bench {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    parts: HostParts,
    host: Host,
}

async fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("plugbay.db"), Missing::Create).await.unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_800_000_000_000).unwrap()));
    let (denials, _reports) = Denials::new();
    let parts = HostParts { kv_bytes: 100_000, ..HostParts::for_testing(folder.path(), store, clock.clone(), denials) };
    Bench { folder, clock, host: Host::new(Asker::for_testing("asker"), parts.clone()), parts }
}

async fn ask(host: &Host, function: &str, params: Value) -> Result<Value, HostError> {
    let params = params.to_string();
    let deadline = Instant::now() + Duration::from_secs(10);
    let answer = host
        .answer(Asked { function, params: &params, call: None, deadline, origin: Origin::default(), over: None })
        .await?;
    Ok(serde_json::from_str(answer.get()).unwrap())
}

#[tokio::test]
async fn values_come_back_as_they_were_and_belong_to_one_plugin() {
    let bench = bench().await;
    let value = json!({"a": [1, null, "é\n"]});
    ask(&bench.host, "kv.set", json!({"key": "k", "value": value, "call": "call_x"})).await.unwrap();
    assert_eq!(ask(&bench.host, "kv.get", json!({"key": "k"})).await.unwrap(), json!({"found": true, "value": value}));
    let other = Host::new(Asker::for_testing("other"), bench.parts.clone());
    assert_eq!(ask(&other, "kv.get", json!({"key": "k"})).await.unwrap(), json!({"found": false}));
    ask(&bench.host, "kv.set", json!({"key": "k", "value": null})).await.unwrap();
    assert_eq!(ask(&bench.host, "kv.get", json!({"key": "k"})).await.unwrap(), json!({"found": true, "value": null}));
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

/// Starts as many requests at once as a session may have open.
fn flood(hosts: &[Host], function: &'static str, params: impl Fn(usize) -> Value) -> tokio::task::JoinSet<()> {
    let mut flood = tokio::task::JoinSet::new();
    for (host, at) in hosts.iter().flat_map(|host| (0..60).map(move |at| (host.clone(), at))) {
        let params = params(at);
        flood.spawn(async move { drop(ask(&host, function, params).await) });
    }
    flood
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_plugins_leave_the_service_its_turns() {
    let bench = bench().await;
    let hosts: Vec<_> =
        (0..6).map(|at| Host::new(Asker::for_testing(&format!("loud{at}")), bench.parts.clone())).collect();
    let mut tx = bench.parts.store.begin().await.unwrap();
    for host in &hosts {
        for at in 0..4_000 {
            let key = format!("key-{at:05}");
            plugbay_store::kv::set_many(&mut tx, host.asker.data, &[(&key, "1", None)]).await.unwrap();
        }
    }
    tx.commit().await.unwrap();
    let lists = flood(&hosts, "kv.list", |_| json!({}));
    let sets = flood(&hosts, "kv.set", |at| json!({"key": format!("key-{at:05}"), "value": at}));
    // The flood stands in line before the service asks.
    tokio::task::yield_now().await;
    for what in ["reader", "writer"] {
        for _ in 0..10 {
            let began = Instant::now();
            match what {
                "reader" => drop(bench.parts.store.reader().await.unwrap()),
                _ => bench.parts.store.begin().await.unwrap().commit().await.unwrap(),
            }
            let took = began.elapsed();
            // Five times what callers are promised.
            assert!(took < Duration::from_millis(1_250), "the service waited {took:?} for a {what}");
        }
    }
    assert!(lists.len() + sets.len() > 0);
}

#[tokio::test]
async fn lists_are_read_in_pages_and_come_whole_or_page_by_page() {
    let bench = bench().await;
    let keys: Vec<_> = (0..600).map(|at| format!("key-{at:03}")).collect();
    let mut tx = bench.parts.store.begin().await.unwrap();
    for key in &keys {
        plugbay_store::kv::set_many(&mut tx, bench.host.asker.data, &[(key, "1", None)]).await.unwrap();
    }
    tx.commit().await.unwrap();
    let list = async |params: Value| ask(&bench.host, "kv.list", params).await.unwrap();
    assert_eq!(list(json!({})).await, json!({ "keys": keys }));
    let mut pages = Vec::new();
    let mut params = json!({"prefix": "key-", "limit": 250});
    loop {
        let page = list(params.clone()).await;
        pages.push(page["keys"].as_array().unwrap().clone());
        let Some(next) = page.get("next") else { break };
        params["after"] = next.clone();
    }
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [250, 250, 100]);
    assert_eq!(Value::Array(pages.concat()), json!(keys));
    let after = list(json!({"after": "key-255"})).await;
    assert_eq!((after["keys"].as_array().unwrap().len(), &after["next"]), (256, &json!("key-511")));
    // A page that ends with the last key is the last one.
    assert!(list(json!({"after": "key-343"})).await.get("next").is_none());
    for limit in [json!(0), json!(257), json!(-1)] {
        let refused = ask(&bench.host, "kv.list", json!({ "limit": limit })).await;
        assert!(matches!(refused, Err(HostError::Invalid { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn changes_that_wait_together_are_kept_in_one_commit_in_their_order() {
    let bench = bench().await;
    // Every commit writes at least one page with its head.
    let log = || std::fs::metadata(bench.folder.path().join("plugbay.db-wal")).unwrap().len() / (4096 + 24);
    let writing = bench.parts.store.begin().await.unwrap();
    let before = log();
    let asked = (0..40).map(|at| {
        let key = format!("key-{}", at % 4);
        let params = if at % 10 == 9 { json!({ "key": key }) } else { json!({ "key": key, "value": at }) };
        ask(&bench.host, if at % 10 == 9 { "kv.delete" } else { "kv.set" }, params)
    });
    let all = futures_util::future::join_all(asked);
    let freed = async {
        tokio::task::yield_now().await;
        writing.commit().await.unwrap();
    };
    let (answers, ()) = tokio::join!(all, freed);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let pages = log() - before;
    assert!((1..10).contains(&pages), "{pages} pages for 40 changes");
    let get = async |key: &str| ask(&bench.host, "kv.get", json!({ "key": key })).await.unwrap();
    assert_eq!(get("key-2").await, json!({"found": true, "value": 38}));
    assert_eq!(get("key-3").await, json!({"found": false}));
}

#[tokio::test]
async fn a_change_that_is_given_up_takes_no_other_with_it() {
    let bench = bench().await;
    let writing = bench.parts.store.begin().await.unwrap();
    let mut first = Box::pin(ask(&bench.host, "kv.set", json!({"key": "first", "value": 1})));
    let mut second = Box::pin(ask(&bench.host, "kv.set", json!({"key": "second", "value": 2})));
    // The first has the plugin's place and waits for the writer; the second waits for the first.
    assert!(futures_util::FutureExt::now_or_never(&mut first).is_none());
    assert!(futures_util::FutureExt::now_or_never(&mut second).is_none());
    drop(first);
    writing.commit().await.unwrap();
    second.await.unwrap();
    let found = ask(&bench.host, "kv.list", json!({})).await.unwrap();
    assert_eq!(found, json!({"keys": ["second"]}));
}
