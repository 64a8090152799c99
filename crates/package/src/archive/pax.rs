//! The records of PAX extended headers: `LENGTH key=value\n`, nothing between them, no key twice.

use std::collections::HashSet;

use super::super::PackageError;
use plugbay_domain::escape;

/// Longest extended header. macOS writes extended attributes of some kilobytes into it.
pub(super) const MAX_BYTES: u64 = 256 * 1024;

/// The records that say something about the entry that follows.
#[derive(Debug, Default)]
pub(super) struct Extended {
    pub(super) path: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
}

/// Reads the records before one entry.
pub(super) fn parse_extended(place: &str, data: &[u8]) -> Result<Extended, PackageError> {
    let mut found = Extended::default();
    for (key, value) in records(place, data)? {
        match key {
            "path" => found.path = Some(value.to_owned()),
            "size" => found.size = Some(parse_size(place, value)?),
            // Times, owners and comments mean nothing here; so do extended attributes (SCHILY.xattr.*, LIBARCHIVE.*),
            // which are never set on disk.
            _ if is_harmless(key) => {}
            _ => {
                let found = format!("file of another kind than its header says (PAX record `{}`)", escape(key));
                return Err(PackageError::EntryKind { entry: place.to_owned(), found });
            }
        }
    }
    Ok(found)
}

/// Reads a global header, which would speak for all entries that follow: only a comment is allowed in it, as
/// `git archive` writes one.
pub(super) fn check_global(place: &str, data: &[u8]) -> Result<(), PackageError> {
    match records(place, data)?.into_iter().find(|(key, _)| *key != "comment") {
        Some((key, _)) => Err(PackageError::malformed(
            place,
            format!("a global PAX header holds `{}`; only `comment` is allowed in it", escape(key)),
        )),
        None => Ok(()),
    }
}

/// Records that change what an entry is: sparse maps of GNU tar and star, links, star's file types, volume parts.
fn is_harmless(key: &str) -> bool {
    const TELLING: [&str; 4] = ["linkpath", "SCHILY.realsize", "SCHILY.filetype", "SCHILY.sparse"];
    !key.starts_with("GNU.") && !TELLING.contains(&key)
}

fn parse_size(place: &str, value: &[u8]) -> Result<u64, PackageError> {
    std::str::from_utf8(value)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| PackageError::malformed(place, "its PAX size is not a decimal number"))
}

type Record<'a> = (&'a str, &'a [u8]);

fn records<'a>(place: &str, data: &'a [u8]) -> Result<Vec<Record<'a>>, PackageError> {
    let mut found: Vec<Record<'a>> = Vec::new();
    let mut keys = HashSet::new();
    let mut rest = data;
    while !rest.is_empty() {
        let (record, after) =
            split_record(rest).ok_or_else(|| PackageError::malformed(place, "a PAX record is not well-formed"))?;
        // Which of two records counts depends on the reader.
        if !keys.insert(record.0) {
            let rule = format!("the PAX record `{}` appears twice", escape(record.0));
            return Err(PackageError::malformed(place, rule));
        }
        found.push(record);
        rest = after;
    }
    Ok(found)
}

/// Splits off the first record. Its length is decimal without leading zeros and counts itself and the line end.
fn split_record(data: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let digits = data.iter().take(8).position(|byte| *byte == b' ')?;
    let text = std::str::from_utf8(data.get(..digits)?).ok()?;
    if text.starts_with('0') || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (record, after) = data.split_at_checked(text.parse().ok()?)?;
    let record = record.get(digits.checked_add(1)?..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    let (key, value) = record.split_at_checked(equals)?;
    let key = std::str::from_utf8(key).ok()?;
    if key.is_empty() || key.chars().any(char::is_control) {
        return None;
    }
    Some(((key, value.strip_prefix(b"=")?), after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use plugbay_domain::{Code, Refusal};

    fn code(data: &[u8]) -> Option<Code> {
        parse_extended("x", data).err().map(|error| error.code())
    }

    #[test]
    fn records_must_be_well_formed() {
        let malformed: [&[u8]; 13] = [
            b"11 path=a\n",
            b"8 path=a\n",
            b"09 path=a\n",
            b"+9 path=a\n",
            b" 9 path=a\n",
            b"9 path=ab",
            b"8 path a\n",
            b"5 =a\n",
            b"9 pa\0h=a\n",
            b"path=a\n",
            b"99999999999999999999 path=a\n",
            b"9 path=a\n\n",
            b"9 path=a\n9 path=b\n",
        ];
        for data in malformed {
            assert_eq!(code(data), Some(Code::ArchiveMalformed), "{}", data.escape_ascii());
        }
        for size in ["8 size=\n", "9 size=x\n", "11 size=+1\n", "12 size=0x1\n"] {
            assert_eq!(code(size.as_bytes()), Some(Code::ArchiveMalformed), "{size}");
        }
    }

    #[test]
    fn records_that_change_the_kind_are_refused() {
        for data in ["22 GNU.sparse.major=1\n", "14 linkpath=a\n", "21 SCHILY.realsize=9\n"] {
            assert_eq!(code(data.as_bytes()), Some(Code::EntryKind), "{data}");
        }
    }

    #[test]
    fn attributes_and_owners_are_ignored() {
        let data = b"9 path=a\n11 size=12\n12 uid=root\n23 SCHILY.xattr.a=\x00\xff\n=\n";
        let found = parse_extended("x", data).unwrap();
        assert_eq!((found.path, found.size), (Some(b"a".to_vec()), Some(12)));
    }

    #[test]
    fn a_global_header_holds_only_a_comment() {
        assert!(check_global("x", b"13 comment=a\n").is_ok());
        assert!(check_global("x", b"9 path=a\n").is_err());
        assert!(check_global("x", b"11 size=12\n").is_err());
    }
}
