//! SQL that wants more than rows.

use std::fs;
use std::os::unix::fs::symlink;

use rusqlite::Connection;
use serde_json::json;

use super::{Work, bench, statement};

#[tokio::test]
async fn statements_that_want_more_than_rows_are_refused_and_change_nothing() {
    let bench = bench();
    let folder = bench.folder.path().display().to_string();
    Connection::open(bench.folder.path().join("other.db")).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    let before = (fs::read(bench.path()).unwrap(), fs::read_dir(&folder).unwrap().count());
    let statements = [
        format!("ATTACH '{folder}/other.db' AS other"),
        format!("ATTACH 'file:{folder}/new.db?mode=rwc' AS other"),
        "ATTACH ':memory:' AS other".to_owned(),
        "DETACH main".to_owned(),
        "PRAGMA writable_schema = ON".to_owned(),
        "PRAGMA journal_mode = WAL".to_owned(),
        "PRAGMA query_only = OFF".to_owned(),
        "PRAGMA hard_heap_limit = 0".to_owned(),
        "PRAGMA temp_store_directory = '/tmp'".to_owned(),
        "PRAGMA table_info('messages')".to_owned(),
        "PRAGMA data_version = 1".to_owned(),
        "SELECT * FROM pragma_table_info('messages')".to_owned(),
        "SELECT * FROM pragma_database_list".to_owned(),
        "SELECT load_extension('/lib/x.so')".to_owned(),
        "SELECT readfile('/etc/passwd')".to_owned(),
        format!("SELECT writefile('{folder}/new', 'x')"),
        "SELECT edit('x')".to_owned(),
        "SELECT fts3_tokenizer('simple', x'00')".to_owned(),
        "SELECT sqlite_compileoption_get(0)".to_owned(),
        "SELECT * FROM dbstat".to_owned(),
        "SELECT * FROM sqlite_dbpage".to_owned(),
        "VACUUM".to_owned(),
        format!("VACUUM INTO '{folder}/new.db'"),
        format!("VACUUM main INTO 'file:{folder}/new.db'"),
        "BEGIN".to_owned(),
        "COMMIT".to_owned(),
        "SAVEPOINT s".to_owned(),
        "CREATE TABLE t (a)".to_owned(),
        "CREATE TABLE t AS SELECT 1".to_owned(),
        "CREATE TEMP TABLE t (a)".to_owned(),
        "CREATE VIEW v AS SELECT 1".to_owned(),
        "CREATE TEMP VIEW v AS SELECT 1".to_owned(),
        "CREATE TRIGGER t AFTER INSERT ON messages BEGIN SELECT 1; END".to_owned(),
        "CREATE INDEX i ON messages (text)".to_owned(),
        "CREATE VIRTUAL TABLE v USING fts5(a)".to_owned(),
        "CREATE VIRTUAL TABLE temp.v USING fts5vocab('main', 'notes', 'row')".to_owned(),
        "DROP TABLE messages".to_owned(),
        "DROP VIEW short".to_owned(),
        "ALTER TABLE messages RENAME TO m".to_owned(),
        "ALTER TABLE messages ADD COLUMN c".to_owned(),
        "ANALYZE".to_owned(),
        "REINDEX".to_owned(),
        "UPDATE sqlite_master SET sql = 'x'".to_owned(),
        "UPDATE sqlite_schema SET sql = 'x' WHERE name = 'messages'".to_owned(),
        "INSERT INTO sqlite_master VALUES ('table', 't', 't', 2, 'CREATE TABLE t (a)')".to_owned(),
        "DELETE FROM notes_data".to_owned(),
        "INSERT INTO messages (text) VALUES ('x') RETURNING id".to_owned(),
        "UPDATE messages SET text = 'x' RETURNING text".to_owned(),
        "EXPLAIN DELETE FROM messages".to_owned(),
        "DELETE FROM uniques; DELETE FROM messages".to_owned(),
        "SELECT 1; DELETE FROM messages".to_owned(),
        "SELECT 1 /* ; */; SELECT 2".to_owned(),
        "DELETE FROM messages -- \u{0}\n WHERE 0".to_owned(),
        "SELECT 1\u{0}; DROP TABLE messages".to_owned(),
        String::new(),
        " -- nothing\n/* at all */ ;; ".to_owned(),
        "SELECT \"no such column\"".to_owned(),
        "SELECT".to_owned(),
        "DELETE FROM messages; \u{0}".to_owned(),
        ".open /etc/passwd".to_owned(),
    ];
    for sql in &statements {
        for result in [bench.query(sql).await, bench.execute(sql).await, bench.transaction(&[(sql, json!([]))]).await] {
            let error = result.expect_err(sql);
            assert_eq!(error.code().as_str(), "database-refused", "{sql}: {error}");
        }
    }
    let after = (fs::read(bench.path()).unwrap(), fs::read_dir(&folder).unwrap().count());
    assert!(before == after, "something was changed");
    bench.end().await;
}

/// Every full-text table has a hidden column of its own name; what is inserted there is a command.
#[tokio::test]
async fn indexes_take_rows_and_no_commands() {
    let bench = bench();
    let before = fs::read(bench.path()).unwrap();
    for sql in [
        "insert into notes(notes, rank) values('rank', 'bm25(10)')",
        "INSERT INTO main.NOTES(\"Notes\") VALUES('rebuild')",
        "INSERT INTO notes AS n([notes]) VALUES('optimize')",
        "REPLACE INTO `notes`(`notes`) VALUES('integrity-check')",
        "INSERT/**/INTO--\nnotes(rank,'notes') SELECT 'bm25(10)', 'rank'",
    ] {
        for result in [bench.execute(sql).await, bench.transaction(&[(sql, json!([]))]).await] {
            let error = result.expect_err(sql);
            assert!(error.to_string().contains("never commands to its index"), "{sql}: {error}");
        }
    }
    assert!(before == fs::read(bench.path()).unwrap(), "something was changed");
    bench.execute("INSERT INTO notes(body) VALUES ('notes of notes')").await.unwrap();
    assert_eq!(bench.value("SELECT count(*) FROM notes").await, 3);
    bench.end().await;
}

#[tokio::test]
async fn queries_change_nothing_and_changes_read_nothing_back() {
    let bench = bench();
    for sql in [
        "INSERT INTO messages (text) VALUES ('x')",
        "REPLACE INTO messages (id, text) VALUES (1, 'x')",
        "UPDATE messages SET text = 'x'",
        "DELETE FROM messages",
        "WITH x AS (SELECT 'x' AS t) INSERT INTO messages (text) SELECT t FROM x",
        "DELETE FROM messages RETURNING id",
        "INSERT INTO notes(notes) VALUES ('rebuild')",
        "EXPLAIN UPDATE messages SET text = 'x'",
    ] {
        let error = bench.query(sql).await.expect_err(sql).to_string();
        assert!(error.contains("db.query"), "{sql}: {error}");
    }
    for sql in ["SELECT 1", "VALUES (1)", "WITH x AS (SELECT 1) SELECT * FROM x", "EXPLAIN SELECT 1"] {
        let error = bench.execute(sql).await.expect_err(sql).to_string();
        assert!(error.contains("db.execute"), "{sql}: {error}");
        bench.query(sql).await.unwrap();
    }
    assert_eq!(bench.value("SELECT group_concat(text) FROM messages").await, "one,two,three");
    bench.end().await;
}

#[tokio::test]
async fn refusals_name_the_rule() {
    let bench = bench();
    for (sql, rule) in [
        ("PRAGMA user_version", "PRAGMA is not allowed"),
        ("ATTACH 'x' AS y", "no other file is opened: ATTACH, DETACH and VACUUM are not allowed"),
        ("SELECT load_extension('x')", "the function `load_extension` is not offered"),
        ("CREATE TABLE t (a)", "only rows are changed, never tables, views, triggers or indexes"),
        ("BEGIN", "transactions are not begun by statements; a list of statements is one"),
        ("SELECT 1; SELECT 2", "one statement is run at a time; db.execute takes a list of them"),
        ("DELETE FROM messages", "db.query only reads; db.execute changes rows"),
        ("SELECT * FROM nowhere", "no such table: nowhere"),
    ] {
        assert_eq!(bench.query(sql).await.unwrap_err().to_string(), rule, "{sql}");
    }
    bench.end().await;
}

#[tokio::test]
async fn only_the_named_file_itself_is_opened() {
    let bench = bench();
    let missing = |name: &'static str| bench.run(name, Work::Query(statement("SELECT 1", &json!([]))), super::PATIENCE);
    let unknown = missing("crm").await.unwrap_err();
    assert_eq!(unknown.code().as_str(), "database-unknown");
    assert!(unknown.to_string().contains("`crm`") && unknown.to_string().contains("resources.databases"), "{unknown}");

    symlink(bench.path(), bench.folder.path().join("link.db")).unwrap();
    fs::create_dir(bench.folder.path().join("folder.db")).unwrap();
    for name in ["missing", "link", "folder"] {
        let failed = missing(name).await.unwrap_err();
        assert_eq!(failed.code().as_str(), "database-failed", "{name}");
        let text = failed.to_string();
        assert_eq!(text, format!("the database `{name}` cannot be used; the service's log says why"));
    }
    assert!(!bench.folder.path().join("missing.db").exists(), "nothing is made");

    // What takes the place of the file while a worker holds it is not believed either.
    assert_eq!(bench.value("SELECT count(*) FROM messages").await, 3);
    let secret = bench.folder.path().join("secret.db");
    Connection::open(&secret).unwrap().execute_batch("CREATE TABLE messages (a)").unwrap();
    fs::rename(bench.path(), bench.folder.path().join("aside")).unwrap();
    symlink(&secret, bench.path()).unwrap();
    assert_eq!(bench.query("SELECT count(*) FROM messages").await.unwrap_err().code().as_str(), "database-failed");
    fs::remove_file(bench.path()).unwrap();
    // A restored backup is.
    fs::rename(&secret, bench.path()).unwrap();
    assert_eq!(bench.value("SELECT count(*) FROM messages").await, 0);
    fs::write(bench.path(), "no database at all, but long enough to be looked at by SQLite").unwrap();
    assert_eq!(bench.query("SELECT count(*) FROM messages").await.unwrap_err().code().as_str(), "database-failed");
    bench.end().await;
}
