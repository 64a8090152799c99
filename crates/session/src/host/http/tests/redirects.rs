//! Redirects: each is decided on as if the plugin had asked for it.

use serde_json::json;

use super::super::super::bench::{Bench, Server, reply, rule_of};

/// Answers `/STATUS/…` with a redirect to what follows, and everything else with `hello`.
fn redirecting() -> Server {
    Server::tls(|request, to| {
        let path = request.split(' ').nth(1).unwrap();
        match path.get(1..5).and_then(|status| status.strip_suffix('/')).filter(|status| status.starts_with('3')) {
            Some(status) => reply(to, &format!("{status} Elsewhere"), &format!("Location: {}\r\n", &path[5..]), ""),
            None => reply(to, "200 OK", "", "hello"),
        }
    })
}

#[tokio::test]
async fn redirects_are_followed_where_the_plugin_may_go() {
    let (host, other) = (redirecting(), redirecting());
    let bench = Bench::new(&[&host.grant("allowed.test"), &other.grant("second.test")], |_| {}).await;
    let there = other.url("second.test", "/there");
    for status in [301, 302, 303, 307, 308] {
        let answer = bench.fetch(&host.url("allowed.test", &format!("/{status}/{there}"))).await.unwrap();
        assert_eq!((&answer["status"], &answer["body"]), (&json!(200), &json!("hello")), "{status}");
    }
    // Relative, and more than one.
    let answer = bench.fetch(&host.url("allowed.test", "/302//302//302//302//302//end")).await.unwrap();
    assert_eq!(answer["status"], 200);
    assert_eq!(
        rule_of(&bench.fetch(&host.url("allowed.test", "/302//302//302//302//302//302//end")).await),
        "redirect"
    );
    let answer = bench.fetch(&host.url("allowed.test", "/304/x")).await.unwrap();
    assert_eq!(answer["status"], 304, "it leads nowhere");
}

#[tokio::test]
async fn redirects_lead_nowhere_else() {
    let (host, sentinel) = (redirecting(), Server::hello());
    let plain = format!("network_access:http://allowed.test:{}", sentinel.port);
    let bench = Bench::new(&[&host.grant("allowed.test"), &host.grant("a.example"), &plain], |_| {}).await;
    let port = sentinel.port;
    for (to, rule) in [
        (format!("https://second.test:{port}/"), format!("denied network_access:second.test:{port}")),
        (format!("https://127.0.0.1:{port}/"), format!("denied network_access:127.0.0.1:{port}")),
        (format!("//second.test:{port}/"), format!("denied network_access:second.test:{port}")),
        // Granted, and yet not from https.
        (format!("http://allowed.test:{port}/"), "redirect".to_owned()),
        (format!("https://x@allowed.test:{port}/"), "address".to_owned()),
        ("file:///etc/passwd".to_owned(), "address".to_owned()),
        (format!("https://a.example:{}/", host.port), "private-address".to_owned()),
    ] {
        bench.names.tell("a.example", &["169.254.169.254"]);
        assert_eq!(rule_of(&bench.fetch(&host.url("allowed.test", &format!("/302/{to}"))).await), rule, "{to}");
    }
    let begun = host.requests().len();
    let endless = Server::tls(|_, to| reply(to, "302 Found", "Location: /again\r\n", ""));
    bench.grant(&[&endless.grant("allowed.test")]);
    assert_eq!(rule_of(&bench.fetch(&endless.url("allowed.test", "/")).await), "redirect");
    assert_eq!((endless.seen(), sentinel.seen(), host.requests().len()), (6, 0, begun));
}

#[tokio::test]
async fn methods_bodies_and_credentials_follow_as_they_should() {
    let (host, other) = (redirecting(), redirecting());
    let bench = Bench::new(&[&host.grant("allowed.test"), &other.grant("second.test")], |_| {}).await;
    let both = [format!("allowed.test:{}", host.port), format!("second.test:{}", other.port)];
    bench.keep_as("x-key", &[("key", "the-secret-itself", &both)]);
    let ask = async |path: String| {
        let headers = json!({"Authorization": "Bearer own", "Cookie": "own", "X-Key": "{{secret:key}}", "X-Kept": "kept",
            "Content-Type": "text/plain"});
        let params =
            json!({"url": host.url("allowed.test", &path), "method": "POST", "body": "body", "headers": headers});
        bench.ask("http.fetch", params).await.unwrap();
    };
    // The same server: everything but what was about the body.
    ask("/302//here".to_owned()).await;
    let here = host.requests()[1].clone();
    assert!(
        here.starts_with("GET /here") && here.contains("x-key: the-secret-itself") && here.contains("cookie: own"),
        "{here}"
    );
    assert!(here.ends_with("\r\n\r\n") && !here.contains("content-type"), "{here}");
    ask("/307//here".to_owned()).await;
    let here = host.requests()[3].clone();
    assert!(
        here.starts_with("POST /here") && here.ends_with("\r\n\r\nbody") && here.contains("content-type"),
        "{here}"
    );
    // Another one: no credentials, though the secret may go there when it is asked for itself.
    ask(format!("/308/{}", other.url("second.test", "/there"))).await;
    let there = other.requests()[0].clone();
    assert!(there.starts_with("POST /there") && there.ends_with("body") && there.contains("x-kept: kept"), "{there}");
    for left in ["the-secret-itself", "secret:", "authorization", "cookie"] {
        assert!(!there.contains(left), "{left} in {there}");
    }
}
