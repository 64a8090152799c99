//! Uploads: multipart bodies that are malformed, and many at once.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use reqwest::Method;

use crate::support::app::{Answer, form, send};
use crate::support::author::{manifest, package};
use crate::support::process::until;
use crate::target::Target;
use crate::{Attack, attack};

pub const TABLE: &[Attack] = &[attack(&[203], malformed_multipart), attack(&[204], many_uploads)];

fn upload(target: &Target, content_type: &str, body: Vec<u8>) -> Answer {
    let request = target.request(Method::POST, "/api/plugins/install");
    target.send(request.header("Content-Type", content_type).body(body))
}

/// A part with this head.
fn part(boundary: &str, head: &str, content: &[u8]) -> Vec<u8> {
    [format!("--{boundary}\r\n{head}\r\n\r\n").as_bytes(), content, b"\r\n"].concat()
}

fn end(boundary: &str) -> Vec<u8> {
    format!("--{boundary}--\r\n").into_bytes()
}

const FILE: &str = "Content-Disposition: form-data; name=\"file\"; filename=\"a.tar.gz\"";
const TYPE: &str = "multipart/form-data; boundary=b";

fn malformed_multipart(target: &mut Target) {
    let archive = package(&manifest("mine", "1.0.0"));
    let file = part("b", FILE, &archive);
    let whole = [file.clone(), end("b")].concat();
    let long = "b".repeat(71);
    let signature = "Content-Disposition: form-data; name=\"signature\"";
    let header = |bytes: usize| format!("{FILE}\r\nX: {}", "y".repeat(bytes));
    let forms: Vec<(&str, String, Vec<u8>)> = vec![
        ("no boundary", "multipart/form-data".to_owned(), whole.clone()),
        ("empty boundary", "multipart/form-data; boundary=".to_owned(), whole.clone()),
        (
            "long boundary",
            format!("multipart/form-data; boundary={long}"),
            [part(&long, FILE, &archive), end(&long)].concat(),
        ),
        ("endless boundary", format!("multipart/form-data; boundary={}", "b".repeat(60_000)), whole.clone()),
        ("other boundary", "multipart/form-data; boundary=c".to_owned(), whole.clone()),
        ("nothing", TYPE.to_owned(), Vec::new()),
        ("only the end", TYPE.to_owned(), end("b")),
        ("no end", TYPE.to_owned(), file.clone()),
        ("cut in the file", TYPE.to_owned(), file[..file.len() / 2].to_vec()),
        ("cut in a head", TYPE.to_owned(), file[..30].to_vec()),
        ("no file", TYPE.to_owned(), [part("b", signature, b"x"), end("b")].concat()),
        ("file twice", TYPE.to_owned(), [file.clone(), file.clone(), end("b")].concat()),
        ("no name", TYPE.to_owned(), [part("b", "Content-Disposition: form-data", &archive), end("b")].concat()),
        (
            "empty name",
            TYPE.to_owned(),
            [part("b", "Content-Disposition: form-data; name=\"\"", &archive), end("b")].concat(),
        ),
        ("no disposition", TYPE.to_owned(), [part("b", "Content-Type: text/plain", &archive), end("b")].concat()),
        (
            "attachment",
            TYPE.to_owned(),
            [part("b", "Content-Disposition: attachment; name=\"file\"", &archive), end("b")].concat(),
        ),
        ("10,000 parts", TYPE.to_owned(), [part("b", signature, b"").repeat(10_000), end("b")].concat()),
        (
            "10,000 names",
            TYPE.to_owned(),
            [part("b", "Content-Disposition: form-data; name=\"x\"", b"").repeat(10_000), end("b")].concat(),
        ),
        ("head of 1 MiB", TYPE.to_owned(), [part("b", &header(1 << 20), &archive), end("b")].concat()),
        (
            "100 lines of head",
            TYPE.to_owned(),
            [part("b", &format!("{FILE}{}", "\r\nX: y".repeat(100)), &archive), end("b")].concat(),
        ),
        ("long signature", TYPE.to_owned(), [part("b", signature, &[b'x'; 5000]), file.clone(), end("b")].concat()),
        ("signature of no text", TYPE.to_owned(), [part("b", signature, b"\xff\xfe"), file.clone(), end("b")].concat()),
        ("mixed", "multipart/mixed; boundary=b".to_owned(), whole.clone()),
        ("not multipart", "application/octet-stream".to_owned(), archive.clone()),
    ];
    for (what, content_type, body) in forms {
        let answer = upload(target, &content_type, body);
        let status = answer.status.as_u16();
        assert!(matches!(status, 400 | 413 | 415 | 431), "{what}: {} {}", answer.status, answer.text);
        // A head that is too long is answered before there is a request that could have an id.
        if status != 431 {
            let code = answer.json()["code"].as_str().unwrap().to_owned();
            answer.expect_problem(status, &code);
        }
        // What is too large is refused for what it is, the rest for how it is written.
        target.unchanged(what, u64::from(status == 413));
    }
    // The file name is the caller's own business and goes nowhere.
    for name in ["../../evil.txt", "/etc/passwd", "..\\\\..\\\\evil.txt", "a\\0b", "con", ""] {
        let head = format!("Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"");
        upload(target, TYPE, [part("b", &head, &archive), end("b")].concat()).expect(201);
        target.uninstall("mine");
        target.unchanged(name, 2);
    }
}

/// An upload that has begun and goes on for as long as the connection lives.
fn begin_upload(target: &Target) -> TcpStream {
    let mut stream = TcpStream::connect(&target.address).unwrap();
    let head = format!(
        "POST /api/plugins/install HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: {TYPE}\r\nContent-Length: 1000000\r\n\r\n--b\r\n{FILE}\r\n\r\n",
        target.token
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&[0x1f; 4096]).unwrap();
    stream
}

fn install_a_hundred_times(target: &Target, archive: &[u8]) -> Vec<Answer> {
    let install = |_| send(target.request(Method::POST, "/api/plugins/install").multipart(form(archive, None)));
    target.runtime.block_on(async { futures_util::future::join_all((0..100).map(install)).await })
}

fn many_uploads(target: &mut Target) {
    let config = "security: { signatures: off }\nserver: { max_uploads: 3 }\n";
    *target = Target::start_with(config, &["--insecure-dev"]);
    let staging = target.data().join("staging");
    let staged = || fs::read_dir(&staging).unwrap().count();
    let held: Vec<TcpStream> = (0..3).map(|_| begin_upload(target)).collect();
    until("three uploads are under way", Duration::from_secs(5), || staged() == 3);
    let archive = package(&manifest("mine", "1.0.0"));
    let answers = install_a_hundred_times(target, &archive);
    for answer in &answers {
        answer.expect_problem(503, "unavailable");
        assert!(answer.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    }
    assert_eq!(staged(), 3, "no more than three uploads take disk");
    // Whoever hangs up gives the place back at once.
    drop(held);
    until("the places are given back", Duration::from_secs(5), || staged() == 0);
    target.unchanged("uploads held open", 0);

    let answers = install_a_hundred_times(target, &archive);
    let count = |status: u16| answers.iter().filter(|answer| answer.status.as_u16() == status).count();
    let (installed, refused, turned_away) = (count(201), count(409), count(503));
    assert_eq!((installed, installed + refused + turned_away), (1, 100), "{refused} and {turned_away}");
    target.uninstall("mine");
    // One row for each that got in, and one for the removal.
    target.unchanged("a hundred at once", 2 + refused as u64);
}
