//! Secrets in headers: only towards their hosts, and never to be read by the plugin.

use data_encoding::BASE64;
use serde_json::json;

use super::super::super::bench::{Bench, Server, reply, rule_of};

const SECRET: &str = "CANARY/7f3a+9c51\"d2";

/// Sends back everything it gets, in every way it knows.
fn reflecting() -> Server {
    Server::tls(|request, to| {
        let value = request.lines().find_map(|line| line.strip_prefix("x-key: ")).unwrap_or("none");
        let name = if value.starts_with("Kept") { value } else { "Name" };
        let headers = format!(
            "X-Echo: {value}\r\nX-{name}: 1\r\nX-Basic: Basic {}\r\nWWW-Authenticate: x=\"{value}\"\r\n",
            BASE64.encode(format!("user:{value}").as_bytes())
        );
        let query: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
        let body = json!({"raw": value, "head": request, "query": query, "lower": value.to_lowercase(),
            "twice": format!("{value}{value}"), "packed": BASE64.encode(request.as_bytes())});
        reply(to, "200 OK", &headers, &body.to_string())
    })
}

#[tokio::test]
async fn a_secret_reaches_its_host_and_does_not_come_back() {
    let host = reflecting();
    let bench = Bench::new(&[&host.grant("allowed.test")], |_| {}).await;
    bench.keep_as(
        "x-key",
        &[
            ("key", SECRET, &[format!("allowed.test:{}", host.port)]),
            ("other", "unused-secret", &["b.example".to_owned()]),
        ],
    );
    let headers = json!({"X-Key": "{{secret:key}}", "Authorization": "Bearer own"});
    let answer = bench.fetch_with(&host.url("allowed.test", "/"), headers).await.unwrap();
    let request = host.requests().remove(0);
    assert!(request.contains(&format!("x-key: {SECRET}\r\n")), "{request}");
    assert!(request.contains("authorization: Bearer own\r\n"), "{request}");
    let shown = answer.to_string();
    assert!(!shown.to_lowercase().contains("canary") && !shown.contains("9c51"), "{shown}");
    let packed = shown.split('"').filter_map(|text| BASE64.decode(text.as_bytes()).ok());
    assert!(packed.into_iter().all(|bytes| !bytes.windows(6).any(|window| window == b"CANARY")), "{shown}");
    let body: serde_json::Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    assert_eq!((&body["raw"], &body["twice"]), (&json!("[redacted]"), &json!("[redacted][redacted]")));
    assert_eq!(answer["headers"]["x-echo"], "[redacted]");
    // In the name of a header, and kept by the host from before.
    bench.keep_as("x-key", &[("key", "Kept-by-the-Host", &["allowed.test".to_owned()])]);
    let answer = bench.fetch_with(&host.url("allowed.test", "/"), json!({"X-Key": "Kept-by-the-Host"})).await.unwrap();
    assert_eq!((&answer["headers"]["x-echo"], &answer["headers"]["x-[redacted]"]), (&json!("[redacted]"), &json!("1")));
}

#[tokio::test]
async fn a_secret_goes_nowhere_else() {
    let (host, plain) = (reflecting(), Server::plain(|_, to| reply(to, "200 OK", "", "")));
    let rule = format!("network_access:http://allowed.test:{}", plain.port);
    let mut bench = Bench::new(&[&host.grant("allowed.test"), &host.grant("a.wild.test"), &rule], |_| {}).await;
    let own = format!("allowed.test:{}", host.port);
    bench.keep_as(
        "x-key",
        &[
            ("key", SECRET, &[own.clone(), format!("allowed.test:{}", plain.port)]),
            ("alone", "for-the-plugin-alone", &[]),
            ("short", "1234567", std::slice::from_ref(&own)),
            ("lines", "first line\r\nx-evil: 1", std::slice::from_ref(&own)),
        ],
    );
    let here = host.url("allowed.test", "/");
    for (url, value, rule) in [
        (host.url("a.wild.test", "/"), "{{secret:key}}", "secret"),
        // TLS is what it is for.
        (format!("http://allowed.test:{}/", plain.port), "{{secret:key}}", "secret"),
        (here.clone(), "{{secret:none}}", "secret"),
        (here.clone(), "{{secret:alone}}", "secret"),
        (here.clone(), "{{secret:short}}", "secret"),
        (here.clone(), "{{secret:KEY}}", "secret"),
        (here.clone(), "{{secret:}}", "secret"),
        (here.clone(), "{{secret:key", "secret"),
        (here.clone(), "{{secret:{{secret:key}}}}", "secret"),
        (here.clone(), "{{secret:lines}}", "header"),
    ] {
        let outcome = bench.fetch_with(&url, json!({"X-Key": value})).await;
        assert_eq!(rule_of(&outcome), rule, "{url} {value}");
        let shown = format!("{outcome:?}{:?}{:?}", bench.refusals(), outcome.as_ref().unwrap_err().data());
        assert!(!shown.contains("CANARY") && !shown.contains("evil"), "{shown}");
    }
    for ranged in [json!({"X-Key": "{{secret:key}}", "Range": "bytes=0-3"}), json!({"Range": "bytes=0-3"})] {
        // The host may have kept the secret from before.
        assert_eq!(rule_of(&bench.fetch_with(&here, ranged).await), "header");
    }
    assert_eq!(rule_of(&bench.fetch_with(&here, json!({"X-Api-Key": "{{secret:key}}"})).await), "secret", "elsewhere");
    for url in [host.url("allowed.test", "/?k={{secret:key}}"), host.url("allowed.test", "/%7B%7Bsecret:key%7D%7D")] {
        assert_eq!(rule_of(&bench.fetch(&url).await), "secret", "{url}");
    }
    assert_eq!((host.seen(), plain.seen()), (0, 0));
    // In a body it is a text like any other.
    let params = json!({"url": here, "method": "POST", "body": "{{secret:key}}"});
    bench.ask("http.fetch", params).await.unwrap();
    assert!(host.requests()[0].ends_with("\r\n\r\n{{secret:key}}"));
    // Where its host is written with http, it may go there.
    bench.keep_as("x-key", &[("key", SECRET, &[format!("http://allowed.test:{}", plain.port)])]);
    let url = format!("http://allowed.test:{}/", plain.port);
    bench.fetch_with(&url, json!({"X-Key": "{{secret:key}}"})).await.unwrap();
    assert!(plain.requests()[0].contains(SECRET));
}

#[tokio::test]
async fn a_secret_that_was_changed_is_the_new_one_at_once() {
    let host = reflecting();
    let bench = Bench::new(&[&host.grant("allowed.test")], |_| {}).await;
    let hosts = [format!("allowed.test:{}", host.port)];
    for value in ["first-value", "second-value"] {
        bench.keep_as("x-key", &[("key", value, &hosts)]);
        bench.fetch_with(&host.url("allowed.test", "/"), json!({"X-Key": "{{secret:key}}"})).await.unwrap();
        assert!(host.requests().last().unwrap().contains(value));
    }
}
