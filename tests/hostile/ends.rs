//! Plugins that end, never answer, or answer in the wrong moment.

use futures_util::future::FutureExt as _;
use serde_json::json;

use super::target::{Attack, Target, attack};

pub(crate) const TABLE: &[Attack] = &[
    attack(&["B.30"], "ends at once", |target| ends_at_once(target).boxed()),
    attack(&[], "ends in a call", |target| ends_in_a_call(target).boxed()),
    attack(&["B.33"], "answers too late", |target| answers_too_late(target).boxed()),
    attack(&["A.170"], "closes its connection and works on", |target| closes(target).boxed()),
    attack(&[], "asks, never listens, and ends", |target| asks_and_dies(target).boxed()),
];

/// Crash loops are counted by `tests/docker/ends.rs`.
async fn ends_at_once(target: &Target) {
    let cases = [
        (json!({"code": 0}), json!(0)),
        (json!({"code": 1}), json!(1)),
        (json!({"code": 137}), json!(137)),
        (json!({"signal": "SIGSEGV"}), json!(null)),
    ];
    for (mut start, exit_code) in cases {
        start["do"] = "bad.end".into();
        let victim = target.install_raw(&[("start.json", &start.to_string())]).await;
        let problem = target.enable(&victim.name).await.expect_problem(502, "plugin-start-failed");
        assert_eq!((&problem["reason"], &problem["exit_code"]), (&json!("exited"), &exit_code), "{problem}");
        assert_eq!(victim.shown().await["status"], "installed");
    }
}

async fn ends_in_a_call(target: &Target) {
    let victim = target.raw().await;
    for code in [0, 1, 137] {
        let problem = victim.perform("bad.end", json!({ "code": code })).await.expect_problem(502, "plugin-crashed");
        assert_eq!(problem["exit_code"], code, "{problem}");
        victim.works().await;
    }
    let problem = victim.perform("bad.end", json!({"signal": "SIGSEGV"})).await.expect_problem(502, "plugin-crashed");
    assert_eq!(problem["signal"], 11, "{problem}");
    victim.works().await;
    victim.expect_restarts(4).await;
}

async fn answers_too_late(target: &Target) {
    let victim = target.raw().await;
    let late = json!({"context": {"later": 0.3}, "timeout_ms": 100});
    target.execute(&victim.name, &late).await.expect_problem(504, "plugin-timeout");
    target.until_logged(&victim.name, "cancelled: deadline").await;
    // One call is under way when the late answer comes.
    let waiting = target.result(&victim.name, "execute", json!({"later": 0.5}));
    assert_eq!(waiting.await, "late");
    victim.works().await;
    victim.expect_restarts(0).await;
}

async fn closes(target: &Target) {
    let victim = target.raw().await;
    for (restarts, how) in [(1, "bad.half_close"), (2, "bad.close")] {
        victim.perform(how, json!({})).await.expect_problem(502, "plugin-crashed");
        victim.works().await;
        let plugin = victim.shown().await;
        assert_eq!(
            (&plugin["restarts"], &plugin["last_failure"]["kind"]),
            (&json!(restarts), &json!("crash")),
            "{how}"
        );
    }
}

async fn asks_and_dies(target: &Target) {
    let victim = target.raw().await;
    let problem = victim.perform("bad.ask_and_die", json!({})).await.expect_problem(502, "plugin-crashed");
    assert_eq!(problem["exit_code"], 9, "{problem}");
    victim.works().await;
}
