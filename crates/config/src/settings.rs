//! Every key of the configuration, once: its rules, its default, and what it is for.

use serde_json::json;

use super::database_settings::DATABASE_SETTINGS;
use super::kind::{FieldKind, Kind, ResourceField};
use super::sandbox_settings::SANDBOX_SETTINGS;
use super::setting::{COUNT, MIB, Setting, setting};
use plugbay_domain::ArchiveLimits;

/// Every key, in the order of the documentation.
pub(super) fn settings() -> impl Iterator<Item = &'static Setting> {
    SERVER_SETTINGS.iter().chain(SANDBOX_SETTINGS).chain(SETTINGS).chain(DATABASE_SETTINGS)
}

const SERVER_SETTINGS: &[Setting] = &[
    setting(
        "server.listen",
        Kind::Listen,
        || json!("127.0.0.1:8000"),
        "Address and port to listen on. An address other than loopback needs `--allow-plain-http`, which says that TLS ends in front of plugbay.",
    ),
    setting(
        "server.data_dir",
        Kind::Text,
        || json!("./data"),
        "Folder of everything the service keeps. A second service on the same folder does not start: `data-dir-in-use`.",
    ),
    setting(
        "server.run_dir",
        Kind::Automatic,
        || json!(""),
        "Folder of the sockets of running plugins; at most 54 bytes, as the paths of sockets are short. Empty: `/run/plugbay` for root, else `plugbay` in `XDG_RUNTIME_DIR`, else `run` in `server.data_dir`.",
    ),
    setting(
        "server.allowed_hosts",
        Kind::Hosts,
        || json!([]),
        "Further names by which callers address the service, each with or without a port. Loopback names and the listen address are always allowed; others get 421 `host-refused`.",
    ),
    setting(
        "server.max_connections",
        Kind::Whole(1, 1_000_000),
        || json!(1024),
        "Open connections. For a further one an idle one is closed: first of those that have shown no token, of the peer that has the most; else of the token that has the most. While all of them carry requests, it waits.",
    ),
    setting(
        "server.max_uploads",
        Kind::Whole(1, 1_000),
        || json!(8),
        "Archives taken in at one time, which bounds the disk they take. More get 503 `unavailable` with Retry-After.",
    ),
    setting(
        "server.body_timeout_seconds",
        Kind::Whole(1, 86_400),
        || json!(60),
        "Longest pause in a request body, in seconds: 408 `body-too-slow`.",
    ),
    setting(
        "server.min_body_rate",
        Kind::Whole(1, 1 << 40),
        || json!(1024),
        "Bytes per second, on average, below which a request body is refused: 408 `body-too-slow`.",
    ),
    setting(
        "server.keep_alive_seconds",
        Kind::Whole(1, 86_400),
        || json!(75),
        "How long a connection is kept after an answer, in seconds. The next request must have arrived by then, else the connection is closed.",
    ),
    setting(
        "server.requests_per_second",
        Kind::Whole(0, 1_000_000),
        || json!(0),
        "Requests per second of a token without a rate of its own; calls count for each plugin by themselves. More get 429 `rate-limited` with Retry-After. 0: no limit, as a host application sends all its users' calls with one token, and shares of `limits.in_flight` keep plugins apart.",
    ),
];

const SETTINGS: &[Setting] = &[
    setting(
        "limits.upload_mb",
        MIB,
        || json!(ArchiveLimits::default().upload_bytes >> 20),
        "MiB of an archive as uploaded; more is 413 `archive-too-large`.",
    ),
    setting(
        "limits.unpacked_mb",
        MIB,
        || json!(ArchiveLimits::default().unpacked_bytes >> 20),
        "MiB of all files of an archive together; more is 413 `archive-too-large`.",
    ),
    setting(
        "limits.file_mb",
        MIB,
        || json!(ArchiveLimits::default().file_bytes >> 20),
        "MiB of one file of an archive; more is 413 `archive-too-large`.",
    ),
    setting(
        "limits.entries",
        COUNT,
        || json!(ArchiveLimits::default().entries),
        "Files and folders of an archive; more is 413 `archive-too-large`.",
    ),
    setting(
        "limits.ratio",
        COUNT,
        || json!(ArchiveLimits::default().ratio),
        "Unpacked bytes for one packed byte, past the first MiB; more is 413 `archive-too-large`.",
    ),
    setting(
        "limits.message_bytes",
        Kind::Whole(64 << 10, 4 << 20),
        || json!(4 << 20),
        "Bytes of one message from or to a plugin; 4 MiB is the most of the protocol. A longer one is refused, and a plugin that sends it is restarted: 502 `plugin-protocol`.",
    ),
    setting(
        "limits.queue",
        Kind::Whole(0, 100_000),
        || json!(64),
        "Calls that wait for one plugin while `max_concurrency` others run. More get 503 `plugin-busy` with Retry-After.",
    ),
    setting(
        "limits.start_seconds",
        Kind::Whole(1, 3_600),
        || json!(20),
        "Seconds until a started plugin must be ready: 502 `plugin-start-failed`.",
    ),
    setting(
        "limits.in_flight",
        Kind::Whole(1, 1_000_000),
        || json!(4096),
        "Calls of all plugins at one time, running or waiting. One plugin may have as many as it leaves free for all others, so at most half. More get 503 `plugin-busy` with Retry-After.",
    ),
    setting(
        "limits.answers_mb",
        Kind::Whole(16, 1 << 40),
        || json!(64),
        "MiB of answers that wait to be read, of all callers together. What goes beyond closes the connections that have read nothing for longest.",
    ),
    setting(
        "health.interval_seconds",
        Kind::Whole(1, 86_400),
        || json!(30),
        "Seconds between two health questions to a plugin. Its answer is shown and ends nothing.",
    ),
    setting(
        "breaker.failures",
        Kind::Whole(0, 1_000_000),
        || json!(5),
        "Calls of one plugin that fail one after the other (raised, timed out, crashed) until further ones get 503 `breaker-open`. 0: never.",
    ),
    setting(
        "breaker.open_seconds",
        Kind::Whole(1, 86_400),
        || json!(60),
        "Seconds of 503 `breaker-open` with Retry-After. Then one call is let through: answered, it lets the others follow.",
    ),
    setting(
        "update.watch_seconds",
        Kind::Whole(0, 86_400),
        || json!(60),
        "Seconds in which a new version goes back by itself when it ends or fails too often, with everything that the plugin keeps. 0: never.",
    ),
    setting(
        "update.max_error_rate",
        Kind::Number(0.0, 1.0),
        || json!(0.5),
        "Share of its calls that a new version may fail (raised, timed out, crashed) while it is watched, once it had five.",
    ),
    setting(
        "update.keep_versions",
        Kind::Whole(2, 100),
        || json!(3),
        "Versions of each plugin that are kept, with the one that serves: what `rollback` can go back to.",
    ),
    setting(
        "install.allow_hosts",
        Kind::Hosts,
        || json!([]),
        "Hosts that plugins may be fetched from although their addresses are private, each with or without a port; others get 422 `url-refused`.",
    ),
    setting(
        "install.timeout_seconds",
        Kind::Whole(1, 86_400),
        || json!(60),
        "Seconds for one download: 504 `download-timeout`.",
    ),
    setting(
        "egress.allow_private",
        Kind::Hosts,
        || json!([]),
        "Hosts that plugins may reach although their addresses are private, each with or without a port, once they were granted by name. This machine is `host.plugbay.internal:PORT`. Every public host never includes them. Others: 403 `private-address` from the proxy.",
    ),
    setting(
        "egress.deny",
        Kind::Ranges,
        || json!([]),
        "Public addresses that count as private, such as the operator's own networks or a NAT64 prefix: `[203.0.113.0/24]`. Addresses of this machine always do. Refused as private ones are, also for installs by URL.",
    ),
    setting(
        "egress.max_tunnels",
        Kind::Whole(1, 256),
        || json!(32),
        "Connections of one plugin at one time. More are refused: 503 `max-tunnels` from the proxy, a reset otherwise.",
    ),
    setting(
        "egress.connect_timeout_seconds",
        Kind::Whole(1, 60),
        || json!(5),
        "Seconds for resolving a name, and again for connecting: 504 `resolve-timeout` or `connect-timeout` from the proxy.",
    ),
    setting(
        "egress.idle_seconds",
        Kind::Whole(1, 86_400),
        || json!(60),
        "Seconds without a byte in either direction after which a plugin's connection is closed.",
    ),
    setting(
        "egress.tunnel_seconds",
        Kind::Whole(1, 604_800),
        || json!(3_600),
        "Seconds after which a plugin's connection is closed, whatever passes through it.",
    ),
    setting(
        "egress.tunnel_mb",
        MIB,
        || json!(1_024),
        "MiB that one connection of a plugin may carry, both directions together; then it is closed.",
    ),
    setting(
        "egress.ca_file",
        Kind::Automatic,
        || json!(""),
        "PEM file with certificates of authorities that `http.fetch` and `api.request` trust beside those of the system, such as a company's own. Empty: none.",
    ),
    setting(
        "egress.fetch_kb",
        Kind::Whole(1, 3_000),
        || json!(2_048),
        "KiB of a body that `http.fetch` and `api.request` send or take. A longer one to a host is refused with `request-too-large`, one from it with `answer-too-large`. What comes back must fit `limits.message_bytes`, too.",
    ),
    setting(
        "resources.databases",
        Kind::Resources(&[ResourceField { name: "url", kind: FieldKind::DatabaseUrl, required: true }]),
        || json!({}),
        "Databases that plugins can be granted, each by a name of yours: `{chat: {url: \"sqlite:///var/lib/chat/chat.db\"}}`. A grant for a name that is not here keeps a plugin from starting: 409 `resource-unknown`.",
    ),
    setting(
        "resources.folders",
        Kind::Resources(&[ResourceField { name: "path", kind: FieldKind::Path, required: true }]),
        || json!({}),
        "Folders that plugins can be granted: `{docs: {path: /srv/docs}}` appears as `/mnt/docs`. Files keep their owners and modes; plugins read and write as users of their own, counted from `sandbox.uid_base`.",
    ),
    setting(
        "resources.apis",
        Kind::Resources(&[
            ResourceField { name: "base_url", kind: FieldKind::HttpUrl, required: true },
            ResourceField { name: "token", kind: FieldKind::Text, required: false },
            ResourceField { name: "allow", kind: FieldKind::Operations, required: false },
        ]),
        || json!({}),
        "APIs that plugins can be granted: `{chat: {base_url: \"http://127.0.0.1:9000\", token: \"${CHAT_TOKEN}\", allow: [\"GET /v1/messages/*\"]}}`. Only what `allow` lists is called, with `token`, which no plugin sees. `*` is one segment, `**` at the end one or more, `?*` after it any query.",
    ),
    setting(
        "storage.min_free_mb",
        Kind::Whole(0, 1 << 40),
        || json!(64),
        "MiB that must stay free on the disk of `server.data_dir`; below it installs get 507 `storage-full`.",
    ),
    setting(
        "storage.kv_kb",
        Kind::Whole(0, 1 << 20),
        || json!(1024),
        "KiB of keys and values that one plugin may keep with `kv.set`; more is refused with `quota-exceeded`.",
    ),
    setting(
        "storage.require_hard_quota",
        Kind::Boolean,
        || json!(false),
        "Whether plugins run only where the file system limits their /data, as it does where the service is root; elsewhere 503 `hard-quota-missing`.",
    ),
    setting(
        "logging.level",
        Kind::Words(&["error", "warn", "info", "debug", "trace"]),
        || json!("info"),
        "The least severe line that is written to the log.",
    ),
    setting(
        "logging.format",
        Kind::Words(&["auto", "json", "text"]),
        || json!("auto"),
        "`json`: one object per line. `text`: for people. `auto`: text on a terminal, JSON otherwise.",
    ),
];
