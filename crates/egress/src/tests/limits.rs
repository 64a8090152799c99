//! What bounds connections: A.183, 193, taking back, the end of a session.

use super::*;

type Change = fn(&mut EgressConfig);

fn raw(host: &Host) -> (String, String) {
    (format!("tcp://a.example:{}", host.port), format!("tunnel a.example:{}", host.port))
}

/// Connects and waits until bytes can pass.
async fn opened(rig: &Rig, host: &Host, first: &str) -> (UnixStream, TcpStream) {
    let mut plugin = rig.connect(first).await;
    let server = host.accept().await;
    assert_eq!(read_exactly(&mut plugin, 3).await, b"ok\n");
    (plugin, server)
}

#[tokio::test]
async fn a_connection_ends_when_its_grant_is_taken_back() {
    let host = Host::start().await;
    let (rule, first) = raw(&host);
    let mut rig = Rig::new(&[&rule, "b.example"], &["a.example"]);
    let (mut plugin, _server) = opened(&rig, &host, &first).await;
    // Other decisions change nothing here, also one that allows more of the same host.
    let more = rule.replace("tcp", "http");
    rig.grants.store(Arc::new(grants(&[&rule, &more])));
    rig.exit.grants_changed();
    assert!(timeout(Duration::from_millis(50), plugin.read(&mut [0; 9])).await.is_err());
    rig.grants.store(Arc::new(grants(&["b.example"])));
    rig.exit.grants_changed();
    assert_eq!(read_all(&mut plugin).await, "");
    let (rule, text) = rig.report().await;
    assert!(rule == "limit" && text.contains("taken back"), "{text}");
    assert!(rig.answer(&first, b"").await.starts_with("refused not-granted"));
}

#[tokio::test]
async fn connections_end_with_their_session() {
    let host = Host::start().await;
    let (rule, first) = raw(&host);
    let mut rig = Rig::new(&[&rule], &["a.example"]);
    let (mut plugin, mut server) = opened(&rig, &host, &first).await;
    rig.guard = None;
    assert_eq!(read_all(&mut plugin).await, "");
    assert_eq!(timeout(PATIENCE, server.read(&mut [0; 9])).await.unwrap().unwrap_or(0), 0);
}

#[tokio::test]
async fn time_silence_and_bytes_are_bounded() {
    let host = Host::start().await;
    let (rule, first) = raw(&host);
    let changes: [(Change, &str); 3] = [
        (|config| config.idle = Duration::from_millis(300), "egress.idle_seconds"),
        (|config| config.tunnel_time = Duration::from_millis(300), "egress.tunnel_seconds"),
        (|config| config.tunnel_bytes = 100_000, "egress.tunnel_mb"),
    ];
    for (change, limit) in changes {
        let mut rig = Rig::with(&[&rule], &["a.example"], change);
        let (mut plugin, mut server) = opened(&rig, &host, &first).await;
        if limit != "egress.idle_seconds" {
            // 183: an endless answer, a little at a time or all at once.
            let part = if limit == "egress.tunnel_mb" { vec![0; 50_000] } else { vec![0; 1] };
            #[expect(clippy::disallowed_methods, reason = "ends with the connection")]
            tokio::spawn(async move {
                while server.write_all(&part).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
        }
        let received = read_all(&mut plugin).await.len();
        assert!(received <= 100_000, "{received}");
        let (rule, text) = rig.report().await;
        assert!(rule == "limit" && text.contains(limit), "{text}");
    }
}

#[tokio::test]
async fn a_host_that_does_not_hang_up_when_the_plugin_did_keeps_no_place() {
    let host = Host::start().await;
    let (rule, first) = raw(&host);
    let rig = Rig::with(&[&rule], &["a.example"], |config| config.idle = Duration::from_hours(1));
    let (plugin, _server) = opened(&rig, &host, &first).await;
    drop(plugin);
    rig.until_free().await;
}

/// B.56: the answer is complete, and the host leaves the connection open.
#[tokio::test]
async fn a_host_that_closes_late_keeps_a_place_no_longer_than_silence_may_last() {
    let host = Host::start().await;
    let rules = [format!("http://a.example:{}", host.port)];
    let rig = Rig::with(&[&rules[0]], &["a.example"], |config| config.idle = Duration::from_millis(300));
    let mut plugin = rig.connect(&format!("tunnel a.example:{}", host.port)).await;
    plugin.write_all(format!("GET / HTTP/1.1\r\nHost: a.example:{}\r\n\r\n", host.port).as_bytes()).await.unwrap();
    let mut server = host.accept().await;
    server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
    assert!(read_all(&mut plugin).await.ends_with("\r\n\r\nok"));
    rig.until_free().await;
    assert_eq!(rig.exit.opened(), 1);
    drop(server);
}

#[tokio::test]
async fn ten_thousand_connections_get_no_more_places_than_there_are() {
    let host = Host::start().await;
    let (rule, first) = raw(&host);
    let rig = Rig::new(&[&rule], &["a.example"]);
    let mut held = Vec::new();
    let mut refused = 0;
    for _ in 0..10_000 {
        let mut plugin = UnixStream::connect(&rig.socket).await.unwrap();
        // Closed at once when there are too many.
        plugin.write_all(format!("{first}\n").as_bytes()).await.ok();
        let mut said = [0; 3];
        let answer = timeout(PATIENCE, plugin.read_exact(&mut said)).await.unwrap();
        if answer.is_ok() && said == *b"ok\n" { held.push(plugin) } else { refused += 1 }
    }
    assert_eq!((held.len(), refused), (32, 9_968));
    // Who hangs up makes room.
    drop((held, host));
    rig.until_free().await;
}

#[tokio::test]
async fn who_says_nothing_is_not_waited_for_longer_than_five_seconds() {
    let host = Host::start().await;
    let (_, first) = raw(&host);
    let tls = format!("a.example:{}", host.port);
    let mut rig = Rig::new(&[&tls], &["a.example"]);
    let began = Instant::now();
    // No first line; no first byte; half a ClientHello.
    let silent = UnixStream::connect(&rig.socket).await.unwrap();
    let (mut silent, mut mute, mut half) = (silent, rig.connect(&first).await, rig.connect(&first).await);
    half.write_all(&client_hello::testing::hello_for("a.example")[..20]).await.unwrap();
    let (a, b, c) = tokio::join!(read_all(&mut silent), read_all(&mut mute), read_all(&mut half));
    assert_eq!((a.as_str(), b.as_str(), c.starts_with("ok\n")), ("", "ok\n", true));
    assert!(began.elapsed() < Duration::from_secs(9));
    assert_eq!(rig.report().await.0, "silent");
}
