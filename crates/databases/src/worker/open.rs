//! Opens the one file, and nothing that is not it.

use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

use super::super::file;
use super::judge::Judge;
use super::run::Bench;
use super::trouble::Failure;
use super::watch::WATCH;
use super::{super::message::Trouble, Hello};

/// What SQLite may take for one statement, where the defaults are far more than anybody writes by hand.
const LIMITS: &[(Limit, i32)] = &[
    // A text, a blob or a row.
    (Limit::SQLITE_LIMIT_LENGTH, 16 << 20),
    (Limit::SQLITE_LIMIT_SQL_LENGTH, 256 << 10),
    (Limit::SQLITE_LIMIT_EXPR_DEPTH, 200),
    (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 100),
    (Limit::SQLITE_LIMIT_VDBE_OP, 250_000),
    (Limit::SQLITE_LIMIT_FUNCTION_ARG, 100),
    (Limit::SQLITE_LIMIT_ATTACHED, 0),
    (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1_000),
    (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, 2_000),
    (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 64),
    (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
];

/// Instructions of SQLite's machine between two looks at the clock.
const STEPS: i32 = 2_000;

pub(super) fn open(hello: &Hello) -> Result<Bench, Failure> {
    let failed = |text: String| Failure::new(Trouble::Failed, text);
    let path = &hello.path;
    let folder = path.parent().ok_or_else(|| failed(format!("`{}` is in no folder", path.display())))?;
    let folder = folder.canonicalize().map_err(|error| failed(format!("`{}`: {error}", folder.display())))?;
    let real = folder.join(path.file_name().unwrap_or_default());
    let access = if hello.writes { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
    // Without CREATE, so that a missing file stays missing; the folders are spelled out, so NOFOLLOW is about the file.
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(&real, flags)
        .map_err(|error| failed(format!("`{}` cannot be opened: {error}", path.display())))?;
    // Whoever may write to the folder may have put another file there since the service looked.
    let found = file::identify(&real).map_err(|problem| failed(problem.to_string()))?;
    if found != hello.identity {
        return Err(failed(format!("`{}` was replaced while it was opened", path.display())));
    }
    harden(&connection, hello)?;
    let judge = Judge::new(hello.writes);
    judge.attach(&connection)?;
    Ok(Bench::new(connection, judge, hello))
}

fn harden(connection: &Connection, hello: &Hello) -> Result<(), Failure> {
    connection.busy_handler(Some(wait_for_lock))?;
    connection.progress_handler(STEPS, Some(|| WATCH.is_over()))?;
    for (config, wanted) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, false),
        (DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, false),
        // "text" in double quotes is a column, never a text that was misspelled.
        (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
    ] {
        connection.set_db_config(config, wanted)?;
    }
    for (limit, most) in LIMITS {
        connection.set_limit(*limit, *most)?;
    }
    // What SQLite spills goes to memory, which is limited, and never to a file.
    connection.execute_batch("PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON;")?;
    connection.execute_batch(&format!("PRAGMA hard_heap_limit = {};", hello.memory_bytes))?;
    if hello.writes {
        let page: u32 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        let pages = hello.file_bytes / u64::from(page.max(1));
        connection.execute_batch(&format!("PRAGMA max_page_count = {pages};"))?;
    } else {
        connection.execute_batch("PRAGMA query_only = ON;")?;
    }
    Ok(())
}

/// Called again and again while somebody else holds the lock.
fn wait_for_lock(count: i32) -> bool {
    if WATCH.is_over() {
        return false;
    }
    let pause = u64::try_from(count.clamp(1, 25)).unwrap_or(1);
    std::thread::sleep(Duration::from_millis(pause));
    true
}
