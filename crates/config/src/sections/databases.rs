//! `databases`: what a statement of a plugin may take from the operator's databases.

use std::path::PathBuf;
use std::time::Duration;

use crate::kind::Kind;
use crate::setting::{MIB, section};
use crate::values::{kib_size, mib, seconds, size};

section! {
    /// `databases`.
    #[derive(Clone, Debug)]
    pub struct DatabaseLimits at "databases" {
        "rows" => rows: usize {
            kind: Kind::Whole(1, 1_000_000),
            default: 10_000,
            read: size,
            doc: "Rows of one answer to `db.query`. Further ones are left out, and the answer says `truncated`.",
        }
        "result_kb" => result_bytes: usize {
            kind: Kind::Whole(1, 3_072),
            default: 1_024,
            read: kib_size,
            doc: "KiB of one answer to `db.query` as JSON, and never more than fits in `limits.message_bytes`. Rows from the first that does not fit are left out, and the answer says `truncated`.",
        }
        "seconds" => time: Duration {
            kind: Kind::Whole(1, 3_600),
            default: 10,
            read: seconds,
            doc: "Seconds for one `db.query` or `db.execute`, waiting for a lock included; never more than the call it serves has left. Longer ones are stopped: `database-timeout`.",
        }
        "memory_mb" => memory_bytes: u64 {
            kind: Kind::Whole(16, 65_536),
            default: 64,
            read: mib,
            doc: "MiB of memory for one statement, sorting and grouping included. More is refused: `database-limit`.",
        }
        "file_mb" => file_bytes: u64 {
            kind: MIB,
            default: 4_096,
            read: mib,
            doc: "MiB that a database may grow to by `db.execute`: `database-limit`. One that is larger already stays usable and does not grow.",
        }
        "workers" => workers: usize {
            kind: Kind::Whole(1, 1_000),
            default: 16,
            read: size,
            doc: "Processes that hold databases open at one time: one for each plugin, database and kind of access in use, ended after a minute without work. More wait for one that is idle, then get `unavailable`.",
        }
        beside {
            /// How long a process stays without work.
            idle: Duration = Duration::from_mins(1),
            /// What is started as `plugbay db-worker`: this program. Only a test, which is another program, names it.
            program: PathBuf = PathBuf::from("/proc/self/exe"),
        }
    }
}
