//! Messages of a plugin, read strictly. Results stay raw JSON.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{MAX_DEPTH, PROTOCOL, Violation, hygiene};
use plugbay_domain::CallId;

/// Bytes of the answer to `initialize`: what is offered is kept as long as the plugin runs.
const MAX_READY_BYTES: usize = 64 * 1024;

/// One message of a plugin.
#[derive(Debug)]
pub enum Incoming<'a> {
    /// The answer to a request of ours.
    Answer {
        /// Which request.
        id: u64,
        /// What came of it.
        outcome: Result<&'a RawValue, RemoteError>,
    },
    /// A request of the plugin: a host function.
    Request {
        /// The plugin's own number for it.
        id: i64,
        /// Which function.
        method: Cow<'a, str>,
        /// With what.
        params: Option<&'a RawValue>,
    },
    /// A part of a streamed answer.
    Chunk(Chunk<'a>),
    /// Something to be logged.
    Log(LogNote<'a>),
    /// How far a call has come.
    Progress(Progress),
}

/// A part of a streamed answer.
#[derive(Debug, Deserialize)]
pub struct Chunk<'a> {
    /// The call it belongs to.
    pub call: CallId,
    /// Its number, from 0.
    pub seq: u64,
    /// The last part that was fed to the call and is taken in by this.
    #[serde(default)]
    pub read: Option<u64>,
    /// The part.
    #[serde(borrow)]
    pub data: &'a RawValue,
}

/// A line for the plugin's log.
#[derive(Debug, Deserialize)]
pub struct LogNote<'a> {
    /// Such as `INFO`.
    #[serde(default)]
    pub level: String,
    /// The text.
    pub message: String,
    /// More values, an object. Taken apart, they would need many times the room that they have as text.
    #[serde(default, borrow, deserialize_with = "present")]
    pub fields: Option<&'a RawValue>,
}

/// How far a call has come.
#[derive(Clone, Debug, Deserialize)]
pub struct Progress {
    /// The call.
    pub call: CallId,
    /// 0 to 100.
    pub percent: Option<f64>,
    /// What it is doing.
    pub message: Option<String>,
}

/// What a plugin answered instead of a result.
#[derive(Clone, Debug, Deserialize)]
pub struct RemoteError {
    /// JSON-RPC's code.
    pub code: i64,
    /// One line, such as `ValueError: bad thing`.
    pub message: String,
    /// More, where the runtime has it.
    #[serde(default, deserialize_with = "details")]
    pub data: ErrorDetails,
}

/// Details of an error.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ErrorDetails {
    /// The kind, such as `ValueError`.
    #[serde(default)]
    pub kind: Option<String>,
    /// Where it came from; for the log only.
    #[serde(default)]
    pub trace: Option<String>,
}

/// What a plugin says once it is ready.
#[derive(Clone, Debug, Deserialize)]
pub struct Ready {
    /// The version it speaks.
    pub protocol: u32,
    /// What it was written with.
    #[serde(default)]
    pub sdk: Option<String>,
    /// Methods it can be called by.
    pub methods: Vec<String>,
    /// Commands it answers.
    #[serde(default)]
    pub commands: Vec<String>,
}

impl Ready {
    /// Reads the answer to `initialize`.
    pub fn read(raw: &RawValue) -> Result<Self, Violation> {
        if raw.get().len() > MAX_READY_BYTES {
            let rule = format!("the answer to `initialize` is longer than {MAX_READY_BYTES} bytes");
            return Err(Violation::new(rule));
        }
        let ready: Self = serde_json::from_str(raw.get())
            .map_err(|error| Violation::new(format!("the answer to `initialize`: {error}")))?;
        if ready.protocol == PROTOCOL {
            Ok(ready)
        } else {
            Err(Violation::new(format!("protocol {} instead of {PROTOCOL}", ready.protocol)))
        }
    }
}

/// Details that are not an object, or have other types, are left out: the error itself is what counts. What is not looked
/// for is passed over as text.
fn details<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ErrorDetails, D::Error> {
    let raw = <&RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str(raw.get()).unwrap_or_default())
}

/// `"result": null` is an answer, a missing `result` is none.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&'a RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    jsonrpc: Cow<'a, str>,
    #[serde(default, borrow, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

impl<'a> Incoming<'a> {
    /// Reads one line.
    pub fn read(line: &'a [u8]) -> Result<Self, Violation> {
        let text = std::str::from_utf8(line).map_err(|_not_text| Violation::new("a line is not UTF-8"))?;
        let frame: Frame<'a> = serde_json::from_str(text)
            .map_err(|error| Violation::new(format!("a line is not a JSON-RPC message: {error}")))?;
        // What an answer puts around its payload is one level, what a notification does are two.
        let envelope = if frame.method.is_some() { 2 } else { 1 };
        let depth = MAX_DEPTH.saturating_add(envelope);
        hygiene::check(text, depth).map_err(|error| Violation::new(format!("a line: {error}")))?;
        if frame.jsonrpc != "2.0" {
            return Err(Violation::new("a line is not JSON-RPC 2.0"));
        }
        match (frame.method, frame.id) {
            (Some(method), Some(id)) => {
                let id = whole(id).ok_or_else(|| Violation::new("the id of a request is not a whole number"))?;
                Ok(Self::Request { id, method, params: frame.params })
            }
            (Some(method), None) => Self::notification(&method, frame.params),
            (None, Some(id)) => Self::answer(id, frame.result, frame.error),
            (None, None) => Err(Violation::new("a line is neither a request nor an answer")),
        }
    }

    fn answer(id: &RawValue, result: Option<&'a RawValue>, error: Option<&'a RawValue>) -> Result<Self, Violation> {
        let id = whole(id).and_then(|id| u64::try_from(id).ok());
        let id = id.ok_or_else(|| Violation::new("the id of an answer is not one of ours"))?;
        let outcome = match (result, error) {
            (Some(result), None) => Ok(result),
            (None, Some(error)) => Err(serde_json::from_str(error.get())
                .map_err(|problem| Violation::new(format!("the error of an answer: {problem}")))?),
            _ => return Err(Violation::new("an answer has neither, or both, of `result` and `error`")),
        };
        Ok(Self::Answer { id, outcome })
    }

    fn notification(method: &str, params: Option<&'a RawValue>) -> Result<Self, Violation> {
        let params = params.map_or("null", RawValue::get);
        let read = match method {
            "chunk" => serde_json::from_str(params).map(Self::Chunk),
            "log" => serde_json::from_str(params).map(Self::Log),
            "progress" => serde_json::from_str(params).map(Self::Progress),
            _ => return Err(Violation::new(format!("unknown notification `{}`", plugbay_domain::escape(method)))),
        };
        read.map_err(|error| Violation::new(format!("the notification `{method}`: {error}")))
    }
}

fn whole(raw: &RawValue) -> Option<i64> {
    raw.get().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_null_result_is_an_answer() {
        let line = br#"{"jsonrpc":"2.0","id":7,"result":null}"#;
        let Ok(Incoming::Answer { id: 7, outcome: Ok(result) }) = Incoming::read(line) else { panic!("an answer") };
        assert_eq!(result.get(), "null");
    }

    #[test]
    fn errors_keep_their_kind_and_survive_odd_details() {
        let line = br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"ValueError: x","data":{"kind":"ValueError","trace":"t"}}}"#;
        let Ok(Incoming::Answer { outcome: Err(error), .. }) = Incoming::read(line) else { panic!("an error") };
        assert_eq!(error.data.kind.as_deref(), Some("ValueError"));
        let line = br#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x","data":[7]}}"#;
        assert!(matches!(Incoming::read(line), Ok(Incoming::Answer { outcome: Err(_), .. })));
    }

    #[test]
    fn a_result_may_be_as_deep_as_a_payload_and_no_deeper() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let answer = |depth| format!(r#"{{"jsonrpc":"2.0","id":1,"result":{}}}"#, nested(depth));
        assert!(Incoming::read(answer(MAX_DEPTH).as_bytes()).is_ok());
        assert!(Incoming::read(answer(MAX_DEPTH + 1).as_bytes()).is_err());
        let call = CallId::generate();
        let chunk = |depth| {
            let params = format!(r#"{{"call":"{call}","seq":0,"data":{}}}"#, nested(depth));
            format!(r#"{{"jsonrpc":"2.0","method":"chunk","params":{params}}}"#)
        };
        assert!(Incoming::read(chunk(MAX_DEPTH).as_bytes()).is_ok());
        assert!(Incoming::read(chunk(MAX_DEPTH + 1).as_bytes()).is_err());
    }

    #[test]
    fn what_breaks_the_protocol_is_refused() {
        for line in [
            &b"\xff"[..],
            b"",
            b"[]",
            b"HTTP/1.1 200 OK",
            b"{}",
            br#"{"jsonrpc":"1.0","id":1,"result":1}"#,
            br#"{"jsonrpc":"2.0","id":1}"#,
            br#"{"jsonrpc":"2.0","id":1,"result":1,"error":{"code":1,"message":""}}"#,
            br#"{"jsonrpc":"2.0","id":-1,"result":1}"#,
            br#"{"jsonrpc":"2.0","id":1.5,"result":1}"#,
            br#"{"jsonrpc":"2.0","id":1e400,"result":1}"#,
            br#"{"jsonrpc":"2.0","id":18446744073709551616,"result":1}"#,
            br#"{"jsonrpc":"2.0","id":"1","result":1}"#,
            br#"{"jsonrpc":"2.0","id":null,"result":1}"#,
            br#"{"jsonrpc":"2.0","id":1,"id":1,"result":1}"#,
            br#"{"jsonrpc":"2.0","id":1,"result":{"a":1,"a":2}}"#,
            br#"{"jsonrpc":"2.0","id":1,"result":"\ud800"}"#,
            br#"{"jsonrpc":"2.0","id":1,"result":NaN}"#,
            br#"{"jsonrpc":"2.0","method":"configure","params":{}}"#,
            br#"{"jsonrpc":"2.0","method":"chunk","params":{"call":"x","seq":0,"data":1}}"#,
        ] {
            assert!(Incoming::read(line).is_err(), "{}", String::from_utf8_lossy(line));
        }
    }
}
