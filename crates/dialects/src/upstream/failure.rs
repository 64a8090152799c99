//! Why a backend did not answer. Of what it says only its message is taken, never its body as it came.

use serde_json::Value;

use super::json::{read, text};
use crate::{Event, FailureClass, UpstreamFailure};

/// Characters of a message that are kept.
const MAX_MESSAGE: usize = 500;

/// Reads the body of an answer with this status.
pub fn failure_of(status: u16, body: &[u8]) -> UpstreamFailure {
    let value = read(&String::from_utf8_lossy(body)).unwrap_or_default();
    let mut failure =
        of_value(&value).unwrap_or_else(|| UpstreamFailure::new(format!("it answered with the status {status}")));
    failure.status = Some(status);
    failure.class = match status {
        401 | 403 => FailureClass::Denied,
        404 => FailureClass::NotFound,
        408 | 429 | 503 | 529 => FailureClass::Overloaded,
        400..=499 => FailureClass::Invalid,
        _ => FailureClass::Other,
    };
    failure
}

/// An error inside an answer, where there is one.
pub(super) fn in_answer(value: &Value) -> Option<Event> {
    of_value(value).map(Event::Failed)
}

fn of_value(value: &Value) -> Option<UpstreamFailure> {
    let error = value.get("error").filter(|error| !matches!(error, Value::Null | Value::Bool(false)));
    let (message, code) = match error {
        Some(Value::String(message)) => (message.as_str(), None),
        Some(error @ Value::Object(_)) => {
            let word = text(error, "code").or_else(|| text(error, "type")).or_else(|| text(error, "status"));
            (text(error, "message").unwrap_or("it does not say why"), word)
        }
        Some(_) => ("it does not say why", None),
        None => {
            let said = ["message", "detail"].into_iter().find_map(|name| text(value, name))?;
            // An answer has members of this name, too.
            let is_answer = ["choices", "content", "done", "type"].iter().any(|name| value.get(name).is_some());
            if is_answer {
                return None;
            }
            (said, None)
        }
    };
    let class = match code {
        Some(code) if code.contains("overloaded") || code.contains("rate_limit") => FailureClass::Overloaded,
        Some(code) if code.contains("invalid_request") => FailureClass::Invalid,
        Some(code) if code.contains("authentication") || code.contains("permission") => FailureClass::Denied,
        Some(code) if code.contains("not_found") => FailureClass::NotFound,
        _ => FailureClass::Other,
    };
    let short = |text: &str| text.chars().take(MAX_MESSAGE).collect::<String>();
    Some(UpstreamFailure { status: None, class, message: short(message), code: code.map(short) })
}
