//! Hosts that hand on what they were sent, honestly: in the address of a redirect, in a refusal, in a record of it.

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::super::super::bench::{Bench, Server, reply, rule_of};

const SECRET: &str = "s3cret-353e-9f1b-77aa-4c0d";

/// Makes an address from the value of a header.
type Build = Box<dyn Fn(&str) -> String + Send + Sync>;

/// Builds a redirect from the header `from`, in one way or another.
fn builds(from: &'static str, location: impl Fn(&str) -> String + Send + Sync + 'static) -> Server {
    Server::tls(move |request, to| {
        let head = format!("{from}: ");
        let value = request.lines().find_map(|line| line.strip_prefix(head.as_str())).unwrap_or("none");
        reply(to, "302 Found", &format!("Location: {}\r\n", location(value)), "")
    })
}

async fn bench_for(host: &Server, elsewhere: &Server) -> Bench {
    let plain = format!("network_access:http://second.test:{}", elsewhere.port);
    let bench = Bench::new(&[&host.grant("allowed.test"), &elsewhere.grant("second.test"), &plain], |_| {}).await;
    bench.keep(&[("key", SECRET, &[format!("allowed.test:{}", host.port)])]);
    bench
}

/// Everything the plugin reads, and everything that is written down of it.
fn told(bench: &mut Bench, outcome: &Result<Value, super::super::super::HostError>) -> String {
    let data = outcome.as_ref().err().map(|error| format!("{error} {:?}", error.data()));
    format!("{outcome:?} {data:?} {:?}", bench.refusals()).to_lowercase()
}

#[tokio::test]
async fn a_redirect_that_a_secret_would_go_along_with_is_refused() {
    let elsewhere = Server::hello();
    let port = elsewhere.port;
    let ways: Vec<(&str, Build)> = vec![
        ("in the path", Box::new(move |value| format!("https://second.test:{port}/{value}/dir/"))),
        ("in the query", Box::new(move |value| format!("https://second.test:{port}/?from={value}"))),
        ("behind `#`", Box::new(move |value| format!("https://second.test:{port}/#{value}"))),
        ("in capitals", Box::new(move |value| format!("https://second.test:{port}/{}", value.to_uppercase()))),
        ("in base64", Box::new(move |value| format!("https://second.test:{port}/{}", BASE64.encode(value.as_bytes())))),
        ("encoded in part", Box::new(move |value| format!("https://second.test:{port}/{}", value.replace('-', "%2D")))),
        (
            "with a tab in it",
            Box::new(move |value| format!("https://second.test:{port}/{}", value.replace("-9", "\t-9"))),
        ),
        ("as a name", Box::new(move |value| format!("https://{value}.evil.example/"))),
        ("as a user", Box::new(move |value| format!("https://{value}@second.test:{port}/"))),
        ("as no address", Box::new(|value| format!("http://x y{value}"))),
        ("as another scheme", Box::new(|value| format!("ftp://{value}.example/"))),
        ("on the same host", Box::new(|value| format!("/{value}/"))),
    ];
    for (how, location) in ways {
        let host = builds("authorization", location);
        let mut bench = bench_for(&host, &elsewhere).await;
        let outcome =
            bench.fetch_with(&host.url("allowed.test", "/"), json!({"Authorization": "{{secret:key}}"})).await;
        let told = told(&mut bench, &outcome);
        assert!(!told.contains("s3cret") && !told.contains("9f1b-77aa"), "{how}: the secret is told: {told}");
        assert_eq!(rule_of(&outcome), "secret", "{how}");
        assert_eq!((host.requests().len(), bench.names.asked()), (1, vec!["allowed.test".to_owned()]), "{how}");
    }
    assert_eq!(elsewhere.requests(), Vec::<String>::new(), "the secret left");
}

#[tokio::test]
async fn a_plugin_chooses_neither_the_header_of_a_secret_nor_what_stands_around_it() {
    let elsewhere = Server::hello();
    let there = format!("second.test:{}", elsewhere.port);
    for (name, value) in [
        ("X-Forwarded-Host", format!("{there}/{{{{secret:key}}}}")),
        ("X-Forwarded-Host", "{{secret:key}}.evil.example".to_owned()),
        ("X-Forwarded-Host", "{{secret:key}}".to_owned()),
        ("X-Original-URL", format!("https://{there}/{{{{secret:key}}}}")),
        ("X-Trace", format!("{}{{{{secret:key}}}}", "A".repeat(26))),
        ("Authorization", format!("{}{{{{secret:key}}}}", "A".repeat(26))),
        ("Authorization", "Bearer {{secret:key}} ".to_owned()),
        ("Authorization", "{{secret:key}}{{secret:key}}".to_owned()),
        ("Authorization", "Bearer  {{secret:key}}".to_owned()),
        ("Authorization", format!("Bearer {}{{{{secret:key}}}}", "A".repeat(20))),
        ("Authorization", "Digest username={{secret:key}}".to_owned()),
    ] {
        let header = name.to_lowercase();
        let host = Server::tls(move |request, to| {
            let found = request.lines().find_map(|line| line.strip_prefix(&format!("{header}: "))).unwrap_or("none");
            let shown = format!("X-Seen: {}\r\n", &found[..found.len().min(64)]);
            if header.starts_with('x') && header != "x-trace" {
                return reply(to, "301 Moved", &format!("Location: https://{found}/\r\n{shown}"), "");
            }
            reply(to, "200 OK", &shown, "")
        });
        let mut bench = bench_for(&host, &elsewhere).await;
        let outcome = bench.fetch_with(&host.url("allowed.test", "/"), json!({ name: value })).await;
        let told = told(&mut bench, &outcome);
        assert!(!told.contains("s3cret"), "{name}: {value}: the secret is told: {told}");
        assert_eq!(rule_of(&outcome), "secret", "{name}: {value}");
        assert_eq!(host.requests().len(), 0, "{name}: {value}");
    }
    assert_eq!(elsewhere.requests(), Vec::<String>::new(), "the secret left");
}

#[tokio::test]
async fn the_forms_that_servers_read_reach_them() {
    let host = Server::hello();
    let bench = bench_for(&host, &Server::hello()).await;
    for scheme in ["", "Bearer ", "Basic ", "Token ", "token ", "token="] {
        let headers = json!({"Authorization": format!("{scheme}{{{{secret:key}}}}")});
        bench.fetch_with(&host.url("allowed.test", "/"), headers).await.unwrap();
        let sent = host.requests().pop().unwrap();
        assert!(sent.contains(&format!("authorization: {scheme}{SECRET}\r\n")), "{scheme}: {sent}");
    }
}
