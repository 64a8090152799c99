//! Walking the chain, and comparing the registry with what it says.

use sqlx::SqliteConnection;

use super::registered::Registered;
use super::{AuditKey, Head, batch_after, sealed_head};
use crate::{Store, StoreError};

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every row fits.
    Whole(Head),
    /// The first thing that does not fit.
    Broken(String),
}

impl Store {
    /// Verifies the log as it is at one moment, however much is written meanwhile, and the file beside the database.
    pub async fn verify_audit(&self, key: &AuditKey, expected: Option<&Head>) -> Result<Verdict, StoreError> {
        // Read first: the log that is looked at then has this row, or was cut off.
        let file = self.head_file().read().map_err(|error| StoreError::Query(error.into()))?;
        let mut reader = self.reader().await?;
        let mut moment = sqlx::Connection::begin(&mut *reader).await?;
        let (last, registered) = match walk(&mut moment, key, expected).await? {
            Walked::ToTheEnd(last, registered) => (last, registered),
            Walked::Broken(found) => return Ok(Verdict::Broken(found)),
        };
        let found = match file.as_deref().map(|line| key.sealed(line)) {
            Some(Some(noted)) if has_row(&mut moment, &noted).await? => None,
            Some(Some(noted)) => Some(format!("rows were cut off: the file `audit.head` names row {}", noted.seq)),
            Some(None) => Some("the file `audit.head` was not written by this service".to_owned()),
            None => registered.is_some().then(|| "the file `audit.head` is missing".to_owned()),
        };
        // Both are told: the file alone says nothing of what is there now.
        Ok(match (found, compare(&mut moment, last, registered).await?) {
            (None, verdict) => verdict,
            (Some(found), Verdict::Whole(_)) => Verdict::Broken(found),
            (Some(found), Verdict::Broken(differs)) => Verdict::Broken(format!("{found}; {differs}")),
        })
    }
}

/// How far a walk came.
enum Walked {
    /// To the head, with what the rows list of the registry; nothing if none of them lists anything.
    ToTheEnd(Head, Option<Registered>),
    /// The first thing that does not fit.
    Broken(String),
}

async fn has_row(connection: &mut SqliteConnection, head: &Head) -> Result<bool, StoreError> {
    let hash = sqlx::query_scalar!("SELECT hash FROM audit WHERE seq = ?", head.seq).fetch_optional(connection).await?;
    Ok(hash.as_deref() == Some(&head.hash))
}

/// Walks the whole chain, and compares the registry with it. `expected` is a head noted down earlier, which must still be
/// part of it.
pub async fn verify(
    connection: &mut SqliteConnection,
    key: &AuditKey,
    expected: Option<&Head>,
) -> Result<Verdict, StoreError> {
    match walk(connection, key, expected).await? {
        Walked::ToTheEnd(last, registered) => compare(connection, last, registered).await,
        Walked::Broken(found) => Ok(Verdict::Broken(found)),
    }
}

async fn compare(
    connection: &mut SqliteConnection,
    last: Head,
    registered: Option<Registered>,
) -> Result<Verdict, StoreError> {
    let Some(registered) = registered else { return Ok(Verdict::Whole(last)) };
    Ok(registered.differences(connection).await?.map_or(Verdict::Whole(last), Verdict::Broken))
}

async fn walk(
    connection: &mut SqliteConnection,
    key: &AuditKey,
    expected: Option<&Head>,
) -> Result<Walked, StoreError> {
    let mut last = Head { seq: 0, hash: String::new() };
    let mut registered: Option<Registered> = None;
    let mut expected_found = expected.is_none();
    loop {
        let rows = batch_after(connection, last.seq).await?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            if row.seq != last.seq + 1 {
                return Ok(Walked::Broken(format!("row {} is missing", last.seq + 1)));
            }
            if key.link_of(&last.hash, &row) != row.hash {
                return Ok(Walked::Broken(format!("row {} does not match its hash", row.seq)));
            }
            match (&row.changes, &mut registered) {
                (Some(changes), registered) => {
                    let followed = registered.get_or_insert_default().follow(row.seq, changes);
                    followed.map_err(|error| StoreError::bad_row("audit", row.seq, error))?;
                }
                (None, None) => {}
                (None, Some(_)) => return Ok(Walked::Broken(format!("row {} does not list what it wrote", row.seq))),
            }
            last = Head { seq: row.seq, hash: row.hash };
            expected_found |= expected == Some(&last);
        }
    }
    match sealed_head(connection).await? {
        // The first start of a service writes a row, so an empty chain was emptied.
        None => return Ok(Walked::Broken("the head of the chain is missing".to_owned())),
        Some((head, _)) if head != last => {
            return Ok(Walked::Broken(format!(
                "the chain ends with row {}, its head names row {}",
                last.seq, head.seq
            )));
        }
        Some((head, seal)) if key.seal(&head) != seal => {
            return Ok(Walked::Broken(format!("rows after row {} were cut off, or the head was rewritten", head.seq)));
        }
        Some(_) => {}
    }
    if !expected_found {
        let expected = expected.map(ToString::to_string).unwrap_or_default();
        return Ok(Walked::Broken(format!("the chain does not contain the expected row {expected}")));
    }
    Ok(Walked::ToTheEnd(last, registered))
}

/// How many of the first rows a restore took over as found, without the key that they were written with. The row that says
/// so is a part of the chain.
pub async fn taken_over(connection: &mut SqliteConnection) -> Result<Option<i64>, StoreError> {
    let seq = sqlx::query_scalar!(
        "SELECT seq
         FROM audit
         WHERE action = 'system.restored' AND detail ->> '$.audit' = 'taken_over'
         ORDER BY seq DESC
         LIMIT 1"
    )
    .fetch_optional(connection)
    .await?;
    Ok(seq.map(|seq| seq - 1))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{NewEntry, Row, append, lists_too_little, store_head};
    use super::*;
    use crate::Missing;
    use plugbay_domain::Timestamp;

    fn entry(at: i64) -> NewEntry {
        let (at, actor) = (Timestamp::from_millis(at).unwrap(), "service".to_owned());
        NewEntry { at, actor, action: "system.recorded", plugin: None, detail: json!({}), request_id: None }
    }

    const FLOOR: &str = "INSERT INTO floors (name, version, ever_signed) VALUES ('x', '1.0.0', 0)";

    /// As versions wrote it whose rows listed nothing.
    async fn old_log(store: &Store, key: &AuditKey) {
        let mut tx = store.begin().await.unwrap();
        sqlx::query(FLOOR).execute(&mut *tx).await.unwrap();
        let mut row = Row {
            seq: 1,
            at: 1,
            actor: "service".to_owned(),
            action: "service.initialized".to_owned(),
            plugin: None,
            detail: "{}".to_owned(),
            request_id: None,
            hash: String::new(),
            changes: None,
        };
        row.hash = key.link_of("", &row);
        sqlx::query("INSERT INTO audit (seq, at, actor, action, detail, hash) VALUES (1, 1, ?, ?, '{}', ?)")
            .bind(&row.actor)
            .bind(&row.action)
            .bind(&row.hash)
            .execute(&mut *tx)
            .await
            .unwrap();
        store_head(&mut tx, key, &Head { seq: 1, hash: row.hash }).await.unwrap();
        tx.commit().await.unwrap();
    }

    #[tokio::test]
    async fn a_log_from_before_it_listed_changes_is_whole_and_lists_everything_from_then_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugbay.db");
        let (store, key) = (Store::open(&path, Missing::Create).await.unwrap(), AuditKey::derive(&[7; 32]));
        old_log(&store, &key).await;
        store.close().await;
        // Another start: nothing is noted of what was there before.
        let store = Store::open(&path, Missing::Refuse).await.unwrap();
        assert!(matches!(store.verify_audit(&key, None).await.unwrap(), Verdict::Whole(_)));
        assert!(lists_too_little(&mut store.reader().await.unwrap()).await.unwrap());
        let mut tx = store.begin().await.unwrap();
        append(&mut tx, &key, &entry(2)).await.unwrap();
        tx.commit().await.unwrap();
        assert!(matches!(store.verify_audit(&key, None).await.unwrap(), Verdict::Whole(Head { seq: 2, .. })));
        let mut past = store.begin().await.unwrap();
        sqlx::query("DROP TRIGGER temp.floors_UPDATE").execute(&mut *past).await.unwrap();
        sqlx::query("UPDATE floors SET version = '0.1.0'").execute(&mut *past).await.unwrap();
        past.commit().await.unwrap();
        let found = store.verify_audit(&key, None).await.unwrap();
        assert_eq!(
            found,
            Verdict::Broken("row `x` of table `floors` is not what row 2 of the log recorded".to_owned())
        );
    }

    /// As versions wrote it that did not list snapshots.
    #[tokio::test]
    async fn a_log_from_before_it_listed_snapshots_is_whole_and_lists_them_from_then_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugbay.db");
        let (store, key) = (Store::open(&path, Missing::Create).await.unwrap(), AuditKey::derive(&[7; 32]));
        let mut tx = store.begin().await.unwrap();
        sqlx::raw_sql(
            "DROP TRIGGER temp.snapshots_INSERT;
             INSERT INTO plugins (id, name, status, serving, installed_at, updated_at) VALUES ('p', 'x', 'installed', '2.0.0', 1, 1);
             INSERT INTO snapshots (plugin_id, generation, version, taken_at) VALUES ('p', 0, '1.0.0', 1);",
        )
        .execute(&mut *tx)
        .await
        .unwrap();
        append(&mut tx, &key, &entry(1)).await.unwrap();
        // The same row without its mark.
        let mut row = super::super::batch_after(&mut tx, 0).await.unwrap().remove(0);
        row.changes = row.changes.map(|changes| changes.replace("[\"\",\"snapshots\",null],", ""));
        row.hash = key.link_of("", &row);
        sqlx::query("UPDATE audit SET changes = ?, hash = ?")
            .bind(&row.changes)
            .bind(&row.hash)
            .execute(&mut *tx)
            .await
            .unwrap();
        store_head(&mut tx, &key, &Head { seq: 1, hash: row.hash }).await.unwrap();
        tx.commit().await.unwrap();
        std::fs::remove_file(folder.path().join("audit.head")).ok();
        store.close().await;

        let store = Store::open(&path, Missing::Refuse).await.unwrap();
        let verdict = async |store: &Store| verify(&mut store.reader().await.unwrap(), &key, None).await.unwrap();
        assert!(matches!(verdict(&store).await, Verdict::Whole(Head { seq: 1, .. })));
        assert!(lists_too_little(&mut store.reader().await.unwrap()).await.unwrap());
        let mut tx = store.begin().await.unwrap();
        append(&mut tx, &key, &entry(2)).await.unwrap();
        tx.commit().await.unwrap();
        assert!(!lists_too_little(&mut store.reader().await.unwrap()).await.unwrap());
        assert!(matches!(verdict(&store).await, Verdict::Whole(Head { seq: 2, .. })));
        let mut past = store.begin().await.unwrap();
        sqlx::raw_sql("DROP TRIGGER temp.snapshots_UPDATE; UPDATE snapshots SET version = '0.1.0';")
            .execute(&mut *past)
            .await
            .unwrap();
        past.commit().await.unwrap();
        let told = "row `p` of table `snapshots` is not what row 2 of the log recorded".to_owned();
        assert_eq!(verdict(&store).await, Verdict::Broken(told));
    }

    #[tokio::test]
    async fn what_is_undone_is_not_listed_and_what_was_not_reported_is_listed_by_the_next_row() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("plugbay.db"), Missing::Create).await.unwrap();
        let key = AuditKey::derive(&[7; 32]);
        let mut undone = store.begin().await.unwrap();
        sqlx::query(FLOOR).execute(&mut *undone).await.unwrap();
        append(&mut undone, &key, &entry(1)).await.unwrap();
        drop(undone);
        let mut tx = store.begin().await.unwrap();
        append(&mut tx, &key, &entry(2)).await.unwrap();
        tx.commit().await.unwrap();
        let mut unreported = store.begin().await.unwrap();
        sqlx::query(FLOOR).execute(&mut *unreported).await.unwrap();
        unreported.commit().await.unwrap();
        assert!(matches!(store.verify_audit(&key, None).await.unwrap(), Verdict::Broken(_)));
        let mut tx = store.begin().await.unwrap();
        append(&mut tx, &key, &entry(3)).await.unwrap();
        tx.commit().await.unwrap();
        assert!(matches!(store.verify_audit(&key, None).await.unwrap(), Verdict::Whole(Head { seq: 2, .. })));
    }
}
