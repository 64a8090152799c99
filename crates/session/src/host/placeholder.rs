//! `{{secret:NAME}}` in the value of a header. It stands alone, or behind one word of its scheme: a plugin that could write
//! more around it would choose which part of the secret a host repeats, and as what a server reads it.

/// What a secret is written as, before and after its name.
const OPEN: &str = "{{secret:";
const CLOSE: &str = "}}";

/// What may stand before a secret, in small or in capital letters.
const SCHEMES: [&str; 4] = ["Bearer ", "Basic ", "Token ", "token="];

/// The value of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Sent as it is.
    Plain(String),
    /// A secret behind its scheme.
    Secret {
        /// With the space or sign that ends it; may be empty.
        scheme: String,
        /// The name of the secret's field.
        field: String,
    },
}

/// The secret does not stand alone. Says what is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misplaced {
    /// Its end is missing.
    Open,
    /// Another text stands beside it.
    Beside,
}

/// Tells whether a text would have a secret put into it if it were a header.
pub(super) fn names_secret(text: &str) -> bool {
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8_lossy();
    text.contains(OPEN) || decoded.contains(OPEN)
}

impl Value {
    /// Reads what a plugin wrote.
    pub(super) fn read(text: &str) -> Result<Self, Misplaced> {
        let Some((scheme, rest)) = text.split_once(OPEN) else { return Ok(Self::Plain(text.to_owned())) };
        let (field, behind) = rest.split_once(CLOSE).ok_or(Misplaced::Open)?;
        let is_scheme = scheme.is_empty() || SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme));
        if !behind.is_empty() || !is_scheme {
            return Err(Misplaced::Beside);
        }
        Ok(Self::Secret { scheme: scheme.to_owned(), field: field.to_owned() })
    }
}

impl Misplaced {
    /// What is wrong with the header `name`, and what helps.
    pub(super) fn told(self, name: &str) -> (String, String) {
        match self {
            Self::Open => (
                format!("the header `{name}` has `{OPEN}` without `{CLOSE}`"),
                "write {{secret:NAME}} with the name of a field".to_owned(),
            ),
            Self::Beside => (
                format!("the header `{name}` has other text beside a secret"),
                "write {{secret:NAME}} alone, or behind `Bearer `, `Basic `, `Token ` or `token=`".to_owned(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_stands_alone_or_behind_its_scheme() {
        let secret = |scheme: &str| Ok(Value::Secret { scheme: scheme.to_owned(), field: "key".to_owned() });
        for scheme in ["", "Bearer ", "bearer ", "BASIC ", "Token ", "token="] {
            assert_eq!(Value::read(&format!("{scheme}{{{{secret:key}}}}")), secret(scheme), "{scheme}");
        }
        assert_eq!(Value::read("plain {{secret}}"), Ok(Value::Plain("plain {{secret}}".to_owned())));
        for text in [
            " {{secret:key}}",
            "{{secret:key}} ",
            "Bearer  {{secret:key}}",
            "Bearer\t{{secret:key}}",
            "Bearer{{secret:key}}",
            "x Bearer {{secret:key}}",
            "Bearer {{secret:key}}, x",
            "{{secret:key}}{{secret:key}}",
            "{{secret:{{secret:key}}}}",
            "Bearer Bearer {{secret:key}}",
        ] {
            assert_eq!(Value::read(text), Err(Misplaced::Beside), "{text}");
        }
        assert_eq!(Value::read("{{secret:key"), Err(Misplaced::Open));
        assert!(names_secret("/%7B%7bsecret%3akey}}") && !names_secret("/secret:key"));
    }
}
