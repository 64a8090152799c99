//! The keeper of one plugin's way to one database: a task that takes requests in turn, starts the worker when there is
//! something to do, and replaces it when it has ended, hangs, or holds a file that is not the database any more.

use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::child::{Lost, Worker, millis_until};
use super::file::{self, FileProblem};
use super::message::{Hello, Identity, Reply, Trouble, Work};
use super::{Database, DatabaseError, Inner, Key, shares_turns};
use plugbay_domain::{Access, escape};

/// Bytes of a message to a plugin beside the result in it.
pub(super) const ENVELOPE_BYTES: usize = 1_024;

/// How often the same trouble is written to the log: a plugin can ask again and again.
const WARNED_EVERY: Duration = Duration::from_mins(1);

/// How long after its deadline a worker that is being started may still say what is wrong.
const SLACK: Duration = Duration::from_secs(1);

type Answer = Result<Box<RawValue>, DatabaseError>;

/// One request.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) work: Work,
    pub(super) deadline: Instant,
    pub(super) answer: oneshot::Sender<Answer>,
}

pub(super) struct Keeper {
    around: Arc<Inner>,
    key: Key,
    database: Database,
    jobs: mpsc::Receiver<Job>,
    worker: Option<Held>,
    warned: Option<Instant>,
}

/// A worker and its place.
struct Held {
    worker: Worker,
    _place: OwnedSemaphorePermit,
}

impl Keeper {
    pub(super) fn new(around: Arc<Inner>, key: Key, database: Database, jobs: mpsc::Receiver<Job>) -> Self {
        Self { around, key, database, jobs, worker: None, warned: None }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        let serving = async {
            while let Some(job) = self.next().await {
                self.serve(job).await;
            }
        };
        stop.run_until_cancelled(serving).await;
        self.end_worker().await;
    }

    /// The next request; `None` when there was none for long.
    async fn next(&mut self) -> Option<Job> {
        let idle = tokio::time::sleep(self.around.limits.idle);
        tokio::pin!(idle);
        loop {
            let Some(held) = &mut self.worker else {
                tokio::select! {
                    job = self.jobs.recv() => return job,
                    () = &mut idle => if self.retire() { return None },
                }
                continue;
            };
            tokio::select! {
                job = self.jobs.recv() => return job,
                () = held.worker.ended() => self.end_worker().await,
                () = self.around.wanted.notified() => self.end_worker().await,
                () = &mut idle => {
                    self.end_worker().await;
                    if self.retire() {
                        return None;
                    }
                }
            }
        }
    }

    /// Whether nobody knows this keeper any more. Under the lock under which requests are handed in, so none is lost.
    fn retire(&mut self) -> bool {
        let mut keepers = self.around.keepers.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.jobs.is_empty() {
            return false;
        }
        keepers.remove(&self.key);
        true
    }

    async fn serve(&mut self, job: Job) {
        let Job { work, deadline, mut answer } = job;
        let done = {
            let gone = answer.closed();
            tokio::pin!(gone);
            self.work(work, deadline, gone).await
        };
        // Whoever asked may have gone.
        answer.send(done).ok();
    }

    async fn work(&mut self, work: Work, deadline: Instant, mut gone: Pin<&mut impl Future<Output = ()>>) -> Answer {
        let sharing = Arc::clone(&self.database.sharing);
        let turn = tokio::select! {
            biased;
            () = &mut gone => return Err(self.too_late()),
            turn = timeout_at(deadline, sharing.take(work.access())) => turn,
        };
        let Ok(turn) = turn else { return Err(DatabaseError::Locked { name: self.key.name.clone() }) };
        let answer = self.work_in_turn(work, deadline, gone).await;
        if let (Some(mut turn), Err(DatabaseError::Locked { .. })) = (turn, &answer) {
            turn.was_in_vain();
        }
        answer
    }

    async fn work_in_turn(
        &mut self,
        work: Work,
        deadline: Instant,
        mut gone: Pin<&mut impl Future<Output = ()>>,
    ) -> Answer {
        let worker = tokio::select! {
            // First, so that nothing is started for somebody who has gone.
            biased;
            () = &mut gone => return Err(self.too_late()),
            ready = timeout_at(deadline + SLACK, self.ready(deadline)) => match ready {
                Ok(worker) => worker?,
                Err(_elapsed) => return Err(DatabaseError::TooLate { time: self.around.limits.time }),
            },
        };
        match worker.ask(work, deadline, gone).await {
            Ok(Reply::Done { result, log, .. }) => {
                self.learn(log);
                Ok(result)
            }
            Ok(Reply::Failed { trouble, text, .. }) => Err(self.told(trouble, text).await),
            Err(lost) => {
                if let Some(held) = self.worker.take() {
                    held.worker.kill().await;
                }
                Err(match lost {
                    Lost::Silent => self.too_late(),
                    Lost::Ended => DatabaseError::Ended { name: self.key.name.clone() },
                })
            }
        }
    }

    /// The worker, with the file open that the path leads to now.
    async fn ready(&mut self, deadline: Instant) -> Result<&mut Worker, DatabaseError> {
        let path = self.database.path.clone();
        let identity = tokio::task::spawn_blocking(move || file::identify(&path)).await;
        let identity = match identity {
            Ok(Ok(identity)) => identity,
            Ok(Err(problem)) => return Err(self.file_problem(&problem)),
            Err(died) => return Err(self.failed(&died.to_string())),
        };
        let is_fit = |held: &mut Held| held.worker.identity == identity && !held.worker.has_ended();
        if !self.worker.as_mut().is_some_and(is_fit) {
            self.end_worker().await;
            let held = self.start(identity, deadline).await?;
            self.worker = Some(held);
        }
        Ok(&mut self.worker.as_mut().expect("it was there or was started").worker)
    }

    async fn start(&mut self, identity: Identity, deadline: Instant) -> Result<Held, DatabaseError> {
        let places = Arc::clone(&self.around.places);
        let place = if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            place
        } else {
            self.around.wanted.notify_one();
            let busy = DatabaseError::Busy { text: "all `databases.workers` are at work; try again" };
            let Ok(Ok(place)) = timeout_at(deadline, places.acquire_owned()).await else { return Err(busy) };
            place
        };
        let limits = &self.around.limits;
        let hello = Hello {
            path: self.database.path.clone(),
            identity,
            writes: self.key.access == Access::Write,
            rows: limits.rows,
            result_bytes: limits.result_bytes,
            memory_bytes: limits.memory_bytes,
            file_bytes: limits.file_bytes,
            milliseconds: millis_until(deadline),
        };
        match Worker::start(&limits.program, &hello, deadline).await {
            Ok((worker, Reply::Done { log, .. })) => {
                self.learn(log);
                Ok(Held { worker, _place: place })
            }
            Ok((worker, Reply::Failed { trouble, text, .. })) => {
                worker.kill().await;
                Err(self.told(trouble, text).await)
            }
            Err(error) => Err(self.failed(&format!("no worker could be started: {error}"))),
        }
    }

    /// What the plugin is told of what a worker said.
    async fn told(&mut self, trouble: Trouble, text: String) -> DatabaseError {
        match trouble {
            Trouble::Invalid => DatabaseError::Invalid { text },
            Trouble::Refused => DatabaseError::Refused { text },
            Trouble::Limit => DatabaseError::Limit { text },
            Trouble::TooLate => self.too_late(),
            Trouble::Locked => DatabaseError::Locked { name: self.key.name.clone() },
            Trouble::Memory => {
                self.end_worker().await;
                DatabaseError::Limit { text }
            }
            Trouble::Failed => {
                self.end_worker().await;
                self.failed(&text)
            }
        }
    }

    fn learn(&self, log: bool) {
        let name = &self.key.name;
        if self.database.sharing.learn(log) && !log {
            warn!(database.name = %name, "{}", shares_turns(name));
        }
    }

    fn too_late(&self) -> DatabaseError {
        DatabaseError::TooLate { time: self.around.limits.time }
    }

    fn file_problem(&mut self, problem: &FileProblem) -> DatabaseError {
        self.failed(&problem.to_string())
    }

    /// What only the operator can mend: the log says what it is.
    fn failed(&mut self, text: &str) -> DatabaseError {
        let name = self.key.name.clone();
        if self.warned.is_none_or(|at| at.elapsed() >= WARNED_EVERY) {
            self.warned = Some(Instant::now());
            warn!(database.name = %name, "The database `{name}` cannot be used: {}", escape(text));
        }
        DatabaseError::Failed { name }
    }

    async fn end_worker(&mut self) {
        if let Some(held) = self.worker.take() {
            held.worker.end().await;
        }
    }
}
