//! Many starts at one time: they wait their turn, in a fair order, and whoever is stopped meanwhile does not.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use plugbay::config::Config;
use serde_json::{Value, json};

use super::bench::PATIENCE;
use super::client::fixture;
use super::served::Served;

const PLUGINS: usize = 20;

/// Each takes a while to start, so that it can be seen who starts.
const INITIALIZE: Duration = Duration::from_millis(500);
const MAIN: &str = "import os, time\nclass Probe:\n    def initialize(self):\n        time.sleep(0.5)\n    \
                    def execute(self, context):\n        if 'die' in context:\n            os.kill(os.getpid(), 9)\n        \
                    return 1\n";

fn name(number: usize) -> String {
    format!("stormy-{number:02}")
}

/// A service with installed plugins of which so many start at one time.
async fn start(parallel_starts: usize) -> Option<Served> {
    let served = Served::start_with(|config: &mut Config| {
        config.sandbox.parallel_starts = parallel_starts;
    });
    let served = served.await?;
    for number in 0..PLUGINS {
        let manifest = std::fs::read_to_string(fixture("probe").join("plugin.yaml")).unwrap();
        let manifest = manifest.replace("name: probe", &format!("name: {}", name(number)));
        served.add(&fixture("probe"), &[("plugin.yaml", &manifest), ("main.py", MAIN)]).await;
    }
    Some(served)
}

async fn states(served: &Served) -> Vec<String> {
    let listed = served.get("/api/plugins?limit=100").await.expect(200);
    let state = |plugin: &Value| plugin["state"].as_str().unwrap().to_owned();
    listed["plugins"].as_array().unwrap().iter().map(state).collect()
}

fn count(states: &[String], wanted: &[&str]) -> usize {
    states.iter().filter(|state| wanted.contains(&state.as_str())).count()
}

/// Watches until every plugin is active. Returns how many had a sandbox that was not ready yet, at most.
async fn watch_until_active(served: &Served) -> usize {
    let (mut most, deadline) = (0, Instant::now() + 3 * PATIENCE);
    loop {
        let states = states(served).await;
        most = most.max(count(&states, &["loaded", "initializing"]));
        if count(&states, &["active"]) == PLUGINS {
            return most;
        }
        assert!(Instant::now() < deadline, "{states:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_that_die_together_come_back_a_few_at_a_time() {
    let Some(served) = start(2).await else { return };
    let names: Vec<String> = (0..PLUGINS).map(name).collect();
    let began = Instant::now();
    for answer in join_all(names.iter().map(|name| served.enable(name))).await {
        answer.expect(200);
    }
    println!("{PLUGINS} plugins were enabled in {:?}", began.elapsed());
    for answer in join_all(names.iter().map(|name| served.call(name, "execute", json!({"die": 1})))).await {
        answer.expect_problem(502, "plugin-crashed");
    }
    let began = Instant::now();
    let most = watch_until_active(&served).await;
    let took = began.elapsed();
    println!("they were back after {took:?}, {most} starting at one time");
    assert_eq!(most, 2);
    let shortest = INITIALIZE * u32::try_from(PLUGINS / 2 - 1).unwrap();
    assert!(took >= shortest, "{took:?} is less than their turns take");
    for name in &names {
        assert_eq!(served.plugin(name).await["restarts"], 1);
        served.result(name, "execute", json!({})).await;
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_a_turn_is_stopped_at_once_and_lets_an_operator_go_first() {
    let Some(mut served) = start(1).await else { return };
    let names: Vec<String> = (0..PLUGINS - 1).map(name).collect();
    for answer in join_all(names.iter().map(|name| served.enable(name))).await {
        answer.expect(200);
    }
    // Now all of them start again, one at a time.
    served.restart().await;
    let last = name(PLUGINS - 1);
    served.enable(&last).await.expect(200);
    let states = states(&served).await;
    let waiting = count(&states, &["loading"]);
    println!("{waiting} waited while an operator's plugin was started");
    assert!(waiting > PLUGINS / 2, "{states:?}");
    let mut one = None;
    for name in &names {
        if served.plugin(name).await["state"] == "loading" {
            one = Some(name);
        }
    }
    let began = Instant::now();
    served.disable(one.unwrap()).await.expect(200);
    assert!(began.elapsed() < INITIALIZE * 4, "{:?}", began.elapsed());
    assert_eq!(served.plugin(one.unwrap()).await["state"], "unloaded");
    // Nor does the end of the service wait for those that have not begun.
    let began = Instant::now();
    served.stop_service().await;
    println!("the service stopped in {:?}", began.elapsed());
    assert!(began.elapsed() < INITIALIZE * 12, "{:?}", began.elapsed());
}
