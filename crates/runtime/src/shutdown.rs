//! How tasks are started, asked to stop, and awaited. The only place that calls `tokio::spawn`.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, error};

/// One per process. Cloned into everything that spawns.
#[derive(Clone, Debug)]
pub struct Shutdown {
    /// Where tasks run. Handlers of requests run on runtimes of their own, which end before what they have started.
    runtime: Option<Handle>,
    token: CancellationToken,
    tasks: TaskTracker,
    task_died: Arc<AtomicBool>,
}

/// Tasks were still running when the time to stop was over.
#[derive(Debug, thiserror::Error)]
#[error("{running} tasks did not stop within {} s", grace.as_secs())]
pub struct DrainTimeout {
    running: usize,
    grace: Duration,
}

impl Default for Shutdown {
    fn default() -> Self {
        let runtime = Handle::try_current().ok();
        Self { runtime, token: CancellationToken::new(), tasks: TaskTracker::new(), task_died: Arc::default() }
    }
}

impl Shutdown {
    /// Starts a task that ends soon after its token is cancelled. A task that panics makes the exit code non-zero.
    pub fn spawn<F, Fut>(&self, name: &'static str, task: F)
    where
        F: FnOnce(CancellationToken) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let task = task(self.token.clone()).in_current_span();
        let died = Arc::clone(&self.task_died);
        #[expect(clippy::disallowed_methods, reason = "the one place that spawns, so that every task is awaited")]
        let handle = match &self.runtime {
            Some(runtime) => runtime.spawn(task),
            None => tokio::spawn(task),
        };
        let watched = async move {
            if let Err(panic) = handle.await {
                died.store(true, Ordering::Relaxed);
                error!(task.name = name, error = %panic, "Task `{name}` died");
            }
        };
        match &self.runtime {
            Some(runtime) => self.tasks.spawn_on(watched, runtime),
            None => self.tasks.spawn(watched),
        };
    }

    /// Asks every task to stop.
    pub fn stop(&self) {
        self.token.cancel();
    }

    /// Completes when somebody asked to stop.
    pub async fn stopped(&self) {
        self.token.cancelled().await;
    }

    /// Asks every task to stop and waits at most `grace` for them. Tells whether all of them ended well.
    pub async fn drain(self, grace: Duration) -> Result<bool, DrainTimeout> {
        self.token.cancel();
        self.tasks.close();
        match tokio::time::timeout(grace, self.tasks.wait()).await {
            Ok(()) => Ok(!self.task_died.load(Ordering::Relaxed)),
            Err(_elapsed) => Err(DrainTimeout { running: self.tasks.len(), grace }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn drain_waits_for_tasks_and_tells_of_a_panic() {
        let shutdown = Shutdown::default();
        shutdown.spawn("calm", |token| async move { token.cancelled().await });
        assert!(shutdown.clone().drain(Duration::from_secs(5)).await.unwrap());

        let shutdown = Shutdown::default();
        shutdown.spawn("panicking", |_| async { panic!("wanted by the test") });
        assert!(!shutdown.drain(Duration::from_secs(5)).await.unwrap());
    }

    #[tokio::test]
    async fn drain_gives_up_after_its_grace() {
        let shutdown = Shutdown::default();
        shutdown.spawn("deaf", |_| std::future::pending());
        assert!(shutdown.drain(Duration::from_millis(1)).await.is_err());
    }
}
