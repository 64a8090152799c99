//! The OpenAPI document is committed; a change of it shows in review.

use crate::support::app::TestApp;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/plugbay.json");

#[tokio::test]
async fn the_committed_document_is_the_one_that_is_served() {
    let app = TestApp::start().await;
    let served = app.get("/api/openapi.json").await.expect(200);
    assert_eq!(served["openapi"], "3.1.0");
    let text = format!("{}\n", serde_json::to_string_pretty(&served).unwrap());
    #[expect(clippy::disallowed_methods, reason = "tests are told on the command line to rewrite what is committed")]
    let bless = std::env::var("PLUGBAY_BLESS").is_ok();
    if bless {
        std::fs::write(PATH, &text).unwrap();
    }
    let committed = std::fs::read_to_string(PATH).unwrap_or_default();
    assert!(committed == text, "openapi/plugbay.json is stale: PLUGBAY_BLESS=1 cargo test --test it openapi");
}

#[tokio::test]
async fn the_browsable_page_loads_nothing_from_elsewhere() {
    let app = TestApp::start().await;
    for path in ["/docs/", "/docs/swagger-initializer.js", "/docs/index.css"] {
        let answer = app.get(path).await;
        assert_eq!(answer.status.as_u16(), 200, "{path}");
        assert!(!answer.text.contains("//cdn") && !answer.text.contains("src=\"http"), "{path}");
    }
}
