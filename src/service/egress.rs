//! What plugins may not reach: told in their logs and in the audit log.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::fleet::Member;
use super::{Actor, Service};
use crate::domain::{Chain, PluginRef};
use crate::egress::{Report, What};
use crate::session::WayOut;

/// How often it is looked whether a minute is over.
const SWEEP: Duration = Duration::from_secs(5);

impl Service {
    /// What serves the way out of a plugin's sandboxes.
    pub(super) fn way_out(&self, member: &Member) -> WayOut {
        let (egress, exit) = (Arc::clone(&self.egress), Arc::clone(&member.exit));
        WayOut(Arc::new(move |listener, uid| egress.listen(&exit, listener, uid)))
    }

    /// Starts the task that writes down what was refused.
    pub(super) fn start_egress_reports(self: &Arc<Self>) {
        let reports = self.egress_reports.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut reports) = reports else { return };
        let service = Arc::clone(self);
        self.shutdown.spawn("egress.reports", |token: CancellationToken| async move {
            let mut sweeps = tokio::time::interval(SWEEP);
            loop {
                tokio::select! {
                    () = token.cancelled() => break,
                    Some(report) = reports.recv() => service.write_report(report).await,
                    _ = sweeps.tick() => service.egress.sweep(),
                }
            }
            // What was refused before the end is told.
            while let Ok(report) = reports.try_recv() {
                service.write_report(report).await;
            }
        });
    }

    async fn write_report(&self, Report { plugin, name, what }: Report) {
        let (line, detail) = match what {
            What::One { rule, text, how, is_denial } => {
                let line = format!("network: {text}; {how}");
                (line, is_denial.then(|| json!({ "rule": rule, "text": text, "how": how })))
            }
            What::More { count, denials } => {
                let line = format!("network: {count} more connections or requests were refused in that minute");
                (line, (denials > 0).then(|| json!({ "count": denials })))
            }
        };
        if let Some(member) = self.fleet.find(&PluginRef::Id(plugin)) {
            member.log.note("WARNING", &line);
        }
        let Some(detail) = detail else { return };
        if let Err(error) = self.record(self.entry(&Actor::Service, "egress.refused", Some(&name), detail)).await {
            tracing::error!(plugin.name = %name, error = %Chain(&error), "A refused connection could not be recorded");
        }
    }
}
