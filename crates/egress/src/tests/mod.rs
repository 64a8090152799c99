//! The way out over real sockets, with a resolver that says what the test wants. A sentinel is a listener that nobody may
//! have connected to.

mod http;
mod limits;
mod lookups;
mod names;
mod own;
mod tls;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use plugbay_config::Config;
use plugbay_domain::{Grants, Permission, PermissionUnit, PluginId};
use plugbay_runtime::denials::{Report, What};

const PATIENCE: Duration = Duration::from_secs(10);

/// Says one answer after the other, the last one again and again.
#[derive(Debug, Default)]
struct Script {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    asked: AtomicUsize,
    /// Lookups that go on though they were given up, as those of the system do.
    endless: AtomicUsize,
    /// Ends them.
    heard: tokio::sync::Notify,
}

/// Goes on until it is heard, whoever waits for it.
async fn go_on(script: &Script) {
    script.endless.fetch_add(1, Ordering::SeqCst);
    script.heard.notified().await;
    script.endless.fetch_sub(1, Ordering::SeqCst);
}

impl Resolver for Script {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            if name.starts_with("silent.") {
                go_on(self).await;
            }
            if name.starts_with("servfail.") {
                return Err(io::Error::other("the name server failed"));
            }
            let mut answers = self.answers.lock().unwrap();
            let next = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
            Ok(next.unwrap_or_else(|| vec![Ipv4Addr::LOCALHOST.into()]))
        })
    }
}

/// One plugin with its way out.
struct Rig {
    egress: Arc<Egress>,
    exit: Arc<Exit>,
    grants: Arc<ArcSwap<Grants>>,
    resolver: Arc<Script>,
    reports: mpsc::Receiver<Report>,
    socket: PathBuf,
    _folder: tempfile::TempDir,
    guard: Option<DropGuard>,
}

fn grants(rules: &[&str]) -> Grants {
    let unit = |rule: &&str| {
        let part = (**rule != *"*").then(|| rule.parse::<plugbay_domain::NetworkRule>().unwrap().to_string());
        PermissionUnit { permission: Permission::NetworkAccess, part }
    };
    Grants::of(&rules.iter().map(unit).collect::<Vec<_>>())
}

impl Rig {
    /// A plugin that was granted these rules; `*` is every public host.
    fn new(rules: &[&str], private: &[&str]) -> Self {
        Self::with(rules, private, |_| {})
    }

    fn with(rules: &[&str], private: &[&str], change: impl FnOnce(&mut EgressConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::for_testing(folder.path()).egress;
        config.allow_private = private.iter().map(|host| host.parse().unwrap()).collect();
        change(&mut config);
        let (resolver, most) = (Arc::<Script>::default(), MostOut::of(&config));
        let (denials, reports) = Denials::new();
        let egress = Egress::new(config, resolver.clone(), denials, Shutdown::default()).unwrap();
        let grants = Arc::new(ArcSwap::from_pointee(grants(rules)));
        let exit = Exit::new(PluginId::generate(), "weather".parse().unwrap(), Arc::clone(&grants), most);
        let exit = Arc::new(exit);
        let socket = folder.path().join("egress.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let guard = Some(egress.listen(&exit, listener, rustix::process::geteuid().as_raw()));
        Self { egress, exit, grants, resolver, reports, socket, _folder: folder, guard }
    }

    async fn connect(&self, first: &str) -> UnixStream {
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        stream.write_all(format!("{first}\n").as_bytes()).await.unwrap();
        stream
    }

    /// What comes back for some bytes, to the end of the connection.
    async fn answer(&self, first: &str, bytes: &[u8]) -> String {
        let mut stream = self.connect(first).await;
        // A connection that was refused may be closed already.
        stream.write_all(bytes).await.ok();
        read_all(&mut stream).await
    }

    /// Waits until no connection holds a place.
    async fn until_free(&self) {
        self.until_places(32).await;
    }

    /// Waits until so many places are free.
    async fn until_places(&self, wanted: usize) {
        let freed = async {
            while self.exit.places.available_permits() != wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(2 * PATIENCE, freed).await.expect("places are free again");
    }

    async fn report(&mut self) -> (&'static str, String) {
        let report = timeout(PATIENCE, self.reports.recv()).await.expect("there is a report").unwrap();
        match report.what {
            What::One(Denial { rule, text, .. }) => (rule, text),
            What::More { .. } => panic!("{report:?}"),
        }
    }
}

async fn read_all(stream: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    // A reset is an end too.
    timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the connection ends").ok();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A host on this machine.
struct Host {
    listener: TcpListener,
    port: u16,
}

impl Host {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { listener, port }
    }

    async fn accept(&self) -> TcpStream {
        timeout(PATIENCE, self.listener.accept()).await.expect("somebody connects").unwrap().0
    }

    /// Nobody has connected.
    async fn assert_untouched(&self) {
        let nobody = timeout(Duration::from_millis(20), self.listener.accept()).await;
        assert!(nobody.is_err(), "somebody connected");
    }
}

async fn read_exactly(stream: &mut (impl tokio::io::AsyncRead + Unpin), count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    timeout(PATIENCE, stream.read_exact(&mut bytes)).await.expect("bytes come").unwrap();
    bytes
}

#[tokio::test]
async fn somebody_else_is_not_let_out() {
    let host = Host::start().await;
    let rule = format!("tcp://a.example:{}", host.port);
    let rig = Rig::new(&[&rule], &["a.example"]);
    let socket = rig.socket.with_file_name("other.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let _guard = rig.egress.listen(&rig.exit, listener, rustix::process::geteuid().as_raw() + 1);
    let mut stream = UnixStream::connect(&socket).await.unwrap();
    stream.write_all(format!("tunnel a.example:{}\n", host.port).as_bytes()).await.ok();
    assert_eq!(read_all(&mut stream).await, "");
    host.assert_untouched().await;
}

#[tokio::test]
async fn raw_bytes_pass_in_both_directions_and_are_counted() {
    let host = Host::start().await;
    let rig = Rig::new(&[&format!("tcp://db.example:{}", host.port)], &["db.example"]);
    let mut plugin = rig.connect(&format!("tunnel db.example:{}", host.port)).await;
    plugin.write_all(b"select").await.unwrap();
    let mut server = host.accept().await;
    assert_eq!(read_exactly(&mut server, 6).await, b"select");
    server.write_all(&vec![7; 300_000]).await.unwrap();
    assert_eq!(read_exactly(&mut plugin, 3).await, b"ok\n");
    assert_eq!(read_exactly(&mut plugin, 300_000).await, vec![7; 300_000]);
    // Half-closed connections stay open in the other direction.
    plugin.shutdown().await.unwrap();
    assert_eq!(timeout(PATIENCE, server.read(&mut [0; 9])).await.unwrap().unwrap(), 0);
    server.write_all(b"end").await.unwrap();
    drop(server);
    assert_eq!(read_all(&mut plugin).await, "end");
    assert_eq!((rig.exit.sent_bytes(), rig.exit.received_bytes()), (6, 300_003));
}

#[tokio::test]
async fn what_is_not_granted_is_refused_before_it_is_resolved() {
    let host = Host::start().await;
    let mut rig = Rig::new(&["a.example:443"], &["b.example", "127.0.0.1"]);
    for wanted in ["b.example", "127.0.0.1", "[::1]", "localhost"] {
        let said = rig.answer(&format!("tunnel {wanted}:{}", host.port), b"").await;
        assert!(said.starts_with("refused not-granted "), "{said}");
        assert_eq!(rig.report().await.0, "not-granted");
    }
    assert_eq!((rig.exit.opened(), rig.exit.refused(), rig.exit.failed()), (0, 4, 0));
    for wanted in ["a.example@b.example:443", "a.example\\b:443", "a.example\0:443", "0x7f.1:80", "2130706433:80"] {
        let said = rig.answer(&format!("tunnel {wanted}"), b"").await;
        assert!(said.starts_with("refused target "), "{wanted}: {said}");
    }
    assert!(rig.answer("anything else", b"").await.starts_with("refused target "));
    assert_eq!(rig.resolver.asked.load(Ordering::SeqCst), 0);
    host.assert_untouched().await;
}

#[tokio::test]
async fn a_name_is_resolved_once_and_every_answer_checked() {
    let host = Host::start().await;
    let mut rig = Rig::new(&[&format!("tcp://a.example:{}", host.port)], &[]);
    let first = format!("tunnel a.example:{}", host.port);
    let local: IpAddr = Ipv4Addr::LOCALHOST.into();
    // 177: a name that leads here by way of another one; 175: in the company of a public address.
    for answer in [vec![local], vec!["192.0.2.1".parse().unwrap(), local], vec!["::ffff:127.0.0.1".parse().unwrap()]] {
        *rig.resolver.answers.lock().unwrap() = [answer].into();
        let said = rig.answer(&first, b"").await;
        assert!(said.starts_with("refused private-address "), "{said}");
        // Where the operator's names lead is for the operator alone.
        assert!(said.ends_with("is not a public host\n") && !said.contains("127.0.0.1"), "{said}");
        let (rule, text) = rig.report().await;
        assert!(rule == "private-address" && text.contains("is a"), "{text}");
    }
    // 176: what a second question would have led to is not asked.
    let before = rig.resolver.asked.load(Ordering::SeqCst);
    *rig.resolver.answers.lock().unwrap() = [vec!["240.0.0.1".parse().unwrap()], vec![local]].into();
    assert!(rig.answer(&first, b"").await.starts_with("refused private-address "));
    assert_eq!(rig.resolver.asked.load(Ordering::SeqCst), before + 1);
    // The next connection asks again, and is checked again.
    assert!(rig.answer(&first, b"").await.starts_with("refused private-address "));
    host.assert_untouched().await;
}

#[tokio::test]
async fn every_public_host_is_no_private_one() {
    let host = Host::start().await;
    let rig = Rig::new(&["*"], &["a.example", "127.0.0.1"]);
    let said = rig.answer(&format!("tunnel a.example:{}", host.port), b"").await;
    assert!(said.starts_with("refused private-address "), "{said}");
    let said = rig.answer(&format!("tunnel 127.0.0.1:{}", host.port), b"").await;
    assert!(said.starts_with("refused not-granted "), "{said}");
    host.assert_untouched().await;
}
