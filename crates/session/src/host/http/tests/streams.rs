//! Answers that are read piece by piece, of hosts that say what the test wants, chunk by chunk.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use data_encoding::BASE64;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use super::super::super::HostError;
use super::super::super::bench::{Bench, Server, Wire, reply, rule_of};

const PATIENCE: Duration = Duration::from_secs(20);
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";

fn chunk(to: &mut dyn Wire, bytes: &[u8]) -> std::io::Result<()> {
    write!(to, "{:x}\r\n", bytes.len())?;
    to.write_all(bytes)?;
    to.write_all(b"\r\n")?;
    to.flush()
}

/// A host that begins to answer, then says nothing, and counts those that went away.
fn silent() -> (Server, watch::Receiver<usize>) {
    let (gone, left) = watch::channel(0);
    let server = Server::tls(move |_, to| {
        to.write_all(HEAD)?;
        chunk(to, b"hello")?;
        // The end of the connection, with or without a word.
        assert_ne!(to.read(&mut [0]).ok(), Some(1));
        gone.send_modify(|gone| *gone += 1);
        Ok(())
    });
    (server, left)
}

async fn until(gone: &mut watch::Receiver<usize>, count: usize) {
    timeout(PATIENCE, gone.wait_for(|gone| *gone == count)).await.expect("the host sees the end").unwrap();
}

impl Bench {
    async fn open(&self, url: &str) -> String {
        let head = self.ask("http.stream", json!({ "url": url })).await.unwrap();
        assert_eq!(head["status"], 200, "{head}");
        head["stream"].as_str().unwrap().to_owned()
    }

    async fn read(&self, stream: &str) -> Result<Value, HostError> {
        self.ask("http.read", json!({ "stream": stream })).await
    }

    /// Everything until the end, as bytes.
    async fn read_all(&self, stream: &str) -> Vec<Vec<u8>> {
        let mut pieces = Vec::new();
        loop {
            let piece = self.read(stream).await.unwrap();
            if piece == json!({"end": true}) {
                return pieces;
            }
            pieces.push(match piece["data"].as_str() {
                Some(text) => text.as_bytes().to_vec(),
                None => BASE64.decode(piece["data_base64"].as_str().unwrap().as_bytes()).unwrap(),
            });
        }
    }
}

#[tokio::test]
async fn pieces_come_when_the_host_says_them() {
    let (say, said) = mpsc::channel::<&[u8]>();
    let said = Mutex::new(said);
    let host = Server::tls(move |_, to| {
        to.write_all(HEAD)?;
        to.flush()?;
        while let Ok(piece) = said.lock().unwrap().recv() {
            chunk(to, piece)?;
        }
        chunk(to, b"")
    });
    let bench = Bench::new(&[&host.grant("allowed.test")], |_| {}).await;
    let params = json!({"url": host.url("allowed.test", "/v1"), "method": "POST", "body": "ask", "call": "call_x"});
    let head = bench.ask("http.stream", params).await.unwrap();
    assert_eq!((&head["status"], &head["headers"]["content-type"]), (&json!(200), &json!("text/plain")));
    assert!(host.requests()[0].ends_with("\r\n\r\nask"), "{:?}", host.requests());
    let stream = head["stream"].as_str().unwrap().to_owned();
    // A character that is cut comes whole; bytes that are no text come as they are.
    for (pieces, expected) in [
        (vec![&b"data: 1"[..]], json!({"data": "data: 1"})),
        (vec![b"caf\xc3", b"\xa9 \xf0\x9f"], json!({"data": "caf"})),
        (vec![], json!({"data": "\u{e9} "})),
        (vec![b"\x98\x80"], json!({"data": "\u{1f600}"})),
        (vec![b"\xff\x00a"], json!({"data_base64": "/wBh"})),
        (vec![b"\xe2\x82"], json!({"data_base64": "4oI="})),
    ] {
        for piece in &pieces {
            say.send(*piece).unwrap();
        }
        if pieces == [b"\xe2\x82"] {
            // Nothing completes it.
            let (read, ()) = tokio::join!(bench.read(&stream), async { drop(say) });
            assert_eq!(read.unwrap(), expected);
            break;
        }
        assert_eq!(bench.read(&stream).await.unwrap(), expected, "{pieces:?}");
    }
    assert_eq!(bench.read(&stream).await.unwrap(), json!({"end": true}));
    assert_eq!(rule_of(&bench.read(&stream).await), "no-stream");
    assert_eq!(bench.ask("http.close", json!({"stream": stream})).await.unwrap(), json!({}));
}

#[tokio::test]
async fn it_goes_where_a_fetch_may_go_and_nowhere_else() {
    let (host, sentinel) = (Server::hello(), Server::hello());
    let redirecting = {
        let to = host.url("allowed.test", "/there");
        Server::tls(move |_, wire| reply(wire, "302 Found", &format!("Location: {to}\r\n"), ""))
    };
    let bench = Bench::new(&[&host.grant("allowed.test"), &redirecting.grant("second.test")], |_| {}).await;
    bench.keep(&[("key", "some-secret-value", &[format!("allowed.test:{}", host.port)])]);
    let elsewhere = sentinel.url("second.test", "/");
    let ask = |params| bench.ask("http.stream", params);
    let here = host.url("allowed.test", "/");
    for (params, rule) in [
        (json!({ "url": elsewhere }), format!("denied network_access:second.test:{}", sentinel.port)),
        (json!({"url": here, "method": "TRACE"}), "method".to_owned()),
        (json!({"url": format!("{here}{{{{secret:key}}}}")}), "secret".to_owned()),
        (json!({"url": here, "headers": {"Range": "bytes=0-1"}}), "header".to_owned()),
        (json!({"url": here, "headers": {"X-Key": "{{secret:key}}"}}), "secret".to_owned()),
        (json!({"url": here, "body": "x".repeat(3 << 20)}), "request-too-large".to_owned()),
    ] {
        assert_eq!(rule_of(&ask(params.clone()).await), rule, "{params:.200}");
    }
    assert_eq!((host.seen(), sentinel.seen()), (0, 0));
    let stream = bench.open(&redirecting.url("second.test", "/")).await;
    assert_eq!(bench.read_all(&stream).await.concat(), b"hello");
    assert!(host.requests()[0].starts_with("GET /there HTTP/1.1"), "{:?}", host.requests());
    let packed = Server::tls(|_, to| reply(to, "200 OK", "Content-Encoding: gzip\r\n", "x"));
    bench.grant(&[&packed.grant("allowed.test")]);
    assert_eq!(rule_of(&ask(json!({"url": packed.url("allowed.test", "/")})).await), "answer-encoded");
    let switching = Server::tls(|_, to| to.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"));
    bench.grant(&[&switching.grant("allowed.test")]);
    assert_eq!(rule_of(&ask(json!({"url": switching.url("allowed.test", "/")})).await), "answer");
}

#[tokio::test]
async fn a_secret_is_masked_wherever_the_host_cuts_it() {
    // Its end may begin it again.
    const SECRET: &str = "s3cret/353e+9f1b-s";
    let host = Server::tls(|request, to| {
        let at: usize = request.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
        let text = format!("<{SECRET}> {} .", BASE64.encode(SECRET.as_bytes()));
        to.write_all(format!("HTTP/1.1 200 OK\r\nX-Echo: {SECRET}\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes())?;
        let (first, second) = text.as_bytes().split_at(at.min(text.len()));
        for piece in [first, second].into_iter().filter(|piece| !piece.is_empty()) {
            chunk(to, piece)?;
        }
        chunk(to, b"")
    });
    let bench = Bench::new(&[&host.grant("allowed.test")], |_| {}).await;
    bench.keep(&[("key", SECRET, &[format!("allowed.test:{}", host.port)])]);
    for at in 0..=50 {
        let head = bench.ask("http.stream", json!({"url": host.url("allowed.test", &format!("/{at}"))})).await.unwrap();
        assert_eq!(head["headers"]["x-echo"], "[redacted]");
        let shown = bench.read_all(head["stream"].as_str().unwrap()).await.concat();
        let shown = String::from_utf8(shown).unwrap();
        assert!(shown.starts_with("<[redacted]> [redacted]") && shown.ends_with(" ."), "{at}: {shown}");
    }
}

#[tokio::test]
async fn an_endless_answer_waits_for_its_reader_and_is_bounded() {
    let written = Arc::<AtomicU64>::default();
    let (stuck, mut is_stuck) = watch::channel(0);
    let counter = Arc::clone(&written);
    let host = Server::plain(move |_, to| {
        to.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        loop {
            match to.write(&[b'x'; 8_192]) {
                Ok(count) => counter.fetch_add(count as u64, Ordering::SeqCst),
                Err(error) => {
                    stuck.send_modify(|stuck| *stuck += 1);
                    return Err(error);
                }
            };
        }
    });
    let rule = format!("network_access:http://allowed.test:{}", host.port);
    let bench = Bench::new(&[&rule], |config| config.egress.tunnel_bytes = 1 << 20).await;
    let url = format!("http://allowed.test:{}/", host.port);
    let unread = bench.open(&url).await;
    // The host is stuck: what it has written is in buffers of sockets, and not with us.
    until(&mut is_stuck, 1).await;
    let received = bench.host.asker.exit.received_bytes();
    assert!(received <= 256 << 10, "{received} of {}", written.load(Ordering::SeqCst));
    bench.ask("http.close", json!({"stream": unread})).await.unwrap();

    let stream = bench.open(&url).await;
    let (mut taken, mut longest) = (0, 0);
    let refused = loop {
        match bench.read(&stream).await {
            Ok(piece) => {
                let length = piece["data"].as_str().unwrap().len();
                (taken, longest) = (taken + length, longest.max(length));
            }
            refused => break rule_of(&refused),
        }
    };
    assert_eq!(refused, "limit");
    assert!(taken <= 1 << 20 && taken > 900 << 10 && longest <= 256 << 10, "{taken} {longest}");
    until(&mut is_stuck, 2).await;
}

#[tokio::test]
async fn a_host_that_falls_silent_is_given_up() {
    let (host, mut gone) = silent();
    let short = Duration::from_millis(300);
    let bench = Bench::new(&[&host.grant("allowed.test")], |config| config.egress.idle = short).await;
    let stream = bench.open(&host.url("allowed.test", "/")).await;
    assert_eq!(bench.read(&stream).await.unwrap()["data"], "hello");
    assert_eq!(rule_of(&bench.read(&stream).await), "limit");
    until(&mut gone, 1).await;
    assert_eq!(rule_of(&bench.read(&stream).await), "no-stream");
}

#[tokio::test]
async fn one_request_waits_for_a_stream_and_closing_it_ends_the_wait() {
    let (host, mut gone) = silent();
    let bench = Bench::new(&[&host.grant("allowed.test")], |_| {}).await;
    let stream = bench.open(&host.url("allowed.test", "/")).await;
    bench.read(&stream).await.unwrap();
    let (waited, busy) = tokio::join!(biased; bench.read(&stream), async {
        let busy = bench.read(&stream).await;
        bench.ask("http.close", json!({"stream": stream})).await.unwrap();
        busy
    });
    assert_eq!((rule_of(&waited).as_str(), rule_of(&busy).as_str()), ("no-stream", "stream-busy"));
    until(&mut gone, 1).await;
}

#[tokio::test]
async fn a_request_that_was_given_up_has_lost_nothing() {
    let (say, said) = mpsc::channel::<()>();
    let said = Mutex::new(said);
    let host = Server::tls(move |_, to| {
        to.write_all(HEAD)?;
        chunk(to, b"half a character: \xc3")?;
        said.lock().unwrap().recv().ok();
        chunk(to, b"\xa9")?;
        chunk(to, b"")
    });
    let bench = Bench::new(&[&host.grant("allowed.test")], |_| {}).await;
    let stream = bench.open(&host.url("allowed.test", "/")).await;
    assert_eq!(bench.read(&stream).await.unwrap()["data"], "half a character: ");
    let late = bench.ask_within("http.read", json!({"stream": stream}), Duration::ZERO).await;
    assert_eq!(rule_of(&late), "timeout");
    say.send(()).unwrap();
    assert_eq!(bench.read(&stream).await.unwrap()["data"], "\u{e9}");
    assert_eq!(bench.read(&stream).await.unwrap(), json!({"end": true}));
}

#[tokio::test]
async fn a_grant_that_is_taken_back_closes_streams_that_are_read_and_those_that_are_not() {
    let (host, mut gone) = silent();
    let bench = Bench::new(&[&host.grant("allowed.test")], |_| {}).await;
    let (read, left) =
        (bench.open(&host.url("allowed.test", "/")).await, bench.open(&host.url("allowed.test", "/")).await);
    bench.read(&read).await.unwrap();
    let (waited, ()) = tokio::join!(biased; bench.read(&read), async { bench.grant(&[]) });
    assert!(["no-stream", "limit"].contains(&rule_of(&waited).as_str()), "{waited:?}");
    until(&mut gone, 2).await;
    assert_eq!(rule_of(&bench.read(&left).await), "no-stream");
}

#[tokio::test]
async fn streams_are_counted_per_session_and_are_nobody_elses() {
    let (host, mut gone) = silent();
    let bench = Bench::new(&[&host.grant("allowed.test")], |config| config.egress.max_tunnels = 1).await;
    let url = host.url("allowed.test", "/");
    let mut streams = Vec::new();
    for _ in 0..128 {
        streams.push(bench.open(&url).await);
    }
    let refused = bench.ask("http.stream", json!({ "url": url })).await;
    assert_eq!(rule_of(&refused), "max-streams");
    assert_eq!(refused.unwrap_err().to_string(), "more than 128 answers are read piece by piece at one time");
    // Connections of its own are other places.
    let other = Server::hello();
    bench.grant(&[&host.grant("allowed.test"), &other.grant("second.test")]);
    bench.fetch(&other.url("second.test", "/")).await.unwrap();
    for foreign in ["stream_0123456789abcdef0123456789abcdef", "stream_1", "", "../x"] {
        assert_eq!(rule_of(&bench.read(foreign).await), "no-stream", "{foreign}");
    }
    let session = bench.in_another_session();
    assert_eq!(rule_of(&session.read(&streams[0]).await), "no-stream", "of the other session");
    let own = session.open(&url).await;
    // The first session has ended with all of its streams.
    until(&mut gone, 128).await;
    assert_eq!(session.read(&own).await.unwrap()["data"], "hello");
}
