//! The rules for tar headers.

use plugbay::domain::Code;

use crate::forge::{TarEntry, TarForge, gzip};
use crate::{assert_accepted, assert_refused};

fn with(entry: TarEntry) -> Vec<u8> {
    TarForge::plugin().add(entry).gz()
}

fn after(before: TarEntry, entry: TarEntry) -> Vec<u8> {
    TarForge::plugin().add(before).add(entry).gz()
}

#[test]
fn links_and_special_files_are_refused() {
    let kinds = [
        ("symbolic link", b'2'),
        ("hard link", b'1'),
        ("character device", b'3'),
        ("block device", b'4'),
        ("FIFO", b'6'),
        ("contiguous file", b'7'),
        ("unknown type", b'Z'),
        ("old sparse file", b'S'),
        ("long link", b'K'),
        ("folder listing", b'D'),
        ("multi-volume", b'M'),
        ("volume label", b'V'),
        ("Solaris PAX header", b'X'),
    ];
    for (label, kind) in kinds {
        for link in ["/tmp/moo", "main.py", "../secret", "."] {
            assert_refused(label, &with(TarEntry::special("x", kind, link)), Code::EntryKind);
        }
    }
    for record in ["GNU.sparse.major", "GNU.sparse.size", "GNU.sparse.map", "SCHILY.realsize", "linkpath"] {
        let bytes = after(TarEntry::pax(&[(record, b"1")]), TarEntry::file("x", "1"));
        assert_refused(record, &bytes, Code::EntryKind);
    }
}

#[test]
fn modes_that_lend_rights_are_refused_and_others_are_reduced() {
    for mode in [0o4755, 0o2755, 0o1755, 0o7777] {
        assert_refused("file", &with(TarEntry::file("x", "").with(|e| e.mode = mode)), Code::EntryMode);
        assert_refused("folder", &with(TarEntry::folder("x/").with(|e| e.mode = mode)), Code::EntryMode);
    }
    for mode in [0o777, 0o000, 0o100, 0o644, 0o100_644] {
        assert_accepted("mode", &with(TarEntry::file("x", "1").with(|e| e.mode = mode)));
    }
}

#[test]
fn paths_are_checked_wherever_they_stand() {
    let table = [
        ("../evil", Code::PathTraversal),
        ("a/../b", Code::PathTraversal),
        ("/tmp/moo", Code::PathAbsolute),
        ("//tmp/moo", Code::PathAbsolute),
        ("..\\evil", Code::PathInvalid),
        ("a\u{202e}b", Code::PathInvalid),
        ("", Code::PathInvalid),
        (".", Code::PathInvalid),
        ("x/", Code::PathInvalid),
        ("main.py", Code::PathCollision),
        ("MAIN.py", Code::PathCollision),
        ("main.py/x", Code::PathCollision),
    ];
    for (path, expected) in table {
        assert_refused(path, &with(TarEntry::file(path, "")), expected);
        assert_refused(path, &after(TarEntry::pax(&[("path", path.as_bytes())]), TarEntry::file("ok", "")), expected);
        assert_refused(path, &after(TarEntry::long_name(path), TarEntry::file("ok", "")), expected);
    }
    let split = TarEntry::file("x", "").with(|e| e.prefix = b"..".to_vec());
    assert_refused("prefix", &with(split), Code::PathTraversal);
    assert_refused("latin-1", &with(TarEntry::file(b"caf\xe9", "")), Code::PathInvalid);
    assert_refused("NUL", &with(TarEntry::file(b"a\0b", "")), Code::PathInvalid);
    let nul = after(TarEntry::pax(&[("path", b"a\0b")]), TarEntry::file("x", ""));
    assert_refused("NUL in PAX", &nul, Code::PathInvalid);
    let both = TarForge::plugin().add(TarEntry::folder("d/")).add(TarEntry::folder("d/")).gz();
    assert_refused("a folder twice", &both, Code::PathCollision);
    let root = TarForge::new().add(TarEntry::folder("./")).add(TarEntry::folder("."));
    assert_refused("the root twice", &root.gz(), Code::PathCollision);
    assert_refused("the file system's root", &with(TarEntry::folder("/")), Code::PathAbsolute);
}

#[test]
fn sizes_and_names_have_one_source() {
    let long = "d/".repeat(60) + "x";
    let file = |name: &str| TarEntry::file(name, "12345");
    let pax = |size: &[u8]| TarEntry::pax(&[("size", size)]);
    let table = [
        ("PAX size above", after(pax(b"6"), file("x"))),
        ("PAX size below", after(pax(b"4"), file("x"))),
        ("header size 0", after(pax(b"512"), file("x").with(|e| e.size = Some(0)))),
        ("PAX size empty", after(pax(b""), file("x"))),
        ("PAX size signed", after(pax(b"+5"), file("x"))),
        ("duplicate record", after(TarEntry::pax(&[("path", b"a"), ("path", b"b")]), file("x"))),
        ("global path", after(TarEntry::global(&[("path", b"a")]), file("x"))),
        ("global size", after(TarEntry::global(&[("size", b"5")]), file("x"))),
        ("long name and PAX path", {
            let pax = TarEntry::pax(&[("path", b"a")]);
            TarForge::plugin().add(TarEntry::long_name(&long)).add(pax).add(file("x")).gz()
        }),
        ("PAX path and long name", {
            let pax = TarEntry::pax(&[("path", b"a")]);
            TarForge::plugin().add(pax).add(TarEntry::long_name(&long)).add(file("x")).gz()
        }),
        ("two long names", {
            TarForge::plugin().add(TarEntry::long_name("a")).add(TarEntry::long_name("b")).add(file("x")).gz()
        }),
        ("two PAX headers", {
            let pax = || TarEntry::pax(&[("mtime", b"1")]);
            TarForge::plugin().add(pax()).add(pax()).add(file("x")).gz()
        }),
        ("PAX header at the end", with(TarEntry::pax(&[("path", b"a")]))),
        ("long name at the end", with(TarEntry::long_name("a"))),
        ("records in the padding", {
            let pax = TarEntry::pax(&[("mtime", b"1")]).with(|e| e.padding = b'1');
            after(pax, file("x"))
        }),
        ("a PAX header of 1 MiB", after(TarEntry::pax(&[("comment", &vec![b'x'; 1 << 20])]), file("x"))),
        ("a folder with content", with(TarEntry::folder("x/").with(|e| e.content = vec![1; 512]))),
        ("a v7 folder with a second name", {
            let folder = TarEntry::special("x/", 0, "");
            after(TarEntry::pax(&[("path", b"y")]), folder)
        }),
    ];
    for (label, bytes) in table {
        assert_refused(label, &bytes, Code::ArchiveMalformed);
    }
    for size in [1 << 20, u64::from(u32::MAX)] {
        let name = TarEntry::long_name("x").with(|e| e.size = Some(size));
        assert_refused("endless long name", &after(name, file("x")), Code::PathInvalid);
    }
}

#[test]
fn headers_must_be_well_formed() {
    let file = || TarEntry::file("x", "12345");
    let size = |raw: &[u8]| with(file().with(|e| e.raw_size = Some(raw.to_vec())));
    let mut wide = [0; 12];
    (wide[0], wide[1]) = (0x80, 1);
    let table = [
        ("checksum", with(file().with(|e| e.checksum = Some(1)))),
        ("negative size", size(b"-0000000005\0")),
        ("negative base-256 size", size(&[0xff; 12])),
        ("overflowing base-256 size", size(&wide)),
        ("decimal size", size(b"00000000008\0")),
        ("hexadecimal size", size(b"0x5\0\0\0\0\0\0\0\0\0")),
        ("garbage behind the size", size(b"5\x00garbage\0\0\0")),
        ("mode", with(file().with(|e| e.raw_mode = Some(b"rw-r--r-".to_vec())))),
        ("uid", with(file().with(|e| e.raw_uid = Some(b"nobody\0\0".to_vec())))),
        ("time", with(file().with(|e| e.raw_mtime = Some(b"yesterday\0\0\0".to_vec())))),
        ("magic", with(file().with(|e| e.magic = *b"USTAR\x0000"))),
        ("prefix in GNU format", with(file().with(|e| (e.magic, e.prefix) = (*b"ustar  \0", b"a".to_vec())))),
        ("prefix in v7 format", with(file().with(|e| (e.magic, e.prefix) = ([0; 8], b"a".to_vec())))),
        ("padding", with(file().with(|e| e.patches = vec![(508, b"tar\0".to_vec())]))),
        ("device", with(file().with(|e| e.patches = vec![(329, b"x".to_vec())]))),
    ];
    for (label, bytes) in table {
        assert_refused(label, &bytes, Code::ArchiveMalformed);
    }
}

#[test]
fn only_zeros_follow_the_end() {
    let tar = TarForge::plugin().tar();
    let no_end = TarForge::plugin().unended();
    let more = TarForge::new().file("x", "1").tar();
    let table = [
        ("data behind the end", [tar.as_slice(), b"x"].concat()),
        ("a second tar", [tar.as_slice(), &more].concat()),
        ("a single block of zeros", [no_end.as_slice(), &[0; 512]].concat()),
        ("zeros between entries", [no_end.as_slice(), &[0; 512], &more].concat()),
        ("no end", no_end.clone()),
        ("cut in a header", no_end[..no_end.len() - 700].to_vec()),
        ("cut in content", TarForge::plugin().add(TarEntry::file("x", vec![1; 2000])).unended()[..4000].to_vec()),
        ("cut in padding", no_end[..no_end.len() - 100].to_vec()),
        ("half an end", [no_end.as_slice(), &[0; 1000]].concat()),
        ("2 MiB of zeros", [tar.as_slice(), &vec![0; 2 << 20]].concat()),
        ("nothing", Vec::new()),
    ];
    for (label, bytes) in table {
        assert_refused(label, &gzip(&bytes), Code::ArchiveMalformed);
    }
    assert_accepted("a record of 10 KiB", &gzip(&[tar.as_slice(), &vec![0; 8192]].concat()));
}

#[test]
fn forms_of_honest_programs_are_accepted() {
    let file = || TarEntry::file("dir/x", "12345");
    let long = "d".repeat(90) + "/" + &"e".repeat(90) + "/größe";
    let table = [
        ("v7", with(file().with(|e| e.magic = [0; 8]))),
        ("v7 folder", with(TarEntry::special("d/", 0, "").with(|e| e.magic = [0; 8]))),
        ("GNU", with(file().with(|e| e.magic = *b"ustar  \0"))),
        ("prefix", with(TarEntry::file("x", "1").with(|e| e.prefix = b"some/dir".to_vec()))),
        ("Node's times in the prefix", {
            let times = b"00000000001\x0000000000002\0".to_vec();
            with(TarEntry::file("x", "1").with(|e| (e.prefix, e.patches) = (b"dir".to_vec(), vec![(476, times)])))
        }),
        ("long name", after(TarEntry::long_name(&long), TarEntry::file(&long.as_bytes()[..100], "1"))),
        ("long folder", after(TarEntry::long_name(format!("{long}/")), TarEntry::folder("d/"))),
        ("PAX path and size", {
            let pax = TarEntry::pax(&[("path", long.as_bytes()), ("size", b"5"), ("mtime", b"1.5"), ("uid", b"root")]);
            after(pax, file())
        }),
        ("attributes", {
            let pax = TarEntry::pax(&[
                ("SCHILY.xattr.security.capability", b"\x01\0\n\xff"),
                ("LIBARCHIVE.creationtime", b"1"),
            ]);
            after(pax, file())
        }),
        (
            "git's comment",
            TarForge::new().add(TarEntry::global(&[("comment", b"0123")])).raw(&TarForge::plugin().tar()).gz(),
        ),
        (
            "base-256",
            with(file().with(|e| {
                e.raw_size = Some(vec![0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]);
                e.raw_uid = Some(vec![0x80, 0, 0, 0, 0x80, 0, 0, 0]);
                e.raw_mtime = Some(vec![0xff; 12]);
            })),
        ),
        (
            "blanks",
            with(file().with(|e| {
                e.raw_mode = Some(b"   644 \0".to_vec());
                e.raw_size = Some(b"          5 ".to_vec());
                e.raw_uid = Some(vec![0; 8]);
            })),
        ),
        ("padding that is not zero", with(file().with(|e| e.padding = b'x'))),
        (
            "Windows-hostile names",
            TarForge::plugin().file("CON", "1").file("aux.txt", "").file("a.", "").file("b ", "").gz(),
        ),
    ];
    for (label, bytes) in table {
        assert_accepted(label, &bytes);
    }
}
