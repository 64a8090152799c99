//! Callers over HTTP, each with a connection of its own that it keeps.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::measured::Measured;

#[derive(Args)]
pub(crate) struct Order {
    /// Port on 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// Bearer token.
    #[arg(long, default_value = "")]
    token: String,
    /// Callers at one time.
    #[arg(long, default_value_t = 1)]
    callers: usize,
    /// Length of the run.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Requests per second of each caller; without it each calls as fast as it is answered.
    #[arg(long)]
    rate: Option<f64>,
    /// Count answers that say when to come back, instead of ending at the first.
    #[arg(long)]
    may_refuse: bool,
    /// Paths, called in turns.
    #[arg(required = true)]
    paths: Vec<String>,
}

pub(crate) fn run(order: &Order) {
    let (calls, took) = crate::runtime().block_on(LocalSet::new().run_until(call(order)));
    if order.may_refuse {
        calls.good.print_beside(&calls.refused, took);
    } else {
        calls.good.print(took);
    }
}

/// What became of the calls.
#[derive(Default)]
struct Calls {
    good: Measured,
    refused: Measured,
}

async fn call(order: &Order) -> (Calls, Duration) {
    let turn = Rc::new(Cell::new(0_usize));
    let (paths, token) = (Rc::new(order.paths.clone()), Rc::new(order.token.clone()));
    let may_refuse = order.may_refuse;
    let pause = order.rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
    let begun = Instant::now();
    let end = begun + Duration::from_secs_f64(order.seconds);
    let port = order.port;
    let callers: Vec<_> = (0..order.callers)
        .map(|place| {
            // Spread out, as callers that know nothing of each other are.
            #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
            let first = pause.map(|pause| pause.mul_f64(place as f64 / order.callers as f64));
            let (turn, paths, token) = (Rc::clone(&turn), Rc::clone(&paths), Rc::clone(&token));
            tokio::task::spawn_local(async move {
                let mut calls = Calls::default();
                if let Some(first) = first {
                    tokio::time::sleep(first).await;
                }
                // The service gives a connection a few seconds for its first request.
                let mut connection = Connection::open(port).await;
                while Instant::now() < end {
                    let number = turn.replace(turn.get() + 1);
                    let body = format!(r#"{{"context":{{"number":{number},"user":"john_doe","message":"Hello"}}}}"#);
                    let sent = Instant::now();
                    let answer = connection.post(&paths[number % paths.len()], &token, &body).await;
                    if may_refuse && answer.is_refusal() {
                        calls.refused.add(sent.elapsed());
                    } else {
                        calls.good.add(sent.elapsed());
                        answer.check(number);
                    }
                    if let Some(pause) = pause {
                        tokio::time::sleep(pause.saturating_sub(sent.elapsed())).await;
                    }
                }
                calls
            })
        })
        .collect();
    let mut all = Calls::default();
    for caller in callers {
        let calls = caller.await.unwrap();
        all.good.join(calls.good);
        all.refused.join(calls.refused);
    }
    (all, begun.elapsed())
}

/// An answer with its length said.
struct Answer<'a> {
    head: &'a [u8],
    body: &'a [u8],
}

impl Answer<'_> {
    /// Whether it says that there is no room, and when there may be.
    fn is_refusal(&self) -> bool {
        let is_refused = [&b"HTTP/1.1 429 "[..], b"HTTP/1.1 503 "].iter().any(|status| self.head.starts_with(status));
        let head = self.head.to_ascii_lowercase();
        assert!(!is_refused || contains(&head, b"\r\nretry-after: "), "{}", shown(self.head));
        is_refused
    }

    /// It must be a good one, and to this very request.
    fn check(&self, number: usize) {
        assert!(self.head.starts_with(b"HTTP/1.1 200 "), "{}{}", shown(self.head), shown(self.body));
        assert!(contains(self.body, format!(r#""number":{number},"#).as_bytes()), "{}", shown(self.body));
    }
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|part| part == wanted)
}

struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    async fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, read: Vec::with_capacity(8192) }
    }

    async fn post(&mut self, path: &str, token: &str, body: &str) -> Answer<'_> {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await.unwrap();
        self.read.clear();
        let (head, length) = loop {
            assert!(self.stream.read_buf(&mut self.read).await.unwrap() > 0, "the connection was closed");
            if let Some(head) = self.read.windows(4).position(|part| part == b"\r\n\r\n") {
                break (head + 4, content_length(&self.read[..head]));
            }
        };
        while self.read.len() < head + length {
            assert!(self.stream.read_buf(&mut self.read).await.unwrap() > 0, "the answer was cut off");
        }
        let (head, body) = self.read.split_at(head);
        Answer { head, body }
    }
}

fn content_length(head: &[u8]) -> usize {
    let head = std::str::from_utf8(head).unwrap();
    let line = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
    });
    line.unwrap_or_else(|| panic!("an answer without a length: {head}"))
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(500).collect()
}
