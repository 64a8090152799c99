//! JSON at the edges of its grammar: what is no JSON is refused, whatever is JSON is read.

use reqwest::Method;
use serde_json::json;

use crate::target::Target;
use crate::{Attack, attack};

pub const TABLE: &[Attack] = &[attack(&[205], edges_of_json)];

/// No JSON, or not JSON in UTF-8.
const TEXTS: &[&str] = &[
    "",
    " ",
    "\u{feff}{}",
    "{",
    "}",
    "[",
    "]",
    "{]",
    "[}",
    "[{",
    "{[",
    "\"",
    "'a'",
    "{'label':'a'}",
    "{label:\"a\"}",
    "{\"label\"}",
    "{\"label\":}",
    "{:\"a\"}",
    "{\"label\" \"a\"}",
    "{\"label\"::\"a\"}",
    "{\"label\":\"a\",}",
    "{\"label\":\"a\",,\"scopes\":[]}",
    "{,\"label\":\"a\"}",
    "{\"label\":\"a\"}}",
    "{\"label\":\"a\"} {}",
    "{\"label\":\"a\"}x",
    "{\"label\":\"a\"}//",
    "/**/{\"label\":\"a\"}",
    "{\"label\":\"a\"/**/}",
    "#\n{}",
    "{\"label\":\"a\"\u{a0}}",
    "{\"label\":\"a\"\u{c}}",
    "{\"label\":\"a\nb\"}",
    "{\"label\":\"a\tb\"}",
    "{\"label\":\"a\0b\"}",
    "{\"label\":\"\\a\"}",
    "{\"label\":\"\\x41\"}",
    "{\"label\":\"\\u12\"}",
    "{\"label\":\"\\u00g0\"}",
    "{\"label\":\"\\uD800\"}",
    "{\"label\":\"\\uD800\\u0041\"}",
    "{\"label\":\"\\uDC00\"}",
    "{\"label\":\"\\",
    "{\"label\":\"a",
    "{\"label\":NaN}",
    "{\"label\":Infinity}",
    "{\"label\":undefined}",
    "{\"label\":TRUE}",
    "{\"label\":nul}",
    "{\"label\":01}",
    "{\"label\":+1}",
    "{\"label\":.5}",
    "{\"label\":1.}",
    "{\"label\":1e}",
    "{\"label\":0x1}",
    "{\"label\":-}",
    "{\"label\":1_000}",
    "{\"label\":--1}",
    "{\"label\":1e1e1}",
    "{\"label\":\u{ff11}}",
    "{\"label\":\"a\" \"b\"}",
    "\"label\":\"a\"",
    "<label>a</label>",
    "label=a&scopes=read",
    "*",
    "\\u007b\\u007d",
    "true false",
    // JSON, but not for this route.
    "null",
    "true",
    "1",
    "-0",
    "1e400",
    "\"a\"",
    "[]",
    "{}",
    "{\"label\":1,\"scopes\":[]}",
    "{\"label\":null,\"scopes\":[\"read\"]}",
    "{\"label\":\"a\",\"scopes\":\"read\"}",
    "{\"label\":\"a\",\"scopes\":{\"0\":\"read\"}}",
    "{\"label\":\"a\",\"label\":\"b\",\"scopes\":[\"read\"]}",
    "{\"label\":\"a\",\"scopes\":[\"read\"],\"l\\u0061bel\":\"b\"}",
];

/// These, and what is no text or very deep.
fn refused() -> Vec<Vec<u8>> {
    let mut bodies: Vec<Vec<u8>> = TEXTS.iter().map(|text| text.as_bytes().to_vec()).collect();
    bodies.extend([
        b"\xff\xfe{\0}\0".to_vec(),
        b"\0{\0}".to_vec(),
        b"{\"label\":\"\xff\"}".to_vec(),
        b"{\"label\":\"\xc0\xaf\"}".to_vec(),
        b"{\"label\":\"\xed\xa0\x80\"}".to_vec(),
        b"{\"label\":\"\xf4\xbf\xbf\xbf\"}".to_vec(),
        b"{\"label\":\"\xe0\xff\"}".to_vec(),
        b"{\"\xff\":0}".to_vec(),
        b"\xff".to_vec(),
        b"{\"label\":\"a\"}\x80".to_vec(),
        "[".repeat(100_000).into_bytes(),
        "{\"label\":".repeat(50_000).into_bytes(),
        format!("{{\"label\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000)).into_bytes(),
        format!("{{\"label\":1{}}}", "0".repeat(100_000)).into_bytes(),
        format!("{{\"label\":1e{}}}", "9".repeat(1000)).into_bytes(),
    ]);
    bodies
}

/// The same object, written in all the ways there are, with the label that it has.
fn accepted() -> Vec<(String, &'static str)> {
    let with = |label: &str| format!("{{\"label\":{label},\"scopes\":[\"read\"]}}");
    vec![
        (with("\"a\""), "a"),
        (" \t\r\n{ \"label\" : \"a\" ,\n\"scopes\"\t: [ \"read\" ] } \r\n".to_owned(), "a"),
        ("{\"scopes\":[\"read\"],\"label\":\"a\"}".to_owned(), "a"),
        ("{\"l\\u0061bel\":\"a\",\"\\u0073copes\":[\"re\\u0061d\"]}".to_owned(), "a"),
        ("{\"label\":\"a\",\"scopes\":[\"read\"],\"plugins\":null,\"expires_at\":null}".to_owned(), "a"),
        (with("\"\\u0041\\/\\\\\\\"\""), "A/\\\""),
        (with("\"\\uD83D\\uDE00\""), "\u{1f600}"),
        (with("\"\u{1f600}\""), "\u{1f600}"),
        (with("\"\\u00e9\u{e9}\""), "\u{e9}\u{e9}"),
        (with("\"\u{7f0}\u{ffff}\u{10ffff}\""), "\u{7f0}\u{ffff}\u{10ffff}"),
        (with("\"\\uFFFD\\uFDD0\""), "\u{fffd}\u{fdd0}"),
        (with("\"null\""), "null"),
        (with("\"{\\\"label\\\":1}\""), "{\"label\":1}"),
    ]
}

fn edges_of_json(target: &mut Target) {
    let send = |body: Vec<u8>| {
        let request = target.request(Method::POST, "/api/tokens").header("Content-Type", "application/json");
        target.send(request.body(body))
    };
    let bodies = refused();
    assert!(bodies.len() >= 40);
    for body in &bodies {
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        let answer = send(body.clone());
        assert_eq!(answer.status.as_u16(), 400, "{shown}: {}", answer.text);
        answer.expect_problem(400, "bad-request");
    }
    let bodies = accepted();
    for (body, label) in &bodies {
        assert_eq!(send(body.clone().into_bytes()).expect(201)["label"], json!(label), "{body}");
    }
    let count = bodies.len() as u64;
    target.unchanged("edges of JSON", count);
}
