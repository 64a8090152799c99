//! Requests of plugins as they are read, refused and sent on: A.178, 181, 189, 190.

use proptest::prelude::*;

use super::*;

fn head(text: &str) -> Result<Head, EgressError> {
    let text = format!("{}\r\n\r\n", text.replace('\n', "\r\n"));
    read(text.as_bytes()).map(|found| {
        let (head, length) = found.expect("it is whole");
        assert_eq!(length, text.len());
        head
    })
}

fn target(text: &str) -> Target {
    Target::parse(text, None).unwrap()
}

#[test]
fn a_request_is_sent_on_in_one_form() {
    let sent = |text: &str, to: &str| {
        let head = head(text).unwrap();
        head.check_host(&target(to)).unwrap();
        String::from_utf8(head.to_bytes(&target(to))).unwrap()
    };
    let absolute = "GET http://A.example/x?y=1 HTTP/1.1\nHost: a.example\nAccept: */*\nProxy-Connection: keep-alive\n\
                    Proxy-Authorization: Basic x\nConnection: keep-alive, X-Own\nX-Own: 1\nUpgrade: websocket";
    let wanted = "GET /x?y=1 HTTP/1.1\r\nHost: a.example\r\naccept: */*\r\nConnection: close\r\n\r\n";
    assert_eq!(sent(absolute, "a.example:80"), wanted);
    let origin = "POST / HTTP/1.0\nhost: a.example:8080\ncontent-length: 5";
    let wanted = "POST / HTTP/1.0\r\nHost: a.example:8080\r\ncontent-length: 5\r\nConnection: close\r\n\r\n";
    assert_eq!(sent(origin, "a.example:8080"), wanted);
    assert!(sent("GET http://a.example?x HTTP/1.1\nHost: a.example", "a.example:80").starts_with("GET /?x HTTP"));
    assert!(sent("GET / HTTP/1.0", "a.example:8080").contains("Host: a.example:8080\r\n"));
}

#[test]
fn bodies_are_measured() {
    assert_eq!(head("GET / HTTP/1.1\nHost: a").unwrap().body, Body::Length(0));
    assert_eq!(head("PUT / HTTP/1.1\nHost: a\nContent-Length: 12").unwrap().body, Body::Length(12));
    assert_eq!(head("PUT / HTTP/1.1\nHost: a\nTransfer-Encoding: Chunked").unwrap().body, Body::CHUNKED);
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    for text in [
        "GET / HTTP/1.1\nContent-Length: 1\nTransfer-Encoding: chunked",
        "GET / HTTP/1.1\nTransfer-Encoding: chunked\nContent-Length: 1",
        "GET / HTTP/1.1\nContent-Length: 1\nContent-Length: 1",
        "GET / HTTP/1.1\nContent-Length: 1, 1",
        "GET / HTTP/1.1\nContent-Length: +1",
        "GET / HTTP/1.1\nContent-Length: 0x1",
        "GET / HTTP/1.1\nContent-Length: ",
        "GET / HTTP/1.1\nContent-Length : 1",
        "GET / HTTP/1.1\nTransfer-Encoding: gzip, chunked",
        "GET / HTTP/1.1\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked",
        "GET / HTTP/1.1\nTransfer-Encoding: xchunked",
        "GET / HTTP/1.0\nTransfer-Encoding: chunked",
        "GET / HTTP/1.1\nHost: a\nHost: a",
        "GET / HTTP/1.1\nHost: a\n folded",
        "GET / HTTP/1.1\nHost a",
        "GET / HTTP/1.1\nConnection: close, Content-Length\nContent-Length: 5",
        "GET / HTTP/1.1\nConnection: host",
        "GET / HTTP/1.1\nX: a\0b",
        "GET  / HTTP/1.1\nHost: a",
        "GET / HTTP/1.1 \nHost: a",
        "GET / HTTP/2.0\nHost: a",
        "get / HTTP/1.1\nHost: a",
        "GET /#x HTTP/1.1\nHost: a",
        "GET a.example/ HTTP/1.1\nHost: a",
        "GET * HTTP/1.1\nHost: a",
        "GET https://a.example/ HTTP/1.1\nHost: a.example",
        "GET file:///etc/passwd HTTP/1.1\nHost: a",
        "GET ftp://a.example/ HTTP/1.1\nHost: a",
        "GET gopher://a.example/ HTTP/1.1\nHost: a",
        "GET dict://a.example/ HTTP/1.1\nHost: a",
        "GET jar:http://a.example/ HTTP/1.1\nHost: a",
    ] {
        assert!(head(text).is_err(), "{text:?}");
    }
    for bytes in
        [&b"GET / HTTP/1.1\nHost: a\r\n\r\n"[..], b"GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n", b"\x16\x03\x01", b"\r\n"]
    {
        assert!(read(bytes).is_err(), "{bytes:?}");
    }
    assert!(read(&vec![b'A'; MAX_BYTES]).is_err());
    assert!(read(b"GET / HTTP/1.1\r\nHost: a\r\n").unwrap().is_none());
}

#[test]
fn a_request_for_another_host_is_refused() {
    for (host, to) in [
        ("b.example", "a.example:80"),
        ("a.example:81", "a.example:80"),
        ("a.example:80", "a.example:8080"),
        ("a.example@b.example", "a.example:80"),
        ("b.example\\a.example", "a.example:80"),
        ("", "a.example:80"),
    ] {
        let head = head(&format!("GET / HTTP/1.1\nHost: {host}")).unwrap();
        assert!(head.check_host(&target(to)).is_err(), "{host} {to}");
    }
    assert!(head("GET / HTTP/1.1\nAccept: x").unwrap().check_host(&target("a.example:80")).is_err());
    for host in ["A.EXAMPLE.", "a.example:8080", "a.example"] {
        head(&format!("GET / HTTP/1.1\nHost: {host}")).unwrap().check_host(&target("a.example:8080")).unwrap();
    }
}

proptest! {
    #[test]
    fn reading_never_panics_and_ends_its_head(text in "(GET|POST|CONNECT) [ -~]{0,20} HTTP/1.1\r\n([ -~\r\n]{0,30}:[ -~]{0,30}\r\n){0,4}\r\n") {
        if let Ok(Some((head, _))) = read(text.as_bytes()) {
            let bytes = head.to_bytes(&target("a.example:80"));
            let ends = bytes.windows(4).filter(|window| *window == b"\r\n\r\n").count();
            prop_assert_eq!((ends, bytes.ends_with(b"\r\n\r\n")), (1, true));
        }
    }
}
