//! The floor of a call: lines over a Unix socket to a program in a container that sends them back.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use crate::measured::Measured;

#[derive(Args)]
pub(crate) struct Order {
    /// The socket to listen on.
    #[arg(long)]
    listen: PathBuf,
    /// Lines that are under way at one time.
    #[arg(long, default_value_t = 1)]
    callers: usize,
    /// Length of a run.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
}

/// One run per line on standard input, so that runs can alternate with those of others on one connection.
pub(crate) fn run(order: &Order) {
    let listener = UnixListener::bind(&order.listen).unwrap();
    println!("listening");
    let (stream, _) = listener.accept().unwrap();
    for line in std::io::stdin().lines() {
        line.unwrap();
        exchange(&stream, order.callers, Duration::from_secs_f64(order.seconds));
    }
}

fn exchange(stream: &UnixStream, callers: usize, length: Duration) {
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream.try_clone().unwrap();
    let mut measured = Measured::default();
    let mut read = String::new();
    let mut number = 0_usize;
    let mut sent = vec![Instant::now(); callers];
    let begun = Instant::now();
    let mut send = |caller: usize, sent: &mut [Instant], number: &mut usize| {
        let line = line_of(caller, *number);
        *number += 1;
        sent[caller] = Instant::now();
        stream.write_all(line.as_bytes()).unwrap();
    };
    for caller in 0..callers {
        send(caller, &mut sent, &mut number);
    }
    let mut open = callers;
    while open > 0 {
        read.clear();
        assert!(lines.read_line(&mut read).unwrap() > 0, "the container closed the connection");
        let caller = caller_of(&read);
        measured.add(sent[caller].elapsed());
        if begun.elapsed() < length {
            send(caller, &mut sent, &mut number);
        } else {
            open -= 1;
        }
    }
    measured.print(begun.elapsed());
}

/// As long as the line of a call.
fn line_of(caller: usize, number: usize) -> String {
    format!(
        "{caller:04}{}\n",
        format_args!(
            r#"{{"jsonrpc":"2.0","id":{number},"method":"invoke","params":{{"method":"execute","params":{{"context":{{"number":{number},"user":"john_doe","message":"Hello"}}}},"call":"call_019aa3b2c4d57e6f8a9b0c1d2e3f4a5b","deadline_ms":10000,"stream":false}}}}"#
        )
    )
}

fn caller_of(line: &str) -> usize {
    line[..4].parse().unwrap()
}
