//! plugbay runs signed plugins that nobody should have to trust.
//!
//! The lower rooms are crates, which have short names here. The modules stand in the order of their layers: each may use
//! the ones above it in this list, as `tests/architecture.rs` spells out. `docs/ARCHITECTURE.md` tells the whole.

pub use plugbay_analyze as analyze;
pub use plugbay_api as api;
pub use plugbay_backup as backup;
pub use plugbay_chat as chat;
pub use plugbay_config as config;
pub use plugbay_databases as databases;
pub use plugbay_domain as domain;
pub use plugbay_egress as egress;
pub use plugbay_fleet as fleet;
pub use plugbay_operations as operations;
pub use plugbay_package as package;
pub use plugbay_protocol as protocol;
pub use plugbay_registry as registry;
pub use plugbay_runtime::{denials, metrics, shutdown};
pub use plugbay_sandbox as sandbox;
pub use plugbay_scanner as scanner;
pub use plugbay_session as session;
pub use plugbay_session::host;
pub use plugbay_store as store;
pub use plugbay_wire as wire;

pub mod telemetry;
pub mod startup;
pub mod cli;
