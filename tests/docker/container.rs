//! Plugins of every runtime start, prove themselves and answer.

use plugbay::domain::Isolation;
use plugbay::sandbox::{DataMount, DataQuota, EntryPoint, FolderAccess, FolderMount};
use serde_json::json;

use super::bench::Bench;
use super::kind::kind;

#[tokio::test]
async fn a_python_plugin_starts_and_answers() {
    let main = "import getpass\nclass Greeter:\n    def __init__(self, config):\n        self.name = config['name']\n\
                \n    async def execute(self, context):\n        return [self.name, getpass.getuser()]\n";
    let arguments = ["--main", "main.py", "--class", "Greeter"].map(str::to_owned).to_vec();
    let Some(bench) = Bench::new(EntryPoint::Python { arguments }, &[("main.py", main)]) else { return };
    let mut started = bench.start().await;
    assert_eq!(started.hello["params"]["nonce"], "nonce-of-the-test");
    let (engine, spec) = (&started.bench.engine, &started.bench.spec);
    engine.check_report(spec, started.report()).unwrap();
    assert_eq!(engine.isolation(), Some(kind()));
    let image = &started.sandbox.image;
    assert!(if kind() == Isolation::Docker { image.starts_with("sha256:") } else { image == "/" }, "{image}");
    let params = json!({ "protocol": 1, "config": { "name": "Ada" }, "plugin": { "id": "x", "name": "test-plugin" } });
    let answer = started.request("initialize", params).await;
    assert!(answer["error"].is_null(), "{answer}");
    assert_eq!(started.call().await, json!(["Ada", "plugin"]));
    let answer = started.request("shutdown", json!({})).await;
    assert!(answer["error"].is_null(), "{answer}");
    let exit = started.bench.engine.wait(&started.sandbox.id).await.unwrap();
    assert_eq!((exit.exit_code, exit.out_of_memory), (0, false));
}

#[tokio::test]
async fn a_program_that_speaks_the_protocol_starts() {
    let program = "#!/usr/bin/python3\nimport json, sys\nfor line in sys.stdin:\n    request = json.loads(line)\n    \
                   print(json.dumps({'jsonrpc': '2.0', 'id': request['id'], 'result': 'heard'}), flush=True)\n";
    let entry_point = EntryPoint::Stdio { program: "serve".to_owned() };
    let Some(bench) = Bench::new(entry_point, &[("serve", program)]) else { return };
    let mut started = bench.start().await;
    started.bench.engine.check_report(&started.bench.spec, started.report()).unwrap();
    assert_eq!(started.request("health", json!({})).await["result"], "heard");
}

#[tokio::test]
async fn a_shell_script_answers_calls() {
    let Some(bench) = Bench::exec("#!/bin/sh\nprintf '\"%s %s\"' \"$PLUGIN_DIR\" \"$PLUGBAY_METHOD\"\n") else {
        return;
    };
    let mut started = bench.start().await;
    started.bench.engine.check_report(&started.bench.spec, started.report()).unwrap();
    assert_eq!(started.call().await, "/plugin execute");
}

#[tokio::test]
async fn what_was_opened_is_open_and_no_more() {
    let program = "#!/bin/sh\ncat /mnt/inbox/letter\nfor file in /mnt/inbox/new /mnt/outbox/new /data/new; do\n\
                   if (echo kept > $file) 2>/dev/null; then echo -n ' yes'; else echo -n ' no'; fi\ndone\n";
    let program = program.replace("cat /mnt", "printf '\"'; cat /mnt") + "printf '\"'\n";
    let Some(mut bench) = Bench::exec(&program) else { return };
    for (name, access) in [("inbox", FolderAccess::ReadOnly), ("outbox", FolderAccess::ReadWrite)] {
        let source = bench.writable_folder(name);
        bench.spec = bench.spec.clone().with_folder(FolderMount { name: name.to_owned(), source, access });
    }
    std::fs::write(bench.folder.path().join("inbox/letter"), "read").unwrap();
    let data = bench.writable_folder("data");
    bench.spec = bench.spec.clone().with_data(DataMount { source: data.clone(), quota: DataQuota::Soft });
    let mut started = bench.start().await;
    started.bench.engine.check_report(&started.bench.spec, started.report()).unwrap();
    assert_eq!(started.call().await, "read no yes yes");
    assert_eq!(std::fs::read_to_string(data.join("new")).unwrap(), "kept\n");
}
