//! What others do to containers, and what becomes of plugins when the service starts again.

use std::time::{Duration, Instant};

use plugbay::config::Config;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::bench::{PATIENCE, docker};
use super::client::fixture;
use super::kind::docker_is_there;
use super::kind::first_process;
use super::kind::sandboxes;
use super::served::{Served, inspect};

/// Kills the first process of a plugin's sandbox, as somebody else of the machine.
async fn kill(served: &Served, plugin: &str) {
    super::kind::kill(served.instance(), &served.container(plugin).await);
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_is_killed_from_outside_is_soon_back_and_not_held_back() {
    const KILLS: usize = 20;
    let Some(served) = Served::with("probe").await else { return };
    let (mut noticed, mut active) = (Vec::new(), Vec::new());
    for number in 1..=KILLS {
        let began = Instant::now();
        kill(&served, "probe").await;
        while served.plugin("probe").await["state"] == "active" {
            assert!(began.elapsed() < PATIENCE, "kill {number} was not noticed");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        noticed.push(began.elapsed());
        let plugin = served.until_active("probe").await;
        active.push(began.elapsed());
        assert_eq!((&plugin["restarts"], &plugin["status"]), (&json!(number), &json!("enabled")), "{plugin}");
        assert_eq!(plugin["last_failure"]["kind"], "crash", "{plugin}");
    }
    let worst = (noticed.iter().max().copied(), active.iter().max().copied());
    let (noticed, active) = (median(&mut noticed), median(&mut active));
    println!("noticed after {noticed:?}, active after {active:?} (medians of {KILLS}); worst {worst:?}");
    // Five times what is measured on a machine that does nothing else.
    assert!(noticed < Duration::from_secs(1), "{noticed:?}");
    assert!(active < Duration::from_secs(5), "{active:?}");
    served.result("probe", "execute", json!({})).await;
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_in_flight_hear_of_a_kill_and_calls_meanwhile_wait() {
    let Some(served) = Served::with("probe").await else { return };
    let waiting = served.call("probe", "sleep", json!({"seconds": 15}));
    let killing = async {
        served.until_in_flight("probe", 1).await;
        kill(&served, "probe").await;
        served.until("probe", |plugin| plugin["state"] != "active").await;
        served.result("probe", "execute", json!({"a": 1})).await
    };
    let (waiting, meanwhile) = tokio::join!(waiting, killing);
    let problem = waiting.expect_problem(502, "plugin-crashed");
    assert_eq!(problem["signal"], 9, "{problem}");
    assert_eq!(meanwhile, json!({"echo": {"a": 1}}));
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_whose_own_process_is_killed_is_started_again() {
    let Some(served) = Served::with("probe").await else { return };
    let shim = first_process(served.instance(), &served.container("probe").await);
    let children = std::fs::read_to_string(format!("/proc/{shim}/task/{shim}/children")).unwrap();
    let plugin = children.split(' ').next().unwrap().parse().unwrap();
    let waiting = served.call("probe", "sleep", json!({"seconds": 15}));
    let killing = async {
        served.until_in_flight("probe", 1).await;
        kill_process(Pid::from_raw(plugin).unwrap(), Signal::KILL).unwrap();
    };
    let (waiting, ()) = tokio::join!(waiting, killing);
    assert_eq!(waiting.expect_problem(502, "plugin-crashed")["signal"], 9);
    served.result("probe", "execute", json!({})).await;
    assert_eq!(served.plugin("probe").await["restarts"], 1);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_operator_does_with_docker_is_noticed() {
    if !docker_is_there() {
        return;
    }
    let Some(served) = Served::with("probe").await else { return };
    let first = served.container("probe").await;
    docker(&["rm", "--force", &first]).unwrap();
    served.until("probe", |plugin| plugin["state"] == "active" && plugin["restarts"] == 1).await;
    let second = served.container("probe").await;
    assert_ne!(first, second);
    served.result("probe", "execute", json!({})).await;

    let began = Instant::now();
    docker(&["pause", &second]).unwrap();
    served.until("probe", |plugin| plugin["state"] == "paused").await;
    println!("pause shown after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(10));
    let body = json!({"context": {}, "timeout_ms": 300});
    served.execute("probe", &body).await.expect_problem(504, "plugin-timeout");
    let began = Instant::now();
    docker(&["unpause", &second]).unwrap();
    served.until_active("probe").await;
    println!("unpause shown after {:?}", began.elapsed());
    assert_eq!(served.result("probe", "execute", json!({})).await, json!({"echo": {}}));
    assert_eq!(served.plugin("probe").await["restarts"], 1, "a pause is no end");

    docker(&["stop", "--time", "5", &second]).unwrap();
    let plugin = served.until("probe", |plugin| plugin["state"] == "active" && plugin["restarts"] == 2).await;
    assert_eq!(plugin["status"], "enabled");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_plugin_can_be_disabled() {
    if !docker_is_there() {
        return;
    }
    let Some(served) = Served::with("probe").await else { return };
    docker(&["pause", &served.container("probe").await]).unwrap();
    served.until("probe", |plugin| plugin["state"] == "paused").await;
    let began = Instant::now();
    served.disable("probe").await.expect(200);
    println!("a paused plugin was disabled after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(5), "what is frozen is not waited for");
    assert_eq!(sandboxes(served.instance()), Vec::<String>::new());
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_of_others_are_left_alone_and_left_over_ones_removed() {
    if !docker_is_there() {
        return;
    }
    let Some(mut served) = Served::with("probe").await else { return };
    let create = |labels: &[&str]| {
        let mut arguments = vec!["run", "--detach", "--network", "none"];
        arguments.extend(labels.iter().flat_map(|label| ["--label", label]));
        arguments.extend(["plugbay/python:3", "sleep", "600"]);
        docker(&arguments).unwrap()
    };
    let own = format!("plugbay.instance={}", served.instance());
    let foreign = [
        create(&[]),
        create(&["plugbay.instance=another", "plugbay.session=session_1"]),
        create(&["plugbay.plugin=probe"]),
    ];
    let left_over = create(&[&own, "plugbay.session=session_01a1fd70d634726bb6125c8e399647dd"]);
    let ids = || docker(&["ps", "--all", "--quiet", "--no-trunc"]).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while ids().contains(&left_over) {
        assert!(Instant::now() < deadline, "the left-over container stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    served.restart().await;
    served.until_active("probe").await;
    served.disable("probe").await.expect(200);
    let left = ids();
    for id in &foreign {
        assert!(left.contains(id), "{id} was not plugbay's to remove");
        assert_eq!(inspect(id)["State"]["Running"], true);
        docker(&["rm", "--force", id]).unwrap();
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn enabled_plugins_are_active_by_themselves_after_a_restart_of_the_service() {
    let Some(mut served) = Served::with("probe").await else { return };
    served.add_as(&fixture("probe"), "idle").await;
    served.add_as(&fixture("probe"), "second").await;
    served.enable("second").await.expect(200);
    served.result("probe", "store", json!({"text": "kept"})).await;
    let uid = served.result("probe", "look", json!({})).await["uid"].clone();
    served.restart().await;
    let began = Instant::now();
    served.until_active("probe").await;
    served.until_active("second").await;
    println!("two plugins active {:?} after the service was ready", began.elapsed());
    assert_eq!(served.plugin("idle").await["state"], "unloaded");
    assert_eq!(served.result("probe", "store", json!({})).await, "kept");
    assert_eq!(served.result("probe", "look", json!({})).await["uid"], uid);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_plugins_do_not_see_each_other() {
    let change = |config: &mut Config| config.calls.queue = 8;
    let Some(served) = Served::start_with(change).await else { return };
    for name in ["one", "two"] {
        served.add_as(&fixture("probe"), name).await;
        served.enable(name).await.expect(200);
        served.result(name, "store", json!({"text": name})).await;
    }
    let (one, two) = tokio::join!(served.result("one", "look", json!({})), served.result("two", "look", json!({})));
    for seen in [&one, &two] {
        // The shim and the plugin itself.
        assert_eq!(seen["pids"].as_array().unwrap().len(), 2, "{seen}");
        assert_eq!(seen["data"], json!(["kept"]), "{seen}");
        assert_eq!(seen["plugin"], json!(["main.py", "plugin.yaml"]), "{seen}");
    }
    assert_ne!(one["uid"], two["uid"]);
    assert_eq!(served.result("one", "store", json!({})).await, "one");
    served.end().await;
}
