//! The way out of a sandbox that has no network but its own loopback: names get addresses here, connections to these
//! addresses and to the proxy are carried to the service, which decides about each. One thread, driven by `poll`: threads
//! count against the plugin's limit of processes.
//!
//! The wire form over `egress.sock` is described in the crate `crates/egress`.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::dns::{self, Answer, Question};
use crate::log::Log;
use crate::names::Names;
use crate::relay::{Fate, Relay};
use crate::sys::{self, PollFd, READABLE};

/// Where programs ask for names.
const NAME_PORT: u16 = 53;

/// Where programs find the proxy.
const PROXY_PORT: u16 = 3128;

/// Connections at one time; each takes two descriptors. Further ones wait.
const MAX_RELAYS: usize = 300;

/// Ports that are listened on.
const MAX_PORTS: usize = 128;

/// Questions that wait for the service. Further ones are not answered; programs ask again.
const MAX_QUESTIONS: usize = 64;

/// Bytes that are carried at once.
const BUFFER_BYTES: usize = 64 << 10;

/// Bytes of one question; what is longer carries what is not understood here.
const MAX_MESSAGE: usize = 1232;

pub(crate) struct Bridge {
    socket: PathBuf,
    dns: UdpSocket,
    listeners: Vec<(u16, TcpListener)>,
    names: Names,
    relays: Vec<Relay>,
    /// The connection on which names are asked for.
    service: Option<UnixStream>,
    heard: Vec<u8>,
    questions: VecDeque<(SocketAddr, Question)>,
}

impl Bridge {
    /// Takes the ports before the plugin can.
    pub(crate) fn bind(run_dir: &Path) -> io::Result<Self> {
        let dns = UdpSocket::bind((Ipv4Addr::LOCALHOST, NAME_PORT))?;
        dns.set_nonblocking(true)?;
        let mut bridge = Self {
            socket: run_dir.join("egress.sock"),
            dns,
            listeners: Vec::new(),
            names: Names::default(),
            relays: Vec::new(),
            service: None,
            heard: Vec::new(),
            questions: VecDeque::new(),
        };
        bridge.listen(PROXY_PORT)?;
        Ok(bridge)
    }

    pub(crate) fn start(self, log: Log) -> io::Result<()> {
        let body = move || self.run(&log);
        std::thread::Builder::new().name("bridge".to_owned()).stack_size(128 << 10).spawn(body).map(drop)
    }

    /// On every address: which one a connection was for tells the name it is for.
    fn listen(&mut self, port: u16) -> io::Result<()> {
        if self.listeners.iter().any(|(known, _)| *known == port) {
            return Ok(());
        }
        if self.listeners.len() >= MAX_PORTS {
            return Err(io::Error::other("too many ports"));
        }
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
        listener.set_nonblocking(true)?;
        self.listeners.push((port, listener));
        Ok(())
    }

    fn run(mut self, log: &Log) {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let has_room = self.relays.len() < MAX_RELAYS;
            let mut fds = vec![PollFd::new(Some(&self.dns), READABLE), PollFd::new(self.service.as_ref(), READABLE)];
            let listeners = self.listeners.len();
            let listening = self.listeners.iter().map(|(_, listener)| has_room.then_some(listener));
            fds.extend(listening.map(|listener| PollFd::new(listener, READABLE)));
            fds.extend(self.relays.iter().flat_map(Relay::interests));
            sys::wait_for(&mut fds, None);
            let (own, relays) = fds.split_at(2 + listeners);
            let is_ready: Vec<bool> = relays.chunks(2).map(|pair| pair.iter().any(PollFd::is_ready)).collect();
            self.carry(&is_ready, &mut buffer);
            if own[1].is_ready() {
                self.hear(&mut buffer, log);
            }
            if own[0].is_ready() {
                self.ask(&mut buffer[..MAX_MESSAGE]);
            }
            for (at, fd) in own[2..].iter().enumerate() {
                if fd.is_ready() {
                    self.accept(at);
                }
            }
        }
    }

    fn carry(&mut self, is_ready: &[bool], buffer: &mut [u8]) {
        // From the end, so that a removal moves only what was looked at.
        for at in (0..is_ready.len()).rev().filter(|at| is_ready[*at]) {
            match self.relays[at].carry(buffer) {
                Fate::Open => {}
                Fate::Over => drop(self.relays.swap_remove(at)),
                Fate::Reset => self.relays.swap_remove(at).reset(),
            }
        }
    }

    /// Takes the connections that wait at one port.
    fn accept(&mut self, at: usize) {
        while self.relays.len() < MAX_RELAYS {
            let Ok((plugin, _)) = self.listeners[at].1.accept() else { return };
            // A service that is gone takes the sandbox with it.
            if let Err(plugin) = self.begin(plugin) {
                sys::reset_on_close(&plugin);
            }
        }
    }

    fn begin(&mut self, plugin: TcpStream) -> Result<(), TcpStream> {
        let Ok(SocketAddr::V4(local)) = plugin.local_addr() else { return Err(plugin) };
        let line = match self.names.name(*local.ip()) {
            Some(name) => format!("tunnel {name}:{}\n", local.port()),
            None if *local.ip() == Ipv4Addr::LOCALHOST && local.port() == PROXY_PORT => "proxy\n".to_owned(),
            None => return Err(plugin),
        };
        let has_answer = line.starts_with("tunnel");
        let Ok(mut service) = UnixStream::connect(&self.socket) else { return Err(plugin) };
        if service.write_all(line.as_bytes()).is_err() {
            return Err(plugin);
        }
        if let Ok(relay) = Relay::new(plugin, service, has_answer) {
            self.relays.push(relay);
        }
        Ok(())
    }

    /// Passes questions on to the service.
    fn ask(&mut self, buffer: &mut [u8]) {
        while let Ok((count, from)) = self.dns.recv_from(buffer) {
            match dns::read(&buffer[..count]) {
                Ok(question) if question.is_idle() => self.reply(from, &question, Answer::Unknown),
                Ok(question) if self.questions.len() < MAX_QUESTIONS => {
                    if self.send(&question.name).is_ok() {
                        self.questions.push_back((from, question));
                    } else {
                        self.give_up();
                        self.reply(from, &question, Answer::Failed);
                    }
                }
                Err(Some(refusal)) => drop(self.dns.send_to(&refusal, from)),
                // Who asks too much asks again, as after a lost packet.
                Ok(_) | Err(None) => {}
            }
        }
    }

    fn send(&mut self, name: &str) -> io::Result<()> {
        let service = match &mut self.service {
            Some(service) => service,
            none => {
                let mut service = UnixStream::connect(&self.socket)?;
                service.write_all(b"names\n")?;
                service.set_nonblocking(true)?;
                none.insert(service)
            }
        };
        // All questions that may wait fit into its buffer, so a short write is a fault.
        service.write_all(format!("{name}\n").as_bytes())
    }

    /// Takes the service's answers, one for each question.
    fn hear(&mut self, buffer: &mut [u8], log: &Log) {
        let Some(service) = &mut self.service else { return };
        match service.read(buffer) {
            Ok(count) if count > 0 => self.heard.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return,
            Ok(_) | Err(_) => return self.give_up(),
        }
        while let Some(end) = self.heard.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.heard.drain(..=end).collect();
            let Some((from, question)) = self.questions.pop_front() else { return self.give_up() };
            let ports: Vec<u16> =
                String::from_utf8_lossy(&line).split_whitespace().filter_map(|port| port.parse().ok()).collect();
            if ports.is_empty() {
                self.reply(from, &question, Answer::Unknown);
                continue;
            }
            for port in ports {
                if let Err(error) = self.listen(port) {
                    log.line("stderr", &format!("plugbay: port {port} of `{}`: {error}", question.name), false);
                }
            }
            let address = self.names.address(&question.name);
            self.reply(from, &question, Answer::Known(address));
        }
    }

    /// Nobody answers what was asked.
    fn give_up(&mut self) {
        self.service = None;
        self.heard.clear();
        for (from, question) in std::mem::take(&mut self.questions) {
            self.reply(from, &question, Answer::Failed);
        }
    }

    fn reply(&self, to: SocketAddr, question: &Question, answer: Answer) {
        // Only from inside; anything else could not be answered anyway.
        if matches!(to.ip(), IpAddr::V4(address) if address.is_loopback()) {
            // A program that has gone asks no more.
            drop(self.dns.send_to(&question.answer(answer), to));
        }
    }
}
