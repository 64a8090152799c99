//! gzip framing.

use plugbay::domain::Code;

use crate::forge::{GzipForge, TarForge, gzip};
use crate::{assert_accepted, assert_refused};

#[test]
fn headers_of_honest_programs_are_accepted() {
    let tar = TarForge::plugin().tar();
    let text = |text: &str| Some(text.as_bytes().to_vec());
    let table = [
        ("plain", GzipForge::default()),
        ("gzip -9 FILE", GzipForge { name: text("my-plugin.tar"), ..GzipForge::default() }),
        ("a comment", GzipForge { comment: text("hello"), flags: 1, ..GzipForge::default() }),
        ("an extra field", GzipForge { extra: Some(vec![b'B', b'C', 2, 0, 1, 1]), ..GzipForge::default() }),
        (
            "everything with a header CRC",
            GzipForge {
                extra: Some(vec![0; 100]),
                name: text("n"),
                comment: text("c"),
                header_crc: Some(true),
                ..GzipForge::default()
            },
        ),
    ];
    for (label, forge) in table {
        assert_accepted(label, &forge.member(&tar));
    }
}

#[test]
fn broken_framing_is_malformed() {
    let tar = TarForge::plugin().tar();
    let good = gzip(&tar);
    let forge = GzipForge::default;
    let table = [
        ("wrong CRC", GzipForge { crc: Some(1), ..forge() }.member(&tar)),
        ("wrong size", GzipForge { size: Some(1), ..forge() }.member(&tar)),
        ("reserved flag", GzipForge { flags: 0x20, ..forge() }.member(&tar)),
        ("another method", GzipForge { method: Some(7), ..forge() }.member(&tar)),
        ("wrong header CRC", GzipForge { header_crc: Some(false), ..forge() }.member(&tar)),
        ("a name of 1 MiB", GzipForge { name: Some(vec![b'n'; 1 << 20]), ..forge() }.member(&tar)),
        ("a comment of 1 MiB", GzipForge { comment: Some(vec![b'n'; 1 << 20]), ..forge() }.member(&tar)),
        ("trailing garbage", [good.as_slice(), b"x"].concat()),
        ("trailing zeros", [good.as_slice(), &[0; 512]].concat()),
        ("a second member", [good.as_slice(), &gzip(b"")].concat()),
        ("two members for one tar", {
            let (first, second) = tar.split_at(512);
            [gzip(first), gzip(second)].concat()
        }),
        ("the header alone", good[..10].to_vec()),
        ("the magic alone", good[..2].to_vec()),
        ("no trailer", good[..good.len() - 8].to_vec()),
        ("half a trailer", good[..good.len() - 3].to_vec()),
        ("cut in the middle", good[..good.len() / 2].to_vec()),
        ("damaged data", [&good[..10], &[0xff; 30]].concat()),
        ("gzip in gzip", gzip(&good)),
    ];
    for (label, bytes) in table {
        assert_refused(label, &bytes, Code::ArchiveMalformed);
    }
}

#[test]
fn other_formats_are_named_and_not_guessed() {
    let tar = TarForge::plugin().tar();
    let table: [(&str, Vec<u8>); 9] = [
        ("a plain tar", tar),
        ("nothing", Vec::new()),
        ("xz", b"\xfd7zXZ\0rest".to_vec()),
        ("zstd", b"\x28\xb5\x2f\xfdrest".to_vec()),
        ("bzip2", b"BZh9rest".to_vec()),
        ("7z", b"7z\xbc\xaf\x27\x1crest".to_vec()),
        ("rar", b"Rar!\x1a\x07\0rest".to_vec()),
        ("an empty zip", b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec()),
        ("a self-extracting zip", b"MZ\x90\0PK\x03\x04".to_vec()),
    ];
    for (label, bytes) in table {
        assert_refused(label, &bytes, Code::ArchiveUnsupported);
    }
}

#[test]
fn a_polyglot_is_read_as_what_it_begins_with() {
    let zip = crate::forge::ZipForge::plugin().bytes();
    let both = [gzip(&TarForge::plugin().tar()), zip].concat();
    assert_refused("gzip with a zip behind it", &both, Code::ArchiveMalformed);
}
