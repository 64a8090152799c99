//! Makes what runs equal to what should run, and removes what nobody knows. Every crash of plugbay or of the engine is
//! mended here and nowhere else.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use plugbay_domain::{Chain, Code, Plugin, PluginId, PluginRef, Refusal};
use plugbay_registry::Roster;
use plugbay_store as store;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::supervisor::FirstStart;
use crate::{EngineState, Fleet, FleetError, authority, engine, supervisor};

/// How often everything is compared.
const PERIOD: Duration = Duration::from_secs(10);

/// How long a look waits after an event: one seldom comes alone, and Docker tells of some before its own list shows them.
const SHORTEST: Duration = Duration::from_millis(100);

/// Longest time a plugin gets to stop because it should not run any more.
pub const STOP_GRACE: Duration = Duration::from_secs(20);

/// Compares what runs with what should, until the process stops.
pub async fn keep_reconciled(fleet: Arc<Fleet>, token: CancellationToken) {
    let looking = async {
        loop {
            // Nothing is started before the stored packages were found unchanged.
            if fleet.is_verified()
                && let Err(error) = reconcile(&fleet).await
            {
                warn!(error = %Chain(&error), "Plugins could not be compared with what should run");
            }
            if tokio::time::timeout(PERIOD, fleet.look.notified()).await.is_ok() {
                tokio::time::sleep(SHORTEST).await;
            }
        }
    };
    token.run_until_cancelled(looking).await;
}

async fn reconcile(fleet: &Arc<Fleet>) -> Result<(), FleetError> {
    sweep(fleet).await;
    let wanted = store::running::list_wanted(&mut *fleet.store.reader().await?).await?;
    let is_supervised = |id: &PluginId| fleet.find(&PluginRef::Id(*id)).is_some_and(|member| member.is_supervised());
    let waiting: Vec<PluginId> = wanted.iter().copied().filter(|id| !is_supervised(id)).collect();
    if !waiting.is_empty() {
        for id in order(fleet, &waiting).await? {
            settle_member(fleet, id).await?;
        }
    }
    for member in fleet.members() {
        if member.is_supervised() && !wanted.contains(&member.id) {
            settle_member(fleet, member.id).await?;
        }
    }
    note_last_calls(fleet).await
}

/// Starts or stops one plugin after looking again: somebody may be changing it just now.
async fn settle_member(fleet: &Arc<Fleet>, id: PluginId) -> Result<(), FleetError> {
    let by_id = PluginRef::Id(id);
    let find = async || -> Result<_, FleetError> {
        Ok(store::plugins::find(&mut *fleet.store.reader().await?, &by_id).await?)
    };
    let name = match (find().await?, fleet.find(&by_id)) {
        (Some(plugin), _) => plugin.name.clone(),
        (None, Some(member)) => member.name.clone(),
        (None, None) => return Ok(()),
    };
    let Some(_changing) = fleet.registry.try_lock(&name) else { return Ok(()) };
    let plugin = find().await?;
    let is_wanted = plugin.as_ref().is_some_and(Plugin::should_run);
    let member = fleet.member(id, &name);
    if is_wanted {
        // What it requires may have been taken back; it starts when that is granted again.
        if !member.is_supervised() && authority::refresh_grants(fleet, &member).await?.is_complete() {
            supervisor::supervise(fleet, &member, FirstStart::Resumed);
        }
    } else if member.is_supervised() {
        info!(plugin.name = %name, "Stopping `{name}`, which should not run");
        fleet.shutdown.spawn("plugin.stop", |_| async move { member.stop(Instant::now() + STOP_GRACE).await });
    }
    Ok(())
}

/// Removes sandboxes of sessions that nobody knows, and notices which are frozen.
async fn sweep(fleet: &Fleet) {
    let found = match fleet.engine.list().await {
        Ok(found) => found,
        Err(error) => {
            if error.code() == Code::EngineUnavailable && matches!(fleet.engine_state(), EngineState::Up(_)) {
                engine::probe_engine(fleet).await;
            }
            debug!(error = %Chain(&error), "The engine's sandboxes could not be listed");
            return;
        }
    };
    for sandbox in &found {
        if !sandbox.session.is_some_and(|session| fleet.is_announced(session)) {
            info!(sandbox = %sandbox.id, "Removing a sandbox that is left over");
            if let Err(error) = fleet.engine.remove(&sandbox.id).await {
                warn!(sandbox = %sandbox.id, error = %Chain(&error), "A sandbox could not be removed");
            }
        }
    }
    for member in fleet.members() {
        let Some(session) = member.session() else { continue };
        let paused = found.iter().any(|sandbox| sandbox.session == Some(session.id()) && sandbox.paused);
        member.set_paused(paused);
    }
}

/// Remembers the order in which plugins are started after a restart.
async fn note_last_calls(fleet: &Fleet) -> Result<(), FleetError> {
    let members = fleet.members();
    let calls: Vec<_> = members.iter().filter_map(|member| Some((member.id, member.record.take_unnoted()?))).collect();
    if !calls.is_empty() {
        let mut tx = fleet.store.begin().await?;
        store::running::note_calls(&mut tx, &calls).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// Stops every plugin at the end of the process. Nothing is started any more.
pub async fn stop_plugins(fleet: &Fleet, until: std::time::Instant) {
    let until = Instant::from_std(until);
    fleet.stopping.store(true, Ordering::SeqCst);
    let members = fleet.members();
    futures_util::future::join_all(members.iter().map(|member| member.stop(until))).await;
    if let Err(error) = note_last_calls(fleet).await {
        debug!(error = %Chain(&error), "The last calls could not be written down");
    }
}

/// The plugins in the order in which they are started. Nothing waits for what was started before: calls wait for a start
/// anyway.
async fn order(fleet: &Fleet, ids: &[PluginId]) -> Result<Vec<PluginId>, FleetError> {
    Ok(Roster::of(fleet.registry.snapshot().await?)?.required_first(ids))
}
