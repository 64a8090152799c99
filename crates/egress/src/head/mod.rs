//! The head of one HTTP request of a plugin, read strictly and written anew. Pure.

use super::body::Body;
use super::{EgressError, Target};

/// Longest head.
pub(super) const MAX_BYTES: usize = 64 << 10;

/// Most lines of a head.
const MAX_HEADERS: usize = 100;

/// Headers about the connection to us, not about the request.
const OWN: [&str; 8] =
    ["connection", "host", "keep-alive", "proxy-authorization", "proxy-connection", "te", "upgrade", "http2-settings"];

/// What stands in the first line beside the method.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `CONNECT host:port`
    Connect(String),
    /// `GET http://host:port/path`
    Absolute {
        /// Host and perhaps a port.
        authority: String,
        /// The rest, beginning with `/` or `?`.
        path: String,
    },
    /// `GET /path`
    Origin(String),
}

/// A request without its body.
#[derive(Debug)]
pub(super) struct Head {
    method: String,
    pub(super) form: Form,
    /// `HTTP/1.0` or `HTTP/1.1`.
    pub(super) version: &'static str,
    headers: Vec<(String, Vec<u8>)>,
    /// How long the body is.
    pub(super) body: Body,
}

/// Reads a head and tells its length; `None` while it is incomplete.
pub(super) fn read(bytes: &[u8]) -> Result<Option<(Head, usize)>, EgressError> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        // Both would be told apart from a plain head only at its end.
        let is_other = bytes.first().is_some_and(|byte| !byte.is_ascii_uppercase());
        return if is_other || bytes.len() >= MAX_BYTES {
            Err(refused("has no head that can be read"))
        } else {
            Ok(None)
        };
    };
    if end > MAX_BYTES {
        return Err(refused("has a head that is too long"));
    }
    parse(&bytes[..end]).map(|head| Some((head, end + 4))).map_err(refused)
}

fn refused(problem: &str) -> EgressError {
    EgressError::Http { problem: problem.to_owned() }
}

fn parse(bytes: &[u8]) -> Result<Head, &'static str> {
    let mut lines = Vec::new();
    let mut rest = bytes;
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n");
        let line = &rest[..end.unwrap_or(rest.len())];
        // A lone CR or LF is the end of a line to some.
        if line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Err("has line ends that can be read in two ways");
        }
        lines.push(line);
        match end {
            Some(end) => rest = &rest[end + 2..],
            None => break,
        }
    }
    let (first, lines) = lines.split_first().ok_or("is empty")?;
    if lines.len() > MAX_HEADERS {
        return Err("has too many headers");
    }
    let (method, form, version) = first_line(first)?;
    let headers = lines.iter().map(|line| header(line)).collect::<Result<Vec<_>, _>>()?;
    let body = body_of(&headers, version)?;
    let named = all(&headers, "connection").flat_map(|value| value.split(|byte| *byte == b','));
    for name in named {
        let name = name.trim_ascii();
        // Dropping these with the connection would change where the request ends or for whom it is.
        if ["content-length", "transfer-encoding", "host"].iter().any(|kept| name.eq_ignore_ascii_case(kept.as_bytes()))
        {
            return Err("names a header of the request as one of the connection");
        }
    }
    if all(&headers, "host").count() > 1 {
        return Err("has more than one Host");
    }
    Ok(Head { method, form, version, headers, body })
}

fn first_line(line: &[u8]) -> Result<(String, Form, &'static str), &'static str> {
    let line = std::str::from_utf8(line).ok().filter(|line| line.bytes().all(|byte| matches!(byte, b' '..=b'~')));
    let mut words = line.ok_or("has a strange first line")?.split(' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err("has a strange first line");
    };
    let version = match version {
        "HTTP/1.1" => "HTTP/1.1",
        "HTTP/1.0" => "HTTP/1.0",
        _ => return Err("has another version than HTTP/1.0 and HTTP/1.1"),
    };
    if method.is_empty() || method.len() > 32 || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err("has a strange method");
    }
    let form = if method == "CONNECT" {
        Form::Connect(target.to_owned())
    } else if target.starts_with('/') {
        Form::Origin(target.to_owned())
    } else if let Some(rest) =
        target.get(..7).filter(|start| start.eq_ignore_ascii_case("http://")).map(|_| &target[7..])
    {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        Form::Absolute { authority: authority.to_owned(), path: path.to_owned() }
    } else if target.len() >= 8 && target[..8].eq_ignore_ascii_case("https://") {
        return Err("asks the proxy for https without CONNECT");
    } else {
        return Err("is for something else than http");
    };
    if let Form::Absolute { path, .. } | Form::Origin(path) = &form
        && path.contains('#')
    {
        return Err("has a fragment in its address");
    }
    Ok((method.to_owned(), form, version))
}

fn header(line: &[u8]) -> Result<(String, Vec<u8>), &'static str> {
    let at = line.iter().position(|byte| *byte == b':').ok_or("has a header without a colon")?;
    let (name, value) = (&line[..at], line[at + 1..].trim_ascii());
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if name.is_empty() || !name.iter().all(is_token) {
        return Err("has a header with a strange name or a folded line");
    }
    if value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err("has a header with control characters");
    }
    Ok((String::from_utf8_lossy(name).to_ascii_lowercase(), value.to_vec()))
}

fn all<'a>(headers: &'a [(String, Vec<u8>)], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    headers.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_slice())
}

fn body_of(headers: &[(String, Vec<u8>)], version: &str) -> Result<Body, &'static str> {
    let mut codings = all(headers, "transfer-encoding");
    let mut lengths = all(headers, "content-length");
    match (codings.next(), lengths.next()) {
        (Some(_), Some(_)) => Err("has both Content-Length and Transfer-Encoding"),
        (Some(coding), None) => {
            let is_plain = coding.eq_ignore_ascii_case(b"chunked") && codings.next().is_none() && version == "HTTP/1.1";
            if is_plain { Ok(Body::CHUNKED) } else { Err("has a Transfer-Encoding other than `chunked`") }
        }
        (None, Some(length)) => {
            let is_number = (1..=18).contains(&length.len()) && length.iter().all(u8::is_ascii_digit);
            let length = std::str::from_utf8(length).ok().filter(|_| is_number && lengths.next().is_none());
            let length = length.and_then(|text| text.parse().ok());
            length.map(Body::Length).ok_or("has a Content-Length that can be read in two ways")
        }
        (None, None) => Ok(Body::Length(0)),
    }
}

impl Head {
    /// Refuses a request for another host than the one it travels to.
    pub(super) fn check_host(&self, target: &Target) -> Result<(), EgressError> {
        let Some(host) = all(&self.headers, "host").next() else {
            // HTTP/1.0 knows none, and gets the right one.
            return if self.version == "HTTP/1.0" { Ok(()) } else { Err(refused("has no Host")) };
        };
        let text = std::str::from_utf8(host).unwrap_or_default();
        let is_same = Target::parse(text, Some(80))
            .is_ok_and(|named| named == *target || (!text.contains(':') && named.host() == target.host()));
        if is_same {
            return Ok(());
        }
        let problem = format!("is for the host `{}`, and the connection for `{target}`", plugbay_domain::escape(text));
        Err(EgressError::Http { problem })
    }

    /// The head as it is sent on: one request, then the end of the connection.
    pub(super) fn to_bytes(&self, target: &Target) -> Vec<u8> {
        let path = match &self.form {
            Form::Origin(path) => path.clone(),
            Form::Absolute { path, .. } if path.starts_with('/') => path.clone(),
            Form::Absolute { path, .. } => format!("/{path}"),
            Form::Connect(_) => "/".to_owned(),
        };
        let shown = target.to_string();
        let host = if target.port() == 80 { shown.trim_end_matches(":80") } else { &shown };
        let mut bytes = format!("{} {path} {}\r\nHost: {host}\r\n", self.method, self.version).into_bytes();
        let listed: Vec<Vec<u8>> = all(&self.headers, "connection")
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(|name| name.trim_ascii().to_ascii_lowercase())
            .collect();
        let is_own = |name: &str| OWN.contains(&name) || listed.iter().any(|listed| listed == name.as_bytes());
        for (name, value) in self.headers.iter().filter(|(name, _)| !is_own(name)) {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"Connection: close\r\n\r\n");
        bytes
    }
}

#[cfg(test)]
mod tests;
