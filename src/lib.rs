//! plugbay runs signed plugins that nobody should have to trust.
//!
//! The modules stand in the order of their layers: each may use the ones above it in this list, as
//! `tests/architecture.rs` spells out. `docs/ARCHITECTURE.md` tells the whole.

pub mod cli;
pub mod config;
pub mod domain;
pub mod package;
pub mod shutdown;
pub mod store;
