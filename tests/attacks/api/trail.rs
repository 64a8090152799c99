//! What the service leaves behind: an audit log that shows changes, and no secrets anywhere.

use std::fs;
use std::path::Path;

use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::json;

use crate::support::app::Answer;
use crate::support::author::{Author, manifest, package};
use crate::support::database;
use crate::support::process::verify_audit;
use crate::target::Target;
use crate::{Attack, attack};

pub const TABLE: &[Attack] = &[attack(&[208], changed_audit_logs), attack(&[209], secrets_in_traces)];

/// A copy of a data directory that a test may spoil.
fn copy(data: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in ["plugbay.db", "audit.head", "master.key"] {
        fs::copy(data.join(file), folder.path().join(file)).unwrap();
    }
    folder
}

fn changed_audit_logs(target: &mut Target) {
    let mut heads = Vec::new();
    for name in ["one", "two", "three", "four"] {
        target.install(&package(&manifest(name, "1.0.0")), None).expect(201);
        heads.push(target.get("/api/audit/verify").expect(200)["head"].as_str().unwrap().to_owned());
    }
    target.remember();
    let head = heads.pop().unwrap();
    target.stop_in_order();
    {
        let (data, runtime) = (target.data(), &target.runtime);
        let verdict = |statements: &[&str], expect: &str| {
            let folder = copy(&data);
            for statement in statements {
                runtime.block_on(database::run(folder.path(), statement));
            }
            verify_audit(folder.path(), expect)
        };
        for expect in heads.iter().chain([&head]) {
            assert_eq!(verdict(&[], expect).0, 0, "the whole log holds every head that was noted down");
        }
        let changes: &[&[&str]] = &[
            &["UPDATE audit SET detail = '{}' WHERE seq = 3"],
            &["UPDATE audit SET actor = 'service' WHERE seq = 3"],
            &["UPDATE audit SET at = at + 1 WHERE seq = 5"],
            &["UPDATE audit SET hash = (SELECT hash FROM audit WHERE seq = 2) WHERE seq = 3"],
            &["DELETE FROM audit WHERE seq = 3"],
            &["DELETE FROM audit WHERE seq = 3", "UPDATE audit SET seq = seq - 1 WHERE seq > 3"],
            &["DELETE FROM audit WHERE seq = 1"],
            &["DELETE FROM audit WHERE seq > 4"],
            &["DELETE FROM audit"],
            &["DELETE FROM audit", "DELETE FROM audit_head"],
            &[
                "DELETE FROM audit WHERE seq > 4",
                "UPDATE audit_head SET seq = 4, hash = (SELECT hash FROM audit WHERE seq = 4)",
            ],
            &["UPDATE audit SET changes = '[]' WHERE seq = 3"],
            &["UPDATE audit SET changes = NULL"],
            &["UPDATE tokens SET scopes = '[\"read\"]'"],
        ];
        for statements in changes {
            let (code, text) = verdict(statements, &head);
            assert!(code == 4 && text.contains("audit-broken"), "{statements:?}: {code} {text}");
        }
    }
    target.restart();
    target.unchanged("audit logs changed elsewhere", 0);
}

/// A plugin's secret, sent in every way that an operator may get wrong.
fn secrets_of_plugins(target: &Target) -> Vec<Answer> {
    let schema = "config_schema:\n  api_key: { type: string, required: true, secret: true, minLength: 9 }\n  \
        sent: { type: string, secret: { hosts: [api.example.com], deliver: false } }\n  port: { type: integer }\n";
    target.install(&package(&format!("{}{schema}", manifest("keeper", "1.0.0"))), None).expect(201);
    let path = "/api/plugins/keeper/config";
    let put =
        |body: &serde_json::Value| target.send(target.request(Method::PUT, path).header("If-Match", "*").json(body));
    let raw = |text: &'static str| {
        let request =
            target.request(Method::PUT, path).header("If-Match", "*").header("Content-Type", "application/json");
        target.send(request.body(text))
    };
    let set = put(&json!({"api_key": "CANARY-secret", "sent": "CANARY-sent"}));
    set.expect(200);
    let mut answers = vec![
        set,
        put(&json!({"api_key": "hunter2", "sent": null})),
        put(&json!({"api_key": null, "sent": null, "port": "CANARY-port"})),
        put(&json!({"api_key": ["CANARY-list"]})),
        raw(r#"{"api_key": "CANARY-cut"#),
        raw(r#""CANARY-text""#),
        raw(r#"["CANARY-list"]"#),
        raw(r#"{"api_key": "CANARY-\ud800"}"#),
        raw(r#"{"api_key": "CANARY-one", "api_key": "CANARY-two"}"#),
        target.post(&format!("{path}/validate"), &json!({"api_key": "hunter2", "port": "CANARY-port"})),
        target.send(target.request(Method::POST, "/api/plugins/keeper/enable")),
    ];
    for shown in ["", "/config", "/health", "/logs", "/manifest", "/sandbox", "/sandbox/plan", "/permissions"] {
        answers.push(target.get(&format!("/api/plugins/keeper{shown}")));
    }
    answers.extend(["/api/plugins", "/api/system", "/health", "/api/openapi.json"].map(|path| target.get(path)));
    answers
}

fn secrets_in_traces(target: &mut Target) {
    let config = "security: { signatures: off }\nlogging: { level: debug }\n";
    *target = Target::start_with(config, &["--insecure-dev"]);
    let author = Author::new();
    let secret_key = author.0.to_file_text(None).unwrap().expose_secret().to_owned();
    let made = target.post("/api/tokens", &json!({"label": "ci", "scopes": ["admin"]})).expect(201);
    let token = made["token"].as_str().unwrap().to_owned();
    let with = |value: &str| target.send(target.client.get(target.url("/api/tokens")).header("Authorization", value));
    let mut answers = vec![with(&format!("Bearer {token}")), with("Bearer pbt_CANARY1"), with("Basic CANARY2")];
    answers.extend(bad_addresses(target));
    // A secret key pasted where the public one belongs.
    answers.push(target.post("/api/keys", &json!({"public_key": secret_key, "label": "a", "names": ["*"]})));
    answers.push(target.install(b"x", Some(&secret_key)));
    answers.push(target.get("/api/audit"));
    let secrets = [token.as_str(), &token[4..], "CANARY", "hunter2", secret_key.lines().nth(1).unwrap()];
    for answer in &answers {
        let found = secrets.iter().find(|secret| answer.text.contains(**secret));
        assert_eq!(found, None, "{}", answer.text);
    }
    // The token that was made, and every refused install.
    let refused = answers.iter().filter(|answer| answer.status == 422).count() as u64 - 1;
    target.unchanged("secrets sent", 1 + refused);
    let mut answers = secrets_of_plugins(target);
    answers.push(target.get("/api/audit?limit=1000"));
    for answer in &answers {
        let found = secrets.iter().find(|secret| answer.text.contains(**secret));
        assert_eq!(found, None, "{}", answer.text);
    }
    target.remember();
    let admin = target.token.clone();
    let log = target.stop_in_order();
    {
        for secret in secrets.iter().copied().chain([admin.as_str()]) {
            assert!(!log.contains(secret), "in the log");
            let files = ["plugbay.db", "plugbay.db-wal", "plugbay.db-shm", "master.key"];
            for file in files.iter().map(|file| target.data().join(file)).filter(|file| file.exists()) {
                let bytes = fs::read(&file).unwrap();
                let held = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!held, "in {}", file.display());
            }
        }
    }
    target.restart();
    target.unchanged("after a restart", 0);
}

/// Addresses with a password in them; each is refused before anything is fetched.
fn bad_addresses(target: &Target) -> Vec<Answer> {
    let addresses = [
        "https://me:hunter2@plugins.example/a.tar.gz",
        "https://hunter2@plugins.example/a.tar.gz",
        "https://me:hunter2@plugins.example:99999/a.tar.gz",
        "https://me:hunter2@[::x]/a.tar.gz",
        "https://me:hunter2@",
        "https:me:hunter2@plugins.example/",
        "ftp://me:hunter2@plugins.example/a.tar.gz",
        "me:hunter2@plugins.example/a.tar.gz",
        "//me:hunter2@plugins.example/a.tar.gz",
        "https://me:hunter2@pl ugins.example/a.tar.gz",
    ];
    let mut answers = Vec::new();
    for address in addresses {
        answers.push(target.post("/api/plugins/install", &json!({"url": address})));
        let signature = json!({"url": "https://plugins.example/a.tar.gz", "signature_url": address});
        answers.push(target.post("/api/plugins/install", &signature));
    }
    for answer in &answers {
        answer.expect_problem(422, "url-refused");
    }
    answers
}
