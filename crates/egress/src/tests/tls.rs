//! TLS by name: A.188.

use super::client_hello::testing::{hello_for, hello_of, name};
use super::*;

#[tokio::test]
async fn tls_for_the_host_passes_unchanged() {
    let host = Host::start().await;
    let rig = Rig::new(&[&format!("api.example.com:{}", host.port)], &["api.example.com"]);
    let hello = hello_for("API.example.com");
    for first in ["tunnel", "proxy"] {
        let mut plugin = if first == "proxy" {
            let mut plugin = rig.connect("proxy").await;
            let request = format!("CONNECT api.example.com:{} HTTP/1.0\r\n\r\n", host.port);
            plugin.write_all(request.as_bytes()).await.unwrap();
            let said = read_exactly(&mut plugin, 39).await;
            assert_eq!(String::from_utf8(said).unwrap(), "HTTP/1.0 200 Connection established\r\n\r\n");
            plugin
        } else {
            let mut plugin = rig.connect(&format!("tunnel api.example.com:{}", host.port)).await;
            assert_eq!(read_exactly(&mut plugin, 3).await, b"ok\n");
            plugin
        };
        // In pieces, as it may come.
        for part in hello.chunks(50) {
            plugin.write_all(part).await.unwrap();
            tokio::task::yield_now().await;
        }
        plugin.write_all(b"after").await.unwrap();
        let mut server = host.accept().await;
        assert_eq!(read_exactly(&mut server, hello.len() + 5).await, [&hello[..], b"after"].concat());
        server.write_all(b"answer").await.unwrap();
        assert_eq!(read_exactly(&mut plugin, 6).await, b"answer");
    }
}

#[tokio::test]
async fn tls_for_another_host_gets_an_alert_and_no_byte_through() {
    let host = Host::start().await;
    let mut rig = Rig::new(&[&format!("api.example.com:{}", host.port)], &["api.example.com"]);
    let cases = [
        (hello_for("evil.example"), "names the server `evil.example`"),
        (hello_for("xapi.example.com"), "names the server"),
        (hello_of(&[], 512), "names no server (SNI)"),
        (hello_of(&[name("api.example.com"), (0xfe0d, vec![0; 40])], 512), "hides its server name (ECH)"),
        (hello_of(&[name("api.example.com"), name("evil.example")], 512), "broken ClientHello"),
        (hello_of(&[(21, vec![0; 16_360])], 16_000), "too long"),
    ];
    for (hello, problem) in cases {
        let mut plugin = rig.connect(&format!("tunnel api.example.com:{}", host.port)).await;
        plugin.write_all(&hello).await.ok();
        let mut said = Vec::new();
        timeout(PATIENCE, plugin.read_to_end(&mut said)).await.unwrap().ok();
        assert_eq!(said, [b"ok\n", &client_hello::UNRECOGNIZED_NAME[..]].concat());
        let mut server = host.accept().await;
        assert_eq!(timeout(PATIENCE, server.read(&mut [0; 9])).await.unwrap().unwrap_or(0), 0, "{problem}");
        let (rule, text) = rig.report().await;
        assert_eq!(rule, "server-name");
        assert!(text.contains(problem), "{text}");
    }
}

#[tokio::test]
async fn other_protocols_do_not_pass_where_tls_is_granted() {
    let host = Host::start().await;
    let mut rig = Rig::new(&[&format!("api.example.com:{}", host.port)], &["api.example.com"]);
    for bytes in ["SSH-2.0-x\r\n", "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n", "EHLO x\r\n"] {
        let said = rig.answer(&format!("tunnel api.example.com:{}", host.port), bytes.as_bytes()).await;
        assert_eq!(said, "ok\n");
        let mut server = host.accept().await;
        assert_eq!(timeout(PATIENCE, server.read(&mut [0; 9])).await.unwrap().unwrap_or(0), 0);
        assert_eq!(rig.report().await.0, "server-name");
    }
}
