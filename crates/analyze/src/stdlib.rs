//! Names of Python's own library, as `sys.stdlib_module_names` of Python 3.11 lists them.

use std::collections::BTreeSet;
use std::sync::OnceLock;

const NAMES: &str = include_str!("../data/stdlib-3.11.txt");

/// Whether Python 3.11 brings this top-level module.
pub fn is_standard(module: &str) -> bool {
    static KNOWN: OnceLock<BTreeSet<&'static str>> = OnceLock::new();
    KNOWN.get_or_init(|| NAMES.lines().collect()).contains(module)
}

/// All of these names.
pub fn standard_names() -> impl Iterator<Item = &'static str> {
    NAMES.lines()
}
