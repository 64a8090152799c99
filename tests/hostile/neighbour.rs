//! A well-behaved plugin of the same service, called all the time by a thread of its own while others do their worst.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use super::client::{Client, build_native_echo, example};

/// Its name.
pub(crate) const NAME: &str = "native-echo";

/// The slowest answer that is accepted.
const SLOWEST: Duration = Duration::from_millis(250);

/// Between two calls: often enough to meet every stall of that length.
const PAUSE: Duration = Duration::from_millis(5);

/// Somebody who calls it until told to stop.
pub(crate) struct Caller {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Heard>,
}

/// What the neighbour answered.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) calls: usize,
    pub(crate) slowest: Duration,
    failed: Vec<String>,
}

/// Installs and enables it.
pub(crate) async fn move_in(client: &Client) {
    build_native_echo();
    client.run(&example(NAME)).await;
}

impl Caller {
    pub(crate) fn start(client: &Client) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let (address, token, stopped) = (client.address, client.token.clone(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(call_on(&Client::new(address, &token), &stopped))
        });
        Self { stop, thread }
    }

    /// Ends the calls. Every one of them must have been answered well and in time.
    #[track_caller]
    pub(crate) fn stop(self, what: &str) -> Heard {
        self.stop.store(true, Ordering::Relaxed);
        let heard = self.thread.join().unwrap();
        assert!(heard.failed.is_empty(), "{what}: the neighbour answered {:#?}", heard.failed);
        assert!(heard.calls > 0, "{what}: the neighbour was not called");
        assert!(heard.slowest < SLOWEST, "{what}: the neighbour took {:?} once", heard.slowest);
        heard
    }
}

async fn call_on(client: &Client, stopped: &AtomicBool) -> Heard {
    let mut heard = Heard::default();
    while !stopped.load(Ordering::Relaxed) {
        let (context, began) = (json!({ "number": heard.calls }), Instant::now());
        let answer = client.call(NAME, "execute", context.clone()).await;
        heard.slowest = heard.slowest.max(began.elapsed());
        heard.calls += 1;
        if answer.status != 200 || answer.json()["result"]["echo"] != context {
            heard.failed.push(answer.text);
        }
        tokio::time::sleep(PAUSE).await;
    }
    heard
}
