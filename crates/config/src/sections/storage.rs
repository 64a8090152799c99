//! `storage`: how full the disk may get.

use crate::kind::Kind;
use crate::setting::section;
use crate::values::{boolean, kib, mib};

section! {
    /// `storage`.
    #[derive(Clone, Copy, Debug)]
    pub struct StorageConfig at "storage" {
        "min_free_mb" => min_free_bytes: u64 {
            kind: Kind::Whole(0, 1 << 40),
            default: 64,
            read: mib,
            doc: "MiB that must stay free on the disk of `server.data_dir`; below it installs get 507 `storage-full`.",
        }
        "kv_kb" => kv_bytes: u64 {
            kind: Kind::Whole(0, 1 << 20),
            default: 1024,
            read: kib,
            doc: "KiB of keys and values that one plugin may keep with `kv.set`; more is refused with `quota-exceeded`.",
        }
        "require_hard_quota" => require_hard_quota: bool {
            kind: Kind::Boolean,
            default: false,
            read: boolean,
            doc: "Whether plugins run only where the file system limits their /data, as it does where the service is root; elsewhere 503 `hard-quota-missing`.",
        }
    }
}
