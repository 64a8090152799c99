//! `limits`: what archives may weigh, and what calls may take.

use std::time::Duration;

use crate::kind::Kind;
use crate::setting::{COUNT, MIB, section};
use crate::values::{mib, mib_size, seconds, size, whole};
use plugbay_domain::ArchiveLimits;

section! {
    existing ArchiveLimits at "limits" {
        "upload_mb" => upload_bytes {
            kind: MIB,
            default: ArchiveLimits::default().upload_bytes >> 20,
            read: mib,
            doc: "MiB of an archive as uploaded; more is 413 `archive-too-large`.",
        }
        "unpacked_mb" => unpacked_bytes {
            kind: MIB,
            default: ArchiveLimits::default().unpacked_bytes >> 20,
            read: mib,
            doc: "MiB of all files of an archive together; more is 413 `archive-too-large`.",
        }
        "file_mb" => file_bytes {
            kind: MIB,
            default: ArchiveLimits::default().file_bytes >> 20,
            read: mib,
            doc: "MiB of one file of an archive; more is 413 `archive-too-large`.",
        }
        "entries" => entries {
            kind: COUNT,
            default: ArchiveLimits::default().entries,
            read: whole,
            doc: "Files and folders of an archive; more is 413 `archive-too-large`.",
        }
        "ratio" => ratio {
            kind: COUNT,
            default: ArchiveLimits::default().ratio,
            read: whole,
            doc: "Unpacked bytes for one packed byte, past the first MiB; more is 413 `archive-too-large`.",
        }
    }
}

section! {
    /// What `limits` says about calls.
    #[derive(Clone, Copy, Debug)]
    pub struct CallLimits at "limits" {
        "message_bytes" => message_bytes: usize {
            kind: Kind::Whole(64 << 10, 4 << 20),
            default: 4 << 20,
            read: size,
            doc: "Bytes of one message from or to a plugin; 4 MiB is the most of the protocol. A longer one is refused, and a plugin that sends it is restarted: 502 `plugin-protocol`.",
        }
        "queue" => queue: usize {
            kind: Kind::Whole(0, 100_000),
            default: 64,
            read: size,
            doc: "Calls that wait for one plugin while `max_concurrency` others run. More get 503 `plugin-busy` with Retry-After.",
        }
        "start_seconds" => start: Duration {
            kind: Kind::Whole(1, 3_600),
            default: 20,
            read: seconds,
            doc: "Seconds until a started plugin must be ready: 502 `plugin-start-failed`.",
        }
        "in_flight" => in_flight: usize {
            kind: Kind::Whole(1, 1_000_000),
            default: 4096,
            read: size,
            doc: "Calls of all plugins at one time, running or waiting. One plugin may have as many as it leaves free for all others, so at most half. More get 503 `plugin-busy` with Retry-After.",
        }
        "answers_mb" => answer_bytes: usize {
            kind: Kind::Whole(16, 1 << 40),
            default: 64,
            read: mib_size,
            doc: "MiB of answers that wait to be read, of all callers together. What goes beyond closes the connections that have read nothing for longest.",
        }
    }
}
