//! Messages of the service, as lines.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{PROTOCOL, Payload};
use plugbay_domain::{CallId, PluginConfig, PluginId, PluginName, ResourceLimits};

/// A whole line, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing(Vec<u8>);

/// Why a call is not wanted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CancelReason {
    /// Its time is over.
    Deadline,
    /// Whoever asked has gone.
    Client,
    /// The plugin is being stopped.
    Shutdown,
}

/// Who the plugin is told it is.
#[derive(Clone, Debug, Serialize)]
pub struct PluginIdentity {
    /// Its id.
    pub id: PluginId,
    /// Its name.
    pub name: PluginName,
    /// Its version.
    pub version: semver::Version,
}

/// What a plugin is told before its first call.
#[derive(Clone, Debug)]
pub struct Initialize {
    /// Who it is.
    pub plugin: PluginIdentity,
    /// Its configuration. Printed for debugging, it shows no secret.
    pub config: PluginConfig,
    /// What was granted.
    pub grants: Value,
    /// What it gets.
    pub limits: ResourceLimits,
}

/// How long a call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallTime {
    /// Milliseconds until its caller waits no more.
    Deadline(u64),
    /// As long as its parts come, which its caller judges.
    Open,
    /// As long as what is fed to it is read; so many milliseconds may pass without that.
    Feed(u64),
}

/// One call.
#[derive(Clone, Copy, Debug)]
pub struct Invoke<'a> {
    /// The method.
    pub method: &'a str,
    /// Name and value of its one parameter; all of `params` when the name is empty.
    pub params: (&'a str, &'a Payload),
    /// Its id.
    pub call: CallId,
    /// How long it may take.
    pub time: CallTime,
    /// The caller's traceparent.
    pub trace: Option<&'a str>,
    /// Whether chunks are wanted as they come.
    pub stream: bool,
}

impl Outgoing {
    /// The bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Prepares a plugin for its calls.
    pub fn initialize(id: u64, initialize: &Initialize) -> Self {
        let Initialize { plugin, config, grants, limits } = initialize;
        let params = json!({"protocol": PROTOCOL, "plugin": plugin, "config": config.reveal(), "grants": grants, "limits": limits});
        Self::request(id, "initialize", &params)
    }

    /// Calls a method. Written by hand: this is the hot path, and the payload is copied once.
    pub fn invoke(id: u64, invoke: &Invoke<'_>) -> Self {
        let Invoke { method, params: (name, payload), call, time, trace, stream } = invoke;
        let mut line = String::with_capacity(payload.as_str().len().saturating_add(256));
        let text = |text: &str| Value::from(text).to_string();
        line.push_str(r#"{"jsonrpc":"2.0","id":"#);
        line.push_str(&id.to_string());
        line.push_str(r#","method":"invoke","params":{"method":"#);
        line.push_str(&text(method));
        line.push_str(r#","params":"#);
        if name.is_empty() {
            line.push_str(payload.as_str());
        } else {
            line.push('{');
            line.push_str(&text(name));
            line.push(':');
            line.push_str(payload.as_str());
            line.push('}');
        }
        line.push_str(r#","call":""#);
        line.push_str(&call.to_string());
        match time {
            CallTime::Deadline(left) => {
                line.push_str(r#"","deadline_ms":"#);
                line.push_str(&left.to_string());
            }
            CallTime::Open => line.push('"'),
            CallTime::Feed(idle) => {
                line.push_str(r#"","feed":true,"idle_ms":"#);
                line.push_str(&idle.to_string());
            }
        }
        if let Some(trace) = trace {
            line.push_str(r#","trace":"#);
            line.push_str(&text(trace));
        }
        line.push_str(if *stream { r#","stream":true}}"# } else { r#","stream":false}}"# });
        line.push('\n');
        Self(line.into_bytes())
    }

    /// Feeds a call with the next part. The part is JSON of the service's own making, so it has no line breaks.
    pub fn feed(call: CallId, seq: u64, data: &str) -> Self {
        let params = format!(r#"{{"call":"{call}","seq":{seq},"data":{data}}}"#);
        Self(format!("{{\"jsonrpc\":\"2.0\",\"method\":\"feed\",\"params\":{params}}}\n").into_bytes())
    }

    /// Nothing more is fed to a call: it was all. What is not wanted any more is cancelled.
    pub fn feed_end(call: CallId) -> Self {
        Self::line(&json!({"jsonrpc": "2.0", "method": "feed_end", "params": {"call": call, "reason": "end"}}))
    }

    /// Takes back a call.
    pub fn cancel(call: CallId, reason: CancelReason) -> Self {
        Self::line(&json!({"jsonrpc": "2.0", "method": "cancel", "params": {"call": call, "reason": reason}}))
    }

    /// Asks how the plugin is.
    pub fn health(id: u64) -> Self {
        Self::request(id, "health", &json!({}))
    }

    /// Gives a running plugin another configuration.
    pub fn configure(id: u64, config: &Value) -> Self {
        Self::request(id, "configure", &json!({"config": config}))
    }

    /// Asks a plugin to clean up and end.
    pub fn shutdown(id: u64) -> Self {
        Self::request(id, "shutdown", &json!({}))
    }

    /// Refuses a request of the plugin.
    pub fn refusal(id: i64, code: i64, message: &str, data: Option<Value>) -> Self {
        let error = match data {
            Some(data) => json!({"code": code, "message": message, "data": data}),
            None => json!({"code": code, "message": message}),
        };
        Self::line(&json!({"jsonrpc": "2.0", "id": id, "error": error}))
    }

    /// Answers a request of the plugin. The result is of the service's own making, so it has no line breaks.
    pub fn result(id: i64, result: &RawValue) -> Self {
        Self(format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}\n").into_bytes())
    }

    fn request(id: u64, method: &str, params: &Value) -> Self {
        Self::line(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
    }

    fn line(value: &Value) -> Self {
        let mut line = value.to_string();
        line.push('\n');
        Self(line.into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invoke_is_one_line_whatever_the_payload_holds() {
        let raw: Box<serde_json::value::RawValue> =
            serde_json::from_str("{\n\"a\": \"\\n{\\\"method\\\":\\\"shutdown\\\"}\"\n}").unwrap();
        let payload = Payload::new(&raw).unwrap();
        let call = CallId::generate();
        let invoke = Invoke {
            method: "execute",
            params: ("context", &payload),
            call,
            time: CallTime::Deadline(300),
            trace: Some("00-\"x"),
            stream: false,
        };
        let line = Outgoing::invoke(7, &invoke).into_bytes();
        assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
        let value: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(
            value,
            json!({"jsonrpc": "2.0", "id": 7, "method": "invoke", "params": {
                "method": "execute", "params": {"context": {"a": "\n{\"method\":\"shutdown\"}"}},
                "call": call.to_string(), "deadline_ms": 300, "trace": "00-\"x", "stream": false}})
        );
    }

    #[test]
    fn what_has_no_deadline_says_so_and_parts_of_it_are_one_line_each() {
        let call = CallId::generate();
        let payload = Payload::of(&json!({}));
        let params = |time| {
            let invoke = Invoke { method: "x", params: ("", &payload), call, time, trace: None, stream: true };
            let line = Outgoing::invoke(1, &invoke).into_bytes();
            serde_json::from_slice::<Value>(&line).unwrap().get("params").cloned().unwrap()
        };
        let fed = params(CallTime::Feed(1_000));
        let said = |params: &Value| ["feed", "idle_ms", "deadline_ms"].map(|name| params.get(name).cloned());
        assert_eq!(said(&fed), [Some(json!(true)), Some(json!(1_000)), None]);
        let open = params(CallTime::Open);
        assert_eq!((said(&open), open.get("call")), ([None, None, None], Some(&json!(call))));
        for frame in [Outgoing::feed(call, 3, r#"[{"text":"a"}]"#), Outgoing::feed_end(call)] {
            let line = frame.into_bytes();
            assert!(line.ends_with(b"\n") && !line.trim_ascii_end().contains(&b'\n'));
            let told: Value = serde_json::from_slice(&line).unwrap();
            assert_eq!(told.pointer("/params/call"), Some(&json!(call)));
        }
    }
}
