//! Answers that pass filters while they come: what is masked wherever it is cut, what a failure does, and who looks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::Method;
use serde_json::json;

use super::client::fixture;
use super::exchanges::{PARROT, ask, streamed, talker};
use super::served::Served;
use super::support::app::{form, send, until};

/// The answer is fed to a filter that sees it while it comes.
const FED: &str = "{ kind: message_processor, of: [response], sees: deltas }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_of_deltas_changes_an_answer_while_it_comes_and_every_front_gives_the_same() {
    let Some(served) = Served::start().await else { return };
    served.take_part(PARROT).await;
    for part in [("masks", "mask", FED), ("shouts", "shout", FED)] {
        served.take_part(part).await;
    }
    let expected = "YOU SAID: MY # IS # SAFE ";
    let answer = served.chat("my secret is secret safe").await.expect(200);
    assert_eq!(answer["response"], expected);
    let parts: Vec<(&str, &str)> = answer["plugins"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| (part["name"].as_str().unwrap(), part["outcome"].as_str().unwrap()))
        .collect();
    assert_eq!(parts, [("parrot-backend", "answered"), ("masks", "changed"), ("shouts", "changed")]);
    let mut body = ask("my secret is secret safe");
    assert_eq!(served.complete(&body).await.expect(200)["choices"][0]["message"]["content"], expected);
    body["stream"] = json!(true);
    assert_eq!(streamed(&served.complete(&body).await), (expected.to_owned(), Some("[DONE]")));
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guard_that_is_fed_refuses_where_it_fails_and_a_filter_lets_the_rest_pass() {
    let Some(served) = Served::start().await else { return };
    served.take_part(PARROT).await;
    let guard = FED.replace(" }", ", effect: decide, timeout_ms: 1500 }");
    let filter = FED.replace(" }", ", timeout_ms: 1500 }");
    for (mood, text, guarded) in [
        ("guard", "a bomb", (422, "content-blocked")),
        ("raise", "a nasty word", (503, "guard-unavailable")),
        ("sleep", "a slow word", (503, "guard-unavailable")),
        ("leave", "enough of it", (503, "guard-unavailable")),
        ("die", "a deadly word", (503, "guard-unavailable")),
    ] {
        let name = format!("fed-{mood}");
        served.take_part((&name, mood, &guard)).await;
        // What was shown before stays shown, so nothing is sent where the whole is wanted: a problem, not half of it.
        served.chat(text).await.expect_problem(guarded.0, guarded.1);
        served.chat("fine").await.expect(200);
        let mut body = ask(text);
        body["stream"] = json!(true);
        let stream = served.complete(&body).await;
        let unwanted = text.split(' ').nth(1).unwrap();
        let (shown, _) = streamed(&stream);
        let is_told = stream.text.contains(if mood == "guard" { "content_filter" } else { "guard-unavailable" });
        assert!(!shown.contains(unwanted) && is_told, "{mood}: {}", stream.text);
        served.delete(&format!("/api/plugins/{name}")).await.expect(204);

        served.take_part((&name, mood, &filter)).await;
        if mood == "guard" {
            served.chat(text).await.expect_problem(422, "content-blocked");
        } else {
            let answer = served.chat(text).await.expect(200);
            assert_eq!(answer["response"], format!("you said: {text} ").as_str(), "{mood}");
            assert_eq!(answer["skipped"][0]["name"], name.as_str(), "{mood}");
        }
        served.delete(&format!("/api/plugins/{name}")).await.expect(204);
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_hooks_and_those_that_only_look_see_an_answer_while_it_comes() {
    let Some(served) = Served::start().await else { return };
    served.take_part(PARROT).await;
    let window = "{ kind: message_processor, of: [response], sees: window, window: { characters: 20, overlap: 8 }, timeout_ms: 20000 }";
    served.take_part(("windows", "mask", window)).await;
    served.take_part(("z-looks", "plain", &FED.replace(" }", ", effect: observe }"))).await;
    let text = "0123456789 secret 0123456789 secret 0123456789 secret end";
    let answer = served.chat(text).await.expect(200);
    assert_eq!(answer["response"], format!("you said: {} ", text.replace("secret", "#")).as_str());
    let seen = served.shown_to("windows").await;
    let windows: Vec<(u64, bool)> = seen
        .as_array()
        .unwrap()
        .iter()
        .map(|seen| &seen["metadata"]["window"])
        .map(|window| (window["index"].as_u64().unwrap(), window["last"].as_bool().unwrap()))
        .collect();
    assert!(
        windows.len() >= 5 && windows.iter().enumerate().all(|(at, (index, _))| *index == at as u64),
        "{windows:?}"
    );
    assert!(windows.last().unwrap().1 && seen[0]["content"].as_str().unwrap().chars().count() == 20, "{seen}");
    until("the observer has seen the answer", async || {
        let seen = served.shown_to("z-looks").await;
        let texts: String = seen.as_array().unwrap().iter().map(|delta| delta["text"].as_str().unwrap()).collect();
        texts == format!("you said: {} ", text.replace("secret", "#"))
    })
    .await;
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_under_way_keeps_its_filter_while_another_version_takes_over() {
    let Some(served) = Served::start().await else { return };
    served.take_part(("parrot-backend", "paced", "{ kind: backend_provider }")).await;
    served.take_part(("filters", "mask", FED)).await;
    let mut body = ask("hi");
    body["stream"] = json!(true);
    let request = served.request(Method::POST, "/v1/chat/completions").json(&body);
    let come = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&come);
    let reading = tokio::runtime::Handle::current().spawn(async move {
        let mut answer = request.send().await.unwrap();
        let mut text = String::new();
        while let Some(chunk) = answer.chunk().await.unwrap() {
            text.push_str(std::str::from_utf8(&chunk).unwrap());
            counted.store(text.matches("a # ").count(), Ordering::SeqCst);
        }
        text
    });
    until("the answer has begun", async || come.load(Ordering::SeqCst) > 2).await;
    let section = FED.replace(" }", ", timeout_ms: 20000 }");
    let next = form(&talker(("filters", "shout", &section), "1.0.1"), None);
    let updated = send(served.request(Method::POST, "/api/plugins/filters/update").multipart(next)).await;
    assert_eq!(updated.expect(200)["version"], "1.0.1");
    assert!(come.load(Ordering::SeqCst) < 60, "the answer goes on");
    let text = reading.await.unwrap();
    assert!(text.ends_with("data: [DONE]\n\n") && !text.contains("secret") && !text.contains("SECRET"), "{text}");
    assert_eq!(come.load(Ordering::SeqCst), 60, "none of it is lost");
    let answer = served.chat("hi").await.expect(200);
    assert!(answer["response"].as_str().unwrap().starts_with("A SECRET "), "{answer}");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_that_break_the_rules_are_left_out_and_guards_that_do_refuse() {
    let Some(served) = Served::start().await else { return };
    served.take_part(PARROT).await;
    let folder = fixture("unruly");
    let manifest = std::fs::read_to_string(folder.join("plugin.yaml")).unwrap();
    // The first part that a filter is fed may be all of this.
    let text = "word ".repeat(40);
    for mood in ["ahead", "holds", "elsewhere", "nonsense", "flood", "early", "twice", "deaf"] {
        for is_guard in [false, true] {
            let effect = if is_guard { "effect: decide, " } else { "" };
            let manifest = manifest
                .replace("default: none", &format!("default: {mood}"))
                .replace("sees: deltas", &format!("{effect}sees: deltas"));
            served.add(&folder, &[("plugin.yaml", &manifest)]).await;
            served.decide_about("unruly", &json!({"grant": ["chat_access"]})).await.expect(200);
            served.enable("unruly").await.expect(200);
            let answer = served.chat(&text).await;
            if is_guard {
                answer.expect_problem(503, "guard-unavailable");
            } else {
                let answer = answer.expect(200);
                assert_eq!(answer["skipped"][0]["name"], "unruly", "{mood}: {answer}");
                let response = answer["response"].as_str().unwrap();
                assert!(response.ends_with(&format!("{text} ")) && !response.contains("nowhere"), "{mood}: {response}");
            }
            served.delete("/api/plugins/unruly").await.expect(204);
        }
    }
    served.chat("fine").await.expect(200);
    served.end().await;
}
