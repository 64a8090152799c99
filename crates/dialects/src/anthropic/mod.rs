//! Anthropic's messages, as its official clients read and write them.

mod parse;
mod stream;
#[cfg(test)]
mod tests;
mod whole;

use serde_json::{Value, json};

pub use parse::{parse, parse_count};
pub use stream::Stream;
pub use whole::whole;

use crate::Finish;

/// An error as it is sent.
pub fn error(kind: &str, message: &str) -> Value {
    json!({ "type": "error", "error": { "type": kind, "message": message } })
}

/// Why an answer ended, in its words.
fn stop_reason(finish: &Finish) -> &str {
    match finish {
        Finish::Length => "max_tokens",
        Finish::ToolCalls => "tool_use",
        Finish::ContentFilter => "refusal",
        Finish::Other(other) if other == "stop_sequence" || other == "pause_turn" => other,
        Finish::Stop | Finish::Other(_) => "end_turn",
    }
}
