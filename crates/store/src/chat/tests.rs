use super::*;
use crate::{Missing, Store};

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

fn conversation(millis: i64) -> Conversation {
    Conversation { id: ConversationId::generate(), title: None, created_at: at(millis) }
}

fn message(conversation: &Conversation, text: &str, author: Author) -> Message {
    let (id, conversation) = (MessageId::generate(), conversation.id);
    Message { id, conversation, text: text.to_owned(), author, file: None, at: at(5) }
}

fn somebody() -> Author {
    Author::User { user: Some("u".to_owned()), channel: None }
}

async fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("plugbay.db"), Missing::Create).await.unwrap();
    (folder, store)
}

async fn texts(store: &Store, conversation: &Conversation) -> Vec<String> {
    let mut reader = store.reader().await.unwrap();
    let found = list_messages(&mut reader, conversation.id, None, 10_000).await.unwrap();
    found.into_iter().map(|placed| placed.value.text).collect()
}

#[tokio::test]
async fn messages_come_back_as_they_were_in_pages() {
    let (_folder, store) = store().await;
    let (here, there) = (conversation(1), conversation(2));
    let file = PostedFile {
        name: "a.txt".to_owned(),
        media_type: "text/plain".to_owned(),
        size: 3,
        sha256: Digest::from_bytes([7; 32]),
    };
    let posted = [
        message(&here, "one", somebody()),
        Message { file: Some(file), ..message(&here, "", somebody()) },
        message(&here, "three", Author::Plugin("echo".parse().unwrap())),
    ];
    let mut tx = store.begin().await.unwrap();
    insert_conversation(&mut tx, &here).await.unwrap();
    assert!(!insert_message(&mut tx, &message(&there, "x", somebody()), Visibility::Shown).await.unwrap());
    insert_conversation(&mut tx, &there).await.unwrap();
    for message in &posted {
        assert!(insert_message(&mut tx, message, Visibility::Shown).await.unwrap());
        assert!(
            insert_message(
                &mut tx,
                &Message { conversation: there.id, id: MessageId::generate(), ..message.clone() },
                Visibility::Shown
            )
            .await
            .unwrap()
        );
    }
    let first = list_messages(&mut tx, here.id, None, 2).await.unwrap();
    let rest = list_messages(&mut tx, here.id, Some(first[1].seq), 2).await.unwrap();
    let all: Vec<_> = first.into_iter().chain(rest).map(|placed| placed.value).collect();
    assert_eq!(all, posted);
    assert_eq!(latest_messages(&mut tx, here.id, 2).await.unwrap(), posted[1..]);
    let listed = list_conversations(&mut tx, None, 1).await.unwrap();
    assert_eq!(listed[0].value, there);
    assert_eq!(list_conversations(&mut tx, Some(listed[0].seq), 9).await.unwrap()[0].value, here);
}

#[tokio::test]
async fn the_oldest_messages_make_room() {
    let (_folder, store) = store().await;
    let (many, long) = (conversation(1), conversation(1));
    let mut tx = store.begin().await.unwrap();
    insert_conversation(&mut tx, &many).await.unwrap();
    insert_conversation(&mut tx, &long).await.unwrap();
    for number in 0..=MAX_MESSAGES {
        let next = message(&many, &number.to_string(), somebody());
        insert_message(&mut tx, &next, Visibility::Shown).await.unwrap();
    }
    let third = "é".repeat(usize::try_from(MAX_CONVERSATION_BYTES).unwrap() / 6);
    for number in 0..4 {
        let next = message(&long, &format!("{number}{}", &third[2..]), somebody());
        insert_message(&mut tx, &next, Visibility::Shown).await.unwrap();
    }
    tx.commit().await.unwrap();
    let left = texts(&store, &many).await;
    assert_eq!((left.len(), left[0].as_str()), (1_000, "1"));
    let left: Vec<_> = texts(&store, &long).await.iter().map(|text| text[..1].to_owned()).collect();
    assert_eq!(left, ["1", "2", "3"]);
}

#[tokio::test]
async fn the_conversation_that_was_used_least_recently_makes_room() {
    let (_folder, store) = store().await;
    let mut tx = store.begin().await.unwrap();
    let (first, second) = (conversation(1), conversation(2));
    for old in [&first, &second] {
        insert_conversation(&mut tx, old).await.unwrap();
    }
    insert_message(&mut tx, &message(&first, "x", somebody()), Visibility::Shown).await.unwrap();
    for _ in 2..=MAX_CONVERSATIONS {
        insert_conversation(&mut tx, &conversation(3)).await.unwrap();
    }
    assert!(has_conversation(&mut tx, first.id).await.unwrap(), "it was used after the other one");
    assert!(!has_conversation(&mut tx, second.id).await.unwrap());
    assert_eq!(list_conversations(&mut tx, None, 9_999).await.unwrap().len(), 1_000);
}

#[tokio::test]
async fn a_message_that_is_held_is_seen_by_nobody() {
    let (_folder, store) = store().await;
    let here = conversation(1);
    let held: Vec<_> = ["shown", "deleted", "forgotten"].map(|text| message(&here, text, somebody())).into();
    let mut tx = store.begin().await.unwrap();
    insert_conversation(&mut tx, &here).await.unwrap();
    for message in &held {
        insert_message(&mut tx, message, Visibility::Held).await.unwrap();
    }
    assert_eq!(latest_messages(&mut tx, here.id, 9).await.unwrap(), []);
    show_message(&mut tx, held[0].id).await.unwrap();
    delete_message(&mut tx, held[1].id).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(texts(&store, &here).await, ["shown"]);
    let mut tx = store.begin().await.unwrap();
    remove_held(&mut tx).await.unwrap();
    show_message(&mut tx, held[2].id).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(texts(&store, &here).await, ["shown"]);
}
