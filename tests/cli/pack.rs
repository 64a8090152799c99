//! `plugbay pack`: above all, the same bytes from the same files.

use super::*;

#[test]
fn a_copied_touched_and_restricted_folder_gives_the_same_bytes() {
    let base = demo();
    plugbay(base.path(), &["pack", "demo", "-o", "a.tar.gz"]).ok();
    let script = "set -e; mkdir else; cp -r demo else/other; cd else; find other -exec touch -d 2001-02-03 {} +; \
                  find other -type f -exec chmod 600 {} +; find other -type d -exec chmod 700 {} +; \
                  chown -R 12345:12345 other 2>/dev/null || true; umask 077; \
                  TZ=Asia/Tokyo LC_ALL=C \"$PLUGBAY\" pack other -o ../b.tar.gz";
    shell(base.path(), script).ok();
    assert_eq!(fs::read(base.path().join("a.tar.gz")).unwrap(), fs::read(base.path().join("b.tar.gz")).unwrap());
    shell(base.path(), "umask 0; \"$PLUGBAY\" pack demo -o c.tar.gz").ok();
    assert_eq!(fs::read(base.path().join("a.tar.gz")).unwrap(), fs::read(base.path().join("c.tar.gz")).unwrap());
}

#[test]
fn the_archive_is_named_measured_and_hashed() {
    let base = demo();
    let run = plugbay(base.path(), &["pack", "demo", "--json"]).ok();
    let json = run.json();
    assert_eq!(json["path"], "demo-1.0.0.tar.gz");
    let bytes = fs::read(base.path().join("demo-1.0.0.tar.gz")).unwrap();
    assert_eq!(json["size"], bytes.len());
    let sum = shell(base.path(), "sha256sum demo-1.0.0.tar.gz").ok().stdout;
    assert_eq!(json["digest"].as_str().unwrap(), format!("sha256:{}", &sum[..64]));
    let listing = shell(base.path(), "tar -tzf demo-1.0.0.tar.gz").ok().stdout;
    assert!(listing.contains("demo/plugin.yaml") && !listing.contains("tests"), "{listing}");
}

#[test]
fn source_date_epoch_sets_the_time() {
    let base = demo();
    shell(base.path(), "SOURCE_DATE_EPOCH=1000000000 \"$PLUGBAY\" pack demo -o a.tar.gz").ok();
    assert!(shell(base.path(), "TZ=UTC tar -tvzf a.tar.gz").ok().stdout.contains("2001-09-09"));
    shell(base.path(), "SOURCE_DATE_EPOCH=soon \"$PLUGBAY\" pack demo").failed(2, "SOURCE_DATE_EPOCH is `soon`");
}

#[test]
fn what_is_not_valid_is_not_packed() {
    let base = plugin("name: demo\nversion: 1\nmain: main.py\n");
    plugbay(base.path(), &["pack", "demo"]).failed(4, "demo/plugin.yaml:2:10: error: ");
    assert_eq!(fs::read_dir(base.path()).unwrap().count(), 1);
    let missing = plugin("name: demo\nversion: 1.0.0\nmain: gone.py\n");
    plugbay(missing.path(), &["pack", "demo"]).failed(4, "`gone.py` cannot be packed");
    plugbay(missing.path(), &["pack", "nowhere"]).failed(2, "nothing at");
}

#[test]
fn the_build_command_runs_first_and_in_the_folder() {
    let base = plugin("name: demo\nversion: 1.0.0\nmain: made.py\nbuild: cp main.py made.py && echo built\n");
    let run = plugbay(base.path(), &["pack", "demo"]).ok();
    assert!(run.stderr.contains("built"), "{}", run.stderr);
    assert!(!run.stdout.contains("built"), "{}", run.stdout);
    let broken = plugin("name: demo\nversion: 1.0.0\nmain: main.py\nbuild: exit 3\n");
    let run = plugbay(broken.path(), &["pack", "demo"]).failed(1, "The build command failed");
    assert!(run.stderr.contains("exit status: 3"), "{}", run.stderr);
}

#[test]
fn an_archive_is_never_packed_into_itself() {
    let base = plugin("name: demo\nversion: 1.0.0\nmain: main.py\n");
    let folder = base.path().join("demo");
    plugbay(&folder, &["pack", "."]).ok();
    plugbay(&folder, &["pack", "."]).failed(4, "packed into itself");
    fs::write(folder.join(".pluginignore"), "*.tar.gz\n").unwrap();
    plugbay(&folder, &["pack", "."]).ok();
    plugbay(&folder, &["pack", ".", "-o", "nowhere/a.tar.gz"]).failed(2, "nothing at `nowhere`");
}

#[test]
fn links_are_refused() {
    let base = demo();
    std::os::unix::fs::symlink("/etc/passwd", base.path().join("demo/link")).unwrap();
    plugbay(base.path(), &["pack", "demo"]).failed(4, ".pluginignore");
}
