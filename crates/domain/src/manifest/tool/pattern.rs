//! Patterns over names of tools, as tokens carry them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::mcp_name;
use crate::{PluginName, escape};

/// Longest pattern: a plugin, a dot and a tool.
const MAX_CHARACTERS: usize = 128;

/// A name such as `git.git_status` in which `*` stands for any run of characters, as in `fs.*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ToolPattern(String);

/// The text is no such pattern.
#[derive(Debug, thiserror::Error)]
#[error("`{found}` is not a pattern of tools: expected letters, digits, `-`, `_`, `.` and `*`, such as `git.*`")]
pub struct ToolPatternError {
    found: String,
}

impl ToolPattern {
    /// Tells whether the pattern covers the tool. One that is called like its plugin is covered by either of `fs` and
    /// `fs.fs`, and so by `fs.*`.
    pub fn matches(&self, plugin: &PluginName, tool: &str) -> bool {
        self.covers(&format!("{plugin}.{tool}")) || self.covers(&mcp_name(plugin, tool))
    }

    /// Tells whether the pattern could cover a tool of the plugin, without knowing its tools.
    pub fn may_match(&self, plugin: &PluginName) -> bool {
        self.covers(plugin.as_str()) || !self.after(&format!("{plugin}.")).is_empty()
    }

    fn covers(&self, name: &str) -> bool {
        self.after(name).iter().any(|at| self.0[*at..].bytes().all(|byte| byte == b'*'))
    }

    /// Where in the pattern one can be once the text is read. From each such place some further text is covered.
    fn after(&self, text: &str) -> Vec<usize> {
        let pattern = self.0.as_bytes();
        let with_stars = |mut at: usize, found: &mut Vec<usize>| {
            while !found.contains(&at) {
                found.push(at);
                if pattern.get(at) != Some(&b'*') {
                    break;
                }
                at += 1;
            }
        };
        let mut places = Vec::new();
        with_stars(0, &mut places);
        for byte in text.bytes() {
            let mut next = Vec::new();
            for at in places {
                match pattern.get(at) {
                    Some(b'*') => with_stars(at, &mut next),
                    Some(found) if *found == byte => with_stars(at + 1, &mut next),
                    _ => {}
                }
            }
            places = next;
        }
        places
    }
}

impl FromStr for ToolPattern {
    type Err = ToolPatternError;

    fn from_str(text: &str) -> Result<Self, ToolPatternError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'*');
        if text.is_empty() || text.len() > MAX_CHARACTERS || !text.bytes().all(allowed) {
            return Err(ToolPatternError { found: escape(text) });
        }
        // `_` in the name of a plugin reads as `-`. After the first `*` that name may have ended.
        let end = text.find(['.', '*']).unwrap_or(text.len());
        let (plugin, rest) = text.split_at(end);
        Ok(Self(plugin.replace('_', "-") + rest))
    }
}

impl TryFrom<String> for ToolPattern {
    type Error = ToolPatternError;

    fn try_from(text: String) -> Result<Self, ToolPatternError> {
        text.parse()
    }
}

impl From<ToolPattern> for String {
    fn from(pattern: ToolPattern) -> Self {
        pattern.0
    }
}

impl fmt::Display for ToolPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
