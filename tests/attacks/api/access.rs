//! Callers without a token, with a bad one, or with one that does not allow what they try.

use std::time::Duration;

use plugbay::domain::{Clock as _, SystemClock};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{Answer, form};
use crate::support::author::{manifest, package};
use crate::support::process::until;
use crate::support::raw::exchange;
use crate::target::Target;
use crate::{Attack, attack};

pub const TABLE: &[Attack] = &[
    attack(&[196], bad_tokens),
    attack(&[197], a_read_token_on_routes_that_change),
    attack(&[198], a_token_for_another_plugin),
    attack(&[199], fields_that_only_the_service_sets),
    attack(&[200], forms_of_paths),
    attack(&[211], other_hosts),
];

const ANSWERED: Duration = Duration::from_secs(10);

fn with_token(target: &Target, method: Method, path: &str, token: &str) -> Answer {
    target.send(target.client.request(method, target.url(path)).bearer_auth(token))
}

fn make_token(target: &Target, body: &Value) -> (String, String) {
    let made = target.post("/api/tokens", body).expect(201);
    (made["token"].as_str().unwrap().to_owned(), made["id"].as_str().unwrap().to_owned())
}

/// A moment from now, as requests write it.
fn in_a_moment() -> String {
    SystemClock.now().plus(Duration::from_millis(1500)).to_string()
}

/// Every bad token gets the same answer. They also cost the same: each is hashed and looked up by its hash once, and
/// nothing is compared byte by byte, so there is no time to measure.
fn bad_tokens(target: &mut Target) {
    let (revoked, id) = make_token(target, &json!({"label": "revoked", "scopes": ["read"]}));
    target.send(target.request(Method::DELETE, &format!("/api/tokens/{id}"))).expect(200);
    let (expired, _) =
        make_token(target, &json!({"label": "expired", "scopes": ["read"], "expires_at": in_a_moment()}));
    until("the token ends", ANSWERED, || {
        with_token(target, Method::GET, "/api/plugins", &expired).status.as_u16() == 401
    });
    let swapped: String = target
        .token
        .chars()
        .map(|c| if c.is_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
        .collect();
    let random = format!("pbt_{}", "a".repeat(43));
    let mut answers = Vec::new();
    for bad in [
        &revoked,
        &expired,
        &swapped,
        &random,
        &target.token[4..].to_owned(),
        &format!("{} ", target.token)[..46].to_owned(),
    ] {
        let mut problem = with_token(target, Method::GET, "/api/plugins", bad).expect_problem(401, "token-invalid");
        problem["instance"].take();
        answers.push(problem);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");

    let bare = |path: &str| target.client.get(target.url(path));
    target.send(bare("/api/plugins")).expect_problem(401, "token-missing");
    for name in ["token", "access_token", "authorization", "api_key"] {
        let path = format!("/api/plugins?{name}={}", target.token);
        target.send(bare(&path)).expect_problem(401, "token-missing");
    }
    for header in ["X-Api-Key", "Cookie", "Proxy-Authorization", "X-Authorization"] {
        let request = bare("/api/plugins").header(header, format!("Bearer {}", target.token));
        target.send(request).expect_problem(401, "token-missing");
    }
    let odd = ["", "Bearer", "Bearer ", "Basic YWRtaW46", "Token x", "Bearer  x", "bearer\tx"];
    for value in odd {
        target.send(bare("/api/plugins").header("Authorization", value)).expect_problem(401, "token-invalid");
    }
    let twice = bare("/api/plugins").bearer_auth(&target.token).header("Authorization", "Bearer x");
    target.send(twice).expect_problem(401, "token-invalid");
    // Two tokens made, one revoked.
    target.unchanged("bad tokens", 3);
}

/// Every route of the OpenAPI document that changes something, so that a new route cannot be forgotten here.
fn a_read_token_on_routes_that_change(target: &mut Target) {
    let (reader, _) = make_token(target, &json!({"label": "reader", "scopes": ["read"]}));
    let document = target.get("/api/openapi.json").expect(200);
    let mut tried = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys().filter(|method| *method != "get") {
            let path = path.replace("{id}", "x").replace("{key_id}", "x");
            let method = method.to_uppercase();
            // The announced body never comes: an answer shows that nobody waited for it.
            let length = if method == "DELETE" { String::new() } else { "Content-Length: 1000\r\n".to_owned() };
            let head = format!(
                "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {reader}\r\n\
                 Content-Type: application/json\r\n{length}Connection: close\r\n\r\n"
            );
            let answer = exchange(&target.address, head.as_bytes(), ANSWERED);
            assert_eq!(answer.statuses(), [403], "{method} {path}: {}", answer.text);
            assert!(answer.closed && answer.text.contains("scope-missing"), "{method} {path}: {}", answer.text);
            tried += 1;
        }
    }
    assert!(tried >= 7, "only {tried} routes");
    target.unchanged("read token on write routes", 1);
}

fn a_token_for_another_plugin(target: &mut Target) {
    for name in ["mine", "theirs"] {
        target.install(&package(&manifest(name, "1.0.0")), None).expect(201);
    }
    let scopes = ["read", "install", "audit"];
    let (token, _) = make_token(target, &json!({"label": "mine", "scopes": scopes, "plugins": ["mine"]}));
    let id = target.get("/api/plugins/theirs").expect(200)["id"].as_str().unwrap().to_owned();
    target.remember();
    for name in ["theirs", id.as_str(), "THEIRS"] {
        for (method, rest) in
            [(Method::GET, ""), (Method::GET, "/manifest"), (Method::GET, "/versions"), (Method::DELETE, "")]
        {
            let answer = with_token(target, method, &format!("/api/plugins/{name}{rest}"), &token);
            answer.expect_problem(404, "plugin-unknown");
        }
        let newer = package(&manifest("theirs", "2.0.0"));
        let update = target.client.post(target.url(&format!("/api/plugins/{name}/update"))).bearer_auth(&token);
        target.send(update.multipart(form(&newer, None))).expect_problem(404, "plugin-unknown");
    }
    let list = with_token(target, Method::GET, "/api/plugins", &token).expect(200);
    assert_eq!((&list["total"], &list["plugins"][0]["name"]), (&json!(1), &json!("mine")));
    let rows = with_token(target, Method::GET, "/api/audit?plugin=theirs", &token).expect(200);
    assert_eq!(rows["entries"], json!([]));
    target.unchanged("another plugin's routes", 0);

    // The name is in the archive: these two are read, refused and recorded.
    let theirs = package(&manifest("theirs", "2.0.0"));
    for (path, status, code) in
        [("/api/plugins/install", 403, "scope-missing"), ("/api/plugins/mine/update", 403, "scope-missing")]
    {
        let request = target.client.post(target.url(path)).bearer_auth(&token).multipart(form(&theirs, None));
        target.send(request).expect_problem(status, code);
    }
    target.unchanged("another plugin's archive", 2);
}

fn fields_that_only_the_service_sets(target: &mut Target) {
    target.install(&package(&manifest("mine", "1.0.0")), None).expect(201);
    target.remember();
    let bodies = [
        ("/api/plugins/install", json!({"url": "https://plugins.example/a.tar.gz"})),
        ("/api/plugins/mine/update", json!({"url": "https://plugins.example/a.tar.gz"})),
        (
            "/api/keys",
            json!({"public_key": "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3", "label": "a", "names": ["*"]}),
        ),
        ("/api/tokens", json!({"label": "a", "scopes": ["read"]})),
    ];
    let fields =
        ["state", "status", "verified", "signer", "permissions", "id", "trusted", "granted", "revoked_at", "__proto__"];
    for (path, body) in &bodies {
        for field in fields {
            let mut body = body.clone();
            body[field] = json!(true);
            target.post(path, &body).expect_problem(400, "unknown-field");
        }
    }
    for field in fields {
        let form = form(&package(&manifest("other", "1.0.0")), None).text(field, "true");
        let answer = target.send(target.request(Method::POST, "/api/plugins/install").multipart(form));
        answer.expect_problem(400, "unknown-field");
        let path = format!("/api/plugins/mine?{field}=true");
        let answer = target.send(target.request(Method::DELETE, &path));
        answer.expect_problem(400, "unknown-field");
    }
    target.unchanged("mass assignment", 0);
}

fn forms_of_paths(target: &mut Target) {
    target.install(&package(&manifest("mine", "1.0.0")), None).expect(201);
    target.remember();
    let paths = [
        "/api/plugins/%2e%2e/x",
        "/api/plugins/../x",
        "/api/plugins/%2e%2e",
        "/api/plugins/..",
        "/api/plugins/.",
        "//api/plugins",
        "/api//plugins",
        "/api/plugins//mine",
        "/api/plugins/",
        "/api/plugins/mine/",
        "/api/plugins;x=1",
        "/api/plugins/mine;x=1",
        "/api/;/plugins",
        "/API/plugins",
        "/api/Plugins/mine",
        "/api/plugins/%00",
        "/api/plugins/mine%00",
        "/api/plugins/mine%00.json",
        "/api/plugins/%2fetc%2fpasswd",
        "/api/plugins/..%2f..%2f..%2fetc%2fpasswd",
        "/api/plugins/..%5c..%5cx",
        "/api/plugins\\..\\x",
        "/api/plugins/%252e%252e",
        "/api/plugins/%c0%ae%c0%ae",
        "/api/plugins/%ff",
        "/api/plugins/%zz",
        "/api/plugins/%",
        "/api/plugins%2fmine",
        "/api/plugins%20",
        "/api/plugins/mine%20",
        "/api/plugins/mine%0a",
        "/./api/plugins",
        "/api/../healthz",
        "/docs/../../etc/passwd",
        "/docs/%2e%2e/%2e%2e/etc/passwd",
        "/docs/..%2f..%2fetc%2fpasswd",
        "/docs//etc/passwd",
        "/docs/%00",
        "/docs/index.html%00",
        "/docs/nope",
        "/etc/passwd",
        "/.env",
        "/admin.token",
        "/api/plugins/mine/admin.token",
        "/api/plugins/mine/manifest/..",
        "/api/plugins/mine/..%2fother/manifest",
    ];
    for path in paths {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
            target.token
        );
        let answer = exchange(&target.address, head.as_bytes(), ANSWERED);
        assert_eq!(answer.statuses(), [404], "{path}: {}", answer.text);
        assert!(answer.text.contains("application/problem+json"), "{path}: {}", answer.text);
        let deletes = exchange(&target.address, head.replacen("GET", "DELETE", 1).as_bytes(), ANSWERED);
        assert!(matches!(deletes.statuses()[..], [404 | 405]), "{path}: {}", deletes.text);
    }
    target.unchanged("forms of paths", 0);
}

fn other_hosts(target: &mut Target) {
    let hosts = [
        "evil.com",
        "evil.com:80",
        "localhost.evil.com",
        "127.0.0.1.evil.com",
        "localhost@evil.com",
        "evil.com@localhost",
        "localhost,evil.com",
        "localhost evil.com",
        "169.254.169.254",
        "0",
        "[::]",
        "[::ffff:127.0.0.1]",
        "127.1",
        "",
        "localhost:80:80",
        "localhost:x",
        "localhost/",
        "local\u{1e9e}host",
    ];
    for host in hosts {
        for path in ["/healthz", "/api/plugins", "/docs/", "/nope"] {
            let head = format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
                target.token
            );
            let answer = exchange(&target.address, head.as_bytes(), ANSWERED);
            assert_eq!(answer.statuses(), [421], "{host} {path}: {}", answer.text);
        }
    }
    // An absolute target names the host that is meant, whatever the header says.
    let absolute = "GET http://evil.com/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(exchange(&target.address, absolute.as_bytes(), ANSWERED).statuses(), [421]);
    let heads = ["GET /healthz HTTP/1.1\r\n\r\n", "GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.com\r\n\r\n"];
    for head in heads {
        assert_eq!(exchange(&target.address, head.as_bytes(), ANSWERED).statuses(), [400], "{head}");
    }
    target.unchanged("other hosts", 0);
}
