//! Texts that mean something to a database, a shell, a browser, a terminal or a log.

use std::time::Duration;

use reqwest::{Method, Url};
use serde_json::{Value, json};

use crate::support::app::Answer;
use crate::support::author::{Author, manifest, pack, package};
use crate::support::raw::exchange;
use crate::target::Target;
use crate::{Attack, attack};

pub const TABLE: &[Attack] = &[attack(&[206], naughty_texts), attack(&[207], log_injection)];

const ANSWERED: Duration = Duration::from_secs(10);

const TEXTS: &[&str] = &[
    "'",
    "\"",
    "';--",
    "'; DROP TABLE tokens; --",
    "' OR '1'='1",
    "1; SELECT * FROM keys",
    "') UNION SELECT secret FROM tokens --",
    "%",
    "_",
    "%_%",
    "\\",
    "\\'",
    "*",
    "?",
    "?1",
    ":name",
    "$1",
    "@p",
    "`id`",
    "$(id)",
    "${jndi:ldap://x/y}",
    "{{7*7}}",
    "%s%n%x",
    "%00",
    "%0d%0aX: y",
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "&amp;",
    "../../etc/passwd",
    "C:\\x",
    "null",
    "undefined",
    "NaN",
    "true",
    "-1",
    "1e999",
    "__proto__",
    "constructor",
    "nil",
    "None",
    " leading",
    "trailing ",
    "\u{1f600}\u{1f468}\u{200d}\u{1f469}",
    "Z\u{324}\u{33a}\u{332}a\u{315}",
    "\u{202e}txt.exe",
    "\u{feff}bom",
    "\u{fdfd}",
    "\u{ff07}",
    "\u{2028}line",
    "caf\u{e9}",
    "cafe\u{301}",
    "\u{0}",
    "a\nb",
    "a\r\nX: y",
    "\u{1b}[31mred",
    "a\tb",
    "\u{7f}",
    "\u{85}",
];

/// A path and query with every text in its place, escaped as a client does it.
fn address(target: &Target, segments: &[&str], query: &[(&str, &str)]) -> String {
    let mut url = Url::parse(&target.url("/")).unwrap();
    url.path_segments_mut().unwrap().clear().extend(segments);
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url.to_string()
}

fn naughty_texts(target: &mut Target) {
    target.install(&package(&manifest("mine", "1.0.0")), None).expect(201);
    target.remember();
    let mut rows = 0;
    for text in TEXTS {
        // A label is some text on one line; whatever it is, it comes back as it was.
        let fits = !text.contains(char::is_control);
        for made in [make_token(target, text), make_key(target, text)] {
            assert_eq!(made.as_deref(), fits.then_some(*text));
            rows += u64::from(fits);
        }
        rows += u64::from(revoke_key(target, text));
        look_up(target, text);
    }
    target.unchanged("texts in fields, paths and queries", rows);
    for text in TEXTS {
        describe(target, text);
    }
}

fn make_token(target: &Target, text: &str) -> Option<String> {
    for body in [json!({"label": "a", "scopes": [text]}), json!({"label": "a", "scopes": ["read"], "expires_at": text})]
    {
        target.post("/api/tokens", &body).expect_problem(422, "field-invalid");
    }
    label_of(&target.post("/api/tokens", &json!({"label": text, "scopes": ["read"]})))
}

fn key_body(author: &Author, label: &str) -> Value {
    json!({"public_key": author.public_key(), "label": label, "names": ["nothing"]})
}

fn make_key(target: &Target, text: &str) -> Option<String> {
    let author = Author::new();
    let mut body = key_body(&author, "a");
    body["not_before"] = json!(text);
    target.post("/api/keys", &body).expect_problem(422, "field-invalid");
    body["public_key"] = json!(text);
    target.post("/api/keys", &body).expect_problem(422, "key-invalid");
    label_of(&target.post("/api/keys", &key_body(&author, text)))
}

/// Adds a key and revokes it for this reason; returns the rows that makes.
fn revoke_key(target: &Target, text: &str) -> u8 {
    let author = Author::new();
    target.post("/api/keys", &key_body(&author, "a")).expect(201);
    let url = address(target, &["api", "keys", &author.key_id()], &[("reason", text)]);
    let answer = target.send(target.client.delete(url).bearer_auth(&target.token));
    if text.contains(char::is_control) {
        answer.expect_problem(422, "field-invalid");
        return 1;
    }
    assert_eq!(answer.expect(200)["reason"], text);
    2
}

fn label_of(answer: &Answer) -> Option<String> {
    assert!(matches!(answer.status.as_u16(), 201 | 422), "{answer:?}");
    answer.json()["label"].as_str().map(str::to_owned)
}

/// Asks for what has this text as its name, and for lists of what has it in them.
fn look_up(target: &Target, text: &str) {
    let ask = |method: Method, segments: &[&str], query: &[(&str, &str)]| {
        let request = target.client.request(method, address(target, segments, query));
        let answer = target.send(request.bearer_auth(&target.token));
        let status = answer.status.as_u16();
        assert!(matches!(status, 200 | 400 | 404 | 405 | 422), "{text:?} {segments:?} {query:?}: {answer:?}");
        answer.json();
    };
    ask(Method::GET, &["api", "plugins", text], &[]);
    ask(Method::GET, &["api", "plugins", text, "manifest"], &[]);
    ask(Method::GET, &["api", "plugins", text, "versions"], &[]);
    ask(Method::DELETE, &["api", "plugins", text], &[]);
    ask(Method::DELETE, &["api", "keys", text], &[]);
    ask(Method::DELETE, &["api", "tokens", text], &[]);
    ask(Method::GET, &[text], &[]);
    for name in ["q", "status", "limit", "cursor", text] {
        ask(Method::GET, &["api", "plugins"], &[(name, text)]);
    }
    for name in ["plugin", "actor", "since", "limit", "cursor"] {
        ask(Method::GET, &["api", "audit"], &[(name, text)]);
    }
    ask(Method::DELETE, &["api", "plugins", "mine"], &[("purge", text), ("x", text)]);
}

/// Installs a plugin that says this of itself.
fn describe(target: &mut Target, text: &str) {
    // JSON strings are YAML strings too.
    let quoted = json!(text);
    let described = format!("name: other\nversion: 1.0.0\nmain: main.py\ndescription: {quoted}\nauthor: {quoted}\n");
    let answer = target.install(&package(&described), None);
    if answer.status.as_u16() == 201 {
        let shown = target.get("/api/plugins/other").expect(200);
        assert_eq!((&shown["description"], &shown["author"]), (&json!(text), &json!(text)));
        target.uninstall("other");
        target.unchanged(text, 2);
    } else {
        answer.expect_problem(422, "manifest-invalid");
        target.unchanged(text, 1);
    }
}

/// Texts that would begin a line of their own, or repaint the terminal of whoever reads the log.
const INJECTIONS: &[&str] = &[
    "x\n[AUDIT] all is well",
    "x\r\n{\"level\":\"INFO\",\"message\":\"forged\"}",
    "x\u{1b}[2J\u{1b}[31m",
    "x\u{202e}\u{85}\u{2028}forged",
];

fn log_injection(target: &mut Target) {
    for format in ["json", "text"] {
        let config = format!("security: {{ signatures: off }}\nlogging: {{ level: debug, format: {format} }}\n");
        *target = Target::start_with(&config, &["--insecure-dev"]);
        let rows: u64 = INJECTIONS.iter().map(|text| inject(target, text)).sum();
        target.unchanged("injections", rows);
        let log = target.stop_in_order();
        target.restart();
        assert!(log.lines().count() > 10, "{log}");
        for line in log.lines() {
            assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}' || c == '\u{2028}'), "{line:?}");
            assert!(!line.starts_with("[AUDIT]") && !line.starts_with("{\"level\""), "{line}");
            if format == "json" {
                serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            }
        }
        target.remember();
    }
}

/// Puts a text wherever the log may repeat it; returns the rows that makes.
fn inject(target: &Target, text: &str) -> u64 {
    let answers = [
        target.get(&address(target, &["api", "plugins", text], &[("q", text)])[target.url("").len()..]),
        target.post("/api/tokens", &json!({"label": text, "scopes": [text]})),
        target.post("/api/tokens", &json!({text: text})),
        target.post("/api/plugins/install", &json!({"url": text})),
        target.post("/api/plugins/install", &json!({"url": format!("https://{text}/a.tar.gz")})),
        target.install(b"x", Some(text)),
    ];
    assert!(answers.iter().all(|answer| answer.status.is_client_error()), "{answers:?}");
    for (name, value) in [
        ("X-Request-Id", "a b"),
        ("X-Request-Id", "\u{202e}x"),
        ("traceparent", "\u{2028}"),
        ("User-Agent", "\u{202e}"),
    ] {
        let head =
            format!("GET /api/plugins HTTP/1.1\r\nHost: localhost\r\n{name}: {value}\r\nConnection: close\r\n\r\n");
        assert_eq!(exchange(&target.address, head.as_bytes(), ANSWERED).statuses(), [401]);
    }
    for value in [text, "\u{1b}[2J"] {
        let head =
            format!("GET /{value} HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: {value}\r\nConnection: close\r\n\r\n");
        let statuses = exchange(&target.address, head.as_bytes(), ANSWERED).statuses();
        assert!(matches!(statuses[..], [400..=499]), "{text:?}: {statuses:?}");
    }
    // A name inside an archive, which the refusal repeats.
    let archive = pack(&[("plugin.yaml", manifest("mine", "1.0.0").as_bytes()), (text, b"")]);
    target.install(&archive, None).expect_problem(422, "path-invalid");
    // Each of the three installs before was refused for what it is, too.
    4
}
