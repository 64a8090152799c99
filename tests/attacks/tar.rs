//! 31–68: the tar format itself, where the manifest is, and names that collide.

#![allow(unreachable_pub, reason = "a test binary has no outside")]

use crate::forge::{MANIFEST, TarEntry, TarForge, ZipForge, gzip};
use crate::target::Target;
use crate::{Attack, attack};

pub const TABLE: &[Attack] = &[
    attack(&[31, 32, 33], sparse),
    attack(&[34, 35, 36, 37, 38], pax),
    attack(&[39, 40, 41], long_names),
    attack(&[42], headers),
    attack(&[43, 44, 45], ends),
    attack(&[46, 47, 48, 49, 50, 51], places_of_the_manifest),
    attack(&[52, 53, 54, 55, 56, 57, 58], collisions),
    attack(&[59, 60, 61, 62, 63, 64, 66, 67, 68], names),
    attack(&[65], names_of_another_system),
];

const MALFORMED: &[&str] = &["archive-malformed"];

fn with(entries: Vec<TarEntry>) -> Vec<u8> {
    entries.into_iter().fold(TarForge::plugin(), TarForge::add).gz()
}

fn file(name: &str) -> TarEntry {
    TarEntry::file(name, "12345")
}

fn sparse(target: &mut Target) {
    let old = TarEntry::special("x", b'S', "").with(|entry| {
        entry.magic = *b"ustar  \0";
        // One region, of a real size of 60 GB.
        entry.patches = vec![(386, b"00000000000\x0000000000000\0".to_vec()), (483, b"700000000000".to_vec())];
    });
    target.refuses("GNU's old form", &with(vec![old]), &["entry-kind", "archive-malformed"]);
    let forms: [&[(&str, &[u8])]; 3] = [
        &[("GNU.sparse.size", b"64424509440"), ("GNU.sparse.numblocks", b"1")],
        &[("GNU.sparse.map", b"0,5"), ("GNU.sparse.size", b"64424509440")],
        &[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"64424509440")],
    ];
    for form in forms {
        target.refuses("a PAX form", &with(vec![TarEntry::pax(form), file("x")]), &["entry-kind"]);
    }
}

fn pax(target: &mut Target) {
    let size = |value: &[u8]| TarEntry::pax(&[("size", value)]);
    let nested = TarForge::new().file("hidden", "evil").unended();
    let holds = |size: u64, content: &[u8]| TarEntry::file("x", content).with(|entry| entry.size = Some(size));
    let raw = |record: &[u8]| vec![TarEntry { kind: b'x', ..TarEntry::file("PaxHeaders/x", record) }, file("x")];
    let cases = [
        ("a header of 0 that PAX fills", vec![size(b"1024"), holds(0, &nested)]),
        ("a header that PAX empties", vec![size(b"0"), holds(1024, &nested)]),
        ("PAX says more", vec![size(b"6"), file("x")]),
        ("PAX says less", vec![size(b"4"), file("x")]),
        ("a hidden entry behind two PAX headers", vec![size(b"5"), TarEntry::pax(&[("path", b"y")]), file("x")]),
        ("a size that comes twice", vec![TarEntry::pax(&[("size", b"5"), ("size", b"1024")]), file("x")]),
        ("a bad length", raw(b"99 path=y\n")),
        ("a length of zero", raw(b"0 path=y\n")),
        ("no line break", raw(b"9 path=yy")),
        ("a NUL in the key", raw(b"10 pa\0h=y\n")),
        ("no equals sign", raw(b"7 path\n")),
        ("a key twice", vec![TarEntry::pax(&[("path", b"a"), ("path", b"b")]), file("x")]),
        ("a PAX header for nothing", vec![TarEntry::pax(&[("path", b"a")])]),
        ("a global path", vec![TarEntry::global(&[("path", b"a")]), file("x")]),
        ("a global size", vec![TarEntry::global(&[("size", b"1024")]), file("x")]),
    ];
    for (what, entries) in cases {
        target.refuses(what, &with(entries), MALFORMED);
    }
    let comment = TarForge::new().add(TarEntry::global(&[("comment", b"0123456789")])).raw(&TarForge::plugin().tar());
    target.accepts("a global comment", &comment.gz());
}

fn long_names(target: &mut Target) {
    let claimed = |size: u64| TarEntry::long_name("x").with(|entry| entry.size = Some(size));
    let pax = || TarEntry::pax(&[("path", b"b")]);
    target.refuses(
        "a name of 1 MiB",
        &with(vec![TarEntry::long_name("x".repeat(1 << 20)), file("x")]),
        &["path-invalid"],
    );
    target.refuses("a name that claims 4 GiB", &with(vec![claimed(u64::from(u32::MAX)), file("x")]), &["path-invalid"]);
    let two = vec![TarEntry::long_name("a"), TarEntry::long_name("b"), file("x")];
    target.refuses("two long names", &with(two), MALFORMED);
    target.refuses("a long name and PAX", &with(vec![TarEntry::long_name("a"), pax(), file("x")]), MALFORMED);
    target.refuses("PAX and a long name", &with(vec![pax(), TarEntry::long_name("a"), file("x")]), MALFORMED);
}

fn headers(target: &mut Target) {
    let size = |raw: &[u8]| vec![file("x").with(|entry| entry.raw_size = Some(raw.to_vec()))];
    let overflow = [[0x80].as_slice(), &[0xff; 11]].concat();
    for (what, raw) in [
        ("negative", b"-0000000005\0".to_vec()),
        ("negative base-256", vec![0xff; 12]),
        ("overflowing", overflow),
        ("not octal", b"00000000009\0".to_vec()),
    ] {
        target.refuses(what, &with(size(&raw)), MALFORMED);
    }
    target.refuses("checksum", &with(vec![file("x").with(|entry| entry.checksum = Some(1))]), MALFORMED);
}

fn ends(target: &mut Target) {
    let (ended, open) = (TarForge::plugin().tar(), TarForge::plugin().unended());
    let second = TarForge::new().file("second", "1").tar();
    let cases = [
        ("cut in a body", open[..open.len() - 300].to_vec()),
        ("cut in a header", open[..open.len() - 800].to_vec()),
        ("no end blocks", open.clone()),
        ("data behind the end", [ended.as_slice(), b"evil"].concat()),
        ("two tars", [ended.as_slice(), &second].concat()),
    ];
    for (what, tar) in cases {
        target.refuses(what, &gzip(&tar), MALFORMED);
    }
}

fn places_of_the_manifest(target: &mut Target) {
    let tar = |entries: Vec<TarEntry>| entries.into_iter().fold(TarForge::new(), TarForge::add).gz();
    let manifest = |name: &str| TarEntry::file(name, MANIFEST);
    let cases = [
        ("an empty archive", vec![], "manifest-missing"),
        ("only folders", vec![TarEntry::folder("a/"), TarEntry::folder("a/b/")], "manifest-missing"),
        ("no plugin.yaml", vec![file("main.py")], "manifest-missing"),
        ("two", vec![manifest("plugin.yaml"), manifest("a/plugin.yaml"), file("main.py")], "manifest-invalid"),
        ("another case", vec![manifest("Plugin.yaml"), file("main.py")], "manifest-missing"),
        ("two top folders", vec![manifest("a/plugin.yaml"), manifest("b/plugin.yaml")], "manifest-invalid"),
        (
            "something beside the folder",
            vec![manifest("a/plugin.yaml"), file("a/main.py"), file("b")],
            "manifest-invalid",
        ),
    ];
    for (what, entries, code) in cases {
        target.refuses(what, &tar(entries), &[code]);
    }
    target.refuses("an empty zip", &ZipForge::new().bytes(), &["archive-unsupported", "manifest-missing"]);
}

fn collisions(target: &mut Target) {
    let pairs = [
        ("the same bytes twice", "x", "x"),
        ("case", "README", "readme"),
        ("composed and decomposed", "caf\u{e9}", "cafe\u{301}"),
        ("ligature", "\u{fb01}le", "file"),
        ("sharp s", "stra\u{df}e", "strasse"),
        ("full width", "\u{ff41}", "a"),
        ("file and folder", "a", "a/b"),
        ("folder and file", "a/b", "a"),
        ("folders in another case", "Dir/a", "dir/b"),
    ];
    for (what, first, second) in pairs {
        let tar = with(vec![file(first), file(second)]);
        target.refuses(what, &tar, &["path-collision"]);
        let zip = ZipForge::plugin().file(first, "1").file(second, "2").bytes();
        target.refuses(what, &zip, &["path-collision"]);
    }
    let other_bytes = with(vec![TarEntry::file("x", "1"), TarEntry::file("x", "2")]);
    target.refuses("other bytes", &other_bytes, &["path-collision"]);
    target.refuses("a folder after a file", &with(vec![file("a"), TarEntry::folder("a/")]), &["path-collision"]);
    target.refuses("a second manifest", &with(vec![TarEntry::file("plugin.yaml", MANIFEST)]), &["path-collision"]);
}

fn names(target: &mut Target) {
    let raw: [(&str, Vec<u8>); 12] = [
        ("NUL", b"a\0b".to_vec()),
        ("line break", b"a\nb".to_vec()),
        ("escape", b"a\x1bb".to_vec()),
        ("direction", "a\u{202e}b".into()),
        ("not UTF-8", b"caf\xe9".to_vec()),
        ("overlong", b"a\xc0\xafb".to_vec()),
        ("surrogate", b"a\xed\xa0\x80b".to_vec()),
        ("a dot", b".".to_vec()),
        ("a dot in the middle", b"a/./b".to_vec()),
        ("an empty component", b"a//b".to_vec()),
        ("a long component", vec![b'x'; 256]),
        ("a long path", [b"d/".repeat(2048), b"x".to_vec()].concat()),
    ];
    for (what, name) in raw {
        let entries = vec![TarEntry::pax(&[("path", &name)]), file("x")];
        target.refuses(what, &with(entries), &["path-invalid"]);
    }
    target.refuses("no name", &with(vec![TarEntry::file("", "1")]), &["path-invalid"]);
    let zip = |name: &[u8]| {
        let entry = crate::forge::ZipEntry::stored(name, "1");
        ZipForge::plugin().add(entry).bytes()
    };
    target.refuses("NUL in a zip", &zip(b"a\0b"), &["path-invalid"]);
    target.refuses("not UTF-8 in a zip", &zip(b"caf\xe9"), &["path-invalid"]);
    let deep = format!("{}x", "d/".repeat(2000));
    target.refuses("2000 folders", &with(vec![TarEntry::long_name(&deep), file("x")]), &["path-invalid"]);
    let just_deep = format!("{}x", "d/".repeat(32));
    target.refuses("33 levels", &with(vec![file(&just_deep)]), &["path-invalid"]);
}

/// They mean nothing here, so they are accepted; a drive letter is not (6).
fn names_of_another_system(target: &mut Target) {
    for name in ["CON", "aux.txt", "trailing.", "trailing ", "a b:c"] {
        target.accepts(name, &with(vec![file(name)]));
    }
    target.refuses("a drive", &with(vec![file("a:b")]), &["path-absolute"]);
}
