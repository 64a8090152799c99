//! `plugbay validate`

use super::*;

#[test]
fn every_mistake_is_shown_with_its_place() {
    let base = plugin("name: demo\nverison: 1.0.0\nmain: main.py\npermissions: [network_acess]\n");
    let run = plugbay(base.path(), &["validate", "demo"]).failed(4, "error: plugin.yaml is not valid");
    assert!(
        run.stderr.contains("line 2, column 1: /verison: unknown key `verison`; did you mean `version`?"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("line 4, column 15: /permissions/0"), "{}", run.stderr);
    let json = plugbay(base.path(), &["validate", "demo", "--json"]).json();
    assert_eq!(json["code"], "manifest-invalid");
    assert_eq!(json["errors"].as_array().unwrap().len(), 3);
    assert_eq!(json["errors"][0]["line"], 1);
}

#[test]
fn the_documents_beside_the_manifest_are_checked_too() {
    let base = plugin("name: demo\nversion: 1.0.0\nmain: gone.py\nconfig_schema: { port: { type: integer } }\n");
    fs::write(base.path().join("demo/config.yaml"), "port: x\n").unwrap();
    let run = plugbay(base.path(), &["validate", "demo"]).failed(4, "`gone.py` cannot be packed: it is not there");
    assert!(run.stderr.contains("line 1, column 7: /port"), "{}", run.stderr);
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
        let told = "line 2, column 7: /main: the entry point `gone.py` cannot be packed: it is not there";
        assert!(run.stderr.contains(told), "{}", run.stderr);
        assert!(run.stderr.contains("line 3, column 10: /version"), "{}", run.stderr);
        assert!(run.stderr.contains("line 4, column 15: /permissions/0"), "{}", run.stderr);
        assert!(!run.stderr.contains("fix:"), "what shows every mistake leads to no other place: {}", run.stderr);
    }
    let json = plugbay(base.path(), &["validate", "demo", "--json"]).json();
    assert_eq!(json["code"], "manifest-invalid");
    assert_eq!(json["errors"].as_array().unwrap().len(), 3);
    assert_eq!(json.get("how"), None);
    let alone = plugin("name: demo\nversion: 1.0.0\nmain: gone.py\n");
    let run = plugbay(alone.path(), &["validate", "demo"]).failed(4, "line 3, column 7: /main");
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
        let run = plugbay(wrong.path(), &[command, "demo"]).failed(4, "/version");
        assert!(!run.stderr.contains("prog"), "nothing was built that could be missed: {}", run.stderr);
    }
    let lazy = plugin("name: demo\nversion: 1.0.0\nmain: prog\nbuild: \"true\"\n");
    plugbay(lazy.path(), &["pack", "demo"]).failed(4, "`build` did not make it");
}
