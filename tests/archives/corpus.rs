//! The seeds of the fuzzers: one small input for each form that is accepted.

use std::fs;
use std::path::Path;

use crate::forge::{GzipForge, TarEntry, TarForge, ZipEntry, ZipForge};

fn inputs() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let long = "d".repeat(90) + "/" + &"e".repeat(90) + "/größe";
    let file = || TarEntry::file("dir/x", "12345");
    let pax = TarEntry::pax(&[("path", long.as_bytes()), ("size", b"5"), ("SCHILY.xattr.user.a", b"b")]);
    let named = GzipForge { name: Some(b"x.tar".to_vec()), header_crc: Some(true), ..GzipForge::default() };
    let sizes = [5_u64.to_le_bytes(), 5_u64.to_le_bytes()].concat();
    let wide = ZipEntry::stored("x", "12345").local(|f| {
        (f.size, f.packed) = (u32::MAX, u32::MAX);
        f.extra = [&[1, 0, 16, 0], sizes.as_slice()].concat();
    });
    vec![
        ("targz", "ustar", TarForge::plugin().add(file()).add(TarEntry::folder("d/")).gz()),
        ("targz", "pax", TarForge::plugin().add(pax).add(file()).gz()),
        ("targz", "gnu", TarForge::plugin().add(TarEntry::long_name(&long)).add(file()).gz()),
        (
            "targz",
            "global",
            TarForge::new().add(TarEntry::global(&[("comment", b"x")])).raw(&TarForge::plugin().tar()).gz(),
        ),
        ("targz", "header", named.member(&TarForge::plugin().tar())),
        ("zip", "plain", ZipForge::plugin().add(ZipEntry::folder("d/")).bytes()),
        ("zip", "streamed", ZipForge::plugin().add(ZipEntry::deflated("größe", "12345").streamed()).bytes()),
        ("zip", "zip64", ZipForge::plugin().add(wide).with(|z| z.zip64 = true).bytes()),
        ("zip", "comment", ZipForge::plugin().with(|z| z.comment = b"hello".to_vec()).bytes()),
    ]
}

/// The inputs are generated so that they can be explained; with `PLUGBAY_WRITE_CORPUS` set they are written anew.
#[test]
fn the_corpus_is_what_the_forge_makes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    #[expect(clippy::disallowed_methods, reason = "a setting of the test itself")]
    let write = std::env::var("PLUGBAY_WRITE_CORPUS").is_ok();
    for (target, name, bytes) in inputs() {
        let path = folder.join(target).join(name);
        if write {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &bytes).unwrap();
        }
        assert_eq!(crate::code(&bytes), None, "{name}");
        assert!(fs::read(&path).unwrap() == bytes, "{} is out of date", path.display());
    }
}
