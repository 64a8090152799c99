//! How a version comes to serve without costing a call: tried on a copy of what the plugin keeps while the version before
//! answers, then started on what is kept once no call runs, then swapped in by one transaction and one switch.

use std::sync::Arc;
use std::time::Duration;

use plugbay_domain::{Chain, Code, DataId, Refusal as _, Timestamp, UpdateFailure};
use plugbay_fleet::authority::permissions_problem;
use plugbay_fleet::{
    EngineState, FirstStart, Member, PluginProblem, Reach, StartError, Subject, Successor, Up, engine, settings, start,
    supervisor, volumes,
};
use plugbay_registry::{Caller, PluginChange};
use plugbay_session::{LaunchError, Session, StartFailure, Unfit};
use plugbay_store as store;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::update::{Change, UpdateOutcome, change};
use crate::{Service, ServiceError, commands, requires, tools};

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
    fn other(error: impl Into<ServiceError>) -> Self {
        Self::Other(error.into())
    }

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
            other => Self::other(other.into_service(member)),
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

/// Lets a version serve. Tells until when it is watched, if it is.
pub(crate) async fn take_over(
    service: &Arc<Service>,
    caller: &Caller,
    changing: &mut PluginChange<'_>,
    change: Change,
    outcome: &UpdateOutcome,
) -> Result<Option<Timestamp>, ServiceError> {
    let member = service.fleet.member(change.plugin.id, &change.plugin.name);
    let former = store::snapshots::find(&mut *service.store.reader().await?, change.plugin.id).await?;
    let former = former.map(|snapshot| DataId { generation: snapshot.generation, ..change.plugin.data() });
    if change.plugin.is_enabled() {
        take_over_running(service, caller, changing, &member, &change, outcome).await?;
    } else {
        take_over_at_rest(service, caller, changing, &change, outcome).await?;
    }
    // Only the last snapshot is kept.
    if let Some(former) = former.filter(|former| former.generation != change.plugin.generation) {
        let (shutdown, service) = (&service.shutdown, Arc::clone(service));
        shutdown.spawn("update.former", move |_| async move { volumes::remove_data(&service.fleet, former).await });
    }
    member.reset_breaker();
    let plugin = &changing.plugin;
    info!(plugin.name = %plugin.name, "`{}` is {} now", plugin.name, plugin.serving);
    Ok(plugin.last_update.as_ref().map(|last| last.watched_until).filter(|end| *end > plugin.updated_at))
}

/// Nothing runs that calls could go to.
async fn take_over_at_rest(
    service: &Service,
    caller: &Caller,
    changing: &mut PluginChange<'_>,
    change: &Change,
    outcome: &UpdateOutcome,
) -> Result<(), ServiceError> {
    let data = next_data(service, change).await?;
    volumes::finish_hand_over(&service.fleet, change.plugin.id).await?;
    let done = async {
        volumes::fork_data(&service.fleet, &change.plugin.name, change.origin(), data).await?;
        change::commit(service, caller, changing, change, outcome, data).await
    };
    or_remove(service, data, done.await).await
}

async fn take_over_running(
    service: &Arc<Service>,
    caller: &Caller,
    changing: &mut PluginChange<'_>,
    member: &Arc<Member>,
    change: &Change,
    outcome: &UpdateOutcome,
) -> Result<(), ServiceError> {
    // Told before it is started, and again when it is recorded: another may be enabled meanwhile.
    let manifest = &change.manifest;
    requires::check_dependents(service, caller, &manifest.name, &manifest.version, &manifest.requires).await?;
    commands::check_commands(service, &change.plugin, &change.manifest).await?;
    tools::check_names(service, &change.plugin, &change.manifest).await?;
    if matches!(service.fleet.engine_state(), EngineState::Away { .. }) {
        // What still answers is not given up for something that nobody could try.
        return if member.session().is_some() {
            Err(engine::engine_problem(&service.fleet).into())
        } else {
            take_over_stopped(service, caller, changing, member, change, outcome).await
        };
    }
    let standing = change::standing_of(service, change).await?;
    if let Some(problem) = permissions_problem(&member.name, &standing) {
        return Err(problem.into());
    }
    let reach = Arc::new(member.reach().beside(standing.grants()));
    let candidate = Candidate { member, change, reach };
    if let Err(setback) = try_out(service, &candidate).await {
        return Err(roll_back(service, changing, change, setback).await);
    }
    if let Some(up) = member.hold_calls() {
        match timeout(DRAIN, up.drained()).await {
            Ok(Some(_no_call_runs)) => {
                let done = take_over_at_once(service, caller, changing, &candidate, &up, outcome).await;
                if done.is_err() {
                    member.let_calls_go();
                }
                return done;
            }
            // Its calls do not end, or it has ended itself.
            Ok(None) | Err(_) => member.let_calls_go(),
        }
    }
    take_over_stopped(service, caller, changing, member, change, outcome).await
}

/// Stops what runs, and starts the version in its place.
async fn take_over_stopped(
    service: &Arc<Service>,
    caller: &Caller,
    changing: &mut PluginChange<'_>,
    member: &Arc<Member>,
    change: &Change,
    outcome: &UpdateOutcome,
) -> Result<(), ServiceError> {
    let is_supervised = member.is_supervised();
    member.stop(Instant::now() + CUT_GRACE).await;
    let done = take_over_at_rest(service, caller, changing, change, outcome).await;
    if is_supervised || done.is_ok() && service.fleet.is_verified() {
        supervisor::supervise(&service.fleet, member, FirstStart::Resumed);
    }
    done
}

/// Starts the version on a copy of what the plugin keeps, and asks how it is. Nobody notices anything of it.
async fn try_out(service: &Arc<Service>, candidate: &Candidate<'_>) -> Result<(), Setback> {
    let Candidate { member, change, .. } = candidate;
    let data = next_data(service, change).await.map_err(Setback::Other)?;
    let version = change.version();
    member.log.note("INFO", &format!("{version} is tried on a copy of what is kept"));
    volumes::finish_hand_over(&service.fleet, member.id).await.map_err(Setback::other)?;
    let forked = volumes::fork_data(&service.fleet, &member.name, change.origin(), data).await;
    or_remove(service, data, forked).await.map_err(Setback::other)?;
    let session = match start_fit(service, candidate, data).await {
        Ok(session) => session,
        Err(setback) => {
            // At once: the next update may get the same number.
            volumes::remove_data(&service.fleet, data).await;
            return Err(setback);
        }
    };
    let (shutdown, service) = (&service.shutdown, Arc::clone(service));
    shutdown.spawn("update.trial", |_| async move {
        session.stop(Instant::now() + TRIAL_GRACE).await;
        service.fleet.withdraw(session.id());
        volumes::remove_data(&service.fleet, data).await;
    });
    Ok(())
}

/// Starts the version on this copy, and makes sure that it works.
async fn start_fit(service: &Service, candidate: &Candidate<'_>, data: DataId) -> Result<Session, Setback> {
    let subject = candidate.subject(data);
    let starting = start::start_session(&service.fleet, candidate.member, &subject, &|_| {});
    let started = start::asked(&service.fleet, Box::pin(starting)).await;
    let session = started.map_err(|error| Setback::of_start(error, candidate.member))?;
    match session.examine(HEALTH).await {
        Ok(()) => Ok(session),
        Err(unfit) => {
            discard(service, &session).await;
            Err(Setback::unfit(&unfit))
        }
    }
}

async fn discard(service: &Service, session: &Session) {
    session.stop(Instant::now()).await;
    service.fleet.withdraw(session.id());
}

/// Takes over from a session that works on no call, and gets none.
async fn take_over_at_once(
    service: &Arc<Service>,
    caller: &Caller,
    changing: &mut PluginChange<'_>,
    candidate: &Candidate<'_>,
    up: &Up,
    outcome: &UpdateOutcome,
) -> Result<(), ServiceError> {
    let Candidate { member, change, reach } = candidate;
    let data = next_data(service, change).await?;
    let forked = volumes::fork_data(&service.fleet, &member.name, change.origin(), data).await;
    or_remove(service, data, forked).await?;
    let session = match start_fit(service, candidate, data).await {
        Ok(session) => session,
        Err(setback) => {
            volumes::remove_data(&service.fleet, data).await;
            return Err(roll_back(service, changing, change, setback).await);
        }
    };
    // Secrets that it may have once it serves are not there before.
    let (_, known) = match settings::load_config(&service.fleet, member, reach, change.arrival.record()).await {
        Ok(found) => found,
        Err(error) => {
            discard(service, &session).await;
            return or_remove(service, data, Err(error.into())).await;
        }
    };
    let committed = if service.fleet.is_stopping() {
        Err(PluginProblem::new(Code::PluginStopping, "the service is being stopped").into())
    } else {
        change::commit(service, caller, changing, change, outcome, data).await
    };
    if let Err(error) = committed {
        discard(service, &session).await;
        return or_remove(service, data, Err(error)).await;
    }
    // The rows say so by now, so nothing may keep the switch from happening.
    let completed =
        settings::complete_config(&service.fleet, (member, reach), change.arrival.record(), &session, &known).await;
    if let Err(error) = completed {
        warn!(plugin.name = %member.name, error = %Chain(&error), "The next look starts it anew");
    }
    member.succeed(Successor::new(session, Arc::clone(reach), member, service.config.update.watch));
    // Calls that were about to go to the version before come here instead.
    up.places.close();
    Ok(())
}

/// A number for a copy that nothing has.
async fn next_data(service: &Service, change: &Change) -> Result<DataId, ServiceError> {
    let plugin = change.plugin.id;
    let found = volumes::copies_of(&service.fleet, plugin).await?;
    let snapshot = store::snapshots::find(&mut *service.store.reader().await?, plugin).await?;
    let known = found.into_iter().map(|data| data.generation);
    let known = known.chain([change.plugin.generation]).chain(snapshot.map(|snapshot| snapshot.generation));
    Ok(DataId { plugin, generation: known.max().unwrap_or_default().saturating_add(1) })
}

/// Removes a copy if it has become useless.
async fn or_remove<T, E>(service: &Service, data: DataId, done: Result<T, E>) -> Result<T, E> {
    if done.is_err() {
        volumes::remove_data(&service.fleet, data).await;
    }
    done
}

/// Writes down that a version does not serve, and says why.
async fn roll_back(
    service: &Service,
    changing: &mut PluginChange<'_>,
    change: &Change,
    setback: Setback,
) -> ServiceError {
    let name = &change.plugin.name;
    let (version, serving) = (change.version(), change.serving());
    let replaces = if version == serving { "what replaces " } else { "" };
    let (problem, reason, text) = match setback {
        Setback::Version(failure) => {
            let detail =
                format!("`{name}` stays at {serving}: {replaces}{version} was started beside it, and {}", failure.text);
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
    let noted = note_setback(service, changing, change, reason, text).await;
    if let Err(error) = noted {
        warn!(plugin.name = %name, error = %Chain(&error), "A failed update could not be written down");
    }
    problem
}

async fn note_setback(
    service: &Service,
    changing: &mut PluginChange<'_>,
    change: &Change,
    reason: &str,
    text: String,
) -> Result<(), ServiceError> {
    let why = UpdateFailure { reason: reason.to_owned(), text };
    if changing.plugin.note_failure(change.version().clone(), why, service.now()) {
        changing.commit_unreported(changing.begin().await?).await?;
    }
    Ok(())
}
