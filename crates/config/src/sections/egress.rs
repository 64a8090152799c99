//! `egress`: what leaves plugins.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::kind::Kind;
use crate::setting::{MIB, section};
use crate::values::{hosts, kib_size, mib, optional_path, ranges, seconds, size};
use plugbay_domain::{AddressRange, AllowedHost};

section! {
    /// `egress`.
    #[derive(Clone, Debug)]
    pub struct EgressConfig at "egress" {
        "allow_private" => allow_private: Vec<AllowedHost> {
            kind: Kind::Hosts,
            default: json!([]),
            read: hosts,
            doc: "Hosts that plugins may reach although their addresses are private, each with or without a port, once they were granted by name. This machine is `host.plugbay.internal:PORT`. Every public host never includes them. Others: 403 `private-address` from the proxy.",
        }
        "deny" => deny: Vec<AddressRange> {
            kind: Kind::Ranges,
            default: json!([]),
            read: ranges,
            doc: "Public addresses that count as private, such as the operator's own networks or a NAT64 prefix: `[203.0.113.0/24]`. Addresses of this machine always do. Refused as private ones are, also for installs by URL.",
        }
        "max_tunnels" => max_tunnels: usize {
            kind: Kind::Whole(1, 256),
            default: 32,
            read: size,
            doc: "Connections of one plugin at one time. More are refused: 503 `max-tunnels` from the proxy, a reset otherwise.",
        }
        "max_relays" => max_relays: usize {
            kind: Kind::Whole(1, 65_536),
            default: 512,
            read: size,
            doc: "Answers of model servers that the service hands on for one plugin at one time. More are refused: `max-relays`.",
        }
        "max_streams" => max_streams: usize {
            kind: Kind::Whole(1, 4_096),
            default: 128,
            read: size,
            doc: "Answers that one session of a plugin reads piece by piece with `http.stream` at one time. More are refused: `max-streams`.",
        }
        "connect_timeout_seconds" => connect_timeout: Duration {
            kind: Kind::Whole(1, 60),
            default: 5,
            read: seconds,
            doc: "Seconds for resolving a name, and again for connecting: 504 `resolve-timeout` or `connect-timeout` from the proxy.",
        }
        "idle_seconds" => idle: Duration {
            kind: Kind::Whole(1, 86_400),
            default: 60,
            read: seconds,
            doc: "Seconds without a byte in either direction after which a plugin's connection is closed.",
        }
        "tunnel_seconds" => tunnel_time: Duration {
            kind: Kind::Whole(1, 604_800),
            default: 3_600,
            read: seconds,
            doc: "Seconds after which a plugin's connection is closed, whatever passes through it.",
        }
        "tunnel_mb" => tunnel_bytes: u64 {
            kind: MIB,
            default: 1_024,
            read: mib,
            doc: "MiB that one connection of a plugin may carry, both directions together; then it is closed.",
        }
        "ca_file" => ca_file: Option<PathBuf> {
            kind: Kind::Automatic,
            default: "",
            read: optional_path,
            doc: "PEM file with certificates of authorities that `http.fetch` and `api.request` trust beside those of the system, such as a company's own. Empty: none.",
        }
        "fetch_kb" => fetch_bytes: usize {
            kind: Kind::Whole(1, 3_000),
            default: 2_048,
            read: kib_size,
            doc: "KiB of a body that `http.fetch` and `api.request` send or take. A longer one to a host is refused with `request-too-large`, one from it with `answer-too-large`. What comes back must fit `limits.message_bytes`, too.",
        }
        beside {
            /// Where the service itself listens, once it does. No plugin gets there, granted and listed or not.
            service: Option<SocketAddr> = None,
        }
    }
}
