//! What a key of the configuration is.

use serde_json::Value;

use super::kind::Kind;

/// One key.
pub(super) struct Setting {
    /// Sections and key, joined by dots.
    pub(super) path: &'static str,
    pub(super) kind: Kind,
    pub(super) default: fn() -> Value,
    /// What it is for, in which unit, and what is seen when it is hit.
    pub(super) doc: &'static str,
}

pub(super) const fn setting(path: &'static str, kind: Kind, default: fn() -> Value, doc: &'static str) -> Setting {
    Setting { path, kind, default, doc }
}

/// Largest whole number of MiB: as bytes it fits 64 bits.
pub(super) const MIB: Kind = Kind::Whole(1, 1 << 40);
pub(super) const COUNT: Kind = Kind::Whole(1, 1 << 40);
