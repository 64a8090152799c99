//! `http.stream`, `http.read`, `http.close`: a request as of `http.fetch`, whose answer the plugin reads piece by piece. A stream
//! ends with the call that it serves, with the session, and when the plugin may not go there any more.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::need::{Granted, Params};
use super::super::web::{head_fields, shown_headers, written_bytes};
use super::super::{Host, HostError, json as answer};
use super::{Asking, Fetch};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct OfStream {
    pub(in super::super) stream: String,
    #[serde(rename = "call", default)]
    _call: Option<IgnoredAny>,
}

impl Params<'_> for OfStream {}

/// Makes the request, and answers with the head of its answer. `over` ends the stream.
pub(in super::super) async fn open(
    host: &Host,
    fetch: Granted<Fetch>,
    deadline: Instant,
    over: Option<&CancellationToken>,
) -> Result<Box<RawValue>, HostError> {
    let asking = Asking::new(host);
    let web = &host.parts.web.egress;
    let opened = asking.follow(fetch.params(), async |sent| {
        let not_sent = |error| host.not_sent(&error, &asking.hidden);
        let limits = web.streaming(&host.streams.places).map_err(not_sent)?;
        Box::pin(plugbay_egress::stream(web, &host.asker.exit, sent, limits)).await.map_err(not_sent)
    });
    let opened = host.within("http.stream", deadline, opened).await?;
    let headers = shown_headers(&opened.headers, &asking.hidden)?;
    let over = over.cloned();
    let over = async move {
        match over {
            Some(over) => over.cancelled().await,
            None => std::future::pending().await,
        }
    };
    let mut fields = head_fields(opened.status, headers);
    let id = host.streams.add(opened.body, &asking.hidden, over);
    fields.insert("stream".to_owned(), id.to_string().into());
    let head = host.fitting(answer(&Value::Object(fields)));
    if head.is_err() {
        host.streams.close(&id.to_string());
    }
    head
}

/// Waits for the next piece.
pub(in super::super) async fn read(
    host: &Host,
    read: Granted<OfStream>,
    deadline: Instant,
) -> Result<Box<RawValue>, HostError> {
    let id = read.params().stream;
    let stream = host.streams.find(&id).ok_or_else(no_stream)?;
    let Ok(mut pieces) = stream.pieces.try_lock() else {
        let text = "another request waits for this stream".to_owned();
        return Err(refused("stream-busy", text, "wait for its answer before you ask for more"));
    };
    let next = async {
        tokio::select! {
            biased;
            () = stream.ended.cancelled() => Err(no_stream()),
            next = pieces.next(host.piece_bytes()) => Ok(next),
        }
    };
    let next = host.within("http.read", deadline, next).await?;
    match next {
        Ok(Some(bytes)) => {
            let (name, text) = written_bytes(["data", "data_base64"], bytes);
            Ok(answer(&Value::Object(Map::from_iter([(name.to_owned(), text.into())]))))
        }
        Ok(None) => {
            host.streams.close(&id);
            Ok(answer(&json!({"end": true})))
        }
        Err(error) => {
            host.streams.close(&id);
            Err(host.not_sent(&error, &pieces.hidden))
        }
    }
}

/// Closes a stream; one that has ended is no error.
pub(in super::super) fn close(host: &Host, close: Granted<OfStream>) -> Box<RawValue> {
    host.streams.close(&close.params().stream);
    answer(&json!({}))
}

fn no_stream() -> HostError {
    let text = "there is no such stream: it has ended, with the call that it served at the latest".to_owned();
    refused("no-stream", text, "ask for it again with `http.stream`, within the call that reads it")
}

fn refused(rule: &'static str, text: String, how: &str) -> HostError {
    HostError::Outgoing { rule, text, how: how.to_owned() }
}
