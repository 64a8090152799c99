//! Connections to model servers that wait for a further request, for a while and not too many. They are of one version of a
//! plugin and of its grants.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::Context;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;

use super::Target;

/// Connections that are kept for one host.
const MAX_KEPT: usize = 32;

/// Connections that are kept for one plugin.
const MAX_KEPT_OF_ALL: usize = 128;

/// How long one is kept.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(30);

/// What moves the bytes of a connection; it ends with it.
pub(super) type Moving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection that takes requests.
pub(super) struct Wire {
    pub(super) sender: SendRequest<Full<Bytes>>,
    pub(super) moving: Moving,
    pub(super) has_ended: bool,
}

/// A connection that waits for a further request.
struct Waiting {
    target: Target,
    is_tls: bool,
    since: Instant,
    wire: Wire,
}

/// Connections that wait for further requests.
#[derive(Default)]
pub(super) struct Kept(Mutex<Pool>);

#[derive(Default)]
struct Pool {
    waiting: Vec<Waiting>,
    /// Whether a task looks after those whose time is over.
    is_watched: bool,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kept({})", self.pool().waiting.len())
    }
}

impl Kept {
    fn pool(&self) -> std::sync::MutexGuard<'_, Pool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes all of them.
    pub(super) fn clear(&self) {
        self.pool().waiting.clear();
    }

    pub(super) fn take(&self, target: &Target, is_tls: bool) -> Option<Wire> {
        let mut pool = self.pool();
        let fits = |waiting: &Waiting| waiting.target == *target && waiting.is_tls == is_tls;
        let at = pool.waiting.iter().rposition(|waiting| fits(waiting) && waiting.since.elapsed() < KEPT_FOR)?;
        Some(pool.waiting.swap_remove(at).wire)
    }

    /// Keeps a connection. True when a task must be started that closes it in time.
    pub(super) fn keep(&self, target: Target, is_tls: bool, wire: Wire) -> bool {
        let mut pool = self.pool();
        pool.waiting.retain(|waiting| waiting.since.elapsed() < KEPT_FOR);
        let alike = pool.waiting.iter().filter(|waiting| waiting.target == target).count();
        if alike >= MAX_KEPT || pool.waiting.len() >= MAX_KEPT_OF_ALL {
            return false;
        }
        pool.waiting.push(Waiting { target, is_tls, since: Instant::now(), wire });
        !std::mem::replace(&mut pool.is_watched, true)
    }

    /// Closes those whose time is over. False when none is left to look after.
    pub(super) fn sweep(&self) -> bool {
        let mut pool = self.pool();
        pool.waiting.retain(|waiting| waiting.since.elapsed() < KEPT_FOR);
        pool.is_watched = !pool.waiting.is_empty();
        pool.is_watched
    }
}

impl Wire {
    /// Lets its bytes move on.
    pub(super) fn poll_moving(&mut self, context: &mut Context<'_>) {
        if !self.has_ended {
            self.has_ended = self.moving.as_mut().poll(context).is_ready();
        }
    }
}
