//! What a call waits for before it can be sent: the plugin, and a place among the calls that run at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use plugbay_domain::{Code, PluginRef};
use plugbay_registry::Caller;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::calls::{AskedBy, SOON};
use crate::in_flight::NoPlace;
use crate::{Fleet, FleetError, Member, Phase, PluginProblem, Up, calls, engine};

/// Longest time that a call waits while another version takes over.
const LONGEST_HOLD: Duration = Duration::from_secs(2);

/// A call that cannot be sent yet.
pub(crate) struct Waiting<'a> {
    fleet: &'a Fleet,
    by: AskedBy<'a>,
    wanted: &'a str,
    member: &'a Member,
    began: Instant,
    place: Option<Queued<'a>>,
}

impl<'a> Waiting<'a> {
    pub(crate) fn new(fleet: &'a Fleet, by: AskedBy<'a>, wanted: &'a str, member: &'a Member, began: Instant) -> Self {
        Self { fleet, by, wanted, member, began, place: None }
    }

    /// Waits until the plugin answers. A start is waited for, a pause before a start is not.
    pub(crate) async fn until_up(&mut self, longest: Option<Duration>) -> Result<Arc<Up>, FleetError> {
        let mut phases = self.member.phase();
        loop {
            let phase = phases.borrow_and_update().clone();
            let name = &self.member.name;
            match phase {
                Phase::Up(up) if up.session.ended().is_none() => return Ok(up),
                // It has just ended; what follows comes at once.
                Phase::Starting(_) | Phase::Up(_) | Phase::GivenUp => {}
                Phase::Held(_) => {
                    self.until_let_go(&mut phases).await?;
                    continue;
                }
                Phase::Waiting(until) => {
                    let wait = until.saturating_duration_since(Instant::now()).max(SOON);
                    let detail = format!("`{name}` does not run; it is started again in {} s", wait.as_secs());
                    return Err(PluginProblem::new(Code::PluginRestarting, detail).retry_after(wait).into());
                }
                Phase::EngineAway => return Err(engine::engine_problem(self.fleet).retry_after(SOON).into()),
                Phase::Stopping => {
                    return Err(PluginProblem::stopping(name).retry_after(SOON).into());
                }
                Phase::Down => return Err(calls::why_not_running(self.fleet, self.by, self.wanted).await),
            }
            self.queue()?;
            let patience = longest.unwrap_or(self.fleet.config.calls.start);
            let changed = timeout_at(self.began + patience, phases.changed()).await;
            if changed.is_err() {
                let detail = format!("`{name}` was not ready within {} ms", patience.as_millis());
                return Err(PluginProblem::new(Code::PluginRestarting, detail).retry_after(SOON).into());
            }
        }
    }

    /// Waits while another version takes over. That is short, so such calls need no place in the queue.
    async fn until_let_go(&self, phases: &mut watch::Receiver<Phase>) -> Result<(), FleetError> {
        let over = phases.wait_for(|phase| !matches!(phase, Phase::Held(_)));
        if timeout(LONGEST_HOLD, over).await.is_ok() {
            return Ok(());
        }
        let detail =
            format!("`{}` is being updated, and calls of the version before take their time", self.member.name);
        Err(PluginProblem::new(Code::PluginRestarting, detail).retry_after(SOON).into())
    }

    /// Waits for one of the places for calls that run at once. `None` when another session takes the calls by now.
    pub(crate) async fn place(
        &mut self,
        up: &Up,
        deadline: Instant,
    ) -> Result<Option<OwnedSemaphorePermit>, FleetError> {
        let places = Arc::clone(&up.places);
        let place = if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            place
        } else {
            self.queue()?;
            match self.wait_for_place(places, deadline).await? {
                Some(place) => place,
                None => return Ok(None),
            }
        };
        self.place = None;
        Ok(Some(place))
    }

    async fn wait_for_place(
        &self,
        places: Arc<Semaphore>,
        deadline: Instant,
    ) -> Result<Option<OwnedSemaphorePermit>, FleetError> {
        if let Ok(place) = timeout_at(deadline, places.acquire_owned()).await {
            // The places are closed when the session is to end.
            return Ok(place.ok());
        }
        let detail = format!("`{}` had no place for the call before its deadline", self.member.name);
        Err(PluginProblem::new(Code::PluginTimeout, detail).into())
    }

    fn queue(&mut self) -> Result<(), FleetError> {
        if self.place.is_none() {
            self.place = Some(Queued::enter(self.member, self.fleet.config.calls.queue)?);
        }
        Ok(())
    }
}

/// One of the places for calls that last. None of them is waited for: how long one lasts is not known. `None` when
/// another session takes the calls by now.
pub(crate) fn stream_place(member: &Member, up: &Up) -> Result<Option<OwnedSemaphorePermit>, FleetError> {
    match Arc::clone(&up.streams).try_acquire_owned() {
        Ok(place) => Ok(Some(place)),
        Err(TryAcquireError::Closed) => Ok(None),
        Err(TryAcquireError::NoPermits) => {
            let most = up.session.spec().limits.max_streams;
            let detail = format!("`{}` has {most} streams already, which is `resources.max_streams`", member.name);
            let how = format!("wait as long as Retry-After says, or plugbay limits set {} max_streams=…", member.name);
            Err(PluginProblem::new(Code::PluginBusy, detail).with_how(how).retry_after(SOON).into())
        }
    }
}

/// Refuses a call that will find no place, before its body is read: whoever floods a plugin should cost little.
pub fn check_room(fleet: &Fleet, caller: &Caller, wanted: &str) -> Result<(), FleetError> {
    let member = PluginRef::parse(wanted).and_then(|wanted| fleet.find(&wanted));
    let Some(member) = member.filter(|member| caller.may_call(&member.name)) else { return Ok(()) };
    fleet.in_flight.check(&member).map_err(|why| no_place(fleet, &member, why))?;
    let most = fleet.config.calls.queue;
    if member.queued.load(Ordering::Relaxed) >= most && member.takes_turns() {
        return Err(queue_full(&member, most));
    }
    Ok(())
}

pub(crate) fn no_place(fleet: &Fleet, member: &Member, no_place: NoPlace) -> FleetError {
    let most = fleet.in_flight.most();
    let detail = match no_place {
        NoPlace::Full => format!("{most} calls are under way, which is `limits.in_flight`"),
        NoPlace::Share(own) => format!(
            "{own} calls of `{}` are under way; other plugins must find as many places of the {most} of \
             `limits.in_flight`",
            member.name
        ),
    };
    PluginProblem::new(Code::PluginBusy, detail)
        .with_how("wait as long as Retry-After says, or raise `limits.in_flight`")
        .retry_after(SOON)
        .into()
}

fn queue_full(member: &Member, most: usize) -> FleetError {
    let detail = format!("{most} calls of `{}` wait already, which is `limits.queue`", member.name);
    PluginProblem::new(Code::PluginBusy, detail).retry_after(SOON).into()
}

/// A place among the calls that wait.
struct Queued<'a>(&'a AtomicUsize);

impl<'a> Queued<'a> {
    fn enter(member: &'a Member, most: usize) -> Result<Self, FleetError> {
        let queued = Self(&member.queued);
        if member.queued.fetch_add(1, Ordering::Relaxed) >= most {
            return Err(queue_full(member, most));
        }
        Ok(queued)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
