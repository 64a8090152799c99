//! `logging`: what is logged.

use crate::choices::{LogFormat, LogLevel};
use crate::kind::Kind;
use crate::setting::section;
use crate::values::word;

section! {
    /// `logging`.
    #[derive(Clone, Copy, Debug)]
    pub struct LoggingConfig at "logging" {
        "level" => level: LogLevel {
            kind: Kind::Words(&["error", "warn", "info", "debug", "trace"]),
            default: "info",
            read: |values, path| word(values, path).unwrap_or(LogLevel::Info),
            doc: "The least severe line that is written to the log.",
        }
        "format" => format: LogFormat {
            kind: Kind::Words(&["auto", "json", "text"]),
            default: "auto",
            read: |values, path| word(values, path).unwrap_or(LogFormat::Auto),
            doc: "`json`: one object per line. `text`: for people. `auto`: text on a terminal, JSON otherwise.",
        }
    }
}
