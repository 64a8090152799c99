//! Requests for a plugin to hosts on this machine. Where something is refused, a sentinel shows that nobody connected.

mod answers;
mod handed_on;
mod redirects;
mod secrets;
mod streams;

use std::time::Duration;

use serde_json::json;

use super::super::HostError;
use super::super::bench::{Bench, Server, reply, rule_of};

#[tokio::test]
async fn a_request_arrives_as_it_was_meant() {
    let host = Server::tls(|_, to| {
        reply(to, "201 Created", "X-One: 1\r\nX-One: 2\r\nSet-Cookie: a=1, b\r\nSet-Cookie: c\r\n", "made")
    });
    let bench = Bench::new(&[&host.grant("allowed.test")], |_| {}).await;
    let params = json!({
        "url": host.url("ALLOWED.test.", "/v1/x?y=%20z#part"), "method": "POST", "body": "{\"a\":1}",
        "headers": {"Content-Type": "application/json", "X-Own": "é"}, "call": "call_x",
    });
    let answer = bench.ask("http.fetch", params).await.unwrap();
    assert_eq!((&answer["status"], &answer["body"]), (&json!(201), &json!("made")));
    assert_eq!((&answer["headers"]["x-one"], &answer["headers"]["set-cookie"]), (&json!("1, 2"), &json!("a=1, b\nc")));
    let request = host.requests().remove(0);
    assert!(request.starts_with("POST /v1/x?y=%20z HTTP/1.1\r\n"), "{request}");
    for line in [
        &format!("host: allowed.test:{}", host.port),
        "content-type: application/json",
        "x-own: é",
        "content-length: 7",
        "accept-encoding: identity",
        concat!("user-agent: plugbay/", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(request.lines().any(|found| found == line), "{line} in {request}");
    }
    assert!(request.ends_with("\r\n\r\n{\"a\":1}"), "{request}");
    let exit = &bench.host.asker.exit;
    assert!(exit.sent_bytes() > 300 && exit.received_bytes() > 700, "{exit:?}");
}

#[tokio::test]
async fn bytes_go_and_come_as_base64() {
    let host = Server::tls(|_, to| to.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\xff\x00a"));
    let bench = Bench::new(&[&host.grant("allowed.test")], |_| {}).await;
    let url = host.url("allowed.test", "/");
    let answer = bench.ask("http.fetch", json!({"url": url, "method": "PUT", "body_base64": "AAEC"})).await.unwrap();
    assert_eq!((answer.get("body"), &answer["body_base64"]), (None, &json!("/wBh")));
    assert!(host.requests()[0].ends_with("\r\n\r\n\0\u{1}\u{2}"));
    for wrong in [json!({"url": url, "body": "x", "body_base64": "AAEC"}), json!({"url": url, "body_base64": "A"})] {
        assert!(matches!(bench.ask("http.fetch", wrong).await, Err(HostError::Invalid { .. })));
    }
}

#[tokio::test]
async fn what_is_not_granted_is_refused_before_it_is_resolved() {
    let (host, sentinel) = (Server::hello(), Server::plain(|_, to| reply(to, "200 OK", "", "")));
    let mut bench = Bench::new(&[&host.grant("allowed.test")], |_| {}).await;
    let (port, other) = (host.port, sentinel.port);
    for (url, rule) in [
        (format!("https://second.test:{port}/"), format!("denied network_access:second.test:{port}")),
        (format!("https://allowed.test:{other}/"), format!("denied network_access:allowed.test:{other}")),
        // TLS is granted, plain HTTP is not.
        (format!("http://allowed.test:{port}/"), format!("denied network_access:http://allowed.test:{port}")),
        (format!("https://127.0.0.1:{other}/"), format!("denied network_access:127.0.0.1:{other}")),
        (format!("https://[::1]:{other}/"), format!("denied network_access:[::1]:{other}")),
        (format!("https://2130706433:{other}/"), "target".to_owned()),
        (format!("https://allowed.test@second.test:{other}/"), "address".to_owned()),
        (format!("https://allowed.test\\@second.test:{other}/"), "address".to_owned()),
        ("file:///etc/passwd".to_owned(), "address".to_owned()),
        ("gopher://allowed.test/".to_owned(), "address".to_owned()),
    ] {
        let outcome = bench.fetch(&url).await;
        assert_eq!(rule_of(&outcome), rule, "{url}");
        let noted = bench.refusals();
        assert_eq!(noted.len(), 1, "{url}: {noted:?}");
    }
    bench.grant(&[]);
    let outcome = bench.fetch(&host.url("allowed.test", "/")).await;
    let Err(HostError::Denied { how, .. }) = &outcome else { panic!("{outcome:?}") };
    assert_eq!(*how, format!("plugbay approve asker --grant network_access:allowed.test:{port}"));
    assert_eq!((host.seen(), sentinel.seen(), bench.names.asked()), (0, 0, Vec::<String>::new()));
}

#[tokio::test]
async fn raw_bytes_are_another_grant() {
    let host = Server::hello();
    let bench = Bench::new(&[&format!("network_access:tcp://allowed.test:{}", host.port)], |_| {}).await;
    for url in [host.url("allowed.test", "/"), format!("http://allowed.test:{}/", host.port)] {
        assert!(rule_of(&bench.fetch(&url).await).starts_with("denied "), "{url}");
    }
    assert_eq!(host.seen(), 0);
}

#[tokio::test]
async fn names_that_lead_inside_are_refused_each_time() {
    let host = Server::hello();
    let bench = Bench::new(&[&host.grant("a.example")], |_| {}).await;
    let url = host.url("a.example", "/");
    for address in ["127.0.0.1", "169.254.169.254", "10.0.0.1", "::1", "::ffff:127.0.0.1"] {
        bench.names.tell("a.example", &[address]);
        assert_eq!(rule_of(&bench.fetch(&url).await), "private-address", "{address}");
    }
    // What a second question would lead to is not dialled: the address that was checked does not answer.
    bench.names.tell("a.example", &["240.0.0.1", "127.0.0.1"]);
    let before = bench.names.asked().len();
    assert_eq!(rule_of(&bench.fetch(&url).await), "private-address");
    assert_eq!(bench.names.asked().len(), before + 1);
    // Every public host is no private one, though the operator listed it.
    bench.grant(&["network_access"]);
    assert_eq!(rule_of(&bench.fetch(&host.url("allowed.test", "/")).await), "private-address");
    assert_eq!(host.seen(), 0);
}

#[tokio::test]
async fn certificates_are_checked() {
    let host = Server::hello();
    let grants = [host.grant("allowed.test"), host.grant("other.test")];
    let grants: Vec<&str> = grants.iter().map(String::as_str).collect();
    let allow = |config: &mut plugbay_config::Config| config.egress.allow_private.push("other.test".parse().unwrap());
    let bench = Bench::new(&grants, allow).await;
    assert!(bench.fetch(&host.url("allowed.test", "/")).await.is_ok());
    let outcome = bench.fetch(&host.url("other.test", "/")).await;
    assert_eq!(rule_of(&outcome), "certificate", "another name");
    let bench = Bench::new(&grants, |config| config.egress.ca_file = None).await;
    assert_eq!(rule_of(&bench.fetch(&host.url("allowed.test", "/")).await), "certificate", "an unknown authority");
    let plain = Server::plain(|_, to| reply(to, "200 OK", "", "hello"));
    let soon = |config: &mut plugbay_config::Config| config.egress.connect_timeout = Duration::from_millis(500);
    let bench = Bench::new(&[&plain.grant("allowed.test")], soon).await;
    assert_eq!(rule_of(&bench.fetch(&plain.url("allowed.test", "/")).await), "connect-timeout", "no TLS");
    assert!(host.requests().len() == 1 && plain.requests().is_empty(), "no request was sent");
}

#[tokio::test]
async fn methods_and_headers_that_change_the_request_are_refused() {
    let host = Server::hello();
    let mut bench = Bench::new(&[&host.grant("allowed.test")], |_| {}).await;
    let url = host.url("allowed.test", "/");
    for method in ["TRACE", "CONNECT", "get", "", "GET / HTTP/1.1\r\nX: y", "PRI"] {
        let outcome = bench.ask("http.fetch", json!({"url": url, "method": method})).await;
        assert_eq!(rule_of(&outcome), "method", "{method}");
    }
    for name in [
        "Host",
        "content-length",
        "Transfer-Encoding",
        "Connection",
        "Proxy-Authorization",
        "proxy-x",
        "Upgrade",
        "Expect",
        "TE",
        "Trailer",
        "Keep-Alive",
        "HTTP2-Settings",
        "Accept-Encoding",
        "",
        "a b",
        "a:b",
        "a\r\nb",
        "é",
        ":authority",
    ] {
        assert_eq!(rule_of(&bench.fetch_with(&url, json!({name: "x"})).await), "header", "{name}");
    }
    for value in ["a\r\nHost: evil", "a\nb", "a\rb", "a\0b", "a\u{7f}b"] {
        assert_eq!(rule_of(&bench.fetch_with(&url, json!({"x-own": value})).await), "header", "{value:?}");
    }
    assert_eq!(rule_of(&bench.fetch_with(&url, json!({"x-own": "1", "X-OWN": "2"})).await), "header");
    let many: serde_json::Map<_, _> = (0..65).map(|number| (format!("x-{number}"), json!("1"))).collect();
    assert_eq!(rule_of(&bench.fetch_with(&url, many.into()).await), "header");
    assert_eq!(rule_of(&bench.fetch_with(&url, json!({"x-long": "x".repeat(17_000)})).await), "header");
    assert!(matches!(
        bench.ask("http.fetch", json!({"url": url, "proxy": "http://x"})).await,
        Err(HostError::Invalid { .. })
    ));
    assert_eq!(host.seen(), 0);
    assert!(bench.refusals().len() == 10, "told one by one, then counted");
}

#[tokio::test]
async fn a_plugin_has_so_many_connections_and_no_more() {
    let host = Server::tls(|_, to| {
        std::thread::sleep(Duration::from_millis(500));
        reply(to, "200 OK", "", "slow")
    });
    let bench = Bench::new(&[&host.grant("allowed.test")], |_| {}).await;
    let url = host.url("allowed.test", "/");
    let outcomes = futures_util::future::join_all((0..6).map(|_| bench.fetch(&url))).await;
    let refused = outcomes.iter().filter(|outcome| rule_of(outcome) == "max-tunnels").count();
    assert_eq!((refused, outcomes.iter().filter(|outcome| outcome.is_ok()).count()), (2, 4), "{outcomes:?}");
    assert!(bench.fetch(&url).await.is_ok(), "places are free again");
}

#[tokio::test]
async fn a_request_ends_when_its_grant_is_taken_back() {
    let host = Server::tls(|_, to| {
        std::thread::sleep(Duration::from_secs(5));
        reply(to, "200 OK", "", "slow")
    });
    let bench = Bench::new(&[&host.grant("allowed.test")], |_| {}).await;
    let url = host.url("allowed.test", "/");
    let revoke = async {
        while host.requests().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bench.grant(&["network_access:allowed.test"]);
    };
    let (outcome, ()) = tokio::join!(bench.fetch(&url), revoke);
    assert_eq!(rule_of(&outcome), "limit");
}

#[tokio::test]
async fn no_way_to_write_an_inner_address_leads_there() {
    let sentinel = Server::plain(|_, to| reply(to, "200 OK", "", "inside"));
    let bench = Bench::new(&["network_access"], |_| {}).await;
    bench.names.tell("localhost", &["127.0.0.1"]);
    for host in [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "127.127.127.127",
        "0",
        "0.0.0.0",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "127。0。0。1",
        "①②⑦.⓪.⓪.①",
        "127%2e0%2e0%2e1",
        "%31%32%37.0.0.1",
        "localhost",
        "LOCALHOST.",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[0:0:0:0:0:ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "[::ffff:169.254.169.254]",
        "[fd00:ec2::254]",
        "127.0.0.1.nip.io",
        "x@127.0.0.1",
        "x:y@127.0.0.1",
        "127.0.0.1#@x.example",
        "x.example\\@127.0.0.1",
        "127.0.0.1\t",
        "[::1%25lo]",
        "metadata.google.internal",
        "ⓛocalhost",
    ] {
        bench.names.tell("127.0.0.1.nip.io", &["127.0.0.1"]);
        bench.names.tell("metadata.google.internal", &["169.254.169.254"]);
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{host}:{}/", sentinel.port);
            let rule = rule_of(&bench.fetch(&url).await);
            let is_refused =
                ["target", "address", "private-address"].contains(&rule.as_str()) || rule.starts_with("denied ");
            assert!(is_refused, "{url}: {rule}");
        }
    }
    assert_eq!(sentinel.seen(), 0);
}
