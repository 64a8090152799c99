//! Floods: a plugin that gets more calls than it can take costs its callers a short refusal, and nobody else anything.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use plugbay::config::Config;
use serde_json::json;

use super::client::fixture;
use super::served::Served;
use super::support::app::Answer;

/// Places of the flooded plugin, as its manifest says, and calls that may wait for them.
const PLACES: usize = 16;
const QUEUE: usize = 16;

/// Many times what one of these takes alone, also on a busy machine.
const NOT_HANGING: Duration = Duration::from_secs(15);

async fn start(change: impl FnOnce(&mut Config)) -> Option<Served> {
    let served = Served::start_with(|config| {
        change(config);
    });
    let served = served.await?;
    for name in ["flooded", "calm"] {
        served.add_as(&fixture("probe"), name).await;
        served.enable(name).await.expect(200);
    }
    Some(served)
}

/// So many calls at once, each over a connection of its own, while another plugin is called one call after the other.
/// Returns the answers of the flood and how often the other one answered.
async fn flood(served: &Served, calls: usize) -> (Vec<Answer>, usize) {
    let over = AtomicBool::new(false);
    let flooding = async {
        let calls = (0..calls).map(|_| async {
            let began = Instant::now();
            let answer = served.call("flooded", "sleep", json!({"seconds": 0.3})).await;
            assert!(began.elapsed() < NOT_HANGING, "{:?}: {}", began.elapsed(), answer.text);
            answer
        });
        let answers = join_all(calls).await;
        over.store(true, Ordering::Relaxed);
        answers
    };
    let calling = async {
        let mut answered = 0;
        while !over.load(Ordering::Relaxed) {
            let echo = served.result("calm", "execute", json!({"number": answered})).await;
            assert_eq!(echo, json!({"echo": {"number": answered}}));
            answered += 1;
        }
        answered
    };
    tokio::join!(flooding, calling)
}

/// Checks that every answer is a result or a refusal that says when to come back. Returns how many were results.
fn sort_out(answers: &[Answer], code: &str) -> usize {
    let (good, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    for answer in &refused {
        let status = answer.status.as_u16();
        assert!(matches!(status, 429 | 503), "{}", answer.text);
        answer.expect_problem(status, code);
        let seconds: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=2).contains(&seconds), "{seconds}");
    }
    good.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flooded_plugin_refuses_at_once_and_another_does_not_notice() {
    let Some(served) = start(|config| config.calls.queue = QUEUE).await else { return };
    let calls = 10 * (PLACES + QUEUE);
    let (answers, calm) = flood(&served, calls).await;
    let good = sort_out(&answers, "plugin-busy");
    println!("{good} of {calls} calls were taken, the other plugin answered {calm} times");
    assert!((PLACES + QUEUE..calls / 2).contains(&good), "{good}");
    assert!(calm > 3, "{calm}");
    // Nothing of it stays behind.
    let metrics = served.about("flooded", "metrics").await;
    assert_eq!((&metrics["queued"], &metrics["in_flight"]), (&json!(0), &json!(0)), "{metrics}");
    served.result("flooded", "execute", json!({})).await;
    assert_eq!(served.plugin("flooded").await["restarts"], 0);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_plugin_cannot_take_every_place_of_all() {
    let change = |config: &mut Config| (config.calls.queue, config.calls.in_flight) = (1_000, 20);
    let Some(served) = start(change).await else { return };
    let (answers, calm) = flood(&served, 200).await;
    let good = sort_out(&answers, "plugin-busy");
    let shared = answers.iter().filter(|answer| answer.text.contains("other plugins must find as many places")).count();
    println!(
        "{good} of 200 calls were taken, {shared} refused for others' sake, the other plugin answered {calm} times"
    );
    assert!(good >= 10 && shared > 100 && good + shared == 200, "{good} {shared}");
    assert!(calm > 1, "{calm}");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_floods_one_plugin_still_calls_the_others() {
    let change = |config: &mut Config| (config.calls.queue, config.server.requests_per_second) = (QUEUE, 60);
    let Some(served) = start(change).await else { return };
    let flooding = join_all((0..300).map(|_| served.call("flooded", "sleep", json!({"seconds": 0.3}))));
    let calling = join_all((0..30).map(|number| served.result("calm", "answer", json!({"answer": number}))));
    let (answers, _) = tokio::join!(flooding, calling);
    let limited: Vec<_> = answers.into_iter().filter(|answer| answer.status.as_u16() == 429).collect();
    assert_eq!(sort_out(&limited, "rate-limited"), 0);
    assert!(limited.len() > 100, "{}", limited.len());
    assert!(limited[0].text.contains("calls of one plugin per second"), "{}", limited[0].text);
    // By its id it is the same plugin.
    let id = served.plugin("calm").await["id"].clone();
    served.result(id.as_str().unwrap(), "execute", json!({})).await;
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_call_of_a_full_plugin_is_refused_before_its_body_is_read() {
    use std::io::{Read as _, Write as _};
    let Some(served) = start(|config| config.calls.queue = 1).await else { return };
    let filling = join_all((0..=PLACES).map(|_| served.call("flooded", "sleep", json!({"seconds": 3}))));
    let asking = async {
        served.until_queued("flooded", 1).await;
        let head = format!(
            "POST /api/plugins/flooded/execute HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: 3000000\r\n\r\n{{",
            served.token
        );
        // A small one is taken off the connection, so that it can be used again.
        let small = head.replace("3000000", "2").replace('{', "{}");
        let mut connection = std::net::TcpStream::connect(served.address).unwrap();
        connection.set_read_timeout(Some(NOT_HANGING)).unwrap();
        tokio::task::spawn_blocking(move || {
            let (mut text, mut bytes) = (String::new(), [0; 8192]);
            for _ in 0..2 {
                connection.write_all(small.as_bytes()).unwrap();
                let count = connection.read(&mut bytes).unwrap();
                text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
            }
            connection.write_all(head.as_bytes()).unwrap();
            connection.read_to_string(&mut text).unwrap();
            text
        })
        .await
        .unwrap()
    };
    let (filled, answer) = tokio::join!(filling, asking);
    let answer = answer.to_ascii_lowercase();
    assert_eq!(answer.matches("http/1.1 503").count(), 3, "{answer}");
    assert_eq!(answer.matches("\"code\":\"plugin-busy\"").count(), 3, "{answer}");
    assert_eq!(answer.matches("\r\nretry-after: 1\r\n").count(), 3, "{answer}");
    assert_eq!(answer.matches("\r\nconnection: close\r\n").count(), 1, "{answer}");
    assert_eq!(sort_out(&filled, "plugin-busy"), PLACES + 1);
    served.end().await;
}
