//! A server on the loopback of this machine, reached by its documented name: the recipe of docs/operators.md as it stands
//! there, against a server that answers as Ollama does.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;

use plugbay::config::{Config, Overrides};
use serde_json::{Value, json};

use super::kind::engine_is_there;
use super::served::{Served, setup, short_folder};
use super::support::author::pack;

/// The other ways out that a plugin has: without the proxy, without knowing of one, and by the service.
pub(crate) const OTHER_WAYS: &str = r#"

    @plugbay.method
    def direct(self, context):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(context["url"], timeout=20) as answer:
            return json.load(answer)

    @plugbay.method
    def client(self, context):
        import http.client
        connection = http.client.HTTPConnection(context["host"], context["port"], timeout=20)
        connection.request("GET", "/api/tags")
        return json.loads(connection.getresponse().read())

    @plugbay.method
    async def service(self, context):
        return json.loads((await self.host.http.fetch(context["url"])).text)
"#;

/// The blocks of the recipe by their language and order.
pub(crate) fn recipe(language: &str) -> Vec<String> {
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operators.md")).unwrap();
    let (_, recipe) = document.split_once("\n### A server on this machine\n").expect("the recipe");
    let recipe = recipe.split("\n#").next().unwrap();
    let fence = format!("```{language}\n");
    let blocks = recipe.split(&fence).skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// Answers `GET /api/tags` as Ollama does: also in that it refuses names that are not of the machine.
pub(crate) fn ollama() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                match stream.read(&mut byte) {
                    Ok(1) => head.push(byte[0]),
                    _ => break,
                }
            }
            let head = String::from_utf8_lossy(&head).to_lowercase();
            let host = head.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
            let is_local =
                host.split(':').next().is_some_and(|name| name == "localhost" || name.ends_with(".internal"));
            let (status, body) = match head.starts_with("get /api/tags ") {
                _ if !is_local => ("403 Forbidden", Value::Null),
                true => ("200 OK", json!({"models": [{"name": "llama3.2:latest", "size": 2_019_393_189_u64}]})),
                false => ("404 Not Found", json!({"error": "not found"})),
            };
            let body = body.to_string();
            let length = body.len();
            // A client that breaks off is its own affair.
            let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}");
            stream.write_all(format!("{head}\r\nConnection: close\r\n\r\n{body}").as_bytes()).ok();
        }
    });
    port
}

/// A service with the recipe's configuration, or without, and its plugin.
async fn served(port: u16, is_listed: bool) -> Served {
    let at_port = |text: &str| text.replace("11434", &port.to_string());
    let [configuration, manifest] = recipe("yaml").try_into().expect("two blocks of YAML");
    let [main] = recipe("python").try_into().expect("one block of Python");
    let (run_dir, folder) = (short_folder(), tempfile::tempdir().unwrap());
    let file = folder.path().join("plugbay.yaml");
    fs::write(&file, at_port(&configuration)).unwrap();
    let egress = Config::load(Overrides { config: Some(file), ..Overrides::default() }).unwrap().egress;
    let setup = setup(&run_dir).with(|config| {
        if is_listed {
            config.egress = egress;
        }
    });
    let served = Served::of(setup.start().await, run_dir);
    let main = at_port(&main) + OTHER_WAYS;
    let manifest = format!("{}class: Models\n", at_port(&manifest));
    let archive = pack(&[("plugin.yaml", manifest.as_bytes()), ("main.py", main.as_bytes())]);
    served.install(&archive).await.expect(201);
    let grant = json!({"grant": ["network_access"]});
    served.post("/api/plugins/models/permissions/approve", &grant).await.expect(200);
    served.enable("models").await.expect(200);
    served
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_recipe_for_a_server_on_this_machine_works_by_every_way_out() {
    if !engine_is_there() {
        return;
    }
    let port = ollama();
    let served = served(port, true).await;
    assert_eq!(served.result("models", "execute", json!({})).await, json!(["llama3.2:latest"]));
    let url = format!("http://host.plugbay.internal:{port}/api/tags");
    for (way, arguments) in [
        ("direct", json!({"url": url})),
        ("client", json!({"host": "host.plugbay.internal", "port": port})),
        ("service", json!({"url": url})),
    ] {
        let found = served.result("models", way, arguments).await;
        assert_eq!(found["models"][0]["name"], "llama3.2:latest", "{way}: {found}");
    }
    // Another port of the machine is not granted, and `localhost` is the sandbox.
    for url in [format!("http://host.plugbay.internal:{}/", port ^ 1), format!("http://localhost:{port}/api/tags")] {
        let answer = served.call("models", "direct", json!({ "url": url })).await;
        assert!(answer.json()["success"] != true, "{url}: {}", answer.text);
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_machine_is_out_of_reach_where_the_operator_does_not_list_it() {
    if !engine_is_there() {
        return;
    }
    let port = ollama();
    let served = served(port, false).await;
    for (way, arguments) in
        [("execute", json!({})), ("service", json!({"url": format!("http://host.plugbay.internal:{port}/api/tags")}))]
    {
        let answer = served.call("models", way, arguments).await;
        assert!(answer.json()["success"] != true, "{way}: {}", answer.text);
    }
    let log = served.get("/api/plugins/models/logs").await.text;
    assert!(log.contains(&format!("name `host.plugbay.internal:{port}` under egress.allow_private")), "{log}");
    served.end().await;
}

/// Listed, granted, and refused all the same: what listens there rules every other plugin.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_itself_is_out_of_reach_though_it_is_listed_and_granted() {
    if !engine_is_there() {
        return;
    }
    // A port that is free now: the configuration has to name it before the service listens.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let run_dir = short_folder();
    let setup = setup(&run_dir).with(|config| {
        config.server.listen.set_port(port);
        config.egress.allow_private = vec![format!("host.plugbay.internal:{port}").parse().unwrap()];
    });
    let served = Served::of(setup.start().await, run_dir);
    let [main] = recipe("python").try_into().expect("one block of Python");
    let [_, manifest] = recipe("yaml").try_into().expect("two blocks of YAML");
    let manifest = format!("{}class: Models\n", manifest.replace("11434", &port.to_string()));
    let main = main + OTHER_WAYS;
    let archive = pack(&[("plugin.yaml", manifest.as_bytes()), ("main.py", main.as_bytes())]);
    served.install(&archive).await.expect(201);
    let grant = json!({"grant": ["network_access"]});
    served.post("/api/plugins/models/permissions/approve", &grant).await.expect(200);
    served.enable("models").await.expect(200);
    let url = format!("http://host.plugbay.internal:{port}/healthz");
    for (way, arguments) in [
        ("direct", json!({"url": url})),
        ("client", json!({"host": "host.plugbay.internal", "port": port})),
        ("service", json!({"url": url})),
    ] {
        let answer = served.call("models", way, arguments).await;
        assert!(answer.json()["success"] != true, "{way}: {}", answer.text);
    }
    served.until_logged("models", "where plugbay itself listens").await;
    served.end().await;
}
