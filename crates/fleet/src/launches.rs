//! How many sandboxes are being started at one time, over all plugins. A storm of restarts, or a start of the service with
//! many plugins, waits its turn; what an operator asked for goes before.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use plugbay_runtime::metrics::{StartMeters, StartOutcome};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::StartError;
use crate::member::stop_wished;

/// After so many starts that somebody asked for, one of the others has its turn.
const ASKED_IN_A_ROW: u32 = 3;

/// A start that takes longer than this lets the next one begin: a plugin that hangs must not hold up others.
const LONGEST_TURN: Duration = Duration::from_secs(5);

/// Why a plugin is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// An operator asked for it, and may be waiting.
    Asked,
    /// It ran before.
    Resumed,
}

/// The turns of all plugins.
#[derive(Debug)]
pub(crate) struct Launches(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    line: Mutex<Line>,
    meters: StartMeters,
}

#[derive(Debug)]
struct Line {
    free: usize,
    asked: VecDeque<oneshot::Sender<Turn>>,
    resumed: VecDeque<oneshot::Sender<Turn>>,
    /// Turns in a row that went to what was asked for.
    asked_in_a_row: u32,
}

/// The right to start a sandbox. Passed on when dropped.
#[derive(Debug)]
pub(crate) struct Turn(Option<Arc<Shared>>);

impl Launches {
    /// So many at one time.
    pub(crate) fn new(most: usize) -> Self {
        let (asked, resumed) = (VecDeque::new(), VecDeque::new());
        let line = Mutex::new(Line { free: most, asked, resumed, asked_in_a_row: 0 });
        Self(Arc::new(Shared { line, meters: StartMeters::default() }))
    }

    /// How starts ended.
    pub(crate) fn meters(&self) -> &StartMeters {
        &self.0.meters
    }

    /// Waits for a turn, unless the plugin is to stop.
    pub(crate) async fn turn_unless(&self, cause: Cause, mut stop: watch::Receiver<Option<Instant>>) -> Option<Turn> {
        tokio::select! {
            biased;
            _ = stop_wished(&mut stop) => None,
            turn = self.turn(cause) => Some(turn),
        }
    }

    /// Does what somebody asked for when it has its turn. What takes too long goes on without the turn.
    pub(crate) async fn asked<T>(&self, work: impl Future<Output = T>) -> T {
        self.turn(Cause::Asked).await.hold_for(LONGEST_TURN, work).await
    }

    /// Waits for a turn, in the order in which it was asked for one. Given up by dropping the future.
    async fn turn(&self, cause: Cause) -> Turn {
        let waiting = {
            let mut line = self.0.lock();
            if line.free > 0 {
                // Nobody waits where there are free turns.
                line.free -= 1;
                return Turn(Some(Arc::clone(&self.0)));
            }
            let (sender, waiting) = oneshot::channel();
            match cause {
                Cause::Asked => line.asked.push_back(sender),
                Cause::Resumed => line.resumed.push_back(sender),
            }
            waiting
        };
        waiting.await.expect("whoever waits is told before the line is gone")
    }
}

impl Turn {
    /// Does the work of a turn. What takes too long goes on without the turn.
    pub(crate) async fn hold<T>(self, work: impl Future<Output = Result<T, StartError>>) -> Result<T, StartError> {
        let (began, shared) = (Instant::now(), self.0.clone());
        let started = self.hold_for(LONGEST_TURN, work).await;
        if let Some(Shared { meters, .. }) = shared.as_deref() {
            let outcome = match &started {
                Ok(_) => StartOutcome::Active,
                Err(error) => error.fault().into(),
            };
            meters.outcomes.of(outcome).add_one();
            if started.is_ok() {
                meters.seconds.observe(began.elapsed());
            }
        }
        started
    }

    async fn hold_for<T>(self, longest: Duration, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        match tokio::time::timeout(longest, &mut work).await {
            Ok(done) => done,
            Err(_elapsed) => {
                drop(self);
                work.await
            }
        }
    }
}

impl Line {
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let resumed_has_waited = self.asked_in_a_row >= ASKED_IN_A_ROW && !self.resumed.is_empty();
        let asked = if resumed_has_waited { None } else { self.asked.pop_front() };
        self.asked_in_a_row = if asked.is_some() { self.asked_in_a_row.saturating_add(1) } else { 0 };
        asked.or_else(|| self.resumed.pop_front())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(shared) = self.0.take() else { return };
        loop {
            let next = {
                let mut line = shared.lock();
                let next = line.next();
                line.free += usize::from(next.is_none());
                next
            };
            let Some(next) = next else { return };
            match next.send(Self(Some(Arc::clone(&shared)))) {
                Ok(()) => return,
                // Whoever waited has gone; the turn is for the next one.
                Err(mut turn) => drop(turn.0.take()),
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Poll;

    use futures_util::poll;

    use super::*;
    use crate::FleetError;

    fn free(launches: &Launches) -> usize {
        launches.0.lock().free
    }

    #[tokio::test]
    async fn no_more_than_so_many_have_a_turn_and_the_others_follow_in_order() {
        let launches = Launches::new(2);
        let first = launches.turn(Cause::Resumed).await;
        let second = launches.turn(Cause::Resumed).await;
        let (mut third, mut fourth) = (pin!(launches.turn(Cause::Resumed)), pin!(launches.turn(Cause::Resumed)));
        assert!(poll!(&mut third).is_pending() && poll!(&mut fourth).is_pending());
        drop(second);
        assert!(poll!(&mut fourth).is_pending());
        let Poll::Ready(third) = poll!(third) else { panic!("it is the third one's turn") };
        drop((first, third));
        assert!(poll!(fourth).is_ready());
        assert_eq!(free(&launches), 2);
    }

    #[tokio::test]
    async fn what_was_asked_for_goes_before_and_starves_nothing() {
        let launches = Launches::new(1);
        let mut turn = launches.turn(Cause::Resumed).await;
        let causes = std::iter::repeat_n(Cause::Resumed, 2).chain(std::iter::repeat_n(Cause::Asked, 8));
        let mut waiting: Vec<_> = causes.map(|cause| Box::pin(launches.turn(cause))).collect();
        for waiter in &mut waiting {
            assert!(poll!(waiter).is_pending());
        }
        let mut order = Vec::new();
        while order.len() < 10 {
            drop(turn);
            let mut next = None;
            for (place, waiter) in waiting.iter_mut().enumerate().filter(|(place, _)| !order.contains(place)) {
                if let Poll::Ready(turn) = poll!(waiter) {
                    next = Some((place, turn));
                    break;
                }
            }
            let (place, given) = next.expect("somebody has the turn");
            order.push(place);
            turn = given;
        }
        assert_eq!(order, [2, 3, 4, 0, 5, 6, 7, 1, 8, 9]);
    }

    #[tokio::test]
    async fn a_turn_goes_past_whoever_waits_no_more() {
        let launches = Launches::new(1);
        let turn = launches.turn(Cause::Asked).await;
        {
            let mut gone = pin!(launches.turn(Cause::Asked));
            assert!(poll!(&mut gone).is_pending());
        }
        let mut last = pin!(launches.turn(Cause::Resumed));
        {
            // This one was given its turn and goes without having looked.
            let mut told = pin!(launches.turn(Cause::Asked));
            assert!(poll!(&mut told).is_pending());
            assert!(poll!(&mut last).is_pending());
            drop(turn);
        }
        assert!(poll!(last).is_ready());
        assert_eq!(free(&launches), 1);
    }

    #[tokio::test]
    async fn a_start_that_hangs_holds_up_the_others_only_for_a_while() {
        let launches = Launches::new(1);
        let (began, longest) = (Instant::now(), Duration::from_millis(50));
        let hanging = launches.turn(Cause::Resumed).await.hold_for(longest, std::future::pending::<()>());
        let next = async { drop(launches.turn(Cause::Resumed).await) };
        tokio::select! {
            () = hanging => unreachable!("it never ends"),
            () = next => assert!(began.elapsed() >= longest),
        }
        assert_eq!(launches.turn(Cause::Resumed).await.hold(async { Ok(7) }).await.unwrap(), 7);
        let refused = async { Err::<(), _>(StartError::Refused(FleetError::TaskDied { name: "start" })) };
        let failed = launches.turn(Cause::Resumed).await.hold(refused).await;
        assert!(failed.is_err());
        let meters = launches.meters();
        assert_eq!(meters.outcomes.of(StartOutcome::Active).get(), 1);
        assert_eq!(meters.outcomes.of(StartOutcome::Surroundings).get(), 1);
        assert_eq!(free(&launches), 1);
    }
}
