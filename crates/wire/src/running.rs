//! Plugins that run: starting and stopping, calls, and how they fare.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A plugin was enabled or disabled.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StatusChanged {
    /// The plugin.
    #[schema(example = "plugin_01920000000070008000000000000000")]
    pub plugin_id: String,
    /// What was wished: `enabled` or `disabled`.
    #[schema(example = "enabled")]
    pub status: String,
    /// What is true now.
    #[schema(example = "active")]
    pub state: String,
    /// The same for people.
    pub message: String,
    /// Plugins that were enabled before it because it requires them, in that order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_enabled: Vec<String>,
    /// Plugins that were disabled before it because they require it, in that order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_disabled: Vec<String>,
}

/// A call of a plugin.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecuteRequest {
    /// What the plugin gets, any JSON; `{}` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value, required = false, example = json!({"message": "Hello", "user": "john_doe"}))]
    pub context: Option<Box<RawValue>>,
    /// One of the methods the plugin offers; `execute` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "execute")]
    pub method: Option<String>,
    /// Longest time in milliseconds; the plugin's own limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, example = 30_000)]
    pub timeout_ms: Option<u64>,
}

/// What a plugin answered. A plugin that says it failed is an answer, too.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ExecuteAnswer {
    /// Whether the plugin did what it was asked for.
    pub success: bool,
    /// The result, any JSON; there on success, `null` included.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schema(value_type = Value, required = false)]
    pub result: Option<Box<RawValue>>,
    /// What went wrong inside the plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "ValueError: bad thing")]
    pub error: Option<String>,
    /// The kind of exception that it raised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "ValueError")]
    pub error_kind: Option<String>,
    /// The outcome in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Seconds from sending the call to having the answer.
    #[schema(example = 0.000_245)]
    pub execution_time: f64,
    /// The call, as logs and the list of calls name it.
    #[schema(example = "call_01920000000070008000000000000000")]
    pub call_id: String,
}

/// Keeps `null` apart from an absent value.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

/// A part of a streamed answer: event `chunk`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ChunkEvent {
    /// Its number, from 0.
    pub seq: u64,
    /// The value, any JSON.
    #[schema(value_type = Value)]
    pub data: Box<RawValue>,
}

/// How far a streamed call has come: event `progress`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProgressEvent {
    /// Percent done, if the plugin knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    /// What it is doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The latest calls of a plugin that have ended, newest first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CallList {
    /// The calls.
    pub calls: Vec<CallView>,
}

/// One call.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CallView {
    /// Its id.
    pub call_id: String,
    /// What was called.
    pub method: String,
    /// When.
    #[schema(format = DateTime)]
    pub started_at: String,
    /// How long it took.
    pub duration_ms: Option<f64>,
    /// `ok`, `failed` (the plugin said so), `raised`, `timeout`, `cancelled`, `ended` (with its session) or `refused`.
    #[schema(example = "ok")]
    pub outcome: String,
}

/// One line of a plugin's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// When it arrived.
    #[schema(format = DateTime)]
    pub ts: String,
    /// `stdout`, `stderr`, `log`, or `plugbay` for what the service has to say.
    #[schema(example = "stderr")]
    pub stream: String,
    /// How important, for `log` and `plugbay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "INFO")]
    pub level: Option<String>,
    /// The text.
    pub text: String,
    /// More values, for `log`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub fields: Option<Map<String, Value>>,
}

/// A plugin changed its state: event `plugin.state`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StateEvent {
    /// Name of the plugin.
    pub plugin: String,
    /// The state it was in.
    #[schema(example = "initializing")]
    pub from: String,
    /// The state it is in.
    #[schema(example = "active")]
    pub to: String,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> ExecuteAnswer {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_result_of_null_is_not_an_absent_result() {
        let null = answer(r#"{"success":true,"result":null,"execution_time":0.5,"call_id":"call_1"}"#);
        assert_eq!(null.result.as_deref().map(RawValue::get), Some("null"));
        assert!(serde_json::to_string(&null).unwrap().contains(r#""result":null"#));
        let absent = answer(r#"{"success":false,"error":"x","execution_time":0.5,"call_id":"call_1"}"#);
        assert!(absent.result.is_none());
        assert!(!serde_json::to_string(&absent).unwrap().contains("result"));
    }

    #[test]
    fn a_context_keeps_its_bytes_and_nothing_unknown_comes_along() {
        let request: ExecuteRequest = serde_json::from_str(r#"{"context": {"n":1.0,"n":2e400} }"#).unwrap();
        assert_eq!(request.context.unwrap().get(), r#"{"n":1.0,"n":2e400}"#);
        assert!(serde_json::from_str::<ExecuteRequest>(r#"{"contxt":{}}"#).is_err());
        assert!(serde_json::from_str::<ExecuteRequest>("{}").unwrap().context.is_none());
    }
}
