mod streams;

use tokio::io::AsyncWriteExt as _;

use super::*;
use crate::host::Host;
use crate::{Delivery, Time};
use plugbay_domain::{CallId, Origin, SystemClock};
use plugbay_runtime::shutdown::Shutdown;

/// Short enough for a test; lines of tests that are good come in one piece.
const PATIENCE: Duration = Duration::from_millis(300);

struct Session {
    folder: tempfile::TempDir,
    calls: Arc<Calls>,
    reader: tokio::task::JoinHandle<ReaderEnd>,
    writer: tokio::task::JoinHandle<()>,
    plugin: UnixStream,
}

async fn start() -> Session {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::for_testing(folder.path()).await;
    start_with(&host, folder)
}

#[expect(clippy::disallowed_methods, reason = "a test without a process around it")]
fn start_with(host: &Host, folder: tempfile::TempDir) -> Session {
    let (ours, plugin) = UnixStream::pair().unwrap();
    let (stream, calls) = (Arc::new(ours), Arc::new(Calls::new(1 << 20)));
    let outbound = Arc::new(Outbound::new(Arc::clone(&stream), 1 << 20));
    let log = Arc::new(PluginLog::new(folder.path().join("log.jsonl"), Arc::new(SystemClock)));
    let writing = Arc::clone(&outbound);
    let writer = tokio::spawn(async move { writing.write_queued().await });
    let requests = Requests::new(host.of_session(), Arc::clone(&calls), Arc::clone(&outbound), Shutdown::default());
    let reader = Reader { stream, lines: LineBuffer::new(1 << 20), calls: Arc::clone(&calls), outbound, log, requests };
    Session { folder, calls, reader: tokio::spawn(reader.run_with_patience(PATIENCE)), writer, plugin }
}

impl Session {
    /// Sends this until the service does not want it any more; the rule that was broken.
    async fn broken_by(mut self, block: &[u8]) -> String {
        let sending = async { while self.plugin.write_all(block).await.is_ok() {} };
        let end = tokio::select! {
            biased;
            end = &mut self.reader => end.unwrap(),
            () = sending => (&mut self.reader).await.unwrap(),
        };
        self.writer.abort();
        assert!(self.folder.path().exists());
        match end {
            ReaderEnd::Broken(violation) => violation.to_string(),
            ReaderEnd::Closed => panic!("nothing was broken"),
        }
    }
}

fn note(method: &str, params: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\",\"params\":{params}}}\n")
}

#[tokio::test]
async fn notes_are_bounded_also_parts_that_nobody_waits_for() {
    let nobody = format!("{{\"call\":\"{}\",\"percent\":1}}", CallId::generate());
    for line in [note("log", "{\"message\":\"x\"}"), note("progress", &nobody)] {
        let rule = start().await.broken_by(line.repeat(1_000).as_bytes()).await;
        assert_eq!(rule, "more than 5000 notes a second that nobody waits for");
    }
    let session = start().await;
    let call = CallId::generate();
    let waiting = session
        .calls
        .insert(call, Delivery::Whole, None, Time::Until(Instant::now() + PATIENCE), Origin::default())
        .unwrap();
    assert!(session.calls.abandon(waiting.id));
    let part = |seq: u32| note("chunk", &format!("{{\"call\":\"{call}\",\"seq\":{seq},\"data\":0}}"));
    let parts: String = (0..20_000).map(part).collect();
    let rule = session.broken_by(parts.as_bytes()).await;
    assert_eq!(rule, "more than 5000 notes a second that nobody waits for");
}

#[tokio::test]
async fn parts_that_somebody_waits_for_are_bounded_by_their_bytes_alone() {
    let mut session = start().await;
    let call = CallId::generate();
    let waiting = session
        .calls
        .insert(call, Delivery::Whole, None, Time::Until(Instant::now() + PATIENCE), Origin::default())
        .unwrap();
    let part = |seq: u32| note("chunk", &format!("{{\"call\":\"{call}\",\"seq\":{seq},\"data\":0}}"));
    let parts: String = (0..20_000).map(part).collect();
    let answer = format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":null}}\n", waiting.id);
    session.plugin.write_all((parts + &answer).as_bytes()).await.unwrap();
    let Ok(crate::CallOutcome::Result(list)) = waiting.answer.await.unwrap() else { panic!("no result") };
    assert_eq!(list.get().len(), 20_000 * 2 + 1);
    session.reader.abort();
}

#[tokio::test]
async fn requests_that_come_too_fast_wait() {
    let mut session = start().await;
    let began = Instant::now();
    let requests = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\"}\n".repeat(2_000);
    let (mut reading, mut writing) = session.plugin.split();
    let reading = async {
        let (mut answers, mut buffer) = (0, vec![0; 65_536]);
        while answers < 2_000 {
            let count = tokio::io::AsyncReadExt::read(&mut reading, &mut buffer).await.unwrap();
            answers += String::from_utf8_lossy(&buffer[..count]).matches('\n').count();
        }
    };
    let (sent, ()) = tokio::join!(writing.write_all(requests.as_bytes()), reading);
    sent.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(190), "{:?}", began.elapsed());
    session.reader.abort();
}

#[tokio::test]
async fn half_a_line_is_not_waited_for_for_ever() {
    let mut session = start().await;
    let began = Instant::now();
    session.plugin.write_all(b"{\"jsonrpc\":").await.unwrap();
    let ReaderEnd::Broken(violation) = session.reader.await.unwrap() else { panic!("nothing was broken") };
    assert!(violation.to_string().starts_with("a line was unfinished for"), "{violation}");
    assert!(began.elapsed() >= PATIENCE, "{:?}", began.elapsed());

    let session = start().await;
    let (mut plugin, mut reader) = (session.plugin, session.reader);
    let trickling = async {
        while plugin.write_all(b" ").await.is_ok() {
            tokio::time::sleep(PATIENCE / 10).await;
        }
    };
    let end = tokio::select! {
        end = &mut reader => end.unwrap(),
        () = trickling => reader.await.unwrap(),
    };
    assert!(matches!(end, ReaderEnd::Broken(_)), "{end:?}");
}

#[tokio::test]
async fn lines_that_follow_each_other_in_pieces_are_no_unfinished_line() {
    let mut session = start().await;
    let line = note("log", "{\"message\":\"x\"}");
    let (began, mut bytes) = (Instant::now(), line.bytes().cycle());
    // There is always a line that has begun, and none is older than the time of one.
    while began.elapsed() < PATIENCE * 2 {
        let piece: Vec<u8> = bytes.by_ref().take(line.len() / 2 + 1).collect();
        session.plugin.write_all(&piece).await.unwrap();
        tokio::time::sleep(PATIENCE / 20).await;
    }
    assert!(!session.reader.is_finished());
    drop(session.plugin);
    assert!(matches!(session.reader.await.unwrap(), ReaderEnd::Closed));
}
