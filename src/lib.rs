//! plugbay runs signed plugins that nobody should have to trust.
//!
//! The modules stand in the order of their layers: each may use the ones above it in this list, as
//! `tests/architecture.rs` spells out. `docs/ARCHITECTURE.md` tells the whole.

pub mod domain;
pub mod shutdown;
pub mod config;
pub mod metrics;
pub mod denials;
pub mod telemetry;
pub mod wire;
pub mod backup;
pub mod package;
pub mod store;
pub mod databases;
pub mod egress;
pub mod sandbox;
pub mod protocol;
pub mod host;
pub mod session;
pub mod service;
pub mod chat;
pub mod api;
pub mod startup;
pub mod cli;
