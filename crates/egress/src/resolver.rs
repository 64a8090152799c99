//! Names to addresses.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::net::{IpAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::thread;

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

/// Stack of a thread that looks a name up: what the C library's resolver needs, several times over.
const STACK_BYTES: usize = 512 * 1024;

/// Bytes of the hosts file that are read.
const MAX_HOSTS_BYTES: u64 = 16 << 20;

/// What knows the addresses of names.
pub trait Resolver: fmt::Debug + Send + Sync {
    /// Every address of a name, in the order they should be tried.
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// The machine's own way to resolve names: its hosts file first, then what else it asks.
#[derive(Clone, Debug)]
pub struct SystemResolver {
    hosts: PathBuf,
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self { hosts: PathBuf::from("/etc/hosts") }
    }
}

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let (name, hosts) = (name.to_owned(), self.hosts.clone());
            // A thread for each: the pool that everything else of the service blocks in is not filled by silent name
            // servers. How many there are at one time is decided by `lookups`.
            thread::Builder::new().name("egress.lookup".to_owned()).stack_size(STACK_BYTES).spawn(move || {
                answer.send(look_up(&name, &hosts)).ok();
            })?;
            answered.await.unwrap_or_else(|_died| Err(io::Error::other("the lookup died")))
        })
    }
}

/// A name with dots stands for itself: the hosts file, then the name servers without the machine's search list, which
/// would lead `a.example` to `a.example.corp.internal`. A name without dots is one of the operator's own, which only that
/// list may know.
fn look_up(name: &str, hosts: &Path) -> io::Result<Vec<IpAddr>> {
    if !name.contains('.') {
        return ask(name);
    }
    let bare = name.strip_suffix('.').unwrap_or(name);
    match File::open(hosts).and_then(|file| in_hosts_file(file, bare)) {
        Ok(found) if !found.is_empty() => Ok(found),
        // With a dot at its end no list is applied, and the system's own look into the hosts file finds nothing.
        Ok(_) | Err(_) => ask(&format!("{bare}.")),
    }
}

fn ask(name: &str) -> io::Result<Vec<IpAddr>> {
    let mut found = Vec::new();
    for address in (name, 0).to_socket_addrs()? {
        if !found.contains(&address.ip()) {
            found.push(address.ip());
        }
    }
    Ok(found)
}

/// The addresses of a name in a file of lines `ADDRESS NAME…`, in which `#` begins a comment.
fn in_hosts_file(file: impl io::Read, name: &str) -> io::Result<Vec<IpAddr>> {
    let mut reader = BufReader::new(file.take(MAX_HOSTS_BYTES));
    let (mut found, mut line) = (Vec::new(), Vec::new());
    while reader.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        let mut words = text.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
        let is_named = words.any(|word| word.trim_end_matches('.').eq_ignore_ascii_case(name));
        found.extend(address.filter(|address| is_named && !found.contains(address)));
        line.clear();
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: &str = "127.0.0.1 localhost\n\
        # 192.0.2.9 commented.example\n\
        192.0.2.1\tdb.corp.example db  # the database\n\
        2001:db8::1 DB.Corp.Example\r\n\
        192.0.2.1 db.corp.example\n\
        fe80::1%eth0 scoped.example\n\
        words that are no line\n\
        192.0.2.2 other.example db.corp.example.evil.example";

    #[tokio::test]
    async fn names_with_dots_are_found_in_the_hosts_file() {
        let folder = tempfile::tempdir().unwrap();
        let hosts = folder.path().join("hosts");
        std::fs::write(&hosts, HOSTS).unwrap();
        let resolver = SystemResolver { hosts };
        let found = resolver.resolve("db.corp.example").await.unwrap();
        assert_eq!(found, ["192.0.2.1".parse::<IpAddr>().unwrap(), "2001:db8::1".parse().unwrap()]);
        let found = resolver.resolve("other.example").await.unwrap();
        assert_eq!(found, ["192.0.2.2".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn nothing_else_of_the_hosts_file_is_a_name() {
        let found = |name| in_hosts_file(HOSTS.as_bytes(), name).unwrap();
        for name in
            ["commented.example", "corp.example", "b.corp.example", "scoped.example", "the.database", "192.0.2.1"]
        {
            assert!(found(name).is_empty(), "{name}");
        }
    }

    #[test]
    fn a_hosts_file_of_any_bytes_and_one_endless_line_are_read_within_bounds() {
        let mut bytes = b"\xff\xfe junk\n192.0.2.1 a.example\n".to_vec();
        assert_eq!(in_hosts_file(&*bytes, "a.example").unwrap().len(), 1);
        bytes.extend(std::iter::repeat_n(b'x', 1 << 20));
        assert_eq!(in_hosts_file(&*bytes, "a.example").unwrap().len(), 1);
    }
}
