//! The first line of a session: the shim says which nonce it was given and what it sees of its sandbox.

use serde::Deserialize;
use serde_json::Value;

use super::{PROTOCOL, Violation, hygiene};

/// What the shim says.
#[derive(Clone, Debug, Deserialize)]
pub struct Hello {
    /// What stood in the instance directory.
    pub nonce: String,
    /// The version it speaks.
    pub protocol: u32,
    /// What the kernel grants inside.
    pub report: Value,
}

#[derive(Deserialize)]
struct Line {
    jsonrpc: String,
    method: String,
    params: Hello,
}

/// Reads the line.
pub fn read_hello(line: &[u8]) -> Result<Hello, Violation> {
    let text = std::str::from_utf8(line).map_err(|_not_text| Violation::new("the first line is not UTF-8"))?;
    hygiene::check(text, super::MAX_DEPTH).map_err(|error| Violation::new(format!("the first line: {error}")))?;
    let line: Line = serde_json::from_str(text).map_err(|_other| Violation::new("the first line is not `hello`"))?;
    if line.jsonrpc != "2.0" || line.method != "hello" {
        return Err(Violation::new("the first line is not `hello`"));
    }
    if line.params.protocol != PROTOCOL {
        return Err(Violation::new(format!("protocol {} instead of {PROTOCOL}", line.params.protocol)));
    }
    Ok(line.params)
}
