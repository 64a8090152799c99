//! What supervisors found out about plugins, written down: a crash loop, a version that proved itself, one that is bad.

use std::sync::Arc;

use plugbay_domain::{Chain, QuarantineReason};
use plugbay_fleet::{Outcome, OutcomeKind};
use tokio::sync::oneshot;
use tracing::warn;

use crate::update::undo;
use crate::{Service, ServiceError, verification};

/// Starts the task that takes outcomes up. Each is written down by a task of its own: it waits for the change of the
/// plugin, and others must not wait for that.
pub(crate) fn start_outcomes(service: &Arc<Service>) {
    let Some(mut outcomes) = service.fleet.outcomes() else { return };
    let (shutdown, service) = (&service.shutdown, Arc::clone(service));
    shutdown.spawn("plugin.outcomes", |token| async move {
        // Supervisors tell what they find until the last of them has been stopped, and wait for none of it then.
        while let Some(Some(outcome)) = token.run_until_cancelled(outcomes.recv()).await {
            let (shutdown, service) = (&service.shutdown, Arc::clone(&service));
            shutdown.spawn("plugin.outcome", |_| async move { write_down(&service, outcome).await });
        }
    });
}

async fn write_down(service: &Service, Outcome { member, kind }: Outcome) {
    let name = &member.name;
    match kind {
        OutcomeKind::CrashLoop(answer) => {
            let quarantining = verification::quarantine(service, name, QuarantineReason::CrashLoop);
            if let Some(Err(error)) = while_wanted(answer, quarantining).await {
                warn!(plugin.name = %name, error = %Chain(&error), "A crash loop could not be recorded");
            }
        }
        OutcomeKind::Proved(answer) => {
            if let Some(Err(error)) = while_wanted(answer, undo::keep_update(service, &member)).await {
                warn!(plugin.name = %name, error = %Chain(&error), "It could not be written down");
            }
        }
        OutcomeKind::Bad { reason, text, answer } => {
            if let Some(Err(error)) = while_wanted(answer, undo::undo_update(service, &member, reason, &text)).await {
                warn!(plugin.name = %name, error = %Chain(&error), "`{name}` cannot go back to the version before");
            }
        }
    }
}

/// Does it as long as the supervisor waits for it: one that is being stopped does not, and the task that stops it may hold what
/// this waits for. Gives what went wrong.
async fn while_wanted<T: Default>(
    mut answer: oneshot::Sender<T>,
    work: impl Future<Output = Result<T, ServiceError>>,
) -> Option<Result<(), ServiceError>> {
    let done = tokio::select! {
        biased;
        () = answer.closed() => return None,
        done = work => done,
    };
    Some(done.map(|found| {
        // Gone in this moment, it has no use for it.
        answer.send(found).ok();
    }))
}
