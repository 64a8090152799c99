//! `plugbay db-worker`: a process that holds one database open and runs what plugins want of it, one thing at a time.
//! It trusts the service, and nothing that comes with an order. It ends with its stdin, and so with the service.

mod bind;
mod columns;
mod confine;
mod functions;
mod judge;
mod open;
mod rows;
mod run;
mod trouble;
mod watch;

use std::io::{self, BufRead as _, Write as _};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::value::RawValue;

use super::message::{Hello, Order, Reply, Work};
use trouble::Failure;
use watch::WATCH;

/// How long a statement may go on when the service has gone.
const LAST_GRACE: Duration = Duration::from_secs(2);

/// Serves one database until stdin ends.
pub fn run() -> io::Result<()> {
    let mut lines = io::BufReader::new(io::stdin()).lines();
    let Some(first) = lines.next() else { return Ok(()) };
    let hello: Hello = serde_json::from_str(&first?)?;
    confine::confine(&hello)?;
    WATCH.begin(0, Duration::from_millis(hello.milliseconds));
    let opened = open::open(&hello);
    let reply = opened.as_ref().map(|bench| (RawValue::NULL.to_owned(), bench.has_log()));
    say(0, reply.map_err(Failure::clone))?;
    let Ok(mut bench) = opened else { return Ok(()) };

    let (orders, incoming) = mpsc::channel();
    std::thread::Builder::new().spawn(move || read(lines, &orders))?;
    for (id, milliseconds, work) in incoming {
        WATCH.begin(id, Duration::from_millis(milliseconds));
        let done = bench.work(&work);
        say(id, done.map(|result| (result, bench.has_log())))?;
        if !bench.is_at_rest() {
            // A transaction that could be neither made nor undone: the next process starts from what is on disk.
            return Err(io::Error::other("a transaction is left open"));
        }
    }
    Ok(())
}

/// Takes orders while a statement runs, so that it can be cancelled. Ends the process when the service has gone.
fn read(lines: io::Lines<io::BufReader<io::Stdin>>, orders: &mpsc::Sender<(u64, u64, Work)>) {
    for line in lines.map_while(Result::ok) {
        match serde_json::from_str(&line) {
            Ok(Order::Run { id, milliseconds, work }) => {
                if orders.send((id, milliseconds, work)).is_err() {
                    break;
                }
            }
            Ok(Order::Cancel { id }) => WATCH.cancel(id),
            Err(_not_from_the_service) => break,
        }
    }
    WATCH.close();
    end_later();
}

/// The statement is asked to stop by now, and the channel closes when this thread ends; a process that is still there
/// after the grace is in the middle of one long step.
fn end_later() {
    let later = || {
        std::thread::sleep(LAST_GRACE);
        #[expect(clippy::exit, reason = "nothing else ends a thread that does not look up")]
        std::process::exit(1);
    };
    if std::thread::Builder::new().spawn(later).is_err() {
        std::process::abort();
    }
}

fn say(id: u64, outcome: Result<(Box<RawValue>, bool), Failure>) -> io::Result<()> {
    let reply = match outcome {
        Ok((result, log)) => Reply::Done { id, result, log },
        Err(Failure { trouble, text }) => Reply::Failed { id, trouble, text: trouble::cut(text) },
    };
    let mut line = serde_json::to_vec(&reply)?;
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()
}
