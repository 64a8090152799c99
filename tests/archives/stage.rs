//! Unpacking, publishing, and noticing later changes.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use plugbay::domain::{ArchiveLimits, Code, Refusal, SignaturePolicy, TrustedKey};
use plugbay::package::{
    Contents, InspectedArchive, PackageError, PackageFile, SecretKey, Signature, StagedPackage, Upload, verify_tree,
};

use crate::forge::{MANIFEST, TarEntry, TarForge};
use crate::inspect;

const CONTENTS: Contents<'_> = Contents { main: "main.py", needs_vendor: false, always_executable: false };

fn archive() -> InspectedArchive {
    let tar = TarForge::new()
        .add(TarEntry::folder("p/").with(|e| e.mode = 0o777))
        .file("p/plugin.yaml", MANIFEST)
        .file("p/main.py", "print(1)\n")
        .add(TarEntry::file("p/bin/tool", "#!/bin/sh\n").with(|e| e.mode = 0o700))
        .file("p/data/deep/x", vec![7; 300_000])
        .add(TarEntry::folder("p/empty"));
    inspect(&tar.gz(), &ArchiveLimits::default()).unwrap()
}

fn unpack(archive: &InspectedArchive, into: &Path) -> Result<StagedPackage, PackageError> {
    archive.unpack(into, &CONTENTS, &ArchiveLimits::default())
}

fn published() -> (tempfile::TempDir, PathBuf, Vec<PackageFile>) {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive();
    let staged = unpack(&archive, &folder.path().join("staged")).unwrap();
    let files = staged.files().to_vec();
    let path = staged.publish(folder.path(), archive.digest()).unwrap();
    (folder, path, files)
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_package_is_published_under_its_digest_with_plain_modes() {
    let (folder, path, files) = published();
    assert_eq!(path, folder.path().join(archive().digest().to_hex()));
    let names: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(names, ["plugin.yaml", "main.py", "bin/tool", "data/deep/x"]);
    assert_eq!(mode(path.join("main.py")), 0o644);
    assert_eq!(mode(path.join("bin/tool")), 0o755);
    for inner in ["", "bin", "data/deep", "empty"] {
        assert_eq!(mode(path.join(inner)), 0o755, "{inner}");
    }
    assert!(!folder.path().join("staged").exists());
    verify_tree(&path, &files).unwrap();
    let stored = serde_json::to_string(&files).unwrap();
    assert_eq!(serde_json::from_str::<Vec<PackageFile>>(&stored).unwrap(), files);
}

#[test]
fn staging_is_private_and_goes_with_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("staged");
    let archive = archive();
    let staged = unpack(&archive, &into).unwrap();
    assert_eq!(mode(&into), 0o700);
    drop(staged);
    assert!(!into.exists());
    fs::create_dir(&into).unwrap();
    assert!(unpack(&archive, &into).is_err(), "a folder that is there already is not touched");
    assert!(into.exists());
    let wrong = Contents { main: "nothing", ..CONTENTS };
    let error = archive.unpack(&folder.path().join("other"), &wrong, &ArchiveLimits::default()).unwrap_err();
    assert_eq!(error.code(), Code::EntrypointMissing);
    assert!(!folder.path().join("other").exists());
}

#[test]
fn programs_are_executable_whatever_their_mode_was() {
    let folder = tempfile::tempdir().unwrap();
    let contents = Contents { always_executable: true, ..CONTENTS };
    let staged = archive().unpack(&folder.path().join("staged"), &contents, &ArchiveLimits::default()).unwrap();
    let executable: Vec<bool> = staged.files().iter().map(|file| file.executable).collect();
    assert_eq!(executable, [false, true, true, false]);
}

#[test]
fn a_key_signs_only_names_it_is_registered_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive");
    fs::write(&path, TarForge::plugin().gz()).unwrap();
    let limits = ArchiveLimits::default();
    let key = SecretKey::generate().unwrap();
    let upload = Upload::read(&path, &limits).unwrap();
    let signature: Signature = key.sign(&upload, "").unwrap().parse().unwrap();
    let trusted = TrustedKey {
        key: key.public_key().clone(),
        label: "acme".to_owned(),
        names: vec!["acme-*".parse().unwrap(), "my-plugin".parse().unwrap()],
        not_before: None,
        not_after: None,
        revoked_at: None,
        reason: None,
    };
    let now = "2027-01-01T00:00:00Z".parse().unwrap();
    let verified = upload.verify(Some(&signature), &[trusted], SignaturePolicy::Required, now).unwrap();
    let inspected = verified.inspect(&limits).unwrap();
    let check = |name: &str| inspected.check_scope(&name.parse().unwrap());
    assert!(check("my_plugin").is_ok() && check("acme-mail").is_ok());
    let error = check("other").unwrap_err();
    assert_eq!(error.code(), Code::SignatureScope);
    assert!(error.to_string().contains("may sign `acme-*`, `my-plugin`, not `other`"), "{error}");
}

#[test]
fn an_equal_package_is_kept_and_another_one_is_tampering() {
    let (folder, path, files) = published();
    let archive = archive();
    let staged = unpack(&archive, &folder.path().join("again")).unwrap();
    assert_eq!(staged.publish(folder.path(), archive.digest()).unwrap(), path);
    assert!(!folder.path().join("again").exists());
    verify_tree(&path, &files).unwrap();

    fs::write(path.join("main.py"), "print(2)\n").unwrap();
    let staged = unpack(&archive, &folder.path().join("again")).unwrap();
    assert_eq!(staged.publish(folder.path(), archive.digest()).unwrap_err().code(), Code::PackageTampered);
    assert!(!folder.path().join("again").exists());
}

#[test]
fn every_change_on_disk_is_noticed() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 13] = [
        ("content", |p| fs::write(p.join("main.py"), "print(2)\n").unwrap()),
        ("size", |p| fs::write(p.join("main.py"), "").unwrap()),
        ("removed", |p| fs::remove_file(p.join("main.py")).unwrap()),
        ("removed folder", |p| fs::remove_dir_all(p.join("data")).unwrap()),
        ("added", |p| fs::write(p.join("sitecustomize.py"), "").unwrap()),
        ("added deep", |p| fs::write(p.join("empty/x"), "").unwrap()),
        ("renamed", |p| fs::rename(p.join("main.py"), p.join("Main.py")).unwrap()),
        ("mode", |p| fs::set_permissions(p.join("main.py"), Permissions::from_mode(0o755)).unwrap()),
        ("setuid", |p| fs::set_permissions(p.join("bin/tool"), Permissions::from_mode(0o4755)).unwrap()),
        ("folder's mode", |p| fs::set_permissions(p.join("bin"), Permissions::from_mode(0o777)).unwrap()),
        ("root's mode", |p| fs::set_permissions(p, Permissions::from_mode(0o777)).unwrap()),
        ("link", |p| {
            fs::rename(p.join("main.py"), p.with_extension("away")).unwrap();
            symlink(p.with_extension("away"), p.join("main.py")).unwrap();
        }),
        ("folder by link", |p| {
            fs::rename(p.join("data"), p.with_extension("away")).unwrap();
            symlink(p.with_extension("away"), p.join("data")).unwrap();
        }),
    ];
    for (label, change) in changes {
        let (_folder, path, files) = published();
        change(&path);
        let error = verify_tree(&path, &files).expect_err(label);
        assert_eq!(error.code(), Code::PackageTampered, "{label}: {error}");
    }
    let (_folder, path, files) = published();
    fs::remove_dir_all(&path).unwrap();
    assert_eq!(verify_tree(&path, &files).unwrap_err().code(), Code::PackageTampered);
}
