//! Lines to a container over the engine's attach: what a call costs where standard input and output carry it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use clap::Args;

use crate::measured::Measured;

#[derive(Args)]
pub(crate) struct Order {
    /// The engine's socket.
    #[arg(long, default_value = "/var/run/docker.sock")]
    engine: String,
    /// The container, which runs and sends lines back.
    #[arg(long)]
    container: String,
    /// Length of the run.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
}

pub(crate) fn run(order: &Order) {
    let mut stream = UnixStream::connect(&order.engine).unwrap();
    write!(
        stream,
        "POST /v1.41/containers/{}/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: docker\r\n\
         Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n",
        order.container
    )
    .unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "the engine closed the connection: {head}");
    }
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let line = format!(
        "{}\n",
        r#"{"jsonrpc":"2.0","id":1,"method":"invoke","params":{"method":"execute","params":{"context":{"message":"Hello"}}}}"#
    );
    let mut measured = Measured::default();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs_f64(order.seconds) {
        let sent = Instant::now();
        stream.write_all(line.as_bytes()).unwrap();
        let mut read = 0;
        while read < line.len() {
            // Eight bytes before each piece: which stream it is of, and its length.
            let mut header = [0; 8];
            reader.read_exact(&mut header).unwrap();
            let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
            let mut piece = vec![0; length];
            reader.read_exact(&mut piece).unwrap();
            read += length;
        }
        measured.add(sent.elapsed());
    }
    measured.print(begun.elapsed());
}
