//! `health`: how plugins are watched.

use std::time::Duration;

use crate::kind::Kind;
use crate::setting::section;
use crate::values::seconds;

section! {
    /// `health`.
    #[derive(Clone, Copy, Debug)]
    pub struct HealthConfig at "health" {
        "interval_seconds" => interval: Duration {
            kind: Kind::Whole(1, 86_400),
            default: 30,
            read: seconds,
            doc: "Seconds between two health questions to a plugin. Its answer is shown and ends nothing.",
        }
    }
}
