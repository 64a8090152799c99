//! Secrets in what a plugin says: long ones, ones at a cut, and what plugins raise that is hard to tell.

use std::fs;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::client::fixture;
use super::served::Served;
use super::support::app::send;
use super::support::author::pack_folder;

const NAME: &str = "configured";

/// Says its secret in ways that are easily cut.
const MORE: &str = r#"
    @method
    def chain(self, context):
        for line in self.config["api_key"].splitlines():
            print("line:", line)
        print(json.dumps(self.config["api_key"])[:8000])

    @method
    def long_line(self, context):
        print("x" * (8192 - context["known"]) + self.config["api_key"])

    @method
    def odd(self, context):
        class Meta(type):
            @property
            def __name__(cls):
                raise KeyboardInterrupt

        class Mute(Exception):
            def __str__(self):
                raise SystemExit(3)

        class Low(BaseException):
            pass

        kinds = {
            "control": type("Odd\x1b[2J\x07\nname", (Exception,), {}),
            "meta": Meta("Odd", (Exception,), {}),
            "mute": Mute,
            "low": Low,
            "exit": SystemExit,
            "generator": GeneratorExit,
        }
        raise kinds[context["kind"]]("out of luck")

    @method
    async def odd_async(self, context):
        self.odd(context)
"#;

/// The plugin with more methods, and whatever takes the place of its start.
fn archive(start: &str) -> Vec<u8> {
    let main = fs::read_to_string(fixture(NAME).join("main.py")).unwrap();
    let main = main.replace("raise ValueError(\"cannot start with \" + config[\"api_key\"])", start) + MORE;
    let manifest = fs::read_to_string(fixture(NAME).join("plugin.yaml")).unwrap();
    pack_folder(
        &fixture(NAME),
        &[("main.py", &main), ("plugin.yaml", &manifest.replace("timeout_seconds: 20", "timeout_seconds: 5"))],
    )
}

async fn configure(served: &Served, body: &Value) {
    let request = served.request(Method::PUT, &format!("/api/plugins/{NAME}/config"));
    send(request.header("If-Match", "*").json(body)).await.expect(200);
}

async fn texts(served: &Served) -> Vec<String> {
    served.log(NAME).await.iter().map(|line| line["text"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_secrets_and_cut_lines_are_masked() {
    let Some(served) = Served::start().await else { return };
    served.install(&archive("pass")).await.expect(201);
    let lines: Vec<String> = (0..300).map(|number| format!("CANARY{number:04}-of-a-chain")).collect();
    configure(&served, &json!({"api_key": lines.join("\n")})).await;
    served.enable(NAME).await.expect(200);
    served.result(NAME, "chain", json!({})).await;
    served.result(NAME, "execute", json!({})).await;
    served.until_logged(NAME, "line: [redacted]").await;
    let shown = |texts: Vec<String>| texts.into_iter().filter(|text| text.contains("CANARY")).collect::<Vec<_>>();
    assert_eq!(shown(texts(&served).await).len(), 0, "lines of the 300-line secret in the log");

    let secret = format!("CANARY-{}", "0123456789abcdef".repeat(4));
    configure(&served, &json!({"api_key": secret})).await;
    for known in [1, 7, 20, 40, 70] {
        served.result(NAME, "long_line", json!({"known": known})).await;
    }
    served.until(NAME, |plugin| plugin["state"] == "active").await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while texts(&served).await.iter().filter(|text| text.starts_with("xxxx")).count() < 5 {
        assert!(Instant::now() < deadline, "the long lines are not in the log");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for text in texts(&served).await.iter().filter(|text| text.starts_with("xxxx")) {
        let rest = text.trim_start_matches('x').replace("[redacted]", "");
        assert!(rest == "…" || rest.is_empty(), "a piece of the secret stands in the log: {rest}");
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_error_is_masked_before_it_is_cut() {
    let Some(served) = Served::start().await else { return };
    let start = "raise ValueError(\"y\" * context_length(config) + config[\"api_key\"])";
    let helper = "\n\ndef context_length(config):\n    return 1000 - len(\"ValueError: \") - 18\n";
    let main = fs::read_to_string(fixture(NAME).join("main.py")).unwrap();
    let main = main.replace("raise ValueError(\"cannot start with \" + config[\"api_key\"])", start) + helper;
    served.install(&pack_folder(&fixture(NAME), &[("main.py", &main)])).await.expect(201);
    let secret = format!("CANARY-{}", "0123456789abcdef".repeat(4));
    configure(&served, &json!({"api_key": secret, "word": "fail at start"})).await;
    let problem = served.enable(NAME).await.expect_problem(502, "plugin-start-failed");
    assert!(problem.to_string().contains("yyyy"), "{problem}");
    assert!(!problem.to_string().contains("CANARY"), "a piece of the secret is told: {problem}");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_exception_is_an_answer_and_holds_up_no_end() {
    let Some(mut served) = Served::start().await else { return };
    served.install(&archive("pass")).await.expect(201);
    configure(&served, &json!({"api_key": "CANARY-of-odd-exceptions"})).await;
    served.enable(NAME).await.expect(200);
    for method in ["odd", "odd_async"] {
        for kind in ["control", "meta", "mute", "low", "exit", "generator"] {
            // So that failures do not stand in a row.
            served.result(NAME, "execute", json!({})).await;
            let began = Instant::now();
            let answer = served.call(NAME, method, json!({"kind": kind})).await;
            assert_eq!(answer.status, 200, "{method} {kind}: {}", answer.text);
            assert_eq!(answer.json()["success"], false, "{method} {kind}: {}", answer.text);
            assert!(began.elapsed() < Duration::from_secs(3), "{method} {kind}: {:?}", began.elapsed());
            let shown = answer.json()["error_kind"].to_string();
            assert!(!shown.contains("\\u00") && !shown.contains("\\n"), "{method} {kind}: {shown}");
        }
    }
    let began = Instant::now();
    served.stop_service().await;
    assert!(began.elapsed() < Duration::from_secs(8), "stopping took {:?}", began.elapsed());
}
