//! Callers that each read one stream of events, all at the same time.

use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

#[derive(Args)]
pub(crate) struct Order {
    /// Port on 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// Bearer token.
    #[arg(long)]
    token: String,
    /// Callers at one time.
    #[arg(long)]
    callers: usize,
    /// Chunks that each must get.
    #[arg(long)]
    chunks: u64,
    /// The request's body.
    #[arg(long)]
    body: String,
    /// The path to call.
    path: String,
}

pub(crate) fn run(order: &Order) {
    let begun = Instant::now();
    let chunks = crate::runtime().block_on(LocalSet::new().run_until(async {
        let streams: Vec<_> =
            (0..order.callers).map(|_| tokio::task::spawn_local(read_stream(order.port, request(order)))).collect();
        let mut chunks = 0;
        for stream in streams {
            let got = stream.await.unwrap();
            assert_eq!(got, order.chunks, "a stream is not whole");
            chunks += got;
        }
        chunks
    }));
    println!("{}", json!({"seconds": begun.elapsed().as_secs_f64(), "chunks": chunks}));
}

fn request(order: &Order) -> String {
    let Order { path, token, body, .. } = order;
    format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nAccept: text/event-stream\r\n\
         Connection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The number of chunks; they must come in order and end with a result.
async fn read_stream(port: u16, request: String) -> u64 {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    let (mut event, mut next, mut answered) = (String::new(), 0, false);
    while let Some(line) = lines.next_line().await.unwrap() {
        if let Some(name) = line.strip_prefix("event: ") {
            name.clone_into(&mut event);
        } else if let Some(data) = line.strip_prefix("data: ") {
            let data: Value = serde_json::from_str(data).unwrap();
            match event.as_str() {
                "chunk" => {
                    assert_eq!(data["seq"], next, "a chunk is missing or out of order");
                    assert_eq!(data["data"]["number"], next, "a chunk is not what was sent");
                    next += 1;
                }
                "result" => answered = true,
                _ => panic!("{event}: {data}"),
            }
        }
    }
    assert!(answered, "a stream ended without its result");
    next
}
