//! What keeps calls from a plugin that only fails, and lets them through again.

use std::time::{Duration, Instant};

use serde_json::json;

use super::client::fixture;
use super::served::Served;

/// Does as its caller says: answers, raises, sleeps or exits.
const AS_TOLD: &str = "\
import os, time

class Asker:
    def execute(self, context):
        if 'sleep' in context:
            time.sleep(context['sleep'])
        if 'exit' in context:
            os._exit(context['exit'])
        if 'raise' in context:
            raise ValueError(context['raise'])
        return {'success': context.get('success', True)}
";

const OPEN: Duration = Duration::from_secs(1);

async fn served() -> Option<Served> {
    let served = Served::start_with(|config| {
        config.breaker.failures = 3;
        config.breaker.open = OPEN;
    })
    .await?;
    served.add(&fixture("asker"), &[("main.py", AS_TOLD)]).await;
    served.enable("asker").await.expect(200);
    served.add_as(&fixture("asker"), "neighbour").await;
    served.enable("neighbour").await.expect(200);
    Some(served)
}

impl Served {
    async fn breaker(&self) -> (String, u64) {
        let breaker = self.plugin("asker").await["breaker"].take();
        (breaker["state"].as_str().unwrap().to_owned(), breaker["failures"].as_u64().unwrap())
    }

    async fn fail(&self, times: usize) {
        for _ in 0..times {
            let answer = self.call("asker", "execute", json!({"raise": "no"})).await.expect(200);
            assert_eq!(answer["success"], false);
        }
    }

    async fn until_closed(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.call("asker", "execute", json!({})).await.status != 200 {
            assert!(Instant::now() < deadline, "calls are let through again");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_in_a_row_stop_calls_for_a_while_and_one_good_call_lets_them_through() {
    let Some(served) = served().await else { return };
    served.fail(2).await;
    served.call("asker", "execute", json!({"success": false})).await.expect(200);
    assert_eq!(served.breaker().await, ("closed".to_owned(), 0), "an answer is no failure, whatever it says");
    served.fail(3).await;
    let refused = served.call("asker", "execute", json!({})).await;
    let problem = refused.expect_problem(503, "breaker-open");
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(problem["detail"], "`asker` failed 3 times in a row; it is tried again after a while");
    let shown = served.plugin("asker").await["breaker"].take();
    assert_eq!((&shown["state"], &shown["failures"]), (&json!("open"), &json!(3)));
    assert!(shown["opened_at"].is_string(), "{shown}");
    let asked = json!({"function": "kv.list", "params": {}});
    assert_eq!(served.result("neighbour", "execute", asked).await, json!([]), "others go on");

    // One call tries, the others are refused until it has ended.
    tokio::time::sleep(OPEN).await;
    assert_eq!(served.breaker().await.0, "half_open");
    let trial = served.call("asker", "execute", json!({"sleep": 0.5, "raise": "still"}));
    let meanwhile = async {
        served.until_in_flight("asker", 1).await;
        served.call("asker", "execute", json!({})).await.expect_problem(503, "breaker-open");
    };
    let (failed, ()) = tokio::join!(trial, meanwhile);
    assert_eq!(failed.expect(200)["error"], "ValueError: still");
    assert_eq!(served.breaker().await.0, "open", "it still fails");
    tokio::time::sleep(OPEN).await;
    served.call("asker", "execute", json!({})).await.expect(200);
    assert_eq!(served.breaker().await, ("closed".to_owned(), 0));
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_crash_counts_once_and_an_operator_closes_it_at_once() {
    let Some(served) = served().await else { return };
    let crash = |code: i32| served.call("asker", "execute", json!({"sleep": 0.3, "exit": code}));
    let calls = tokio::join!(crash(3), crash(3), crash(3), crash(3), crash(3));
    for answer in [calls.0, calls.1, calls.2, calls.3, calls.4] {
        answer.expect_problem(502, "plugin-crashed");
    }
    served.until_active("asker").await;
    assert_eq!(served.breaker().await, ("closed".to_owned(), 1), "five calls ended with one crash");
    served.fail(2).await;
    served.call("asker", "execute", json!({})).await.expect_problem(503, "breaker-open");
    let reset = served.post("/api/plugins/asker/breaker/reset", &json!(null)).await;
    reset.expect_problem(400, "bad-request");
    let reset = served.request(reqwest::Method::POST, "/api/plugins/asker/breaker/reset");
    let reset = super::support::app::send(reset).await.expect(200);
    assert_eq!((&reset["status"], &reset["state"]), (&json!("enabled"), &json!("active")));
    served.call("asker", "execute", json!({})).await.expect(200);
    let rows = served.get("/api/audit?plugin=asker").await.expect(200)["entries"].take();
    let row = rows.as_array().unwrap().iter().find(|row| row["action"] == "plugin.breaker_reset").unwrap();
    assert_eq!(row["detail"], json!({"was_open": true}));

    // Enabling it anew is a new beginning too; a caller who gives up says nothing about the plugin.
    served.fail(3).await;
    let open = served.call("asker", "execute", json!({})).await.expect_problem(503, "breaker-open");
    assert!(open["how"].as_str().unwrap().contains("plugbay enable asker lets calls through at once"), "{open}");
    served.enable("asker").await.expect(200);
    served.call("asker", "execute", json!({})).await.expect(200);
    served.fail(3).await;
    served.disable("asker").await.expect(200);
    served.enable("asker").await.expect(200);
    served.call("asker", "execute", json!({})).await.expect(200);
    served.fail(3).await;
    tokio::time::sleep(OPEN).await;
    let body = json!({"context": {"sleep": 5}});
    let request = served.request(reqwest::Method::POST, "/api/plugins/asker/execute").json(&body);
    request.timeout(Duration::from_millis(200)).send().await.expect_err("the caller gives up");
    served.until_closed().await;
    served.end().await;
}
