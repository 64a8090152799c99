//! The keys of `databases`: what a statement of a plugin may take from the operator's databases.

use serde_json::json;

use super::kind::Kind;
use super::setting::{MIB, Setting, setting};

/// In the order of the documentation.
pub(super) const DATABASE_SETTINGS: &[Setting] = &[
    setting(
        "databases.rows",
        Kind::Whole(1, 1_000_000),
        || json!(10_000),
        "Rows of one answer to `db.query`. Further ones are left out, and the answer says `truncated`.",
    ),
    setting(
        "databases.result_kb",
        Kind::Whole(1, 3_072),
        || json!(1_024),
        "KiB of one answer to `db.query` as JSON, and never more than fits in `limits.message_bytes`. Rows from the first that does not fit are left out, and the answer says `truncated`.",
    ),
    setting(
        "databases.seconds",
        Kind::Whole(1, 3_600),
        || json!(10),
        "Seconds for one `db.query` or `db.execute`, waiting for a lock included; never more than the call it serves has left. Longer ones are stopped: `database-timeout`.",
    ),
    setting(
        "databases.memory_mb",
        Kind::Whole(16, 65_536),
        || json!(64),
        "MiB of memory for one statement, sorting and grouping included. More is refused: `database-limit`.",
    ),
    setting(
        "databases.file_mb",
        MIB,
        || json!(4_096),
        "MiB that a database may grow to by `db.execute`: `database-limit`. One that is larger already stays usable and does not grow.",
    ),
    setting(
        "databases.workers",
        Kind::Whole(1, 1_000),
        || json!(16),
        "Processes that hold databases open at one time: one for each plugin, database and kind of access in use, ended after a minute without work. More wait for one that is idle, then get `unavailable`.",
    ),
];
