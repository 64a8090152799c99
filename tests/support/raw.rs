//! Bytes on a socket, as no HTTP client would send them.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// What came back for some bytes.
#[derive(Debug)]
pub struct Exchange {
    pub text: String,
    /// Whether the server closed the connection.
    pub closed: bool,
}

impl Exchange {
    /// Statuses of the answers, interim ones left out.
    pub fn statuses(&self) -> Vec<u16> {
        let lines = self.text.split("HTTP/1.").skip(1);
        let numbers = lines.filter_map(|rest| rest.get(2..5)?.parse().ok());
        numbers.filter(|status| *status != 100).collect()
    }
}

/// Sends bytes and reads until the server closes or is silent for so long.
pub fn exchange(address: &str, bytes: &[u8], silence: Duration) -> Exchange {
    let mut stream = TcpStream::connect(address).unwrap();
    // The server may answer and close before everything is sent.
    stream.write_all(bytes).ok();
    read_all(&mut stream, silence)
}

/// The same for a client that has nothing more to say.
pub fn exchange_and_hang_up(address: &str, bytes: &[u8], silence: Duration) -> Exchange {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(bytes).ok();
    stream.shutdown(Shutdown::Write).ok();
    read_all(&mut stream, silence)
}

/// Reads until the server closes or is silent for so long.
pub fn read_all(stream: &mut TcpStream, silence: Duration) -> Exchange {
    stream.set_read_timeout(Some(silence)).unwrap();
    let (mut bytes, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    let closed = loop {
        match stream.read(&mut buffer) {
            Ok(0) => break true,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break false,
            // A server that closes with bytes unread resets the connection.
            Err(_reset) => break true,
        }
    };
    Exchange { text: String::from_utf8_lossy(&bytes).into_owned(), closed }
}
