//! Plugins that end when they should not: each end is told apart, and the next call works.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::client::fixture;
use super::served::Served;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_is_told_with_its_code_and_the_next_call_works() {
    let Some(served) = Served::with("probe").await else { return };
    let problem = served.call("probe", "crash", json!({"code": 3})).await.expect_problem(502, "plugin-crashed");
    assert_eq!(problem["exit_code"], 3, "{problem}");
    assert_eq!(served.result("probe", "execute", json!({"a": 1})).await, json!({"echo": {"a": 1}}));
    let plugin = served.plugin("probe").await;
    let failure = &plugin["last_failure"];
    assert_eq!((&failure["kind"], &failure["exit_code"]), (&json!("crash"), &json!(3)), "{failure}");
    assert_eq!((&plugin["restarts"], &plugin["status"]), (&json!(1), &json!("enabled")));
    served.until_logged("probe", "last words").await;

    let problem =
        served.call("probe", "crash", json!({"signal": "SIGSEGV"})).await.expect_problem(502, "plugin-crashed");
    assert_eq!(problem["signal"], 11, "{problem}");
    served.result("probe", "execute", json!({})).await;
    // Every call of a session that ends hears of it.
    let others = (0..5).map(|_| served.call("probe", "sleep", json!({"seconds": 10})));
    let crash = async {
        served.until_in_flight("probe", 5).await;
        served.call("probe", "crash", json!({"code": 5})).await
    };
    let began = Instant::now();
    let (others, crash) = tokio::join!(join_all(others), crash);
    for answer in others.iter().chain([&crash]) {
        assert_eq!(answer.expect_problem(502, "plugin-crashed")["exit_code"], 5);
    }
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    served.until_active("probe").await;
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn running_out_of_memory_is_told_and_the_next_call_works() {
    let Some(served) = Served::with("probe").await else { return };
    let problem = served.call("probe", "eat", json!({})).await.expect_problem(502, "plugin-out-of-memory");
    assert!(problem["detail"].as_str().unwrap().contains("64 MiB"), "{problem}");
    assert!(problem["how"].as_str().unwrap().contains("memory"), "{problem}");
    assert_eq!(served.result("probe", "execute", json!({})).await, json!({"echo": {}}));
    let plugin = served.plugin("probe").await;
    assert_eq!(plugin["last_failure"]["kind"], "out-of-memory", "{plugin}");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_breaks_the_protocol_is_replaced() {
    let Some(served) = Served::with("raw").await else { return };
    let answer = |id: &str, result: &str| format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}");
    let deep = format!("{}1{}", "[".repeat(70), "]".repeat(70));
    let cases: [(&str, Value); 12] = [
        ("no JSON", json!({"send": ["garbage"]})),
        ("an empty object", json!({"send": ["{}"]})),
        ("an unknown id", json!({"send": [answer("4711", "1")], "silent": true})),
        ("a text as an id", json!({"send": [answer("\"$id\"", "1")], "silent": true})),
        ("bad UTF-8", json!({"send": [answer("$id", "\"\u{ff}\u{fe}\"")], "silent": true})),
        ("too deep", json!({"send": [answer("$id", &deep)], "silent": true})),
        ("duplicate keys", json!({"send": [answer("$id", "{\"a\":1,\"a\":2}")], "silent": true})),
        ("a lone surrogate", json!({"send": [answer("$id", "\"\\ud800\"")], "silent": true})),
        ("too long", json!({"repeat": 4_300_000, "silent": true})),
        (
            "a chunk out of order",
            json!({"send": [
            "{\"jsonrpc\":\"2.0\",\"method\":\"chunk\",\"params\":{\"call\":\"$call\",\"seq\":1,\"data\":1}}"]}),
        ),
        (
            "a chunk of nobody's",
            json!({"send": [
            "{\"jsonrpc\":\"2.0\",\"method\":\"chunk\",\"params\":{\"call\":\"call_00000000000070008000000000000000\",\"seq\":0,\"data\":1}}"]}),
        ),
        ("neither result nor error", json!({"send": ["{\"jsonrpc\":\"2.0\",\"id\":$id}"], "silent": true})),
    ];
    for (number, (what, context)) in cases.into_iter().enumerate() {
        let began = Instant::now();
        let answer = served.call("raw", "execute", context).await;
        assert_eq!(answer.json()["code"], "plugin-protocol", "{what}: {}", answer.text);
        answer.expect_problem(502, "plugin-protocol");
        assert!(began.elapsed() < Duration::from_secs(2), "{what}: {:?}", began.elapsed());
        // A good call between makes every end the first of its row.
        assert!(served.result("raw", "execute", json!({})).await["line"].is_string(), "{what}");
        let plugin = served.plugin("raw").await;
        assert_eq!((&plugin["restarts"], &plugin["last_failure"]["kind"]), (&json!(number + 1), &json!("protocol")));
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_answer_ends_the_session_though_the_first_was_good() {
    let Some(served) = Served::with("raw").await else { return };
    let twice = "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":1}";
    let waiting = served.call("raw", "execute", json!({"silent": true}));
    let answering = async {
        served.until_in_flight("raw", 1).await;
        served.result("raw", "execute", json!({"send": [twice, twice], "silent": true})).await
    };
    let (waiting, answered) = tokio::join!(waiting, answering);
    assert_eq!(answered, 1);
    let problem = waiting.expect_problem(502, "plugin-protocol");
    assert!(problem["detail"].as_str().unwrap().contains("which is not open"), "{problem}");
    served.result("raw", "execute", json!({})).await;
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_only_strange_breaks_nothing() {
    let Some(served) = Served::with("raw").await else { return };
    let note =
        |method: &str, params: &str| format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\",\"params\":{params}}}");
    let send = json!([
        note("log", "{\"level\":\"info\",\"message\":\"a\\nb\",\"fields\":{\"x\":1}}"),
        note("progress", "{\"call\":\"$call\",\"percent\":50}"),
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"no.such\",\"params\":{}}",
    ]);
    let result = served.result("raw", "execute", json!({ "send": send })).await;
    assert!(result["line"].is_string());
    served.until_logged("raw", "a\nb").await;
    served.result("raw", "execute", json!({})).await;
    assert_eq!(served.plugin("raw").await["restarts"], 0);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_goes_on_after_its_cancel_costs_the_session_and_harms_no_other_call() {
    let Some(served) = Served::with("probe").await else { return };
    let before = served.container("probe").await;
    let stubborn = json!({"method": "stubborn", "context": {"seconds": 40}, "timeout_ms": 200});
    served.execute("probe", &stubborn).await.expect_problem(504, "plugin-timeout");
    let began = Instant::now();
    let mut served_between = 0;
    let plugin = loop {
        // A call that overlaps the change.
        let calls = (0..4).map(|_| served.result("probe", "sleep", json!({"seconds": 0.3})));
        assert_eq!(join_all(calls).await, vec![json!("sleep"); 4]);
        served_between += 4;
        let plugin = served.plugin("probe").await;
        assert_eq!(plugin["state"], "active", "{plugin}");
        if plugin["restarts"] == 1 {
            break plugin;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{plugin}");
    };
    println!("replaced after {:?}, {served_between} calls served meanwhile", began.elapsed());
    assert!(began.elapsed() > Duration::from_secs(9));
    assert_eq!(plugin["last_failure"]["kind"], "unresponsive", "{plugin}");
    assert_ne!(served.container("probe").await, before);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_loop_is_quarantined_and_enable_lifts_it() {
    let Some(mut served) = Served::start().await else { return };
    let main = "import os, threading\nclass Probe:\n    def initialize(self):\n        threading.Timer(0.1, os._exit, (9,)).start()\n    \
                def execute(self, context):\n        return 1\n";
    served.add(&fixture("probe"), &[("main.py", main)]).await;
    served.enable("probe").await.expect(200);
    // At once, then after 1, 2 and 4 seconds.
    served.until("probe", |plugin| plugin["state"] == "error").await;
    let answer = served.call("probe", "execute", json!({})).await;
    answer.expect_problem(503, "plugin-restarting");
    assert!(answer.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    let plugin = served.until("probe", |plugin| plugin["status"] == "quarantined").await;
    assert_eq!(plugin["quarantine"]["reason"], "crash-loop", "{plugin}");
    assert_eq!((&plugin["last_failure"]["exit_code"], &plugin["restarts"]), (&json!(9), &json!(4)), "{plugin}");
    served.until("probe", |plugin| plugin["state"] == "unloaded").await;
    served.restart().await;
    assert_eq!(served.plugin("probe").await["status"], "quarantined", "a restart of the service lifts nothing");
    let problem = served.call("probe", "execute", json!({})).await.expect_problem(409, "plugin-quarantined");
    assert!(problem["how"].as_str().unwrap().contains("plugbay enable probe"), "{problem}");
    let enabled = served.enable("probe").await.expect(200);
    assert_eq!((&enabled["status"], &enabled["state"]), (&json!("enabled"), &json!("active")));
    assert_eq!(served.plugin("probe").await["quarantine"], Value::Null);
    served.disable("probe").await.expect(200);
    served.end().await;
}
