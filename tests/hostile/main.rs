//! Plugins that do their worst, in a service with a neighbour. Around every attack it is checked that the neighbour answers
//! in time, that the service stays small, and that nothing is left behind (`target.rs`). The numbers are those of the list of attacks that plugbay is
//! built against. Needs Docker, or root and bubblewrap with
//! `PLUGBAY_TEST_ENGINE=process`, as `tests/docker` does.
#![expect(clippy::unwrap_used, reason = "a failed step should stop the test")]
#![expect(clippy::print_stdout, reason = "a failed test shows how far it came, and figures")]

#[path = "../support/mod.rs"]
mod support;
#[path = "../docker/bench.rs"]
#[expect(dead_code, reason = "shared with tests/docker")]
mod bench;
#[path = "../docker/client.rs"]
#[expect(dead_code, reason = "shared with tests/docker")]
mod client;
#[path = "../docker/hosts.rs"]
#[expect(dead_code, reason = "shared with tests/docker")]
mod hosts;
#[path = "../docker/kind.rs"]
#[expect(dead_code, reason = "shared with tests/docker")]
mod kind;
#[path = "../docker/machine.rs"]
#[expect(dead_code, reason = "shared with tests/docker")]
mod machine;
#[path = "../docker/served.rs"]
#[expect(dead_code, reason = "shared with tests/docker")]
mod served;

mod boot;
mod ends;
mod floods;
mod greed;
mod inside;
mod introduction;
mod left;
mod lines;
mod neighbour;
mod patience;
mod shares;
mod target;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use target::Attack;

/// How a number that has no row of its own is proved.
enum Proved {
    /// By a test elsewhere: a file and a function in it.
    By(&'static str, &'static str),
    /// Not at all, for this reason.
    NotApplicable(&'static str),
}

use Proved::{By, NotApplicable};

/// Numbers without a row of their own.
const OTHERS: &[(&str, Proved)] = &[
    ("A.147", By("tests/docker/outside.rs", "the_kernel_has_it_so")),
    ("A.148", By("tests/docker/inside.rs", "nothing_but_tmp_can_be_written")),
    ("A.151", By("tests/docker/inside.rs", "what_tells_about_the_machine_is_masked")),
    ("A.158", By("tests/hostile/introduction.rs", "whoever_is_not_the_plugin_is_shut_out")),
    ("A.159", NotApplicable("lines have no length field")),
    ("B.31", By("tests/hostile/introduction.rs", "who_never_connects_or_never_says_hello_fails_to_start")),
    (
        "B.45",
        By(
            "tests/docker/service_process.rs",
            "a_killed_service_leaves_nothing_running_and_comes_back_with_its_plugins",
        ),
    ),
    ("B.46", By("tests/docker/streams.rs", "a_caller_that_hangs_up_cancels_its_call")),
    ("B.47", By("tests/docker/streams.rs", "a_caller_that_has_nothing_more_to_say_still_gets_a_quick_answer")),
    ("B.54", By("tests/hostile/boot.rs", "many_plugins_start_at_boot_and_few_of_them_at_once")),
];

fn wanted() -> Vec<String> {
    let attacks = (147..=172).map(|number| format!("A.{number}"));
    attacks.chain((30..=47).chain([54]).map(|number| format!("B.{number}"))).collect()
}

fn tables() -> [&'static [Attack]; 7] {
    [ends::TABLE, lines::TABLE, floods::TABLE, greed::TABLE, inside::TABLE, patience::TABLE, shares::TABLE]
}

#[test]
fn every_number_has_exactly_one_test_or_a_reason() {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let numbers = tables().into_iter().flatten().flat_map(|attack| attack.numbers).copied();
    for number in numbers.chain(OTHERS.iter().map(|(number, _)| *number)) {
        *seen.entry(number).or_default() += 1;
    }
    let wanted = wanted();
    let missing: Vec<_> = wanted.iter().filter(|number| !seen.contains_key(number.as_str())).collect();
    let repeated: Vec<_> = seen.iter().filter(|(_, count)| **count > 1).collect();
    let strange: Vec<_> = seen.keys().filter(|number| !wanted.iter().any(|wanted| wanted == *number)).collect();
    assert!(
        missing.is_empty() && repeated.is_empty() && strange.is_empty(),
        "missing {missing:?}, repeated {repeated:?}, strange {strange:?}"
    );
}

#[test]
fn every_test_that_is_named_exists() {
    for (number, proved) in OTHERS {
        match proved {
            By(file, function) => {
                let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
                let is_test =
                    |before: &str| before.trim_end().lines().next_back().is_some_and(|line| line.contains("test"));
                let found = text
                    .find(&format!("fn {function}("))
                    .is_some_and(|at| is_test(text[..at].trim_end().trim_end_matches("async")));
                assert!(found, "{number}: {file} has no test `{function}`");
            }
            NotApplicable(reason) => assert!(!reason.is_empty(), "{number}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_that_end() {
    target::run(ends::TABLE, "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_that_are_no_message() {
    target::run(lines::TABLE, "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_messages_and_output() {
    target::run(floods::TABLE, "health: { interval_seconds: 2 }\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_that_take_what_they_can_get() {
    target::run(greed::TABLE, "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_be_done_from_inside() {
    target::run(inside::TABLE, "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_that_do_not_react() {
    target::run_together(patience::TABLE, "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_that_take_what_is_shared() {
    shares::run().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_do_not_read() {
    target::run(shares::TABLE, "limits: { answers_mb: 16 }\n").await;
}
