//! The `exec` runtime: speaks the protocol for a program that knows nothing of it. Each call starts the program anew, with
//! the call's params as JSON on stdin and the method in `PLUGBAY_METHOD`; its stdout must be one JSON value.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::args::Limits;
use crate::call::{Call, Failure};
use crate::children::Children;
use crate::exit;
use crate::json::Value;
use crate::log::Log;
use crate::sys;

/// Longest line of the protocol.
const MAX_LINE_BYTES: u64 = 4 << 20;
const METHOD_NOT_FOUND: i64 = -32601;
const INVALID_PARAMS: i64 = -32602;
const PLUGIN_ERROR: i64 = -32000;

/// A line that is not the protocol: the session cannot go on.
struct Malformed;

/// What the reader and the calls share.
struct Session {
    host: Mutex<UnixStream>,
    /// Running calls and the socket that cancels each when it is dropped.
    calls: Mutex<HashMap<String, UnixStream>>,
    children: Children,
    log: Log,
    program: Vec<OsString>,
    limits: Limits,
}

/// Serves calls until the service ends it, and returns the shim's exit code.
pub(crate) fn run(host: UnixStream, log: &Log, children: Children, program: Vec<OsString>, limits: Limits) -> i32 {
    let code = if is_startable(&program[0]) {
        serve(host, log, children, program, limits).unwrap_or(exit::FAULT)
    } else {
        log.line("stderr", &format!("plugbay: cannot start `{}`: not an executable file", program[0].display()), false);
        exit::NOT_STARTED
    };
    log.exit(Some(code), None, false);
    code
}

/// Told at the start rather than at the first call.
fn is_startable(program: &OsString) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let is_program = |path: &std::path::Path| {
        path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    if program.as_encoded_bytes().contains(&b'/') {
        return is_program(program.as_ref());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| is_program(&folder.join(program)))
}

fn serve(host: UnixStream, log: &Log, children: Children, program: Vec<OsString>, limits: Limits) -> io::Result<i32> {
    let mut reader = BufReader::new(host.try_clone()?);
    let session = Arc::new(Session {
        host: Mutex::new(host),
        calls: Mutex::default(),
        children,
        log: log.clone(),
        program,
        limits,
    });
    let mut line = Vec::new();
    loop {
        line.clear();
        let count = reader.by_ref().take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut line).unwrap_or(0);
        if count == 0 {
            sys::end(exit::SERVICE_GONE);
        }
        let message = if line.ends_with(b"\n") { Value::parse(&line) } else { None };
        match message.ok_or(Malformed).and_then(|message| handle(&session, &message)) {
            Ok(true) => {}
            Ok(false) => return Ok(0),
            Err(Malformed) => {
                log.line("stderr", "plugbay: a line of the service is not the protocol", false);
                return Ok(exit::PROTOCOL);
            }
        }
    }
}

/// Takes one message. False ends the session.
fn handle(session: &Arc<Session>, message: &Value) -> Result<bool, Malformed> {
    let method = message.get("method").and_then(Value::as_str).ok_or(Malformed)?;
    let params = message.get("params").unwrap_or(&Value::Null);
    let Some(id) = message.get("id") else {
        if method == "cancel"
            && let Some(call) = params.get("call").and_then(Value::as_str)
        {
            // Closing its end tells the call.
            drop(session.calls().remove(call));
        }
        return Ok(true);
    };
    let id = id.as_u64().ok_or(Malformed)?;
    match method {
        "initialize" => {
            let methods = session.limits.methods.iter().map(|method| method.as_str().into()).collect();
            let answer = Value::object([
                ("protocol", 1.into()),
                ("sdk", "exec/1".into()),
                ("methods", Value::Array(methods)),
                ("commands", Value::Array(Vec::new())),
            ]);
            session.answer(id, Ok(answer));
        }
        "health" => session.answer(id, Ok(Value::object([("status", "healthy".into())]))),
        // The program reads no configuration, so any is accepted.
        "configure" => session.answer(id, Ok(Value::object([("applied", Value::Bool(true))]))),
        "shutdown" => {
            session.answer(id, Ok(Value::Null));
            return Ok(false);
        }
        "invoke" => invoke(session, id, params),
        _ => session.answer(id, Err(error(METHOD_NOT_FOUND, "no such method", None))),
    }
    Ok(true)
}

/// Starts a call on a thread of its own.
fn invoke(session: &Arc<Session>, id: u64, params: &Value) {
    let name = params.get("call").and_then(Value::as_str);
    let method = params.get("method").and_then(Value::as_str);
    let (Some(name), Some(method)) = (name, method) else {
        return session.answer(id, Err(error(INVALID_PARAMS, "`call` and `method` are needed", None)));
    };
    if !session.limits.methods.iter().any(|offered| offered == method) {
        return session.answer(id, Err(error(METHOD_NOT_FOUND, "method not offered", None)));
    }
    let deadline = params.get("deadline_ms").and_then(Value::as_u64).map(Duration::from_millis);
    let timeout = deadline.map_or(session.limits.timeout, |deadline| deadline.min(session.limits.timeout));
    let input = params.get("params").unwrap_or(&Value::Null).to_line();
    let Ok((cancel, cancelled)) = UnixStream::pair() else { return session.busy(id) };
    let mut calls = session.calls();
    if calls.len() >= session.limits.calls {
        drop(calls);
        return session.busy(id);
    }
    if calls.contains_key(name) {
        drop(calls);
        return session.answer(id, Err(error(INVALID_PARAMS, "this call runs already", None)));
    }
    calls.insert(name.to_owned(), cancel);
    drop(calls);
    let (shared, name, method) = (Arc::clone(session), name.to_owned(), method.to_owned());
    let key = name.clone();
    let body = move || {
        let call = Call { method: &method, input: input.into_bytes(), timeout, cancelled };
        let outcome = call.run(&shared.children, &shared.program, &shared.limits, &shared.log);
        shared.calls().remove(&name);
        shared.answer(id, outcome.map_err(|failure| failure.to_error()));
    };
    if std::thread::Builder::new().name("call".to_owned()).stack_size(256 << 10).spawn(body).is_err() {
        session.calls().remove(&key);
        session.busy(id);
    }
}

impl Session {
    fn calls(&self) -> std::sync::MutexGuard<'_, HashMap<String, UnixStream>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn busy(&self, id: u64) {
        self.answer(id, Err(error(PLUGIN_ERROR, "too many calls at once", Some(vec![("kind", "Busy".into())]))));
    }

    fn answer(&self, id: u64, outcome: Result<Value, Value>) {
        let (key, value) = match outcome {
            Ok(result) => ("result", result),
            Err(error) => ("error", error),
        };
        let id = Value::Number(id.to_string());
        let line = Value::object([("jsonrpc", "2.0".into()), ("id", id), (key, value)]).to_line();
        let mut host = self.host.lock().unwrap_or_else(PoisonError::into_inner);
        // A service that is gone is noticed by the reader.
        drop(host.write_all(line.as_bytes()));
    }
}

impl Failure {
    fn to_error(&self) -> Value {
        let number = |number: Option<i32>| number.map_or(Value::Null, |number| i64::from(number).into());
        let data = vec![
            ("kind", self.kind.into()),
            ("exit_code", number(self.code)),
            ("signal", number(self.signal)),
            ("trace", self.trace.as_str().into()),
        ];
        error(PLUGIN_ERROR, &self.message, Some(data))
    }
}

fn error(code: i64, message: &str, data: Option<Vec<(&str, Value)>>) -> Value {
    let mut members = vec![("code", code.into()), ("message", message.into())];
    members.extend(data.map(|data| ("data", Value::object(data))));
    Value::object(members)
}
