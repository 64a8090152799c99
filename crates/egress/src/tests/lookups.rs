//! Names whose servers do not answer.

use super::*;

/// A plugin that may ask for any name below `silent.`, and waits a short time for each.
fn rig() -> Rig {
    Rig::with(&["*"], &[], |config| config.connect_timeout = Duration::from_millis(300))
}

#[tokio::test]
async fn a_plugin_has_four_lookups_at_one_time_and_a_place_is_held_by_each() {
    let rig = rig();
    let mut asked = Vec::new();
    for number in 0..32 {
        asked.push(rig.connect(&format!("tunnel silent.{number}.example:443")).await);
    }
    for stream in &mut asked {
        let said = read_all(stream).await;
        assert!(said.starts_with("refused resolve-timeout "), "{said}");
    }
    // Everybody was answered, and nothing of it has ended.
    assert_eq!(rig.resolver.endless.load(Ordering::SeqCst), 4, "lookups that go on");
    drop(asked);
    rig.until_places(28).await;
    rig.resolver.heard.notify_waiters();
    rig.until_free().await;
}

#[tokio::test]
async fn a_name_that_was_waited_for_in_vain_is_not_asked_for_again_at_once() {
    let mut rig = rig();
    let first = "tunnel silent.example:443";
    assert!(rig.answer(first, b"").await.contains("was not resolved within 0 s"));
    let asked = rig.resolver.asked.load(Ordering::SeqCst);
    for _ in 0..10 {
        let said = rig.answer(first, b"").await;
        assert!(said.starts_with("refused resolve-timeout ") && said.contains("not asked for again"), "{said}");
    }
    assert_eq!(rig.resolver.asked.load(Ordering::SeqCst), asked);
    assert_eq!(rig.report().await.0, "resolve-timeout");
    // Other names are asked for.
    assert!(rig.answer("tunnel servfail.example:443", b"").await.starts_with("refused unresolved "));
}

#[tokio::test]
async fn the_service_looks_up_what_it_needs_while_plugins_wait() {
    let rig = rig();
    let mut asked = Vec::new();
    for number in 0..32 {
        asked.push(rig.connect(&format!("tunnel silent.{number}.example:443")).await);
    }
    let going_on = async {
        while rig.resolver.endless.load(Ordering::SeqCst) < 4 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, going_on).await.expect("the lookups begin");
    let found = rig.egress.resolve_for_service("archives.example", PATIENCE).await.unwrap();
    assert_eq!(found, [IpAddr::from(Ipv4Addr::LOCALHOST)]);
}
