//! The numbers of a tar header.

/// Reads a numeric field: octal digits between blanks, or base-256. A blank field is 0; anything else is `None`.
///
/// Readers disagree on garbage after the digits, on signs and on high bits, so none of them is a number here.
pub(super) fn parse(field: &[u8]) -> Option<u64> {
    match field {
        [0x80, rest @ ..] => {
            rest.iter().try_fold(0_u64, |value, byte| Some(value.checked_mul(256)? | u64::from(*byte)))
        }
        _ => parse_octal(field),
    }
}

/// Reads a time, which base-256 can also hold negative. Its value means nothing here.
pub(super) fn is_time(field: &[u8]) -> bool {
    field.first() == Some(&0xff) || parse(field).is_some()
}

/// Reads octal digits alone.
pub(super) fn parse_octal(field: &[u8]) -> Option<u64> {
    let digits = field.trim_ascii_start();
    let end = digits.iter().position(|byte| matches!(byte, 0 | b' ')).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at_checked(end)?;
    if rest.iter().any(|byte| !matches!(byte, 0 | b' ')) {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| match digit {
        b'0'..=b'7' => Some(value.checked_mul(8)? | u64::from(digit & 7)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_reading() {
        let table: [(&[u8], Option<u64>); 13] = [
            (b"0000644\0", Some(0o644)),
            (b"    644 ", Some(0o644)),
            (b"644 \0\0  ", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"77777777777", Some((1 << 33) - 1)),
            (&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3], Some(0x0001_0203)),
            (&[0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], None),
            (&[0xff; 12], None),
            (&[0x81, 0, 0, 0, 0, 0, 0, 1], None),
            (b"-000001\0", None),
            (b"0000648\0", None),
            (b"644\x00644\0", None),
            (b"0x1ff\0\0\0", None),
        ];
        for (field, value) in table {
            assert_eq!(parse(field), value, "{field:?}");
        }
        assert!(is_time(&[0xff; 12]) && !is_time(b"yesterday\0\0\0"));
    }
}
