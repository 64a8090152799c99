//! Archives as no honest program writes them: every field of tar, zip and gzip under control of the test.
#![allow(clippy::allow_attributes, dead_code, unreachable_pub, reason = "each test binary uses its own part of this")]

mod gzip;
mod tar;
mod zip;

pub use gzip::{GzipForge, gzip};
pub use tar::{TarEntry, TarForge};
pub use zip::{ZipEntry, ZipForge, extra, unicode_path};

/// The smallest manifest; its content is not read by the archive rules.
pub const MANIFEST: &[u8] = b"name: my-plugin\nversion: 1.0.0\nmain: main.py\n";

/// Pseudo-random bytes that do not compress.
pub fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}
