//! Vendoring from an index, which the tests serve themselves: what is kept of it, and what is said when it does not help.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::vendor::with_wheel;
use super::*;

const WHEEL: &str = "greet-1.2-py3-none-any.whl";

/// An index with a wheel of `greet`, and of `built` nothing but its source.
struct Index {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Index {
    fn start(wheel: Vec<u8>) -> Self {
        let page = |file: &str| format!("<!DOCTYPE html><a href=\"/files/{file}\">{file}</a>").into_bytes();
        let pages = HashMap::from([
            ("/simple/greet/".to_owned(), page(WHEEL)),
            ("/simple/built/".to_owned(), page("built-1.0.tar.gz")),
            (format!("/files/{WHEEL}"), wheel),
        ]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default());
        let count = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                count.fetch_add(1, Ordering::SeqCst);
                let lines = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
                let head: Vec<String> = lines.collect();
                let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
                let (status, body) = pages.get(path).map_or(("404 Not Found", &b""[..]), |body| ("200 OK", body));
                let kind = if path.starts_with("/simple") { "text/html" } else { "application/octet-stream" };
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                (&stream).write_all(head.as_bytes()).and_then(|()| (&stream).write_all(body)).ok();
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// Packs with an index, and a cache of the test's own.
fn pack(base: &Path, index: SocketAddr, more: &[&str]) -> Run {
    let mut command = command(base, env!("CARGO_BIN_EXE_plugbay"));
    command.args(["pack", "demo"]).args(more).env("PIP_INDEX_URL", format!("http://u:secret@{index}/simple"));
    for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"] {
        command.env_remove(name);
    }
    command.env("XDG_CACHE_HOME", base.join("cache")).env("PIP_CONFIG_FILE", "/dev/null").env("PIP_NO_CACHE_DIR", "1");
    finish(&command.output().unwrap())
}

fn wants(base: &Path, dependency: &str) {
    let manifest = format!("name: demo\nversion: 1.0.0\nmain: main.py\ndependencies: [\"{dependency}\"]\n");
    fs::write(base.join("demo/plugin.yaml"), manifest).unwrap();
}

/// A port that nothing listens at.
fn closed() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn the_second_pack_asks_no_index() {
    let base = with_wheel();
    let base = base.path();
    let index = Index::start(fs::read(base.join("wheels").join(WHEEL)).unwrap());
    pack(base, index.address, &["-o", "a.tar.gz"]).ok();
    let asked = index.asked();
    assert!(asked > 0);
    let again = pack(base, index.address, &["-o", "b.tar.gz"]).ok();
    assert_eq!(index.asked(), asked, "the index is asked again");
    assert!(again.stderr.contains("from the cache"), "{}", again.stderr);
    assert_eq!(fs::read(base.join("a.tar.gz")).unwrap(), fs::read(base.join("b.tar.gz")).unwrap());
    pack(base, index.address, &["--no-cache"]).ok();
    assert!(index.asked() > asked, "nothing is taken from the cache");

    // A wheel that was changed in the cache is not what the lock names.
    let kept = shell(base, "find cache/plugbay/wheels -name '*.whl'").ok().stdout;
    let (kept, asked) = (base.join(kept.trim()), index.asked());
    assert!(kept.is_file(), "{}", kept.display());
    fs::write(&kept, fs::read(&kept).unwrap().repeat(2)).unwrap();
    pack(base, index.address, &["-o", "c.tar.gz"]).ok();
    assert!(index.asked() > asked);
    assert_eq!(fs::read(base.join("a.tar.gz")).unwrap(), fs::read(base.join("c.tar.gz")).unwrap());

    // Other wishes, another Python, another index: each is asked for.
    for (dependency, more) in [("greet>=1.1", [].as_slice()), ("greet>=1.0", &["--python", "3.12"])] {
        let asked = index.asked();
        wants(base, dependency);
        pack(base, index.address, more).ok();
        assert!(index.asked() > asked, "{dependency} {more:?}");
    }
    pack(base, closed(), &[]).failed(1, "cannot be reached");
}

#[test]
fn three_causes_have_three_messages() {
    let base = with_wheel();
    let base = base.path();
    let index = Index::start(Vec::new());
    let nowhere = closed();
    let away = pack(base, nowhere, &[]).failed(1, &format!("the index http://{nowhere}/simple cannot be reached: "));
    assert!(away.stderr.contains("refused") && away.stderr.contains("fix: "), "{}", away.stderr);
    assert!(!away.stderr.contains("secret") && !away.stderr.contains("pip wheel"), "{}", away.stderr);

    wants(base, "nope>=1");
    let none = pack(base, index.address, &[]).failed(1, "there is no package `nope`");
    assert!(none.stderr.contains("dependencies") && !none.stderr.contains("pip wheel"), "{}", none.stderr);

    wants(base, "built");
    let source = pack(base, index.address, &[]).failed(1, "there is no wheel of `built` for Python 3.11");
    assert!(source.stderr.contains("pip wheel --wheel-dir wheels 'built'"), "{}", source.stderr);

    wants(base, "greet>=7");
    let old = pack(base, index.address, &[]).failed(1, "there is no version of `greet>=7`; there are 1.2");
    assert!(!old.stderr.contains("pip wheel"), "{}", old.stderr);
}
