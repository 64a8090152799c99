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
    /// Paths, called in turns.
    #[arg(required = true)]
    paths: Vec<String>,
}

pub(crate) fn run(order: &Order) {
    let (measured, took) = crate::runtime().block_on(LocalSet::new().run_until(call(order)));
    measured.print(took);
}

async fn call(order: &Order) -> (Measured, Duration) {
    let turn = Rc::new(Cell::new(0_usize));
    let mut connections = Vec::new();
    for _ in 0..order.callers {
        connections.push(Connection::open(order.port).await);
    }
    let (paths, token) = (Rc::new(order.paths.clone()), Rc::new(order.token.clone()));
    let pause = order.rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
    let begun = Instant::now();
    let end = begun + Duration::from_secs_f64(order.seconds);
    let callers: Vec<_> = connections
        .into_iter()
        .map(|mut connection| {
            let (turn, paths, token) = (Rc::clone(&turn), Rc::clone(&paths), Rc::clone(&token));
            tokio::task::spawn_local(async move {
                let mut measured = Measured::default();
                while Instant::now() < end {
                    let number = turn.replace(turn.get() + 1);
                    let body = format!(r#"{{"context":{{"number":{number},"user":"john_doe","message":"Hello"}}}}"#);
                    let sent = Instant::now();
                    let answer = connection.post(&paths[number % paths.len()], &token, &body).await;
                    measured.add(sent.elapsed());
                    // The answer must be the one to this very request.
                    let wanted = format!(r#""number":{number},"#);
                    assert!(answer.windows(wanted.len()).any(|part| part == wanted.as_bytes()), "{}", shown(answer));
                    if let Some(pause) = pause {
                        tokio::time::sleep(pause.saturating_sub(sent.elapsed())).await;
                    }
                }
                measured
            })
        })
        .collect();
    let mut all = Measured::default();
    for caller in callers {
        all.join(caller.await.unwrap());
    }
    (all, begun.elapsed())
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

    /// The body of the answer, which must be a 200 with its length said.
    async fn post(&mut self, path: &str, token: &str, body: &str) -> &[u8] {
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
        assert!(self.read.starts_with(b"HTTP/1.1 200 "), "{}", shown(&self.read));
        &self.read[head..]
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
