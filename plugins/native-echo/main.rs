//! Answers every call with its context. A program of the runtime `stdio`: fd 0 and fd 1 are the socket to the service, and
//! it speaks plugbay's protocol itself, one JSON object per line (docs/protocol.md).
//!
//! One thread answers in the order of arrival, which serves many calls at once because none of them waits for anything.
//! Answers to lines that came together leave in one write.

mod json;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

/// The longest line in both directions.
const MAX_LINE_BYTES: u64 = 4 << 20;
/// Answers are written at the latest when there is this much.
const FULL: usize = 256 << 10;
/// The most that `count` counts to.
const MOST: u32 = 100_000;

const METHOD_NOT_FOUND: i32 = -32601;
const INVALID_PARAMS: i32 = -32602;
const PLUGIN_ERROR: i32 = -32000;

/// A line that is not the protocol. Nothing sensible can follow it.
struct Malformed;

fn main() -> ExitCode {
    match serve() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("native-echo: the service went away");
            ExitCode::from(75)
        }
        Err(error) => {
            eprintln!("native-echo: {error}");
            ExitCode::from(70)
        }
    }
}

/// True after `shutdown`, false when the socket was closed before.
fn serve() -> io::Result<bool> {
    // Files, because the standard streams of `std` look for line ends and hold locks.
    let socket = |fd: io::Result<std::os::fd::OwnedFd>| fd.map(File::from);
    let mut input = BufReader::with_capacity(FULL, socket(io::stdin().as_fd().try_clone_to_owned())?);
    let mut output = socket(io::stdout().as_fd().try_clone_to_owned())?;
    let (mut line, mut answers) = (Vec::new(), Vec::new());
    loop {
        line.clear();
        let count = input.by_ref().take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut line)?;
        if count == 0 {
            return Ok(false);
        }
        let more = line.ends_with(b"\n").then(|| handle(&line, &mut answers));
        let Some(Ok(more)) = more else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line of the service is not the protocol"));
        };
        if !more || answers.len() >= FULL || !input.buffer().contains(&b'\n') {
            output.write_all(&answers)?;
            answers.clear();
        }
        if !more {
            return Ok(true);
        }
    }
}

/// Answers one message. False after `shutdown`.
fn handle(line: &[u8], answers: &mut Vec<u8>) -> Result<bool, Malformed> {
    let (mut id, mut method, mut params) = (None, None, None);
    json::members(line, |key, value| match key {
        b"id" => id = Some(value),
        b"method" => method = json::string(value),
        b"params" => params = Some(value),
        _ => {}
    })
    .ok_or(Malformed)?;
    let method = method.ok_or(Malformed)?;
    // Only notifications have no id. `cancel` is one: calls have ended before it could be read.
    let Some(id) = id else { return Ok(true) };
    match method {
        b"invoke" => invoke(id, params.unwrap_or_default(), answers),
        b"initialize" => {
            let offer = br#"{"protocol":1,"sdk":"native-echo/1.0.0","methods":["execute","count"],"commands":[]}"#;
            result(id, &[offer], answers);
        }
        b"health" => result(id, &[br#"{"status":"healthy"}"#], answers),
        b"configure" => result(id, &[br#"{"applied":true}"#], answers),
        b"shutdown" => result(id, &[b"{}"], answers),
        _ => error(id, METHOD_NOT_FOUND, "no such method", answers),
    }
    Ok(method != b"shutdown")
}

fn invoke(id: &[u8], params: &[u8], answers: &mut Vec<u8>) {
    let (mut method, mut given, mut call, mut stream) = (None, None, None, false);
    json::members(params, |key, value| match key {
        b"method" => method = json::string(value),
        b"params" => given = Some(value),
        b"call" => call = Some(value),
        b"stream" => stream = value == b"true",
        _ => {}
    });
    let Some(context) = given.and_then(|given| json::member(given, b"context")) else {
        return error(id, INVALID_PARAMS, "expected params: {context}", answers);
    };
    match method {
        Some(b"execute") => result(id, &[b"{\"echo\":", context, b"}"], answers),
        Some(b"count") => count(id, context, call.filter(|_| stream), answers),
        _ => error(id, METHOD_NOT_FOUND, "method not offered", answers),
    }
}

/// The numbers below `to`: as chunks of the call if there is one that streams, else as an array.
fn count(id: &[u8], context: &[u8], streamed: Option<&[u8]>, answers: &mut Vec<u8>) {
    let to = json::member(context, b"to").and_then(|to| std::str::from_utf8(to).ok()?.parse::<u32>().ok());
    let Some(to) = to.filter(|to| *to <= MOST) else {
        let message = format!("`to` must be a whole number from 0 to {MOST}");
        return error(id, PLUGIN_ERROR, &message, answers);
    };
    let Some(call) = streamed else {
        let numbers: Vec<_> = (0..to).map(|number| format!("{{\"number\":{number}}}")).collect();
        return result(id, &[b"[", numbers.join(",").as_bytes(), b"]"], answers);
    };
    for number in 0..to {
        answers.extend_from_slice(br#"{"jsonrpc":"2.0","method":"chunk","params":{"call":"#);
        answers.extend_from_slice(call);
        answers.extend_from_slice(format!(",\"seq\":{number},\"data\":{{\"number\":{number}}}}}}}\n").as_bytes());
    }
    result(id, &[b"null"], answers);
}

/// An answer whose result is the parts together.
fn result(id: &[u8], parts: &[&[u8]], answers: &mut Vec<u8>) {
    answers.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    answers.extend_from_slice(id);
    answers.extend_from_slice(br#","result":"#);
    parts.iter().for_each(|part| answers.extend_from_slice(part));
    answers.extend_from_slice(b"}\n");
}

/// An answer that says what is wrong. `message` holds nothing that JSON would have to escape.
fn error(id: &[u8], code: i32, message: &str, answers: &mut Vec<u8>) {
    answers.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    answers.extend_from_slice(id);
    answers.extend_from_slice(format!(",\"error\":{{\"code\":{code},\"message\":\"{message}\"}}}}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a line is answered with; `None` if it is not the protocol.
    fn answer(line: &str) -> Option<String> {
        let mut answers = Vec::new();
        handle(line.as_bytes(), &mut answers).ok()?;
        Some(String::from_utf8(answers).unwrap())
    }

    fn invoked(params: &str) -> String {
        answer(&format!(r#"{{"jsonrpc":"2.0","id":7,"method":"invoke","params":{params}}}"#)).unwrap()
    }

    #[test]
    fn execute_answers_with_the_context_as_it_is_written() {
        for context in [r#"{"a": [1, "}\""]}"#, "null", "1.50", r#""text""#, "[]"] {
            let params =
                format!(r#"{{"method":"execute","params":{{"context":{context}}},"call":"c","stream":false}}"#);
            let expected = format!("{{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{{\"echo\":{context}}}}}\n");
            assert_eq!(invoked(&params), expected);
        }
    }

    #[test]
    fn count_streams_only_when_asked() {
        let asked = |stream| {
            let params = r#"{"call":"call_1","method":"count","params":{"context":{"to":2}},"stream":"#;
            invoked(&format!("{params}{stream}}}"))
        };
        let kept = "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":[{\"number\":0},{\"number\":1}]}\n";
        assert_eq!(asked(false), kept);
        let lines = asked(true);
        let lines: Vec<_> = lines.lines().collect();
        assert_eq!(lines.len(), 3);
        let second = r#"{"jsonrpc":"2.0","method":"chunk","params":{"call":"call_1","seq":1,"data":{"number":1}}}"#;
        assert_eq!(lines[1], second);
        assert_eq!(lines[2], r#"{"jsonrpc":"2.0","id":7,"result":null}"#);
    }

    #[test]
    fn wrong_calls_are_errors_and_the_session_goes_on() {
        for (params, code) in [
            ("{}", INVALID_PARAMS),
            (r#"{"method":"execute","params":{}}"#, INVALID_PARAMS),
            (r#"{"method":"other","params":{"context":1}}"#, METHOD_NOT_FOUND),
            (r#"{"method":"count","params":{"context":{"to":-1}}}"#, PLUGIN_ERROR),
            (r#"{"method":"count","params":{"context":{"to":100001}}}"#, PLUGIN_ERROR),
            (r#"{"method":"count","params":{"context":null}}"#, PLUGIN_ERROR),
        ] {
            assert!(invoked(params).contains(&format!("\"code\":{code},")), "{params}");
        }
    }

    #[test]
    fn notifications_have_no_answer() {
        let cancel = r#"{"jsonrpc":"2.0","method":"cancel","params":{"call":"c","reason":"deadline"}}"#;
        assert_eq!(answer(cancel).as_deref(), Some(""));
    }

    #[test]
    fn lines_that_are_not_the_protocol_end_the_session() {
        for line in
            ["", "\n", "nonsense", "[]", "{}", r#"{"id":1}"#, r#"{"id":1,"method":2}"#, r#"{"id":1,"method":"a""#]
        {
            assert_eq!(answer(line), None, "{line}");
        }
    }
}
