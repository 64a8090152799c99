//! `install`: where plugins may be fetched from.

use std::time::Duration;

use serde_json::json;

use crate::kind::Kind;
use crate::setting::section;
use crate::values::{hosts, seconds};
use plugbay_domain::AllowedHost;

section! {
    /// `install`.
    #[derive(Clone, Debug)]
    pub struct InstallConfig at "install" {
        "allow_hosts" => allow_hosts: Vec<AllowedHost> {
            kind: Kind::Hosts,
            default: json!([]),
            read: hosts,
            doc: "Hosts that plugins may be fetched from although their addresses are private, each with or without a port; others get 422 `url-refused`.",
        }
        "timeout_seconds" => timeout: Duration {
            kind: Kind::Whole(1, 86_400),
            default: 60,
            read: seconds,
            doc: "Seconds for one download: 504 `download-timeout`.",
        }
    }
}
