//! `chat`: what passes between people and models, and how long its parts may take.

use std::time::Duration;

use crate::choices::ChatRecord;
use crate::kind::Kind;
use crate::setting::section;
use crate::values::{Values, mib_size, seconds, size, whole, word};

section! {
    /// `chat`.
    #[derive(Clone, Debug)]
    pub struct ChatConfig at "chat" {
        "request_mb" => request_bytes: usize {
            kind: Kind::Whole(1, 1_024),
            default: 16,
            read: mib_size,
            doc: "MiB of one request to a model, with its pictures and its history. A longer one is refused (413).",
        }
        "exchanges_at_once" => exchanges_at_once: usize {
            kind: Kind::Whole(2, 100_000),
            default: 1_024,
            read: size,
            doc: "Exchanges that go on at once; one token has half of them at most. More are refused: 503 `chat-busy`.",
        }
        "held_mb" => held_bytes: usize {
            kind: Kind::Whole(2, 65_536),
            default: 256,
            read: mib_size,
            doc: "MiB of requests that are held for the exchanges that go on, all together; one token has half of it at most.",
        }
        "answer_mb" => answer_bytes: usize {
            kind: Kind::Whole(1, 1_024),
            default: 4,
            read: mib_size,
            doc: "MiB of one answer that is kept until a plugin has seen all of it. A longer one ends as a failure of the backend.",
        }
        "first_token_seconds" => first_token: Duration {
            kind: Kind::Whole(1, 3_600),
            default: 30,
            read: seconds,
            doc: "Seconds until a backend must have begun to answer. Then the next one is asked, if there is one.",
        }
        "idle_seconds" => idle: Duration {
            kind: Kind::Whole(1, 3_600),
            default: 60,
            read: seconds,
            doc: "Seconds that a backend may be silent in the middle of an answer.",
        }
        "drain_seconds" => drain: Duration {
            kind: Kind::Whole(0, 86_400),
            default: 300,
            read: seconds,
            doc: "Seconds that answers under way keep the version of a plugin that they began with, while another one takes everything new.",
        }
        "exchanges" => exchanges: usize {
            kind: Kind::Whole(0, 100_000),
            default: 1_000,
            read: size,
            doc: "Exchanges that are kept in memory for `GET /api/chat/exchanges`: who took part, what came of it, how long it took.",
        }
        "record" => record: ChatRecord {
            kind: Kind::Words(&["none", "text"]),
            default: "none",
            read: record,
            doc: "`text` keeps what was said with each exchange, for tokens with the scope `admin`.",
        }
        "max_concurrent_hooks" => hooks: usize {
            kind: Kind::Whole(1, 1_000),
            default: 10,
            read: size,
            doc: "Hooks of one exchange that run at once.",
        }
        sections {
            /// What plugins without a time of their own share.
            budget: ChatBudget,
        }
    }
}

section! {
    /// `chat.budget_ms`.
    #[derive(Clone, Copy, Debug)]
    pub struct ChatBudget at "chat.budget_ms" {
        "before" => before: Duration {
            kind: Kind::Whole(1, 30_000),
            default: 50,
            read: millis,
            doc: "Milliseconds that plugins without a `timeout_ms` of their own share before a model is asked.",
        }
        "after" => after: Duration {
            kind: Kind::Whole(1, 30_000),
            default: 20,
            read: millis,
            doc: "The same after the model has answered.",
        }
    }
}

fn record(values: Values<'_>, path: &str) -> ChatRecord {
    word(values, path).unwrap_or(ChatRecord::None)
}

fn millis(values: Values<'_>, path: &str) -> Duration {
    Duration::from_millis(whole(values, path))
}
