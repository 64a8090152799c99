//! `plugbay serve`: its configuration, its address, its end.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::support::process::{Process, until};
use super::support::raw::{exchange, read_all};
use super::*;

#[test]
fn every_mistake_of_the_configuration_is_shown_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let config = "server:\n  listen: everywhere\n  max_conections: 5\nlimits: { upload_mb: 0 }\nsecurity: { signatures: maybe }\n\
                  logging: { level: \"${NOT_SET_ANYWHERE}\" }\n";
    fs::write(folder.path().join("bad.yaml"), config).unwrap();
    let arguments = ["serve", "--check-config", "--config", "bad.yaml"];
    let run = plugbay(folder.path(), &arguments).failed(4, "error: The configuration is not valid");
    for mistake in [
        "line 2, column 11",
        "`everywhere` is not an address and port",
        "unknown key `max_conections`; did you mean `max_connections`?",
        "upload_mb",
        "signatures",
        "NOT_SET_ANYWHERE",
    ] {
        assert!(run.stderr.contains(mistake), "{mistake} in {}", run.stderr);
    }
    let json = plugbay(folder.path(), &[&arguments[..], &["--json"]].concat());
    assert_eq!((json.code, json.json()["code"].as_str()), (4, Some("config-invalid")));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "checking makes nothing");

    fs::write(folder.path().join("good.yaml"), "server: { max_uploads: 2 }\n").unwrap();
    let run = plugbay(folder.path(), &["serve", "--check-config", "--config", "good.yaml"]).ok();
    assert_eq!(run.stdout, "the configuration is valid (good.yaml)\n");
    assert_eq!(plugbay(folder.path(), &["serve", "--check-config", "--json"]).ok().json()["valid"], true);
    plugbay(folder.path(), &["serve", "--check-config", "--config", "gone.yaml"]).failed(2, "gone.yaml");
}

#[test]
fn what_would_be_unsafe_needs_its_flag() {
    let folder = tempfile::tempdir().unwrap();
    let run = plugbay(folder.path(), &["serve", "--check-config", "--listen", "0.0.0.0:0"]);
    assert!(run.code == 4 && run.stderr.contains("--allow-plain-http"), "{}", run.stderr);
    fs::write(folder.path().join("plugbay.yaml"), "security: { signatures: off }\n").unwrap();
    let run = plugbay(folder.path(), &["serve", "--check-config"]);
    assert!(run.code == 4 && run.stderr.contains("--insecure-dev"), "{}", run.stderr);
    plugbay(folder.path(), &["serve", "--check-config", "--insecure-dev"]).ok();
}

#[test]
fn a_port_in_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let run = plugbay(folder.path(), &["serve", "--listen", &address, "--data-dir", "data"]);
    assert_eq!(run.code, 4, "{}", run.stderr);
    assert!(run.stderr.contains(&format!("failed to listen on {address}")), "{}", run.stderr);
    assert!(run.stderr.contains("choose another with --listen"), "{}", run.stderr);
    assert!(!folder.path().join("data").exists(), "nothing is made when the address is taken");
}

/// A service in a folder of its own, with this configuration.
fn serve(config: &str) -> (tempfile::TempDir, Process) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("plugbay.yaml"), config).unwrap();
    let process = Process::serve(&folder.path().join("data"), &folder.path().join("plugbay.yaml"), &[]);
    (folder, process)
}

/// Begins a request whose body is half sent.
fn begin(folder: &Path, process: &Process) -> TcpStream {
    let token = fs::read_to_string(folder.join("data/admin.token")).unwrap();
    let head = format!(
        "POST /api/tokens HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 31\r\nExpect: 100-continue\r\n\r\n",
        token.trim()
    );
    let mut stream = TcpStream::connect(&process.address).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    // The service asks for the body once it has begun with the request.
    let mut go_on = [0; 25];
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.read_exact(&mut go_on).unwrap();
    assert_eq!(go_on, *b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"{\"label\":\"a\",").unwrap();
    stream
}

const HEALTHZ: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

fn ask(address: &str) -> Vec<u16> {
    exchange(address, HEALTHZ, Duration::from_secs(5)).statuses()
}

#[test]
fn the_first_signal_lets_requests_end_and_leaves_no_lock() {
    let (folder, mut process) = serve("");
    let mut under_way = begin(folder.path(), &process);
    let address = process.address.clone();
    let started = Instant::now();
    process.signal(Signal::TERM);
    until("the service stops listening", Duration::from_secs(5), || TcpStream::connect(&address).is_err());
    under_way.write_all(b"\"scopes\":[\"read\"]}").unwrap();
    let answer = read_all(&mut under_way, Duration::from_secs(5));
    assert_eq!(answer.statuses(), [201], "{}", answer.text);
    assert_eq!(process.wait(Duration::from_secs(10)).code(), Some(0), "{}", process.log());
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(process.log().contains("Stopped"), "{}", process.log());
    let mut again = Process::serve(&folder.path().join("data"), &folder.path().join("plugbay.yaml"), &[]);
    assert!(again.stop().success());
}

#[test]
fn requests_that_do_not_end_are_cut_off_after_ten_seconds() {
    let (folder, mut process) = serve("server: { min_body_rate: 1, body_timeout_seconds: 600 }\n");
    let mut under_way = begin(folder.path(), &process);
    process.signal(Signal::TERM);
    let started = Instant::now();
    let mut sending = Instant::now();
    // Just fast enough not to be refused for slowness.
    while process.is_running() && started.elapsed() < Duration::from_secs(20) {
        if sending.elapsed() > Duration::from_secs(2) {
            under_way.write_all(b" ").ok();
            sending = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(process.wait(Duration::from_secs(1)).code(), Some(0), "{}", process.log());
    assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());
}

#[test]
fn a_stop_under_load_answers_what_it_has_begun() {
    let (folder, mut process) = serve("");
    let address = process.address.clone();
    let _idle: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let slow = begin(folder.path(), &process);
    let started = std::thread::scope(|scope| {
        let load: Vec<_> = (0..4).map(|_| scope.spawn(|| ask_until_refused(&address))).collect();
        std::thread::sleep(Duration::from_millis(300));
        let started = Instant::now();
        process.signal(Signal::TERM);
        for thread in load {
            let (answered, cut) = thread.join().unwrap();
            assert!(answered > 0 && cut == 0, "{answered} answered, {cut} cut off");
        }
        drop(slow);
        started
    });
    assert_eq!(process.wait(Duration::from_secs(10)).code(), Some(0), "{}", process.log());
    assert!(started.elapsed() < Duration::from_secs(10));
}

/// Asks again and again until nobody listens; counts answers, and answers that began and did not end.
fn ask_until_refused(address: &str) -> (usize, usize) {
    let (mut answered, mut cut) = (0, 0);
    while let Ok(mut stream) = TcpStream::connect(address) {
        stream.write_all(HEALTHZ).ok();
        let answer = read_all(&mut stream, Duration::from_secs(5));
        if answer.text.ends_with("ok\n") {
            answered += 1;
        } else if !answer.text.is_empty() {
            cut += 1;
        }
    }
    (answered, cut)
}

#[test]
fn as_many_files_are_taken_as_the_system_allows() {
    let folder = tempfile::tempdir().unwrap();
    let mut shell = command(folder.path(), "sh");
    let line = "ulimit -Sn 256; exec \"$0\" serve --listen 127.0.0.1:0 --data-dir data";
    shell.args(["-c", line, env!("CARGO_BIN_EXE_plugbay")]);
    let process = Process::start(shell);
    let limits = fs::read_to_string(format!("/proc/{}/limits", process.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let fields: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(fields[3], fields[4], "{line}");
}

#[test]
fn a_second_signal_does_not_wait() {
    let (folder, mut process) = serve("");
    let _under_way = begin(folder.path(), &process);
    process.signal(Signal::TERM);
    let address = process.address.clone();
    until("the service stops listening", Duration::from_secs(5), || TcpStream::connect(&address).is_err());
    assert!(process.is_running());
    let started = Instant::now();
    process.signal(Signal::TERM);
    process.wait(Duration::from_secs(2));
    assert!(started.elapsed() < Duration::from_secs(1));
    assert!(process.log().contains("Stopping at once"), "{}", process.log());
    let mut again = Process::serve(&folder.path().join("data"), &folder.path().join("plugbay.yaml"), &[]);
    assert!(again.stop().success());
}

#[test]
fn a_hang_up_signal_is_ignored() {
    let (_folder, mut process) = serve("");
    process.signal(Signal::HUP);
    until("the signal is logged", Duration::from_secs(5), || process.log().contains("Ignoring SIGHUP"));
    assert_eq!(ask(&process.address), [200]);
    assert!(process.stop().success());
}

#[test]
fn a_connection_past_the_cap_takes_the_place_of_an_idle_one() {
    let (_folder, process) = serve("server: { max_connections: 1 }\n");
    let mut first = TcpStream::connect(&process.address).unwrap();
    first.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert_eq!(read_all(&mut first, Duration::from_millis(200)).statuses(), [200]);
    let mut second = TcpStream::connect(&process.address).unwrap();
    second.write_all(HEALTHZ).unwrap();
    assert_eq!(read_all(&mut second, Duration::from_secs(5)).statuses(), [200]);
    assert!(read_all(&mut first, Duration::from_secs(5)).closed);
}

/// Starts the service on a terminal, waits until it answers, and stops it. What the terminal showed.
fn first_screen(folder: &Path, flags: &str) -> String {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let program = env!("CARGO_BIN_EXE_plugbay");
    let line = format!(
        "{program} serve --listen {address} {flags} & until {program} list >/dev/null 2>&1; do :; done; kill $!; wait $!"
    );
    let mut command = command(folder, "script");
    command.env("PLUGBAY_URL", format!("http://{address}")).env("PLUGBAY_DATA_DIR", "data").env("NO_COLOR", "1");
    command.stdin(std::process::Stdio::null());
    let run = finish(&command.args(["-qec", &format!("sh -c '{line}'"), "/dev/null"]).output().unwrap()).ok();
    run.stdout.replace(&address.to_string(), "ADDRESS")
}

#[test]
fn a_first_start_on_a_terminal_says_where_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let screen = first_screen(folder.path(), "--data-dir data");
    let token = fs::read_to_string(folder.path().join("data/admin.token")).unwrap();
    let greeting: Vec<_> =
        screen.lines().map(str::trim).skip_while(|line| !line.contains("admin.token")).take(3).collect();
    let data = fs::canonicalize(folder.path().join("data")).unwrap();
    assert_eq!(
        greeting,
        [
            format!("The first token is in {}/admin.token; the command line finds it there.", data.display()),
            "Every route of the API is at http://ADDRESS/docs.".to_owned(),
            format!(
                "Next, in another terminal: export PLUGBAY_URL=http://ADDRESS PLUGBAY_DATA_DIR={}; plugbay doctor",
                data.display()
            ),
        ],
        "{screen}"
    );
    assert!(!screen.contains(token.trim()), "{screen}");
    // Only once, and only for people.
    let again = first_screen(folder.path(), "--data-dir data");
    assert!(again.contains("Listening") && !again.contains("admin.token"), "{again}");
    for (nth, flags) in ["--json", "--quiet", "--config json.yaml"].into_iter().enumerate() {
        let other = tempfile::tempdir().unwrap();
        fs::write(other.path().join("json.yaml"), "logging: { format: json }\n").unwrap();
        let screen = first_screen(other.path(), &format!("--data-dir data {flags}"));
        assert!(screen.contains("Listening") && !screen.contains("admin.token"), "{nth}: {screen}");
    }
}
