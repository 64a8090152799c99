//! The readers behind one function each, for the fuzzers in `fuzz/` and for `tests/mutation.rs`.
//!
//! Each takes any bytes, reads them under small limits and panics if something was accepted that should not have been.

use std::io::{Cursor, Write};

use flate2::{Compression, GzBuilder};

use super::Signature;
use super::archive::BLOCK_BYTES;
use super::inspect::read_plan;
use super::signature::{is_comment, to_text};
use plugbay_domain::{ArchiveLimits, PublicKey};

const LIMITS: ArchiveLimits =
    ArchiveLimits { upload_bytes: 1 << 20, unpacked_bytes: 1 << 22, file_bytes: 1 << 21, entries: 64, ratio: 200 };

/// A key whose secret half is not kept anywhere.
const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

/// Reads a `.tar.gz`. Bytes that are not gzip are taken for a tar whose checksums are put right and which is wrapped, so
/// that changes get past the checksums.
///
/// # Panics
/// If an archive is accepted that breaks a rule.
pub fn fuzz_targz(bytes: &[u8]) {
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return read(bytes);
    }
    let mut tar = bytes.to_vec();
    mend_checksums(&mut tar);
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::none());
    if gzip.write_all(&tar).is_ok()
        && let Ok(packed) = gzip.finish()
    {
        read(&packed);
    }
}

/// Reads a `.zip`.
///
/// # Panics
/// If an archive is accepted that breaks a rule.
pub fn fuzz_zip(bytes: &[u8]) {
    if bytes.starts_with(b"PK") {
        read(bytes);
    }
}

/// Reads a `.minisig` file.
///
/// # Panics
/// If one signature has two texts, or one is accepted that nobody made.
pub fn fuzz_signature(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(signature) = text.parse::<Signature>() else { return };
    assert!(is_comment(signature.trusted_comment()));
    let (id, archive, global) = signature.parts();
    let again = to_text("", id, archive, signature.trusted_comment(), global);
    let lines = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(&again), lines(text), "a signature has one text");
    if let Ok(key) = KEY.parse::<PublicKey>() {
        assert!(signature.check(&key, &[0; 64]).is_err(), "nobody signed this");
    }
}

fn read(bytes: &[u8]) {
    let size = bytes.len() as u64;
    let Ok((plan, _)) = read_plan(Cursor::new(bytes), size, &LIMITS) else { return };
    let mut total: u64 = 0;
    assert!(plan.entries.len() as u64 <= LIMITS.entries && plan.folders.len() as u64 <= LIMITS.entries);
    for entry in &plan.entries {
        let path = entry.path.as_str();
        let safe = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\0', '\\', '\n']);
        assert!(path.split('/').all(safe), "{path:?} leads elsewhere");
        assert!(entry.size <= LIMITS.file_bytes);
        total = total.saturating_add(entry.size);
    }
    assert!(total <= LIMITS.unpacked_bytes && total <= size.saturating_mul(LIMITS.ratio).max(1 << 20));
    let again = read_plan(Cursor::new(bytes), size, &LIMITS).map(|(plan, _)| plan.entries);
    assert!(again.is_ok_and(|entries| entries == plan.entries), "two readings differ");
}

/// Writes the right checksum into every block that holds one; content that looks like a header is changed as well.
fn mend_checksums(tar: &mut [u8]) {
    for block in tar.chunks_exact_mut(BLOCK_BYTES) {
        let marked = block.get(257..262) == Some(b"ustar") || block.get(154..156) == Some(b"\0 ");
        if !marked {
            continue;
        }
        if let Some(field) = block.get_mut(148..156) {
            field.fill(b' ');
        }
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        let digits = format!("{sum:06o}\0 ");
        for (to, from) in block.iter_mut().skip(148).zip(digits.bytes()) {
            *to = from;
        }
    }
}
