//! `plugbay init`

use super::*;

#[test]
fn a_new_plugin_has_the_name_of_its_folder_everywhere() {
    let base = tempfile::tempdir().unwrap();
    let run = plugbay(base.path(), &["init", "some/new_demo", "--json"]).ok();
    assert_eq!(run.json()["name"], "new-demo");
    let files: Vec<String> =
        run.json()["files"].as_array().unwrap().iter().map(|file| file.as_str().unwrap().into()).collect();
    assert!(files.contains(&"plugin.yaml".to_owned()) && files.contains(&".pluginignore".to_owned()), "{files:?}");
    for file in files {
        let text = fs::read_to_string(base.path().join("some/new_demo").join(&file)).unwrap();
        assert!(!text.contains("my-plugin"), "{file}");
    }
    plugbay(base.path(), &["validate", "some/new_demo"]).ok();
}

#[test]
fn dot_has_the_name_of_the_folder_it_stands_for() {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("here");
    fs::create_dir(&folder).unwrap();
    assert_eq!(plugbay(&folder, &["init", ".", "--json"]).ok().json()["name"], "here");
}

#[test]
fn nothing_is_ever_overwritten() {
    let base = tempfile::tempdir().unwrap();
    fs::create_dir(base.path().join("full")).unwrap();
    fs::write(base.path().join("full/mine.txt"), "mine").unwrap();
    plugbay(base.path(), &["init", "full"]).failed(4, "the folder is not empty");
    fs::write(base.path().join("file"), "mine").unwrap();
    plugbay(base.path(), &["init", "file"]).failed(4, "fix: choose a folder that does not exist yet");
    assert_eq!(fs::read_dir(base.path().join("full")).unwrap().count(), 1);
}

#[test]
fn bad_names_and_templates_are_refused_with_the_fix() {
    let base = tempfile::tempdir().unwrap();
    plugbay(base.path(), &["init", "Bad Name"]).failed(4, "fix: choose a folder name such as my-plugin");
    let id = format!("plugin-{}", "0".repeat(32));
    plugbay(base.path(), &["init", &id]).failed(4, "form of a plugin id");
    plugbay(base.path(), &["init", "demo", "--template", "cobol"]).failed(2, "plugbay init --list");
    assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    let json = plugbay(base.path(), &["init", "Bad Name", "--json"]);
    assert_eq!((json.code, json.json()["code"].as_str()), (4, Some("manifest-invalid")));
}

#[test]
fn templates_are_listed() {
    let base = tempfile::tempdir().unwrap();
    assert!(plugbay(base.path(), &["init", "--list"]).ok().stdout.contains("python"));
    let json = plugbay(base.path(), &["init", "--list", "--json"]).ok().json();
    assert_eq!(json["templates"][0]["name"], "python");
}

#[test]
fn editors_find_the_schema_and_it_does_not_travel() {
    let base = demo();
    let manifest = fs::read_to_string(base.path().join("demo/plugin.yaml")).unwrap();
    let named = manifest.lines().next().unwrap().strip_prefix("# yaml-language-server: $schema=").unwrap();
    let written = fs::read_to_string(base.path().join("demo").join(named)).unwrap();
    let shown = plugbay(base.path(), &["schema", "plugin"]).ok();
    assert_eq!(written, shown.stdout);
    assert_eq!(
        shown.json(),
        serde_json::from_str::<serde_json::Value>(include_str!("../../openapi/plugin.schema.json")).unwrap()
    );
    let config = plugbay(base.path(), &["schema", "config", "--json"]).ok().json();
    assert_eq!(
        config,
        serde_json::from_str::<serde_json::Value>(include_str!("../../openapi/config.schema.json")).unwrap()
    );
    assert_eq!(plugbay(base.path(), &["schema", "token"]).code, 2);
    plugbay(base.path(), &["pack", "demo", "-o", "a.tar.gz"]).ok();
    assert!(!shell(base.path(), "tar -tzf a.tar.gz").ok().stdout.contains(".plugbay"));
    let readme = fs::read_to_string(base.path().join("demo/README.md")).unwrap();
    assert!(readme.contains("plugbay test .") && !readme.contains("unittest discover"));
}
