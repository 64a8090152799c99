//! Figures for Prometheus about plugins that run.

use reqwest::Method;
use serde_json::json;

use super::client::fixture;
use super::served::Served;
use super::support::app::send;
use super::support::prometheus::{Found, read};

async fn figures(served: &Served) -> Found {
    let answer = send(served.bare(Method::GET, "/metrics")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    read(&answer.text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_starts_and_requests_are_counted_under_their_names() {
    let Some(served) = Served::start_with(|config| config.breaker.failures = 2).await else { return };
    served.run(&fixture("probe")).await;
    served.run(&fixture("asker")).await;
    for _ in 0..3 {
        served.result("probe", "execute", json!({})).await;
    }
    let asked = json!({"function": "kv.get", "params": {"key": "k", "default": 1}, "times": 5});
    served.result("asker", "execute", asked).await;
    served.result("asker", "execute", json!({"function": "plugins.list", "params": {}})).await;
    let late = json!({"method": "sleep", "context": {"seconds": 5}, "timeout_ms": 50});
    served.execute("probe", &late).await.expect_problem(504, "plugin-timeout");
    let found = figures(&served).await;
    let calls =
        |plugin: &str, outcome: &str| found.count("plugin_calls_total", &[("plugin", plugin), ("outcome", outcome)]);
    assert_eq!((calls("probe", "ok"), calls("probe", "timeout"), calls("asker", "ok")), (3, 1, 2));
    assert_eq!(found.count("plugin_execute_duration_seconds_count", &[("plugin", "probe")]), 4);
    assert!(found.number("plugin_execute_duration_seconds_sum", &[("plugin", "probe")]) >= 0.05);
    let slowest = found.count("plugin_execute_duration_seconds_bucket", &[("plugin", "probe"), ("le", "30")]);
    assert_eq!(slowest, 4);
    let host =
        |function, outcome| found.count("plugin_host_requests_total", &[("function", function), ("outcome", outcome)]);
    assert_eq!((host("kv.get", "ok"), host("plugins.list", "denied")), (5, 1));
    assert_eq!(found.count("plugin_starts_total", &[("outcome", "active")]), 2);
    assert_eq!(found.count("plugin_start_duration_seconds_count", &[]), 2);
    assert_eq!(found.count("plugbay_plugins", &[("state", "active")]), 2);
    assert_eq!(found.count("plugbay_engine_up", &[]), 1);
    assert_eq!(found.labels("plugin_egress_connections_total", "decision"), ["failed", "opened", "refused"]);

    // A crash, the restart after it, and the breaker that it opens: two failures in a row.
    served.call("probe", "crash", json!({"code": 3})).await.expect_problem(502, "plugin-crashed");
    served.until("probe", |plugin| plugin["restarts"] == 1 && plugin["state"] == "active").await;
    served.call("probe", "execute", json!({})).await.expect_problem(503, "breaker-open");
    let found = figures(&served).await;
    assert_eq!(found.count("plugin_restarts_total", &[("plugin", "probe")]), 1);
    assert_eq!(found.count("plugin_breaker_opens_total", &[("plugin", "probe")]), 1);
    assert_eq!(found.count("plugin_calls_total", &[("plugin", "probe"), ("outcome", "ended")]), 1);
    assert_eq!(found.count("http_refusals_total", &[("code", "breaker-open")]), 1);
    let route = [("route", "/api/plugins/{id}/execute"), ("method", "POST"), ("status", "200")];
    assert_eq!(found.count("http_requests_total", &route), 5);

    // A plugin that is gone is not shown.
    served.delete("/api/plugins/probe").await;
    let found = figures(&served).await;
    assert_eq!(found.labels("plugin_calls_in_flight", "plugin"), ["asker"]);
    assert_eq!(found.count("plugin_calls_queued", &[("plugin", "asker")]), 0);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_and_what_waits_is_shown_while_it_does() {
    let Some(served) = Served::with("probe").await else { return };
    let calls = (0..20).map(|_| served.result("probe", "sleep", json!({"seconds": 1.5})));
    let looking = async {
        served.until_queued("probe", 4).await;
        let found = figures(&served).await;
        assert_eq!(found.count("plugin_calls_in_flight", &[("plugin", "probe")]), 16);
        assert_eq!(found.count("plugin_calls_queued", &[("plugin", "probe")]), 4);
        assert_eq!(found.count("plugbay_calls_under_way", &[]), 20);
    };
    let (_, ()) = tokio::join!(futures_util::future::join_all(calls), looking);
    let found = figures(&served).await;
    assert_eq!(found.count("plugbay_calls_under_way", &[]), 0);
    served.end().await;
}
