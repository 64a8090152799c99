//! Bombs: each ends at its limit, quickly and without holding its content.

use std::time::{Duration, Instant};

use plugbay::domain::{ArchiveLimits, Code, Refusal};
use plugbay::package::{Limit, PackageError};

use crate::forge::{GzipForge, TarEntry, TarForge, ZipEntry, ZipForge, gzip, noise};
use crate::inspect;

const MIB: usize = 1 << 20;

fn small() -> ArchiveLimits {
    ArchiveLimits { upload_bytes: 4 << 20, unpacked_bytes: 3 << 20, file_bytes: 2 << 20, entries: 20, ratio: 20 }
}

fn limit(bytes: &[u8], limits: &ArchiveLimits) -> Option<Limit> {
    let start = Instant::now();
    let result = inspect(bytes, limits);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    match result {
        Ok(_) => None,
        Err(error @ PackageError::ArchiveTooLarge { .. }) => {
            assert_eq!(error.code(), Code::ArchiveTooLarge);
            assert!(error.how().unwrap().contains("limits."));
            let PackageError::ArchiveTooLarge { limit, .. } = error else { unreachable!() };
            Some(limit)
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn each_limit_is_met_exactly() {
    let tar = |content: Vec<u8>| TarForge::plugin().file("x", content).gz();
    let zip = |content: Vec<u8>| ZipForge::plugin().add(ZipEntry::stored("x", content)).bytes();
    for pack in [tar, zip] {
        assert_eq!(limit(&pack(noise(1, 2 * MIB)), &small()), None);
        assert_eq!(limit(&pack(noise(1, 2 * MIB + 1)), &small()), Some(Limit::FileBytes));
        assert_eq!(limit(&pack(vec![0; MIB - 1000]), &small()), None, "small packages have no ratio");
    }
    assert_eq!(limit(&tar(vec![0; 2 * MIB]), &small()), Some(Limit::Ratio));
    let deflated = ZipForge::plugin().add(ZipEntry::deflated("x", vec![0; 2 * MIB])).bytes();
    assert_eq!(limit(&deflated, &small()), Some(Limit::Ratio));

    let manifest = crate::forge::MANIFEST.len() + 9;
    let whole = |more: usize| {
        let first = noise(1, 2 * MIB);
        TarForge::plugin().file("x", first).file("y", noise(2, MIB - manifest + more)).gz()
    };
    assert_eq!(limit(&whole(0), &small()), None);
    assert_eq!(limit(&whole(1), &small()), Some(Limit::UnpackedBytes));
    assert_eq!(limit(&vec![0; (4 << 20) + 1], &small()), Some(Limit::UploadBytes));
}

#[test]
fn entries_are_counted_with_their_folders() {
    let tar = |count: usize| (0..count).fold(TarForge::plugin(), |tar, at| tar.file(&format!("f{at}"), "")).gz();
    let zip = |count: usize| (0..count).fold(ZipForge::plugin(), |zip, at| zip.file(&format!("f{at}"), "")).bytes();
    assert_eq!((limit(&tar(18), &small()), limit(&tar(19), &small())), (None, Some(Limit::Entries)));
    assert_eq!((limit(&zip(18), &small()), limit(&zip(19), &small())), (None, Some(Limit::Entries)));
    let deep = |folders: usize| TarForge::plugin().file(&format!("{}x", "d/".repeat(folders)), "").gz();
    assert_eq!((limit(&deep(17), &small()), limit(&deep(18), &small())), (None, Some(Limit::Entries)));
    let globals = (0..30).fold(TarForge::plugin(), |tar, _| tar.add(TarEntry::global(&[("comment", b"x")])));
    assert_eq!(limit(&globals.gz(), &small()), Some(Limit::Entries));
}

#[test]
fn a_flood_of_headers_ends_at_the_limit() {
    let header = TarEntry::file("x", "").header();
    let mut tar = TarForge::plugin();
    for at in 0..10_000_u32 {
        tar = tar.add(TarEntry::file(format!("f{at}"), ""));
    }
    let flood = tar.raw(&header.repeat(100_000)).gz();
    let limits = ArchiveLimits { ratio: u64::MAX, ..ArchiveLimits::default() };
    assert_eq!(limit(&flood, &limits), Some(Limit::Entries));
}

#[test]
fn gibibytes_of_zeros_end_at_once() {
    let limits = ArchiveLimits::default();
    let header = TarEntry::file("zeros", "").with(|e| e.size = Some(10 << 30)).header();
    let announced = TarForge::plugin().raw(&header).raw(&vec![0; 64 * MIB]).gz();
    assert_eq!(limit(&announced, &limits), Some(Limit::FileBytes), "by its header");

    let limits = ArchiveLimits { unpacked_bytes: 64 << 20, ..limits };
    let file = vec![0; 20 * MIB];
    let mut tar = TarForge::plugin();
    for at in 0..6 {
        tar = tar.file(&format!("zeros{at}"), &file);
    }
    let bytes = tar.gz();
    assert_eq!(limit(&bytes, &ArchiveLimits { ratio: 20, ..limits }), Some(Limit::Ratio), "by what comes out");
    assert_eq!(limit(&bytes, &limits), Some(Limit::UnpackedBytes));
}

#[test]
fn bytes_outside_of_files_are_bounded_too() {
    let pax = TarEntry::pax(&[("comment", &vec![b'x'; 200 * 1024])]);
    let mut tar = TarForge::plugin();
    for at in 0..18 {
        tar = tar.add(pax.clone()).file(&format!("f{at}"), "");
    }
    let limits = ArchiveLimits { ratio: u64::MAX, ..small() };
    assert_eq!(limit(&tar.gz(), &limits), Some(Limit::UnpackedBytes));
    let tail = gzip(&[TarForge::plugin().tar(), vec![0; 64 * MIB]].concat());
    assert_eq!(inspect(&tail, &limits).unwrap_err().code(), Code::ArchiveMalformed);
    let name = GzipForge { name: Some(vec![b'x'; MIB]), ..GzipForge::default() }.member(&TarForge::plugin().tar());
    assert_eq!(inspect(&name, &limits).unwrap_err().code(), Code::ArchiveMalformed);
}

/// Many entries over the same packed bytes, as in the known 42 kB zip that unpacks to 5 GB.
#[test]
fn overlapping_entries_are_never_unpacked() {
    let kernel = ZipEntry::deflated("kernel", vec![0; MIB]);
    let at = u32::try_from(ZipForge::plugin().bytes().len()).unwrap();
    let mut zip = ZipForge::plugin().add(kernel.clone());
    for number in 0..1000 {
        let name = format!("copy{number}");
        zip = zip.add(
            kernel.clone().central(|f| f.name = name.into_bytes()).with(|e| (e.local, e.offset) = (None, Some(at))),
        );
    }
    assert_eq!(inspect(&zip.bytes(), &ArchiveLimits::default()).unwrap_err().code(), Code::ArchiveAmbiguous);

    let lying = ZipEntry::deflated("x", vec![0; 100 * MIB]).both(|f| f.size = 1024);
    let bytes = ZipForge::plugin().add(lying).bytes();
    assert_eq!(inspect(&bytes, &ArchiveLimits::default()).unwrap_err().code(), Code::ArchiveAmbiguous);
}
