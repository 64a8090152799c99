//! Archives that are too large, for the service or for what stands in front of it.

use super::scripted::{Scripted, json, problem, run};
use super::*;

fn system(upload_mb: &str) -> String {
    format!(r#"{{"version":"1","insecure_dev":false,"signatures":"off",{upload_mb}"started_at":"x","doctor":[]}}"#)
}

/// An archive of so many MiB, of which the disk holds nothing.
fn archive(base: &Path, mebibytes: u64) -> String {
    let path = base.join("big.tar.gz");
    fs::File::create(&path).unwrap().set_len(mebibytes * 1024 * 1024).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn what_the_service_does_not_take_is_not_sent() {
    let base = tempfile::tempdir().unwrap();
    let big = archive(base.path(), 300);
    let server = Scripted::start(vec![json(200, &system(r#""upload_mb":64,"#))]);
    let run = server.run(&["install", &big]).failed(4, "has 300 MiB; http://");
    assert!(run.stderr.contains("takes 64 MiB (`limits.upload_mb`)"), "{}", run.stderr);
    assert!(server.request().starts_with("GET /api/system "));

    // One that fits, or a service that does not tell, is asked to install it.
    for (mebibytes, told) in [(9, r#""upload_mb":9,"#), (10, "")] {
        let big = archive(base.path(), mebibytes);
        // Nothing answers after the first request, so that the second one is seen by how it fails.
        let server = Scripted::start(vec![json(200, &system(told))]);
        let run = server.run(&["install", &big]);
        assert!(server.request().starts_with("GET /api/system "));
        assert!(run.code != 0 && !run.stderr.contains("upload_mb"), "{}", run.stderr);
    }
}

#[test]
fn a_proxy_that_refuses_is_named_with_its_setting() {
    let base = tempfile::tempdir().unwrap();
    let small = archive(base.path(), 1);
    let page = "<html><center><h1>413 Request Entity Too Large</h1></center><center>nginx</center></html>";
    let refused = run(&["install", &small], json(413, page)).failed(1, "a proxy in front of http://");
    assert!(refused.stderr.contains("client_max_body_size"), "{}", refused.stderr);
    let own = run(&["install", &small], problem(413, "archive-too-large", ""));
    assert!(!own.stderr.contains("proxy"), "{}", own.stderr);
}
