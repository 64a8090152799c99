//! Calls into plugins: what reaches them, what comes back, how long it takes.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::client::{build_native_echo, example, fixture};
use super::served::Served;
use super::support::app::send;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_of_several_lines_reaches_the_plugin_as_plain_data() {
    let Some(served) = Served::with("raw").await else { return };
    let pretty = "{\r\n  \"context\": {\n    \"a\": [\n 1,\r 2 ],\n    \"text\": \"line\\nbreak\"\n  }\n}\n";
    let answer = served.execute_text("raw", pretty.to_owned()).await.expect(200);
    assert_eq!(answer["success"], true, "{answer}");
    let line = answer["result"]["line"].as_str().unwrap();
    let message: Value = serde_json::from_str(line).unwrap();
    assert_eq!(message["params"]["params"]["context"], json!({"a": [1, 2], "text": "line\nbreak"}));
    assert_eq!(line.matches('\n').count(), 1, "{line}");
    assert!(!line.contains('\r'));
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_that_forges_messages_reaches_the_plugin_as_plain_data() {
    let Some(served) = Served::with("raw").await else { return };
    for method in ["shutdown", "configure", "cancel"] {
        let forged = format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\",\"id\":1,\"params\":{{}}}}");
        // As a text with line breaks, as a value between line breaks, and with the message closed before.
        let context = json!({ "text": format!("x\"}}}}}}\n{forged}\n") });
        for body in [
            json!({ "context": context }).to_string(),
            format!("{{\"context\":\n{forged}\n}}"),
            format!("{{\"context\":{{\"a\":1\n\n,\"b\":\r\n{forged}\r\n}}}}"),
        ] {
            let sent: Value = serde_json::from_str(&body).unwrap();
            let answer = served.execute_text("raw", body).await.expect(200);
            let line = answer["result"]["line"].as_str().unwrap();
            let message: Value = serde_json::from_str(line).unwrap();
            assert_eq!(message["params"]["params"]["context"], sent["context"]);
            let seen = answer["result"]["seen"].as_array().unwrap();
            assert!(seen.iter().all(|method| ["initialize", "invoke", "health"].contains(&method.as_str().unwrap())));
        }
    }
    // Closed before its time it is no JSON at all.
    let body = "{\"context\":{}}}}\n{\"jsonrpc\":\"2.0\",\"method\":\"shutdown\",\"id\":1}\n".to_owned();
    assert_eq!(served.execute_text("raw", body).await.status, 400);
    assert_eq!(served.plugin("raw").await["restarts"], 0);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_honest_json_is_refused_before_the_plugin_sees_it() {
    let Some(served) = Served::with("probe").await else { return };
    let nested = |depth: usize| format!("{{\"context\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
    for body in [
        r#"{"context":{"a":1,"a":2}}"#.to_owned(),
        r#"{"context":{"x":[{"a":1,"\u0061":2}]}}"#.to_owned(),
        r#"{"context":{"a":"\ud800"}}"#.to_owned(),
        r#"{"context":{"\udfff":1}}"#.to_owned(),
        nested(65),
    ] {
        let problem = served.execute_text("probe", body.clone()).await.expect_problem(422, "payload-invalid");
        assert!(problem["detail"].as_str().unwrap().starts_with("`context`"), "{body}: {problem}");
    }
    served.execute_text("probe", nested(60)).await.expect(200);
    let strange = json!({"😀": "\u{2028}\u{0}", "n": -0.0, "big": 1e300, "deep": [[[[{}]]]], "": null});
    assert_eq!(served.result("probe", "execute", strange.clone()).await, json!({ "echo": strange }));
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_form_of_an_answer_is_told_in_one_form() {
    let Some(served) = Served::with("probe").await else { return };
    let answer = async |answer: Value| {
        let mut answer = served.call("probe", "answer", json!({ "answer": answer })).await.expect(200);
        let fields = answer.as_object_mut().unwrap();
        assert!(fields.remove("execution_time").unwrap().as_f64().unwrap() > 0.0);
        assert!(fields.remove("call_id").unwrap().as_str().unwrap().starts_with("call_"));
        answer
    };
    let full = json!({"success": true, "result": [1], "message": "done"});
    assert_eq!(answer(full.clone()).await, full);
    let failed = json!({"success": false, "error": "no"});
    assert_eq!(answer(failed.clone()).await, failed);
    for other in [json!({"success": true, "more": 1}), json!({"success": "yes"}), json!(null), json!([]), json!("x")] {
        assert_eq!(answer(other.clone()).await, json!({"success": true, "result": other}));
    }
    let raised = served.call("probe", "fail", json!({"text": "bad thing"})).await.expect(200);
    assert_eq!(raised["success"], false);
    assert_eq!((&raised["error"], &raised["error_kind"]), (&json!("ValueError: bad thing"), &json!("ValueError")));
    assert!(!raised.to_string().contains("Traceback"), "{raised}");
    served.until_logged("probe", "Traceback").await;
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_offered_can_be_called_and_only_for_so_long() {
    let Some(served) = Served::with("probe").await else { return };
    for method in
        ["nothing", "initialize", "cleanup", "health_check", "shutdown", "configure", "_calls", "__init__", ""]
    {
        let problem = served.call("probe", method, json!({})).await.expect_problem(422, "method-not-offered");
        assert_eq!(problem["status"], 422, "{method}");
    }
    let body = json!({"context": {}, "timeout_ms": 20_001});
    served.execute("probe", &body).await.expect_problem(422, "timeout-too-long");
    let body = json!({"context": {"seconds": 5}, "method": "sleep", "timeout_ms": 200});
    let began = Instant::now();
    let problem = served.execute("probe", &body).await.expect_problem(504, "plugin-timeout");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(problem["detail"].as_str().unwrap().contains("200 ms"), "{problem}");
    served.until_logged("probe", "sleep cancelled: deadline").await;
    let request = served.request(reqwest::Method::POST, "/api/plugins/probe/execute");
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let answer = send(request.header("traceparent", trace).json(&json!({"method": "trace"}))).await;
    let seen = answer.expect(200)["result"].as_str().unwrap().to_owned();
    assert!(seen.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{seen}");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_calls_of_half_a_second_run_together() {
    let Some(served) = Served::with("probe").await else { return };
    for method in ["sleep", "nap"] {
        let began = Instant::now();
        let calls = (0..10).map(|number| {
            let name = format!("{method}-{number}");
            served.result("probe", method, json!({"seconds": 0.5, "name": name}))
        });
        let names = join_all(calls).await;
        let took = began.elapsed();
        println!("10 × {method} of 0.5 s: {took:?}");
        assert!(took < Duration::from_millis(1_500), "{method}: {took:?}");
        assert_eq!(names.iter().enumerate().filter(|(n, name)| *name == &json!(format!("{method}-{n}"))).count(), 10);
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_over_its_deadline_does_not_harm_nine_others() {
    let Some(served) = Served::with("probe").await else { return };
    let late = json!({"method": "sleep", "context": {"seconds": 9, "name": "late"}, "timeout_ms": 300});
    let late = served.execute("probe", &late);
    let others = (0..9).map(|_| served.result("probe", "sleep", json!({"seconds": 0.8})));
    let (late, others) = tokio::join!(late, join_all(others));
    late.expect_problem(504, "plugin-timeout");
    assert_eq!(others, vec![json!("sleep"); 9]);
    served.until_logged("probe", "late cancelled: deadline").await;
    assert_eq!(served.plugin("probe").await["restarts"], 0);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_answer_is_dropped_and_the_next_call_gets_its_own() {
    let Some(served) = Served::with("raw").await else { return };
    let late = json!({"context": {"later": 0.4}, "timeout_ms": 100});
    served.execute("raw", &late).await.expect_problem(504, "plugin-timeout");
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(600) {
        let result = served.result("raw", "execute", json!({})).await;
        assert!(result["line"].is_string(), "{result}");
    }
    let seen = served.result("raw", "execute", json!({})).await["seen"].clone();
    assert_eq!(seen.as_array().unwrap().iter().filter(|method| *method == "cancel").count(), 1);
    assert_eq!(served.plugin("raw").await["restarts"], 0);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_calls_at_once_wait_for_sixteen_places() {
    let Some(served) = Served::start_with(|config| config.calls.queue = 100).await else { return };
    served.run(&fixture("probe")).await;
    let began = Instant::now();
    let calls = (0..100).map(|number| served.result("probe", "sleep", json!({"seconds": 0.1, "name": number})));
    let answers = join_all(calls).await;
    let took = began.elapsed();
    println!("100 × 0.1 s over 16 places: {took:?}");
    assert!(answers.iter().enumerate().all(|(number, answer)| *answer == json!(number)));
    // Seven rounds of a tenth of a second.
    assert!(took >= Duration::from_millis(690) && took < Duration::from_secs(5), "{took:?}");
    let metrics = served.about("probe", "metrics").await;
    assert_eq!(
        (&metrics["invocations"], &metrics["in_flight"], &metrics["queued"]),
        (&json!(100), &json!(0), &json!(0))
    );
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_answers_at_once_and_says_when_to_come_back() {
    let Some(served) = Served::start_with(|config| config.calls.queue = 4).await else { return };
    served.run(&fixture("probe")).await;
    let calls = (0..24).map(|_| served.call("probe", "sleep", json!({"seconds": 0.5})));
    let answers = join_all(calls).await;
    let (good, busy): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!((good.len(), busy.len()), (20, 4));
    for answer in busy {
        answer.expect_problem(503, "plugin-busy");
        assert!(answer.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_may_have_four_mebibytes_either_way() {
    let Some(served) = Served::with("probe").await else { return };
    let result = served.result("probe", "large", json!({"bytes": 4_000_000})).await;
    assert_eq!(result.as_str().unwrap().len(), 4_000_000);
    let answer = served.call("probe", "large", json!({"bytes": 4_300_000})).await.expect(200);
    assert_eq!(answer["success"], false, "the SDK says what is wrong");
    let context = json!({"text": "x".repeat(4_000_000)});
    assert_eq!(served.result("probe", "execute", context.clone()).await, json!({ "echo": context }));
    let too_much = json!({"text": "x".repeat(4_300_000)});
    assert_eq!(served.call("probe", "execute", too_much).await.status, 413);
    assert_eq!(served.plugin("probe").await["restarts"], 0);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_without_an_sdk_answer_too() {
    let Some(served) = Served::start().await else { return };
    build_native_echo();
    served.run(&example("native-echo")).await;
    assert_eq!(
        served.result("native-echo", "execute", json!({"a": "b\n"})).await,
        json!({"echo": {"a": "b\n"}}),
        "native-echo"
    );
    served.run(&example("shout")).await;
    let shouted = served.result("shout", "execute", json!({"message": "hello"})).await;
    assert_eq!(shouted, json!({"shout": "HELLO!"}));
    let failed = served.call("shout", "execute", json!({"other": 1})).await.expect(200);
    assert_eq!(failed["success"], false, "{failed}");
    assert!(failed["error"].as_str().unwrap().contains("expected {\"message\""), "{failed}");
    served.end().await;
}
