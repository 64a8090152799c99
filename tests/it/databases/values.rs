//! Values go in and come out as they are.

use serde_json::{Value, json};

use super::{bench, bench_with};

#[tokio::test]
async fn rows_come_with_their_columns_and_changes_are_counted() {
    let bench = bench();
    let rows = bench.query_with("SELECT id, text FROM messages WHERE id > ? ORDER BY id", &json!([1])).await.unwrap();
    assert_eq!(rows, json!({"columns": ["id", "text"], "rows": [[2, "two"], [3, "three"]], "truncated": false}));
    let changed = bench.execute_with("INSERT INTO messages (text) VALUES (:text)", &json!({"text": "four"})).await;
    assert_eq!(changed.unwrap(), json!({"rows_affected": 1, "last_id": 4}));
    let changed = bench.execute("UPDATE messages SET size = length(text) WHERE id < 4").await.unwrap();
    assert_eq!(changed, json!({"rows_affected": 3, "last_id": null}));
    let changed = bench.execute("INSERT OR IGNORE INTO messages (id) VALUES (1)").await.unwrap();
    assert_eq!(changed, json!({"rows_affected": 0, "last_id": null}));
    assert_eq!(bench.value("SELECT sum(size) FROM messages").await, 11);
    let changed = bench.execute("WITH old AS (SELECT 4 AS id) DELETE FROM messages WHERE id IN old").await.unwrap();
    assert_eq!(changed["rows_affected"], 1);
    let nothing = bench.query("SELECT id, id FROM messages WHERE 0; -- the end").await.unwrap();
    assert_eq!(nothing, json!({"columns": ["id", "id"], "rows": [], "truncated": false}));
    bench.end().await;
}

#[tokio::test]
async fn a_list_of_statements_is_made_as_a_whole_or_not_at_all() {
    let bench = bench();
    let insert = "INSERT INTO uniques VALUES (?)";
    let done = bench.transaction(&[(insert, json!(["a"])), ("UPDATE uniques SET word = 'b'", json!([]))]).await;
    let results = json!([{"rows_affected": 1, "last_id": 1}, {"rows_affected": 1, "last_id": null}]);
    assert_eq!(done.unwrap(), json!({ "results": results }));
    for wrong in
        [("INSERT INTO uniques VALUES ('b')", "UNIQUE"), ("DROP TABLE uniques", "only rows"), ("COMMIT", "begun")]
    {
        let refused = bench.transaction(&[(insert, json!(["c"])), (wrong.0, json!([]))]).await.unwrap_err().to_string();
        assert!(refused.contains("statement 2: ") && refused.contains(wrong.1), "{refused}");
        assert_eq!(bench.value("SELECT group_concat(word) FROM uniques").await, "b");
    }
    assert!(bench.transaction(&[]).await.is_err());
    let many = vec![(insert, json!(["x"])); 1_001];
    assert!(bench.transaction(&many).await.unwrap_err().to_string().contains("1 to 1000"));
    bench.end().await;
}

#[tokio::test]
async fn values_stay_what_they_are() {
    let bench = bench();
    let values =
        json!([null, 9_007_199_254_740_993_i64, i64::MIN, 1.0, -0.5, "a\u{0}\"\\é\u{2028}", {"base64": "AAH/"}, ""]);
    let sql = "SELECT ?, ?, ?, ?, ?, ?, ?, ?";
    assert_eq!(bench.query_with(sql, &values).await.unwrap()["rows"][0], values);
    let kinds =
        bench.query_with("SELECT typeof(?1), typeof(?2), typeof(?3)", &json!([true, 1.0, {"base64": ""}])).await;
    assert_eq!(kinds.unwrap()["rows"][0], json!(["integer", "real", "blob"]));
    // No UTF-8 is no text.
    assert_eq!(bench.value("SELECT CAST(x'ff00' AS TEXT)").await, json!({"base64": "/wA="}));
    let answer = bench.databases.run(
        bench.plugin,
        "chat",
        plugbay::databases::Work::Query(super::statement("SELECT 9e999, -9e999, 0.0 * 9e999", &json!([]))),
        tokio::time::Instant::now() + super::PATIENCE,
    );
    assert!(answer.await.unwrap().get().contains("[[9e999,-9e999,null]]"));
    bench.end().await;
}

#[tokio::test]
async fn parameters_that_do_not_fit_are_refused_with_the_rule() {
    let bench = bench();
    for (sql, params, rule) in [
        ("SELECT ?", json!([]), "has 1 parameters, `params` has 0 values"),
        ("SELECT ?", json!([1, 2]), "`params` has 2 values"),
        ("SELECT :a", json!({"b": 1}), "no value for `a`"),
        ("SELECT :a", json!({"a": 1, "b": 1}), "`params` has 2 values"),
        ("SELECT ?", json!({"a": 1}), "without a name"),
        ("SELECT ?", json!([[1]]), "parameter 1: a list is no value"),
        ("SELECT ?", json!([{"x": 1}]), "parameter 1: an object is"),
        ("SELECT ?", json!([u64::MAX]), "beyond 64 bits"),
        ("SELECT ?", json!("x"), "`params` is a list"),
    ] {
        let refused = bench.query_with(sql, &params).await.unwrap_err().to_string();
        assert!(refused.contains(rule), "{sql} {params}: {refused}");
    }
    let named = bench.query_with("SELECT :a, @b, $c, :a", &json!({"a": 1, "b": 2, "c": 3})).await.unwrap();
    assert_eq!(named["rows"][0], json!([1, 2, 3, 1]));
    bench.end().await;
}

#[tokio::test]
async fn full_text_tables_and_views_of_the_operator_can_be_used() {
    let bench = bench();
    let found = bench.query("SELECT body, highlight(notes, 0, '<', '>') FROM notes WHERE notes MATCH 'pear'").await;
    assert_eq!(found.unwrap()["rows"], json!([["green pear", "green <pear>"]]));
    bench.execute("INSERT INTO notes VALUES ('blue plum')").await.unwrap();
    assert_eq!(bench.value("SELECT count(*) FROM notes('plum')").await, 1);
    assert_eq!(bench.value("SELECT count(*) FROM short").await, 3);
    assert_eq!(bench.value("SELECT sum(value) FROM json_each('[1,2]')").await, 3);
    let plan = bench.query("EXPLAIN QUERY PLAN SELECT * FROM messages").await.unwrap();
    assert!(plan["rows"][0].to_string().contains("SCAN"));
    bench.end().await;
}

#[tokio::test]
async fn what_does_not_fit_is_left_out_and_said() {
    let bench = bench_with(|limits| {
        limits.rows = 2;
        limits.result_bytes = 4_096;
    });
    let rows = bench.query("SELECT id FROM messages ORDER BY id").await.unwrap();
    assert_eq!((&rows["rows"], &rows["truncated"]), (&json!([[1], [2]]), &json!(true)));
    let rows = bench.query("SELECT id FROM messages ORDER BY id LIMIT 2").await.unwrap();
    assert_eq!((&rows["rows"], &rows["truncated"]), (&json!([[1], [2]]), &json!(false)));
    for (value, fits) in [("hex(zeroblob(1900))", true), ("hex(zeroblob(2100))", false), ("zeroblob(3200)", false)] {
        let rows = bench.query(&format!("SELECT {value}")).await.unwrap();
        assert_eq!((rows["rows"].as_array().unwrap().len(), &rows["truncated"]), (usize::from(fits), &json!(!fits)));
    }
    let wide = (0..3_000).map(|_| "1").collect::<Vec<_>>().join("+");
    assert!(bench.query(&format!("SELECT {wide}")).await.is_err(), "too deep");
    let long = format!("SELECT 1 AS \"{}\"", "n".repeat(5_000));
    assert_eq!(bench.query(&long).await.unwrap_err().code().as_str(), "database-limit");
    assert_eq!(bench.value("SELECT 1").await, Value::from(1));
    bench.end().await;
}
