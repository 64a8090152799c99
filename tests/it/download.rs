//! Install from a URL, from a server on this machine that the operator listed.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::support::app::{Answer, TestApp};
use crate::support::author::{Author, manifest, package};

/// A web server that knows a few paths and counts its connections.
struct Files {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Files {
    /// Serves raw answers, without the status line's version, by path.
    fn serve(answers: HashMap<String, Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                let mut head = vec![0; 4096];
                let length = stream.read(&mut head).unwrap();
                let path = String::from_utf8_lossy(&head[..length]).split(' ').nth(1).unwrap_or_default().to_owned();
                let missing = b"404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec();
                let answer = answers.get(&path).unwrap_or(&missing);
                stream.write_all(b"HTTP/1.1 ").and_then(|()| stream.write_all(answer)).ok();
            }
        });
        Self { address, connections }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

fn ok(body: &[u8]) -> Vec<u8> {
    let mut answer = format!("200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend(body);
    answer
}

fn redirect(to: &str) -> Vec<u8> {
    format!("302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

async fn listing(files: &Files) -> TestApp {
    let host = files.address.to_string().parse().unwrap();
    TestApp::setup()
        .with(|config| {
            config.install.allow_hosts = vec![host];
            config.install.timeout = Duration::from_secs(2);
        })
        .start()
        .await
}

async fn install(app: &TestApp, url: &str) -> Answer {
    app.post("/api/plugins/install", &json!({"url": url})).await
}

#[tokio::test]
async fn an_archive_and_its_signature_are_fetched() {
    let author = Author::new();
    let archive = package(&manifest("my-plugin", "1.0.0"));
    let signature = author.sign(&archive);
    let files = Files::serve(HashMap::from([
        ("/a.tar.gz".to_owned(), ok(&archive)),
        ("/a.tar.gz.minisig".to_owned(), ok(signature.as_bytes())),
        ("/unsigned.tar.gz".to_owned(), ok(&archive)),
        ("/moved".to_owned(), redirect("/a.tar.gz")),
        ("/moved.minisig".to_owned(), redirect("/a.tar.gz.minisig")),
    ]));
    let app = listing(&files).await;
    app.trust(&author).await;
    install(&app, &files.url("/unsigned.tar.gz")).await.expect_problem(422, "signature-missing");
    install(&app, &files.url("/a.tar.gz")).await.expect(201);
    app.delete("/api/plugins/my-plugin").await.expect(204);
    install(&app, &files.url("/moved")).await.expect(201);
    app.delete("/api/plugins/my-plugin").await.expect(204);
    let named = json!({"url": files.url("/unsigned.tar.gz"), "signature_url": files.url("/a.tar.gz.minisig"),
        "sha256": "0".repeat(64)});
    app.post("/api/plugins/install", &named).await.expect_problem(422, "digest-mismatch");
}

#[tokio::test]
async fn hosts_that_are_not_listed_are_never_connected_to() {
    let files = Files::serve(HashMap::new());
    let port = files.address.port();
    let app = TestApp::start().await;
    let forms = [
        format!("http://127.0.0.1:{port}/a"),
        format!("https://127.0.0.1:{port}/a"),
        format!("https://localhost:{port}/a"),
        format!("https://[::1]:{port}/a"),
        format!("https://[::ffff:127.0.0.1]:{port}/a"),
        format!("https://2130706433:{port}/a"),
        format!("https://0x7f.1:{port}/a"),
        format!("https://0177.0.0.1:{port}/a"),
        format!("https://127.1:{port}/a"),
        format!("https://user:secret@localhost:{port}/a"),
        format!("ftp://localhost:{port}/a"),
        format!("gopher://localhost:{port}/a"),
        "file:///etc/passwd".to_owned(),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "https://169.254.169.254/".to_owned(),
        "nonsense".to_owned(),
    ];
    for url in forms {
        let problem = install(&app, &url).await.expect_problem(422, "url-refused");
        assert!(!problem.to_string().contains("secret"), "{problem}");
    }
    assert_eq!(files.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn redirects_are_decided_anew() {
    let sentinel = Files::serve(HashMap::new());
    let files = Files::serve(HashMap::from([
        ("/elsewhere".to_owned(), redirect(&sentinel.url("/a"))),
        ("/file".to_owned(), redirect("file:///etc/passwd")),
        ("/metadata".to_owned(), redirect("http://169.254.169.254/")),
        ("/loop".to_owned(), redirect("/loop")),
        ("/nowhere".to_owned(), b"302 Found\r\nContent-Length: 0\r\n\r\n".to_vec()),
    ]));
    let app = TestApp::setup()
        .unsigned()
        .with(|config| config.install.allow_hosts = vec![files.address.to_string().parse().unwrap()])
        .start()
        .await;
    for path in ["/elsewhere", "/file", "/metadata", "/loop"] {
        install(&app, &files.url(path)).await.expect_problem(422, "url-refused");
    }
    install(&app, &files.url("/nowhere")).await.expect_problem(422, "url-refused");
    install(&app, &files.url("/missing")).await.expect_problem(502, "download-failed");
    assert_eq!(sentinel.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_server_that_stalls_cuts_off_or_sends_too_much_is_refused() {
    let archive = package(&manifest("my-plugin", "1.0.0"));
    let mut cut = ok(&archive);
    cut.truncate(cut.len() - 10);
    let mut endless = b"200 OK\r\n\r\n".to_vec();
    endless.extend(vec![0x1f; 200_000]);
    let encoded = format!("200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", 0).into_bytes();
    let files = Files::serve(HashMap::from([
        ("/cut".to_owned(), cut),
        ("/endless".to_owned(), endless),
        ("/encoded".to_owned(), encoded),
        ("/large".to_owned(), ok(&archive)),
        ("/large.minisig".to_owned(), ok(&vec![b'x'; 100_000])),
    ]));
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let app = TestApp::setup()
        .unsigned()
        .with(|config| {
            let listed = [files.address.to_string(), silent.local_addr().unwrap().to_string()];
            config.install.allow_hosts = listed.map(|host| host.parse().unwrap()).to_vec();
            config.install.timeout = Duration::from_millis(500);
            config.limits.upload_bytes = 100_000;
        })
        .start()
        .await;
    install(&app, &files.url("/cut")).await.expect_problem(502, "download-failed");
    install(&app, &files.url("/endless")).await.expect_problem(413, "archive-too-large");
    install(&app, &files.url("/encoded")).await.expect_problem(422, "url-refused");
    install(&app, &files.url("/large")).await.expect_problem(422, "signature-invalid");
    let stalled = format!("http://{}/a", silent.local_addr().unwrap());
    install(&app, &stalled).await.expect_problem(504, "download-timeout");
}
