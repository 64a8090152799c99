//! Sends every line back: over the socket it is given, or over standard input and output. Nothing of plugbay is in it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

fn main() -> std::io::Result<()> {
    match std::env::args().nth(1) {
        Some(path) => {
            let stream = UnixStream::connect(path)?;
            echo(BufReader::new(stream.try_clone()?), stream)
        }
        None => echo(std::io::stdin().lock(), std::io::stdout()),
    }
}

fn echo(mut input: impl BufRead, mut output: impl Write) -> std::io::Result<()> {
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? > 0 {
        output.write_all(&line)?;
        output.flush()?;
        line.clear();
    }
    Ok(())
}
