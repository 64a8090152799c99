//! `plugbay validate`

use super::*;

#[test]
fn every_mistake_is_shown_with_its_place() {
    let base = plugin("name: demo\nverison: 1.0.0\nmain: main.py\npermissions: [network_acess]\n");
    let run = plugbay(base.path(), &["validate", "demo"]).failed(4, "error: plugin.yaml is not valid");
    assert!(
        run.stderr.contains("demo/plugin.yaml:2:1: error: unknown key `verison`; did you mean `version`?\n  2 | verison: 1.0.0\n    | ^\n"),
        "{}",
        run.stderr
    );
    let under = "  4 | permissions: [network_acess]\n    |               ^\n";
    assert!(run.stderr.contains("demo/plugin.yaml:4:15: error: ") && run.stderr.contains(under), "{}", run.stderr);
    let inside = plugbay(&base.path().join("demo"), &["validate", "."]);
    assert!(inside.stderr.contains("\nplugin.yaml:4:15: error: "), "{}", inside.stderr);
    let json = plugbay(base.path(), &["validate", "demo", "--json"]).json();
    assert_eq!(
        (&json["errors"][0]["file"], &json["errors"][0]["pointer"]),
        (&"plugin.yaml".into(), &"/version".into())
    );
    assert_eq!(json["code"], "manifest-invalid");
    assert_eq!(json["errors"].as_array().unwrap().len(), 3);
    assert_eq!(json["errors"][0]["line"], 1);
}

#[test]
fn the_documents_beside_the_manifest_are_checked_too() {
    let base = plugin("name: demo\nversion: 1.0.0\nmain: gone.py\nconfig_schema: { port: { type: integer } }\n");
    fs::write(base.path().join("demo/config.yaml"), "port: x\n").unwrap();
    let run = plugbay(base.path(), &["validate", "demo"]).failed(4, "`gone.py` cannot be packed: it is not there");
    assert!(run.stderr.contains("demo/config.yaml:1:7: error: "), "{}", run.stderr);
}

#[test]
fn warnings_stop_nothing() {
    let base = plugin("name: demo\nversion: 1.0.0\nmain: main.py\nlicense: MIT\n");
    fs::write(base.path().join("demo/Dockerfile"), "FROM scratch\n").unwrap();
    let run = plugbay(base.path(), &["validate", "demo"]).ok();
    assert_eq!(run.stdout, "demo 1.0.0 is valid\n");
    for warning in ["no `description`", "no `author`", "Dockerfile is kept and never built"] {
        assert!(run.stderr.contains(warning), "{}", run.stderr);
    }
    assert_eq!(plugbay(base.path(), &["validate", "demo", "--quiet"]).ok().stderr, "");
    let json = plugbay(base.path(), &["validate", "demo", "--json"]).ok();
    assert_eq!(json.json()["warnings"].as_array().unwrap().len(), 3);
    assert_eq!(json.stderr, "");
}

#[test]
fn archives_are_checked_by_the_rules_of_the_service() {
    let base = demo();
    plugbay(base.path(), &["pack", "demo", "-o", "a.tar.gz"]).ok();
    let json = plugbay(base.path(), &["validate", "a.tar.gz", "--json"]).ok().json();
    assert!(json["digest"].as_str().unwrap().starts_with("sha256:"));
    shell(base.path(), "ln -s /etc/passwd demo/link; tar -czf link.tar.gz demo").ok();
    plugbay(base.path(), &["validate", "link.tar.gz"]).failed(4, "An entry is neither a file nor a folder");
    fs::write(base.path().join("no.tar.gz"), "no archive").unwrap();
    plugbay(base.path(), &["validate", "no.tar.gz"]).failed(4, "error:");
    let with_dependencies = plugin("name: demo\nversion: 1.0.0\nmain: main.py\ndependencies: [requests]\n");
    shell(with_dependencies.path(), "tar -czf a.tar.gz demo").ok();
    plugbay(with_dependencies.path(), &["validate", "a.tar.gz"]).failed(4, "plugbay pack DIR");
}

#[test]
fn a_path_that_does_not_exist_is_a_usage_error() {
    let base = tempfile::tempdir().unwrap();
    plugbay(base.path(), &["validate", "nowhere"]).failed(2, "there is nothing at `nowhere`");
    plugbay(base.path(), &["validate", "."]).failed(4, "error: There is no plugin.yaml");
}

#[test]
fn a_missing_entry_point_is_told_with_the_other_mistakes() {
    let base = plugin("name: demo\nmain: gone.py\nversion: one\npermissions: [network_acess]\n");
    for command in ["validate", "pack"] {
        let run = plugbay(base.path(), &[command, "demo"]).failed(4, "error: plugin.yaml is not valid");
        let told = "demo/plugin.yaml:2:7: error: the entry point `gone.py` cannot be packed: it is not there";
        assert!(run.stderr.contains(told), "{}", run.stderr);
        assert!(run.stderr.contains("demo/plugin.yaml:3:10: error: "), "{}", run.stderr);
        assert!(run.stderr.contains("demo/plugin.yaml:4:15: error: "), "{}", run.stderr);
        assert!(!run.stderr.contains("fix:"), "what shows every mistake leads to no other place: {}", run.stderr);
    }
    let json = plugbay(base.path(), &["validate", "demo", "--json"]).json();
    assert_eq!(json["code"], "manifest-invalid");
    assert_eq!(json["errors"].as_array().unwrap().len(), 3);
    assert_eq!(json.get("how"), None);
    let alone = plugin("name: demo\nversion: 1.0.0\nmain: gone.py\n");
    let run = plugbay(alone.path(), &["validate", "demo"]).failed(4, "demo/plugin.yaml:3:7: error: ");
    assert!(run.stderr.contains("fix: set `main`"), "{}", run.stderr);
    fs::write(alone.path().join("demo/.pluginignore"), "main.*\n").unwrap();
    fs::write(alone.path().join("demo/plugin.yaml"), "name: demo\nversion: 1.0.0\nmain: main.py\n").unwrap();
    let run = plugbay(alone.path(), &["validate", "demo"]).failed(4, "a rule leaves it out");
    assert!(run.stderr.contains("fix: plugbay pack demo --list"), "{}", run.stderr);
}

#[test]
fn an_entry_point_that_is_yet_to_be_built_leads_to_pack() {
    let base = plugin("name: demo\nversion: 1.0.0\nmain: prog\nbuild: cp main.py prog\n");
    let run = plugbay(base.path(), &["validate", "demo"]).failed(4, "`prog` is made by `build`: run `plugbay pack`");
    assert!(run.stderr.contains("fix: plugbay pack demo"), "{}", run.stderr);
    plugbay(base.path(), &["pack", "demo"]).ok();
    plugbay(base.path(), &["validate", "demo"]).ok();
    let wrong = plugin("name: demo\nversion: one\nmain: prog\nbuild: cp main.py prog\n");
    for command in ["validate", "pack"] {
        let run = plugbay(wrong.path(), &[command, "demo"]).failed(4, "demo/plugin.yaml:2:10: error: ");
        assert!(!run.stderr.contains("prog"), "nothing was built that could be missed: {}", run.stderr);
    }
    let lazy = plugin("name: demo\nversion: 1.0.0\nmain: prog\nbuild: \"true\"\n");
    plugbay(lazy.path(), &["pack", "demo"]).failed(4, "`build` did not make it");
}

#[test]
fn an_entry_point_that_cannot_run_is_found_without_running_it() {
    let head = "name: demo\nversion: 1.0.0\nmain: main.py\n";
    let validate = |more: &str, main: &str| {
        let base = plugin(&format!("{head}{more}"));
        let ran = base.path().join("ran");
        fs::write(base.path().join("demo/maker.py"), "").unwrap();
        fs::write(base.path().join("demo/main.py"), main.replace("RAN", ran.to_str().unwrap())).unwrap();
        let run = plugbay(base.path(), &["validate", "demo"]);
        assert!(!ran.exists(), "the code was run");
        // What may be needed at once is packed all the same, with a word about it.
        let packed = plugbay(base.path(), &["pack", "demo"]).ok();
        assert!(run.code != 4 || packed.stderr.contains("main.py"), "{}{}", run.stderr, packed.stderr);
        run
    };
    let open = "open('RAN', 'w')\n";
    let run = validate("class: Plugin\n", &format!("{open}class P:\n    pass\n"));
    run.failed(4, "demo/plugin.yaml:4:8: error: `main.py` has no class `Plugin`; it has P");
    let run = validate("", &format!("{open}class P:\n    def execute(self context):\n        pass\n"));
    assert!(
        run.failed(4, "error: the plugin is not valid").stderr.contains("demo/main.py:3:22: error: not valid Python: ")
    );
    validate("", "a = '\0'\n").failed(4, "not valid Python");
    for (more, main) in
        [("runtime: stdio\n", "print(1)\n"), ("runtime: exec\n", "\n#!/bin/sh\n"), ("runtime: exec\n", "")]
    {
        validate(more, main).failed(4, "demo/plugin.yaml:3:7: error: `main.py` is no program of Linux");
    }
    validate("runtime: exec\n", "#!/bin/sh\r\necho 1\r\n").failed(4, "carriage return");
    validate("runtime: exec\n", "#!/bin/sh\necho 1\n").ok();
    // Where a class comes from elsewhere, only Python itself could tell.
    for main in [
        "from maker import Plugin\n",
        "from maker import *\n",
        "import maker\nPlugin = maker.make()\n",
        "globals()['Plugin'] = type('Plugin', (), {})\n",
        "try:\n    class Plugin: pass\nexcept Exception: pass\n",
        "def __getattr__(name): ...\n",
    ] {
        validate("class: Plugin\n", main).ok();
    }
    let deep = validate("class: Plugin\n", &format!("x = {}1\n", "-".repeat(500_000))).ok();
    assert!(deep.stderr.contains("demo/main.py: warning: nests an expression more than 3000 deep"), "{}", deep.stderr);
}

#[test]
fn mistakes_say_what_to_write_instead() {
    let told = |manifest: &str, part: &str| {
        let base = plugin(&format!("name: demo\nversion: 1.0.0\nmain: main.py\n{manifest}"));
        let run = plugbay(base.path(), &["validate", "demo"]).failed(4, "error: ");
        assert!(run.stderr.contains(part), "{manifest}: {}", run.stderr);
    };
    told("description: Does this: that\n", "stands in quotes");
    told("resources: { memory_mb: \"512\" }\n", "found the text \"512\"; remove the quotes");
    told("resources: { timeout: 30 }\n", "did you mean `timeout_seconds`?");
    let schema = "name: demo\nversion: 1.0.0\nmain: main.py\nconfig_schema: { greet: { type: string } }\n";
    let base = plugin(schema);
    for (config, part) in [
        ("greet: x\ngret: hi\n", "demo/config.yaml:2:1: error: unknown key `gret`; did you mean `greet`?"),
        ("colour: red\n", "unknown key `colour`; config_schema has greet"),
    ] {
        fs::write(base.path().join("demo/config.yaml"), config).unwrap();
        let run = plugbay(base.path(), &["validate", "demo"]).failed(4, "error: ");
        assert!(run.stderr.contains(part), "{}", run.stderr);
    }
    let open = "permissions: [network_access]\nnetwork: { allow: [\"*.com\", \"*.example.com\"] }\n";
    let base = plugin(&format!("name: demo\nversion: 1.0.0\nmain: main.py\n{open}"));
    let run = plugbay(base.path(), &["validate", "demo"]).ok();
    assert_eq!(run.stderr.matches("anybody can register").count(), 1, "{}", run.stderr);
    assert!(run.stderr.contains("`*.com"), "{}", run.stderr);
}
