//! A plugin of the usual kind, from its folder to its answer: packed with what it depends on, installed, approved for one
//! host, configured, enabled, called. It speaks aiohttp and knows nothing of plugbay.

use std::fs;
use std::process::Command;
use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};

use super::bench::docker;
use super::client::fixture;
use super::hosts::{Host, Names, Speaks, tls_file};
use super::kind::docker_is_there;
use super::served::{Served, setup, short_folder};
use super::support::app::send;

const NAME: &str = "summarizer";

/// Packs the plugin as its author would, for the Python of the image.
#[expect(clippy::disallowed_methods, reason = "runs `plugbay pack`")]
fn packed() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join(NAME);
    fs::create_dir(&source).unwrap();
    for name in ["plugin.yaml", "main.py"] {
        fs::copy(fixture(NAME).join(name), source.join(name)).unwrap();
    }
    fs::copy(tls_file("ca.pem"), source.join("ca.pem")).unwrap();
    let version = "import sys; print('%d.%d' % sys.version_info[:2])";
    let version = docker(&["run", "--rm", "--network", "none", "plugbay/python:3", "python3", "-c", version]).unwrap();
    let archive = folder.path().join("summarizer.tar.gz");
    let mut pack = Command::new(env!("CARGO_BIN_EXE_plugbay"));
    pack.arg("pack").arg(&source).arg("--output").arg(&archive).args(["--python", &version]);
    let output = pack.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read(archive).unwrap()
}

async fn call(served: &Served, context: Value) -> Value {
    served.execute(NAME, &json!({ "context": context })).await.expect(200)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_of_the_usual_kind_gets_its_answer_from_the_one_host_it_was_approved_for() {
    if !docker_is_there() {
        return;
    }
    let archive = packed();
    let (allowed, sentinel) = (Host::start(Speaks::Tls), Host::start(Speaks::Tls));
    let (names, run_dir) = (Arc::<Names>::default(), short_folder());
    let setup = setup(&run_dir).resolving(names.clone()).with(|config| {
        config.egress.allow_private = vec!["allowed.test".parse().unwrap(), "second.test".parse().unwrap()];
    });
    let served = Served::of(setup.start().await, run_dir);
    let installed = served.install(&archive).await.expect(201);
    assert_eq!(installed["name"], NAME);

    served.enable(NAME).await.expect_problem(409, "permissions-pending");
    let host = json!({"permission": "network_access", "scope": [format!("allowed.test:{}", allowed.port)]});
    let approval = json!({"grant": [host, "chat_access", "api_access"]});
    served.post(&format!("/api/plugins/{NAME}/permissions/approve"), &approval).await.expect(200);
    served.enable(NAME).await.expect_problem(409, "config-incomplete");
    let endpoint = format!("https://allowed.test:{}/echo", allowed.port);
    let config = json!({"api_key": "key-of-the-summarizer", "endpoint": endpoint});
    let request = served.request(Method::PUT, &format!("/api/plugins/{NAME}/config")).header("If-Match", "*");
    send(request.json(&config)).await.expect(200);
    served.enable(NAME).await.expect(200);

    let answer = call(&served, json!({"message": "Grüße", "user": "Ada"})).await;
    assert_eq!((&answer["success"], &answer["result"]), (&json!(true), &json!("Grüße")), "{answer}");
    assert_eq!(answer["message"], "for Ada");
    let request = allowed.requests_in_full().remove(0);
    assert!(request.starts_with("POST /echo HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("Authorization: Bearer key-of-the-summarizer\r\n"), "{request}");

    // Elsewhere it gets nowhere: another host, another port, an address.
    let before = allowed.seen();
    for endpoint in [
        format!("https://second.test:{}/echo", sentinel.port),
        format!("https://allowed.test:{}/echo", sentinel.port),
        format!("https://127.0.0.1:{}/echo", sentinel.port),
    ] {
        let refused = call(&served, json!({"message": "x", "endpoint": endpoint})).await;
        assert_eq!(refused["success"], false, "{endpoint}: {refused}");
        assert!(refused["error"].as_str().unwrap().starts_with("ClientConnector"), "{refused}");
    }
    assert_eq!((sentinel.seen(), allowed.seen()), (0, before));
    assert!(names.asked().iter().all(|name| name == "allowed.test"), "{:?}", names.asked());
    served.until_logged(NAME, "`second.test` is not granted").await;
    assert!(!served.get(&format!("/api/plugins/{NAME}/logs")).await.text.contains("key-of-the-summarizer"));
    served.disable(NAME).await.expect(200);
    served.end().await;
}
