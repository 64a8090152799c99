//! Keys and signatures exchanged with the real minisign program, in both directions.
#![expect(clippy::unwrap_used, reason = "a failed step should stop the test")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use plugbay::domain::{ArchiveLimits, Code, NamePattern, PublicKey, Refusal, SignaturePolicy, Timestamp, TrustedKey};
use plugbay::package::{PackageError, SecretKey, Signature, Signer, Upload};
use secrecy::{ExposeSecret, SecretString};

/// Runs minisign in a folder. Without the program these tests mean nothing, so they fail.
fn minisign(folder: &Path, arguments: &[&str]) -> Output {
    minisign_typing(folder, arguments, "")
}

fn minisign_typing(folder: &Path, arguments: &[&str], typed: &str) -> Output {
    #[expect(clippy::disallowed_methods, reason = "the second implementation of the format")]
    let mut command = std::process::Command::new("minisign");
    command.args(arguments).current_dir(folder);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("this test needs minisign: apt-get install minisign, or brew install minisign");
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn assert_success(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn read(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap()
}

fn now() -> Timestamp {
    "2027-01-01T00:00:00Z".parse().unwrap()
}

fn trusted(key: &str) -> TrustedKey {
    TrustedKey {
        key: key.parse::<PublicKey>().unwrap(),
        label: "test".to_owned(),
        names: vec!["*".parse::<NamePattern>().unwrap()],
        not_before: None,
        not_after: None,
        revoked_at: None,
        reason: None,
    }
}

fn verify(file: &Path, signature: &str, key: &TrustedKey) -> Result<Signer, PackageError> {
    let signature = signature.parse::<Signature>()?;
    let upload = Upload::read(file, &ArchiveLimits::default())?;
    let verified = upload.verify(Some(&signature), std::slice::from_ref(key), SignaturePolicy::Required, now())?;
    Ok(verified.signer().clone())
}

/// A folder with a file and a key pair that minisign made without a password.
fn workshop() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "some bytes").unwrap();
    assert_success(&minisign(folder.path(), &["-G", "-W", "-p", "their.pub", "-s", "their.key"]));
    folder
}

#[test]
fn a_signature_by_minisign_verifies_here() {
    let folder = workshop();
    let folder = folder.path();
    assert_success(&minisign(folder, &["-S", "-s", "their.key", "-m", "file", "-t", "release\tand a tab"]));
    let key = trusted(&read(folder, "their.pub"));
    let text = read(folder, "file.minisig");
    assert_eq!(verify(&folder.join("file"), &text, &key).unwrap().key_id(), Some(key.key.id()));
    assert_eq!(text.parse::<Signature>().unwrap().trusted_comment(), "release\tand a tab");

    fs::write(folder.join("file"), "some other bytes").unwrap();
    assert_eq!(verify(&folder.join("file"), &text, &key).unwrap_err().code(), Code::SignatureInvalid);
}

#[test]
fn the_legacy_algorithm_is_refused_with_the_way_out() {
    let folder = workshop();
    let folder = folder.path();
    assert_success(&minisign(folder, &["-S", "-l", "-s", "their.key", "-m", "file"]));
    let error = read(folder, "file.minisig").parse::<Signature>().unwrap_err();
    assert_eq!(error.code(), Code::SignatureInvalid);
    assert!(error.how().unwrap().contains("without -l"), "{error}");
}

#[test]
fn a_signature_made_here_verifies_with_minisign() {
    let folder = workshop();
    let folder = folder.path();
    let key = SecretKey::generate().unwrap();
    fs::write(folder.join("our.pub"), key.to_public_file_text()).unwrap();
    let upload = Upload::read(&folder.join("file"), &ArchiveLimits::default()).unwrap();
    let text = key.sign(&upload, "plugin:my-plugin\tversion:1.0.0").unwrap();
    fs::write(folder.join("file.minisig"), &text).unwrap();
    let output = minisign(folder, &["-V", "-p", "our.pub", "-m", "file"]);
    assert_success(&output);
    assert!(String::from_utf8_lossy(&output.stdout).contains("plugin:my-plugin"));
    assert!(verify(&folder.join("file"), &text, &trusted(&key.public_key().to_string())).is_ok());

    fs::write(folder.join("file"), "some other bytes").unwrap();
    assert!(!minisign(folder, &["-V", "-p", "our.pub", "-m", "file"]).status.success());
}

#[test]
fn plain_secret_keys_are_exchanged_in_both_directions() {
    let folder = workshop();
    let folder = folder.path();
    let theirs = SecretKey::from_file_text(&read(folder, "their.key"), None).unwrap();
    assert_eq!(*theirs.public_key(), read(folder, "their.pub").parse::<PublicKey>().unwrap());

    let ours = SecretKey::generate().unwrap();
    fs::write(folder.join("our.key"), ours.to_file_text(None).unwrap().expose_secret()).unwrap();
    fs::write(folder.join("our.pub"), ours.to_public_file_text()).unwrap();
    assert_success(&minisign(folder, &["-S", "-s", "our.key", "-m", "file"]));
    assert_success(&minisign(folder, &["-V", "-p", "our.pub", "-m", "file"]));
    let text = read(folder, "file.minisig");
    assert!(verify(&folder.join("file"), &text, &trusted(&ours.public_key().to_string())).is_ok());
}

/// One test, because each use of a password takes 1 GiB of memory for a while.
#[test]
fn protected_secret_keys_are_exchanged_in_both_directions() {
    let folder = workshop();
    let folder = folder.path();
    let password = SecretString::from("correct horse");
    let typed = "correct horse\ncorrect horse\n";
    assert_success(&minisign_typing(folder, &["-G", "-f", "-p", "their.pub", "-s", "their.key"], typed));
    let text = read(folder, "their.key");
    assert!(SecretKey::is_encrypted(&text).unwrap());
    assert_eq!(SecretKey::from_file_text(&text, None).unwrap_err().code(), Code::SecretKeyInvalid);
    let theirs = SecretKey::from_file_text(&text, Some(&password)).unwrap();
    assert_eq!(*theirs.public_key(), read(folder, "their.pub").parse::<PublicKey>().unwrap());

    let ours = SecretKey::generate().unwrap();
    fs::write(folder.join("our.key"), ours.to_file_text(Some(&password)).unwrap().expose_secret()).unwrap();
    assert_success(&minisign_typing(folder, &["-S", "-s", "our.key", "-m", "file"], typed));
    let key = trusted(&ours.public_key().to_string());
    assert!(verify(&folder.join("file"), &read(folder, "file.minisig"), &key).is_ok());
}
