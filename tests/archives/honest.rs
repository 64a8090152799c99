//! Archives made by the programs authors have. Each that is installed here must be accepted and unpack to what Python
//! makes of it; GNU tar and Python must be there.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::forge::{MANIFEST, noise};
use crate::{assert_accepted, assert_refused, code};
use plugbay::domain::{Code, PluginName};
use plugbay::package::{PackOptions, pack};

/// A plugin's folder with what tends to go wrong: long names, other scripts, an empty folder, a program.
fn source(folder: &Path) {
    let long = "d".repeat(60);
    let deep = folder.join("my-plugin").join(&long).join(&long);
    fs::create_dir_all(&deep).unwrap();
    fs::create_dir_all(folder.join("my-plugin/empty")).unwrap();
    let plugin = folder.join("my-plugin");
    fs::write(plugin.join("plugin.yaml"), MANIFEST).unwrap();
    fs::write(plugin.join("main.py"), "print(1)\n").unwrap();
    fs::set_permissions(plugin.join("main.py"), Permissions::from_mode(0o755)).unwrap();
    fs::write(plugin.join("blob"), noise(1, 300_000)).unwrap();
    fs::write(plugin.join("größe 日本.txt"), "x").unwrap();
    fs::write(deep.join(&long), "y").unwrap();
}

/// Runs a shell line that writes the archive `out`; `None` if the program is not installed.
fn made_by(program: &str, line: &str) -> Option<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    source(folder.path());
    #[expect(clippy::disallowed_methods, reason = "the programs authors pack with")]
    let shell = |line: &str| std::process::Command::new("sh").arg("-c").arg(line).current_dir(folder.path()).output();
    if !shell(&format!("command -v {program}")).unwrap().status.success() {
        return None;
    }
    let output = shell(line).unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    Some(fs::read(folder.path().join("out")).unwrap())
}

const PYTHON_TAR: &str = "python3 -c 'import tarfile,sys
with tarfile.open(\"out\",\"w:gz\",format=int(sys.argv[1])) as t: t.add(\"my-plugin\")' ";
const PYTHON_ZIP: &str = "python3 -m zipfile -c out my-plugin";

#[test]
fn archives_of_common_programs_are_accepted() {
    let table = [
        ("tar", "tar czf out my-plugin".to_owned()),
        ("tar", "tar -C my-plugin -czf out .".to_owned()),
        ("tar", "tar --format=pax -czf out my-plugin".to_owned()),
        ("tar", "tar --format=ustar -czf out my-plugin".to_owned()),
        ("tar", "tar --format=v7 --exclude='d*' -czf out my-plugin".to_owned()),
        ("tar", "tar cf - my-plugin | gzip -9 > out".to_owned()),
        ("gzip", "tar cf my.tar my-plugin && gzip -9 my.tar && mv my.tar.gz out".to_owned()),
        ("bsdtar", "bsdtar czf out my-plugin".to_owned()),
        ("bsdtar", "bsdtar --format=gnutar -czf out my-plugin".to_owned()),
        ("bsdtar", "LC_ALL=C bsdtar --format=pax -czf out my-plugin".to_owned()),
        ("bsdtar", "LC_ALL=C.UTF-8 bsdtar -a -cf out.zip my-plugin && mv out.zip out".to_owned()),
        ("bsdtar", "LC_ALL=C.UTF-8 bsdtar -a -cf out.zip -C my-plugin . && mv out.zip out".to_owned()),
        ("busybox", "busybox tar czf out my-plugin".to_owned()),
        ("python3", format!("{PYTHON_TAR} 0")),
        ("python3", format!("{PYTHON_TAR} 1")),
        ("python3", format!("{PYTHON_TAR} 2")),
        ("python3", PYTHON_ZIP.to_owned()),
        ("git", "cd my-plugin && git init -q && git add -A && git -c user.name=a -c user.email=a@b.c commit -qm x && git archive --format=tar.gz -o ../out HEAD".to_owned()),
        ("git", "cd my-plugin && git init -q && git add -A && git -c user.name=a -c user.email=a@b.c commit -qm x && git archive --prefix=p/ --format=zip -o ../out HEAD".to_owned()),
        ("zip", "zip -qr out my-plugin -x '*größe*' && mv out.zip out".to_owned()),
        ("zip", "zip -qr - my-plugin -x '*größe*' | cat > out".to_owned()),
        ("zip", "zip -q0fz -r out my-plugin -x '*größe*' && mv out.zip out".to_owned()),
        ("7z", "7z a -bd -tzip -mcu=on out.zip my-plugin && mv out.zip out".to_owned()),
        ("jar", "jar cfM out my-plugin".to_owned()),
    ];
    for (program, line) in table {
        match made_by(program, &line) {
            Some(bytes) => assert_accepted(&line, &bytes),
            None => assert!(!matches!(program, "tar" | "gzip" | "python3"), "{program} must be installed"),
        }
    }
}

#[test]
fn names_that_info_zip_does_not_mark_are_refused_with_the_way_out() {
    if let Some(bytes) = made_by("zip", "zip -qr out my-plugin && mv out.zip out") {
        assert_refused("zip", &bytes, Code::PathInvalid);
    }
}

#[test]
fn what_pack_writes_is_accepted_by_everybody() {
    let folder = tempfile::tempdir().unwrap();
    source(folder.path());
    let mut bytes = Vec::new();
    let name: PluginName = "my-plugin".parse().unwrap();
    let summary = pack(&folder.path().join("my-plugin"), &mut bytes, &PackOptions { name, mtime: 0 }).unwrap();
    assert_eq!(summary.files.len(), 5);
    assert_eq!(code(&bytes), None);
    assert_accepted("pack", &bytes);
    let archive = folder.path().join("out.tar.gz");
    fs::write(&archive, &bytes).unwrap();
    for program in ["tar", "bsdtar", "busybox tar"] {
        #[expect(clippy::disallowed_methods, reason = "the programs users unpack with")]
        let output = std::process::Command::new("sh")
            .arg("-c")
            .arg(format!("command -v {program} || exit 0; mkdir t && {program} xzf out.tar.gz -C t && diff -r my-plugin t/my-plugin; rm -rf t"))
            .current_dir(folder.path())
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap();
        assert!(!String::from_utf8_lossy(&output.stdout).contains("diff"), "{program}");
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
