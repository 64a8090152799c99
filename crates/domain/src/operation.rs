//! Which requests of an operator's API plugins may make: methods with paths. Paths are read strictly: what two servers could
//! read in two ways has no form here, so what was matched is what the API gets.

use std::fmt;
use std::str::FromStr;

use super::escape;

/// Bytes of a path with its query.
const MAX_BYTES: usize = 4_096;

/// What may stand in a segment as it is. `;` is left out: some servers cut a segment there.
const PLAIN: &[u8] = b"-._~!$&'()*+,=:@";

/// A method of HTTP that a plugin may use. `CONNECT` and `TRACE` are none: one opens tunnels, the other shows credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpMethod(&'static str);

/// Every method.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// The text is not such a method.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not a method; expected one of GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS")]
pub struct MethodError {
    found: String,
}

impl HttpMethod {
    /// As it is sent.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl FromStr for HttpMethod {
    type Err = MethodError;

    fn from_str(text: &str) -> Result<Self, MethodError> {
        let known = METHODS.into_iter().find(|known| *known == text);
        known.map(Self).ok_or_else(|| MethodError { found: escape(text) })
    }
}

/// Why a path was not accepted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path `{found}` {problem}")]
pub struct PathError {
    found: String,
    problem: &'static str,
}

/// The path of one request, with its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiPath {
    path: String,
    query: Option<String>,
}

impl ApiPath {
    /// As it is sent, below the address of the API.
    pub fn with_query(&self) -> String {
        self.query.as_ref().map_or_else(|| self.path.clone(), |query| format!("{}?{query}", self.path))
    }

    /// Without the query.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl FromStr for ApiPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let refused = |problem| PathError { found: escape(text), problem };
        if text.len() > MAX_BYTES {
            return Err(refused("is too long"));
        }
        let (path, query) = match text.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (text, None),
        };
        check_path(path).map_err(refused)?;
        if query.as_ref().is_some_and(|query| !query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')) {
            return Err(refused("has a query with spaces, `#` or characters that are not ASCII; percent-encode them"));
        }
        Ok(Self { path: path.to_owned(), query })
    }
}

/// Refuses every path that has a second reading.
fn check_path(path: &str) -> Result<(), &'static str> {
    let rest = path.strip_prefix('/').ok_or("does not begin with `/`")?;
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        // At the end it is a slash.
        if segment.is_empty() && segments.peek().is_some() {
            return Err("has `//`; write one slash");
        }
        if segment == "." || segment == ".." {
            return Err("has `.` or `..` for a segment; write the path it leads to");
        }
        check_segment(segment.as_bytes())?;
    }
    Ok(())
}

fn check_segment(segment: &[u8]) -> Result<(), &'static str> {
    let mut at = 0;
    while let Some(byte) = segment.get(at) {
        if byte.is_ascii_alphanumeric() || PLAIN.contains(byte) {
            at += 1;
            continue;
        }
        if *byte != b'%' {
            return Err(
                "has a character that servers read in two ways; percent-encode it, or leave out `;`, `\\` and `#`",
            );
        }
        let digit = |at: usize| segment.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2)) else {
            return Err("has a `%` without two hexadecimal digits");
        };
        let Some(meant) = u8::try_from(high * 16 + low).ok() else { return Err("has a strange `%`") };
        if meant.is_ascii_control() || b"/\\%;?#.".contains(&meant) {
            return Err("hides a slash, dot, `%`, `;`, `?`, `#` or control character behind a percent-encoding");
        }
        if meant.is_ascii_alphanumeric() || b"-_~".contains(&meant) {
            return Err("percent-encodes a letter, digit, `-`, `_` or `~`; write it as it is");
        }
        at += 3;
    }
    Ok(())
}

/// One method with the paths it is for, as the operator writes it: `GET /v1/messages/*`.
///
/// `*` is exactly one segment, `**` at the end one or more. `?*` at the end lets any query through; without it a path with
/// a query is not covered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    method: HttpMethod,
    segments: Vec<Segment>,
    takes_query: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Text(String),
    One,
    Rest,
}

/// Why a text is no operation.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// No method, or one that does not exist.
    #[error("`{found}` is not a method and a path; expected such as `GET /v1/messages/*`")]
    Form {
        /// The text, escaped.
        found: String,
    },
    /// A wrong method.
    #[error(transparent)]
    Method(#[from] MethodError),
    /// A wrong path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A star that would mean something else to everybody.
    #[error("`{found}`: `*` stands for one whole segment, `**` for the rest at the end, `?*` for any query")]
    Star {
        /// The text, escaped.
        found: String,
    },
}

impl Operation {
    /// Tells whether the operator meant this request, too.
    pub fn covers(&self, method: HttpMethod, asked: &ApiPath) -> bool {
        if method != self.method || (asked.query.is_some() && !self.takes_query) {
            return false;
        }
        let mut asked = asked.path[1..].split('/');
        for segment in &self.segments {
            let Some(found) = asked.next() else { return false };
            let fits = match segment {
                Segment::Text(text) => text == found,
                Segment::One => !found.is_empty(),
                Segment::Rest => return !found.is_empty(),
            };
            if !fits {
                return false;
            }
        }
        asked.next().is_none()
    }
}

impl FromStr for Operation {
    type Err = OperationError;

    fn from_str(text: &str) -> Result<Self, OperationError> {
        let form = || OperationError::Form { found: escape(text) };
        let star = || OperationError::Star { found: escape(text) };
        let (method, pattern) = text.split_once(' ').ok_or_else(form)?;
        let method = method.parse()?;
        let (pattern, takes_query) = match pattern.split_once('?') {
            Some((pattern, "*")) => (pattern, true),
            Some(_) => return Err(star()),
            None => (pattern, false),
        };
        pattern.parse::<ApiPath>()?;
        let words: Vec<&str> = pattern[1..].split('/').collect();
        let mut segments = Vec::new();
        for (at, word) in words.iter().enumerate() {
            segments.push(match *word {
                "*" => Segment::One,
                "**" if at + 1 == words.len() => Segment::Rest,
                word if word.contains('*') => return Err(star()),
                word => Segment::Text(word.to_owned()),
            });
        }
        Ok(Self { method, segments, takes_query })
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.method.0)?;
        f.write_str(" ")?;
        for segment in &self.segments {
            f.write_str("/")?;
            f.write_str(match segment {
                Segment::Text(text) => text,
                Segment::One => "*",
                Segment::Rest => "**",
            })?;
        }
        f.write_str(if self.takes_query { "?*" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn covers(operation: &str, method: &str, path: &str) -> bool {
        let Ok(path) = path.parse() else { return false };
        operation.parse::<Operation>().unwrap().covers(method.parse().unwrap(), &path)
    }

    #[test]
    fn a_star_is_one_segment_and_two_are_the_rest() {
        let one = "GET /v1/messages/*";
        assert!(covers(one, "GET", "/v1/messages/7") && covers(one, "GET", "/v1/messages/a%20b"));
        for path in ["/v1/messages", "/v1/messages/", "/v1/messages/7/author", "/v1/messages/7/", "/v2/messages/7", "/"]
        {
            assert!(!covers(one, "GET", path), "{path}");
        }
        assert!(!covers(one, "POST", "/v1/messages/7") && !covers(one, "HEAD", "/v1/messages/7"));
        let inside = "DELETE /v1/*/members/*";
        assert!(covers(inside, "DELETE", "/v1/a/members/b") && !covers(inside, "DELETE", "/v1/a/b/members/c"));
        let rest = "GET /files/**";
        assert!(covers(rest, "GET", "/files/a") && covers(rest, "GET", "/files/a/b/"));
        assert!(!covers(rest, "GET", "/files/") && !covers(rest, "GET", "/files") && !covers(rest, "GET", "/filesa"));
        assert!(covers("GET /", "GET", "/") && covers("GET /a/", "GET", "/a/") && !covers("GET /a", "GET", "/a/"));
    }

    #[test]
    fn a_query_passes_only_where_the_operator_says_so() {
        assert!(!covers("GET /list", "GET", "/list?limit=3") && !covers("GET /list", "GET", "/list?"));
        assert!(covers("GET /list?*", "GET", "/list?limit=3") && covers("GET /list?*", "GET", "/list"));
        assert!(!covers("GET /list?*", "GET", "/list/all?limit=3"));
    }

    #[test]
    fn paths_with_a_second_reading_are_refused() {
        for path in [
            "",
            "v1",
            "http://evil.example/",
            "//evil.example/v1",
            "/v1//messages",
            "/v1/../admin",
            "/v1/./x",
            "/..",
            "/v1/..",
            "/v1/%2e%2e/admin",
            "/v1/%2E%2e/admin",
            "/v1/.%2e/admin",
            "/v1/%252e%252e/admin",
            "/v1/a%2fb",
            "/v1/a%5cb",
            "/v1\\admin",
            "/v1/..;/admin",
            "/v1/a;b=c",
            "/v1/%3badmin",
            "/v1/a#b",
            "/v1/a%23b",
            "/v1/a%3fb",
            "/v1/a%00",
            "/v1/a%0d%0aHost:x",
            "/v1/a\r\nHost: x",
            "/v1/a b",
            "/v1/é",
            "/v1/%",
            "/v1/%4",
            "/v1/%zz",
            "/v1/%61dmin",
            "/v1/a?b#c",
            "/v1/a?b c",
            "/v1/a?\u{7f}",
            "/v1/a?é",
            "/v1/\u{ff0e}\u{ff0e}/x",
            "/v1/a\tb",
            "/v1/a\"b",
            "/v1/<a>",
            "/v1/a|b",
            "/v1/{a}",
            "/v1/a^b",
            "/v1/a`b",
            "*",
        ] {
            assert!(path.parse::<ApiPath>().is_err(), "{path}");
            assert!(!covers("GET /**", "GET", path), "{path}");
        }
        assert!(format!("/{}", "a".repeat(MAX_BYTES)).parse::<ApiPath>().is_err());
        for path in ["/", "/a", "/a/", "/a.b/...x", "/%20", "/a,b:c@d", "/a?x=%2e%2e&y=/"] {
            assert_eq!(path.parse::<ApiPath>().unwrap().with_query(), path);
        }
    }

    #[test]
    fn operations_of_another_form_are_refused() {
        for text in [
            "",
            "GET",
            "get /a",
            "TRACE /a",
            "CONNECT /a",
            "* /a",
            "GET a",
            "GET  /a",
            "GET /a b",
            "GET /a*",
            "GET /**/a",
            "GET /***",
            "GET /a?b",
            "GET /a?*b",
            "GET /../a",
            "GET /a//b",
            "GET /%61",
            "GET *",
            "GET /a#",
        ] {
            assert!(text.parse::<Operation>().is_err(), "{text}");
        }
        for text in ["GET /", "POST /v1/*/x/**?*", "OPTIONS /a/"] {
            assert_eq!(text.parse::<Operation>().unwrap().to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_covered_has_no_second_reading(path in "/v1/[a-z/.%0-9;\\\\?#]{0,20}") {
            if covers("GET /v1/**?*", "GET", &path) {
                let url = url::Url::parse("http://h").unwrap().join(&path).unwrap();
                let (bare, _) = path.split_once('?').unwrap_or((&path, ""));
                prop_assert_eq!(url.path(), bare);
                prop_assert!(url.path().starts_with("/v1/"));
            }
        }
    }
}
