//! How a version comes to serve without costing a call: tried on a copy of what the plugin keeps while the version before
//! answers, then started on what is kept once no call runs, then swapped in by one transaction and one switch.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::{Change, UpdateOutcome};
use crate::domain::{Chain, Code, DataId, Refusal as _, Timestamp, UpdateFailure};
use crate::registry::PluginChange;
use crate::service::approval::permissions_problem;
use crate::service::fleet::{EngineState, FirstStart, Member, Reach, StartError, Subject, Successor, Up};
use crate::service::{Caller, PluginProblem, Service, ServiceError};
use crate::session::{LaunchError, Session, StartFailure, Unfit};
use crate::store;

/// How long a version may take to say how it is.
const HEALTH: Duration = Duration::from_secs(5);

/// How long calls of the version before may go on while further ones wait.
const DRAIN: Duration = Duration::from_secs(10);

/// How long a version that was only tried may clean up.
const TRIAL_GRACE: Duration = Duration::from_secs(2);

/// How long a version may clean up whose calls did not end.
const CUT_GRACE: Duration = Duration::from_secs(2);

/// Why a version does not serve.
#[derive(Debug)]
enum Setback {
    /// The version's doing.
    Version(Box<StartFailure>),
    /// Anything else.
    Other(ServiceError),
}

impl Setback {
    fn unfit(unfit: &Unfit) -> Self {
        let reason = match unfit {
            Unfit::Ended(_) => "died",
            Unfit::Silent(_) => "health-unanswered",
            Unfit::Unhealthy(_) => "unhealthy",
        };
        Self::Version(Box::new(StartFailure::new(reason, unfit.to_string(), None)))
    }

    fn of_start(error: StartError, member: &Member) -> Self {
        match error {
            StartError::Launch(LaunchError::Plugin(failure)) => Self::Version(failure),
            other => Self::Other(other.into_service(member)),
        }
    }
}

/// A version as it would be started.
struct Candidate<'a> {
    member: &'a Arc<Member>,
    change: &'a Change,
    reach: Arc<Reach>,
}

impl Candidate<'_> {
    fn subject(&self, data: DataId) -> Subject {
        let (version, manifest) = (self.change.arrival.record().clone(), Arc::clone(&self.change.manifest));
        Subject { version, manifest, data, reach: Arc::clone(&self.reach) }
    }
}

impl Service {
    /// Lets a version serve. Tells until when it is watched, if it is.
    pub(in crate::service) async fn take_over(
        self: &Arc<Self>,
        caller: &Caller,
        changing: &mut PluginChange<'_>,
        change: Change,
        outcome: &UpdateOutcome,
    ) -> Result<Option<Timestamp>, ServiceError> {
        let member = self.member(change.plugin.id, &change.plugin.name);
        let former = store::snapshots::find(&mut *self.store.reader().await?, change.plugin.id).await?;
        let former = former.map(|snapshot| DataId { generation: snapshot.generation, ..change.plugin.data() });
        if change.plugin.is_enabled() {
            self.take_over_running(caller, changing, &member, &change, outcome).await?;
        } else {
            self.take_over_at_rest(caller, changing, &change, outcome).await?;
        }
        // Only the last snapshot is kept.
        if let Some(former) = former.filter(|former| former.generation != change.plugin.generation) {
            let service = Arc::clone(self);
            self.shutdown.spawn("update.former", move |_| async move { service.remove_data(former).await });
        }
        member.reset_breaker();
        let plugin = &changing.plugin;
        info!(plugin.name = %plugin.name, "`{}` is {} now", plugin.name, plugin.serving);
        Ok(plugin.last_update.as_ref().map(|last| last.watched_until).filter(|end| *end > plugin.updated_at))
    }

    /// Nothing runs that calls could go to.
    async fn take_over_at_rest(
        &self,
        caller: &Caller,
        changing: &mut PluginChange<'_>,
        change: &Change,
        outcome: &UpdateOutcome,
    ) -> Result<(), ServiceError> {
        let data = self.next_data(change).await?;
        self.finish_hand_over(change.plugin.id).await?;
        let done = async {
            self.fork_data(&change.plugin.name, change.origin(), data).await?;
            self.commit(caller, changing, change, outcome, data).await
        };
        self.or_remove(data, done.await).await
    }

    async fn take_over_running(
        self: &Arc<Self>,
        caller: &Caller,
        changing: &mut PluginChange<'_>,
        member: &Arc<Member>,
        change: &Change,
        outcome: &UpdateOutcome,
    ) -> Result<(), ServiceError> {
        // Told before it is started, and again when it is recorded: another may be enabled meanwhile.
        let manifest = &change.manifest;
        self.check_dependents(caller, &manifest.name, &manifest.version, &manifest.requires).await?;
        self.check_commands(&change.plugin, &change.manifest).await?;
        if matches!(self.engine_state(), EngineState::Away { .. }) {
            // What still answers is not given up for something that nobody could try.
            return if member.session().is_some() {
                Err(self.engine_problem().into())
            } else {
                self.take_over_stopped(caller, changing, member, change, outcome).await
            };
        }
        let standing = self.standing_of(change).await?;
        if let Some(problem) = permissions_problem(&member.name, &standing) {
            return Err(problem.into());
        }
        let reach = Arc::new(member.reach().beside(standing.grants()));
        let candidate = Candidate { member, change, reach };
        if let Err(setback) = self.try_out(&candidate).await {
            return Err(self.roll_back(changing, change, setback).await);
        }
        if let Some(up) = member.hold_calls() {
            match timeout(DRAIN, up.drained()).await {
                Ok(Some(_no_call_runs)) => {
                    let done = self.take_over_at_once(caller, changing, &candidate, &up, outcome).await;
                    if done.is_err() {
                        member.let_calls_go();
                    }
                    return done;
                }
                // Its calls do not end, or it has ended itself.
                Ok(None) | Err(_) => member.let_calls_go(),
            }
        }
        self.take_over_stopped(caller, changing, member, change, outcome).await
    }

    /// Stops what runs, and starts the version in its place.
    async fn take_over_stopped(
        self: &Arc<Self>,
        caller: &Caller,
        changing: &mut PluginChange<'_>,
        member: &Arc<Member>,
        change: &Change,
        outcome: &UpdateOutcome,
    ) -> Result<(), ServiceError> {
        let is_supervised = member.is_supervised();
        member.stop(Instant::now() + CUT_GRACE).await;
        let done = self.take_over_at_rest(caller, changing, change, outcome).await;
        if is_supervised || done.is_ok() && self.is_verified() {
            self.supervise(member, FirstStart::Resumed);
        }
        done
    }

    /// Starts the version on a copy of what the plugin keeps, and asks how it is. Nobody notices anything of it.
    async fn try_out(self: &Arc<Self>, candidate: &Candidate<'_>) -> Result<(), Setback> {
        let Candidate { member, change, .. } = candidate;
        let data = self.next_data(change).await.map_err(Setback::Other)?;
        let version = change.version();
        member.log.note("INFO", &format!("{version} is tried on a copy of what is kept"));
        self.finish_hand_over(member.id).await.map_err(Setback::Other)?;
        let forked = self.fork_data(&member.name, change.origin(), data).await;
        self.or_remove(data, forked).await.map_err(Setback::Other)?;
        let session = match self.start_fit(candidate, data).await {
            Ok(session) => session,
            Err(setback) => {
                // At once: the next update may get the same number.
                self.remove_data(data).await;
                return Err(setback);
            }
        };
        let service = Arc::clone(self);
        self.shutdown.spawn("update.trial", |_| async move {
            session.stop(Instant::now() + TRIAL_GRACE).await;
            service.fleet.withdraw(session.id());
            service.remove_data(data).await;
        });
        Ok(())
    }

    /// Starts the version on this copy, and makes sure that it works.
    async fn start_fit(&self, candidate: &Candidate<'_>, data: DataId) -> Result<Session, Setback> {
        let subject = candidate.subject(data);
        let starting = self.start_session(candidate.member, &subject, &|_| {});
        let started = self.fleet.launches.asked(Box::pin(starting)).await;
        let session = started.map_err(|error| Setback::of_start(error, candidate.member))?;
        match session.examine(HEALTH).await {
            Ok(()) => Ok(session),
            Err(unfit) => {
                self.discard(&session).await;
                Err(Setback::unfit(&unfit))
            }
        }
    }

    async fn discard(&self, session: &Session) {
        session.stop(Instant::now()).await;
        self.fleet.withdraw(session.id());
    }

    /// Takes over from a session that works on no call, and gets none.
    async fn take_over_at_once(
        self: &Arc<Self>,
        caller: &Caller,
        changing: &mut PluginChange<'_>,
        candidate: &Candidate<'_>,
        up: &Up,
        outcome: &UpdateOutcome,
    ) -> Result<(), ServiceError> {
        let Candidate { member, change, reach } = candidate;
        let data = self.next_data(change).await?;
        let forked = self.fork_data(&member.name, change.origin(), data).await;
        self.or_remove(data, forked).await?;
        let session = match self.start_fit(candidate, data).await {
            Ok(session) => session,
            Err(setback) => {
                self.remove_data(data).await;
                return Err(self.roll_back(changing, change, setback).await);
            }
        };
        // Secrets that it may have once it serves are not there before.
        let (_, known) = match self.load_config(member, reach, change.arrival.record()).await {
            Ok(found) => found,
            Err(error) => {
                self.discard(&session).await;
                return self.or_remove(data, Err(error)).await;
            }
        };
        let committed = if self.fleet.stopping.load(Ordering::SeqCst) {
            Err(PluginProblem::new(Code::PluginStopping, "the service is being stopped").into())
        } else {
            self.commit(caller, changing, change, outcome, data).await
        };
        if let Err(error) = committed {
            self.discard(&session).await;
            return self.or_remove(data, Err(error)).await;
        }
        // The rows say so by now, so nothing may keep the switch from happening.
        let completed = self.complete_config((member, reach), change.arrival.record(), &session, &known).await;
        if let Err(error) = completed {
            warn!(plugin.name = %member.name, error = %Chain(&error), "The next look starts it anew");
        }
        member.succeed(Successor::new(session, Arc::clone(reach), member, self.config.update.watch));
        // Calls that were about to go to the version before come here instead.
        up.places.close();
        Ok(())
    }

    /// A number for a copy that nothing has.
    async fn next_data(&self, change: &Change) -> Result<DataId, ServiceError> {
        let plugin = change.plugin.id;
        let found = self.copies_of(plugin).await?;
        let snapshot = store::snapshots::find(&mut *self.store.reader().await?, plugin).await?;
        let known = found.into_iter().map(|data| data.generation);
        let known = known.chain([change.plugin.generation]).chain(snapshot.map(|snapshot| snapshot.generation));
        Ok(DataId { plugin, generation: known.max().unwrap_or_default().saturating_add(1) })
    }

    /// Removes a copy if it has become useless.
    async fn or_remove<T>(&self, data: DataId, done: Result<T, ServiceError>) -> Result<T, ServiceError> {
        if done.is_err() {
            self.remove_data(data).await;
        }
        done
    }

    /// Writes down that a version does not serve, and says why.
    async fn roll_back(&self, changing: &mut PluginChange<'_>, change: &Change, setback: Setback) -> ServiceError {
        let name = &change.plugin.name;
        let (version, serving) = (change.version(), change.serving());
        let replaces = if version == serving { "what replaces " } else { "" };
        let (problem, reason, text) = match setback {
            Setback::Version(failure) => {
                let detail = format!(
                    "`{name}` stays at {serving}: {replaces}{version} was started beside it, and {}",
                    failure.text
                );
                let problem = PluginProblem {
                    reason: Some(failure.reason),
                    exit_code: failure.exit_code,
                    log_tail: failure.log_tail,
                    ..PluginProblem::new(Code::UpdateRolledBack, detail)
                };
                (problem.into(), failure.reason, failure.text)
            }
            Setback::Other(error) => {
                let (reason, text) = (error.code().as_str(), error.to_string());
                (error, reason, text)
            }
        };
        let noted = self.note_setback(changing, change, reason, text).await;
        if let Err(error) = noted {
            warn!(plugin.name = %name, error = %Chain(&error), "A failed update could not be written down");
        }
        problem
    }

    async fn note_setback(
        &self,
        changing: &mut PluginChange<'_>,
        change: &Change,
        reason: &str,
        text: String,
    ) -> Result<(), ServiceError> {
        let why = UpdateFailure { reason: reason.to_owned(), text };
        if changing.plugin.note_failure(change.version().clone(), why, self.now()) {
            changing.commit_unreported(changing.begin().await?).await?;
        }
        Ok(())
    }
}
