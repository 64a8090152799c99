//! Extra fields of zip records. Some of them override what the record says; those must say the same or are refused.

use super::super::PackageError;
use super::zip_record::Fields;

const ZIP64: u16 = 0x0001;
const UNIX_LINK: u16 = 0x000d;
const UNICODE_PATH: u16 = 0x7075;
const ASI_UNIX: u16 = 0x756e;
const AES: u16 = 0x9901;

/// What extra fields say that has to be looked at.
#[derive(Debug, Default)]
pub(super) struct Extra {
    zip64: Option<Vec<u64>>,
}

impl Extra {
    /// Reads the extra fields of one record; `place` names its entry.
    pub(super) fn parse(place: &str, extra: &[u8], name: &[u8]) -> Result<Self, PackageError> {
        let mut fields = Fields(extra);
        let mut found = Self::default();
        let mut unicode_path = false;
        while !fields.0.is_empty() {
            let (id, content) = split(&mut fields)
                .ok_or_else(|| PackageError::ambiguous(place, "its extra field has a wrong length"))?;
            match id {
                ZIP64 => {
                    let (values, rest) = content.as_chunks::<8>();
                    if found.zip64.is_some() || !(rest.is_empty() || rest == [0; 4]) {
                        return Err(PackageError::ambiguous(place, "its ZIP64 field is not well-formed"));
                    }
                    found.zip64 = Some(values.iter().map(|value| u64::from_le_bytes(*value)).collect());
                }
                UNICODE_PATH => {
                    // Some programs take this name, others the record's own.
                    if unicode_path || !is_same_name(content, name) {
                        return Err(PackageError::ambiguous(place, "a second, Unicode name differs from its name"));
                    }
                    unicode_path = true;
                }
                ASI_UNIX | UNIX_LINK => {
                    return Err(PackageError::ambiguous(place, "an extra field holds a second mode or a link"));
                }
                AES => return Err(PackageError::unsupported(place, "encryption")),
                _ => {}
            }
        }
        Ok(found)
    }

    /// Replaces the values that the record leaves to ZIP64, in their order. What ZIP64 says beyond them must agree.
    pub(super) fn resolve<const N: usize>(
        self,
        place: &str,
        values: [(u64, bool); N],
    ) -> Result<[u64; N], PackageError> {
        let disagrees = || PackageError::ambiguous(place, "its ZIP64 field does not agree with its header");
        let mut given = self.zip64.unwrap_or_default().into_iter();
        // Either only the values that are needed stand there, or all from the first on.
        let all = given.len() > values.iter().filter(|(_, left)| *left).count();
        let mut resolved = values.map(|(value, _)| value);
        for (value, (_, left_to_zip64)) in resolved.iter_mut().zip(values) {
            if left_to_zip64 {
                *value = given.next().ok_or_else(disagrees)?;
            } else if all && given.next().is_some_and(|other| other != *value) {
                return Err(disagrees());
            }
        }
        if given.next().is_some() { Err(disagrees()) } else { Ok(resolved) }
    }
}

fn split<'a>(fields: &mut Fields<'a>) -> Option<(u16, &'a [u8])> {
    let id = fields.u16()?;
    let length = fields.u16()?;
    Some((id, fields.slice(length.into())?))
}

/// Version 1, the CRC of the plain name, the name in UTF-8.
fn is_same_name(content: &[u8], name: &[u8]) -> bool {
    let mut crc = flate2::Crc::new();
    crc.update(name);
    let mut fields = Fields(content);
    fields.bytes() == Some([1]) && fields.u32() == Some(crc.sum()) && fields.0 == name
}
