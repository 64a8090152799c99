//! Connections that strangers hold, and what is left for others.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::app::TestApp;

/// Places for connections.
const MOST: usize = 64;

/// Five times what an answer may take.
const SOON: Duration = Duration::from_millis(1_250);

const HEALTHZ: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

async fn app() -> TestApp {
    TestApp::setup().with(|config| config.server.max_connections = MOST).start().await
}

/// Many more connections than there are places, each of which has sent these bytes.
fn crowd(app: &TestApp, bytes: &[u8]) -> Vec<TcpStream> {
    let connect = |_| {
        let mut stream = TcpStream::connect(app.address).unwrap();
        stream.write_all(bytes).ok();
        stream
    };
    (0..4 * MOST).map(connect).collect()
}

/// One request on a connection of its own, or on one that was used before.
fn ask(stream: &mut TcpStream, head: &str) -> String {
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(format!("{head}\r\nHost: localhost\r\n\r\n").as_bytes()).ok();
    let mut found = [0; 4096];
    let count = stream.read(&mut found).unwrap_or(0);
    String::from_utf8_lossy(&found[..count]).into_owned()
}

fn with_token(app: &TestApp) -> String {
    format!("GET /api/plugins HTTP/1.1\r\nAuthorization: Bearer {}", app.token)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_that_keeps_its_connections_keeps_nobody_out() {
    for held in [HEALTHZ, &b"GET /healthz HTTP/1.1\r\nX: "[..], b""] {
        let app = app().await;
        let crowd = crowd(&app, held);
        for head in [with_token(&app), "GET /healthz HTTP/1.1".to_owned()] {
            let began = Instant::now();
            let said = ask(&mut TcpStream::connect(app.address).unwrap(), &head);
            let (held, took) = (String::from_utf8_lossy(held), began.elapsed());
            assert!(said.starts_with("HTTP/1.1 200 "), "beside a crowd with `{held}`: `{said}` after {took:?}");
        }
        drop(crowd);
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_shown_a_token_keeps_the_connection_beside_a_crowd() {
    let app = app().await;
    let mut known = TcpStream::connect(app.address).unwrap();
    assert!(ask(&mut known, &with_token(&app)).starts_with("HTTP/1.1 200 "));
    let crowd = crowd(&app, HEALTHZ);
    assert!(ask(&mut known, &with_token(&app)).starts_with("HTTP/1.1 200 "));
    drop(crowd);
    app.stop().await;
}
