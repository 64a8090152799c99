//! `plugbay exec`: one call of a plugin.

use std::io::Read as _;
use std::ops::ControlFlow;
use std::time::Duration;

use reqwest::header::ACCEPT;
use reqwest::{Method, RequestBuilder};
use serde::Serialize;
use serde_json::value::RawValue;

use super::connection::{Connection, plugin_path};
use super::sse::{Event, Parser};
use crate::cli::Context;
use crate::cli::failure::{Failure, Local};
use crate::cli::output::Output;
use crate::cli::shown::{pretty, printable};
use crate::wire::{ChunkEvent, ExecuteAnswer, ExecuteRequest, ProblemBody, ProgressEvent};

/// Arguments of `exec`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  plugbay exec my-plugin '{\"user\": \"Ada\"}'\n  \
                        plugbay exec my-plugin - < context.json\n  \
                        plugbay exec my-plugin --stream --timeout 60\n\n\
                        Writes the result: a string as it is, anything else as JSON. With --json, the whole answer. With \
                        --stream, one line of JSON per chunk as it comes; with --stream --json, one object per event, \
                        whose `event` is chunk, progress, result or error.\n\n\
                        Ends with 8 when the plugin fails, 124 when it takes too long.")]
pub(in crate::cli) struct ExecArguments {
    /// Plugin, by name or id
    name: String,
    /// What the plugin gets; - reads it from stdin [default: {}]
    #[arg(value_name = "JSON|-")]
    context: Option<String>,
    /// Another method than execute
    #[arg(long)]
    method: Option<String>,
    /// Longest time in seconds [default: the plugin's limit]
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    timeout: Option<Duration>,
    /// Show what the plugin yields as it comes
    #[arg(long)]
    stream: bool,
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    // Less would be sent as a timeout of nothing.
    seconds.filter(|time| time.as_millis() > 0).ok_or_else(|| "expected seconds, such as 30 or 0.5".to_owned())
}

pub(in crate::cli) fn exec(arguments: &ExecArguments, context: &Context) -> Result<(), Failure> {
    let request = ExecuteRequest {
        context: arguments.context.as_deref().map(read_context).transpose()?,
        method: arguments.method.clone(),
        timeout_ms: arguments.timeout.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
    };
    let connection = Connection::open(context)?;
    let call = connection.request(Method::POST, &plugin_path(&arguments.name, "/execute")).json(&request);
    let ended = if arguments.stream {
        stream(call, &connection, &context.output)
    } else {
        let spinner = context.output.spinner("running");
        let answer = connection.send(call);
        spinner.finish_and_clear();
        answer.and_then(|answer| show(&answer, &context.output))
    };
    ended.map_err(|failure| failure.about(&arguments.name))
}

/// The context as it was typed, if it is JSON. Whatever else is wrong with it the service says.
pub(in crate::cli) fn read_context(argument: &str) -> Result<Box<RawValue>, Failure> {
    let mut text = argument.to_owned();
    if argument == "-" {
        text.clear();
        std::io::stdin().read_to_string(&mut text).map_err(|error| Failure::io("read stdin", &error))?;
    }
    serde_json::from_str(&text).map_err(|error| {
        let how = r#"write JSON in single quotes: '{"user": "Ada"}'; or - to read it from stdin"#;
        Failure::local(Local::Usage, format!("the context is not JSON: {error}"), how)
    })
}

/// Shows an answer; one that says it failed is a failure.
fn show(answer: &ExecuteAnswer, output: &Output) -> Result<(), Failure> {
    if output.is_json() {
        output.result("", answer);
        return if answer.success { Ok(()) } else { Err(Failure::shown(Local::PluginFailed)) };
    }
    if !answer.success {
        return Err(failed(answer));
    }
    if let Some(result) = &answer.result {
        output.foreign(&result_text(result));
    }
    Ok(())
}

/// A result for people: a string without its quotes, anything else as JSON.
pub(in crate::cli) fn result_text(result: &RawValue) -> String {
    serde_json::from_str::<String>(result.get()).unwrap_or_else(|_no_string| pretty(result.get()))
}

pub(in crate::cli) fn failed(answer: &ExecuteAnswer) -> Failure {
    let texts = [answer.error.as_deref(), answer.message.as_deref()];
    let detail = texts.into_iter().flatten().collect::<Vec<_>>().join("; ");
    let detail = if detail.is_empty() { "it does not say why".to_owned() } else { detail };
    let mut failure = Failure::local(Local::PluginFailed, detail, "plugbay logs NAME shows what it wrote");
    failure.plugin.call_id = Some(answer.call_id.clone());
    failure
}

/// A failure as an event.
#[derive(Serialize)]
struct ErrorLine<'a> {
    event: &'a str,
    #[serde(flatten)]
    failure: &'a Failure,
}

fn stream(call: RequestBuilder, connection: &Connection, output: &Output) -> Result<(), Failure> {
    follow(call, connection, |event| match take(event, output)? {
        // Hanging up cancels the call.
        None if output.is_closed() => Ok(Some(Ok(()))),
        ended => Ok(ended),
    })?
}

/// Makes a call and gives every event of its answer to `take`, until that has the outcome.
pub(in crate::cli) fn follow<T>(
    call: RequestBuilder,
    connection: &Connection,
    mut take: impl FnMut(&Event) -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let mut parser = Parser::default();
    let mut outcome = None;
    connection.stream(call.header(ACCEPT, "text/event-stream"), |piece| {
        let events = parser.push(piece).map_err(|_too_long| unreadable("it is too long"))?;
        for event in events {
            outcome = take(&event)?;
            if outcome.is_some() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    outcome.ok_or_else(|| {
        let detail = format!("{} ended the answer before its result", connection.url());
        Failure::local(Local::Unreachable, detail, "look into the service's log, then try again")
    })
}

/// Shows one event; the last one gives the outcome.
fn take(event: &Event, output: &Output) -> Result<Option<Result<(), Failure>>, Failure> {
    match event.name.as_str() {
        "chunk" | "progress" if output.is_json() => output.line("", &JsonLine::of(event)?),
        "chunk" => output.foreign(read::<ChunkEvent>(event)?.data.get()),
        "progress" => output.message(&progress_text(&read(event)?)),
        "result" => return last(event, output).map(Some),
        "error" => {
            let mut failure = Failure::of_problem(read::<ProblemBody>(event)?);
            if output.is_json() {
                output.line("", &ErrorLine { event: "error", failure: &failure });
                failure.shown = true;
            }
            return Ok(Some(Err(failure)));
        }
        // A newer service may tell more.
        _ => {}
    }
    Ok(None)
}

fn last(event: &Event, output: &Output) -> Result<Result<(), Failure>, Failure> {
    let answer: ExecuteAnswer = read(event)?;
    if output.is_json() {
        output.line("", &JsonLine::of(event)?);
        return Ok(if answer.success { Ok(()) } else { Err(Failure::shown(Local::PluginFailed)) });
    }
    if !answer.success {
        return Ok(Err(failed(&answer)));
    }
    // A plugin that yields has nothing left to return; one that does not yield has its only line here.
    if let Some(result) = answer.result.filter(|result| result.get() != "null") {
        output.foreign(result.get());
    }
    Ok(Ok(()))
}

/// The object of an event with the event's name in front. Numbers keep every digit, because the text stays a text.
struct JsonLine(Box<RawValue>);

impl JsonLine {
    fn of(event: &Event) -> Result<Self, Failure> {
        let object = event.data.trim().strip_prefix('{').filter(|rest| rest.ends_with('}'));
        let rest = object.ok_or_else(|| unreadable("it is no object"))?;
        let comma = if rest.trim() == "}" { "" } else { "," };
        let line = format!(r#"{{"event":"{}"{comma}{rest}"#, event.name).replace('\n', " ");
        RawValue::from_string(line).map(Self).map_err(|error| unreadable(&error.to_string()))
    }
}

impl Serialize for JsonLine {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

pub(in crate::cli) fn progress_text(progress: &ProgressEvent) -> String {
    let percent = progress.percent.map(|percent| format!("{percent:3.0} %"));
    let message = progress.message.as_deref().map(printable);
    [percent, message].into_iter().flatten().collect::<Vec<_>>().join("  ")
}

/// What an event says.
pub(in crate::cli) fn read<T: serde::de::DeserializeOwned>(event: &Event) -> Result<T, Failure> {
    serde_json::from_str(&event.data).map_err(|error| unreadable(&format!("{}: {error}", event.name)))
}

fn unreadable(why: &str) -> Failure {
    let detail = format!("an event of the answer cannot be read: {why}");
    Failure::local(Local::Failed, detail, "use client and service of the same version")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_any_json_and_mistakes_have_a_place() {
        assert_eq!(read_context("[1, 2.50]").unwrap().get(), "[1, 2.50]");
        for text in ["", "{user: Ada}", "{} {}", "'x'"] {
            let failure = read_context(text).unwrap_err();
            assert_eq!(failure.exit().number(), 2, "{text}");
            assert!(failure.detail.contains("line 1 column"), "{}", failure.detail);
        }
    }

    #[test]
    fn a_string_is_shown_without_quotes() {
        let text = |json: &str| result_text(&RawValue::from_string(json.to_owned()).unwrap());
        assert_eq!(text(r#""a \"b\"""#), "a \"b\"");
        assert_eq!(text(r#"{"n":1.50}"#), "{\n  \"n\": 1.50\n}");
        assert_eq!(text("null"), "null");
    }

    #[test]
    fn timeouts_are_seconds_that_are_not_nothing() {
        assert_eq!(parse_seconds("0.5"), Ok(Duration::from_millis(500)));
        for text in ["0", "-1", "soon", "nan", "inf", "0.0001"] {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_event_becomes_one_line_with_its_name() {
        let line = |data: &str| JsonLine::of(&Event { name: "chunk".to_owned(), data: data.to_owned() });
        assert_eq!(line(r#"{"seq":0,"data":1.0}"#).unwrap().0.get(), r#"{"event":"chunk","seq":0,"data":1.0}"#);
        assert_eq!(line("{}").unwrap().0.get(), r#"{"event":"chunk"}"#);
        assert!(line("[1]").is_err());
        assert!(line(r#"{"a":1,}"#).is_err());
    }
}
