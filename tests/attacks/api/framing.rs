//! Requests whose end is not where it seems to be, and requests that take for ever.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::raw::{Exchange, exchange, read_all};
use crate::target::Target;
use crate::{Attack, attack};

pub const TABLE: &[Attack] = &[attack(&[201], ambiguous_framing), attack(&[202], slowness)];

const ANSWERED: Duration = Duration::from_secs(10);

/// How long a connection that stays open is listened to.
const SILENCE: Duration = Duration::from_millis(300);

const BODY: &str = r#"{"label":"a","scopes":["read"]}"#;

/// A request that makes a token, with these lines in its head.
fn post(target: &Target, lines: &str, body: &str) -> String {
    format!(
        "POST /api/tokens HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\n{lines}\r\n{body}",
        target.token
    )
}

fn chunked(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

/// Lines that leave open where the body ends. What follows is a whole request that must not be carried out.
fn ambiguous_lines() -> Vec<(String, String)> {
    let length = format!("Content-Length: {}\r\n", BODY.len());
    let lengths = [
        "+31",
        "-1",
        "0x1f",
        "31, 31",
        "31,0",
        "31 31",
        "3 1",
        "18446744073709551647",
        "31;",
        "",
        "1e1",
        "\u{0663}\u{0661}",
    ];
    let mut forms: Vec<_> = lengths.map(|value| (format!("Content-Length: {value}\r\n"), BODY.to_owned())).into();
    let encodings = [
        "xchunked",
        "chunked, chunked",
        "identity",
        "gzip, chunked",
        "chunked, identity",
        "chunked, gzip",
        "chunked;x=1",
        "\"chunked\"",
        "\u{b}chunked",
        "\u{c}chunked",
        "",
        "chunke",
        "chunked,",
        ",chunked",
        "chunked chunked",
        "cow",
    ];
    forms.extend(encodings.map(|value| (format!("Transfer-Encoding: {value}\r\n"), chunked(BODY))));
    let lines = [
        // Both lengths, in each order and disguise.
        format!("{length}Transfer-Encoding: chunked\r\n"),
        format!("Transfer-Encoding: chunked\r\n{length}"),
        format!("{length}Transfer-Encoding: identity\r\n"),
        format!("{length}transfer-encoding: Chunked\r\n"),
        format!("X: y\nTransfer-Encoding: chunked\r\n{length}"),
        format!("{length}{length}"),
        format!("{length}Content-Length: 0\r\n"),
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n".to_owned(),
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n".to_owned(),
        // Names and lines that some servers read and others do not.
        "Content-Length : 31\r\n".to_owned(),
        "Transfer-Encoding : chunked\r\n".to_owned(),
        "Transfer-Encoding\t: chunked\r\n".to_owned(),
        "Transfer-Encoding:\r\n chunked\r\n".to_owned(),
        format!("X: y\r\n folded\r\n{length}"),
        format!(" X: y\r\n{length}"),
        format!("X: y\rTransfer-Encoding: chunked\r\n{length}"),
        format!("X: y\0z\r\n{length}"),
        format!("X: y\u{1}z\r\n{length}"),
        format!("X y: z\r\n{length}"),
        format!("X\r\n{length}"),
        format!(": y\r\n{length}"),
        format!("Connection: Upgrade\r\nUpgrade: websocket\r\n{length}"),
        // Too many lines, too long a line.
        format!("{}{length}", "X: y\r\n".repeat(97)),
        format!("X: {}\r\n{length}", "y".repeat(129 * 1024)),
    ];
    forms.extend(lines.map(|lines| (lines, BODY.to_owned())));
    let chunks = ["-1", "0x1f", "+1f", "1g", "", "fffffffffffffffff", "1f;a\nb", "1f\n", "1 f", "g"];
    forms.extend(
        chunks.map(|size| ("Transfer-Encoding: chunked\r\n".to_owned(), format!("{size}\r\n{BODY}\r\n0\r\n\r\n"))),
    );
    forms.push(("Transfer-Encoding: chunked\r\n".to_owned(), chunked(BODY).replace("\r\n", "\n")));
    forms
}

fn ambiguous_framing(target: &mut Target) {
    let smuggled = post(target, &format!("Content-Length: {}\r\n", BODY.len()), BODY);
    let refused = |what: &str, answer: &Exchange| {
        assert!(matches!(answer.statuses()[..], [400 | 413 | 431 | 501]), "{what:?}: {}", answer.text);
        assert!(answer.closed, "{what:?} stays open: {}", answer.text);
    };
    for (lines, body) in ambiguous_lines() {
        let bytes = format!("{}{smuggled}", post(target, &lines, &body));
        refused(&lines[..lines.len().min(200)], &exchange(&target.address, bytes.as_bytes(), ANSWERED));
    }
    let starts = [
        "POST /api/tokens\r\n",
        "POST /api/tokens HTTP/1.2\r\n",
        "POST /api/tokens HTTP/2.0\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n",
        "POST  /api/tokens HTTP/1.1\r\n",
        "POST\t/api/tokens\tHTTP/1.1\r\n",
        "POST /api/ tokens HTTP/1.1\r\n",
        "P\0ST /api/tokens HTTP/1.1\r\n",
        "POST /api/\u{1}tokens HTTP/1.1\r\n",
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}",
    ];
    for start in starts {
        let bytes = format!("{start}Host: localhost\r\n\r\n{smuggled}");
        refused(start, &exchange(&target.address, bytes.as_bytes(), ANSWERED));
    }
    let old = post(target, "Transfer-Encoding: chunked\r\n", &chunked(BODY)).replacen("HTTP/1.1", "HTTP/1.0", 1);
    refused("HTTP/1.0 with chunks", &exchange(&target.address, format!("{old}{smuggled}").as_bytes(), ANSWERED));
    target.unchanged("ambiguous framing", 0);
    unread_bodies(target, &smuggled);
    lone_line_feeds(target, &smuggled);
}

/// A body that nobody reads must not be taken for the next request.
fn unread_bodies(target: &mut Target, smuggled: &str) {
    let length = smuggled.len();
    let token = format!("Authorization: Bearer {}\r\n", target.token);
    let heads = [
        (400, format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n")),
        (400, format!("GET /api/plugins HTTP/1.1\r\nHost: localhost\r\n{token}Content-Length: {length}\r\n\r\n")),
        (401, format!("POST /api/tokens HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n")),
        (404, format!("POST /nope HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n")),
        (405, format!("PUT /api/tokens HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n")),
        (421, format!("POST /api/tokens HTTP/1.1\r\nHost: evil.com\r\nContent-Length: {length}\r\n\r\n")),
        (404, "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned()),
        (
            200,
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".to_owned(),
        ),
    ];
    for (status, head) in heads {
        let answer = exchange(&target.address, format!("{head}{smuggled}").as_bytes(), ANSWERED);
        assert_eq!(answer.statuses(), [status], "{head}: {}", answer.text);
        assert!(answer.closed, "{head}: {}", answer.text);
    }
    target.unchanged("unread bodies", 0);
}

/// A lone line feed ends a line, as RFC 9112 allows. That is no second reading as long as it is the only one: every
/// line counts, wherever it stands, and the request ends where its lines say.
fn lone_line_feeds(target: &mut Target, smuggled: &str) {
    let length = format!("Content-Length: {}\r\n", BODY.len());
    let whole = post(target, &length, "").replace("\r\n", "\n");
    let answer = exchange(&target.address, format!("{whole}{BODY}").as_bytes(), SILENCE);
    assert_eq!(answer.statuses(), [201], "{}", answer.text);
    target.unchanged("only line feeds", 1);
    for lines in [format!("X: y\nContent-Length: 0\r\n{length}"), format!("X: y\nHost: evil.com\r\n{length}")] {
        let bytes = format!("{}{smuggled}", post(target, &lines, BODY));
        let answer = exchange(&target.address, bytes.as_bytes(), ANSWERED);
        assert!(answer.closed && answer.statuses() == [400], "{lines:?}: {}", answer.text);
    }
    target.unchanged("line feeds among lines", 0);
}

/// Sends a byte at a time until the server has had enough; returns what it said and after how long.
fn drip(address: &str, start: &str) -> (Exchange, Duration) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(start.as_bytes()).unwrap();
    let started = Instant::now();
    let mut said = Exchange { text: String::new(), closed: false };
    while started.elapsed() < Duration::from_secs(20) && !said.closed {
        let more = read_all(&mut stream, Duration::from_millis(500));
        said.text.push_str(&more.text);
        said.closed = more.closed || stream.write_all(b"x").is_err();
    }
    (said, started.elapsed())
}

fn slowness(target: &mut Target) {
    let config = "security: { signatures: off }\n\
                  server: { max_connections: 8, body_timeout_seconds: 2, keep_alive_seconds: 2 }\n";
    *target = Target::start_with(config, &["--insecure-dev"]);
    let address = target.address.as_str();
    let silent_body = post(target, "Content-Length: 1000\r\n", "{");
    let slow_body = post(target, "Content-Length: 1000\r\n", "{\"label\":\"");
    let second_head = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nX: ";
    std::thread::scope(|scope| {
        let head = scope.spawn(|| drip(address, "GET /healthz HTTP/1.1\r\nX: "));
        let second = scope.spawn(|| drip(address, second_head));
        let body = scope.spawn(|| drip(address, &slow_body));
        let silent = scope.spawn(|| exchange(address, silent_body.as_bytes(), ANSWERED));
        let (said, after) = head.join().unwrap();
        assert!(said.closed && said.statuses() == [408] && after < ANSWERED, "slow head: {said:?} {after:?}");
        let (said, after) = second.join().unwrap();
        assert!(said.closed && said.statuses() == [200] && after < ANSWERED, "slow second head: {said:?} {after:?}");
        let (said, after) = body.join().unwrap();
        assert!(
            said.closed && said.text.contains("body-too-slow") && after < ANSWERED,
            "slow body: {said:?} {after:?}"
        );
        let said = silent.join().unwrap();
        assert!(said.closed && said.statuses() == [408], "silent body: {said:?}");
    });

    // Every place is taken by somebody who says nothing, or nothing more.
    let mut idle: Vec<TcpStream> = (0..16).map(|_| TcpStream::connect(address).unwrap()).collect();
    for stream in idle.iter_mut().step_by(2) {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    }
    let healthz = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    // Two workers accept. What the slower one takes up later makes room for itself, perhaps by this one.
    let is_answered = || exchange(address, healthz.as_bytes(), Duration::from_secs(25)).statuses() == [200];
    assert!((0..3).any(|_| is_answered()), "the places are not given back");
    drop(idle);
    target.unchanged("slowness", 0);
}
