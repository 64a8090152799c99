//! Runs the blocks of docs/api-examples.md in their order against a live service.

use std::collections::HashMap;

use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::Value;

use crate::support::app::{TestApp, send};
use crate::support::author::{Author, manifest as manifest_of, pack, package};

/// Stands for anything.
const ANY: &str = "…";

/// One block: a request and the answer it must get.
struct Example {
    line: usize,
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    parts: Vec<(String, String)>,
    body: String,
    status: u16,
    expected: Option<Value>,
}

fn examples(document: &str) -> Vec<Example> {
    let mut found = Vec::new();
    let mut lines = document.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if line == "```http" {
            let block: Vec<&str> = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
            found.push(example(number + 1, &block));
        }
    }
    found
}

fn example(line: usize, block: &[&str]) -> Example {
    let gap = block.iter().position(|line| line.is_empty()).unwrap();
    let (request, answer) = (&block[..gap], &block[gap + 1..]);
    let (method, path) = request[0].split_once(' ').unwrap();
    let (mut headers, mut parts, mut body) = (Vec::new(), Vec::new(), String::new());
    for line in &request[1..] {
        let pair = |text: &str, separator| {
            let (name, value) = text.split_once(separator).unwrap();
            (name.to_owned(), value.trim().to_owned())
        };
        match line.strip_prefix('@') {
            Some(part) => parts.push(pair(part, '=')),
            None if body.is_empty() && !line.starts_with('{') => headers.push(pair(line, ':')),
            None => body.push_str(line),
        }
    }
    let expected = answer[1..].join("\n");
    // What is not JSON is a text.
    let read = |text: &str| serde_json::from_str(text).unwrap_or_else(|_text| Value::from(format!("{text}\n")));
    Example {
        line,
        method: method.parse().unwrap(),
        path: path.to_owned(),
        headers,
        parts,
        body,
        status: answer[0].parse().unwrap(),
        expected: (!expected.is_empty()).then(|| read(&expected)),
    }
}

/// Whether the answer is what the example shows.
fn fits(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::String(pattern), Value::String(text)) => text_fits(pattern, text),
        (Value::String(pattern), _) => pattern == ANY,
        (Value::Array(expected), Value::Array(found)) => {
            let open = expected.last().is_some_and(|last| last == ANY);
            let listed = &expected[..expected.len() - usize::from(open)];
            (listed.len() == found.len() || (open && listed.len() <= found.len()))
                && listed.iter().zip(found).all(|(expected, found)| fits(expected, found))
        }
        (Value::Object(expected), Value::Object(found)) => {
            let open = expected.contains_key(ANY);
            let mut listed = expected.iter().filter(|(key, _)| *key != ANY);
            let all_there = listed.all(|(key, value)| found.get(key).is_some_and(|found| fits(value, found)));
            all_there && (open || found.len() == expected.len())
        }
        _ => expected == found,
    }
}

fn text_fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once(ANY) {
        Some((start, end)) => text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end),
        None => pattern == text,
    }
}

/// The plugin whose source the page shows.
fn greeter(text: &str) -> &str {
    let (_, rest) = text.split_once("```python\n").unwrap();
    rest.split_once("```").unwrap().0
}

/// The plugin of the chat, whose source the page shows.
fn helper(text: &str) -> &str {
    greeter(text.split_once("## Chat\n").unwrap().1)
}

/// The plugin that answers for a model, whose source the page shows.
fn parrot(text: &str) -> &str {
    greeter(text.split_once("## Models\n").unwrap().1)
}

/// The schema that the page shows.
fn schema(text: &str) -> &str {
    let (_, rest) = text.split_once("```yaml\n").unwrap();
    rest.split_once("```").unwrap().0
}

/// The archives that the examples send, with their signatures.
fn files(author: &Author, text: &str) -> HashMap<String, Vec<u8>> {
    let manifest = |version: &str| {
        format!(
            "name: my-plugin\nversion: {version}\ndescription: Example plugin\nauthor: Your Name\nlicense: MIT\n\
             main: main.py\npermissions: [network_access, chat_access]\noptional_permissions: [filesystem_read]\n\
             network: {{ allow: [api.example.com] }}\naccess: {{ filesystem_read: [docs] }}\n\
             resources: {{ memory_mb: 512 }}\nhooks: [on_message]\n\
             commands: [{{ name: /myplugin, description: Run it, usage: \"/myplugin [args]\" }}]\n"
        )
    };
    let mut files = HashMap::new();
    for version in ["1.0.0", "1.1.0"] {
        let archive = package(&manifest(version));
        let signature = author.sign(&archive).into_bytes();
        files.insert(format!("my-plugin-{version}.tar.gz.minisig"), signature);
        files.insert(format!("my-plugin-{version}.tar.gz"), archive);
    }
    let greeter =
        pack(&[("plugin.yaml", manifest_of("greeter", "1.0.0").as_bytes()), ("main.py", greeter(text).as_bytes())]);
    let fetcher = format!("{}{}", manifest_of("acme-fetcher", "1.0.0"), schema(text));
    let fetcher = package(&fetcher);
    files.insert("acme-fetcher-1.0.0.tar.gz.minisig".to_owned(), author.sign(&fetcher).into_bytes());
    files.insert("acme-fetcher-1.0.0.tar.gz".to_owned(), fetcher);
    let helper_manifest = format!(
        "{}optional_permissions: [chat_access]\nhooks: [on_message]\ncommands: [{{ name: /help }}]\n",
        manifest_of("acme-helper", "1.0.0")
    );
    let helper = pack(&[("plugin.yaml", helper_manifest.as_bytes()), ("main.py", helper(text).as_bytes())]);
    files.insert("acme-helper-1.0.0.tar.gz.minisig".to_owned(), author.sign(&helper).into_bytes());
    files.insert("acme-helper-1.0.0.tar.gz".to_owned(), helper);
    let parrot_manifest = format!(
        "{}permissions: [chat_access]\nchat: {{ kind: backend_provider }}\n",
        manifest_of("acme-parrot", "1.0.0")
    );
    let parrot = pack(&[("plugin.yaml", parrot_manifest.as_bytes()), ("main.py", parrot(text).as_bytes())]);
    files.insert("acme-parrot-1.0.0.tar.gz.minisig".to_owned(), author.sign(&parrot).into_bytes());
    files.insert("acme-parrot-1.0.0.tar.gz".to_owned(), parrot);
    let signature = author.sign(&greeter).into_bytes();
    files.insert("greeter-1.0.0.tar.gz.minisig".to_owned(), signature);
    files.insert("greeter-1.0.0.tar.gz".to_owned(), greeter);
    files
}

#[tokio::test]
async fn every_example_is_true() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/api-examples.md")).unwrap();
    let author = Author::new();
    // What a reader sees as an example is another value in each run.
    let text = text.replace("A1B2C3D4E5F60718", &author.key_id());
    let files = files(&author, &text);
    let app = TestApp::start().await;
    // Ids that the page shows shortened, once they were made.
    let mut ids = [("/api/tokens", "token", String::new()), ("/api/chat/conversations", "conversation", String::new())];
    let examples = examples(&text);
    assert!(examples.len() >= 25, "{} examples", examples.len());
    for example in examples {
        let known = |text: &str| {
            let fill = |text: String, (_, kind, id): &(&str, &str, String)| {
                let known = if id.is_empty() { format!("{kind}_…") } else { id.clone() };
                text.replace(&format!("{kind}_0192…"), &known)
            };
            ids.iter().fold(text.to_owned(), fill)
        };
        let fill = |text: &str| known(&text.replace("RWQ…", &author.public_key()));
        let mut request = app.request(example.method.clone(), &fill(&example.path));
        for (name, value) in &example.headers {
            request = request.header(name, value);
        }
        if !example.parts.is_empty() {
            let form = example
                .parts
                .iter()
                .fold(Form::new(), |form, (name, file)| form.part(name.clone(), Part::bytes(files[file].clone())));
            request = request.multipart(form);
        } else if !example.body.is_empty() {
            request = request.header("Content-Type", "application/json").body(fill(&example.body));
        }
        let answer = send(request).await;
        let place = format!("docs/api-examples.md:{}: {} {}", example.line, example.method, example.path);
        assert_eq!(answer.status.as_u16(), example.status, "{place}: {}", answer.text);
        match &example.expected {
            Some(expected) => {
                let expected: Value = serde_json::from_str(&known(&expected.to_string())).unwrap();
                let found =
                    serde_json::from_str(&answer.text).unwrap_or_else(|_text| Value::from(answer.text.as_str()));
                assert!(fits(&expected, &found), "{place}: {}", answer.text);
            }
            None => assert!(answer.text.is_empty(), "{place}: {}", answer.text),
        }
        for (path, _, id) in &mut ids {
            if example.path == *path && example.status == 201 {
                answer.json()["id"].as_str().unwrap().clone_into(id);
            }
        }
    }
}

#[tokio::test]
async fn every_route_has_an_example() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/api-examples.md")).unwrap();
    let app = TestApp::start().await;
    let document = app.get("/api/openapi.json").await.expect(200);
    let examples = examples(&text);
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let is_shown = examples.iter().any(|example| {
                let shown = example.path.split('?').next().unwrap_or_default();
                let same = |(pattern, found): (&str, &str)| pattern.starts_with('{') || pattern == found;
                example.method.as_str().eq_ignore_ascii_case(method)
                    && shown.split('/').count() == path.split('/').count()
                    && path.split('/').zip(shown.split('/')).all(same)
            });
            let in_words = text.contains(&format!("`{path}`"));
            assert!(is_shown || in_words, "docs/api-examples.md does not show {method} {path}");
        }
    }
}

#[test]
fn an_example_that_is_not_true_is_found() {
    let fits = |expected: &str, found: &str| {
        fits(&serde_json::from_str(expected).unwrap(), &serde_json::from_str(found).unwrap())
    };
    assert!(fits(r#"{"a": "x…", "…": "…"}"#, r#"{"a": "xyz", "b": 1}"#));
    assert!(!fits(r#"{"a": "x…"}"#, r#"{"a": "xyz", "b": 1}"#));
    assert!(!fits(r#"{"a": "x…"}"#, r#"{"a": "yz"}"#));
    assert!(fits(r#"[1, "…"]"#, "[1, 2, 3]") && !fits("[1]", "[1, 2]") && !fits(r#"[1, "…"]"#, "[2]"));
}
