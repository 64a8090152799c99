//! Secrets in what a host sends back. A host may repeat what it was sent, as it is or encoded; a plugin that is not to know a
//! secret must not read it there.
//!
//! This finds values that were encoded in a common way. A host that means to pass a secret on can always do so: it was
//! trusted with it.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::ops::Range;

use data_encoding::{BASE64, BASE64URL};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::forms::Forms;

/// What is not encoded in addresses, by anybody.
const UNRESERVED: &[u8] = b"-._~";

/// The same where `encodeURIComponent` of JavaScript does it.
const UNRESERVED_BY_SCRIPTS: &[u8] = b"-_.!~*'()";

/// Finds secrets in bytes that come from outside, in one pass, and in one more where there are line breaks.
#[derive(Clone, Default)]
pub struct Reflected {
    forms: Forms,
    /// Those of base64, which programs cut into lines: after 76 characters by MIME, after 64 in PEM.
    in_lines: Forms,
}

impl fmt::Debug for Reflected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reflected({} forms)", self.forms.len())
    }
}

impl Reflected {
    /// Shorter secrets stand in any text by chance and cannot be masked.
    pub const SHORTEST: usize = Forms::SHORTEST;

    /// Looks for these secrets.
    pub fn of<'a>(secrets: impl IntoIterator<Item = &'a SecretString>) -> Self {
        let (mut forms, mut in_lines) = (BTreeSet::new(), BTreeSet::new());
        for secret in secrets {
            let value = secret.expose_secret();
            if value.len() >= Self::SHORTEST {
                for value in std::iter::once(Zeroizing::new(value.to_owned())).chain(credentials_in(value)) {
                    // Names of headers come in small letters.
                    let written = [value.to_string(), value.to_lowercase(), value.to_uppercase()].map(Zeroizing::new);
                    forms.extend(written.iter().flat_map(|value| forms_of(value)));
                    in_lines.extend(written.iter().flat_map(|value| base64_forms(value)));
                }
            }
        }
        let of = |forms: BTreeSet<Vec<u8>>| Forms::of(forms.into_iter().map(Zeroizing::new));
        Self { forms: of(forms), in_lines: of(in_lines) }
    }

    /// Tells whether nothing is looked for.
    pub fn is_empty(&self) -> bool {
        self.forms.is_empty()
    }

    /// Where the end of these bytes begins that may be the beginning of something that is looked for.
    pub(super) fn begin_at(&self, bytes: &[u8]) -> usize {
        self.forms.begin_at(bytes).min(self.in_lines.begin_in_lines_at(bytes))
    }

    /// Where secrets are, in the order of their beginnings.
    pub(super) fn find(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        self.forms.find_with(&self.in_lines, bytes)
    }

    /// The same bytes without the secrets.
    pub fn mask(&self, bytes: Vec<u8>) -> Vec<u8> {
        self.forms.mask_with(&self.in_lines, &bytes).unwrap_or(bytes)
    }

    /// The same for a text.
    pub fn mask_text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.mask(text.as_bytes().to_vec())).into_owned()
    }

    /// Tells whether a secret stands in an address, also where parts of it are percent-encoded or would be left out when it
    /// is read: `s3c%72et`, and tabs and line breaks anywhere.
    pub fn stands_in_address(&self, address: &[u8]) -> bool {
        let decode = |bytes: &[u8]| percent_encoding::percent_decode(bytes).collect::<Vec<u8>>();
        let read: Vec<u8> = address.iter().copied().filter(|byte| !byte.is_ascii_control()).collect();
        // Twice: a server may encode what came encoded.
        let once = decode(&read);
        let twice = decode(&once);
        [address.to_vec(), read, once, twice].into_iter().any(|form| self.forms.mask(&form).is_some())
    }
}

/// What a server reads out of a value: what follows a scheme such as `Bearer`, the values of cookies, and name and password
/// of `Basic`.
fn credentials_in(value: &str) -> Vec<Zeroizing<String>> {
    let value = value.trim();
    let after_scheme = value.split_once(char::is_whitespace).map(|(_, rest)| rest.trim());
    let pairs = value.split([';', ',', '&', ' ']).filter_map(|pair| pair.split_once('='));
    let of_pairs = pairs.map(|(_, value)| value.trim().trim_matches('"'));
    let parts = after_scheme.into_iter().chain(of_pairs).map(|part| Zeroizing::new(part.to_owned()));
    let basic = [Some(value), after_scheme].into_iter().flatten().flat_map(basic_credentials);
    parts.chain(basic).filter(|text| text.len() >= Reflected::SHORTEST).collect()
}

/// Name and password together, and the password alone.
fn basic_credentials(value: &str) -> Vec<Zeroizing<String>> {
    let Ok(decoded) = BASE64.decode(value.as_bytes()) else { return Vec::new() };
    let Ok(decoded) = String::from_utf8(decoded).map(Zeroizing::new) else { return Vec::new() };
    let password = decoded.split_once(':').map(|(_, password)| Zeroizing::new(password.to_owned()));
    std::iter::once(decoded).chain(password).collect()
}

fn forms_of(value: &str) -> Vec<Vec<u8>> {
    let json = serde_json::Value::from(value).to_string();
    let json = json[1..json.len() - 1].to_owned();
    let mut forms = vec![
        value.to_owned(),
        value.trim().to_owned(),
        ascii_json(&json),
        ascii_json(&json).replace('/', "\\/"),
        json.replace('/', "\\/"),
        json,
        html(value, "&#39;", "&quot;"),
        html(value, "&#x27;", "&quot;"),
        html(value, "'", "\""),
    ];
    for kept in [UNRESERVED, UNRESERVED_BY_SCRIPTS, b""] {
        for is_upper in [true, false] {
            let encoded = percent(value, kept, is_upper);
            forms.push(encoded.replace("%20", "+"));
            forms.push(encoded);
        }
    }
    let hex: String = value.bytes().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("texts can be written to");
        hex
    });
    forms.extend([hex.to_uppercase(), hex]);
    forms.extend(value.lines().map(str::to_owned));
    let in_wide = [u16::to_le_bytes, u16::to_be_bytes].map(|order| value.encode_utf16().flat_map(order).collect());
    let forms = forms.into_iter().map(String::into_bytes).chain(in_wide);
    forms.chain(base64_forms(value)).collect()
}

/// The value inside base64, wherever in it.
fn base64_forms(value: &str) -> impl Iterator<Item = Vec<u8>> {
    (0..3).flat_map(move |shift| base64(value, shift)).map(String::into_bytes)
}

/// What stands for the value inside base64 of a longer text, such as `user:password`, when so many bytes are before it.
fn base64(value: &str, shift: usize) -> [String; 2] {
    let bytes = [&b"\0\0"[..shift], value.as_bytes()].concat();
    // The first characters depend on what is before, the last one on what comes after.
    let start = (shift * 8).div_ceil(6);
    let end = bytes.len() * 8 / 6;
    [BASE64.encode(&bytes)[start..end].to_owned(), BASE64URL.encode(&bytes)[start..end].to_owned()]
}

fn percent(value: &str, kept: &[u8], is_upper: bool) -> String {
    let mut encoded = String::new();
    for byte in value.bytes() {
        if !kept.is_empty() && (byte.is_ascii_alphanumeric() || kept.contains(&byte)) {
            encoded.push(char::from(byte));
        } else if is_upper {
            write!(encoded, "%{byte:02X}").expect("texts can be written to");
        } else {
            write!(encoded, "%{byte:02x}").expect("texts can be written to");
        }
    }
    encoded
}

/// JSON as it is written where nothing but ASCII may pass.
fn ascii_json(json: &str) -> String {
    let mut ascii = String::new();
    for character in json.chars() {
        if character.is_ascii() {
            ascii.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(ascii, "\\u{unit:04x}").expect("texts can be written to");
            }
        }
    }
    ascii
}

fn html(value: &str, single: &str, double: &str) -> String {
    let value = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    value.replace('\'', single).replace('"', double)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "s3cr/t+\"k€y\" & <more>'";

    fn reflected(secret: &str) -> Reflected {
        Reflected::of([&SecretString::from(secret)])
    }

    #[test]
    fn common_encodings_are_masked() {
        let found = reflected(SECRET);
        let json = serde_json::Value::from(SECRET).to_string();
        let url: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
        let basic = |user: &str| BASE64.encode(format!("{user}:{SECRET}").as_bytes());
        for text in [
            SECRET.to_owned(),
            json.clone(),
            json.replace('/', "\\/"),
            json.replace('€', "\\u20ac"),
            url,
            "s3cr%2Ft%2B%22k%E2%82%ACy%22%20%26%20%3Cmore%3E'".to_owned(),
            "s3cr/t+&quot;k€y&quot; &amp; &lt;more&gt;&#x27;".to_owned(),
            SECRET.to_lowercase(),
            data_encoding::HEXLOWER.encode(SECRET.as_bytes()),
        ] {
            let masked = found.mask_text(&format!("before {text} after"));
            assert!(
                masked.starts_with("before ") && masked.ends_with(" after") && masked.contains("[redacted]"),
                "{masked}"
            );
            assert!(!masked.contains("s3cr") && !masked.contains("more"), "{masked}");
        }
        for user in ["", "a", "ab", "abc", "somebody"] {
            let masked = found.mask_text(&basic(user));
            assert!(masked.contains("[redacted]"), "{user}: {masked}");
            let rest = masked.replace("[redacted]", "");
            assert!(rest.len() <= BASE64.encode(format!("{user}:").as_bytes()).len() + 4, "{user}: {masked}");
        }
    }

    #[test]
    fn bytes_around_a_secret_stay_and_short_ones_are_left() {
        let found = reflected("hunter2hunter2");
        assert_eq!(found.mask(b"\xff\x00hunter2hunter2\xfe".to_vec()), b"\xff\x00[redacted]\xfe");
        assert_eq!(found.mask("é hunter2 €".into()), "é hunter2 €".as_bytes());
        assert!(reflected("seven77").is_empty() && Reflected::of([]).is_empty());
        assert!(!format!("{found:?}").contains("hunter"));
    }

    #[test]
    fn what_a_server_reads_out_of_basic_credentials_is_masked() {
        let found = reflected(&BASE64.encode(b"somebody:hunter2hunter2"));
        assert_eq!(found.mask_text("user somebody, password hunter2hunter2"), "user somebody, password [redacted]");
        assert_eq!(found.mask_text("somebody:hunter2hunter2"), "[redacted]");
    }

    #[test]
    fn what_a_server_reads_out_of_a_whole_header_is_masked() {
        let basic = format!("Basic {}", BASE64.encode(b"somebody:hunter2hunter2"));
        for (secret, repeated) in [
            ("Bearer abc.def-1234567", "abc.def-1234567"),
            ("token   abc.def-1234567", "abc.def-1234567"),
            (basic.as_str(), "hunter2hunter2"),
            ("session=abc.def-1234567", "abc.def-1234567"),
            ("theme=dark; session=\"abc.def-1234567\"; x=y", "abc.def-1234567"),
        ] {
            assert_eq!(reflected(secret).mask_text(&format!("you sent {repeated}")), "you sent [redacted]", "{secret}");
        }
    }

    #[test]
    fn a_secret_is_found_in_an_address_that_is_encoded_in_part() {
        let found = reflected("s3cret-353e-9f1b");
        for address in [
            "https://a.example/s3cret-353e-9f1b/",
            "https://s3cret-353e-9f1b.a.example/",
            "https://a.example/?x=s3cret%2D353e%2d9f1b",
            "https://a.example/?x=s3cret%252D353e%252d9f1b",
            "https://a.example/s3cret-\t353e-\r\n9f1b",
            "https://a.example/S3CRET-353E-9F1B",
            "no address %s3cret-353e-9f1b",
        ] {
            assert!(found.stands_in_address(address.as_bytes()), "{address}");
        }
        assert!(!found.stands_in_address(b"https://a.example/s3cret/353e?9f1b"));
    }

    /// What servers of other systems write, and what is looked for in it does not depend on its length.
    #[test]
    fn a_value_in_utf_16_is_masked_and_a_long_one_has_no_more_forms() {
        for order in [u16::to_le_bytes, u16::to_be_bytes] {
            let wide = |text: &str| text.encode_utf16().flat_map(order).collect::<Vec<u8>>();
            let masked = reflected(SECRET).mask([wide("you sent "), wide(SECRET), wide(".")].concat());
            // The forms of the two orders overlap, so a zero beside the secret may be hidden with it.
            let before = [&wide("you sent ")[..], b"[redacted]"].concat();
            assert!(masked.starts_with(&before) && masked.len() <= before.len() + 2, "{masked:?}");
        }
        let (short, long) = (reflected(&"k3y/".repeat(4)), reflected(&"k3y/".repeat(1_000)));
        assert_eq!((short.forms.len(), short.in_lines.len()), (long.forms.len(), long.in_lines.len()));
        assert!(long.forms.len() < 100 && long.in_lines.len() <= 18, "{long:?}");
    }

    #[test]
    fn nothing_is_done_where_nothing_is_looked_for() {
        let (none, bytes) = (Reflected::of([]), b"line\r\nline\n".repeat(100));
        assert!(none.is_empty() && none.in_lines.is_empty());
        let before = bytes.as_ptr();
        let after = none.mask(bytes);
        assert_eq!(after.as_ptr(), before, "not copied");
    }

    proptest! {
        #[test]
        fn a_value_inside_base64_in_lines_is_found_wherever_it_stands(
            before in proptest::collection::vec(any::<u8>(), 0..90),
            value in "[ -~]{12,90}",
            after in proptest::collection::vec(any::<u8>(), 0..90),
            columns in prop_oneof![Just(76), Just(64), 1..100_usize],
            line_break in prop_oneof![Just("\n"), Just("\r\n"), Just("\\n"), Just("\\r\\n")],
        ) {
            let text = [&before[..], value.as_bytes(), &after[..]].concat();
            let encoded = BASE64.encode(&text);
            let lines: Vec<_> = encoded.as_bytes().chunks(columns).map(String::from_utf8_lossy).collect();
            let masked = reflected(&value).mask_text(&lines.join(line_break));
            prop_assert!(masked.contains("[redacted]"), "{}", masked);
            // No more is left than of the bytes around it, and the characters that it shares with them.
            let rest: String = masked.replace("[redacted]", "").replace(line_break, "");
            prop_assert!(rest.len() <= (before.len() + after.len()).div_ceil(3) * 4 + 8, "{}", masked);
        }

        #[test]
        fn other_lines_stay_as_they_are(text in "([A-Za-z0-9+/]{0,12}(\r\n|\n|\\\\n)?){0,60}") {
            prop_assert_eq!(reflected("not to be met by chance").mask_text(&text), text);
        }

        #[test]
        fn a_value_inside_base64_is_found_wherever_it_stands(
            before in proptest::collection::vec(any::<u8>(), 0..9),
            value in "[ -~]{12,40}",
            after in proptest::collection::vec(any::<u8>(), 0..9),
        ) {
            let text = [&before[..], value.as_bytes(), &after[..]].concat();
            for encoded in [BASE64.encode(&text), BASE64URL.encode(&text)] {
                prop_assert!(reflected(&value).mask_text(&encoded).contains("[redacted]"));
            }
        }

        #[test]
        fn other_bytes_stay_as_they_are(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(reflected("not to be met by chance").mask(bytes.clone()), bytes);
        }
    }
}
