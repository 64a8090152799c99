//! The heads of answers that are sent as they come: nothing on the way may collect them.

use reqwest::Method;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};

use crate::support::app::TestApp;
use crate::support::author::{manifest, package};

#[tokio::test]
async fn proxies_are_told_to_pass_events_on_at_once() {
    let app = TestApp::setup().unsigned().start().await;
    app.install(&package(&manifest("my-plugin", "1.0.0")), None).await.expect(201);
    for path in ["/api/events", "/api/plugins/my-plugin/logs?follow=true"] {
        let response = app.request(Method::GET, path).send().await.unwrap();
        let headers = response.headers();
        assert_eq!(headers[CONTENT_TYPE], "text/event-stream", "{path}");
        assert_eq!(
            headers.get("x-accel-buffering").map(reqwest::header::HeaderValue::as_bytes),
            Some(&b"no"[..]),
            "{path}"
        );
        assert_eq!(headers["cache-control"], "no-store", "{path}");
        assert_eq!(headers.get(CONTENT_ENCODING), None, "{path}: it names codings alone");
    }
    let backup = app.request(Method::POST, "/api/system/backup").send().await.unwrap();
    assert_eq!(backup.headers().get(CONTENT_ENCODING), None);
    backup.bytes().await.unwrap();
}
