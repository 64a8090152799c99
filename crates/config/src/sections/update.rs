//! `update`: how new versions take over.

use std::time::Duration;

use crate::kind::Kind;
use crate::setting::section;
use crate::values::{number, seconds, size};

section! {
    /// `update`.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub struct UpdateConfig at "update" {
        "watch_seconds" => watch: Duration {
            kind: Kind::Whole(0, 86_400),
            default: 60,
            read: seconds,
            doc: "Seconds in which a new version goes back by itself when it ends or fails too often, with everything that the plugin keeps. 0: never.",
        }
        "max_error_rate" => max_error_rate: f64 {
            kind: Kind::Number(0.0, 1.0),
            default: 0.5,
            read: number,
            doc: "Share of its calls that a new version may fail (raised, timed out, crashed) while it is watched, once it had five.",
        }
        "keep_versions" => keep_versions: usize {
            kind: Kind::Whole(2, 100),
            default: 3,
            read: size,
            doc: "Versions of each plugin that are kept, with the one that serves: what `rollback` can go back to.",
        }
    }
}
