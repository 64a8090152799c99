//! `cargo xtask` on a copy of the tree: what it makes compiles, and its test fails until everything is written.
#![expect(clippy::unwrap_used, reason = "a failed step should stop the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;

/// What is made, each beside something that is there and as the first of its kind.
const MADE: [[&str; 2]; 5] = [
    ["new-host-function", "weather.forecast"],
    ["new-host-function", "kv.count_all"],
    ["new-route", "weather.report"],
    ["new-setting", "storage.cache_mb"],
    ["new-setting", "sandbox.idle_seconds"],
];

#[expect(clippy::disallowed_methods, reason = "starts the program under test, and what builds the copy")]
fn command(program: &str) -> Command {
    Command::new(program)
}

fn tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// What git knows or would add, by path.
fn files() -> BTreeSet<String> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = command("git").args(arguments).current_dir(tree()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let names = String::from_utf8(output.stdout).unwrap();
    names.split('\0').filter(|name| tree().join(name).is_file()).map(str::to_owned).collect()
}

/// A copy in a folder that vanishes.
fn copy() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in files() {
        let to = folder.path().join(&name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(tree().join(name), to).unwrap();
    }
    folder
}

fn xtask(root: &Path, words: &[&str]) -> Output {
    command(env!("CARGO_BIN_EXE_xtask")).arg("--root").arg(root).args(words).output().unwrap()
}

/// Every file below a folder, by its path.
fn all_below(folder: &Path) -> BTreeSet<PathBuf> {
    let (mut found, mut folders) = (BTreeSet::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().to_owned());
            }
        }
    }
    found
}

/// Makes one folder like another. What is the same already keeps its time, so that it is not compiled again.
fn mirror(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let wanted = all_below(from);
    for gone in all_below(to).difference(&wanted) {
        fs::remove_file(to.join(gone)).unwrap();
    }
    for name in wanted {
        let (from, to) = (from.join(&name), to.join(&name));
        let bytes = fs::read(from).unwrap();
        if fs::read(&to).ok().as_ref() != Some(&bytes) {
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(to, bytes).unwrap();
        }
    }
}

/// Gives the packages of a copy another version. Cargo tells packages in one target directory apart by name, version and
/// their path in the workspace, so with the same one those of the copy would take the place of the real ones.
fn set_apart(root: &Path) {
    let manifest = root.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    let (before, after) = text.split_once("[workspace.package]\nversion = \"").unwrap();
    let (version, after) = after.split_once('"').unwrap();
    let other = format!("{version}-copy");
    fs::write(manifest, format!("{before}[workspace.package]\nversion = \"{other}\"{after}")).unwrap();

    let lock = root.join("Cargo.lock");
    let text = fs::read_to_string(&lock).unwrap();
    let packages = text.split("\n\n").map(|package| {
        // A package without a source lies in the tree.
        let is_ours = package.contains("\nversion = ") && !package.contains("\nsource = ");
        let from = format!("\nversion = \"{version}\"");
        if is_ours { package.replace(&from, &format!("\nversion = \"{other}\"")) } else { package.to_owned() }
    });
    let packages: Vec<_> = packages.collect();
    fs::write(lock, packages.join("\n\n")).unwrap();
}

/// Runs the tests that were made, in a copy that is built where everything else is.
fn run_made_tests(root: &Path) -> (bool, String) {
    let mut cargo = command(env!("CARGO"));
    cargo.args(["test", "--offline", "--locked", "--no-fail-fast", "--lib"]);
    cargo.args(["-p", "plugbay-api", "-p", "plugbay-config", "-p", "plugbay-session"]);
    cargo.args(["--", "is_written", "every_function_has_a_shape"]);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let output = cargo
        .current_dir(root)
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// A file as it was.
struct Before {
    path: PathBuf,
    bytes: Vec<u8>,
    modified: SystemTime,
}

impl Before {
    /// With its time, so that nothing is compiled again.
    fn restore(self) {
        fs::write(&self.path, self.bytes).unwrap();
        fs::File::options().write(true).open(self.path).unwrap().set_modified(self.modified).unwrap();
    }
}

/// Replaces the marks in every file that has one. Gives the files as they were.
fn write_everything(root: &Path) -> Vec<Before> {
    let mut changed = Vec::new();
    for name in all_below(root) {
        let path = root.join(name);
        let bytes = fs::read(&path).unwrap();
        let Ok(text) = std::str::from_utf8(&bytes) else { continue };
        let mut written = text.to_owned();
        for [_, name] in MADE {
            written = written.replace(&format!("UNWRITTEN {name}"), "written");
        }
        if written != text {
            let modified = path.metadata().unwrap().modified().unwrap();
            fs::write(&path, written).unwrap();
            changed.push(Before { path, bytes, modified });
        }
    }
    changed
}

#[test]
fn what_is_made_compiles_and_its_tests_fail_until_it_is_written() {
    let staged = copy();
    for words in MADE {
        let output = xtask(staged.path(), &words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    set_apart(staged.path());
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("xtask");
    mirror(staged.path(), &root);

    let (is_good, text) = run_made_tests(&root);
    assert!(!is_good, "{text}");
    for [_, name] in MADE {
        let test = format!("{}_is_written", name.replace('.', "_"));
        assert!(text.lines().any(|line| line.contains(&test) && line.ends_with("FAILED")), "{test}: {text}");
    }
    assert!(text.lines().any(|line| line.contains("every_function_has_a_shape ... ok")), "{text}");
    let told = |place: &str, name: &str| {
        let wanted = format!("UNWRITTEN {name}");
        assert!(text.lines().any(|line| line.starts_with(place) && line.contains(&wanted)), "{place}: {text}");
    };
    for place in
        ["crates/domain/src/host_function.rs", "docs/protocol.md", "sdk/python/plugbay/host.py", "CHANGELOG.md"]
    {
        told(place, "weather.forecast");
        told(place, "kv.count_all");
    }
    told("crates/session/src/host/kv_count_all.rs", "kv.count_all");
    for place in ["crates/api/src", "crates/wire/src", "crates/operations/src", "tests/it"] {
        told(&format!("{place}/weather_report.rs"), "weather.report");
    }
    told("crates/config/src/sections/storage.rs", "storage.cache_mb");
    told("crates/config/src/sections/sandbox.rs", "sandbox.idle_seconds");

    let code = "from plugbay.host import Host; host = Host(None); host.weather.forecast(); host.kv.count_all()";
    let python = command("python3").args(["-B", "-c", code]).current_dir(root.join("sdk/python")).output().unwrap();
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));

    // What was compiled reads the files when it runs: nothing needs to be compiled again.
    let binaries: Vec<String> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Running unittests ")?.split_once('(')?.1.strip_suffix(')'))
        .map(str::to_owned)
        .collect();
    assert_eq!(binaries.len(), 3, "{text}");
    let changed = write_everything(&root);
    for binary in &binaries {
        let output = command(binary).arg("is_written").current_dir(&root).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    changed.into_iter().for_each(Before::restore);
}

#[test]
fn what_cannot_be_made_is_told_and_changes_nothing() {
    let folder = copy();
    let refused = |words: &[&str], why: &str| {
        let before: Vec<_> =
            all_below(folder.path()).iter().map(|name| fs::read(folder.path().join(name)).unwrap()).collect();
        let output = xtask(folder.path(), words);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(why), "{words:?}: {text}");
        let after: Vec<_> =
            all_below(folder.path()).iter().map(|name| fs::read(folder.path().join(name)).unwrap()).collect();
        assert!(before == after, "{words:?}");
    };
    refused(&[], "usage: cargo xtask");
    refused(&["new-market", "x"], "usage: cargo xtask");
    refused(&["new-host-function", "forecast"], "a dot is missing");
    refused(&["new-host-function", "weather.hourly.forecast"], "more than one dot");
    refused(&["new-host-function", "weather.import"], "a word of Rust or Python");
    refused(&["new-host-function", "kv.get"], "`kv.get` is there already");
    refused(&["new-host-function", "host.name"], "`Host` is the name of another class");
    refused(&["new-route", "report"], "a dot is missing");
    refused(&["new-route", "request.id"], "crates/api/src/request_id.rs: it exists already");
    refused(&["new-setting", "storage.kv_kb"], "`kv_kb` or its field `kv_bytes` is there already");
    refused(&["new-setting", "sandbox.images"], "`images` or its field `images` is there already");
    refused(&["new-setting", "storage.type_seconds"], "would be `type`");
    refused(&["new-setting", "sandbox.defaults.gpus"], "is one of the domain");
    refused(
        &["new-setting", "weather.size"],
        "there is no section `weather`; expected one of breaker, chat, chat.budget_ms, databases",
    );

    // A place that was moved is named.
    let check = folder.path().join("crates/session/src/host/stand_in/check.rs");
    let text = fs::read_to_string(&check).unwrap();
    fs::write(&check, text.replace("HostFunction::Unknown =>", "_ =>")).unwrap();
    refused(
        &["new-host-function", "weather.forecast"],
        "check.rs: no line begins with `HostFunction::Unknown =>`; was it moved?",
    );
    fs::remove_file(folder.path().join("CHANGELOG.md")).unwrap();
    refused(&["new-setting", "storage.cache_mb"], "CHANGELOG.md: ");
}
