//! 1–30: names and kinds of entries, as .tar.gz and as .zip.

#![allow(unreachable_pub, reason = "a test binary has no outside")]

use crate::forge::{TarEntry, TarForge, ZipEntry, ZipForge};
use crate::target::Target;
use crate::{Attack, attack};

pub const TABLE: &[Attack] = &[
    attack(&[1, 2, 3, 7], traversal),
    attack(&[4, 5], absolute),
    attack(&[6], other_separators),
    attack(&[8, 9, 10, 11, 12, 13, 14, 15, 16, 17], links),
    attack(&[18, 19, 20, 21, 22, 23], special_files),
    attack(&[24, 25, 26], lent_rights),
    attack(&[27, 28, 29, 30], harmless_modes_and_owners),
];

/// Both archives with one more file of this name.
fn named(name: &str) -> [(String, Vec<u8>); 2] {
    [
        (format!("{name} in a tar"), TarForge::plugin().file(name, "evil").gz()),
        (format!("{name} in a zip"), ZipForge::plugin().file(name, "evil").bytes()),
    ]
}

fn refuse_names(target: &mut Target, names: &[&str], code: &str) {
    for (what, archive) in names.iter().flat_map(|name| named(name)) {
        target.refuses(&what, &archive, &[code]);
    }
}

fn traversal(target: &mut Target) {
    let deep = format!("{}tmp/evil.txt", "../".repeat(100));
    refuse_names(target, &["../evil", "a/../../evil", "a/../b"], "path-traversal");
    target.refuses("100 steps up", &ZipForge::plugin().file(&deep, "evil").bytes(), &["path-traversal"]);
    // In a tar such a path does not fit into the header's field.
    let long = TarForge::plugin().add(TarEntry::long_name(&deep)).file("x", "evil").gz();
    target.refuses("a long name that climbs", &long, &["path-traversal"]);
    let pax = TarForge::plugin().add(TarEntry::pax(&[("path", deep.as_bytes())])).file("x", "evil").gz();
    target.refuses("a PAX path that climbs", &pax, &["path-traversal"]);
}

fn absolute(target: &mut Target) {
    refuse_names(target, &["/tmp/moo", "//tmp/moo", "/etc/passwd"], "path-absolute");
}

fn other_separators(target: &mut Target) {
    refuse_names(target, &["..\\..\\evil", "C:\\x", "\\\\srv\\x", "a\\b"], "path-invalid");
    refuse_names(target, &["C:/x", "c:x"], "path-absolute");
}

fn links(target: &mut Target) {
    let symbolic = |name: &str, to: &str| TarEntry::special(name, b'2', to);
    let hard = |name: &str, to: &str| TarEntry::special(name, b'1', to);
    let moo = || TarEntry::file("tmp/moo", "evil");
    let tars = [
        ("a link, then a file through it", vec![symbolic("moo", "/tmp/moo"), TarEntry::file("moo", "evil")]),
        ("a link to a folder", vec![symbolic("tmp", "/tmp"), moo()]),
        ("chained links", vec![symbolic("cur", "."), symbolic("par", "cur/.."), TarEntry::file("par/moo", "evil")]),
        ("a chain through a folder", vec![symbolic("cur", "."), symbolic("cur/par", ".."), moo()]),
        ("a link that stays inside", vec![symbolic("a", "main.py")]),
        ("a hard link to a system file", vec![hard("a", "/etc/passwd")]),
        ("a hard link to an earlier entry", vec![hard("a", "main.py")]),
        ("a hard link that climbs", vec![hard("a", "../secret")]),
        ("a link, then a folder of its name", vec![symbolic("tmp", "../../around"), TarEntry::folder("tmp/")]),
    ];
    for (what, entries) in tars {
        let archive = entries.into_iter().fold(TarForge::plugin(), TarForge::add).gz();
        target.refuses(what, &archive, &["entry-kind"]);
    }
    let link = ZipEntry::stored("link", "/etc/passwd").with(|entry| entry.attributes = 0o120_777 << 16);
    target.refuses("a link in a zip", &ZipForge::plugin().add(link).bytes(), &["entry-kind"]);
}

fn special_files(target: &mut Target) {
    for (what, kind) in [
        ("character device", b'3'),
        ("block device", b'4'),
        ("FIFO", b'6'),
        ("contiguous", b'7'),
        ("unknown", b'Z'),
        ("socket", b's'),
    ] {
        let entry = TarEntry::special("x", kind, "")
            .with(|entry| entry.patches = vec![(329, b"0000001\x000000003\0".to_vec())]);
        let archive = TarForge::plugin().add(entry).gz();
        target.refuses(what, &archive, &["entry-kind", "archive-malformed"]);
    }
    for (what, mode) in
        [("character device", 0o020_666), ("block device", 0o060_666), ("FIFO", 0o010_666), ("socket", 0o140_666)]
    {
        let entry = ZipEntry::stored("x", "").with(|entry| entry.attributes = mode << 16);
        target.refuses(what, &ZipForge::plugin().add(entry).bytes(), &["entry-kind"]);
    }
}

fn lent_rights(target: &mut Target) {
    for mode in [0o4755, 0o2755, 0o1755] {
        let tar = TarForge::plugin().add(TarEntry::file("x", "1").with(|entry| entry.mode = mode)).gz();
        target.refuses("a file in a tar", &tar, &["entry-mode"]);
        let entry = ZipEntry::stored("x", "1").with(|entry| entry.attributes = (0o100_000 | mode) << 16);
        target.refuses("a file in a zip", &ZipForge::plugin().add(entry).bytes(), &["entry-mode"]);
    }
}

fn harmless_modes_and_owners(target: &mut Target) {
    use std::os::unix::fs::PermissionsExt;
    for (mode, stored) in [(0o777, 0o555), (0o000, 0o444), (0o644, 0o444)] {
        let archive = TarForge::plugin().add(TarEntry::file("x", "1").with(|entry| entry.mode = mode)).gz();
        let installed = target.install(&archive, None).expect(201);
        let digest = installed["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
        let file = target.data().join("packages").join(digest).join("x");
        let found = std::fs::metadata(file).unwrap().permissions().mode() & 0o777;
        // Nobody writes to a package once it is there.
        assert_eq!(found & 0o555, stored, "{mode:o} became {found:o}");
        target.uninstall("my-plugin");
    }
    target.remember();
    let owners = [
        TarEntry::file("x", "1").with(|entry| entry.raw_uid = Some(vec![0x80, 0, 0, 0, 0x80, 0, 0, 0])),
        TarEntry::file("x", "1"),
    ];
    for owner in owners {
        target.accepts("a strange owner", &TarForge::plugin().add(owner).gz());
    }
    let named = TarEntry::pax(&[("uid", b"root"), ("uname", b"root"), ("gid", b"2147483648")]);
    target.accepts("an owner in PAX", &TarForge::plugin().add(named).file("x", "1").gz());
    let attributes = TarEntry::pax(&[
        ("SCHILY.xattr.security.capability", b"\x01\x00\x00\x02"),
        ("SCHILY.xattr.security.selinux", b"system_u:object_r:bin_t:s0"),
    ]);
    target.accepts("attributes", &TarForge::plugin().add(attributes).file("x", "1").gz());
}
