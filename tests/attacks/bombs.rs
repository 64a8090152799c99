//! 89–105: archives that cost more than they weigh, and what only looks like an archive.
#![allow(unreachable_pub, reason = "a test binary has no outside")]

use std::io::Write;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::forge::{GzipForge, MANIFEST, TarEntry, TarForge, ZipEntry, ZipForge, gzip};
use crate::target::Target;
use crate::{Attack, attack};

pub const TABLE: &[Attack] = &[
    attack(&[89, 98, 102], ratios),
    attack(&[90, 91, 92, 93, 94], gzip_framing),
    attack(&[95, 96, 97], overlaps),
    attack(&[99, 100], entries),
    attack(&[101], one_large_file),
    attack(&[103], archive_in_an_archive),
    attack(&[104], other_formats),
    attack(&[105], uploads_that_are_too_large),
];

const MIB: usize = 1024 * 1024;
const TOO_LARGE: &[&str] = &["archive-too-large"];

/// Longest time in which a bomb may keep the service busy.
const QUICK: Duration = Duration::from_secs(30);

fn quickly(target: &mut Target, what: &str, archive: &[u8], codes: &[&str]) {
    let started = Instant::now();
    target.refuses(what, archive, codes);
    assert!(started.elapsed() < QUICK, "{what} took {:?}", started.elapsed());
}

/// A gzip of a tar with one file of this many zeros, written piece by piece.
fn zeros(bytes: u64) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&TarForge::plugin().unended()).unwrap();
    encoder.write_all(&TarEntry::file("zeros", "").with(|entry| entry.size = Some(bytes)).header()).unwrap();
    let block = vec![0; MIB];
    for _ in 0..bytes / MIB as u64 {
        encoder.write_all(&block).unwrap();
    }
    encoder.write_all(&[0; 1024]).unwrap();
    encoder.finish().unwrap()
}

fn ratios(target: &mut Target) {
    // The header announces 10 GiB; that it is refused does not depend on how much really follows.
    let announced =
        TarForge::plugin().raw(&TarEntry::file("zeros", "").with(|entry| entry.size = Some(10 << 30)).header());
    quickly(target, "10 GiB announced", &announced.raw(&vec![0; 16 * MIB]).gz(), TOO_LARGE);
    quickly(target, "zeros below the limit of one file", &zeros(100 << 20), TOO_LARGE);
    let mut forge = ZipForge::plugin();
    for at in 0..8 {
        forge = forge.file(&format!("zeros{at}"), vec![0; 4 * MIB]);
    }
    quickly(target, "zeros in a zip", &forge.bytes(), TOO_LARGE);
    let lying = ZipEntry::deflated("x", vec![0; 16 * MIB]).both(|fields| fields.size = 1000);
    quickly(
        target,
        "1 kB declared",
        &ZipForge::plugin().add(lying).bytes(),
        &["archive-ambiguous", "archive-too-large"],
    );
}

fn gzip_framing(target: &mut Target) {
    let tar = TarForge::plugin().tar();
    let good = gzip(&tar);
    let malformed: &[&str] = &["archive-malformed"];
    target.refuses("gzip in gzip", &gzip(&good), malformed);
    target.refuses("two members", &[good.as_slice(), &good].concat(), malformed);
    target.refuses("a member of nothing behind it", &[good.as_slice(), &gzip(b"")].concat(), malformed);
    target.refuses("garbage behind it", &[good.as_slice(), b"evil"].concat(), malformed);
    target.refuses("zeros behind it", &[good.as_slice(), &[0; 512]].concat(), malformed);
    target.refuses("wrong CRC", &GzipForge { crc: Some(1), ..GzipForge::default() }.member(&tar), malformed);
    target.refuses("wrong size", &GzipForge { size: Some(1), ..GzipForge::default() }.member(&tar), malformed);
    let name = GzipForge { name: Some(vec![b'x'; MIB]), ..GzipForge::default() };
    target.refuses("a name of 1 MiB", &name.member(&tar), malformed);
    target.refuses("cut off", &good[..good.len() - 9], malformed);
}

fn overlaps(target: &mut Target) {
    // Many directory entries share one packed kernel.
    let kernel = ZipEntry::deflated("kernel", vec![0; MIB]);
    let mut shared = ZipForge::plugin().add(kernel.clone());
    for at in 0..1000 {
        let other = ZipEntry::deflated(format!("copy{at}"), vec![0; MIB]).with(|entry| {
            entry.local = None;
            entry.offset = Some(0);
        });
        shared = shared.add(other);
    }
    let codes = &["archive-ambiguous", "archive-too-large"];
    quickly(target, "full overlap", &shared.bytes(), codes);
    quickly(target, "full overlap with ZIP64", &shared.with(|zip| zip.zip64 = true).bytes(), codes);
    // Each record is quoted as data of the one before it.
    let inner = ZipForge::new().add(kernel).bytes();
    let quoting = ZipEntry::stored("outer", &inner).with(|entry| entry.after.clone_from(&inner));
    quickly(target, "quoted overlap", &ZipForge::plugin().add(quoting).bytes(), codes);
}

fn entries(target: &mut Target) {
    let mut zip = ZipForge::plugin();
    for at in 0..65_000_u32 {
        zip = zip.add(ZipEntry::stored(format!("f{at}"), ""));
    }
    quickly(target, "65,000 empty entries", &zip.bytes(), TOO_LARGE);
    let mut headers = Vec::with_capacity(1000 * 512);
    for at in 0..1000_u32 {
        headers.extend_from_slice(&TarEntry::file(format!("f{at}"), "").header());
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&TarForge::plugin().unended()).unwrap();
    for round in 0..1000_u32 {
        // Another name in each header would cost the test more than the service; the first repeated one is refused too.
        let header = TarEntry::file(format!("r{round}"), "").header();
        encoder.write_all(&header).unwrap();
        encoder.write_all(&headers).unwrap();
    }
    let flood = encoder.finish().unwrap();
    quickly(target, "1,000,000 headers", &flood, &["archive-too-large", "path-collision"]);
}

fn one_large_file(target: &mut Target) {
    let header = TarEntry::file("large", "").with(|entry| entry.size = Some((128 << 20) + 1)).header();
    let archive = TarForge::plugin().raw(&header).raw(&vec![0; 4 * MIB]).gz();
    quickly(target, "128 MiB and a byte", &archive, TOO_LARGE);
}

fn archive_in_an_archive(target: &mut Target) {
    let bomb = ZipForge::new().file("zeros", vec![0; MIB]).bytes();
    let nested = (0..5).fold(bomb, |inner, _| ZipForge::new().add(ZipEntry::stored("inner.zip", inner)).bytes());
    // What is inside is a file like any other and never opened.
    target.accepts("zip in zip", &ZipForge::plugin().add(ZipEntry::stored("42.zip", nested)).bytes());
}

fn other_formats(target: &mut Target) {
    let tar = TarForge::plugin().tar();
    let zip = ZipForge::plugin().bytes();
    let unsupported: &[&str] = &["archive-unsupported"];
    let magics: [(&str, &[u8]); 6] = [
        ("xz", b"\xfd7zXZ\x00\x00\x04"),
        ("zstd", b"\x28\xb5\x2f\xfd\x04\x00"),
        ("7z", b"7z\xbc\xaf\x27\x1c\x00\x04"),
        ("rar", b"Rar!\x1a\x07\x01\x00"),
        ("bzip2", b"BZh91AY&SY"),
        ("text", b"name: my-plugin\n"),
    ];
    for (what, magic) in magics {
        target.refuses(what, &[magic, &[0; 100]].concat(), unsupported);
    }
    target.refuses("a tar that is not packed", &tar, unsupported);
    target.refuses("nothing at all", b"", unsupported);
    // The first bytes decide, whatever the file is called: both are fine under the other's name.
    target.accepts("a zip called .tar.gz", &zip);
    target.refuses("a tar with a zip behind it", &[gzip(&tar), zip.clone()].concat(), &["archive-malformed"]);
    target.refuses("a zip with a tar before it", &[tar.as_slice(), &zip].concat(), unsupported);
    let manifest = TarForge::new().file("plugin.yaml", MANIFEST).tar();
    target.refuses(
        "a tar in the place of a zip's first record",
        &[b"PK\x03\x04".as_slice(), &manifest].concat(),
        &["archive-ambiguous", "archive-malformed", "archive-unsupported"],
    );
}

fn uploads_that_are_too_large(target: &mut Target) {
    let large = vec![0x1f; 64 * MIB + 1];
    let answer = target.install(&large, None);
    answer.expect_problem(413, "archive-too-large");
    target.unchanged("64 MiB and a byte", 1);
    let larger = vec![0x1f; 65 * MIB];
    target.install(&larger, None).expect_problem(413, "body-too-large");
    target.unchanged("65 MiB", 1);
    endless(target);
    lying_length(target);
}

/// Chunks without an end.
fn endless(target: &mut Target) {
    let head = "--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n".as_bytes().to_vec();
    let chunks = std::iter::once(head).chain(std::iter::repeat(vec![0x1f; MIB])).map(Ok::<_, std::io::Error>);
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    let request = target
        .request(reqwest::Method::POST, "/api/plugins/install")
        .header("Content-Type", "multipart/form-data; boundary=b")
        .body(body);
    // The service may close before it has read what is still on its way.
    let sent = target.runtime.block_on(async { request.send().await });
    if let Ok(response) = sent {
        assert_eq!(response.status(), 413);
    }
    target.unchanged("endless chunks", 1);
}

/// Less follows than was announced.
fn lying_length(target: &mut Target) {
    use std::net::{Shutdown, TcpStream};
    let mut stream = TcpStream::connect(&target.address).unwrap();
    let head = format!(
        "POST /api/plugins/install HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 100000\r\n\r\n\
         --b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n\x1f",
        target.token
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    std::io::copy(&mut stream, &mut std::io::sink()).ok();
    target.unchanged("a length that lies", 0);
}
