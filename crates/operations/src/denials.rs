//! What plugins did not get: told in their logs and in the audit log.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use plugbay_domain::{Chain, PluginRef};
use plugbay_runtime::denials::{Denial, Door, Report, What};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Service;

/// How often it is looked whether a minute is over.
const SWEEP: Duration = Duration::from_secs(5);

/// Starts the task that writes down what was refused.
pub(crate) fn start_denial_reports(service: &Arc<Service>) {
    let reports = service.denial_reports.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut reports) = reports else { return };
    let (shutdown, service) = (&service.shutdown, Arc::clone(service));
    shutdown.spawn("denial.reports", |token: CancellationToken| async move {
        let mut sweeps = tokio::time::interval(SWEEP);
        loop {
            tokio::select! {
                () = token.cancelled() => break,
                Some(report) = reports.recv() => write_report(&service, report).await,
                _ = sweeps.tick() => service.denials.sweep(Instant::now()),
            }
        }
        // What was refused before the end is told.
        while let Ok(report) = reports.try_recv() {
            write_report(&service, report).await;
        }
    });
}

async fn write_report(service: &Service, Report { plugin, name, door, what }: Report) {
    let (origin, action, things) = match door {
        Door::Network => ("network", "egress.refused", "connections or requests"),
        Door::HostFunction => ("host function", "host.refused", "requests"),
    };
    let member = service.fleet.find(&PluginRef::Id(plugin));
    // A plugin can write a secret that it has into the name of a host, or into anything else that is refused. The row
    // would keep it open in the database, in every backup and in what the audit log shows.
    let mask = |text: String| member.as_ref().map_or_else(|| text.clone(), |member| member.log.mask_quoted(&text));
    let (line, detail) = match what {
        What::One(Denial { rule, text, how, is_by_rule }) => {
            let (text, how) = (mask(text), mask(how));
            let line = format!("{origin}: {text}; {how}");
            (line, is_by_rule.then(|| json!({ "rule": rule, "text": text, "how": how })))
        }
        What::More { count, by_rule } => {
            let line = format!("{origin}: {count} more {things} were refused in that minute");
            (line, (by_rule > 0).then(|| json!({ "count": by_rule })))
        }
    };
    if let Some(member) = &member {
        member.log.note("WARNING", &line);
    }
    let Some(detail) = detail else { return };
    if let Err(error) = service.registry.record_for((plugin, &name), action, detail).await {
        tracing::error!(plugin.name = %name, error = %Chain(&error), "A refusal could not be recorded");
    }
}
