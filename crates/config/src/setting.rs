//! What a key of the configuration is, and how a section is written once: its struct, its keys and how they are read.

use serde_json::Value;

use super::kind::Kind;
use super::values::Values;

/// One key.
pub(super) struct Setting {
    /// Sections and key, joined by dots.
    pub(super) path: &'static str,
    pub(super) kind: Kind,
    pub(super) default: fn() -> Value,
    /// What it is for, in which unit, and what is seen when it is hit.
    pub(super) doc: &'static str,
}

/// Largest whole number of MiB: as bytes it fits 64 bits.
pub(super) const MIB: Kind = Kind::Whole(1, 1 << 40);
pub(super) const COUNT: Kind = Kind::Whole(1, 1 << 40);

/// A part of the configuration. Made by [`section!`].
pub(super) trait Section: Sized {
    /// Adds its keys, in the order of the documentation.
    fn list(all: &mut Vec<Setting>);

    /// Takes what its keys say.
    fn read(values: Values<'_>) -> Self;
}

/// Writes a section: the keys and fields of a struct, which it makes, or of an `existing` one of another crate.
///
/// ```text
/// section! {
///     /// `health`.
///     #[derive(Clone, Copy, Debug)]
///     pub struct HealthConfig at "health" {
///         "interval_seconds" => interval: Duration {    // the key `health.interval_seconds` and its field
///             kind: Kind::Whole(1, 86_400),             // what a value must be
///             default: 30,                              // as it would stand in the file
///             read: seconds,                            // a function of `values.rs`, or one like them
///             doc: "Seconds between two …",             // for operators, and for readers of the struct
///         }
///         sections {                                    // sections below this one, after its own keys
///             /// How …
///             inner: InnerConfig,
///         }
///         beside {                                      // fields that no key sets
///             /// Whether …
///             found: bool = false,
///         }
///     }
/// }
/// ```
///
/// An `existing` struct has its documentation and types elsewhere: `"cpus" => cpus { … }`.
macro_rules! section {
    (
        $(#[$meta:meta])*
        pub struct $name:ident at $section:literal {
            $($key:literal => $field:ident: $type:ty {
                kind: $kind:expr,
                default: $default:expr,
                read: $read:expr,
                doc: $doc:literal,
            })*
            $(sections { $($(#[$inner_doc:meta])* $inner:ident: $inner_type:ty,)* })?
            $(beside { $($(#[$beside_doc:meta])* $beside:ident: $beside_type:ty = $value:expr,)* })?
        }
    ) => {
        $(#[$meta])*
        pub struct $name {
            $(#[doc = concat!("`", $section, ".", $key, "`: ", $doc)] pub $field: $type,)*
            $($($(#[$inner_doc])* pub $inner: $inner_type,)*)?
            $($($(#[$beside_doc])* pub $beside: $beside_type,)*)?
        }

        section! {
            existing $name at $section {
                $($key => $field { kind: $kind, default: $default, read: $read, doc: $doc, })*
                $(sections { $($inner: $inner_type,)* })?
                $(beside { $($beside = $value,)* })?
            }
        }
    };
    (
        existing $name:ident at $section:literal {
            $($key:literal => $field:ident {
                kind: $kind:expr,
                default: $default:expr,
                read: $read:expr,
                doc: $doc:literal,
            })*
            $(sections { $($inner:ident: $inner_type:ty,)* })?
            $(beside { $($beside:ident = $value:expr,)* })?
        }
    ) => {
        impl $crate::setting::Section for $name {
            fn list(all: &mut Vec<$crate::setting::Setting>) {
                $(all.push($crate::setting::Setting {
                    path: concat!($section, ".", $key),
                    kind: $kind,
                    default: || serde_json::Value::from($default),
                    doc: $doc,
                });)*
                $($(<$inner_type as $crate::setting::Section>::list(all);)*)?
            }

            fn read(values: $crate::values::Values<'_>) -> Self {
                Self {
                    $($field: values.read(concat!($section, ".", $key), $read),)*
                    $($($inner: <$inner_type as $crate::setting::Section>::read(values),)*)?
                    $($($beside: $value,)*)?
                }
            }
        }
    };
}

pub(super) use section;
