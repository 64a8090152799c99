//! `plugbay logs`: what a plugin wrote, and what the service had to say about it.

use std::ops::ControlFlow;

use reqwest::Method;
use reqwest::header::ACCEPT;

use super::connection::{Connection, plugin_path, query};
use super::sse::Parser;
use crate::cli::Context;
use crate::cli::failure::{Failure, Local};
use crate::cli::moments;
use crate::cli::output::Output;
use crate::cli::shown::{entry, printable};
use crate::domain::{Clock as _, SystemClock};
use crate::wire::LogLine;

/// Where the text of a line begins.
const TEXT_COLUMN: usize = 29;

/// Arguments of `logs`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  plugbay logs my-plugin --tail 50\n  plugbay logs my-plugin --since 10m -f\n\n\
                        Times are UTC. The stream is stdout or stderr for what the plugin printed, log for what it \
                        logged, plugbay for what the service says. With --json, one object per line.")]
pub(in crate::cli) struct LogsArguments {
    /// Plugin, by name or id
    name: String,
    /// Go on with what comes, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    /// How many lines at most, the latest ones
    #[arg(long, value_name = "N")]
    tail: Option<u32>,
    /// Only lines from here on: a while ago such as 10m, 2h, 1d, or a time (RFC 3339)
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
}

pub(in crate::cli) fn logs(arguments: &LogsArguments, context: &Context) -> Result<(), Failure> {
    let since = arguments.since.as_deref().map(|text| moments::past("--since", text, SystemClock.now()));
    let since = since.transpose()?.map(|time| time.to_string());
    let tail = arguments.tail.map(|count| count.to_string());
    let connection = Connection::open(context)?;
    let follow = arguments.follow.then_some("true");
    let query = query(&[("tail", tail.as_deref()), ("since", since.as_deref()), ("follow", follow)]);
    let request = connection.request(Method::GET, &plugin_path(&arguments.name, &format!("/logs{query}")));
    if !arguments.follow {
        return read_lines(request, &connection, &context.output);
    }
    let mut parser = Parser::default();
    let followed = connection.stream(request.header(ACCEPT, "text/event-stream"), |piece| {
        for event in parser.push(piece).map_err(|_too_long| unreadable("it is too long"))? {
            if event.name == "log" {
                show(&event.data, &context.output)?;
            }
        }
        Ok(if context.output.is_closed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    match followed {
        // This is how following ends.
        Err(failure) if failure.is_interruption() => Err(Failure::shown(Local::Interrupted)),
        Err(failure) => Err(failure),
        Ok(()) if context.output.is_closed() => Ok(()),
        Ok(()) => {
            context.output.message("the service has ended the log");
            Ok(())
        }
    }
}

fn read_lines(request: reqwest::RequestBuilder, connection: &Connection, output: &Output) -> Result<(), Failure> {
    let mut rest = Vec::new();
    connection.stream(request, |piece| {
        for byte in piece {
            if *byte == b'\n' {
                show(&String::from_utf8_lossy(&rest), output)?;
                rest.clear();
            } else {
                rest.push(*byte);
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    show(&String::from_utf8_lossy(&rest), output)
}

fn show(line: &str, output: &Output) -> Result<(), Failure> {
    if line.trim().is_empty() {
        return Ok(());
    }
    let line: LogLine = serde_json::from_str(line).map_err(|error| unreadable(&error.to_string()))?;
    output.line(&line_text(&line), &line);
    Ok(())
}

/// `2026-11-21 10:00:00 stderr  text`.
pub(in crate::cli) fn line_text(line: &LogLine) -> String {
    let time: String =
        line.ts.chars().take(19).map(|character| if character == 'T' { ' ' } else { character }).collect();
    let level = line.level.as_ref().map(|level| format!("{} ", printable(level))).unwrap_or_default();
    let fields = line.fields.as_ref().filter(|fields| !fields.is_empty());
    let fields = fields.and_then(|fields| serde_json::to_string(fields).ok());
    let fields = fields.map(|fields| format!("  {}", printable(&fields))).unwrap_or_default();
    let text = entry(&line.text, TEXT_COLUMN);
    format!("{} {:7}  {level}{text}{fields}", printable(&time), printable(&line.stream)).trim_end().to_owned()
}

fn unreadable(why: &str) -> Failure {
    let detail = format!("a line of the log cannot be read: {why}");
    Failure::local(Local::Failed, detail, "use client and service of the same version")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> String {
        line_text(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn a_line_has_time_stream_and_text() {
        let line = text(r#"{"ts":"2026-11-21T10:00:00.123Z","stream":"stderr","text":"starting"}"#);
        assert_eq!(line, "2026-11-21 10:00:00 stderr   starting");
        assert_eq!(line.find("starting"), Some(TEXT_COLUMN));
        let logged =
            r#"{"ts":"2026-11-21T10:00:00.123Z","stream":"log","level":"INFO","text":"ready","fields":{"n":1}}"#;
        assert_eq!(text(logged), r#"2026-11-21 10:00:00 log      INFO ready  {"n":1}"#);
    }

    #[test]
    fn a_plugin_can_neither_drive_the_terminal_nor_forge_a_line() {
        let line = text(r#"{"ts":"2026-11-21T10:00:00.123Z","stream":"stdout","text":"a\u001b[2Jb\n2026-11-21 fake"}"#);
        let indent = " ".repeat(TEXT_COLUMN);
        assert_eq!(line, format!("2026-11-21 10:00:00 stdout   a\\u{{1b}}[2Jb\n{indent}2026-11-21 fake"));
    }
}
