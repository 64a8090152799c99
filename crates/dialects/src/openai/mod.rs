//! OpenAI's chat completions, as its official clients read and write them.

mod parse;
mod stream;
#[cfg(test)]
mod tests;
mod whole;

use serde_json::{Value, json};

pub use parse::parse;
pub use stream::Stream;
pub use whole::{model, models, whole};

/// What an error says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorBody {
    /// For people.
    pub message: String,
    /// The class of the error, such as `invalid_request_error`.
    pub kind: &'static str,
    /// The member of the request that is wrong.
    pub param: Option<String>,
    /// The word for programs.
    pub code: Option<String>,
}

impl ErrorBody {
    /// The error as it is sent.
    pub fn to_json(&self) -> Value {
        let Self { message, kind, param, code } = self;
        json!({ "error": { "message": message, "type": kind, "param": param, "code": code } })
    }
}

/// A frame of a stream.
fn frame(data: &Value) -> String {
    format!("data: {data}\n\n")
}
