//! `plugbay keygen`, `sign` and `verify`

use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// A packed plugin and a key pair without password.
fn packed() -> tempfile::TempDir {
    let base = demo();
    plugbay(base.path(), &["pack", "demo", "-o", "a.tar.gz"]).ok();
    plugbay(base.path(), &["keygen", "--no-password", "--output", "key"]).ok();
    base
}

#[test]
fn a_signed_archive_verifies_with_the_key_as_file_and_as_text() {
    let base = packed();
    let run = plugbay(base.path(), &["sign", "a.tar.gz", "--key", "key.key", "--json"]).ok();
    let json = run.json();
    assert_eq!(json["signature"], "a.tar.gz.minisig");
    let comment = json["trusted_comment"].as_str().unwrap();
    assert!(comment.starts_with("plugin:demo version:1.0.0 sha256:"), "{comment}");
    let run = plugbay(base.path(), &["verify", "a.tar.gz", "--key", "key.pub"]).ok();
    assert!(run.stdout.starts_with("valid: signed by "), "{}", run.stdout);
    let text = fs::read_to_string(base.path().join("key.pub")).unwrap();
    let text = text.lines().nth(1).unwrap();
    let json = plugbay(base.path(), &["verify", "a.tar.gz", "--key", text, "--json"]).ok().json();
    assert_eq!(json["valid"], true);
}

#[test]
fn what_does_not_verify_ends_with_five() {
    let base = packed();
    plugbay(base.path(), &["verify", "a.tar.gz", "--key", "key.pub"]).failed(5, "The archive is not signed");
    plugbay(base.path(), &["sign", "a.tar.gz", "--key", "key.key"]).ok();
    plugbay(base.path(), &["keygen", "--no-password", "--output", "other"]).ok();
    plugbay(base.path(), &["verify", "a.tar.gz", "--key", "other.pub"]).failed(5, "The signing key is not trusted");
    plugbay(base.path(), &["verify", "a.tar.gz", "--key", "RWnonsense"]).failed(5, "not a minisign public key");
    plugbay(base.path(), &["verify", "a.tar.gz", "--key", "gone.pub"]).failed(2, "nothing at `gone.pub`");
    let mut bytes = fs::read(base.path().join("a.tar.gz")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(base.path().join("a.tar.gz"), bytes).unwrap();
    let run = plugbay(base.path(), &["verify", "a.tar.gz", "--key", "key.pub", "--json"]);
    assert_eq!((run.code, run.json()["code"].as_str()), (5, Some("signature-invalid")));
}

#[test]
fn keys_have_modes_and_are_never_overwritten() {
    let base = tempfile::tempdir().unwrap();
    shell(base.path(), "umask 0; \"$PLUGBAY\" keygen --no-password --output my.key-pair").ok();
    let mode = |name: &str| fs::metadata(base.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("my.key-pair.key"), mode("my.key-pair.pub")), (0o600, 0o644));
    let again = ["keygen", "--no-password", "--output", "my.key-pair"];
    plugbay(base.path(), &again).failed(4, "a key is never overwritten");
    fs::remove_file(base.path().join("my.key-pair.key")).unwrap();
    plugbay(base.path(), &again).failed(4, "my.key-pair.pub");
    assert!(!base.path().join("my.key-pair.key").exists());
}

#[test]
fn without_a_terminal_nobody_is_asked() {
    let base = tempfile::tempdir().unwrap();
    shell(base.path(), "\"$PLUGBAY\" keygen < /dev/null").failed(2, "--no-password");
    assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
}

#[test]
fn only_plugins_are_signed() {
    let base = packed();
    fs::write(base.path().join("b.tar.gz"), "anything").unwrap();
    plugbay(base.path(), &["sign", "b.tar.gz", "--key", "key.key"]).failed(4, "error:");
    plugbay(base.path(), &["sign", "gone.tar.gz", "--key", "key.key"]).failed(2, "nothing at");
    plugbay(base.path(), &["sign", "a.tar.gz", "--key", "gone.key"]).failed(2, "nothing at `gone.key`");
}

/// The other implementation of the format.
#[test]
fn minisign_accepts_our_signatures_and_we_accept_its() {
    let base = packed();
    plugbay(base.path(), &["sign", "a.tar.gz", "--key", "key.key"]).ok();
    shell(base.path(), "minisign -Vm a.tar.gz -p key.pub").ok();
    shell(base.path(), "minisign -G -W -p m.pub -s m.key && minisign -Sm a.tar.gz -s m.key -x m.minisig").ok();
    plugbay(base.path(), &["verify", "a.tar.gz", "--key", "m.pub", "--signature", "m.minisig"]).ok();
}
