//! Every key of the configuration, in the order of the documentation. Each stands once, in the file of its section below
//! `sections/`.

use std::sync::LazyLock;

use crate::sections::Config;
use crate::setting::{Section, Setting};

static ALL: LazyLock<Vec<Setting>> = LazyLock::new(|| {
    let mut all = Vec::new();
    Config::list(&mut all);
    all
});

/// Every key.
pub(super) fn settings() -> impl Iterator<Item = &'static Setting> {
    ALL.iter()
}
