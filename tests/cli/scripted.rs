//! A server that answers what a test tells it to, to see what commands make of answers that are hard to come by.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::*;

/// What one request is answered with, in pieces that travel one by one; then the connection is closed.
pub(super) type Answer = Vec<String>;

/// The server, with the requests it has seen.
pub(super) struct Scripted {
    address: String,
    requests: Receiver<String>,
    folder: tempfile::TempDir,
}

impl Scripted {
    /// Answers one request with each of these.
    pub(super) fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (seen, requests) = channel();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                seen.send(read_request(&mut stream)).ok();
                if answer.is_empty() {
                    // Waits until the client goes away.
                    let gone = stream.read(&mut [0]).unwrap_or(0);
                    seen.send(format!("gone {gone}")).ok();
                    continue;
                }
                for piece in answer {
                    if stream.write_all(piece.as_bytes()).is_err() {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        });
        Self { address, requests, folder: tempfile::tempdir().unwrap() }
    }

    pub(super) fn command(&self) -> Command {
        let mut command = command(self.folder.path(), env!("CARGO_BIN_EXE_plugbay"));
        command.env("PLUGBAY_URL", format!("http://{}", self.address));
        command
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Run {
        finish(&self.command().args(arguments).output().unwrap())
    }

    /// The next request, head and body.
    pub(super) fn request(&self) -> String {
        self.requests.recv_timeout(Duration::from_secs(10)).unwrap()
    }
}

/// Runs one command against one answer.
pub(super) fn run(arguments: &[&str], answer: Answer) -> Run {
    Scripted::start(vec![answer]).run(arguments)
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "the request ends early: {text}");
        bytes.extend_from_slice(&piece[..count]);
    }
}

/// An answer of this status with a JSON body.
pub(super) fn json(status: u16, body: &str) -> Answer {
    let length = body.len();
    vec![format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )]
}

/// A problem with these further members.
pub(super) fn problem(status: u16, code: &str, more: &str) -> Answer {
    json(
        status,
        &format!(
            r#"{{"type":"/problems/{code}","title":"T","status":{status},"detail":"D","instance":"i","code":"{code}",
               "how":"plugbay logs NAME"{more}}}"#
        ),
    )
}

/// Events that come piece by piece; the connection is closed after the last.
pub(super) fn events(pieces: &[&str]) -> Answer {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
    std::iter::once(head).chain(pieces.iter().copied()).map(str::to_owned).collect()
}
