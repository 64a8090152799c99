//! Another configuration for a plugin that runs.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Deserialize;

use super::Session;
use plugbay_domain::PluginConfig;
use plugbay_protocol::Outgoing;

/// The answer to `configure`.
#[derive(Deserialize)]
struct Answer {
    applied: bool,
}

impl Session {
    /// Asks the plugin to go on with this configuration. False when it cannot, refuses, or does not answer in time.
    pub async fn configure(&self, config: &PluginConfig, longest: Duration) -> bool {
        let Ok((id, answer)) = self.0.calls.insert_own() else { return false };
        if self.0.outbound.send(Outgoing::configure(id, &config.reveal())).is_err() {
            self.0.calls.withdraw(id);
            return false;
        }
        match tokio::time::timeout(longest, answer).await {
            Ok(Ok(Ok(raw))) => serde_json::from_str::<Answer>(raw.get()).is_ok_and(|answer| answer.applied),
            // An error of the plugin, its end, or silence.
            Ok(Ok(Err(_)) | Err(_)) | Err(_) => false,
        }
    }

    /// Notes which revision of its configuration the plugin has.
    pub fn has_config(&self, revision: i64) {
        self.0.config_revision.fetch_max(revision, Ordering::SeqCst);
    }

    /// The revision of the configuration that the plugin has.
    pub fn config_revision(&self) -> i64 {
        self.0.config_revision.load(Ordering::SeqCst)
    }
}
