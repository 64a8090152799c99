//! Calls of tools: arguments and results fit their schemas, and tokens for some tools reach no other method.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::served::Served;
use super::support::app::{Answer, send};
use super::support::author::{manifest, pack};

const CODE: &str = r#"
import asyncio
import plugbay

class Tooled(plugbay.Plugin):
    async def initialize(self):
        self.seen = 0

    async def execute(self, context):
        self.seen += 1
        return context.get("answer", {"text": context["text"]})

    @plugbay.method
    def count(self, context):
        return self.seen

    @plugbay.method
    def hidden(self, context):
        return "hidden"

    @plugbay.method
    async def ask(self, context):
        return await self.host.plugins.execute(context["name"], context["context"])

    @plugbay.method
    async def parts(self, context):
        for number in range(3):
            yield number
"#;

const TOOLS: &str = "class: Tooled\ntools:\n  - name: say\n    method: execute\n    \
                     input: { type: object, properties: { text: { type: string, maxLength: 5 }, answer: {} }, \
                     required: [text], additionalProperties: false }\n    \
                     output: { type: object, required: [text], properties: { text: { type: string } } }\n  \
                     - { name: count, annotations: { read_only: true } }\n  \
                     - { name: parts, output: { type: object } }\n";

fn package(name: &str, version: &str, extra: &str) -> Vec<u8> {
    let manifest = format!("{}{TOOLS}{extra}", manifest(name, version));
    pack(&[("plugin.yaml", manifest.as_bytes()), ("main.py", CODE.as_bytes())])
}

async fn with_tools() -> Option<Served> {
    let served = Served::start().await?;
    served.install(&package("tooled", "1.0.0", "")).await.expect(201);
    served.enable("tooled").await.expect(200);
    Some(served)
}

impl Served {
    async fn as_token(&self, limits: Value, body: &Value) -> Answer {
        let mut new = json!({"label": "tools", "scopes": ["read", "execute"]});
        new.as_object_mut().unwrap().extend(limits.as_object().unwrap().clone());
        let token = self.post("/api/tokens", &new).await.expect(201)["token"].as_str().unwrap().to_owned();
        send(self.bare(Method::POST, "/api/plugins/tooled/execute").bearer_auth(token).json(body)).await
    }

    async fn times_said(&self) -> Value {
        self.result("tooled", "count", json!({})).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arguments_that_do_not_fit_never_reach_the_plugin() {
    let Some(served) = with_tools().await else { return };
    for (context, told) in [
        (json!({}), vec!["/context/text"]),
        (json!({"text": 1, "more": 2}), vec!["/context/text", "/context/more"]),
        (json!({"text": "too long"}), vec!["/context/text"]),
        (json!([]), vec!["/context"]),
    ] {
        let problem = served.call("tooled", "execute", context.clone()).await;
        let problem = problem.expect_problem(422, "tool-arguments-invalid");
        let pointers = problem["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap());
        assert_eq!(pointers.collect::<Vec<_>>(), told, "{context}");
        assert!(problem["detail"].as_str().unwrap().contains("`tooled.say`"), "{problem}");
    }
    // Without a body there are no arguments either.
    served.execute("tooled", &json!({})).await.expect_problem(422, "tool-arguments-invalid");
    let streamed = served.request(Method::POST, "/api/plugins/tooled/execute").header("accept", "text/event-stream");
    send(streamed.json(&json!({"context": {}}))).await.expect_problem(422, "tool-arguments-invalid");
    assert_eq!(served.times_said().await, 0);
    assert_eq!(served.result("tooled", "execute", json!({"text": "a"})).await, json!({"text": "a"}));
    assert_eq!(served.times_said().await, 1);
    // Neither the plugin nor its breaker is to blame.
    assert_eq!(served.about("tooled", "metrics").await["failures"], 0);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_that_does_not_fit_is_the_plugins_fault() {
    let Some(served) = with_tools().await else { return };
    let context = json!({"text": "a", "answer": {"text": 1}});
    let problem = served.call("tooled", "execute", context.clone()).await.expect_problem(502, "plugin-protocol");
    assert!(problem["detail"].as_str().unwrap().contains("`output`"), "{problem}");
    assert!(problem["call_id"].is_string() && problem["errors"][0]["pointer"] == "/text", "{problem}");
    let events = served.stream("tooled", &json!({ "context": context })).await;
    assert_eq!((events.len(), &events[0].data["code"]), (1, &json!("plugin-protocol")));
    assert_eq!(served.call("tooled", "execute", json!({"text": "a", "answer": "x"})).await.status, 502);
    // A plugin that says that it failed has not broken its word.
    let failed = json!({"text": "a", "answer": {"success": false, "error": "no"}});
    let failed = served.call("tooled", "execute", failed).await.expect(200);
    assert_eq!((&failed["success"], &failed["error"]), (&json!(false), &json!("no")));
    let health = served.about("tooled", "health").await;
    assert!(health["failures"].as_array().unwrap().iter().any(|one| one["kind"] == "result-invalid"), "{health}");
    // Parts are no result.
    let parts = served.stream("tooled", &json!({"method": "parts"})).await;
    assert_eq!(
        parts.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(),
        ["chunk", "chunk", "chunk", "result"]
    );
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_for_tools_calls_these_and_nothing_else() {
    let Some(served) = with_tools().await else { return };
    let say = json!({"context": {"text": "a"}});
    let count = json!({"method": "count"});
    served.as_token(json!({"tools": ["tooled.say"]}), &say).await.expect(200);
    served.as_token(json!({"tools": ["tooled.*"]}), &count).await.expect(200);
    served.as_token(json!({"read_only": true}), &count).await.expect(200);
    let beyond = async |limits: Value, method: &str| {
        let body = json!({"method": method, "context": {"text": "a"}});
        let problem = served.as_token(limits, &body).await.expect_problem(422, "method-not-offered");
        problem["detail"].as_str().unwrap().replace(method, "…")
    };
    // A method that is no tool, one of another tool, and one that is not there are the same to it.
    let told = beyond(json!({"tools": ["tooled.count"]}), "hidden").await;
    assert_eq!(told, "`tooled` offers this token count, not `…`");
    for method in ["execute", "ask", "nothing", "Count"] {
        assert_eq!(beyond(json!({"tools": ["tooled.count"]}), method).await, told);
    }
    for method in ["initialize", "on_message", "_x", "health"] {
        let problem = served.as_token(json!({"tools": ["*"]}), &json!({ "method": method })).await;
        problem.expect_problem(422, "method-not-offered");
    }
    assert_eq!(beyond(json!({"read_only": true}), "execute").await, told);
    assert_eq!(
        beyond(json!({"tools": ["tooled.s*"], "read_only": true}), "execute").await,
        "`tooled` offers this token nothing, not `…`"
    );
    // The arguments are not looked at before: they would tell whether there is such a tool.
    assert_eq!(beyond(json!({"tools": ["tooled.count"]}), "parts").await, told);
    served.as_token(json!({"tools": ["other.*"]}), &say).await.expect_problem(404, "plugin-unknown");
    // By the id it is the same plugin.
    let id = served.plugin("tooled").await["id"].as_str().unwrap().to_owned();
    let new = json!({"label": "x", "scopes": ["execute"], "tools": ["tooled.count"]});
    let token = served.post("/api/tokens", &new).await.expect(201)["token"].as_str().unwrap().to_owned();
    let by_id = served.bare(Method::POST, &format!("/api/plugins/{id}/execute")).bearer_auth(&token);
    send(by_id.json(&json!({"method": "hidden"}))).await.expect_problem(422, "method-not-offered");
    // Neither is there a way by a stream, or by other spellings of the name.
    for (path, accept) in [("tooled", "text/event-stream"), ("TOOLED", "*/*"), ("%74ooled", "*/*"), ("tooled/", "*/*")]
    {
        let request = served.bare(Method::POST, &format!("/api/plugins/{path}/execute")).bearer_auth(&token);
        let answer = send(request.header("accept", accept).json(&json!({"method": "hidden"}))).await;
        assert!(answer.status.is_client_error() && !answer.text.contains("\"hidden\""), "{path}: {}", answer.text);
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_that_call_tools_of_others_send_what_fits() {
    let Some(served) = with_tools().await else { return };
    served.install(&package("caller", "1.0.0", "requires: { tooled: '*' }\n")).await.expect(201);
    let grant = json!({"grant": ["plugins"]});
    served.post("/api/plugins/caller/permissions/approve", &grant).await.expect(200);
    served.enable("caller").await.expect(200);
    let asked = async |context: Value| {
        served.call("caller", "ask", json!({"name": "tooled", "context": context})).await.expect(200)
    };
    assert_eq!(asked(json!({"text": "a"})).await["success"], true);
    let refused = asked(json!({"text": 1})).await;
    assert_eq!(refused["success"], false);
    assert!(refused["error"].as_str().unwrap().contains("/context/text"), "{refused}");
    assert_eq!(served.times_said().await, 1);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_long_to_check_holds_up_nobody() {
    let Some(served) = Served::start().await else { return };
    // Each pair of items is compared: the work grows with the square.
    let costly = "class: Tooled\ntools:\n  - { name: say, method: execute, input: { type: object, properties: \
                  { list: { type: array, contains: { enum: [1, [2, 3], [[4]]] }, minContains: 100000 } } } }\n";
    let hostile = format!("{}{costly}", manifest("hostile", "1.0.0"));
    let archive = pack(&[("plugin.yaml", hostile.as_bytes()), ("main.py", CODE.as_bytes())]);
    served.install(&archive).await.expect(201);
    served.enable("hostile").await.expect(200);
    served.install(&package("tooled", "1.0.0", "")).await.expect(201);
    served.enable("tooled").await.expect(200);
    let list: Vec<Value> = (0..40_000).map(|number| json!([number, [[number]]])).collect();
    let body = json!({"context": {"list": list}});
    let hostile_calls = (0..8).map(|_| served.execute("hostile", &body));
    let neighbour = async {
        for _ in 0..20 {
            let called = served.call("tooled", "count", json!({}));
            tokio::time::timeout(Duration::from_secs(5), called).await.expect("another plugin answers").expect(200);
        }
    };
    let (answers, ()) = futures_util::future::join(futures_util::future::join_all(hostile_calls), neighbour).await;
    for answer in answers {
        let problem = answer.expect_problem(422, "tool-arguments-invalid");
        assert_eq!(problem["errors"].as_array().unwrap().len(), 1, "{problem}");
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_whose_method_is_not_there_is_told_at_the_start() {
    let Some(served) = Served::start().await else { return };
    let manifest = format!("{}class: Tooled\ntools: [{{ name: gone }}]\n", manifest("tooled", "1.0.0"));
    let archive = pack(&[("plugin.yaml", manifest.as_bytes()), ("main.py", CODE.as_bytes())]);
    served.install(&archive).await.expect(201);
    let problem = served.enable("tooled").await.expect_problem(502, "plugin-start-failed");
    assert!(problem["detail"].as_str().unwrap().contains("`gone`"), "{problem}");
    served.end().await;
}
