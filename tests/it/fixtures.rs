//! Archives as honest tools write them, committed as they were made: each installs and becomes what was packed, or is
//! refused by a rule whose setting to change is documented.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::support::app::TestApp;

/// One archive and what must come of it.
#[derive(Debug, Deserialize)]
struct Expected {
    file: String,
    tool: String,
    expect: String,
    /// What to change in the tool.
    setting: Option<String>,
    /// Files of the source that this archive does not hold.
    #[serde(default)]
    missing: Vec<String>,
    /// Files that the tool adds.
    #[serde(default)]
    extra: Vec<String>,
    /// Whether the tool stores which files are programs.
    #[serde(default = "yes")]
    modes: bool,
}

fn yes() -> bool {
    true
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/archives")
}

/// Hash and executability of every file, by its path.
fn tree(root: &Path) -> BTreeMap<String, (Vec<u8>, bool)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let executable = fs::metadata(&path).unwrap().permissions().mode() & 0o100 != 0;
                let hash = Sha256::digest(fs::read(&path).unwrap()).to_vec();
                found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), (hash, executable));
            }
        }
    }
    found
}

#[tokio::test]
async fn every_tools_archive_installs_or_names_the_setting_to_change() {
    let expected: Vec<Expected> =
        serde_json::from_str(&fs::read_to_string(folder().join("expected.json")).unwrap()).unwrap();
    assert!(expected.len() >= 40, "{} archives", expected.len());
    let source = tree(&folder().join("source/honest-plugin"));
    let app = TestApp::setup().unsigned().start().await;
    for wanted in &expected {
        let archive = fs::read(folder().join(&wanted.file)).unwrap();
        let answer = app.install(&archive, None).await;
        if wanted.expect != "accept" {
            answer.expect_problem(422, &wanted.expect);
            assert!(wanted.setting.as_ref().is_some_and(|setting| !setting.is_empty()), "{}", wanted.file);
            continue;
        }
        assert_eq!(answer.status.as_u16(), 201, "{} by {}: {}", wanted.file, wanted.tool, answer.text);
        let digest = answer.json()["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
        let mut found = tree(&app.data().join("packages").join(digest));
        for extra in &wanted.extra {
            assert!(found.remove(extra).is_some(), "{}: {extra} is not there", wanted.file);
        }
        let mut packed = source.clone();
        packed.retain(|path, _| !wanted.missing.contains(path));
        if !wanted.modes {
            for (_, executable) in packed.values_mut() {
                *executable = false;
            }
        }
        assert_eq!(found, packed, "{}", wanted.file);
        app.delete("/api/plugins/honest-plugin").await.expect(204);
    }
}

#[test]
fn every_committed_archive_is_expected() {
    let text = fs::read_to_string(folder().join("expected.json")).unwrap();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.extension().is_some_and(|ending| ending == "gz" || ending == "zip") {
            assert!(text.contains(&format!("\"{name}\"")), "{name} is not in expected.json");
        }
    }
}
