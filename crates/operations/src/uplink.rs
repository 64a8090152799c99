//! What plugins ask of the service itself: calls of other plugins, and which plugins there are.

use std::sync::{Arc, PoisonError};

use plugbay_domain::{Chain, Code, ErrorKind, Refusal as _};
use plugbay_fleet::calls::CallRequest;
use plugbay_fleet::{Execution, calls};
use plugbay_protocol::Payload;
use plugbay_session::host::{PluginCall, Refused, Uplink};
use plugbay_store::PluginReader;
use serde::Serialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::mpsc;

use crate::{Service, ServiceError, plugins};

/// Room that a message needs around its payload.
const ENVELOPE_BYTES: usize = 1024;

/// What a plugin that calls another one is told; the same as over REST.
#[derive(Serialize)]
struct Answer {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    execution_time: f64,
    call_id: String,
}

/// Starts the task that takes requests up; each is worked on by a task of its own, so that none waits for another.
pub(crate) fn start_uplink(service: &Arc<Service>) {
    let requests = service.uplink_requests.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut requests) = requests else { return };
    let (shutdown, service) = (&service.shutdown, Arc::clone(service));
    shutdown.spawn("plugin.uplink", |token| async move {
        while let Some(Some(request)) = token.run_until_cancelled(requests.recv()).await {
            take_up(&service, request);
        }
        mpsc::Receiver::close(&mut requests);
    });
}

fn take_up(service: &Arc<Service>, request: Uplink) {
    let (shutdown, service) = (&service.shutdown, Arc::clone(service));
    shutdown.spawn("plugin.request", |token| async move {
        let (mut asking, work) = match request {
            Uplink::Execute { call, answer } => (answer, Work::Execute(call)),
            Uplink::List { reader, answer } => (answer, Work::List(reader)),
        };
        let work = async {
            match work {
                Work::Execute(call) => execute_for_plugin(&service, call).await,
                Work::List(reader) => list_for_plugin(&service, reader).await,
            }
        };
        let answer = tokio::select! {
            () = token.cancelled() => return,
            // Dropped, the call is cancelled in the plugin that was called.
            () = asking.closed() => return,
            answer = work => answer,
        };
        asking.send(answer.map_err(|error| refused(&error))).ok();
    });
}

async fn execute_for_plugin(service: &Arc<Service>, call: PluginCall) -> Result<Box<RawValue>, ServiceError> {
    let PluginCall { plugin, method, context, origin, deadline, store } = call;
    let most = service.config.calls.message_bytes.saturating_sub(ENVELOPE_BYTES);
    let context = context.as_deref().map(|raw| fitting("`context`", raw, most)).transpose()?;
    let context = context.unwrap_or_else(|| Payload::of(&json!({})));
    let request = CallRequest::of_plugin(&store, &plugin, method.as_deref(), context, deadline).with_origin(origin);
    let Execution { call, took, answer } = calls::call(&service.fleet, request).await?.answer().await?;
    // What a plugin answers may hold line breaks, which end a message.
    let result = answer.result.as_deref().map(|raw| fitting("the answer", raw, most)).transpose()?;
    let result = result.map(|payload| RawValue::from_string(payload.as_str().to_owned()));
    let result = result.transpose().map_err(|_not_json| ServiceError::TaskDied { name: "plugin.request" })?;
    let answer = Answer {
        success: answer.success,
        result: result.or_else(|| answer.success.then(|| RawValue::NULL.to_owned())),
        error: answer.error,
        error_kind: answer.error_kind,
        message: answer.message,
        execution_time: took.as_secs_f64(),
        call_id: call.to_string(),
    };
    Ok(to_raw_value(&answer).expect("texts, numbers and JSON serialise"))
}

async fn list_for_plugin(service: &Service, reader: PluginReader) -> Result<Box<RawValue>, ServiceError> {
    let views = plugins::every_plugin(service, reader).await?;
    let list: Vec<_> = views
        .iter()
        .map(|view| {
            let quarantined = view.plugin.quarantine.is_some();
            json!({
                "id": view.plugin.id, "name": view.plugin.name, "version": view.plugin.serving,
                "status": if quarantined { "quarantined" } else { view.plugin.status.as_str() },
                "state": view.runtime.state.to_string(), "type": view.manifest.kind,
                "description": view.manifest.description, "author": view.manifest.author,
                "tags": view.manifest.tags, "capabilities": view.manifest.capabilities,
            })
        })
        .collect();
    Ok(to_raw_value(&json!({ "plugins": list })).expect("JSON serialises"))
}

/// What is passed on between plugins, if it fits into a message and holds no line breaks.
fn fitting(what: &str, raw: &RawValue, most: usize) -> Result<Payload, ServiceError> {
    if raw.get().len() > most {
        let detail = format!("{what} has {} bytes; at most {most} are passed on", raw.get().len());
        return Err(plugbay_fleet::PluginProblem::new(Code::PayloadInvalid, detail).into());
    }
    Payload::new(raw).map_err(|error| CallRequest::payload_problem(what, &error).into())
}

enum Work {
    Execute(PluginCall),
    List(PluginReader),
}

fn refused(error: &ServiceError) -> Refused {
    let code = error.code();
    if code.kind() == ErrorKind::Internal {
        tracing::error!(code = %code, error = %Chain(error), "A plugin's request failed: {code}");
        return Refused { code, text: "the service could not do it; its log says why".to_owned() };
    }
    Refused { code, text: Chain(error).to_string() }
}
