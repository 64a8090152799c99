//! Requests that cannot be read, and what every answer carries.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use plugbay::domain::Code;
use reqwest::Method;
use serde_json::json;

use crate::support::app::{PATIENCE, TestApp, send};

/// Sends raw bytes and reads what comes back until the server closes.
async fn raw(app: &TestApp, bytes: Vec<u8>) -> String {
    let address = app.address;
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&bytes).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn what_is_not_there_and_methods_that_are_not_allowed_are_problems() {
    let app = TestApp::start().await;
    for path in
        ["/nope", "/api", "/api/plugins/", "/api/plugins/a/b/c", "//api/plugins", "/API/plugins", "/api/plugins;x"]
    {
        app.get(path).await.expect_problem(404, "not-found");
    }
    let answer = send(app.request(Method::PUT, "/api/plugins/x")).await;
    answer.expect_problem(405, "method-not-allowed");
    assert_eq!(answer.headers["allow"], "GET, HEAD, DELETE");
}

#[tokio::test]
async fn bodies_are_read_strictly() {
    let app = TestApp::start().await;
    let send_text = |text: &str, media_type: &str| {
        send(app.request(Method::POST, "/api/tokens").header("Content-Type", media_type).body(text.to_owned()))
    };
    for text in [
        "",
        "{",
        "[]",
        "{\"label\": \"a\", \"label\": \"b\", \"scopes\": []}",
        "{\"label\": 1, \"scopes\": []}",
        "\u{feff}{}",
        "{\"label\":\"a\"} x",
    ] {
        send_text(text, "application/json").await.expect_problem(400, "bad-request");
    }
    let extra = "{\"label\":\"a\",\"scopes\":[\"read\"],\"id\":\"token_x\"}";
    send_text(extra, "application/json; charset=utf-8").await.expect_problem(400, "unknown-field");
    send_text("{}", "text/plain").await.expect_problem(415, "unsupported-media-type");
    let gzip = app.request(Method::POST, "/api/tokens").header("Content-Encoding", "gzip").json(&json!({}));
    send(gzip).await.expect_problem(415, "unsupported-media-type");
    send_text(&" ".repeat(1024 * 1024 + 1), "application/json").await.expect_problem(413, "body-too-large");
    let nested = "[".repeat(100_000);
    send_text(&nested, "application/json").await.expect_problem(400, "bad-request");
    send(app.request(Method::GET, "/api/plugins").body("x")).await.expect_problem(400, "bad-request");
    app.get("/api/plugins?nope=1").await.expect_problem(400, "unknown-field");
}

#[tokio::test]
async fn a_slow_body_is_given_up() {
    let app = TestApp::setup().with(|config| config.server.body_timeout = Duration::from_millis(300)).start().await;
    let head = format!(
        "POST /api/tokens HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{",
        app.token
    );
    let answer = raw(&app, head.into_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("body-too-slow"), "{answer}");
}

#[tokio::test]
async fn a_large_upload_is_refused_by_its_announced_length() {
    let app = TestApp::setup().unsigned().with(|config| config.limits.upload_bytes = 1000).start().await;
    let refused = app.install(&vec![0x1f; 200_000], None).await;
    let problem = refused.expect_problem(413, "body-too-large");
    for text in ["detail", "how"] {
        assert!(problem[text].as_str().unwrap().contains("`limits.upload_mb`"), "{problem}");
    }
    app.install(&vec![0x1f; 2000], None).await.expect_problem(413, "archive-too-large");
}

#[tokio::test]
async fn another_host_is_refused() {
    let app = TestApp::setup()
        .with(|config| config.server.allowed_hosts = vec!["plugins.example".parse().unwrap()])
        .start()
        .await;
    let ask = |host: &str| send(app.request(Method::GET, "/api/plugins").header("Host", host));
    for host in ["localhost", "127.0.0.1:1234", "[::1]", "plugins.example", "Plugins.Example:8443"] {
        ask(host).await.expect(200);
    }
    for host in ["evil.com", "localhost.evil.com", "plugins.example.evil.com"] {
        ask(host).await.expect_problem(421, "host-refused");
    }
    let two = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.com\r\nConnection: close\r\n\r\n";
    let answer = raw(&app, two.into()).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
}

#[tokio::test]
async fn request_ids_and_trace_context_are_passed_on() {
    let app = TestApp::setup().unsigned().start().await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = app.request(Method::GET, "/api/plugins").header("X-Request-Id", "ci-42").header("traceparent", trace);
    let answer = send(request).await;
    assert_eq!(
        (answer.headers["x-request-id"].as_bytes(), answer.headers["traceparent"].as_bytes()),
        (b"ci-42".as_slice(), trace.as_bytes())
    );
    let answer = send(app.request(Method::GET, "/nope").header("X-Request-Id", "<script>")).await;
    assert_ne!(answer.expect_problem(404, "not-found")["instance"], "<script>");

    let body = json!({"label": "x", "scopes": ["read"]});
    send(app.request(Method::POST, "/api/tokens").header("X-Request-Id", "ci-43").json(&body)).await.expect(201);
    assert_eq!(app.get("/api/audit?limit=1").await.expect(200)["entries"][0]["request_id"], "ci-43");
}

#[tokio::test]
async fn the_type_of_a_problem_leads_to_its_explanation() {
    let app = TestApp::start().await;
    let problem = app.get("/api/plugins/nope").await.expect_problem(404, "plugin-unknown");
    let answer = send(app.bare(Method::GET, problem["type"].as_str().unwrap())).await;
    assert_eq!(
        (answer.status.as_u16(), answer.headers["content-type"].as_bytes()),
        (200, b"text/plain; charset=utf-8".as_slice())
    );
    assert_eq!(answer.text, "plugin-unknown (HTTP 404)\n\nThere is no such plugin.\n\nWhat to do: plugbay list\n");
    for code in Code::ALL {
        let answer = send(app.bare(Method::GET, &format!("/problems/{code}"))).await;
        assert!(answer.status.as_u16() == 200 && answer.text.contains(code.title()), "{code}");
    }
    for path in ["/problems/nope", "/problems/Plugin-Unknown", "/problems/"] {
        send(app.bare(Method::GET, path)).await.expect_problem(404, "not-found");
    }
    send(app.bare(Method::POST, "/problems/internal")).await.expect_problem(405, "method-not-allowed");
}

#[tokio::test]
async fn errors_of_the_libraries_are_problems_too() {
    let app = TestApp::start().await;
    for path in ["/docs/nope", "/docs/%ff", "/api/plugins/%ff/x"] {
        send(app.bare(Method::GET, path)).await.expect_problem(404, "not-found");
    }
    for method in [Method::HEAD, Method::OPTIONS, Method::TRACE, Method::PATCH, Method::POST] {
        for path in ["/healthz", "/docs/", "/docs", "/api/openapi.json", "/problems/internal"] {
            let answer = send(app.bare(method.clone(), path)).await;
            let status = answer.status.as_u16();
            assert!(
                matches!(status, 200 | 404 | 405 | 307 | 308) && answer.headers.contains_key("x-request-id"),
                "{method} {path}: {answer:?}"
            );
            if status >= 400 {
                assert_eq!(answer.headers["content-type"], "application/problem+json", "{method} {path}");
            }
        }
    }
    let upgrade =
        app.request(Method::POST, "/api/tokens").header("Connection", "Upgrade").header("Upgrade", "websocket");
    send(upgrade.json(&json!({}))).await.expect_problem(400, "bad-request");
}

#[tokio::test]
async fn health_needs_no_token() {
    let app = TestApp::start().await;
    for path in ["/healthz", "/health", "/docs/", "/api/openapi.json"] {
        let answer = send(app.bare(Method::GET, path)).await;
        assert_eq!(answer.status.as_u16(), 200, "{path}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{path}");
    }
    // Without an engine it is degraded, and says so.
    let status = app.get("/health").await.expect(200)["status"].take();
    assert!(status == "healthy" || status == "degraded", "{status}");
}

/// `curl -d ''` and many libraries name a media type for bodies that they do not send.
#[tokio::test]
async fn an_empty_body_is_no_body() {
    let app = TestApp::start().await;
    let document = app.get("/api/openapi.json").await.expect(200);
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        if methods.get("post").is_none() || path.ends_with("/backup") {
            continue;
        }
        let request = app.request(Method::POST, &path.replace("{id}", "nope").replace("{field}", "f"));
        let answer = send(request.header("Content-Type", "application/x-www-form-urlencoded").body("")).await;
        let uploads = path.ends_with("/install") || path.ends_with("/update");
        assert!(uploads || answer.status.as_u16() != 415, "{path}: {}", answer.text);
        asked += 1;
    }
    assert!(asked > 10, "{asked}");
}
