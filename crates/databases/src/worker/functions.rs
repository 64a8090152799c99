//! The functions of SQL that statements may use: those that compute, none that reach out of the database.

/// In alphabetical order.
#[rustfmt::skip]
const OFFERED: &[&str] = &[
    "->", "->>", "abs", "avg", "bm25", "changes", "char", "coalesce", "concat", "concat_ws", "count", "cume_dist",
    "current_date", "current_time", "current_timestamp", "date", "datetime", "dense_rank", "first_value", "format",
    "glob", "group_concat", "hex", "highlight", "if", "ifnull", "iif", "instr", "json", "json_array",
    "json_array_length", "json_error_position", "json_extract", "json_group_array", "json_group_object",
    "json_insert", "json_object", "json_patch", "json_pretty", "json_quote", "json_remove", "json_replace",
    "json_set", "json_type", "json_valid", "jsonb", "jsonb_array", "jsonb_extract", "jsonb_group_array",
    "jsonb_group_object", "jsonb_insert", "jsonb_object", "jsonb_patch", "jsonb_remove", "jsonb_replace", "jsonb_set",
    "julianday", "lag", "last_insert_rowid", "last_value", "lead", "length", "like", "likelihood", "likely", "lower",
    "ltrim", "match", "max", "min", "nth_value", "ntile", "nullif", "octet_length", "offsets", "percent_rank",
    "printf", "quote", "random", "randomblob", "rank", "replace", "round", "row_number", "rtrim", "sign", "snippet",
    "soundex", "sqlite_version", "strftime", "string_agg", "substr", "substring", "subtype", "sum", "time",
    "timediff", "total", "total_changes", "trim", "typeof", "unhex", "unicode", "unistr", "unistr_quote", "unixepoch",
    "unlikely", "upper", "zeroblob",
];

pub(super) fn is_offered(name: &str) -> bool {
    OFFERED.binary_search(&name.to_ascii_lowercase().as_str()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_of_this_sqlite_was_decided_about() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        let mut statement = connection.prepare("SELECT DISTINCT name FROM pragma_function_list ORDER BY 1").unwrap();
        let names = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        let closed: Vec<String> = names.map(Result::unwrap).filter(|name| !is_offered(name)).collect();
        let decided = [
            "fts3_tokenizer",
            "fts5",
            "fts5_get_locale",
            "fts5_insttoken",
            "fts5_locale",
            "fts5_source_id",
            "load_extension",
            "matchinfo",
            "optimize",
            "rtreecheck",
            "rtreedepth",
            "rtreenode",
            "sqlite_compileoption_get",
            "sqlite_compileoption_used",
            "sqlite_log",
            "sqlite_source_id",
        ];
        assert_eq!(closed, decided);
        assert!(OFFERED.is_sorted());
    }
}
