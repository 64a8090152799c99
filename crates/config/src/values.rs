//! How fields take what the keys say. Each function reads one key by its path; [`section!`](super::setting::section) names
//! them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use plugbay_domain::{AddressRange, AllowedHost, Word};

/// The value of every key by its path; each was read by the rules of its setting.
#[derive(Clone, Copy)]
pub(super) struct Values<'a>(pub(super) &'a BTreeMap<&'static str, Value>);

impl<'a> Values<'a> {
    pub(super) fn get(self, path: &str) -> &'a Value {
        self.0.get(path).expect("every path here is in the table of settings")
    }

    pub(super) fn read<T>(self, path: &'static str, by: impl FnOnce(Self, &'static str) -> T) -> T {
        by(self, path)
    }
}

pub(super) fn text(values: Values<'_>, path: &str) -> String {
    values.get(path).as_str().unwrap_or_default().to_owned()
}

pub(super) fn path(values: Values<'_>, path: &str) -> PathBuf {
    text(values, path).into()
}

/// None where it is empty.
pub(super) fn optional_path(values: Values<'_>, path: &str) -> Option<PathBuf> {
    Some(text(values, path)).filter(|text| !text.is_empty()).map(PathBuf::from)
}

pub(super) fn boolean(values: Values<'_>, path: &str) -> bool {
    values.get(path).as_bool().unwrap_or_default()
}

pub(super) fn whole(values: Values<'_>, path: &str) -> u64 {
    values.get(path).as_u64().unwrap_or_default()
}

pub(super) fn size(values: Values<'_>, path: &str) -> usize {
    usize::try_from(whole(values, path)).unwrap_or(usize::MAX)
}

pub(super) fn small(values: Values<'_>, path: &str) -> u32 {
    u32::try_from(whole(values, path)).unwrap_or(u32::MAX)
}

pub(super) fn number(values: Values<'_>, path: &str) -> f64 {
    values.get(path).as_f64().unwrap_or_default()
}

/// Bytes of so many KiB.
pub(super) fn kib(values: Values<'_>, path: &str) -> u64 {
    whole(values, path) << 10
}

/// Bytes of so many KiB, for what is kept in memory.
pub(super) fn kib_size(values: Values<'_>, path: &str) -> usize {
    usize::try_from(kib(values, path)).unwrap_or(usize::MAX)
}

/// Bytes of so many MiB.
pub(super) fn mib(values: Values<'_>, path: &str) -> u64 {
    whole(values, path) << 20
}

/// Bytes of so many MiB, for what is kept in memory.
pub(super) fn mib_size(values: Values<'_>, path: &str) -> usize {
    usize::try_from(mib(values, path)).unwrap_or(usize::MAX)
}

pub(super) fn seconds(values: Values<'_>, path: &str) -> Duration {
    Duration::from_secs(whole(values, path))
}

pub(super) fn hosts(values: Values<'_>, path: &str) -> Vec<AllowedHost> {
    texts(values, path).filter_map(|text| text.parse().ok()).collect()
}

pub(super) fn ranges(values: Values<'_>, path: &str) -> Vec<AddressRange> {
    texts(values, path).filter_map(|text| text.parse().ok()).collect()
}

pub(super) fn lines(values: Values<'_>, path: &str) -> Vec<String> {
    texts(values, path).map(str::to_owned).collect()
}

fn texts<'a>(values: Values<'a>, path: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    values.get(path).as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// One of a set of words.
pub(super) fn word<T: Word>(values: Values<'_>, path: &str) -> Option<T> {
    T::ALL.iter().copied().find(|word| values.get(path) == word.as_str())
}

/// Resources by the operator's names.
pub(super) fn named<T>(values: Values<'_>, path: &str, read: impl Fn(&Value) -> T) -> BTreeMap<String, T> {
    let entries = values.get(path).as_object().into_iter().flatten();
    entries.map(|(name, fields)| (name.clone(), read(fields))).collect()
}
