//! The way out, seen from inside: a network namespace with nothing but `lo`, and the test as the service. Needs root for the
//! namespace; others cannot make one.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::JoinHandle;

use rustix::process::getuid;
use serde_json::{Value, json};

use super::{Shim, binary, run_dir_with_egress};

/// What the programs under test share: questions for names, and their answers.
const PRELUDE: &str = "import json, os, socket, struct
def ask(name, kind=1, extra=b'', port=53):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3)
    q = b''.join(bytes([len(l)]) + l.encode() for l in name.split('.') if l) + b'\\0' + struct.pack('>HH', kind, 1)
    s.sendto(struct.pack('>HHHHHH', 7, 0x100, 1, 0, 0, 0) + q + extra, ('127.0.0.1', port))
    a = s.recv(2000); ident, flags, nq, na = struct.unpack('>HHHH', a[:8])
    assert ident == 7 and flags & 0x8000 and nq == 1
    return [flags & 15, [socket.inet_ntoa(a[-4:])] if na else []]
def say(value): os.write(3, (json.dumps(value) + '\\n').encode())
";

/// Serves `egress.sock`: `known` names have port 443 and 5000; `tunnel` and `proxy` echo what they get in upper case.
fn serve(listener: UnixListener) -> JoinHandle<Vec<String>> {
    std::thread::spawn(move || {
        let mut seen = Vec::new();
        while let Ok((socket, _)) = listener.accept() {
            let mut reader = BufReader::new(socket);
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let line = line.trim_end().to_owned();
            if line == "end" {
                break;
            }
            seen.push(line.clone());
            std::thread::spawn(move || answer(&line, reader));
        }
        seen
    })
}

fn answer(line: &str, mut reader: BufReader<UnixStream>) {
    if line == "names" {
        let mut name = String::new();
        while reader.read_line(&mut name).unwrap_or(0) > 0 {
            let said = if name.to_lowercase().contains("known") { "443 5000\n" } else { "-\n" };
            reader.get_mut().write_all(said.as_bytes()).unwrap();
            name.clear();
        }
        return;
    }
    if line.starts_with("tunnel refused") {
        reader.get_mut().write_all(b"refused not-granted no\n").unwrap();
        return;
    }
    if line.starts_with("tunnel") {
        reader.get_mut().write_all(b"ok\n").unwrap();
    }
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count) = reader.read(&mut bytes) {
        if count == 0 || reader.get_mut().write_all(&bytes[..count].to_ascii_uppercase()).is_err() {
            break;
        }
    }
    reader.get_ref().shutdown(Shutdown::Write).ok();
}

/// Runs Python code inside and returns the values it says, and the first lines the service saw.
fn run(code: &str) -> Option<(Vec<Value>, Vec<String>)> {
    if !getuid().is_root() {
        return None;
    }
    let (dir, host, log, egress) = run_dir_with_egress();
    let service = serve(egress);
    let through = ["unshare", "--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"];
    let socket = dir.path().join("egress.sock");
    let program = ["/usr/bin/python3", "-c", &format!("{PRELUDE}{code}")];
    let mut shim = Shim::start_in((dir, host, log), binary(), &through, "python", &["--egress"], &program);
    assert_eq!(shim.hello["params"]["report"]["egress"], true);
    let mut said = Vec::new();
    while let Some(value) = super::line(&mut shim.host) {
        said.push(value);
    }
    let log = shim.log();
    shim.wait();
    UnixStream::connect(socket).unwrap().write_all(b"end\n").unwrap();
    assert_eq!(log.last().unwrap()["exit"]["code"], 0, "{log:#?}");
    Some((said, service.join().unwrap()))
}

#[test]
fn known_names_have_an_address_and_others_do_not_exist() {
    let code = "
say(ask('known.example')); say(ask('KNOWN.example')); say(ask('other.known.example'))
say(ask('known.example', 28)); say(ask('known.example', 65)); say(ask('nothing.example')); say(ask('nothing.example', 28))
say(ask('1.0.0.127.in-addr.arpa', 12)); say(ask('_srv._tcp.known.example', 33)); say(ask('a\\u0000b.known.example'))
say(ask('known.example', 1, bytes(11)))";
    let Some((said, lines)) = run(code) else { return };
    let (none, missing) = (json!([0, []]), json!([3, []]));
    let wanted = [
        json!([0, ["127.64.0.1"]]),
        json!([0, ["127.64.0.1"]]),
        json!([0, ["127.64.0.2"]]),
        none.clone(),
        none,
        missing.clone(),
        missing.clone(),
        missing.clone(),
        missing.clone(),
        missing,
        json!([0, ["127.64.0.1"]]),
    ];
    assert_eq!(said, wanted);
    assert_eq!(lines, ["names"]);
}

#[test]
fn hostile_questions_are_answered_or_dropped() {
    let code = "
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.2)
head = struct.pack('>HHHHHH', 7, 0x100, 1, 0, 0, 0)
for m in [b'', b'x', head, head + b'\\xc0\\x0c', head + b'\\x40' + b'a' * 64 + b'\\0\\0\\1\\0\\1', head + b'\\5ab', head + b'\\1a' * 200,
          struct.pack('>HHHHHH', 7, 0x8100, 1, 0, 0, 0) + b'\\1a\\0\\0\\1\\0\\1', struct.pack('>HHHHHH', 7, 0x100, 9, 0, 0, 0), os.urandom(1200), os.urandom(9000)]:
    s.sendto(m, ('127.0.0.1', 53))
try:
    while True:
        a = s.recv(2000); assert a[2] & 0x80 and a[3] & 15 in (3, 4), a
except TimeoutError: pass
for i in range(500): s.sendto(head + b'\\5known\\7example\\0\\0\\1\\0\\1', ('127.0.0.1', 53))
for i in range(5):
    # In such a flood a question may be lost; programs ask again.
    try: say(ask('known.example')); break
    except TimeoutError: pass";
    let Some((said, _)) = run(code) else { return };
    assert_eq!(said, [json!([0, ["127.64.0.1"]])]);
}

#[test]
fn connections_are_carried_by_name_and_port() {
    let code = "
import threading
address = ask('known.example')[1][0]
for port in (443, 5000):
    s = socket.create_connection((address, port)); s.sendall(b'hello'); s.shutdown(socket.SHUT_WR)
    say(s.makefile().read())
s = socket.create_connection(('127.0.0.1', 3128)); s.sendall(b'connect'); s.shutdown(socket.SHUT_WR); say(s.makefile().read())
big = b'x' * (8 << 20)
s = socket.create_connection((address, 443))
threading.Thread(target=lambda: (s.sendall(big), s.shutdown(socket.SHUT_WR))).start()
got = 0
while part := s.recv(1 << 20):
    assert part == b'X' * len(part); got += len(part)
say(got == len(big))
many = [socket.create_connection((address, 443)) for _ in range(100)]
for i, s in enumerate(many): s.sendall(b'n%d' % i)
say(all(s.recv(9) == b'N%d' % i for i, s in enumerate(many)))
say(len(os.listdir('/proc/%d/task' % os.getppid())))";
    let Some((said, lines)) = run(code) else { return };
    assert_eq!(said[..5], [json!("HELLO"), json!("HELLO"), json!("CONNECT"), json!(true), json!(true)]);
    // main, reaper, watch and bridge
    assert_eq!(said[5], 4);
    assert_eq!(lines[..4], ["names", "tunnel known.example:443", "tunnel known.example:5000", "proxy"]);
}

#[test]
fn what_is_refused_or_has_no_name_is_reset() {
    let code = "
def fate(address, port):
    try:
        s = socket.create_connection((address, port), timeout=3); s.sendall(b'x'); return s.recv(9).decode()
    except OSError as error: return type(error).__name__
known = ask('refused.known.example')[1][0]
say([fate(known, 443), fate('127.64.0.9', 443), fate('127.0.0.1', 443), fate('127.0.0.1', 5000), fate(known, 25), fate(known, 3128)])
try: socket.create_connection(('192.0.2.1', 443), timeout=3)
except OSError as error: say(error.errno)";
    let Some((said, lines)) = run(code) else { return };
    let reset = "ConnectionResetError";
    assert_eq!(said[0], json!([reset, reset, reset, reset, "ConnectionRefusedError", reset]));
    assert_eq!(said[1], 101, "the network is unreachable");
    assert_eq!(lines, ["names", "tunnel refused.known.example:443", "tunnel refused.known.example:3128"]);
}
