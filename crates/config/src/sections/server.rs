//! `server`: how the service is reached and where it keeps things.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::kind::Kind;
use crate::setting::section;
use crate::values::{Values, hosts, path, seconds, size, small, text, whole};
use plugbay_domain::AllowedHost;

section! {
    /// `server`.
    #[derive(Clone, Debug)]
    pub struct ServerConfig at "server" {
        "listen" => listen: SocketAddr {
            kind: Kind::Listen,
            default: "127.0.0.1:8000",
            read: listen_address,
            doc: "Address and port to listen on. An address other than loopback needs `--allow-plain-http`, which says that TLS ends in front of plugbay.",
        }
        "data_dir" => data_dir: PathBuf {
            kind: Kind::Text,
            default: "./data",
            read: path,
            doc: "Folder of everything the service keeps. A second service on the same folder does not start: `data-dir-in-use`.",
        }
        "run_dir" => run_dir: PathBuf {
            kind: Kind::Automatic,
            default: "",
            read: path,
            doc: "Folder of the sockets of running plugins; at most 54 bytes, as the paths of sockets are short. Empty: `/run/plugbay` for root, else `plugbay` in `XDG_RUNTIME_DIR`, else `run` in `server.data_dir`.",
        }
        "allowed_hosts" => allowed_hosts: Vec<AllowedHost> {
            kind: Kind::Hosts,
            default: json!([]),
            read: hosts,
            doc: "Further names by which callers address the service, each with or without a port. Loopback names and the listen address are always allowed; others get 421 `host-refused`.",
        }
        "max_connections" => max_connections: usize {
            kind: Kind::Whole(1, 1_000_000),
            default: 1024,
            read: size,
            doc: "Open connections. For a further one an idle one is closed: first of those that have shown no token, of the peer that has the most; else of the token that has the most. While all of them carry requests, it waits.",
        }
        "max_uploads" => max_uploads: usize {
            kind: Kind::Whole(1, 1_000),
            default: 8,
            read: size,
            doc: "Archives taken in at one time, which bounds the disk they take. More get 503 `unavailable` with Retry-After.",
        }
        "body_timeout_seconds" => body_timeout: Duration {
            kind: Kind::Whole(1, 86_400),
            default: 60,
            read: seconds,
            doc: "Longest pause in a request body, in seconds: 408 `body-too-slow`.",
        }
        "min_body_rate" => min_body_rate: u64 {
            kind: Kind::Whole(1, 1 << 40),
            default: 1024,
            read: whole,
            doc: "Bytes per second, on average, below which a request body is refused: 408 `body-too-slow`.",
        }
        "keep_alive_seconds" => keep_alive: Duration {
            kind: Kind::Whole(1, 86_400),
            default: 75,
            read: seconds,
            doc: "How long a connection is kept after an answer, in seconds. The next request must have arrived by then, else the connection is closed.",
        }
        "requests_per_second" => requests_per_second: u32 {
            kind: Kind::Whole(0, 1_000_000),
            default: 0,
            read: small,
            doc: "Requests per second of a token without a rate of its own; calls count for each plugin by themselves. More get 429 `rate-limited` with Retry-After. 0: no limit, as a host application sends all its users' calls with one token, and shares of `limits.in_flight` keep plugins apart.",
        }
    }
}

fn listen_address(values: Values<'_>, path: &str) -> SocketAddr {
    text(values, path).parse().unwrap_or_else(|_unread| SocketAddr::from(([127, 0, 0, 1], 8000)))
}
