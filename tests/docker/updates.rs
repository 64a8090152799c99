//! Updates of a plugin that is called all the while: nothing is lost, nothing runs twice, and what does not work goes back.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Client, fixture};
use super::kind::{running, sandboxes};
use super::machine::Machine;
use super::served::Served;
use super::support::app::{Answer, form, send};
use super::support::author::pack_folder;

/// The ledger as another version with another manner.
fn ledger(version: &str, manner: &str, asks: &str) -> Vec<u8> {
    let read = |file: &str| fs::read_to_string(fixture("ledger").join(file)).unwrap();
    let manifest = read("plugin.yaml").replace("version: 1.0.0", &format!("version: {version}")) + asks;
    let main = read("main.py")
        .replace("VERSION = \"1.0.0\"", &format!("VERSION = \"{version}\""))
        .replace("MANNER = \"good\"", &format!("MANNER = \"{manner}\""));
    pack_folder(&fixture("ledger"), &[("plugin.yaml", &manifest), ("main.py", &main)])
}

async fn update(client: &Client, version: &str, manner: &str) -> Answer {
    update_that_asks(client, version, manner, "").await
}

async fn update_that_asks(client: &Client, version: &str, manner: &str, asks: &str) -> Answer {
    let form = form(&ledger(version, manner, asks), None);
    send(client.request(Method::POST, "/api/plugins/ledger/update").multipart(form)).await
}

async fn write(client: &Client, number: u64) -> Answer {
    client.call("ledger", "execute", json!({ "number": number })).await
}

async fn version(client: &Client) -> String {
    write(client, 0).await.expect(200)["result"]["version"].as_str().unwrap().to_owned()
}

/// How often each number was written down.
async fn book(client: &Client) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let text = client.result("ledger", "read", json!({})).await;
    for line in text.as_str().unwrap().lines() {
        *found.entry(line.to_owned()).or_default() += 1;
    }
    found
}

impl Served {
    async fn version(&self) -> String {
        version(self).await
    }

    async fn book(&self) -> BTreeMap<String, usize> {
        book(self).await
    }

    async fn last_update(&self) -> Value {
        self.plugin("ledger").await["last_update"].take()
    }

    /// Files of what plugins keep.
    fn copies(&self) -> usize {
        fs::read_dir(self.data().join("volumes")).unwrap().count()
    }

    async fn until_copies(&self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(15);
        while self.copies() != count {
            assert!(Instant::now() < deadline, "{} copies, wanted {count}", self.copies());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Callers who write numbers down, each once, as long as they are wanted.
struct Callers {
    stop: Arc<AtomicBool>,
    next: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<Vec<(u64, Answer)>>>,
}

impl Callers {
    fn start(client: &Client, count: usize) -> Self {
        let (stop, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(1)));
        let call = |_| {
            let (client, stop, next) = (client.clone(), Arc::clone(&stop), Arc::clone(&next));
            #[expect(clippy::disallowed_methods, reason = "callers of a service, whose end is waited for")]
            tokio::spawn(async move {
                let mut answers = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    answers.push((number, write(&client, number).await));
                }
                answers
            })
        };
        let tasks = (0..count).map(call).collect();
        Self { stop, next, tasks }
    }

    fn made(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    async fn end(self) -> Vec<(u64, Answer)> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = futures_util::future::join_all(self.tasks).await;
        ended.into_iter().flat_map(Result::unwrap).collect()
    }
}

async fn served() -> Option<Served> {
    let served = Served::with("ledger").await?;
    served.result("ledger", "keep", json!({"state": "first"})).await;
    Some(served)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_updates_under_load_cost_no_call_and_run_none_twice() {
    const UPDATES: usize = 20;
    let Some(served) = served().await else { return };
    let callers = Callers::start(&served, 16);
    let mut version = "1.0.0".to_owned();
    let (mut held, began) = (Vec::new(), Instant::now());
    for number in 1..=UPDATES {
        let manner = ["good", "does-not-start", "unhealthy", "dies-when-asked"][number % 4];
        let next = format!("1.0.{number}");
        let asked = Instant::now();
        let answer = update(&served, &next, manner).await;
        held.push(asked.elapsed());
        if manner == "good" {
            let answer = answer.expect(200);
            assert_eq!((&answer["status"], &answer["previous_version"]), (&json!("updated"), &json!(version)));
            version = next;
        } else {
            let problem = answer.expect_problem(409, "update-rolled-back");
            let reason = match manner {
                "does-not-start" => "initialize-failed",
                "unhealthy" => "unhealthy",
                _ => "died",
            };
            assert_eq!(problem["reason"], reason, "{problem}");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.starts_with(&format!("`ledger` stays at {version}: {next}")), "{detail}");
        }
        assert_eq!(served.version().await, version, "after update {number}");
        assert_eq!(served.plugin("ledger").await["version"], version);
    }
    let (made, took) = (callers.made(), began.elapsed());
    let answers = callers.end().await;
    println!("{made} calls in {took:?}; updates took {held:?}");
    for (number, answer) in &answers {
        assert_eq!(answer.status, 200, "{number}: {}", answer.text);
        assert_eq!(answer.json()["success"], true, "{number}: {}", answer.text);
    }
    let mut book = served.book().await;
    book.remove("0");
    assert!(!book.contains_key("spoilt"), "a version that did not start has left something");
    assert!(book.values().all(|times| *times == 1), "a call ran twice");
    assert_eq!(book.len(), answers.len(), "a call that was answered is not in the book");
    assert_eq!(served.result("ledger", "keep", json!({})).await, "first");
    // What serves, and what can be gone back to.
    served.until_copies(2).await;
    assert!(sandboxes(served.instance()).len() <= 2);
    let versions = served.get("/api/plugins/ledger/versions").await.expect(200);
    assert_eq!(versions["versions"].as_array().unwrap().len(), 3, "{versions}");
    assert_eq!(versions["floor"], version);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_dies_in_its_first_calls_goes_back_with_what_was_kept() {
    let Some(served) = served().await else { return };
    write(&served, 1).await.expect(200);
    let before = served.container("ledger").await;
    update(&served, "1.1.0", "dies-in-calls").await.expect(200);
    assert_eq!(served.last_update().await["status"], "watched");
    assert_ne!(served.container("ledger").await, before);
    served.result("ledger", "keep", json!({"state": "second"})).await;
    let slow = |number| served.call("ledger", "execute", json!({"number": number, "seconds": 0.3}));
    let calls = tokio::join!(slow(2), slow(3));
    let ended = Instant::now();
    for answer in [calls.0, calls.1] {
        answer.expect_problem(502, "plugin-crashed");
    }
    let answer = write(&served, 4).await.expect(200);
    let back_after = ended.elapsed();
    println!("the version before answered after {back_after:?}");
    assert_eq!(answer["result"]["version"], "1.0.0");
    assert_eq!(served.container("ledger").await, before, "it stood by, so nothing had to be started");
    let book = served.book().await;
    assert_eq!(book, BTreeMap::from([("1".to_owned(), 1), ("4".to_owned(), 1)]), "what it kept is as before");
    assert_eq!(served.result("ledger", "keep", json!({})).await, "first");
    let plugin = served.plugin("ledger").await;
    assert_eq!((&plugin["version"], &plugin["state"]), (&json!("1.0.0"), &json!("active")));
    let last = &plugin["last_update"];
    assert_eq!((&last["status"], &last["reason"]), (&json!("rolled_back"), &json!("crash")), "{last}");
    assert_eq!((&last["version"], &last["data_restored"]), (&json!("1.1.0"), &json!(true)));
    assert!(last["data_age_seconds"].is_number() && last["text"].as_str().unwrap().contains('7'), "{last}");
    served.until_copies(1).await;
    let rows = served.get("/api/audit?plugin=ledger").await.expect(200)["entries"].take();
    let row = rows.as_array().unwrap().iter().find(|row| row["action"] == "plugin.update_undone").unwrap();
    assert_eq!(row["detail"]["previous_version"], "1.1.0", "{row}");
    // It set no floor.
    update(&served, "1.0.1", "good").await.expect(200);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_whose_calls_fail_goes_back_by_itself() {
    let Some(served) = served().await else { return };
    update(&served, "1.1.0", "raises").await.expect(200);
    for number in 1..=5 {
        write(&served, number).await.expect(200);
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    while served.plugin("ledger").await["version"] != "1.0.0" {
        assert!(Instant::now() < deadline, "{}", served.last_update().await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let last = served.last_update().await;
    assert_eq!((&last["reason"], &last["text"]), (&json!("error-rate"), &json!("5 of its first 5 calls failed")));
    assert_eq!(served.version().await, "1.0.0");
    assert_eq!(served.book().await.len(), 1, "only what the version before wrote");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_goes_back_with_and_without_what_was_kept() {
    let Some(served) = served().await else { return };
    let rollback = async |body: Value| served.post("/api/plugins/ledger/rollback", &body).await;
    rollback(json!({})).await.expect_problem(404, "version-unknown");
    write(&served, 1).await.expect(200);
    update(&served, "2.0.0", "good").await.expect(200);
    write(&served, 2).await.expect(200);
    rollback(json!({"version": "2.0.0"})).await.expect_problem(409, "version-serving");
    rollback(json!({"version": "3.0.0"})).await.expect_problem(404, "version-unknown");
    rollback(json!({"version": "x"})).await.expect_problem(422, "field-invalid");
    let back = rollback(json!({})).await.expect(200);
    let said = (&back["status"], &back["version"], &back["previous_version"], &back["data_restored"]);
    assert_eq!(said, (&json!("rolled_back"), &json!("1.0.0"), &json!("2.0.0"), &json!(false)));
    assert_eq!(served.version().await, "1.0.0");
    assert_eq!(served.book().await.len(), 3, "what was kept stays");
    rollback(json!({"version": "2.0.0", "restore_data": true})).await.expect(200);
    let book = served.book().await;
    assert!(book.contains_key("1") && book.contains_key("2") && !book.contains_key("0"), "{book:?}");
    rollback(json!({"version": "1.0.0", "restore_data": true})).await.expect(200);
    let began = Instant::now();
    served.disable("ledger").await.expect(200);
    assert!(began.elapsed() < Duration::from_secs(5), "who stands by is not asked to clean up: {:?}", began.elapsed());
    rollback(json!({})).await.expect(200);
    rollback(json!({"restore_data": true, "version": "1.0.0"})).await.expect(200);
    served.enable("ledger").await.expect(200);
    assert_eq!(served.version().await, "1.0.0");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_take_their_time_end_before_another_version_takes_over() {
    let Some(served) = served().await else { return };
    let slow = served.call("ledger", "execute", json!({"number": 1, "seconds": 1.5}));
    let updating = async {
        served.until_in_flight("ledger", 1).await;
        update(&served, "1.1.0", "good").await
    };
    let (slow, updated) = tokio::join!(slow, updating);
    assert_eq!(slow.expect(200)["result"]["version"], "1.0.0");
    updated.expect(200);
    assert_eq!(served.version().await, "1.1.0");
    assert_eq!(served.book().await, BTreeMap::from([("0".to_owned(), 1), ("1".to_owned(), 1)]));
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_starts_again_still_watches() {
    let Some(mut served) = served().await else { return };
    update(&served, "1.1.0", "dies-in-calls").await.expect(200);
    served.restart().await;
    served.until_active("ledger").await;
    write(&served, 1).await.expect_problem(502, "plugin-crashed");
    served.until_active("ledger").await;
    assert_eq!(served.version().await, "1.0.0");
    assert_eq!(served.last_update().await["status"], "rolled_back");
    assert_eq!(served.book().await.len(), 1);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_starts_the_update_and_says_what_became_of_it() {
    let Some(served) = served().await else { return };
    let approve =
        async |grant: Value| served.post("/api/plugins/ledger/permissions/approve", &json!({ "grant": grant })).await;
    let waits = update_that_asks(&served, "2.0.0", "unhealthy", "permissions: [chat_access]\n").await.expect(200);
    assert_eq!((&waits["status"], served.version().await.as_str()), (&json!("pending_approval"), "1.0.0"));
    let problem = approve(json!(["chat_access"])).await.expect_problem(409, "update-rolled-back");
    assert_eq!(problem["reason"], "unhealthy");
    let plugin = served.plugin("ledger").await;
    let shown = (&plugin["version"], &plugin["pending"], &plugin["versions"]);
    assert_eq!(shown, (&json!("1.0.0"), &json!(null), &json!(["1.0.0"])), "what does not work waits for nothing");
    assert_eq!(plugin["last_update"]["reason"], "unhealthy");

    update_that_asks(&served, "2.0.1", "good", "permissions: [chat_access]\n").await.expect(200);
    let done = approve(json!(["chat_access"])).await.expect(200);
    assert_eq!((&done["update"]["status"], &done["update"]["version"]), (&json!("updated"), &json!("2.0.1")));
    assert_eq!(served.version().await, "2.0.1");
    // Each version has what was decided about it, also after the way back and forth.
    let granted = async || served.plugin("ledger").await["permissions"]["granted"].take();
    assert_eq!(granted().await, json!(["chat_access"]));
    let rollback = async || served.post("/api/plugins/ledger/rollback", &json!({})).await;
    rollback().await.expect(200);
    assert_eq!(granted().await, json!([]));
    rollback().await.expect(200);
    assert_eq!((served.version().await.as_str(), granted().await), ("2.0.1", json!(["chat_access"])));
    // What was taken back stays so.
    let revoked = json!({"permissions": ["chat_access"]});
    served.post("/api/plugins/ledger/permissions/revoke", &revoked).await.expect(200);
    rollback().await.expect(200);
    rollback().await.expect_problem(409, "permissions-pending");
    assert_eq!(served.version().await, "1.0.0");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_keeps_its_version_loses_the_standby_and_nothing_else() {
    let Some(served) = Served::start_with(|config| config.update.watch = Duration::from_secs(1)).await else { return };
    served.run(&fixture("ledger")).await;
    update(&served, "1.1.0", "good").await.expect(200);
    write(&served, 1).await.expect(200);
    assert_eq!(running(served.instance()), 2, "the version before stands by");
    let deadline = Instant::now() + Duration::from_secs(10);
    while served.last_update().await["status"] != "kept" || running(served.instance()) != 1 {
        assert!(Instant::now() < deadline, "{}", served.last_update().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(served.version().await, "1.1.0");
    // From now on it is started again, like any other.
    super::kind::kill(served.instance(), &served.container("ledger").await);
    served.until("ledger", |plugin| plugin["restarts"] == 1 && plugin["state"] == "active").await;
    assert_eq!((served.version().await.as_str(), served.copies()), ("1.1.0", 2));
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_killed_during_an_update_has_one_version_or_the_other() {
    let Some(machine) = Machine::new() else { return };
    let (mut process, mut client) = machine.serve();
    client.run(&fixture("ledger")).await;
    let (mut serving, mut written) = ("1.0.0".to_owned(), 0);
    for number in 1..=8_u32 {
        written += 1;
        write(&client, written).await.expect(200);
        let next = format!("1.0.{number}");
        let form = form(&ledger(&next, "good", ""), None);
        let request = client.request(Method::POST, "/api/plugins/ledger/update").multipart(form);
        let killing = async {
            tokio::time::sleep(Duration::from_millis(u64::from(number) * 110)).await;
            tokio::task::block_in_place(|| process.kill());
        };
        let (answer, ()) = tokio::join!(request.send(), killing);
        (process, client) = machine.serve();
        client.until_active("ledger").await;
        let found = version(&client).await;
        assert!(found == serving || found == next, "{found}, not {serving} or {next}");
        if answer.is_ok_and(|answer| answer.status() == 200) {
            assert_eq!(found, next, "it was told");
        }
        assert_eq!(client.plugin("ledger").await["version"], found);
        let mut numbers = book(&client).await;
        numbers.remove("0");
        assert_eq!(numbers.len() as u64, written, "kill {number}: {numbers:?}");
        assert!(numbers.values().all(|times| *times == 1));
        let volumes = fs::read_dir(machine.data().join("volumes")).unwrap().count();
        assert!(volumes <= 2, "{volumes} copies");
        serving = found;
    }
    assert!(tokio::task::block_in_place(|| process.stop()).success(), "{}", process.log());
}
