//! Hooks of a plugin's life: the beginning and the end of its own sessions, and what becomes of its neighbours.

use serde_json::json;

use super::client::fixture;
use super::served::Served;
use super::support::app::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_hears_of_both_ends_of_its_sessions_and_of_its_neighbours() {
    let Some(served) = Served::start().await else { return };
    served.add(&fixture("witness"), &[]).await;
    served.decide_about("witness", &json!({"grant": ["chat_access"]})).await.expect(200);
    served.enable("witness").await.expect(200);
    let told = async || {
        let answer = served.execute("witness", &json!({})).await.expect(200);
        let lines = answer["result"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned());
        lines.collect::<Vec<String>>()
    };
    until("it was told of its beginning", async || told().await == ["on_startup"]).await;
    served.take_part(("neighbour", "plain", "{ kind: message_processor }")).await;
    until("it was told of its neighbour", async || told().await.len() == 2).await;
    served.disable("neighbour").await.expect(200);
    until("it was told of its end", async || told().await.len() == 3).await;
    served.disable("witness").await.expect(200);
    served.enable("witness").await.expect(200);
    until("it was told of its second beginning", async || told().await.len() == 5).await;
    let expected =
        ["on_startup", "on_plugin_load neighbour", "on_plugin_unload neighbour", "on_shutdown", "on_startup"];
    assert_eq!(told().await, expected);
    served.end().await;
}
