//! The proxy and plain HTTP: A.178, 181, 182, 184, 185, 189, 190, 194, B.56, B.57.

use super::*;

const SERVER_SAYS: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

/// Reads a request up to the end of its head.
async fn head_of(server: &mut TcpStream) -> String {
    let mut text = String::new();
    while !text.ends_with("\r\n\r\n") {
        text.push(char::from(read_exactly(server, 1).await[0]));
    }
    text
}

#[tokio::test]
async fn one_request_passes_in_either_form() {
    let host = Host::start().await;
    let port = host.port;
    let rig = Rig::new(&[&format!("http://a.example:{port}")], &["a.example"]);
    let absolute =
        format!("POST http://a.example:{port}/x HTTP/1.1\r\nHost: a.example:{port}\r\nContent-Length: 4\r\n\r\nbody");
    let origin = format!("POST /x HTTP/1.1\r\nHost: a.example:{port}\r\nContent-Length: 4\r\n\r\nbody");
    let connect = format!("CONNECT a.example:{port} HTTP/1.1\r\n\r\n{origin}");
    for (first, request) in
        [("proxy".to_owned(), &absolute), (format!("tunnel a.example:{port}"), &origin), ("proxy".to_owned(), &connect)]
    {
        let asking = rig.answer(&first, request.as_bytes());
        let serving = async {
            let mut server = host.accept().await;
            let wanted =
                format!("POST /x HTTP/1.1\r\nHost: a.example:{port}\r\ncontent-length: 4\r\nConnection: close\r\n\r\n");
            assert_eq!(head_of(&mut server).await, wanted);
            assert_eq!(read_exactly(&mut server, 4).await, b"body");
            server.write_all(SERVER_SAYS.as_bytes()).await.unwrap();
        };
        let (said, ()) = tokio::join!(asking, serving);
        assert!(said.ends_with(SERVER_SAYS), "{said}");
    }
}

#[tokio::test]
async fn a_second_request_is_not_sent_on() {
    let host = Host::start().await;
    let port = host.port;
    let rig = Rig::new(&[&format!("http://a.example:{port}")], &["a.example"]);
    for body in ["Content-Length: 2\r\n\r\nab", "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", "\r\n"] {
        let request = format!(
            "PUT http://a.example:{port}/ HTTP/1.1\r\nHost: a.example:{port}\r\n{body}GET /hidden HTTP/1.1\r\nHost: evil\r\n\r\n"
        );
        let asking = rig.answer("proxy", request.as_bytes());
        let serving = async {
            let mut server = host.accept().await;
            let mut text = Vec::new();
            timeout(PATIENCE, server.read_to_end(&mut text)).await.unwrap().ok();
            assert!(!String::from_utf8_lossy(&text).contains("hidden"), "{}", String::from_utf8_lossy(&text));
        };
        tokio::join!(asking, serving);
    }
}

#[tokio::test]
async fn refusals_are_answers_with_rule_and_fix() {
    let host = Host::start().await;
    let port = host.port;
    let mut rig = Rig::new(&["a.example:443", &format!("http://p.example:{port}")], &["p.example", "b.example"]);
    let cases = [
        ("CONNECT b.example:443 HTTP/1.1\r\n\r\n".to_owned(), 403, "not-granted"),
        (format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n"), 403, "not-granted"),
        ("CONNECT a.example:22 HTTP/1.1\r\n\r\n".to_owned(), 403, "not-granted"),
        ("CONNECT a.example:443 HTTP/1.1\r\n\r\n".to_owned(), 403, "private-address"),
        ("CONNECT a.example HTTP/1.1\r\n\r\n".to_owned(), 400, "target"),
        ("CONNECT a.example%00:443 HTTP/1.1\r\n\r\n".to_owned(), 400, "target"),
        ("CONNECT a.example@b.example:443 HTTP/1.1\r\n\r\n".to_owned(), 400, "target"),
        ("CONNECT a.example:443 b HTTP/1.1\r\n\r\n".to_owned(), 400, "request"),
        ("CONNECT a.example\0:443 HTTP/1.1\r\n\r\n".to_owned(), 400, "request"),
        ("GET http://b.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n".to_owned(), 403, "not-granted"),
        ("GET http://a.example:443/ HTTP/1.1\r\nHost: a.example:443\r\n\r\n".to_owned(), 403, "not-granted"),
        ("GET http://p.example@b.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n".to_owned(), 400, "target"),
        (format!("GET http://p.example:{port}/ HTTP/1.1\r\nHost: b.example\r\n\r\n"), 400, "request"),
        (
            format!(
                "GET http://p.example:{port}/ HTTP/1.1\r\nHost: p.example:{port}\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
            ),
            400,
            "request",
        ),
        ("GET gopher://p.example/ HTTP/1.1\r\nHost: p.example\r\n\r\n".to_owned(), 400, "request"),
        ("GET https://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n".to_owned(), 400, "request"),
        ("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n".to_owned(), 400, "request"),
    ];
    for (at, (request, status, rule)) in cases.into_iter().enumerate() {
        if at == 10 {
            // Only so many are told in a minute.
            rig = Rig::new(&["a.example:443", &format!("http://p.example:{port}")], &["p.example", "b.example"]);
        }
        let said = rig.answer("proxy", request.as_bytes()).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {said}");
        assert!(said.contains(&format!("X-Plugbay-Rule: {rule}\r\n")) && said.contains("\nhow: "), "{said}");
        assert_eq!(rig.report().await.0, rule, "{request}");
    }
    host.assert_untouched().await;
}

#[tokio::test]
async fn faults_of_hosts_and_name_servers_are_told_apart() {
    let gone = Host::start().await;
    let port = gone.port;
    drop(gone);
    // Nobody accepts here, and two wait already: the third is not even answered.
    let deaf = tokio::net::TcpSocket::new_v4().unwrap();
    deaf.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let deaf = deaf.listen(1).unwrap();
    let deaf_address = deaf.local_addr().unwrap();
    let _waiting = (TcpStream::connect(deaf_address).await.unwrap(), TcpStream::connect(deaf_address).await.unwrap());
    let names = ["a.example", "silent.example", "servfail.example"];
    let mut rules: Vec<String> = names.iter().map(|name| format!("tcp://{name}:{port}")).collect();
    rules.push(format!("tcp://a.example:{}", deaf_address.port()));
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    let rig = Rig::with(&rules, &names, |config| config.connect_timeout = Duration::from_millis(300));
    for (target, status, rule) in [
        (format!("a.example:{port}"), 502, "unreachable"),
        (format!("a.example:{}", deaf_address.port()), 504, "connect-timeout"),
        (format!("silent.example:{port}"), 504, "resolve-timeout"),
        (format!("servfail.example:{port}"), 504, "unresolved"),
    ] {
        let said = rig.answer("proxy", format!("CONNECT {target} HTTP/1.1\r\n\r\n").as_bytes()).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")) && said.contains(rule), "{said}");
        let said = rig.answer(&format!("tunnel {target}"), b"").await;
        assert!(said.starts_with(&format!("refused {rule} ")), "{said}");
    }
    // The name server answers at last.
    rig.resolver.heard.notify_waiters();
    rig.until_free().await;
}

#[tokio::test]
async fn hosts_that_break_off_end_the_connection_and_free_its_place() {
    let host = Host::start().await;
    let port = host.port;
    let rig = Rig::new(
        &[&format!("http://a.example:{port}"), &format!("tcp://t.example:{port}")],
        &["a.example", "t.example"],
    );
    let request = format!("GET http://a.example:{port}/ HTTP/1.1\r\nHost: a.example:{port}\r\n\r\n");
    // Truncated, with a reset, and without a word.
    for part in ["HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", ""] {
        let serving = async {
            let mut server = host.accept().await;
            head_of(&mut server).await;
            server.write_all(part.as_bytes()).await.unwrap();
        };
        let (said, ()) = tokio::join!(rig.answer("proxy", request.as_bytes()), serving);
        assert_eq!(said, part);
    }
    let first = format!("tunnel t.example:{port}");
    let asking = rig.answer(&first, b"unread");
    let serving = async { drop(host.accept().await) };
    assert_eq!(tokio::join!(asking, serving).0, "ok\n");
    rig.until_free().await;
}
