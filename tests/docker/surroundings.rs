//! What is around a plugin fails: that is not held against the plugin.

use serde_json::json;

use super::bench::docker;
use super::client::fixture;
use super::served::Served;

/// A name of the image that nobody else uses; gone with its test.
struct Tag(String);

impl Tag {
    fn make() -> Self {
        let tag = Self(format!("plugbay/test-{}:1", std::process::id()));
        tag.put();
        tag
    }

    fn put(&self) {
        docker(&["tag", "plugbay/python:3", &self.0]).unwrap();
    }

    fn take(&self) {
        docker(&["rmi", "--no-prune", &self.0]).unwrap();
    }
}

impl Drop for Tag {
    fn drop(&mut self) {
        docker(&["rmi", "--no-prune", &self.0]).ok();
    }
}

#[tokio::test]
async fn a_missing_image_stops_a_plugin_and_never_quarantines_it() {
    if !super::kind::docker_is_there() {
        return;
    }
    let tag = Tag::make();
    let image = tag.0.clone();
    let Some(served) = Served::start_with(|config| config.sandbox.images.python = image).await else { return };
    served.run(&fixture("probe")).await;
    tag.take();
    docker(&["kill", &served.container("probe").await]).unwrap();
    served.until("probe", |plugin| plugin["state"] == "error").await;
    let body = json!({"context": {}, "timeout_ms": 500});
    let refused = served.execute("probe", &body).await;
    refused.expect_problem(503, "plugin-restarting");
    assert!(refused.headers.contains_key("retry-after"));
    served.add_as(&fixture("probe"), "second").await;
    let missing = served.enable("second").await.expect_problem(503, "image-missing");
    assert_eq!(missing["how"], format!("docker pull {}", tag.0));
    tag.put();
    let plugin = served.until_active("probe").await;
    assert_eq!((&plugin["status"], &plugin["quarantine"]), (&json!("enabled"), &json!(null)));
    served.end().await;
}
