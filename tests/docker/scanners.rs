//! Programs of the operator's that look at packages: in sandboxes like those of plugins, with nothing but the package.

use plugbay::config::ExternalScanner;
use serde_json::{Value, json};

use super::served::Served;
use super::support::author::{manifest, pack};

/// Tells what it sees and what it can do, and ends as programs do that have found something.
const LOOKS: &str = r#"
import json, os, socket, sys

def outcome(work):
    try:
        work()
    except OSError:
        return "refused"
    return "done"

text = " ".join([
    ",".join(sorted(os.listdir("/plugin"))),
    "connect=" + outcome(lambda: socket.create_connection(("192.0.2.1", 80), 1)),
    "write=" + outcome(lambda: open("/plugin/new", "w")),
    "data=" + outcome(lambda: os.listdir("/data")),
])
place = {"physicalLocation": {"artifactLocation": {"uri": "/plugin/main.py"}, "region": {"startLine": 1}}}
result = {"ruleId": "LOOK", "level": "error", "message": {"text": text}, "locations": [place]}
print(json.dumps({"version": "2.1.0", "runs": [{"results": [result]}]}))
sys.exit(1)
"#;

fn scanner(name: &str, code: &str) -> ExternalScanner {
    let command = ["python3", "-c", code].map(str::to_owned).to_vec();
    ExternalScanner { name: name.to_owned(), command, image: None }
}

fn archive() -> Vec<u8> {
    pack(&[("plugin.yaml", manifest("demo", "1.0.0").as_bytes()), ("main.py", b"class Plugin: pass\n")])
}

async fn hits(served: &Served) -> (Value, Vec<(String, String, String)>) {
    let found = served.get("/api/plugins/demo/scan").await.expect(200);
    let text = |hit: &Value, field: &str| hit[field].as_str().unwrap().to_owned();
    let hits = found["findings"].as_array().unwrap().iter();
    let hits = hits.map(|hit| (text(hit, "rule"), text(hit, "path"), text(hit, "what"))).collect();
    (found["verdict"].clone(), hits)
}

#[tokio::test]
async fn what_it_finds_counts_and_it_gets_the_package_alone() {
    let look = |config: &mut plugbay::config::Config| {
        config.security.external_scanners = vec![scanner("look", LOOKS)];
    };
    let Some(served) = Served::start_with(look).await else { return };
    served.install(&archive()).await.expect(201);
    let (verdict, hits) = hits(&served).await;
    let seen = "main.py,plugin.yaml connect=refused write=refused data=refused".to_owned();
    assert_eq!((verdict, hits), (json!("suspicious"), vec![("look/LOOK".to_owned(), "main.py".to_owned(), seen)]));
    served.enable("demo").await.expect_problem(409, "permissions-pending");
    served.end().await;
}

/// A hostile package can make a scanner fail: then it has not been judged, and a person has to look.
#[tokio::test]
async fn one_that_fails_counts_against_the_package() {
    let broken = |config: &mut plugbay::config::Config| {
        config.security.external_scanners = vec![
            scanner("raises", "raise SystemExit('no\\nnews')"),
            scanner("prints", "print('[]')"),
            ExternalScanner { name: "missing".to_owned(), command: vec!["no-such-scanner".to_owned()], image: None },
        ];
    };
    let Some(served) = Served::start_with(broken).await else { return };
    served.install(&archive()).await.expect(201);
    let (verdict, mut hits) = hits(&served).await;
    hits.sort();
    let told: Vec<_> = hits.iter().map(|(rule, _, what)| (rule.as_str(), what.as_str())).collect();
    assert_eq!(verdict, "suspicious");
    assert_eq!(
        (told[0].0, told[1].0, told[2]),
        ("missing/failed", "prints/failed", ("raises/failed", "exit code 1: news"))
    );
    assert!(told[0].1.contains("cannot start `no-such-scanner`") && told[1].1.contains("no SARIF"), "{told:?}");
    served.end().await;
}
