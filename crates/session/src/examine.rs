//! One question for a plugin's health, before anybody relies on it.

use std::time::Duration;

use serde_json::{Map, Value};

use super::Session;
use plugbay_protocol::Outgoing;

/// Why a plugin should not be relied on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It ended first.
    #[error("it ended: {0}")]
    Ended(String),
    /// It does not answer.
    #[error("it did not say how it is within {} s", .0.as_secs())]
    Silent(Duration),
    /// It says that it does not work.
    #[error("it says that it is unhealthy: {0}")]
    Unhealthy(String),
}

impl Session {
    /// Asks the plugin for its health. What it finds hard is not held against it; only what does not work is.
    pub async fn examine(&self, longest: Duration) -> Result<(), Unfit> {
        let Ok((id, answer)) = self.0.calls.insert_own() else { return Err(self.unfit_by_end()) };
        // What cannot be sent is not answered.
        self.0.outbound.send(Outgoing::health(id)).ok();
        match tokio::time::timeout(longest, answer).await {
            Ok(Ok(Ok(raw))) => match serde_json::from_str::<Map<String, Value>>(raw.get()) {
                Ok(said) if is_unhealthy(&said) => Err(Unfit::Unhealthy(Value::Object(said).to_string())),
                Ok(_) => Ok(()),
                Err(_) => Err(Unfit::Unhealthy(format!("`health` answered {raw}, which is no object"))),
            },
            Ok(Ok(Err(error))) => Err(Unfit::Unhealthy(error.message)),
            Ok(Err(_gone)) => Err(self.unfit_by_end()),
            Err(_elapsed) => Err(Unfit::Silent(longest)),
        }
    }

    fn unfit_by_end(&self) -> Unfit {
        Unfit::Ended(self.ended().map_or_else(|| "why is not known yet".to_owned(), |end| end.text.clone()))
    }
}

/// Words for something that does not work; others only tell of trouble.
fn is_unhealthy(said: &Map<String, Value>) -> bool {
    let word = said.get("status").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    matches!(word.as_str(), "unhealthy" | "critical")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_does_not_work_is_unhealthy() {
        for (said, unhealthy) in [
            (json!({"status": "Unhealthy"}), true),
            (json!({"status": "critical", "why": 1}), true),
            (json!({"status": "degraded"}), false),
            (json!({"status": 7}), false),
            (json!({}), false),
        ] {
            assert_eq!(is_unhealthy(said.as_object().unwrap()), unhealthy, "{said}");
        }
    }
}
