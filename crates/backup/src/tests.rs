#![expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test may stop")]

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;

use super::*;
use plugbay_domain::{Code, DataId, Refusal as _};

fn about() -> About {
    About { format: FORMAT, plugbay: "1.0.0".into(), schema: 7, created_at: "now".into(), instance: "i".into() }
}

/// An image of 4 MiB with two pieces in it.
fn image() -> File {
    let file = tempfile::tempfile().unwrap();
    file.set_len(4 << 20).unwrap();
    file.write_all_at(b"first", 4096).unwrap();
    file.write_all_at(&[7; 10_000], 2 << 20).unwrap();
    file
}

fn kept() -> DataId {
    let plugin = "plugin_00000000000070008000000000000000".parse().unwrap();
    DataId { plugin, generation: 3 }
}

fn sha(bytes: &[u8]) -> Digest {
    use sha2::{Digest as _, Sha256};
    Digest::from_bytes(Sha256::digest(bytes).into())
}

fn made() -> Vec<u8> {
    let mut writer = Writer::begin(Vec::new(), &about()).unwrap();
    writer.file(EntryName::Database, 5, &mut &b"hello"[..]).unwrap();
    writer.file(EntryName::Archive(sha(b"archive")), 7, &mut &b"archive"[..]).unwrap();
    writer.image(EntryName::Image(kept()), &image()).unwrap();
    let (bytes, count) = writer.finish(None).unwrap();
    assert_eq!(count, 4);
    bytes
}

/// Reads everything; what was read of images.
fn read(bytes: &[u8]) -> Result<Vec<(EntryName, Vec<u8>)>, BackupError> {
    let mut reader = Reader::open(bytes, 7)?;
    let mut found = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let mut file = vec![0; usize::try_from(entry.length).unwrap()];
        reader.content(&entry, &mut |at, piece| {
            let at = usize::try_from(at).unwrap();
            file[at..at + piece.len()].copy_from_slice(piece);
            Ok(())
        })?;
        found.push((entry.name, file));
    }
    Ok(found)
}

#[test]
fn what_is_written_is_read() {
    let bytes = made();
    assert!(bytes.len() < 60_000, "holes are left out: {}", bytes.len());
    let found = read(&bytes).unwrap();
    let names: Vec<_> = found.iter().map(|(name, _)| name.to_string()).collect();
    let archive = format!("archives/{}", sha(b"archive").to_hex());
    assert_eq!(names, ["plugbay.db", &archive, &format!("volumes/{}.img", kept())]);
    assert_eq!(found[0].1, b"hello");
    let mut whole = vec![0; 4 << 20];
    image().read_exact_at(&mut whole, 0).unwrap();
    assert!(found[2].1 == whole);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "another program reads it, too")]
fn other_programs_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("backup.tar");
    File::create(&path).unwrap().write_all(&made()).unwrap();
    let done = std::process::Command::new("tar").arg("-xf").arg(&path).arg("-C").arg(folder.path()).status().unwrap();
    assert!(done.success());
    assert_eq!(std::fs::read(folder.path().join("plugbay.db")).unwrap(), b"hello");
    let mut whole = vec![0; 4 << 20];
    image().read_exact_at(&mut whole, 0).unwrap();
    assert!(std::fs::read(folder.path().join(format!("volumes/{}.img", kept()))).unwrap() == whole);
}

#[test]
fn a_backup_cut_off_anywhere_is_refused() {
    let bytes = made();
    for end in (0..bytes.len()).step_by(97).chain([bytes.len() - 1, bytes.len() - 512, bytes.len() - 1024]) {
        let error = read(&bytes[..end]).unwrap_err();
        assert_eq!(error.code(), Code::BackupInvalid, "{end}: {error}");
    }
    let more = [&bytes[..], &[0]].concat();
    assert!(read(&more).unwrap_err().to_string().contains("goes on"));
}

#[test]
fn any_changed_byte_is_noticed() {
    let bytes = made();
    for at in (0..bytes.len()).step_by(41) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x55;
        // Of itself the backup may say another word; the manifest knows.
        read(&changed).unwrap_err();
    }
}

#[test]
fn later_formats_and_schemas_are_refused_by_name() {
    for (about, what) in [
        (About { format: FORMAT + 1, ..about() }, "format is 3, this one knows 2"),
        (About { schema: 8, ..about() }, "schema is 8, this one knows 7"),
    ] {
        let (bytes, _) = Writer::begin(Vec::new(), &about).unwrap().finish(None).unwrap();
        let error = read(&bytes).unwrap_err();
        assert_eq!(error.code(), Code::BackupNewer);
        assert!(error.to_string().contains(what), "{error}");
        assert!(error.to_string().contains("later plugbay, 1.0.0"), "{error}");
    }
}

#[test]
fn entries_twice_or_out_of_place_are_refused() {
    let mut writer = Writer::begin(Vec::new(), &about()).unwrap();
    writer.file(EntryName::Archive(sha(b"a")), 1, &mut &b"a"[..]).unwrap();
    let error = read(&writer.finish(None).unwrap().0).unwrap_err();
    assert!(error.to_string().contains("stands where plugbay.db is expected"), "{error}");

    let mut writer = Writer::begin(Vec::new(), &about()).unwrap();
    for _ in 0..2 {
        writer.file(EntryName::Database, 1, &mut &b"a"[..]).unwrap();
    }
    let error = read(&writer.finish(None).unwrap().0).unwrap_err();
    assert!(error.to_string().contains("is there twice"), "{error}");

    let mut writer = Writer::begin(Vec::new(), &about()).unwrap();
    writer.file(EntryName::Database, 1, &mut &b"a"[..]).unwrap();
    writer.file(EntryName::Archive(sha(b"a")), 1, &mut &b"b"[..]).unwrap();
    let error = read(&writer.finish(None).unwrap().0).unwrap_err();
    assert!(error.to_string().contains("another hash than its name"), "{error}");
}

#[test]
fn names_have_one_spelling() {
    let hex = sha(b"a").to_hex();
    for good in ["backup.json", "plugbay.db", "manifest.json", &format!("archives/{hex}")] {
        assert_eq!(good.parse::<EntryName>().unwrap().to_string(), good);
    }
    for bad in [
        "",
        "master.key",
        "admin.token",
        "../plugbay.db",
        "/plugbay.db",
        "./plugbay.db",
        "archives/",
        "archives/../x",
        &format!("archives/sha256:{hex}"),
        &format!("archives/{}", hex.to_uppercase()),
        "volumes/plugin_x.img",
        &format!("volumes/{}.img.tar", kept()),
        &format!("volumes/{}", kept()),
        "packages/x",
        "plugbay.db/",
    ] {
        assert!(bad.parse::<EntryName>().is_err(), "{bad}");
    }
}
