//! Makes load and measures it, for `scripts/bench.sh call`: the floors that plugbay is compared with, and its callers.
//!
//! Each mode prints one JSON object when it is done. `floor` prints its port and runs until it is killed.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program of one page that ends where something is wrong"
)]

mod attach;
mod floor;
mod http;
mod measured;
mod socket;
mod stream;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "load", about = "Makes load and measures it")]
struct Arguments {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Serve what is sent back, with the HTTP library that plugbay uses.
    Floor,
    /// Call over HTTP, each caller one request after the other.
    Http(http::Order),
    /// Read a stream of events per caller, all at once, and check that nothing is lost.
    Stream(stream::Order),
    /// Listen on a Unix socket and exchange lines with the first program that connects.
    Socket(socket::Order),
    /// Exchange lines with a container over the engine's attach.
    Attach(attach::Order),
}

fn main() {
    match Arguments::parse().mode {
        Mode::Floor => floor::serve(),
        Mode::Http(order) => http::run(&order),
        Mode::Stream(order) => stream::run(&order),
        Mode::Socket(order) => socket::run(&order),
        Mode::Attach(order) => attach::run(&order),
    }
}

/// One thread: what is measured has the other processors for itself.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
