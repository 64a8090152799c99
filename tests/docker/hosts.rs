//! Hosts on this machine for plugins to reach, or not to: TLS with the tests' own authority, counted by connection.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use plugbay::egress::Resolver;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Where the tests' certificates are.
pub(crate) fn tls_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)
}

/// What a host speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Tls,
    Plain,
    /// Sends back what comes.
    Echo,
}

/// A listener that counts who comes.
pub(crate) struct Host {
    pub(crate) port: u16,
    seen: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Host {
    /// A host whose answers to `/to/…` are redirects to what follows, in which `@NAME@` stands for the value of a header.
    /// `/echo` tells what was asked, in JSON.
    pub(crate) fn start(speaks: Speaks) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, requests) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (counter, kept) = (Arc::clone(&seen), Arc::clone(&requests));
        let tls = (speaks == Speaks::Tls).then(server_config);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::SeqCst);
                let (tls, kept) = (tls.clone(), Arc::clone(&kept));
                // A client that breaks off is its own affair.
                std::thread::spawn(move || serve(stream, speaks, tls, &kept).ok());
            }
        });
        Self { port, seen, requests }
    }

    /// How many have connected.
    pub(crate) fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }

    /// Every request with its body.
    pub(crate) fn requests_in_full(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// The first line of every request.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests_in_full().iter().map(|request| request.lines().next().unwrap_or_default().to_owned()).collect()
    }
}

fn server_config() -> Arc<ServerConfig> {
    rustls::crypto::ring::default_provider().install_default().ok();
    let chain = vec![CertificateDer::from_pem_file(tls_file("host.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(tls_file("host.key")).unwrap();
    Arc::new(ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap())
}

fn serve(
    mut stream: TcpStream,
    speaks: Speaks,
    tls: Option<Arc<ServerConfig>>,
    kept: &Mutex<Vec<String>>,
) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;
    if speaks == Speaks::Echo {
        let mut bytes = [0; 4096];
        loop {
            let count = stream.read(&mut bytes)?;
            if count == 0 {
                return Ok(());
            }
            stream.write_all(&bytes[..count])?;
        }
    }
    match tls {
        None => answer(&mut stream, kept),
        Some(config) => {
            let connection = ServerConnection::new(config).map_err(io::Error::other)?;
            let mut stream = StreamOwned::new(connection, stream);
            answer(&mut stream, kept)?;
            stream.conn.send_close_notify();
            stream.flush()
        }
    }
}

/// Answers one request.
fn answer(stream: &mut (impl Read + Write), kept: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte)? == 0 {
            return Ok(());
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    let request = head + &String::from_utf8_lossy(&body);
    kept.lock().unwrap().push(request.clone());
    let path = request.split(' ').nth(1).unwrap_or_default();
    let json = "Content-Type: application/json\r\n";
    let (status, more, body) = match path.strip_prefix("/to/") {
        Some(target) => ("302 Found", format!("Location: {}\r\n", filled(target, &request)), String::new()),
        None if path == "/echo" => {
            let text = serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_default()["text"].take();
            ("200 OK", json.to_owned(), serde_json::json!({"request": request, "result": text}).to_string())
        }
        None => ("200 OK", String::new(), "hello from the host".to_owned()),
    };
    let length = body.len();
    stream.write_all(
        format!("HTTP/1.1 {status}\r\n{more}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}").as_bytes(),
    )
}

/// An address built from headers, as servers behind others do it.
fn filled(target: &str, request: &str) -> String {
    request
        .lines()
        .filter_map(|line| line.split_once(": "))
        .fold(target.to_owned(), |target, (name, value)| target.replace(&format!("@{name}@"), value))
}

/// Says where names lead: here, unless told otherwise. Each answer of a name is said once, the last one for ever.
#[derive(Debug, Default)]
pub(crate) struct Names {
    told: Mutex<BTreeMap<String, Vec<Vec<IpAddr>>>>,
    asked: Mutex<Vec<String>>,
}

impl Names {
    pub(crate) fn tell(&self, name: &str, answers: &[&[&str]]) {
        let answers = answers.iter().map(|answer| answer.iter().map(|text| text.parse().unwrap()).collect());
        self.told.lock().unwrap().insert(name.to_owned(), answers.collect());
    }

    /// Every name that was looked up.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Resolver for Names {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        self.asked.lock().unwrap().push(name.to_owned());
        let mut told = self.told.lock().unwrap();
        let found = match told.get_mut(name) {
            Some(answers) if answers.len() > 1 => answers.remove(0),
            Some(answers) => answers[0].clone(),
            None => vec![Ipv4Addr::LOCALHOST.into()],
        };
        Box::pin(std::future::ready(Ok(found)))
    }
}
