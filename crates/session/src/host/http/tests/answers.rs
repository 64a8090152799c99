//! Hosts that answer too much, too slowly, or not at all as they should.

use std::io::Write;
use std::time::Duration;

use serde_json::json;

use super::super::super::HostError;
use super::super::super::bench::{Bench, Server, reply, rule_of};

/// What comes of a request to a host that says these bytes first, and then these again and again.
async fn outcome(first: &'static [u8], again: &'static [u8]) -> String {
    let host = Server::tls(move |_, to| {
        to.write_all(first)?;
        while !again.is_empty() {
            to.write_all(again)?;
        }
        Ok(())
    });
    let bench = Bench::new(&[&host.grant("allowed.test")], |config| config.egress.fetch_bytes = 64 << 10).await;
    rule_of(&bench.fetch(&host.url("allowed.test", "/")).await)
}

#[tokio::test]
async fn more_than_is_taken_is_refused_and_never_cut() {
    let big =
        b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    assert_eq!(outcome(b"HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n", b"").await, "answer-too-large");
    assert_eq!(outcome(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n", b"").await, "answer-too-large");
    assert_eq!(outcome(b"HTTP/1.1 200 OK\r\n\r\n", big).await, "answer-too-large", "until the connection ends");
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(outcome(chunked, b"10\r\n0123456789abcdef\r\n").await, "answer-too-large", "in chunks");
    let exact = Server::tls(|_, to| reply(to, "200 OK", "", &"x".repeat(64 << 10)));
    let bench = Bench::new(&[&exact.grant("allowed.test")], |config| config.egress.fetch_bytes = 64 << 10).await;
    let answer = bench.fetch(&exact.url("allowed.test", "/")).await.unwrap();
    assert_eq!(answer["body"].as_str().unwrap().len(), 64 << 10);
}

#[tokio::test]
async fn answers_that_are_none_are_refused() {
    for (first, again) in [
        (&b"HTTP/1.1 200 OK\r\n"[..], &b"X-Endless: 0123456789012345678901234567890123456789\r\n"[..]),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"0123456789012345678901234567890123456789"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
        (b"SSH-2.0-OpenSSH\r\n", b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde", b""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;", b"0123456789012345678901234567890123456789"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Trailer: 0123456789\r\n"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b""),
        (b"", b""),
    ] {
        assert_eq!(outcome(first, again).await, "answer", "{:?} {:?}", first.escape_ascii(), again.escape_ascii());
    }
}

#[tokio::test]
async fn nothing_is_unpacked() {
    // 1 MiB of zeroes, packed into a thousandth: it stays what it is.
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(&vec![0; 1 << 20]).unwrap();
    let packed = packed.finish().unwrap();
    let length = packed.len();
    let host = Server::tls(move |_, to| {
        write!(to, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n")?;
        to.write_all(&packed)
    });
    let bench = Bench::new(&[&host.grant("allowed.test")], |_| {}).await;
    let url = host.url("allowed.test", "/");
    let answer = bench.fetch(&url).await.unwrap();
    assert_eq!(answer["headers"]["content-encoding"], "gzip");
    assert!(answer["body_base64"].as_str().unwrap().len() < 2 * length);
    // A secret could not be found in it.
    bench.keep(&[("key", "some-secret-value", &[format!("allowed.test:{}", host.port)])]);
    assert_eq!(rule_of(&bench.fetch(&url).await), "answer-encoded");
}

#[tokio::test]
async fn what_does_not_fit_a_message_is_refused() {
    let host = Server::tls(|_, to| reply(to, "200 OK", "", &"x".repeat(70_000)));
    let bench = Bench::new(&[&host.grant("allowed.test")], |config| config.calls.message_bytes = 64 << 10).await;
    assert_eq!(rule_of(&bench.fetch(&host.url("allowed.test", "/")).await), "answer-too-large");
    let bench = Bench::new(&[&host.grant("allowed.test")], |config| config.egress.fetch_bytes = 1 << 10).await;
    let long = json!({"url": host.url("allowed.test", "/"), "method": "POST", "body": "x".repeat(1_025)});
    assert_eq!(rule_of(&bench.ask("http.fetch", long).await), "request-too-large");
    assert_eq!(host.seen(), 1);
}

#[tokio::test]
async fn slow_hosts_are_waited_for_until_the_call_is_over() {
    let host = Server::tls(|_, to| {
        to.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")?;
        for _ in 0..100 {
            std::thread::sleep(Duration::from_millis(100));
            to.write_all(b"x")?;
            to.flush()?;
        }
        Ok(())
    });
    let bench = Bench::new(&[&host.grant("allowed.test")], |_| {}).await;
    let params = json!({"url": host.url("allowed.test", "/")});
    let outcome = bench.ask_within("http.fetch", params.clone(), Duration::from_millis(600)).await;
    assert!(matches!(outcome, Err(HostError::TooLate { .. })), "{outcome:?}");
    let silent = Server::tls(|_, _| {
        std::thread::sleep(Duration::from_secs(10));
        Ok(())
    });
    let bench =
        Bench::new(&[&silent.grant("allowed.test")], |config| config.egress.idle = Duration::from_millis(300)).await;
    assert_eq!(rule_of(&bench.fetch(&silent.url("allowed.test", "/")).await), "limit");
    let tunnel_time = Duration::from_millis(700);
    let bench = Bench::new(&[&host.grant("allowed.test")], |config| config.egress.tunnel_time = tunnel_time).await;
    assert_eq!(rule_of(&bench.ask("http.fetch", params).await), "limit");
}

#[tokio::test]
async fn a_head_has_no_body_and_every_status_is_an_answer() {
    let host = Server::tls(|request, to| {
        if request.starts_with("HEAD") {
            return to.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n");
        }
        reply(to, "500 Internal Server Error", "", "broken")
    });
    let bench = Bench::new(&[&host.grant("allowed.test")], |_| {}).await;
    let url = host.url("allowed.test", "/");
    let head = bench.ask("http.fetch", json!({"url": url, "method": "HEAD"})).await.unwrap();
    assert_eq!((&head["status"], &head["body"]), (&json!(200), &json!("")));
    let broken = bench.fetch(&url).await.unwrap();
    assert_eq!((&broken["status"], &broken["body"]), (&json!(500), &json!("broken")));
}
