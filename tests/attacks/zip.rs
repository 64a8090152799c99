//! 69–88: zips that two programs would read differently.

#![allow(unreachable_pub, reason = "a test binary has no outside")]

use crate::forge::{ZipEntry, ZipForge, extra, unicode_path};
use crate::target::Target;
use crate::{Attack, attack};

pub const TABLE: &[Attack] = &[
    attack(&[69, 70, 71, 72], records_that_disagree),
    attack(&[73, 74, 75, 76, 77, 78, 79], ends_and_gaps),
    attack(&[80, 81], extra_fields),
    attack(&[82, 83], descriptors_and_sizes),
    attack(&[84, 85, 86], features),
    attack(&[87], overlapping_directory),
    attack(&[88], families_of_differences),
];

const AMBIGUOUS: &[&str] = &["archive-ambiguous"];
const UNSUPPORTED: &[&str] = &["archive-unsupported"];
const EITHER: &[&str] = &["archive-ambiguous", "archive-malformed", "archive-unsupported"];

fn file() -> ZipEntry {
    ZipEntry::deflated("x", "12345 12345 12345 12345")
}

fn with(entry: ZipEntry) -> Vec<u8> {
    ZipForge::plugin().add(entry).bytes()
}

fn forged(change: impl FnOnce(&mut ZipForge)) -> Vec<u8> {
    ZipForge::plugin().with(change).bytes()
}

fn records_that_disagree(target: &mut Target) {
    let cases = [
        ("names", file().local(|fields| fields.name = b"y".to_vec())),
        ("CRC", file().local(|fields| fields.crc ^= 1)),
        ("size", file().local(|fields| fields.size += 1)),
        ("packed size", file().local(|fields| fields.packed += 1)),
        ("only in the directory", file().with(|entry| entry.local = None)),
        ("only as a record", file().with(|entry| entry.central = None)),
    ];
    for (what, entry) in cases {
        target.refuses(what, &with(entry), AMBIGUOUS);
    }
}

fn ends_and_gaps(target: &mut Target) {
    let good = ZipForge::plugin().bytes();
    let end = good[good.len() - 22..].to_vec();
    let mut elsewhere = forged(|zip| zip.zip64 = true);
    let at = elsewhere.len() - 22 - 12;
    elsewhere[at] ^= 0xff;
    let mut extensible = forged(|zip| zip.zip64 = true);
    let at = extensible.len() - 22 - 20 - 56 + 4;
    extensible[at] = 60;
    let cases = [
        ("too few counted", forged(|zip| (zip.count, zip.entries_here) = (Some(1), Some(1)))),
        ("two end records", [good.as_slice(), &end].concat()),
        ("an end record in the comment", forged(|zip| zip.comment.clone_from(&end))),
        ("a ZIP64 locator to elsewhere", elsewhere),
        ("ZIP64 extensible data", extensible),
        ("a false record before the first", forged(|zip| zip.prefix = b"PK\x03\x04junk".to_vec())),
        ("bytes behind the end", [good.as_slice(), b"evil"].concat()),
        ("a gap", forged(|zip| zip.gap = b"evil".to_vec())),
    ];
    for (what, archive) in cases {
        target.refuses(what, &archive, AMBIGUOUS);
    }
    target.refuses("a program before it", &forged(|zip| zip.prefix = b"#!/bin/sh\nexit\n".to_vec()), UNSUPPORTED);
}

fn extra_fields(target: &mut Target) {
    let cases = [
        ("another name", unicode_path("x", "../evil")),
        ("another name, twice", [unicode_path("x", "y"), unicode_path("y", "z")].concat()),
        ("too short", vec![1]),
        ("too long", vec![0x55, 0x54, 9, 0, 1]),
    ];
    for (what, bytes) in cases {
        target.refuses(what, &with(file().both(|fields| fields.extra.clone_from(&bytes))), AMBIGUOUS);
    }
}

fn descriptors_and_sizes(target: &mut Target) {
    let cases = [
        ("descriptor CRC", file().streamed().with(|entry| entry.after[4] ^= 1)),
        ("descriptor size", file().streamed().with(|entry| entry.after[12] ^= 1)),
        ("descriptor without signature", file().streamed_as(false, false)),
        ("declared too small", file().both(|fields| fields.size = 3)),
    ];
    for (what, entry) in cases {
        target.refuses(what, &with(entry), AMBIGUOUS);
    }
}

fn features(target: &mut Target) {
    for flags in [1, 1 << 6, 1 << 13] {
        target.refuses("encrypted", &with(file().both(|fields| fields.flags |= flags)), UNSUPPORTED);
    }
    for method in [1, 6, 9, 12, 14, 93, 97, 98, 99, 0xffff] {
        target.refuses("method", &with(file().both(|fields| fields.method = method)), UNSUPPORTED);
    }
    target.refuses("disks", &forged(|zip| zip.disk = 1), EITHER);
    target.refuses("an entry's disk", &with(file().with(|entry| entry.disk = 1)), EITHER);
}

fn overlapping_directory(target: &mut Target) {
    target.refuses("over the first record", &forged(|zip| zip.directory_offset = Some(0)), AMBIGUOUS);
    let reaching = ZipEntry::stored("y", "1").both(|fields| (fields.packed, fields.size) = (500, 500));
    target.refuses("a file over the directory", &with(reaching), EITHER);
}

/// What programs are known to differ in: which record is believed for name, size, method, flags, count and place,
/// which end record is found, what hides between and behind.
fn families_of_differences(target: &mut Target) {
    let good = ZipForge::plugin().bytes();
    let other = ZipForge::plugin().file("other", "1").bytes();
    let cases = [
        ("name of the record", with(file().local(|fields| fields.name = b"../x".to_vec()))),
        ("flags", with(file().local(|fields| fields.flags ^= 1 << 11))),
        ("method", with(ZipEntry::stored("x", "1").local(|fields| fields.method = 8))),
        ("descriptor flag in one", with(file().streamed().local(|fields| fields.flags = 0))),
        ("descriptor flag in the directory alone", with(file().central(|fields| fields.flags |= 8))),
        ("sizes with a descriptor", with(file().streamed().local(|fields| fields.packed = 3))),
        ("data behind the stream", with(file().with(|entry| entry.data.push(0)).both(|fields| fields.packed += 1))),
        ("a record between two", with(file().with(|entry| entry.after = file().data))),
        ("an archive behind the archive", [good.as_slice(), &other].concat()),
        ("an archive in the comment", forged(|zip| zip.comment.clone_from(&other))),
        ("count here and in all", forged(|zip| zip.entries_here = Some(1))),
        ("directory's size", forged(|zip| zip.directory_bytes = Some(46))),
        ("comment's length", forged(|zip| zip.comment_length = Some(9))),
        ("comment cut off", forged(|zip| (zip.comment, zip.comment_length) = (b"abc".to_vec(), Some(1)))),
        ("ZIP64 marks without ZIP64", forged(|zip| zip.count = Some(u16::MAX))),
        ("ZIP64 size that is not asked for", with(file().central(|fields| fields.extra = extra(1, &[9; 8])))),
        ("offset of another record", with(file().with(|entry| entry.offset = Some(0)))),
        ("a second Unix mode", with(file().both(|fields| fields.extra = extra(0x756e, &[0; 14])))),
        ("signature in an entry's comment", with(file().with(|entry| entry.comment = b"PK\x05\x06".to_vec()))),
    ];
    for (what, archive) in cases {
        target.refuses(what, &archive, EITHER);
    }
    let slash = ZipEntry::stored("folder/", "content");
    target.refuses(
        "a folder with content",
        &with(slash),
        &["archive-ambiguous", "archive-malformed", "entry-kind", "path-invalid"],
    );
}
