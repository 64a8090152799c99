//! Makes what runs equal to what should run, and removes what nobody knows. Every crash of plugbay or of the engine is
//! mended here and nowhere else.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::supervisor::FirstStart;
use super::{EngineState, Member};
use crate::domain::{Chain, Code, Plugin, PluginId, PluginRef, Refusal};
use crate::service::{Service, ServiceError};
use crate::session::PluginLog;
use crate::store;

/// How often everything is compared.
const PERIOD: Duration = Duration::from_secs(10);

/// How long a look waits after an event: one seldom comes alone, and Docker tells of some before its own list shows them.
const SHORTEST: Duration = Duration::from_millis(100);

/// Longest time a plugin gets to stop because it should not run any more.
pub(in crate::service) const STOP_GRACE: Duration = Duration::from_secs(20);

impl Service {
    /// What this process knows of a plugin.
    pub(in crate::service) fn member(&self, id: PluginId, name: &crate::domain::PluginName) -> Arc<Member> {
        self.fleet.member(id, || {
            let log = PluginLog::new(self.data.log(id), Arc::clone(&self.clock));
            let max_tunnels = self.config.egress.max_tunnels;
            let breaker = self.config.breaker;
            Member::new(id, name.clone(), log, max_tunnels, breaker, Arc::clone(&self.clock), self.fleet.events.clone())
        })
    }

    pub(in crate::service) async fn keep_reconciled(self: Arc<Self>, token: CancellationToken) {
        let looking = async {
            loop {
                // Nothing is started before the stored packages were found unchanged.
                if self.is_verified()
                    && let Err(error) = self.reconcile().await
                {
                    warn!(error = %Chain(&error), "Plugins could not be compared with what should run");
                }
                if tokio::time::timeout(PERIOD, self.fleet.look.notified()).await.is_ok() {
                    tokio::time::sleep(SHORTEST).await;
                }
            }
        };
        token.run_until_cancelled(looking).await;
    }

    async fn reconcile(self: &Arc<Self>) -> Result<(), ServiceError> {
        self.sweep().await;
        let wanted = store::running::list_wanted(&mut *self.store.reader().await?).await?;
        let is_supervised =
            |id: &PluginId| self.fleet.find(&PluginRef::Id(*id)).is_some_and(|member| member.is_supervised());
        let waiting: Vec<PluginId> = wanted.iter().copied().filter(|id| !is_supervised(id)).collect();
        if !waiting.is_empty() {
            for id in self.required_first(&waiting).await? {
                self.settle_member(id).await?;
            }
        }
        for member in self.fleet.members() {
            if member.is_supervised() && !wanted.contains(&member.id) {
                self.settle_member(member.id).await?;
            }
        }
        self.note_last_calls().await
    }

    /// Starts or stops one plugin after looking again: somebody may be changing it just now.
    async fn settle_member(self: &Arc<Self>, id: PluginId) -> Result<(), ServiceError> {
        let by_id = PluginRef::Id(id);
        let find = async || -> Result<_, ServiceError> {
            Ok(store::plugins::find(&mut *self.store.reader().await?, &by_id).await?)
        };
        let name = match (find().await?, self.fleet.find(&by_id)) {
            (Some(plugin), _) => plugin.name.clone(),
            (None, Some(member)) => member.name.clone(),
            (None, None) => return Ok(()),
        };
        let Some(_changing) = self.registry.try_lock(&name) else { return Ok(()) };
        let plugin = find().await?;
        let is_wanted = plugin.as_ref().is_some_and(Plugin::should_run);
        let member = self.member(id, &name);
        if is_wanted {
            // What it requires may have been taken back; it starts when that is granted again.
            if !member.is_supervised() && self.refresh_grants(&member).await?.is_complete() {
                self.supervise(&member, FirstStart::Resumed);
            }
        } else if member.is_supervised() {
            info!(plugin.name = %name, "Stopping `{name}`, which should not run");
            self.shutdown.spawn("plugin.stop", |_| async move { member.stop(Instant::now() + STOP_GRACE).await });
        }
        Ok(())
    }

    /// Removes sandboxes of sessions that nobody knows, and notices which are frozen.
    async fn sweep(&self) {
        let found = match self.fleet.engine.list().await {
            Ok(found) => found,
            Err(error) => {
                if error.code() == Code::EngineUnavailable && matches!(self.engine_state(), EngineState::Up(_)) {
                    self.probe_engine().await;
                }
                debug!(error = %Chain(&error), "The engine's sandboxes could not be listed");
                return;
            }
        };
        for sandbox in &found {
            if !sandbox.session.is_some_and(|session| self.fleet.is_announced(session)) {
                info!(sandbox = %sandbox.id, "Removing a sandbox that is left over");
                if let Err(error) = self.fleet.engine.remove(&sandbox.id).await {
                    warn!(sandbox = %sandbox.id, error = %Chain(&error), "A sandbox could not be removed");
                }
            }
        }
        for member in self.fleet.members() {
            let Some(session) = member.session() else { continue };
            let paused = found.iter().any(|sandbox| sandbox.session == Some(session.id()) && sandbox.paused);
            member.set_paused(paused);
        }
    }

    /// Remembers the order in which plugins are started after a restart.
    async fn note_last_calls(&self) -> Result<(), ServiceError> {
        let members = self.fleet.members();
        let calls: Vec<_> =
            members.iter().filter_map(|member| Some((member.id, member.record.take_unnoted()?))).collect();
        if !calls.is_empty() {
            let mut tx = self.store.begin().await?;
            store::running::note_calls(&mut tx, &calls).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Stops every plugin at the end of the process. Nothing is started any more.
    pub async fn stop_plugins(&self, until: std::time::Instant) {
        let until = Instant::from_std(until);
        self.fleet.stopping.store(true, Ordering::SeqCst);
        let members = self.fleet.members();
        futures_util::future::join_all(members.iter().map(|member| member.stop(until))).await;
        if let Err(error) = self.note_last_calls().await {
            debug!(error = %Chain(&error), "The last calls could not be written down");
        }
    }
}
