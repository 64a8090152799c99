//! Where plugin.yaml lies, and what may lie beside it.

use plugbay::domain::{ArchiveLimits, Code, Refusal};
use plugbay::package::Contents;

use crate::forge::{MANIFEST, TarEntry, TarForge, ZipForge};
use crate::{assert_accepted, assert_refused, inspect};

fn tar(names: &[&str]) -> Vec<u8> {
    let add = |tar: TarForge, name: &&str| match name.strip_suffix('/') {
        Some(_) => tar.add(TarEntry::folder(name)),
        None => tar.file(name, MANIFEST),
    };
    names.iter().fold(TarForge::new(), add).gz()
}

fn zip(names: &[&str]) -> Vec<u8> {
    names.iter().filter(|name| !name.ends_with('/')).fold(ZipForge::new(), |zip, name| zip.file(name, MANIFEST)).bytes()
}

#[test]
fn the_manifest_lies_at_the_root_or_in_the_single_top_folder() {
    let table: [&[&str]; 8] = [
        &["plugin.yaml"],
        &["./plugin.yaml", "./a/b"],
        &["a/b", "plugin.yaml", "c/d"],
        &["p/", "p/plugin.yaml", "p/a/b"],
        &["p/a/b", "p/plugin.yaml"],
        &["p/plugin.yaml", "p/examples/plugin.yaml", "p/empty/"],
        &["plugin.yaml", "a/b/plugin.yaml"],
        &["./", "./plugin.yaml", "./empty/"],
    ];
    for names in table {
        assert_accepted(&names.join(" "), &tar(names));
    }
    assert_accepted("zip", &zip(&["p/plugin.yaml", "p/a/b"]));
    assert_accepted("zip at the root", &zip(&["plugin.yaml", "a/b"]));
}

#[test]
fn everything_else_is_missing_or_invalid() {
    let table: [(&[&str], Code); 15] = [
        (&[], Code::ManifestMissing),
        (&["a/", "b/"], Code::ManifestMissing),
        (&["main.py"], Code::ManifestMissing),
        (&["Plugin.yaml"], Code::ManifestMissing),
        (&["plugin.yml"], Code::ManifestMissing),
        (&["p/PLUGIN.YAML"], Code::ManifestMissing),
        (&["a/b/plugin.yaml"], Code::ManifestMissing),
        (&["plugin.yaml/"], Code::ManifestMissing),
        (&["plugin.yaml", "a/plugin.yaml"], Code::ManifestInvalid),
        (&["a/plugin.yaml", "b/plugin.yaml"], Code::ManifestInvalid),
        (&["a/plugin.yaml", "b/main.py"], Code::ManifestInvalid),
        (&["a/plugin.yaml", "main.py"], Code::ManifestInvalid),
        (&["a/plugin.yaml", "b/"], Code::ManifestInvalid),
        (&["__MACOSX/._a", "a/plugin.yaml"], Code::ManifestInvalid),
        (&["._a", "a/plugin.yaml"], Code::ManifestInvalid),
    ];
    for (names, expected) in table {
        assert_refused(&names.join(" "), &tar(names), expected);
    }
}

#[test]
fn a_missing_manifest_names_what_was_probably_meant() {
    let message = |names| inspect(&tar(names), &ArchiveLimits::default()).unwrap_err().to_string();
    assert!(message(&["p/Plugin.yaml"]).ends_with("`p/Plugin.yaml` does not count"));
    assert!(message(&["main.py"]).ends_with("top folder"));
    let error = inspect(&tar(&["a/plugin.yaml", "__MACOSX/x"]), &ArchiveLimits::default()).unwrap_err();
    assert!(error.how().unwrap().contains("ditto"));
}

#[test]
fn documents_have_a_longest_size() {
    let long = vec![b'#'; 64 * 1024 + 1];
    let limits = ArchiveLimits::default();
    let fits = TarForge::new().file("p/plugin.yaml", &long[1..]).file("p/config.yaml", &long[1..]).gz();
    let inspected = inspect(&fits, &limits).unwrap();
    assert_eq!((inspected.manifest_bytes(), inspected.default_config()), (&long[1..], Some(&long[1..])));
    assert_refused("plugin.yaml", &TarForge::new().file("plugin.yaml", &long).gz(), Code::ManifestInvalid);
    assert_refused("config.yaml", &TarForge::plugin().file("config.yaml", &long).gz(), Code::ManifestInvalid);
    let other = TarForge::plugin().file("a/config.yaml", &long).gz();
    assert_eq!(inspect(&other, &limits).unwrap().default_config(), None);
    let before = TarForge::new().file("p/config.yaml", "a: 1").file("p/plugin.yaml", MANIFEST).gz();
    assert_eq!(inspect(&before, &limits).unwrap().default_config(), Some(b"a: 1".as_slice()));
}

#[test]
fn what_the_manifest_names_must_be_there() {
    let limits = ArchiveLimits::default();
    let bytes = TarForge::new().file("p/plugin.yaml", MANIFEST).file("p/src/main.py", "x").gz();
    let inspected = inspect(&bytes, &limits).unwrap();
    let check = |main, needs_vendor| {
        let contents = Contents { main, needs_vendor, always_executable: false };
        inspected.check_contents(&contents).err().map(|error| error.code())
    };
    assert_eq!(check("src/main.py", false), None);
    assert_eq!(check("./src/main.py", false), None);
    for main in ["main.py", "src", "p/src/main.py", "../p/src/main.py", "/src/main.py", "--flag", "src/main.py/", "a\0"]
    {
        assert_eq!(check(main, false), Some(Code::EntrypointMissing), "{main:?}");
    }
    assert_eq!(check("src/main.py", true), Some(Code::DependenciesNotVendored));
    let vendored = TarForge::plugin().file("vendor/requests/__init__.py", "").gz();
    let contents = Contents { main: "main.py", needs_vendor: true, always_executable: false };
    assert!(inspect(&vendored, &limits).unwrap().check_contents(&contents).is_ok());
    let file = TarForge::plugin().file("vendor", "").gz();
    assert!(inspect(&file, &limits).unwrap().check_contents(&contents).is_err());
}
