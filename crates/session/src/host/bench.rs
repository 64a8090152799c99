//! A plugin before the host functions, and hosts on this machine for it to ask: plain and with TLS under the tests' own
//! authority. Each host keeps what it was asked and counts who came.

use std::collections::{BTreeMap, VecDeque};
use std::future::ready;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Asked, Asker, Host, HostError, HostParts, Web};
use plugbay_config::Config;
use plugbay_domain::{Grants, PermissionUnit, Secret, Secrets, SystemClock};
use plugbay_egress::{Egress, Resolver};
use plugbay_runtime::denials::{Denials, Report, What};
use plugbay_runtime::shutdown::Shutdown;
use plugbay_store::{Missing, Store};

pub(crate) fn tls_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/tls").join(name)
}

/// Everything leads here unless told otherwise. Each answer of a name is said once, the last one for ever.
#[derive(Debug, Default)]
pub(crate) struct Names {
    told: Mutex<BTreeMap<String, VecDeque<IpAddr>>>,
    asked: Mutex<Vec<String>>,
}

impl Names {
    pub(crate) fn tell(&self, name: &str, answers: &[&str]) {
        let answers = answers.iter().map(|answer| answer.parse().unwrap()).collect();
        self.told.lock().unwrap().insert(name.to_owned(), answers);
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Resolver for Names {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        self.asked.lock().unwrap().push(name.to_owned());
        let mut told = self.told.lock().unwrap();
        let found = match told.get_mut(name) {
            Some(answers) if answers.len() > 1 => answers.pop_front().unwrap(),
            Some(answers) => answers[0],
            None => Ipv4Addr::LOCALHOST.into(),
        };
        Box::pin(ready(Ok(vec![found])))
    }
}

/// One plugin.
pub(crate) struct Bench {
    _folder: tempfile::TempDir,
    pub(crate) names: Arc<Names>,
    pub(crate) host: Host,
    reports: mpsc::Receiver<Report>,
}

/// Names that may lead to this machine.
const OURS: [&str; 5] = ["allowed.test", "second.test", "a.wild.test", "127.0.0.1", "::1"];

impl Bench {
    /// With these permissions, such as `network_access:allowed.test`.
    pub(crate) async fn new(granted: &[&str], change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::for_testing(folder.path());
        config.egress.ca_file = Some(tls_file("ca.pem"));
        config.egress.allow_private = OURS.iter().map(|name| name.parse().unwrap()).collect();
        change(&mut config);
        let store = Store::open(&folder.path().join("plugbay.db"), Missing::Create).await.unwrap();
        let (denials, reports) = Denials::new();
        let names = Arc::<Names>::default();
        let egress =
            Egress::new(config.egress.clone(), names.clone(), Arc::clone(&denials), Shutdown::default()).unwrap();
        let web = Web::new(egress, &config);
        let parts = HostParts {
            kv_bytes: 0,
            web,
            ..HostParts::for_testing(folder.path(), store, Arc::new(SystemClock), denials)
        };
        let host = Host::new(Asker::for_testing("asker"), parts);
        let bench = Self { _folder: folder, names, host, reports };
        bench.grant(granted);
        bench
    }

    /// The same plugin, whose first session has ended.
    pub(crate) fn in_another_session(self) -> Self {
        Self { host: self.host.of_session(), ..self }
    }

    pub(crate) fn grant(&self, granted: &[&str]) {
        let unit = |text: &&str| match text.split_once(':') {
            Some((permission, part)) => PermissionUnit::part(permission_of(permission), part).unwrap(),
            None => PermissionUnit::whole(permission_of(text)),
        };
        self.host.asker.grants.store(Arc::new(Grants::of(&granted.iter().map(unit).collect::<Vec<_>>())));
        self.host.asker.exit.grants_changed();
    }

    /// Sets secrets, each with the hosts it is for.
    pub(crate) fn keep(&self, secrets: &[(&str, &str, &[String])]) {
        self.keep_as("authorization", secrets);
    }

    /// The same for secrets that this header carries.
    pub(crate) fn keep_as(&self, header: &str, secrets: &[(&str, &str, &[String])]) {
        let mut kept = Secrets::default();
        for (field, value, hosts) in secrets {
            let hosts = hosts.iter().map(|host| host.parse().unwrap()).collect();
            let policy = Secret { hosts, deliver: false, header: Some(header.parse().unwrap()) };
            kept.insert((*field).to_owned(), SecretString::from(*value), policy);
        }
        self.host.asker.secrets.store(Arc::new(kept));
    }

    pub(crate) async fn ask(&self, function: &str, params: Value) -> Result<Value, HostError> {
        self.ask_within(function, params, Duration::from_secs(20)).await
    }

    pub(crate) async fn ask_within(&self, function: &str, params: Value, time: Duration) -> Result<Value, HostError> {
        let params = params.to_string();
        let (deadline, origin) = (Instant::now() + time, plugbay_domain::Origin::default());
        let asked = Asked { function, params: &params, call: None, deadline, origin, over: None };
        let answer = self.host.answer(asked).await?;
        Ok(serde_json::from_str(answer.get()).unwrap())
    }

    pub(crate) async fn fetch(&self, url: &str) -> Result<Value, HostError> {
        self.ask("http.fetch", json!({ "url": url })).await
    }

    pub(crate) async fn fetch_with(&self, url: &str, headers: Value) -> Result<Value, HostError> {
        self.ask("http.fetch", json!({ "url": url, "headers": headers })).await
    }

    /// Which rules spoke since the last question.
    pub(crate) fn refusals(&mut self) -> Vec<(&'static str, String)> {
        std::iter::from_fn(|| self.reports.try_recv().ok())
            .map(|report| match report.what {
                What::One(denial) => (denial.rule, format!("{} {}", denial.text, denial.how)),
                What::More { .. } => panic!("{report:?}"),
            })
            .collect()
    }
}

fn permission_of(text: &str) -> plugbay_domain::Permission {
    serde_json::from_value(text.into()).unwrap()
}

/// The code of a refusal.
pub(crate) fn rule_of(outcome: &Result<Value, HostError>) -> String {
    match outcome {
        Ok(answer) => format!("answered {answer}"),
        Err(HostError::Denied { wanted, .. }) => format!("denied {wanted}"),
        Err(error) => error.data().map_or_else(|| error.to_string(), |data| data["code"].as_str().unwrap().to_owned()),
    }
}

/// The connection, as what answers on it sees it.
pub(crate) trait Wire: Read + Write {}

impl<T: Read + Write> Wire for T {}

type Answerer = dyn Fn(&str, &mut dyn Wire) -> io::Result<()> + Send + Sync;

/// A host that is told what to say.
pub(crate) struct Server {
    pub(crate) port: u16,
    requests: Arc<Mutex<Vec<String>>>,
    seen: Arc<std::sync::atomic::AtomicUsize>,
}

impl Server {
    pub(crate) fn tls(answer: impl Fn(&str, &mut dyn Wire) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let chain = vec![CertificateDer::from_pem_file(tls_file("host.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(tls_file("host.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
        Self::start(Some(Arc::new(config)), Arc::new(answer))
    }

    pub(crate) fn plain(answer: impl Fn(&str, &mut dyn Wire) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::start(None, Arc::new(answer))
    }

    /// Says hello.
    pub(crate) fn hello() -> Self {
        Self::tls(|_, to| reply(to, "200 OK", "", "hello"))
    }

    fn start(tls: Option<Arc<ServerConfig>>, answer: Arc<Answerer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (requests, seen) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<std::sync::atomic::AtomicUsize>::default());
        let (kept, counter) = (Arc::clone(&requests), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                let (tls, kept, answer) = (tls.clone(), Arc::clone(&kept), Arc::clone(&answer));
                // A client that breaks off is its own affair.
                std::thread::spawn(move || serve(stream, tls, &kept, &*answer).ok());
            }
        });
        Self { port, requests, seen }
    }

    /// Every request, head and body.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// How many have connected.
    pub(crate) fn seen(&self) -> usize {
        self.seen.load(std::sync::atomic::Ordering::SeqCst)
    }

    pub(crate) fn url(&self, name: &str, path: &str) -> String {
        format!("https://{name}:{}{path}", self.port)
    }

    /// The permission to reach it by TLS.
    pub(crate) fn grant(&self, name: &str) -> String {
        format!("network_access:{name}:{}", self.port)
    }
}

/// Sends a whole answer.
pub(crate) fn reply(to: &mut dyn Write, status: &str, headers: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    write!(to, "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

fn serve(
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    kept: &Mutex<Vec<String>>,
    answer: &Answerer,
) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    // Who does not read is noticed.
    stream.set_write_timeout(Some(Duration::from_secs(2)))?;
    match tls {
        None => converse(&mut { stream }, kept, answer),
        Some(config) => {
            let connection = ServerConnection::new(config).map_err(io::Error::other)?;
            let mut stream = StreamOwned::new(connection, stream);
            converse(&mut stream, kept, answer)?;
            stream.conn.send_close_notify();
            stream.flush()
        }
    }
}

fn converse(stream: &mut (impl Read + Write), kept: &Mutex<Vec<String>>, answer: &Answerer) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte)? == 0 {
            return Ok(());
        }
        request.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&request).to_lowercase();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    request.extend(body);
    let request = String::from_utf8_lossy(&request).into_owned();
    kept.lock().unwrap().push(request.clone());
    answer(&request, stream)?;
    stream.flush()
}
