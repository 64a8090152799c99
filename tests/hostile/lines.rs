//! Lines that are no message, or one that nobody asked for: 502 `plugin-protocol` at once, and the session is replaced.

use futures_util::future::FutureExt as _;
use serde_json::json;

use super::target::{Attack, Target, attack};

pub(crate) const TABLE: &[Attack] = &[
    attack(&["A.160"], "numbers that are none", |target| numbers(target).boxed()),
    attack(&["A.161"], "a line of 100 MB", |target| long_line(target, 100 << 20).boxed()),
    attack(&["B.40"], "an answer of 1 GiB", |target| long_line(target, 1 << 30).boxed()),
    attack(&["A.162"], "bytes that are no text", |target| bytes(target).boxed()),
    attack(&["A.163"], "100,000 levels", |target| deep(target).boxed()),
    attack(&["A.164"], "keys that stand twice", |target| twice(target).boxed()),
    attack(&["A.165", "A.167"], "answers to what was never asked", |target| unasked(target).boxed()),
    attack(&["A.166"], "two answers", |target| two_answers(target).boxed()),
    attack(&["A.171"], "1,024 descriptors", |target| descriptors(target).boxed()),
    attack(&["A.172"], "answers that would be heads and pages", |target| injected(target).boxed()),
    attack(&[], "garbage", |target| garbage(target).boxed()),
];

fn answer(id: &str, result: &str) -> serde_json::Value {
    json!({"do": "bad.inject", "line": format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}")})
}

async fn numbers(target: &Target) {
    let victim = target.raw().await;
    for id in ["-1", "NaN", "1e400", "-$id", "$id.0", "18446744073709551616"] {
        victim.breaks(answer(id, "1")).await;
    }
    for result in ["NaN", "Infinity", "-Infinity", "01", "1e400", "[-1e999]"] {
        victim.breaks(answer("$id", result)).await;
    }
    let request = |id: &str| format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"kv.get\",\"params\":{{}}}}");
    for id in ["1e400", "NaN", "1.5"] {
        victim.breaks(json!({"do": "bad.inject", "line": request(id)})).await;
    }
    // The numbers of its requests are its own.
    victim.execute(json!({"send": [request("-1")]})).await.expect(200);
}

async fn long_line(target: &Target, bytes: u64) {
    let victim = target.raw().await;
    let problem = victim.breaks_by("bad.long_line", json!({ "bytes": bytes })).await;
    assert!(problem["detail"].as_str().unwrap().contains("longer than 4194304 bytes"), "{problem}");
}

async fn bytes(target: &Target) {
    let victim = target.raw().await;
    // Bad beginnings, overlong forms, halves of pairs, beyond the last character, control characters.
    for hex in ["fffe", "80", "c0af", "e080af", "eda080", "f4908080", "f8888080", "c3", "00", "610062", "09"] {
        victim.breaks_by("bad.bytes_of", json!({ "hex": hex })).await;
    }
    let good = victim.result("bad.bytes_of", json!({"hex": "c3a95c7530303030"})).await;
    assert_eq!(good, "é\0", "an escaped NUL is a character like any other");
}

async fn deep(target: &Target) {
    let victim = target.raw().await;
    for depth in [65, 100_000, 2_000_000] {
        let problem = victim.breaks_by("bad.deep", json!({ "depth": depth })).await;
        assert!(problem["detail"].as_str().unwrap().contains("nests deeper"), "{problem}");
    }
    victim.perform("bad.deep", json!({"depth": 64})).await.expect(200);
}

async fn twice(target: &Target) {
    let victim = target.raw().await;
    victim.breaks(answer("$id", "{\"a\":1,\"a\":2}")).await;
    victim.breaks(answer("$id", "[{\"a\":{\"b\":1,\"\\u0062\":2}}]")).await;
    victim.breaks(answer("$id,\"id\":$id", "1")).await;
    victim.breaks(answer("$id,\"result\":0", "1")).await;
    victim.breaks(answer("$id,\"x\":0,\"x\":0", "1")).await;
}

async fn unasked(target: &Target) {
    let victim = target.raw().await;
    // Long over, never there, and the very next.
    for id in ["1", "0", "4711", "1$id", "\"$id\"", "null"] {
        victim.breaks(answer(id, "1")).await;
    }
    // A good answer may follow: the first broken rule counts.
    let both = ["{\"jsonrpc\":\"2.0\",\"id\":99,\"result\":1}", "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":1}"];
    victim.breaks(json!({"send": both, "silent": true})).await;
}

async fn two_answers(target: &Target) {
    let victim = target.raw().await;
    let good = "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":1}";
    let waiting = victim.execute(json!({"silent": true}));
    let answering = async {
        target.until_in_flight(&victim.name, 1).await;
        victim.execute(json!({"send": [good, good], "silent": true})).await
    };
    let (waiting, answered) = tokio::join!(waiting, answering);
    assert_eq!(answered.expect(200)["result"], 1);
    waiting.expect_problem(502, "plugin-protocol");
    victim.works().await;
    victim.expect_restarts(1).await;
}

async fn descriptors(target: &Target) {
    let victim = target.raw().await;
    let before = target.descriptors();
    let sending = victim.result("bad.send_descriptors", json!({"count": 20_000}));
    tokio::pin!(sending);
    let mut most = 0;
    let sent = loop {
        tokio::select! {
            biased;
            sent = &mut sending => break sent,
            () = tokio::time::sleep(std::time::Duration::from_millis(1)) => most = most.max(target.descriptors()),
        }
    };
    assert_eq!(sent, 20_000);
    assert!(most < before + 100, "{most} descriptors, {before} before");
    victim.works().await;
    victim.expect_restarts(0).await;
}

async fn injected(target: &Target) {
    let victim = target.raw().await;
    let texts = [
        "x\\r\\nSet-Cookie: a=b\\r\\n\\r\\n<script>alert(1)</script>",
        "</script><img src=x onerror=alert(1)>",
        "\\u0000\\u001b[31m\\u0007\\u202e",
        "\\n\\nevent: result\\ndata: {}\\n\\n",
    ];
    for text in texts {
        let wanted: String = serde_json::from_str(&format!("\"{text}\"")).unwrap();
        let forms = [
            answer("$id", &format!("\"{text}\"")),
            answer("$id", &format!("{{\"success\":true,\"result\":\"{text}\",\"message\":\"{text}\"}}")),
            answer("$id", &format!("{{\"success\":false,\"error\":\"{text}\"}}")),
            json!({"do": "bad.error", "text": wanted, "data": {"kind": wanted, "trace": wanted}}),
            json!({"do": "bad.error", "text": wanted, "data": [[]]}),
        ];
        for form in forms {
            let answer = victim.execute(form.clone()).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            assert_eq!(answer.headers["content-type"], "application/json");
            assert_eq!(answer.headers["x-content-type-options"], "nosniff");
            assert!(!answer.headers.contains_key("set-cookie"), "{:?}", answer.headers);
            assert!(!answer.text.contains(|c: char| c.is_control()), "{:?}", answer.text);
            let body = answer.json();
            assert!([&body["result"], &body["error"]].iter().any(|shown| **shown == wanted), "{body}");
            let events = target.stream(&victim.name, &json!({ "context": form })).await;
            assert_eq!(events.len(), 1, "{events:?}");
            assert_eq!(events[0].name, "result");
        }
    }
    victim.expect_restarts(0).await;
}

async fn garbage(target: &Target) {
    let victim = target.raw().await;
    let note = |params: &str| format!("{{\"jsonrpc\":\"2.0\",\"method\":\"log\",\"params\":{params}}}");
    for line in [
        "HTTP/1.1 200 OK",
        "",
        "{}",
        "[]",
        "{\"jsonrpc\":\"1.0\",\"id\":$id,\"result\":1}",
        "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":1,\"error\":{\"code\":1,\"message\":\"\"}}",
        "{\"jsonrpc\":\"2.0\",\"id\":$id}",
        "{\"jsonrpc\":\"2.0\",\"method\":\"hello\",\"params\":{\"nonce\":\"\",\"protocol\":1,\"report\":{}}}",
        "{\"jsonrpc\":\"2.0\",\"method\":\"shutdown\",\"params\":{}}",
        "[{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":1}]",
        &note("{\"message\":1}"),
        &note("[]"),
    ] {
        victim.breaks(json!({"do": "bad.inject", "line": line})).await;
    }
}
