//! Answers that come in parts, and callers that go away before the end.

use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::served::Served;
use super::support::raw::read_all;

/// A call, sent by hand, whose answer is not read.
fn begin(served: &Served, body: &Value, accept: &str) -> TcpStream {
    let (address, body): (SocketAddr, String) = (served.address, body.to_string());
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /api/plugins/probe/execute HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nAccept: {accept}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        served.token,
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_and_progress_come_in_order_and_then_the_result() {
    let Some(served) = Served::with("probe").await else { return };
    let events = served.stream("probe", &json!({"method": "steps", "context": {"to": 5}})).await;
    let of = |name: &str| events.iter().filter(|event| event.name == name).map(|event| &event.data).collect::<Vec<_>>();
    let chunks: Vec<Value> = (0..5).map(|number| json!({"seq": number, "data": {"step": number}})).collect();
    assert_eq!(of("chunk"), chunks.iter().collect::<Vec<_>>());
    assert_eq!(of("progress")[1], &json!({"percent": 20.0, "message": "step 1"}));
    let last = events.last().unwrap();
    assert_eq!((last.name.as_str(), &last.data["success"]), ("result", &json!(true)), "{last:?}");
    assert!(last.data["call_id"].is_string() && last.data["execution_time"].is_number(), "{last:?}");
    assert_eq!((of("result").len(), of("error").len()), (1, 0));

    let list = served.result("probe", "steps", json!({"to": 3})).await;
    assert_eq!(list, json!([{"step": 0}, {"step": 1}, {"step": 2}]), "who does not stream gets an array");
    assert_eq!(served.result("probe", "steps", json!({"to": 0})).await, json!([]), "also of nothing");
    let plain = served.stream("probe", &json!({"context": {"a": 1}})).await;
    assert_eq!((plain.len(), &plain[0].data["result"]), (1, &json!({"echo": {"a": 1}})));
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_come_when_they_are_made_and_not_at_the_end() {
    let Some(served) = Served::with("probe").await else { return };
    let request = served.request(reqwest::Method::POST, "/api/plugins/probe/execute");
    let request = request.header("accept", "text/event-stream");
    let began = Instant::now();
    let body = json!({"method": "steps", "context": {"to": 5, "pause": 0.3}});
    let mut response = request.json(&body).send().await.unwrap();
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    assert_eq!(response.headers().get("content-encoding"), None);
    let first = response.chunk().await.unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_millis(300), "{:?}: {first:?}", began.elapsed());
    while response.chunk().await.unwrap().is_some() {}
    assert!(began.elapsed() > Duration::from_millis(1_400));
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_fails_ends_with_what_happened() {
    let Some(served) = Served::with("probe").await else { return };
    let events = served.stream("probe", &json!({"method": "steps", "context": {"to": 2, "fail": "no more"}})).await;
    let last = events.last().unwrap();
    assert_eq!(last.name, "result", "a plugin that raises is an answer");
    assert_eq!((&last.data["success"], &last.data["error"]), (&json!(false), &json!("RuntimeError: no more")));

    let body = json!({"method": "forever", "timeout_ms": 300});
    let events = served.stream("probe", &body).await;
    assert!(events.len() > 5 && events[0].name == "chunk", "{events:?}");
    let last = events.last().unwrap();
    assert_eq!((last.name.as_str(), &last.data["code"]), ("error", &json!("plugin-timeout")), "{last:?}");
    for field in ["type", "title", "detail", "instance", "how"] {
        assert!(last.data[field].is_string(), "{field} in {last:?}");
    }
    assert_eq!(last.data["status"], 504);
    served.until_logged("probe", "forever cancelled: deadline").await;

    let events = served.stream("probe", &json!({"method": "crash", "context": {"code": 4}})).await;
    let last = events.last().unwrap();
    assert_eq!((last.name.as_str(), &last.data["code"]), ("error", &json!("plugin-crashed")), "{last:?}");
    // What is wrong before the call begins is an ordinary problem.
    let request = served.request(reqwest::Method::POST, "/api/plugins/probe/execute");
    let request = request.header("accept", "text/event-stream").json(&json!({"method": "nothing"}));
    super::support::app::send(request).await.expect_problem(422, "method-not-offered");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_hangs_up_cancels_its_call() {
    let Some(served) = Served::with("probe").await else { return };
    let sleep = |method: &str, name: &str| json!({"method": method, "context": {"seconds": 15, "name": name}});
    let cases = [
        (sleep("sleep", "one"), "application/json", "one cancelled: client"),
        (sleep("nap", "two"), "application/json", "two cancelled: client"),
        (sleep("sleep", "three"), "text/event-stream", "three cancelled: client"),
        (json!({"method": "forever"}), "text/event-stream", "forever cancelled: client"),
    ];
    for (body, accept, wanted) in cases {
        let connection = begin(&served, &body, accept);
        served.until_in_flight("probe", 1).await;
        let began = Instant::now();
        drop(connection);
        served.until_logged("probe", wanted).await;
        println!("{wanted}: told after {:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(2), "{wanted}: {:?}", began.elapsed());
    }
    let calls = served.about("probe", "calls").await;
    let outcomes: Vec<_> = calls["calls"].as_array().unwrap().iter().map(|call| call["outcome"].clone()).collect();
    assert_eq!(outcomes, ["cancelled"; 4]);
    assert_eq!(served.plugin("probe").await["restarts"], 0);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_has_nothing_more_to_say_still_gets_a_quick_answer() {
    let Some(served) = Served::with("probe").await else { return };
    let quick = json!({"method": "sleep", "context": {"seconds": 0.25}});
    let mut connection = begin(&served, &quick, "application/json");
    connection.shutdown(Shutdown::Write).unwrap();
    let answer = tokio::task::spawn_blocking(move || read_all(&mut connection, Duration::from_secs(5))).await.unwrap();
    assert_eq!(answer.statuses(), [200], "{answer:?}");
    assert!(answer.text.contains("\"success\":true"), "{answer:?}");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_does_not_read_its_stream_is_let_go() {
    let Some(served) = Served::with("probe").await else { return };
    let body = json!({"method": "flood", "context": {"bytes": 100_000}});
    let connection = begin(&served, &body, "text/event-stream");
    served.until_logged("probe", "flood cancelled").await;
    drop(connection);
    assert_eq!(served.result("probe", "execute", json!({})).await, json!({"echo": {}}));
    served.end().await;
}
