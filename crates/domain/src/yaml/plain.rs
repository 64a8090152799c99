//! What text without quotes means, and whether every YAML reader agrees on it.

/// The meaning of a plain scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain {
    /// Nothing: empty, `~` or `null`.
    Nothing,
    /// `true` or `false`.
    Boolean(bool),
    /// A number as JSON writes it.
    Number,
    /// Text to some readers, a boolean, number or date to others, such as `no`, `0o17`, `1_000`, `12:30:45`.
    Ambiguous,
    /// Text to every reader.
    Text,
}

impl Plain {
    /// Decides what `text` means.
    pub fn of(text: &str) -> Self {
        match text {
            "" | "~" | "null" => Self::Nothing,
            "true" => Self::Boolean(true),
            "false" => Self::Boolean(false),
            _ if is_json_number(text) => Self::Number,
            _ if is_word(text) || is_number_elsewhere(text) || is_date(text) => Self::Ambiguous,
            _ => Self::Text,
        }
    }
}

/// Words that YAML 1.1 reads as a boolean, nothing or a number.
fn is_word(text: &str) -> bool {
    const WORDS: [&str; 14] =
        ["y", "n", "yes", "no", "on", "off", "true", "false", "null", ".nan", ".inf", "+.inf", "-.inf", "="];
    WORDS.iter().any(|word| word.eq_ignore_ascii_case(text))
}

/// `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?`
fn is_json_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    is_digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(is_digits)
        && exponent.is_none_or(|digits| is_digits(digits.strip_prefix(['+', '-']).unwrap_or(digits)))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Numbers of YAML 1.1 or 1.2 that JSON does not have: signs, leading zeros, bases, `_`, base 60, bare points.
fn is_number_elsewhere(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let based = |prefix: &str, radix: u32| {
        text.strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c == '_' || c.is_digit(radix)))
    };
    if based("0x", 16) || based("0o", 8) || based("0b", 2) {
        return true;
    }
    let is_first = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    if !text.bytes().next().is_some_and(is_first) || !text.bytes().any(|byte| byte.is_ascii_digit()) {
        return false;
    }
    if text.contains(':') {
        return is_base_60(text);
    }
    let exponent = text.find(['e', 'E']);
    let mantissa = exponent.map_or(text, |at| &text[..at]);
    let signed = exponent.map_or("0", |at| &text[at + 1..]);
    is_digits(signed.strip_prefix(['+', '-']).unwrap_or(signed))
        && mantissa.matches('.').count() <= 1
        && mantissa.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b'_')
}

/// `12:30:45`, which YAML 1.1 reads as 45045.
fn is_base_60(text: &str) -> bool {
    let (text, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = text.split(':');
    let first = parts.next().unwrap_or_default();
    first.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
        && parts.all(|part| part.len() <= 2 && part.parse::<u8>().is_ok_and(|sixtieth| sixtieth < 60))
        && fraction.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
}

/// `2026-10-01`, alone or with a time behind it.
fn is_date(text: &str) -> bool {
    let Some((date, rest)) = text.split_at_checked(text.find(['T', 't', ' ']).unwrap_or(text.len())) else {
        return false;
    };
    let parts: Vec<&str> = date.split('-').collect();
    matches!(parts[..], [year, month, day] if year.len() == 4 && month.len() <= 2 && day.len() <= 2)
        && parts.iter().all(|part| is_digits(part))
        && rest.chars().all(|c| c.is_ascii_digit() || " :.+-TtZz".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_json() {
        for text in ["0", "-1", "12", "1.10", "1e3", "0.5", "-0.5E-3"] {
            assert_eq!(Plain::of(text), Plain::Number, "{text}");
        }
    }

    #[test]
    fn what_another_reader_takes_for_something_else_is_ambiguous() {
        let traps = [
            "no",
            "Yes",
            "ON",
            "y",
            "True",
            "NULL",
            "0o17",
            "017",
            "0x1F",
            "0b1",
            "1_000",
            "12:30:45",
            "+1",
            ".5",
            "1.",
            ".inf",
            "-.INF",
            ".NaN",
            "2026-10-01",
            "2026-10-01T00:00:00Z",
            "2026-1-1 10:00:00",
        ];
        for text in traps {
            assert_eq!(Plain::of(text), Plain::Ambiguous, "{text}");
        }
    }

    #[test]
    fn everything_else_is_text() {
        let texts = [
            "1.0.0",
            "no way",
            "127.0.0.1:8000",
            "a",
            "0.1.0-rc.1",
            "0xyz",
            "1a",
            ">=0.1",
            "-",
            "2026-10-x",
            "é",
            "10-20",
            "https://e.example",
            "[::1]:80",
            "0 7",
            "e5",
            "_1",
        ];
        for text in texts {
            assert_eq!(Plain::of(text), Plain::Text, "{text}");
        }
    }
}
