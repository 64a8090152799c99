//! Secret keys in files that are about to travel: an author's signing key must not reach every operator.
//!
//! A key is told by its content, so its name and the file around it do not matter. Only what can be used counts: a
//! marker without key material (a parser's constant, a shortened example) is no secret, nor are certificates and public keys.

use std::io::{self, Read};
use std::sync::LazyLock;

use regex::bytes::Regex;

use super::PackageError;
use super::archive::{Archive, EntryKind};
use super::inspect::{At, InspectedArchive};
use plugbay_domain::{ArchiveLimits, FieldError, escape};

/// Bytes that are looked at behind the beginning of a key. PEM allows headers before the key's own lines.
const REACH: usize = 4096;

/// Bytes searched at a time, at least.
const CHUNK: usize = 64 * 1024;

/// Shortest piece of base64 that counts as key material. The lines of a PEM file have 64 characters or more.
const MATERIAL: usize = 40;

/// Characters of a minisign secret key: 158 bytes in base64, without the `=` at their end.
const MINISIGN: usize = 211;

/// The beginning of a PEM or PGP private key, or the first six bytes of a minisign secret key (`Ed`, the kind of its
/// protection, `B2`) in base64.
static BEGIN: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"(?-u)-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|RW(?:RTY0|QAAE)Iy";
    Regex::new(pattern).expect("the pattern is fixed and tested")
});

/// A secret key that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Secret {
    kind: &'static str,
    line: u64,
}

/// Searches one file, piece by piece, in bounded memory.
#[derive(Debug, Default)]
struct Search {
    pending: Vec<u8>,
    lines: u64,
    found: Option<Secret>,
}

impl Search {
    fn push(&mut self, piece: &[u8]) {
        if self.found.is_some() {
            return;
        }
        self.pending.extend_from_slice(piece);
        if self.pending.len() >= CHUNK {
            // What begins this near the end may go on in the next piece.
            let decided = self.pending.len().saturating_sub(REACH);
            self.search(decided);
        }
    }

    fn finish(mut self) -> Option<Secret> {
        if self.found.is_none() {
            self.search(self.pending.len());
        }
        self.found
    }

    /// Looks at every beginning before that place, and forgets what lies before it.
    fn search(&mut self, decided: usize) {
        let key = |start: usize| kind_of(self.pending.get(start..)?).map(|kind| (start, kind));
        let starts = BEGIN.find_iter(&self.pending).map(|found| found.start());
        if let Some((start, kind)) = starts.take_while(|start| *start < decided).find_map(key) {
            let before = count_lines(self.pending.get(..start).unwrap_or_default());
            self.found = Some(Secret { kind, line: self.lines.saturating_add(before).saturating_add(1) });
            return;
        }
        let forgotten: Vec<u8> = self.pending.drain(..decided).collect();
        self.lines = self.lines.saturating_add(count_lines(&forgotten));
    }
}

fn count_lines(bytes: &[u8]) -> u64 {
    (bytes.split(|byte| *byte == b'\n').count() as u64).saturating_sub(1)
}

/// What begins here, if it is a whole key and not just its first words.
fn kind_of(text: &[u8]) -> Option<&'static str> {
    let text = text.get(..REACH).unwrap_or(text);
    let Some(label) = text.strip_prefix(b"-----BEGIN ") else {
        return (run_of_base64(text) >= MINISIGN).then_some("a minisign secret key");
    };
    let body =
        label.windows(5).position(|window| window == b"-----").and_then(|end| label.get(end.checked_add(5)?..))?;
    let end = body.windows(5).position(|window| window == b"-----").unwrap_or(body.len());
    let mut pieces = body.get(..end)?.split(|byte| !is_base64(*byte));
    pieces.any(is_material).then_some("a private key in PEM form")
}

/// Long and mixed as random bytes are, which paths and words are not.
fn is_material(piece: &[u8]) -> bool {
    let has = |kind: fn(&u8) -> bool| piece.iter().any(kind);
    piece.len() >= MATERIAL && has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit)
}

fn run_of_base64(text: &[u8]) -> usize {
    text.iter().take_while(|byte| is_base64(**byte)).count()
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}

/// Every secret key of a package, one for each file.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    found: Vec<FieldError>,
}

impl Secrets {
    /// Looks into one file.
    pub(super) fn look_into(&mut self, path: &str, content: &mut dyn Read) -> io::Result<()> {
        let mut search = Search::default();
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = content.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            search.push(buffer.get(..count).unwrap_or_default());
        }
        self.add(path, search);
        Ok(())
    }

    fn add(&mut self, path: &str, search: Search) {
        if let Some(Secret { kind, line }) = search.finish() {
            self.found.push(FieldError::at("", format!("`{}` holds {kind} in line {line}", escape(path))));
        }
    }

    /// Refuses what was found.
    pub(super) fn refuse(self) -> Result<(), PackageError> {
        if self.found.is_empty() { Ok(()) } else { Err(PackageError::SecretInPackage { found: self.found }) }
    }
}

impl InspectedArchive {
    /// Checks that no file holds a secret key. For authors: what an operator was sent is known already.
    pub fn refuse_secrets(&self, limits: &ArchiveLimits) -> Result<(), PackageError> {
        let mut archive = Archive::open(At::start(&self.archive.file), self.archive.size, limits)?;
        let mut secrets = Secrets::default();
        while let Some(entry) = archive.next()? {
            if entry.kind != EntryKind::File {
                continue;
            }
            let mut search = Search::default();
            archive.content(&mut |piece| {
                search.push(piece);
                Ok(())
            })?;
            secrets.add(entry.path.as_str(), search);
        }
        secrets.refuse()
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::SecretKey;

    fn find(content: &[u8]) -> Option<Secret> {
        let whole = {
            let mut search = Search::default();
            search.push(content);
            search.finish()
        };
        // The size of the pieces changes nothing.
        for size in [1000, CHUNK - 1, CHUNK, CHUNK + 1] {
            let mut search = Search::default();
            content.chunks(size).for_each(|piece| search.push(piece));
            assert_eq!(search.finish(), whole, "{size}");
        }
        whole
    }

    /// Made up when the test runs: not even this file holds one.
    fn body() -> String {
        let key = SecretKey::generate().unwrap().to_file_text(None).unwrap();
        let line = key.expose_secret().lines().nth(1).unwrap().as_bytes().get(20..148).unwrap().to_vec();
        let lines: Vec<_> = line.chunks(64).map(|line| String::from_utf8(line.to_vec()).unwrap()).collect();
        lines.join("\n") + "aB3"
    }

    fn pem(label: &str, body: &str) -> String {
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    }

    #[test]
    fn keys_are_found_wherever_they_stand() {
        for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "OPENSSH PRIVATE KEY", "ENCRYPTED PRIVATE KEY"] {
            let key = pem(label, &body());
            let kind = "a private key in PEM form";
            assert_eq!(find(key.as_bytes()), Some(Secret { kind, line: 1 }), "{label}");
            let in_python = format!("# a test\nKEY = \"\"\"{key}\"\"\"\n");
            assert_eq!(find(in_python.as_bytes()), Some(Secret { kind, line: 2 }), "{label}");
            let in_json = format!("{{\"private_key\": \"{}\"}}", key.replace('\n', "\\n"));
            assert_eq!(find(in_json.as_bytes()), Some(Secret { kind, line: 1 }), "{label}");
            let windows = key.replace('\n', "\r\n");
            assert!(find(windows.as_bytes()).is_some(), "{label}");
        }
        let with_headers = pem("EC PRIVATE KEY", &format!("Proc-Type: 4,ENCRYPTED\nDEK-Info: AES,00\n\n{}", body()));
        assert!(find(with_headers.as_bytes()).is_some());
        assert!(find(pem("PGP PRIVATE KEY BLOCK", &body()).as_bytes()).is_some());
        for before in [CHUNK - REACH - 20, CHUNK - 20, CHUNK, 3 * CHUNK - 5] {
            let late = format!("{}{}", "x\n".repeat(before / 2), pem("PRIVATE KEY", &body()));
            assert_eq!(find(late.as_bytes()).map(|found| found.line), Some(before as u64 / 2 + 1));
        }
    }

    #[test]
    fn signing_keys_are_found_with_and_without_their_comment() {
        let key = SecretKey::generate().unwrap();
        let plain = key.to_file_text(None).unwrap();
        let kind = "a minisign secret key";
        assert_eq!(find(plain.expose_secret().as_bytes()), Some(Secret { kind, line: 2 }));
        let line = plain.expose_secret().lines().nth(1).unwrap();
        assert_eq!(find(format!("KEY='{line}'").as_bytes()), Some(Secret { kind, line: 1 }));
        let protected = key.to_file_text(Some(&"pw".into())).unwrap();
        assert_eq!(find(protected.expose_secret().as_bytes()), Some(Secret { kind, line: 2 }));
        assert_eq!(find(key.to_public_file_text().as_bytes()), None);
    }

    #[test]
    fn what_is_no_usable_key_may_travel() {
        for harmless in [
            pem("CERTIFICATE", &body()),
            pem("PUBLIC KEY", &body()),
            pem("RSA PRIVATE KEY", "MIIEowIBAAKC...\n..."),
            "START = b\"-----BEGIN OPENSSH PRIVATE KEY-----\"\nEND = b\"-----END OPENSSH PRIVATE KEY-----\"\n"
                .to_owned(),
            format!(
                "BEGIN = '-----BEGIN PRIVATE KEY-----'\n{}",
                "import a_long_name_of_a_module_and_no_key_at_all\n".repeat(9)
            ),
            "RWRTY0Iy is how a key begins".to_owned(),
        ] {
            assert_eq!(find(harmless.as_bytes()), None, "{harmless}");
        }
    }
}
