//! A plugin that is installed.

mod update;

pub use update::{LastUpdate, Update, UpdateFailure, UpdateState};
