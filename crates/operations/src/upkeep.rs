//! What the service does now and then by itself, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use plugbay_domain::Chain;
use plugbay_fleet::{engine, reconcile};
use plugbay_store as store;
use plugbay_store::audit;
use tracing::{error, info};

use crate::approve::expiry;
use crate::{Service, ServiceError, denials, outcomes, scan, tokens, uplink, verification};

/// How often the service looks after itself.
const PERIOD: Duration = Duration::from_secs(10);

/// How often the head of the audit chain goes to the log.
const HEAD_PERIOD: Duration = Duration::from_hours(1);

/// How long an answer to a request with an Idempotency-Key is kept.
const ANSWERS_KEPT: Duration = Duration::from_hours(24);

/// Starts the tasks that verify what is stored, run what should run, and look after the rest.
pub fn start_upkeep(service: &Arc<Service>) {
    let shutdown = &service.shutdown;
    let fleet = Arc::clone(&service.fleet);
    shutdown.spawn("engine.watch", |token| engine::watch_engine(fleet, token));
    let fleet = Arc::clone(&service.fleet);
    shutdown.spawn("reconcile", |token| reconcile::keep_reconciled(fleet, token));
    denials::start_denial_reports(service);
    uplink::start_uplink(service);
    outcomes::start_outcomes(service);
    scan::start_scans(service);
    let service = Arc::clone(service);
    shutdown.spawn("upkeep", |token| async move {
        let mut ticks = tokio::time::interval(PERIOD);
        let mut head_logged_at = None;
        loop {
            tokio::select! {
                () = token.cancelled() => break,
                _ = ticks.tick() => {}
            }
            // The first tick comes at once; a verification that failed, say on a locked database, is tried again.
            if !service.fleet.is_verified()
                && let Some(Err(error)) = token.run_until_cancelled(verification::verify_everything(&service)).await
            {
                error!(error = %Chain(&error), "Failed to verify the stored plugins");
            }
            if let Err(error) = look_after(&service).await {
                error!(error = %Chain(&error), "Failed to look after the database");
            }
            let now = service.now();
            if head_logged_at.is_none_or(|at| now.since(at) >= HEAD_PERIOD) {
                head_logged_at = Some(now);
                log_head(&service).await;
            }
        }
    });
}

async fn look_after(service: &Arc<Service>) -> Result<(), ServiceError> {
    tokens::note_token_uses(service).await?;
    verification::quarantine_what_revoked_keys_signed(service).await?;
    expiry::look_after_grants(service).await?;
    let oldest = service.now().minus(ANSWERS_KEPT);
    let mut tx = service.store.begin().await?;
    store::idempotency::forget(&mut tx, oldest).await?;
    tx.commit().await?;
    Ok(())
}

/// Puts the head of the audit chain into the log, where whoever can write the database cannot change it.
async fn log_head(service: &Service) {
    let head = async { audit::head(&mut *service.store.reader().await?).await }.await;
    match head {
        Ok(Some(head)) => info!(audit.head = %head, "The audit log ends with {head}"),
        Ok(None) => error!("The audit log has no head"),
        Err(error) => error!(error = %Chain(&error), "Failed to read the head of the audit log"),
    }
}

/// Ends the service once every task has ended.
pub async fn close(service: &Service) {
    tokens::note_token_uses(service).await.ok();
    log_head(service).await;
    service.store.close().await;
    service.data.release();
}

/// Tells whether the database answers.
pub async fn check_database(service: &Service) -> Result<(), ServiceError> {
    audit::head(&mut *service.store.reader().await?).await?;
    Ok(())
}
