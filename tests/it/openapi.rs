//! The OpenAPI document is committed; a change of it shows in review.

use reqwest::Method;
use serde_json::Value;

use crate::support::app::{TestApp, send};

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

#[tokio::test]
async fn a_browser_that_has_a_file_of_the_page_is_told_that_it_is_the_same() {
    let app = TestApp::start().await;
    let path = "/docs/swagger-ui-bundle.js";
    let first = send(app.bare(Method::GET, path)).await;
    assert!(first.text.len() > 1 << 20 && first.headers["content-type"].to_str().unwrap().contains("javascript"));
    let etag = first.headers["etag"].to_str().unwrap();
    assert_eq!(first.headers["cache-control"], "no-cache");
    for known in [etag.to_owned(), format!("\"other\", W/{etag}")] {
        let again = send(app.bare(Method::GET, path).header("If-None-Match", known)).await;
        assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""));
    }
    let changed = send(app.bare(Method::GET, path).header("If-None-Match", "\"other\"")).await;
    assert_eq!((changed.status.as_u16(), changed.text.len()), (200, first.text.len()));
}

/// Generators of clients stop at the first reference that leads nowhere, and name functions by the operations.
#[tokio::test]
async fn every_reference_leads_somewhere_and_every_operation_has_its_own_name() {
    let app = TestApp::start().await;
    let document = app.get("/api/openapi.json").await.expect(200);
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 100);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} leads elsewhere"));
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values());
    let mut names: Vec<&str> = operations.map(|operation| operation["operationId"].as_str().unwrap()).collect();
    let speaking = |name: &&str| name.chars().any(char::is_uppercase) && name.starts_with(|c: char| c.is_lowercase());
    assert!(names.iter().all(speaking), "{names:?}");
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "a name stands twice");
    // Any JSON, not only an object.
    assert!(document["components"]["schemas"]["ExecuteRequest"]["properties"]["context"].get("type").is_none());
}

fn collect<'a>(value: &'a Value, references: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            references.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|member| collect(member, references));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}

/// Load balancers and monitors ask with HEAD.
#[tokio::test]
async fn what_answers_get_answers_head() {
    let app = TestApp::start().await;
    let document = app.get("/api/openapi.json").await.expect(200);
    let paths = document["paths"].as_object().unwrap();
    let looks = paths.iter().filter(|(path, methods)| methods.get("get").is_some() && !path.contains('{'));
    let mut asked = 0;
    for path in looks.map(|(path, _)| path.as_str()).chain(["/", "/docs/"]).filter(|path| *path != "/api/events") {
        let get = app.get(path).await;
        let head = send(app.request(Method::HEAD, path)).await;
        assert_eq!((head.status, head.text.as_str()), (get.status, ""), "{path}");
        assert_eq!(head.headers.get("content-type"), get.headers.get("content-type"), "{path}");
        asked += 1;
    }
    assert!(asked > 10, "{asked}");
}

#[tokio::test]
async fn a_browser_finds_a_page_and_a_program_the_description() {
    let app = TestApp::start().await;
    let page = send(app.bare(Method::GET, "/").header("Accept", "text/html,*/*;q=0.8")).await;
    assert_eq!(page.status.as_u16(), 200);
    assert!(page.text.contains("<title>plugbay</title>") && page.text.contains("admin.token"), "{}", page.text);
    assert!(app.get("/docs/").await.text.contains("<title>plugbay"));
    let described = send(app.bare(Method::GET, "/")).await.expect(200);
    assert_eq!(described["info"]["title"], "plugbay");
}

#[tokio::test]
async fn every_answer_with_a_media_type_has_a_schema() {
    let document = TestApp::start().await.get("/api/openapi.json").await.expect(200);
    let mut checked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            for (status, answer) in operation["responses"].as_object().into_iter().flatten() {
                for (kind, content) in answer["content"].as_object().into_iter().flatten() {
                    assert!(content["schema"].is_object(), "{method} {path} {status} {kind}");
                    checked += 1;
                }
            }
        }
    }
    assert!(checked > 100, "{checked}");
    let backup = &document["paths"]["/api/system/backup"]["post"]["responses"]["200"]["content"];
    assert_eq!(backup["application/x-tar"]["schema"], serde_json::json!({"type": "string", "format": "binary"}));
}
