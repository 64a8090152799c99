//! A model server that says what it is told to, byte by byte: which answer is meant stands in the name of the model.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// What the server has seen.
#[derive(Default)]
pub(super) struct Seen {
    /// Heads and bodies of requests.
    pub(super) requests: Mutex<Vec<(String, Value)>>,
    /// Connections so far.
    pub(super) connections: AtomicUsize,
    /// When a client closed a connection in the middle of an answer.
    pub(super) left: Mutex<Vec<Instant>>,
}

/// Starts the server.
pub(super) async fn start() -> (u16, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(Seen::default());
    let shared = Arc::clone(&seen);
    tokio::runtime::Handle::current().spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            shared.connections.fetch_add(1, Ordering::SeqCst);
            let seen = Arc::clone(&shared);
            tokio::runtime::Handle::current().spawn(async move {
                serve(stream, &seen).await;
            });
        }
    });
    (port, seen)
}

/// Answers requests until the client hangs up.
async fn serve(mut stream: TcpStream, seen: &Seen) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    for number in 0_u64.. {
        let (head, body) = request(&mut stream).await?;
        seen.requests.lock().unwrap().push((head.clone(), body.clone()));
        let model = body["model"].as_str().unwrap_or_default().to_owned();
        if model == "tired" && number > 0 {
            // As one that closes what was idle, just when it is used again.
            return None;
        }
        let sent = match model.as_str() {
            "silent" => gone(&mut stream).await,
            "endless" => endless(&mut stream).await,
            _ => {
                for piece in answer(&model, &head, &body) {
                    stream.write_all(&piece).await.ok()?;
                    stream.flush().await.ok()?;
                    tokio::task::yield_now().await;
                }
                continue;
            }
        };
        if sent.is_none() {
            seen.left.lock().unwrap().push(Instant::now());
            return None;
        }
    }
    None
}

/// One request, read to its end.
async fn request(stream: &mut TcpStream) -> Option<(String, Value)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let length: usize = length.unwrap_or(0);
    while bytes.len() < end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some((head, serde_json::from_slice(&bytes[end..end + length]).unwrap_or_default()))
}

/// Says nothing until the client has gone.
async fn gone(stream: &mut TcpStream) -> Option<()> {
    let mut byte = [0];
    if stream.read(&mut byte).await.ok()? == 0 { None } else { Some(()) }
}

/// Says one word after the other until the client has gone.
async fn endless(stream: &mut TcpStream) -> Option<()> {
    stream.write_all(STREAM.as_bytes()).await.ok()?;
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    loop {
        let frame = chunked(&format!("data: {}\n\n", json!({"choices": [{"delta": {"content": "on "}}]})));
        let mut byte = [0];
        tokio::select! {
            read = stream.read(&mut byte) => if read.ok()? == 0 { return None },
            _ = ticks.tick() => stream.write_all(frame.as_bytes()).await.ok()?,
        }
    }
}

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

fn chunked(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn whole(status: &str, more: &str, body: &str) -> Vec<Vec<u8>> {
    let head = format!("HTTP/1.1 {status}\r\n{more}Content-Length: {}\r\n\r\n", body.len());
    vec![format!("{head}{body}").into_bytes()]
}

/// The pieces of an answer.
fn answer(model: &str, head: &str, body: &Value) -> Vec<Vec<u8>> {
    let key = head.lines().find_map(|line| line.strip_prefix("authorization: Bearer ")).unwrap_or("none");
    let json_type = "Content-Type: application/json\r\n";
    match model {
        "busy" => whole(
            "429 Too Many Requests",
            &format!("{json_type}Retry-After: 7\r\n"),
            r#"{"error":{"message":"slow down"}}"#,
        ),
        "wrong" => whole("400 Bad Request", json_type, r#"{"error":{"message":"bad seed","code":"invalid_request"}}"#),
        "leak" => whole(
            "401 Unauthorized",
            json_type,
            &json!({"error": {"message": format!("no such key: {key}")}}).to_string(),
        ),
        "page" => whole("200 OK", "Content-Type: text/html\r\n", "<html>hello</html>"),
        "whole" => {
            let choices = json!([{"message": {"content": "all at once"}, "finish_reason": "stop"}]);
            whole("200 OK", json_type, &json!({"choices": choices}).to_string())
        }
        "first-error" => streamed(&[json!({"error": {"message": "overloaded", "type": "overloaded_error"}})], 0),
        "spelled" => streamed(&[json!({"choices": [{"delta": {"content": format!("the key is {key}!")}}]})], 3),
        "cut" => streamed(&[json!({"choices": [{"delta": {"content": "half"}}]})], 0),
        "echo" => {
            let mut events: Vec<Value> = Vec::new();
            for member in ["reasoning_content", "content"] {
                events.extend(key.chars().map(|letter| json!({"choices": [{"delta": {member: letter}}]})));
            }
            let call = |id: Value, text: &str| json!({"choices": [{"delta": {"tool_calls": [{"index": 0, "id": id, "function": {"name": "t", "arguments": text}}]}}]});
            events.push(call(json!("c1"), "{\"k\":\""));
            events.extend(key.chars().map(|letter| call(Value::Null, &letter.to_string())));
            events.push(call(Value::Null, "\"}"));
            events.push(json!({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}));
            streamed(&events, 0)
        }
        _ => {
            let last = body["messages"].as_array().and_then(|messages| messages.last()?["content"].as_str());
            let words: Vec<String> =
                format!("you said: {}", last.unwrap_or_default()).chars().map(String::from).collect();
            let mut events: Vec<Value> =
                words.iter().map(|word| json!({"choices": [{"delta": {"content": word}}]})).collect();
            events.push(json!({"choices": [{"delta": {}, "finish_reason": "stop"}]}));
            events.push(json!({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": words.len()}}));
            streamed(&events, 3)
        }
    }
}

/// A stream, in pieces of so many bytes, or of one frame each.
fn streamed(events: &[Value], piece: usize) -> Vec<Vec<u8>> {
    let mut frames: Vec<String> = events.iter().map(|event| chunked(&format!("data: {event}\n\n"))).collect();
    if events.last().is_some_and(|last| last["error"].is_null() && last["choices"][0]["delta"]["content"] != "half") {
        frames.push(chunked("data: [DONE]\n\n"));
    }
    frames.push("0\r\n\r\n".to_owned());
    frames.insert(0, STREAM.to_owned());
    if piece == 0 {
        return frames.into_iter().map(String::into_bytes).collect();
    }
    frames.concat().into_bytes().chunks(piece).map(<[u8]>::to_vec).collect()
}
