//! Takes encodings off: base64, base32, hexadecimal, rot13, zlib, gzip. The result is bounded, also where a stream promises more.

use std::io::Read;

use data_encoding::{BASE32, BASE32_NOPAD, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use flate2::read::{MultiGzDecoder, ZlibDecoder};

use super::MAX_VALUE;
use crate::value::Constant;

/// What a function of Python's library decodes to; nothing for other functions, and for what it would refuse.
pub(crate) fn by_function(function: &str, argument: &Constant) -> Option<Constant> {
    let bytes = argument.bytes()?;
    let decoded = match function {
        "base64.b64decode" | "base64.standard_b64decode" | "base64.decodebytes" | "binascii.a2b_base64" => {
            base64(bytes)
        }
        "base64.urlsafe_b64decode" => base64_for_urls(bytes),
        "base64.b32decode" => BASE32.decode(bytes).or_else(|_| BASE32_NOPAD.decode(bytes)).ok(),
        "base64.b16decode"
        | "binascii.unhexlify"
        | "binascii.a2b_hex"
        | "builtins.bytes.fromhex"
        | "builtins.bytearray.fromhex" => hexadecimal(bytes),
        "base64.b85decode" => base85(bytes),
        "zlib.decompress" => inflated(ZlibDecoder::new(bytes)),
        "gzip.decompress" => inflated(MultiGzDecoder::new(bytes)),
        _ => None,
    };
    decoded.map(Constant::Bytes)
}

/// `codecs.decode(value, name)`.
pub(crate) fn by_codec(value: &Constant, name: &str) -> Option<Constant> {
    match name.to_ascii_lowercase().replace(['_', '-'], "").as_str() {
        "rot13" => value.as_text().map(|text| Constant::Text(rot13(text))),
        "hex" | "hexcodec" => hexadecimal(value.bytes()?).map(Constant::Bytes),
        "base64" | "base64codec" => base64(value.bytes()?).map(Constant::Bytes),
        "zlib" | "zlibcodec" | "zip" => inflated(ZlibDecoder::new(value.bytes()?)).map(Constant::Bytes),
        "utf8" | "ascii" | "latin1" | "utf" => text(value.bytes()?).map(Constant::Text),
        _ => None,
    }
}

/// Bytes as text.
pub(crate) fn text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

/// Characters outside of the alphabet are dropped, as Python does.
fn base64(bytes: &[u8]) -> Option<Vec<u8>> {
    let is_known = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let kept: Vec<u8> = bytes.iter().copied().filter(is_known).collect();
    BASE64_NOPAD.decode(&kept).ok()
}

fn base64_for_urls(bytes: &[u8]) -> Option<Vec<u8>> {
    let is_known = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let kept: Vec<u8> = bytes.iter().copied().filter(is_known).collect();
    BASE64URL_NOPAD.decode(&kept).ok()
}

fn hexadecimal(bytes: &[u8]) -> Option<Vec<u8>> {
    let kept: Vec<u8> = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    HEXLOWER_PERMISSIVE.decode(&kept).ok()
}

/// Shortest text that is tried.
const MIN_GUESSED: usize = 24;

/// What a text is that looks encoded, though no known function decodes it: only where the result is text again.
pub(crate) fn guess(text: &str) -> Option<String> {
    let text = text.trim();
    if text.len() < MIN_GUESSED || text.len() > MAX_VALUE {
        return None;
    }
    let is_hexadecimal = text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let bytes = if is_hexadecimal {
        hexadecimal(text.as_bytes())?
    } else {
        let is_alphabet =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'\n' | b'-' | b'_');
        if !text.bytes().all(is_alphabet) {
            return None;
        }
        base64(text.as_bytes()).or_else(|| base64_for_urls(text.as_bytes()))?
    };
    let bytes = match bytes.as_slice() {
        [0x78, ..] => inflated(ZlibDecoder::new(&bytes[..])).unwrap_or(bytes),
        [0x1f, 0x8b, ..] => inflated(MultiGzDecoder::new(&bytes[..])).unwrap_or(bytes),
        _ => bytes,
    };
    let decoded = String::from_utf8(bytes).ok()?;
    let is_text = |letter: char| !letter.is_control() || matches!(letter, '\n' | '\r' | '\t');
    decoded.chars().all(is_text).then_some(decoded)
}

/// The alphabet of `base64.b85encode`.
const BASE85: &[u8; 85] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";

fn base85(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(bytes.len());
    for group in bytes.chunks(5) {
        let mut value = 0_u64;
        for at in 0..5 {
            let byte = group.get(at).copied().unwrap_or(b'~');
            let digit = BASE85.iter().position(|known| *known == byte)?;
            value = value * 85 + digit as u64;
        }
        let whole = u32::try_from(value).ok()?.to_be_bytes();
        decoded.extend_from_slice(&whole[..group.len().saturating_sub(1)]);
    }
    Some(decoded)
}

/// What a stream unpacks to; a bomb is cut off and not known.
fn inflated(reader: impl Read) -> Option<Vec<u8>> {
    let mut inflated = Vec::new();
    reader.take(MAX_VALUE as u64 + 1).read_to_end(&mut inflated).ok()?;
    (inflated.len() <= MAX_VALUE).then_some(inflated)
}

fn rot13(text: &str) -> String {
    let turned = |base: u8, letter: u8| char::from((letter - base + 13) % 26 + base);
    text.chars()
        .map(|character| match character {
            'a'..='z' => turned(b'a', character as u8),
            'A'..='Z' => turned(b'A', character as u8),
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(function: &str, argument: &str) -> Option<String> {
        let decoded = by_function(function, &Constant::Text(argument.to_owned()))?;
        text(decoded.bytes()?)
    }

    #[test]
    fn encodings_are_those_of_python() {
        assert_eq!(decoded("base64.b64decode", "aW1wb3J0IG9z").as_deref(), Some("import os"));
        assert_eq!(decoded("base64.b64decode", "aW1wb3\nJ0IG9zCg==").as_deref(), Some("import os\n"));
        assert_eq!(decoded("binascii.unhexlify", "6f73").as_deref(), Some("os"));
        assert_eq!(decoded("base64.b32decode", "N5ZQ====").as_deref(), Some("os"));
        // python3 -c "import base64; print(base64.b85encode(b'import os'))"
        assert_eq!(decoded("base64.b85decode", "X>D+Ca&#bXa{").as_deref(), Some("import os"));
        assert_eq!(by_codec(&Constant::Text("riny".to_owned()), "rot_13"), Some(Constant::Text("eval".to_owned())));
        assert_eq!(decoded("base64.b64decode", "a"), None);
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        use std::io::Write as _;
        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        packed.write_all(&vec![0; 4 * MAX_VALUE]).unwrap();
        let packed = packed.finish().unwrap();
        assert!(packed.len() < 10_000);
        assert_eq!(by_function("zlib.decompress", &Constant::Bytes(packed)), None);
    }
}
