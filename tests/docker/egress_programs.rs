//! Programs as people use them, unchanged, in a plugin with one allowed host: requests, aiohttp, curl, Node. What the machine
//! lacks of them is installed; the plugin carries them in its package.

use std::fs;
use std::path::Path;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use super::bench::docker;
use super::client::fixture;
use super::egress::{NAME, World};
use super::hosts::tls_file;
use super::kind::docker_is_there;

/// What a plugin of so many programs needs.
const RESOURCES: &str = "resources: { memory_mb: 512, tmp_mb: 8, timeout_seconds: 40, pids: 128 }";

/// Output of a program, which must succeed.
#[expect(clippy::disallowed_methods, reason = "fetches the programs under test")]
fn run(words: &[&str]) -> String {
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap_or_else(|error| panic!("{words:?}: {error}"));
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The path of a program, installed from Debian where it is missing.
fn program(name: &str, package: &str) -> String {
    let look = format!("command -v {name} || (apt-get install --yes {package} >&2 && command -v {name})");
    run(&["sh", "-c", &look])
}

/// Copies a program with the libraries it is linked to.
fn bring(path: &str, folder: &Path) {
    fs::create_dir_all(folder.join("lib")).unwrap();
    let name = Path::new(path).file_name().unwrap();
    fs::copy(path, folder.join(name)).unwrap();
    for word in run(&["ldd", path]).split_whitespace().filter(|word| word.starts_with('/')) {
        fs::copy(word, folder.join("lib").join(Path::new(word).file_name().unwrap())).unwrap();
    }
}

fn package(folder: &Path) {
    let manifest = fs::read_to_string(fixture(NAME).join("plugin.yaml")).unwrap();
    let kept = manifest.lines().filter(|line| !line.starts_with("resources"));
    fs::write(folder.join("plugin.yaml"), kept.chain([RESOURCES]).collect::<Vec<_>>().join("\n")).unwrap();
    fs::copy(fixture(NAME).join("main.py"), folder.join("main.py")).unwrap();
    fs::copy(tls_file("ca.pem"), folder.join("ca.pem")).unwrap();
    bring(&program("curl", "curl"), &folder.join("bin"));
    bring(&program("node", "nodejs"), &folder.join("bin"));
    let version = "import sys; print('%d.%d' % sys.version_info[:2])";
    let version = docker(&["run", "--rm", "--network", "none", "plugbay/python:3", "python3", "-c", version]).unwrap();
    let wheels = tempfile::tempdir().unwrap();
    let to = wheels.path().to_str().unwrap();
    program("pip3", "python3-pip");
    run(&[
        "pip3",
        "download",
        "--quiet",
        "--only-binary",
        ":all:",
        "--python-version",
        &version,
        "--platform",
        "manylinux2014_x86_64",
        "--dest",
        to,
        "requests",
        "aiohttp",
    ]);
    for wheel in fs::read_dir(wheels.path()).unwrap() {
        let wheel = wheel.unwrap().path();
        run(&["python3", "-m", "zipfile", "-e", wheel.to_str().unwrap(), folder.to_str().unwrap()]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_reach_the_allowed_host_unchanged_and_nothing_else() {
    if !docker_is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    package(folder.path());
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    archive.follow_symlinks(true);
    archive.append_dir_all("package", folder.path()).unwrap();
    let archive = archive.into_inner().unwrap().finish().unwrap();
    let world = World::start_archive(&archive, &["allowed.test:PORT"], |config| {
        config.limits.upload_bytes = 512 << 20;
        config.limits.unpacked_bytes = 1 << 30;
        config.limits.file_bytes = 512 << 20;
        config.limits.ratio = 10_000;
    });
    let world = world.await;

    let linked = |name: &str| {
        let loader = "/plugin/bin/lib/ld-linux-x86-64.so.2";
        format!("{loader} --library-path /plugin/bin/lib /plugin/bin/{name}")
    };
    let requests =
        "python3 -c 'import requests, sys; print(requests.get(sys.argv[1], verify=\"ca.pem\", timeout=20).text)'";
    let aiohttp = "python3 -c '
import aiohttp, asyncio, ssl, sys
async def main():
    checks = ssl.create_default_context(cafile=\"ca.pem\")
    async with aiohttp.ClientSession() as session:
        async with session.get(sys.argv[1], ssl=checks) as answer: print(await answer.text())
asyncio.run(main())'";
    let node = linked("node");
    let https = "require(\"https\").get(process.argv[1], a => a.on(\"data\", d => console.log(String(d)))).on(\"error\", e => { console.error(e.code); process.exit(1) })";
    let fetch = "fetch(process.argv[1]).then(a => a.text()).then(console.log, e => { console.error(e.cause.code); process.exit(1) })";
    let curl = linked("curl");
    let programs = [
        ("requests", requests.to_owned()),
        ("aiohttp", aiohttp.to_owned()),
        ("curl", format!("{curl} -sS --max-time 20 --cacert ca.pem")),
        ("curl by name", format!("{curl} -sS --max-time 20 --noproxy '*' --cacert ca.pem")),
        ("node https", format!("NODE_EXTRA_CA_CERTS=ca.pem {node} -e '{https}'")),
        ("node fetch", format!("NODE_EXTRA_CA_CERTS=ca.pem {node} -e '{fetch}'")),
    ];
    let (own, port) = (world.allowed.port, world.sentinel.port);
    for (name, command) in programs {
        let good = world.try_out("run", json!(["sh", "-c", format!("{command} {}", world.url("allowed.test"))])).await;
        let good = good.unwrap();
        assert!(good[0] == 0 && good[1].as_str().unwrap().contains("hello from the host"), "{name}: {good}");
        let before = world.allowed.seen();
        for url in [
            format!("https://second.test:{own}/"),
            format!("https://127.0.0.1:{port}/"),
            format!("https://192.0.2.1:{own}/"),
            format!("https://allowed.test:{port}/"),
        ] {
            let bad = world.try_out("run", json!(["sh", "-c", format!("{command} {url}")])).await.unwrap();
            assert_ne!(bad[0], 0, "{name} {url}: {bad}");
        }
        assert_eq!((world.allowed.seen(), world.sentinel.seen()), (before, 0), "{name}");
    }
    world.served.end().await;
}
