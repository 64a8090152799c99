//! Hands connections on, byte by byte: `bridge FROM TO`, where both are `tcp:PORT` or `unix:PATH`. TO may also be
//! `zeros:COUNT`, which answers every connection with so many bytes. Nothing of plugbay is in it.
//!
//! Prints where it listens.

use std::io::{Read, Result, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

const PIECE: usize = 64 * 1024;

fn main() {
    let [from, to] = [1, 2].map(|number| std::env::args().nth(number).expect("FROM and TO"));
    let accept = listen(&from);
    loop {
        let (mut here, to) = (accept(), to.clone());
        thread::spawn(move || match to.strip_prefix("zeros:") {
            Some(count) => zeros(&mut here, count.parse().expect("a number of bytes")),
            None => {
                let (there, again) = (connect(&to), here.again());
                let back = there.again();
                thread::spawn(move || carry(again, there));
                carry(back, here);
            }
        });
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn again(&self) -> Self {
        match self {
            Self::Tcp(stream) => Self::Tcp(stream.try_clone().expect("a descriptor")),
            Self::Unix(stream) => Self::Unix(stream.try_clone().expect("a descriptor")),
        }
    }

    fn read(&mut self, piece: &mut [u8]) -> Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(piece),
            Self::Unix(stream) => stream.read(piece),
        }
    }

    fn write(&mut self, piece: &[u8]) -> Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(piece),
            Self::Unix(stream) => stream.write_all(piece),
        }
    }

    /// Nothing more will be written. The other side may be gone already.
    fn finish(&self) {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write).ok(),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write).ok(),
        };
    }
}

fn listen(from: &str) -> Box<dyn Fn() -> Stream> {
    if let Some(path) = from.strip_prefix("unix:") {
        let listener = UnixListener::bind(path).expect("a path that is free");
        println!("{path}");
        return Box::new(move || Stream::Unix(listener.accept().expect("a connection").0));
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port(from))).expect("a port that is free");
    println!("{}", listener.local_addr().expect("it has one").port());
    Box::new(move || Stream::Tcp(listener.accept().expect("a connection").0))
}

fn connect(to: &str) -> Stream {
    match to.strip_prefix("unix:") {
        Some(path) => Stream::Unix(UnixStream::connect(path).expect("somebody listens")),
        None => Stream::Tcp(TcpStream::connect((Ipv4Addr::LOCALHOST, port(to))).expect("somebody listens")),
    }
}

fn port(text: &str) -> u16 {
    text.strip_prefix("tcp:").and_then(|port| port.parse().ok()).expect("tcp:PORT or unix:PATH")
}

fn carry(mut from: Stream, mut to: Stream) {
    let mut piece = vec![0; PIECE];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        if to.write(&piece[..count]).is_err() {
            break;
        }
    }
    to.finish();
}

fn zeros(stream: &mut Stream, count: usize) {
    let mut piece = vec![0; PIECE];
    // Closed with something unread, a connection is reset, and what was on its way is lost.
    if stream.read(&mut piece).is_err() {
        return;
    }
    piece.fill(0);
    let mut left = count;
    while left > 0 {
        let next = left.min(PIECE);
        if stream.write(&piece[..next]).is_err() {
            return;
        }
        left -= next;
    }
}
