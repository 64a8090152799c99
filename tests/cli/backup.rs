//! `plugbay backup` and `plugbay restore`, as operators run them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::support::process::Process;
use super::{command, finish, plugbay};

#[test]
fn a_backup_is_a_file_of_its_owner_that_is_not_replaced_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let config = folder.path().join("plugbay.yaml");
    fs::write(&config, "").unwrap();
    let mut service = Process::serve(&data, &config, &[]);
    let url = format!("http://{}", service.address);
    let run = |arguments: &[&str]| {
        let mut program = command(folder.path(), env!("CARGO_BIN_EXE_plugbay"));
        finish(&program.args(arguments).env("PLUGBAY_URL", &url).env("PLUGBAY_DATA_DIR", &data).output().unwrap())
    };
    let taken = run(&["backup", "b.tar", "--json"]).ok().json();
    let file = folder.path().join("b.tar");
    let metadata = fs::metadata(&file).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
    assert_eq!((&taken["bytes"], &taken["entries"]), (&metadata.len().into(), &2.into()), "{taken}");
    assert!(!folder.path().join("b.tar.part").exists());

    run(&["backup", "b.tar"]).failed(4, "is there already");
    run(&["backup", "b.tar", "--force"]).ok();
    assert_eq!(run(&["backup", "-", "--json"]).code, 2);
    let mut program = command(folder.path(), env!("CARGO_BIN_EXE_plugbay"));
    let piped = program.args(["backup", "-"]).env("PLUGBAY_URL", &url).env("PLUGBAY_DATA_DIR", &data).output().unwrap();
    assert!(piped.status.success() && piped.stdout.starts_with(b"backup.json\0"));
    run(&["restore", "b.tar", "--data-dir", "data"]).failed(4, "is in use by process");
    service.stop();

    run(&["backup", "c.tar"]).failed(7, "");
    assert!(!folder.path().join("c.tar").exists() && !folder.path().join("c.tar.part").exists());
    restores(folder.path());
}

fn restores(folder: &Path) {
    plugbay(folder, &["restore", "none.tar", "--data-dir", "new"]).failed(2, "there is nothing at");
    plugbay(folder, &["restore", "b.tar", "--data-dir", "data"]).failed(4, "is not empty");
    let whole = fs::read(folder.join("b.tar")).unwrap();
    fs::write(folder.join("cut.tar"), &whole[..whole.len() / 2]).unwrap();
    plugbay(folder, &["restore", "cut.tar", "--data-dir", "new"]).failed(4, "ends within");
    assert!(!folder.join("new").exists());
    let key = "data/master.key";
    let made = plugbay(folder, &["restore", "b.tar", "--data-dir", "new", "--key-file", key, "--json"]).ok().json();
    assert_eq!((&made["audit"], &made["old_tokens"]), (&"verified".into(), &1.into()), "{made}");
    let text = plugbay(folder, &["audit", "verify", "--data-dir", "new"]).ok().stdout;
    assert!(!text.contains("taken over"), "{text}");
    let wrong = folder.join("wrong.key");
    fs::write(&wrong, [7; 32]).unwrap();
    fs::set_permissions(&wrong, fs::Permissions::from_mode(0o600)).unwrap();
    let refused = plugbay(folder, &["restore", "b.tar", "--data-dir", "third", "--key-file", "wrong.key"]);
    refused.failed(4, "`wrong.key` is not the master key that was in force when the backup was made");
    // What a killed one left.
    let left = folder.join(".other.restoring-00000000000070008000000000000000");
    fs::create_dir(&left).unwrap();
    let text = plugbay(folder, &["restore", "b.tar", "--data-dir", "other"]).ok().stdout;
    assert!(text.contains("under a new key"), "{text}");
    assert!(!left.exists(), "what a killed restore left is removed");
    let text = plugbay(folder, &["audit", "verify", "--data-dir", "other"]).ok().stdout;
    assert!(text.contains("were taken over by a restore without their key"), "{text}");
}
