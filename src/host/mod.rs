//! Functions of the service that a plugin may call. Each is a file; each checks what was granted before it does anything.
//!
//! A session hands requests in and sends the answers out; whatever is refused here is an answer too, and only a broken
//! protocol ends a session.

mod error;
mod kv;

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

pub use error::HostError;

use crate::domain::{Clock, PluginId, escape};
use crate::store::Store;

/// Time of a request that serves no call.
pub const OWN_TIME: Duration = Duration::from_secs(30);

/// What the functions work with. One per process.
#[derive(Clone, Debug)]
pub struct HostParts {
    /// Our database.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Bytes of keys and values that a plugin may keep.
    pub kv_bytes: u64,
}

/// The functions as one plugin meets them.
#[derive(Clone, Debug)]
pub struct Host {
    plugin: PluginId,
    parts: HostParts,
}

impl Host {
    /// For the requests of this plugin.
    pub fn new(plugin: PluginId, parts: HostParts) -> Self {
        Self { plugin, parts }
    }

    /// With a database of its own in this folder.
    #[cfg(test)]
    pub(crate) async fn for_testing(folder: &std::path::Path) -> Self {
        let store = Store::open(&folder.join("plugbay.db"), crate::store::Missing::Create).await.unwrap();
        let clock = Arc::new(crate::domain::SystemClock);
        Self::new(PluginId::generate(), HostParts { store, clock, kv_bytes: 1 << 20 })
    }

    /// Answers a request.
    pub async fn answer(&self, function: &str, params: &str) -> Result<Box<RawValue>, HostError> {
        match function {
            "kv.get" => self.kv_get(read(params)?).await,
            "kv.set" => self.kv_set(read(params)?).await,
            "kv.delete" => self.kv_delete(read(params)?).await,
            "kv.list" => self.kv_list(read(params)?).await,
            _ => Err(HostError::Unknown { function: escape(function) }),
        }
    }
}

fn read<'a, T: Deserialize<'a>>(params: &'a str) -> Result<T, HostError> {
    serde_json::from_str(params).map_err(|error| HostError::Invalid { rule: escape(&error.to_string()) })
}

fn json(value: &serde_json::Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("JSON serialises")
}
