//! Looks for commands to a full-text index in an INSERT.
//!
//! Every FTS table has a hidden column with its own name. What is inserted there is no row but a command, which changes
//! the index for the operator's programs as well: `INSERT INTO notes(notes, rank) VALUES('rank', 'bm25(10)')`. SQLite's
//! authorizer is told of the table only, so the list of columns is read here.

use rusqlite::{Connection, OptionalExtension as _};

/// Tells whether the statement inserts into the column that is named like its table, of a table that a module makes.
pub(super) fn gives_command(connection: &Connection, sql: &str, table: &str) -> rusqlite::Result<bool> {
    let made_by_module =
        "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND rootpage = 0 AND name = ?1 COLLATE NOCASE";
    let is_virtual = connection.query_row(made_by_module, [table], |_| Ok(())).optional()?.is_some();
    Ok(is_virtual && names_again(sql, table))
}

/// Whether the table's name stands a second time between `INTO` and the values, in any quotes.
fn names_again(sql: &str, table: &str) -> bool {
    let mut names = 0;
    let mut is_behind_into = false;
    for word in Words(sql) {
        let is = |keyword: &str| !word.is_quoted && word.text.eq_ignore_ascii_case(keyword);
        if !is_behind_into {
            is_behind_into = is("INTO");
        } else if is("VALUES") || is("SELECT") || is("WITH") || is("DEFAULT") {
            break;
        } else if word.text.eq_ignore_ascii_case(table) {
            names += 1;
        }
    }
    names > 1
}

/// A name, a keyword, or a text, without its quotes.
struct Word {
    text: String,
    is_quoted: bool,
}

/// The words of a statement; comments and everything else between them are left out.
struct Words<'a>(&'a str);

impl Iterator for Words<'_> {
    type Item = Word;

    fn next(&mut self) -> Option<Word> {
        loop {
            let mut characters = self.0.chars();
            let first = characters.next()?;
            let rest = characters.as_str();
            if let Some(comment) = self.0.strip_prefix("--") {
                self.0 = comment.split_once('\n').map_or("", |(_, rest)| rest);
            } else if let Some(comment) = self.0.strip_prefix("/*") {
                self.0 = comment.split_once("*/").map_or("", |(_, rest)| rest);
            } else if let Some(end) = closing(first) {
                let (text, rest) = quoted(rest, end);
                self.0 = rest;
                return Some(Word { text, is_quoted: true });
            } else if is_of_word(first) {
                let end = self.0.find(|character| !is_of_word(character)).unwrap_or(self.0.len());
                let (text, rest) = self.0.split_at(end);
                self.0 = rest;
                return Some(Word { text: text.to_owned(), is_quoted: false });
            } else {
                self.0 = rest;
            }
        }
    }
}

const fn closing(quote: char) -> Option<char> {
    match quote {
        '"' | '\'' | '`' => Some(quote),
        '[' => Some(']'),
        _ => None,
    }
}

/// What stands up to the closing quote, which is doubled to stand for itself, and what follows.
fn quoted(text: &str, end: char) -> (String, &str) {
    let (mut found, mut rest) = (String::new(), text);
    while let Some((part, after)) = rest.split_once(end) {
        found.push_str(part);
        match after.strip_prefix(end) {
            Some(after) if end != ']' => {
                found.push(end);
                rest = after;
            }
            _ => return (found, after),
        }
    }
    (found + rest, "")
}

fn is_of_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '$') || !character.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_column_of_commands_is_found_in_whatever_quotes() {
        for sql in [
            "insert into ft(ft, rank) values('rank','bm25(10)')",
            "INSERT INTO ft(rank, FT) SELECT 'rank', 'x'",
            "insert into main.ft(\"ft\") values('rebuild')",
            "insert into [ft]([ft]) values('rebuild')",
            "insert into `ft`(`ft`) values('rebuild')",
            "insert into 'ft'('ft') values('rebuild')",
            "insert/**/into--\nft/*(*/(/* x */ft)values('rebuild')",
            "with x as (select 1 into) insert into ft as f(ft) values('rebuild')",
            "replace into ft(ft) values('optimize')",
        ] {
            assert!(names_again(sql, "ft"), "{sql}");
        }
        for sql in [
            "insert into ft values('ft')",
            "insert into ft(body) values('ft ft')",
            "insert into ft(body) select ft from ft",
            "insert into ft(\"f\"\"t\") values(1)",
            "insert into ft(ft2, ft_) values(1, 2) -- ft",
        ] {
            assert!(!names_again(sql, "ft"), "{sql}");
        }
    }
}
