//! The rules for zip records.

use plugbay::domain::Code;

use crate::forge::{ZipEntry, ZipForge, extra, unicode_path};
use crate::{assert_accepted, assert_refused};

fn with(entry: ZipEntry) -> Vec<u8> {
    ZipForge::plugin().add(entry).bytes()
}

fn forged(change: impl FnOnce(&mut ZipForge)) -> Vec<u8> {
    ZipForge::plugin().with(change).bytes()
}

fn file() -> ZipEntry {
    ZipEntry::deflated("x", "12345 12345 12345 12345")
}

#[test]
fn what_the_two_records_say_must_agree() {
    let table = [
        ("name", with(file().local(|f| f.name = b"y".to_vec()))),
        ("longer name", with(file().local(|f| f.name = b"xy".to_vec()))),
        ("flags", with(file().local(|f| f.flags = 2))),
        ("UTF-8 flag", with(file().local(|f| f.flags = 1 << 11))),
        ("method", with(ZipEntry::stored("x", "1").local(|f| f.method = 8))),
        ("CRC", with(file().local(|f| f.crc ^= 1))),
        ("CRC 0 without a descriptor", with(file().local(|f| f.crc = 0))),
        ("size", with(file().local(|f| f.size += 1))),
        ("packed size", with(file().local(|f| f.packed += 1))),
        ("descriptor in one alone", with(file().streamed().local(|f| f.flags = 0))),
        ("descriptor CRC", with(file().streamed().with(|e| e.after[4] ^= 1))),
        ("descriptor size", with(file().streamed().with(|e| e.after[12] ^= 1))),
        ("descriptor without signature", with(file().streamed_as(false, false))),
        ("wide descriptor without signature", with(file().streamed_as(false, true))),
        ("no descriptor", with(file().streamed().with(|e| e.after.clear()))),
        ("wrong local CRC before a descriptor", with(file().streamed().local(|f| f.crc = 7))),
        ("declared too small", with(file().both(|f| f.size = 3))),
        ("declared too large", with(file().both(|f| f.size = 300))),
        ("stored, sizes differ", with(ZipEntry::stored("x", "12345").both(|f| f.size = 4))),
        ("data behind the stream", with(file().with(|e| e.data.push(0)).both(|f| f.packed += 1))),
    ];
    for (label, bytes) in table {
        assert_refused(label, &bytes, Code::ArchiveAmbiguous);
    }
    assert_refused("content's CRC", &with(file().both(|f| f.crc ^= 1)), Code::ArchiveMalformed);
    let damaged = with(file().with(|e| e.data[0] = 0xff));
    assert_refused("damaged data", &damaged, Code::ArchiveMalformed);
    let cut = with(file().with(|e| e.data.truncate(5)).both(|f| f.packed = 5));
    assert_refused("data cut off", &cut, Code::ArchiveMalformed);
}

#[test]
fn records_fill_the_archive_exactly() {
    let good = ZipForge::plugin().bytes();
    let table = [
        ("entry only in the directory", with(file().with(|e| e.local = None))),
        ("entry only in a record", with(file().with(|e| e.central = None))),
        ("gap after a record", with(file().with(|e| e.after = vec![0; 4]))),
        ("gap before the directory", forged(|z| z.gap = vec![0; 4])),
        ("gap before the end", forged(|z| z.before_end = vec![0; 4])),
        ("bytes behind the end", [good.as_slice(), b"x"].concat()),
        ("zip behind the zip", [good.as_slice(), &good].concat()),
        ("offset into another record", with(file().with(|e| e.offset = Some(0)))),
        ("offset past the end", with(file().with(|e| e.offset = Some(1 << 30)))),
        ("directory over a record", forged(|z| z.directory_offset = Some(0))),
        ("directory too short", forged(|z| z.directory_bytes = Some(10))),
        ("directory past the end", forged(|z| z.directory_offset = Some(u32::MAX - 1))),
        ("too few counted", forged(|z| (z.count, z.entries_here) = (Some(1), Some(1)))),
        ("too many counted", forged(|z| (z.count, z.entries_here) = (Some(3), Some(3)))),
        ("two counts", forged(|z| z.entries_here = Some(1))),
        ("packed size over the next record", {
            let long = ZipEntry::stored("y", "1").both(|f| (f.packed, f.size) = (50, 50));
            ZipForge::plugin().add(long).add(file()).bytes()
        }),
        ("comment too short", forged(|z| z.comment_length = Some(3))),
        ("end record in the comment", forged(|z| z.comment = [b"PK\x05\x06".as_slice(), &[0; 18]].concat())),
        ("end signature in the comment", forged(|z| z.comment = b"x PK\x06\x06".to_vec())),
        ("end signature in an entry's comment", with(file().with(|e| e.comment = b"PK\x05\x06".to_vec()))),
    ];
    for (label, bytes) in table {
        assert_refused(label, &bytes, Code::ArchiveAmbiguous);
    }
    assert_refused("bytes before", &forged(|z| z.prefix = b"#!/bin/sh\n".to_vec()), Code::ArchiveUnsupported);
    let prefix = forged(|z| z.prefix = b"PK\x03\x04junk".to_vec());
    assert_refused("a false record before", &prefix, Code::ArchiveAmbiguous);
    assert_refused("cut off", &good[..good.len() - 22], Code::ArchiveMalformed);
    assert_refused("the magic alone", b"PK\x03\x04", Code::ArchiveMalformed);
    assert_refused("disks", &forged(|z| z.disk = 1), Code::ArchiveUnsupported);
    assert_refused("an entry's disk", &with(file().with(|e| e.disk = 1)), Code::ArchiveUnsupported);
}

#[test]
fn zip64_must_say_the_same() {
    let left_open = |z: &mut ZipForge| {
        (z.zip64, z.count, z.entries_here) = (true, Some(u16::MAX), Some(u16::MAX));
        (z.directory_bytes, z.directory_offset) = (Some(u32::MAX), Some(u32::MAX));
    };
    assert_accepted("beside the end record", &forged(|z| z.zip64 = true));
    assert_accepted("instead of it", &forged(left_open));
    let good = forged(|z| z.zip64 = true);
    let at = good.len() - 22 - 20 - 56;
    let patched = |offset: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at + offset] = value;
        bytes
    };
    let table = [
        ("other count", patched(32, 9)),
        ("other count here", patched(24, 9)),
        ("other offset", patched(48, 9)),
        ("extensible data", patched(4, 50)),
        ("record's signature", patched(0, b'Q')),
        ("locator elsewhere", patched(56 + 8, 9)),
        ("missing", forged(|z| z.count = Some(u16::MAX)).clone()),
    ];
    for (label, bytes) in table {
        assert_refused(label, &bytes, Code::ArchiveAmbiguous);
    }
    let mut wide = ZipEntry::deflated("x", "12345");
    let fields = wide.central.clone().unwrap();
    let sizes = [u64::from(fields.size).to_le_bytes(), u64::from(fields.packed).to_le_bytes()].concat();
    wide = wide.local(|f| (f.size, f.packed, f.extra) = (u32::MAX, u32::MAX, extra(1, &sizes)));
    assert_accepted("sizes in the local extra", &with(wide.clone()));
    let other = wide.clone().local(|f| f.extra[4] ^= 1);
    assert_refused("other sizes", &with(other), Code::ArchiveAmbiguous);
    let short = wide.clone().local(|f| f.extra = extra(1, &sizes[..8]));
    assert_refused("one size for two", &with(short), Code::ArchiveAmbiguous);
    let twice = wide.clone().local(|f| f.extra = [extra(1, &sizes), extra(1, &sizes)].concat());
    assert_refused("twice", &with(twice), Code::ArchiveAmbiguous);
    let idle = file().central(|f| f.extra = extra(1, &7_u64.to_le_bytes()));
    assert_refused("another size that is not asked for", &with(idle), Code::ArchiveAmbiguous);
    let long = wide.local(|f| f.extra = extra(1, &[sizes.as_slice(), &[0; 16]].concat()));
    assert_refused("more than there is to say", &with(long), Code::ArchiveAmbiguous);
}

#[test]
fn extra_fields_cannot_change_an_entry() {
    let extras = |bytes: Vec<u8>| with(file().both(|f| f.extra.clone_from(&bytes)));
    let table = [
        ("too short", extras(vec![1])),
        ("too long", extras(vec![0x55, 0x54, 9, 0, 1])),
        ("rest", extras([extra(0x5455, &[0]), vec![0; 3]].concat())),
        ("other name", extras(unicode_path("x", "y"))),
        ("other CRC", extras(unicode_path("y", "x"))),
        ("chained names", extras([unicode_path("x", "x"), unicode_path("x", "x")].concat())),
        ("second mode", extras(extra(0x756e, &[0; 14]))),
        ("in one record alone", with(file().local(|f| f.extra = unicode_path("x", "y")))),
    ];
    for (label, bytes) in table {
        assert_refused(label, &bytes, Code::ArchiveAmbiguous);
    }
    assert_refused("AES", &extras(extra(0x9901, &[0; 7])), Code::ArchiveUnsupported);
    assert_accepted("times and owners", &extras([extra(0x5455, &[0; 5]), extra(0x7875, &[0; 11])].concat()));
    assert_accepted("the same name", &extras(unicode_path("x", "x")));
}

#[test]
fn methods_and_features_that_are_not_read_are_named() {
    for method in [1, 6, 9, 12, 14, 93, 95, 97, 98, 99, 0xffff] {
        assert_refused("method", &with(file().both(|f| f.method = method)), Code::ArchiveUnsupported);
    }
    for flag in [0, 4, 5, 6, 7, 13, 15] {
        assert_refused("flag", &with(file().both(|f| f.flags = 1 << flag)), Code::ArchiveUnsupported);
    }
    assert_refused("version", &with(file().with(|e| e.needed = 90)), Code::ArchiveUnsupported);
}

#[test]
fn kinds_modes_and_names_are_checked() {
    for kind in [0o120_777, 0o020_644, 0o060_644, 0o010_644, 0o140_644, 0o030_644_u32] {
        for made_by in [0x0314, 0x0014, 0x1314] {
            let entry = file().with(|e| (e.attributes, e.made_by) = (kind << 16, made_by));
            assert_refused("kind", &with(entry), Code::EntryKind);
        }
    }
    for mode in [0o104_755, 0o102_755, 0o101_755_u32] {
        assert_refused("mode", &with(file().with(|e| e.attributes = mode << 16)), Code::EntryMode);
    }
    assert_refused("volume", &with(file().with(|e| e.attributes = 8)), Code::EntryKind);
    assert_refused("folder by mode", &with(file().with(|e| e.attributes = 0o040_755 << 16)), Code::ArchiveAmbiguous);
    assert_refused("folder by DOS", &with(file().with(|e| e.attributes = 0x10)), Code::ArchiveAmbiguous);
    let file_by_mode = ZipEntry::folder("d/").with(|e| e.attributes = 0o100_644 << 16);
    assert_refused("file by mode", &with(file_by_mode), Code::ArchiveAmbiguous);
    assert_refused(
        "folder with content",
        &with(ZipEntry::stored("d/", "1").with(|e| e.attributes = 0)),
        Code::ArchiveAmbiguous,
    );
    let table = [
        ("../x", Code::PathTraversal),
        ("/x", Code::PathAbsolute),
        ("a\\b", Code::PathInvalid),
        ("C:x", Code::PathAbsolute),
        ("", Code::PathInvalid),
        ("a\0b", Code::PathInvalid),
        ("a//", Code::PathInvalid),
        ("main.py", Code::PathCollision),
        ("MAIN.PY", Code::PathCollision),
        ("main.py/x", Code::PathCollision),
    ];
    for (name, expected) in table {
        assert_refused(name, &with(ZipEntry::stored(name, "").with(|e| e.attributes = 0)), expected);
    }
    assert_refused(
        "not marked as UTF-8",
        &with(ZipEntry::stored("größe", "").both(|f| f.flags = 0)),
        Code::PathInvalid,
    );
    let twice = ZipForge::new().add(ZipEntry::folder("./")).add(ZipEntry::folder("./")).bytes();
    assert_refused("the root twice", &twice, Code::PathCollision);
    let latin = ZipEntry::stored(b"caf\xe9", "").both(|f| f.flags = 1 << 11);
    assert_refused("not UTF-8", &with(latin), Code::PathInvalid);
    assert_refused("long name", &with(ZipEntry::stored("x".repeat(60_000), "")), Code::PathInvalid);
}

#[test]
fn forms_of_honest_programs_are_accepted() {
    let table = [
        ("streamed", with(file().streamed())),
        ("streamed with 64 bits", with(file().streamed_as(true, true))),
        ("streamed and stored", with(ZipEntry::stored("x", "123").streamed())),
        ("folders", ZipForge::plugin().add(ZipEntry::folder("d/")).file("d/x", "1").bytes()),
        ("a streamed folder", with(ZipEntry::deflated("d/", "").streamed().with(|e| e.attributes = 0))),
        ("UTF-8", with(ZipEntry::deflated("größe/日本", "1"))),
        ("made on DOS", with(file().with(|e| (e.made_by, e.attributes) = (20, 0x20)))),
        ("level flags", with(file().both(|f| f.flags = 6))),
        ("comments", forged(|z| (z.comment, z.entries[0].comment) = (b"hello".to_vec(), b"x".to_vec()))),
        ("the root itself", ZipForge::new().add(ZipEntry::folder("./")).file("./plugin.yaml", "x").bytes()),
        ("empty files", with(ZipEntry::stored("x", ""))),
        ("a zip in a zip", with(ZipEntry::stored("x.whl", ZipForge::plugin().bytes()))),
    ];
    for (label, bytes) in table {
        assert_accepted(label, &bytes);
    }
    let mut turned = ZipForge::plugin().file("a", "1").file("b", "2");
    let bytes = turned.bytes();
    turned.entries.iter_mut().for_each(|entry| entry.offset = None);
    assert_accepted("in order", &bytes);
}
