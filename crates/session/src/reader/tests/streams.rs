//! Streams beside other requests of the same session, and how they end with the call that they serve.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;

use super::*;
use crate::host::bench::{Bench, Server};

const PATIENCE: Duration = Duration::from_secs(20);

/// A host that begins to answer, says nothing more, and counts those that went away.
fn silent() -> (Server, watch::Receiver<usize>) {
    let (gone, left) = watch::channel(0);
    let server = Server::tls(move |_, to| {
        to.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        to.flush()?;
        assert_ne!(to.read(&mut [0]).ok(), Some(1));
        gone.send_modify(|gone| *gone += 1);
        Ok(())
    });
    (server, left)
}

/// A plugin at the other end of the socket, which sees answers by the number of its question.
struct Plugin {
    session: Session,
    _bench: Bench,
    url: String,
    gone: watch::Receiver<usize>,
    last: i64,
    early: BTreeMap<i64, Value>,
    rest: Vec<u8>,
}

impl Plugin {
    async fn start() -> Self {
        let (host, gone) = silent();
        let bench = Bench::new(&[&host.grant("allowed.test")], |_| {}).await;
        let session = start_with(&bench.host, tempfile::tempdir().unwrap());
        Self {
            session,
            url: host.url("allowed.test", "/"),
            _bench: bench,
            gone,
            last: 0,
            early: BTreeMap::new(),
            rest: Vec::new(),
        }
    }

    async fn send(&mut self, method: &str, params: Value) -> i64 {
        self.last += 1;
        let line = format!("{}\n", json!({"jsonrpc": "2.0", "id": self.last, "method": method, "params": params}));
        self.session.plugin.write_all(line.as_bytes()).await.unwrap();
        self.last
    }

    async fn answer(&mut self, id: i64) -> Value {
        while !self.early.contains_key(&id) {
            let reading = self.session.plugin.read_buf(&mut self.rest);
            assert_ne!(tokio::time::timeout(PATIENCE, reading).await.expect("an answer").unwrap(), 0);
            while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                let answer: Value = serde_json::from_slice(&line).unwrap();
                self.early.insert(answer["id"].as_i64().unwrap(), answer);
            }
        }
        self.early.remove(&id).unwrap()
    }

    async fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params).await;
        self.answer(id).await
    }

    async fn open(&mut self, call: Option<CallId>) -> String {
        let mut params = json!({"url": self.url});
        if let Some(call) = call {
            params["call"] = call.to_string().into();
        }
        let head = self.ask("http.stream", params).await;
        head["result"]["stream"].as_str().unwrap_or_else(|| panic!("{head}")).to_owned()
    }

    fn call(&self) -> (CallId, super::super::super::calls::Waiting) {
        let (call, deadline) = (CallId::generate(), Instant::now() + PATIENCE);
        (
            call,
            self.session
                .calls
                .insert(call, Delivery::Whole, None, crate::Time::Until(deadline), Origin::default())
                .unwrap(),
        )
    }

    async fn until_gone(&mut self, count: usize) {
        let seen = self.gone.wait_for(|gone| *gone == count);
        tokio::time::timeout(PATIENCE, seen).await.expect("the host sees the end").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_wait_for_streams_hold_up_nothing() {
    let mut plugin = Plugin::start().await;
    let mut waiting = Vec::new();
    for _ in 0..100 {
        let stream = plugin.open(None).await;
        waiting.push((plugin.send("http.read", json!({"stream": stream})).await, stream));
    }
    let answer = plugin.ask("kv.get", json!({"key": "k"})).await;
    assert_eq!(answer["result"]["found"], false, "{answer}");
    // More of them for one stream are refused, however many come, and their places are free again.
    let mut refused = Vec::new();
    for _ in 0..200 {
        refused.push(plugin.send("http.read", json!({"stream": waiting[0].1})).await);
    }
    for id in refused {
        assert_eq!(plugin.answer(id).await["error"]["data"]["code"], "stream-busy");
    }
    for (id, stream) in waiting {
        assert_eq!(plugin.ask("http.close", json!({"stream": stream})).await["result"], json!({}));
        assert_eq!(plugin.answer(id).await["error"]["data"]["code"], "no-stream");
    }
    plugin.until_gone(100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_the_call_that_it_serves() {
    let mut plugin = Plugin::start().await;
    let ((answered, first), (given_up, second)) = (plugin.call(), plugin.call());
    let streams = [plugin.open(Some(answered)).await, plugin.open(Some(given_up)).await, plugin.open(None).await];
    let reading = plugin.send("http.read", json!({"stream": streams[0]})).await;
    plugin.session.calls.answer(first.id, Ok(serde_json::value::RawValue::NULL)).unwrap();
    assert_eq!(plugin.answer(reading).await["error"]["data"]["code"], "no-stream");
    plugin.until_gone(1).await;
    assert!(plugin.session.calls.abandon(second.id));
    plugin.until_gone(2).await;
    let over = plugin.ask("http.stream", json!({"url": plugin.url.clone(), "call": given_up})).await;
    assert_eq!(over["error"]["code"], -32602, "{over}");
    // Also one without a reader; the one of no call ends with the session.
    let read = plugin.ask("http.read", json!({"stream": streams[1]})).await;
    assert_eq!(read["error"]["data"]["code"], "no-stream");
    let Plugin { session, mut gone, _bench, .. } = plugin;
    drop(session.plugin);
    session.reader.await.unwrap();
    session.writer.abort();
    let seen = gone.wait_for(|gone| *gone == 3);
    tokio::time::timeout(PATIENCE, seen).await.expect("the host sees the end").unwrap();
}
