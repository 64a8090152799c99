//! Plugins that call other plugins: with the edge or `admin_access`, not too deep, not longer than whoever called them waits.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::chat::Hears;
use super::served::Served;

/// A request to call `name`, which then does `context`.
#[expect(clippy::needless_pass_by_value, reason = "calls inside calls read better so")]
fn calling(name: &str, context: Value) -> Value {
    json!({"function": "plugins.execute", "params": {"name": name, "context": context}})
}

impl Served {
    /// Runs a plugin that may call others.
    async fn caller(&self, name: &str, others: &[&str]) {
        let requires = others.iter().map(|other| format!("{other}: '*'")).collect::<Vec<_>>().join(", ");
        let extra = format!("requires: {{ {requires} }}");
        self.add_listener(&Hears { name, mood: "ask", extra: &extra }).await;
        self.decide_about(name, &json!({"grant": ["plugins"]})).await.expect(200);
        self.enable(name).await.expect(200);
    }

    async fn callee(&self, name: &str) {
        self.add_listener(&Hears { name, mood: "ask", extra: "" }).await;
        self.enable(name).await.expect(200);
    }

    async fn revoke_from(&self, name: &str, permission: &Value) {
        let body = json!({ "permissions": [permission] });
        self.post(&format!("/api/plugins/{name}/permissions/revoke"), &body).await.expect(200);
    }
}

const WORK: fn() -> Value = || json!({"seconds": 0});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_leads_to_one_plugin_and_problems_of_it_come_back() {
    let Some(served) = Served::start().await else { return };
    served.callee("b").await;
    served.callee("c").await;
    served.caller("a", &["b"]).await;
    let answer = served.result("a", "execute", calling("b", WORK())).await;
    assert_eq!((&answer["success"], &answer["result"]), (&json!(true), &json!("slept")));
    assert!(answer["call_id"].as_str().unwrap().starts_with("call_"));
    assert_eq!(served.about("b", "metrics").await["successes"], 1, "a call as any other");

    let denied = served.result("a", "execute", calling("c", WORK())).await;
    assert_eq!((&denied["code"], &denied["text"]), (&json!(-32001), &json!("`plugins:c` is not granted")));
    assert_eq!(denied["data"], json!({"permission": "plugins", "how": "plugbay approve a --grant plugins:c"}));
    assert_eq!(served.about("c", "metrics").await["invocations"], 0);
    // What the callee is not asked for is not in its hands either.
    let denied = served.result("b", "execute", calling("a", WORK())).await;
    assert_eq!(denied["code"], -32001);

    let raised = served.result("a", "execute", calling("b", json!({}))).await;
    assert_eq!((&raised["success"], &raised["error_kind"]), (&json!(false), &json!("KeyError")));
    let method =
        |method: &str| json!({"function": "plugins.execute", "params": {"name": "b", "context": {}, "method": method}});
    for wrong in ["wave", "_ask", "shutdown"] {
        let refused = served.result("a", "execute", method(wrong)).await;
        assert_eq!((&refused["code"], &refused["data"]), (&json!(-32002), &json!({"code": "method-not-offered"})));
    }
    served.disable("b").await.expect_problem(409, "dependents-running");
    served.disable("a").await.expect(200);
    served.disable("b").await.expect(200);
    served.decide_about("c", &json!({"grant": ["admin_access"]})).await.expect(200);
    let refused = served.result("c", "execute", calling("b", WORK())).await;
    assert_eq!(
        (&refused["data"], &refused["text"]),
        (&json!({"code": "plugin-not-enabled"}), &json!("`b` is disabled"))
    );
    assert_eq!(served.result("c", "execute", calling("../b", WORK())).await["code"], -32602);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_holds_as_long_as_it_is_granted() {
    let Some(served) = Served::start().await else { return };
    served.callee("b").await;
    // Not required, so that losing it does not stop the plugin: `admin_access` leads to every plugin.
    served.callee("a").await;
    let list = json!({"function": "plugins.list", "params": {}});
    let denied = async |served: &Served, when: &str| {
        for (asked, wanted) in [(calling("b", WORK()), "plugins:b"), (list.clone(), "admin_access")] {
            let answer = served.result("a", "execute", asked).await;
            assert_eq!(
                (&answer["code"], &answer["text"]),
                (&json!(-32001), &json!(format!("`{wanted}` is not granted"))),
                "{when}"
            );
        }
    };
    let granted = async |served: &Served| {
        assert_eq!(served.result("a", "execute", calling("b", WORK())).await["result"], "slept");
        let listed = served.result("a", "execute", list.clone()).await;
        let names: Vec<_> =
            listed["plugins"].as_array().unwrap().iter().map(|plugin| [&plugin["name"], &plugin["state"]]).collect();
        assert_eq!(names, [[&json!("a"), &json!("active")], [&json!("b"), &json!("active")]]);
    };
    denied(&served, "absent").await;
    served.decide_about("a", &json!({"deny": ["admin_access"]})).await.expect(200);
    denied(&served, "denied").await;
    served.decide_about("a", &json!({"grant": ["admin_access"]})).await.expect(200);
    granted(&served).await;
    served.revoke_from("a", &json!("admin_access")).await;
    denied(&served, "revoked").await;
    let end = json!({"grant": ["admin_access"], "expires_at": "2026-11-20T13:00:00Z"});
    served.decide_about("a", &end).await.expect(200);
    granted(&served).await;
    served.clock().advance(Duration::from_hours(2));
    let deadline = Instant::now() + Duration::from_secs(15);
    while served.result("a", "execute", list.clone()).await["code"] != -32001 {
        assert!(Instant::now() < deadline, "within one period");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    denied(&served, "expired").await;
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_required_edge_that_is_missing_keeps_a_plugin_from_running() {
    let Some(served) = Served::start().await else { return };
    served.callee("b").await;
    served.add_listener(&Hears { name: "a", mood: "ask", extra: "requires: { b: '*' }" }).await;
    served.enable("a").await.expect_problem(409, "permissions-pending");
    let edge = json!({"permission": "plugins", "scope": ["b"]});
    served.decide_about("a", &json!({ "deny": [edge] })).await.expect(200);
    served.enable("a").await.expect_problem(409, "permissions-pending");
    served.decide_about("a", &json!({"grant": [edge], "expires_at": "2026-11-20T13:00:00Z"})).await.expect(200);
    served.enable("a").await.expect(200);
    assert_eq!(served.result("a", "execute", calling("b", WORK())).await["result"], "slept");
    // The call under way is answered, and no other one is made.
    let slow = served.call("a", "execute", calling("b", json!({"seconds": 2})));
    let revoking = async {
        served.until_in_flight("b", 1).await;
        served.revoke_from("a", &edge).await;
    };
    let (answer, ()) = tokio::join!(slow, revoking);
    assert_eq!(answer.expect(200)["result"]["result"], "slept");
    served.call("a", "execute", calling("b", WORK())).await.expect_problem(409, "permissions-pending");
    served.decide_about("a", &json!({"grant": [edge], "expires_at": "2026-11-20T13:00:00Z"})).await.expect(200);
    served.until_active("a").await;
    served.clock().advance(Duration::from_hours(2));
    served.until("a", |plugin| plugin["state"] == "unloaded").await;
    assert_eq!(served.about("b", "metrics").await["invocations"], 2);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn circles_end_at_the_fourth_call() {
    let Some(served) = Served::start().await else { return };
    served.callee("b").await;
    served.caller("a", &["b"]).await;
    // No two plugins may require each other; this leads everywhere.
    served.decide_about("b", &json!({"grant": ["admin_access"]})).await.expect(200);
    // a → b → a → b → a is four calls of plugins, and one more is too deep.
    let deep_with = |most: usize, last: Value| {
        (0..most).fold(last, |inner, index| calling(if (most - index) % 2 == 1 { "b" } else { "a" }, inner))
    };
    let deep = |most: usize| deep_with(most, WORK());
    let mut answer = served.result("a", "execute", deep(4)).await;
    for _ in 0..4 {
        assert_eq!(answer["success"], true, "{answer}");
        answer = answer["result"].take();
    }
    assert_eq!(answer, "slept");
    let mut answer = served.result("a", "execute", deep(5)).await;
    for _ in 0..4 {
        answer = answer["result"].take();
    }
    assert_eq!((&answer["code"], &answer["data"]), (&json!(-32002), &json!({"code": "call-too-deep"})));
    assert_eq!(answer["text"], "plugins call each other at most 4 deep; `b` would be called deeper");
    // Leaving the call out does not begin a new circle.
    let mut outside = calling("b", WORK());
    outside["outside"] = true.into();
    assert_eq!(served.result("a", "execute", outside.clone()).await["result"], "slept");
    let mut answer = served.result("a", "execute", deep_with(4, outside)).await;
    for _ in 0..4 {
        answer = answer["result"].take();
    }
    assert_eq!(answer["data"], json!({"code": "call-too-deep"}));
    let itself = served.result("a", "execute", calling("a", WORK())).await;
    assert_eq!(itself["text"], "`plugins:a` is not granted", "no manifest can ask for that edge");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_that_wait_for_each_other_end_with_errors() {
    // Calls that are too late would open it.
    let Some(served) = Served::start_with(|config| config.breaker.failures = 0).await else { return };
    served.callee("b").await;
    served.caller("a", &["b"]).await;
    // No two plugins may require each other; this leads everywhere.
    served.decide_about("b", &json!({"grant": ["admin_access"]})).await.expect(200);
    served.callee("neighbour").await;
    // All places of both are taken by calls that wait for a place of the other one.
    let calls = (0..40).map(|index| {
        let (first, other) = if index % 2 == 0 { ("a", "b") } else { ("b", "a") };
        let context = calling(other, calling(first, json!({"seconds": 0.2})));
        let body = json!({"context": context, "timeout_ms": 3000});
        let served = &served;
        async move { served.execute(first, &body).await }
    });
    let began = Instant::now();
    let neighbour = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let asked = Instant::now();
        assert_eq!(served.result("neighbour", "execute", WORK()).await, "slept");
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    };
    let (answers, ()) = tokio::join!(join_all(calls), neighbour);
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    let (mut good, mut late) = (0, 0);
    for answer in &answers {
        match answer.status.as_u16() {
            200 => good += 1,
            504 => late += 1,
            other => panic!("{other}: {}", answer.text),
        }
    }
    println!("{good} of 40 calls were answered, {late} were too late");
    // Nothing is left over: both answer as before.
    for name in ["a", "b"] {
        served.until_in_flight(name, 0).await;
    }
    assert_eq!(served.result("a", "execute", calling("b", calling("a", WORK()))).await["result"]["result"], "slept");
    assert_eq!(served.plugin("a").await["restarts"], 0);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_calls_than_a_session_may_wait_for_are_refused_at_once() {
    let Some(served) = Served::start().await else { return };
    served.callee("b").await;
    served.caller("a", &["b"]).await;
    let many = json!({"function": "plugins.execute", "params": {"name": "b", "context": {"seconds": 1}}, "times": 40});
    let refused = served.result("a", "execute", many).await;
    assert_eq!((&refused["code"], &refused["data"]), (&json!(-32002), &json!({"code": "plugin-busy"})));
    assert_eq!(refused["text"], "32 calls of other plugins are under way already");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_given_up_is_given_up_all_the_way_down() {
    let Some(served) = Served::start().await else { return };
    served.callee("b").await;
    served.caller("a", &["b"]).await;
    let slow = calling("b", json!({"seconds": 9}));
    let body = json!({"context": slow, "timeout_ms": 500});
    // The deadline of both is the same moment: now and then the caller of the one that was late is just in time to say so.
    let answer = served.execute("a", &body).await;
    if answer.status == 200 {
        // By the time of the other call, or by that of its own request.
        let code = answer.json()["result"]["data"]["code"].clone();
        assert!(code == "plugin-timeout" || code == "timeout", "{}", answer.text);
    } else {
        answer.expect_problem(504, "plugin-timeout");
    }
    served.until_in_flight("b", 0).await;
    let call = served.about("b", "calls").await["calls"][0].take();
    let taken = call["duration_ms"].as_f64().unwrap();
    assert!(taken < 1_500.0, "{call}");

    // A caller that hangs up.
    let outer = tokio::time::timeout(Duration::from_millis(500), served.call("a", "execute", slow.clone()));
    assert!(outer.await.is_err());
    served.until_in_flight("b", 0).await;
    let call = served.about("b", "calls").await["calls"][0].take();
    assert_eq!(call["outcome"], "cancelled");
    assert!(call["duration_ms"].as_f64().unwrap() < 3_000.0, "{call}");

    // A plugin that ends in between.
    let container = served.container("a").await;
    let killing = async {
        served.until_in_flight("b", 1).await;
        super::kind::kill(served.instance(), &container);
    };
    let (answer, ()) = tokio::join!(served.call("a", "execute", slow), killing);
    answer.expect_problem(502, "plugin-crashed");
    served.until_in_flight("b", 0).await;
    let call = served.about("b", "calls").await["calls"][0].take();
    assert_eq!(call["outcome"], "cancelled");
    assert!(call["duration_ms"].as_f64().unwrap() < 5_000.0, "{call}");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_called_serves_the_same_conversation() {
    let Some(served) = Served::start().await else { return };
    let extra = "hooks: []";
    served.listen(Hears { name: "b", mood: "ask", extra }).await;
    served.callee("c").await;
    let extra = "requires: { b: '*', c: '*' }\ncommands: [{ name: /ask }]";
    served.add_listener(&Hears { name: "a", mood: "ask", extra }).await;
    served.decide_about("a", &json!({"grant": ["plugins", "chat_access"]})).await.expect(200);
    served.enable("a").await.expect(200);
    let here = served.conversation().await;
    let send = json!({"function": "chat.send", "params": {"text": "hi"}});
    let ask = |name: &str| format!("/ask '{}'", calling(name, send.clone()));
    let sent = served.say(&here, &ask("b")).await["answers"][0]["result"]["result"].take();
    assert_eq!((&sent["plugin"], &sent["conversation"]), (&json!("b"), &json!(here)));
    let denied = served.say(&here, &ask("c")).await["answers"][0]["result"]["result"].take();
    assert_eq!((&denied["code"], &denied["text"]), (&json!(-32001), &json!("`chat_access` is not granted")));
    assert_eq!(served.said(&here).await.iter().filter(|(by, _)| by == "b").count(), 1);
    served.end().await;
}
