//! Where schemas of plugins are put to use.
//!
//! What a check may cost is bounded (`domain::ConfigSchema`), and it is still far more than a request may take on the
//! threads that answer. So checks run on blocking threads, and few at a time: the other blocking threads are for what
//! the service does for itself. Each plugin stands in the line once, and packages that come in stand in it once together,
//! so that a check waits for one check of each other plugin at most.

use std::sync::Arc;

use plugbay_domain::{ConfigFindings, PluginName};
use plugbay_registry::{NameLock, NameLocks};
use plugbay_store::StoreError;
use plugbay_store::configs::{ConfigRecord, SealedSecret};
use secrecy::SecretString;
use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::settings::ground::{Ground, Held, HeldSecret};
use crate::{Fleet, FleetError, blocking};

/// Stands for a secret where it does not matter which.
const PLACEHOLDER: &str = "set";

/// The checks of one service. They take turns in the order in which they come.
#[derive(Debug)]
pub struct Checks {
    running: Arc<Semaphore>,
    plugins: NameLocks,
    /// Arguments and results of calls, which may be many: a configuration does not wait for them.
    calls: NameLocks,
    /// One place for packages of which nothing is known yet.
    packages: Arc<Semaphore>,
}

/// What a check is about.
#[derive(Clone, Copy, Debug)]
pub enum Checked<'a> {
    /// A package that has come in.
    Package,
    /// A plugin that is installed.
    Plugin(&'a PluginName),
    /// A call of one of its tools.
    Call(&'a PluginName),
}

/// A turn, until the check has ended; also when its caller has gone before.
#[derive(Debug)]
struct Turn {
    _share: Share,
    _running: OwnedSemaphorePermit,
}

#[derive(Debug)]
enum Share {
    Package { _place: OwnedSemaphorePermit },
    Plugin { _place: NameLock },
}

impl Default for Checks {
    /// Half of the processors at most, so that the other half answers.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self::of((processors / 2).max(1))
    }
}

impl Checks {
    fn of(at_once: usize) -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self {
            running: places(at_once),
            plugins: NameLocks::default(),
            calls: NameLocks::default(),
            packages: places(1),
        }
    }

    async fn turn(&self, checked: Checked<'_>) -> Turn {
        let share = match checked {
            Checked::Package => Share::Package { _place: place(&self.packages).await },
            Checked::Plugin(name) => Share::Plugin { _place: self.plugins.lock(name).await },
            Checked::Call(name) => Share::Plugin { _place: self.calls.lock(name).await },
        };
        Turn { _share: share, _running: place(&self.running).await }
    }
}

async fn place(places: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    Arc::clone(places).acquire_owned().await.expect("the places of checks are never closed")
}

/// Runs what reads or checks something that a package brought.
pub async fn checking<T, E>(
    fleet: &Fleet,
    checked: Checked<'_>,
    check: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<FleetError> + Send + 'static,
{
    let turn = fleet.checks.turn(checked).await;
    let check = move || {
        let done = check();
        drop(turn);
        Ok(done)
    };
    blocking("config.check", check).await?
}

/// What a version finds wrong with values and secrets.
pub async fn check_values(
    fleet: &Fleet,
    ground: &Ground,
    values: &Map<String, Value>,
    held: Held,
) -> Result<ConfigFindings, FleetError> {
    if ground.schema().is_none() {
        return Ok(ground.check(values, &held));
    }
    let name = ground.name().clone();
    let (ground, values) = (ground.clone(), values.clone());
    checking(fleet, Checked::Plugin(&name), move || Ok(ground.check(&values, &held))).await
}

/// Required fields of a version without a value, without opening any secret.
pub async fn missing_values(fleet: &Fleet, ground: &Ground, record: &ConfigRecord) -> Result<Vec<String>, FleetError> {
    let held = |secret: &SealedSecret| {
        let (value, policies) = (SecretString::from(PLACEHOLDER), secret.policies()?);
        Ok::<_, StoreError>((secret.field.clone(), HeldSecret { value, policies }))
    };
    let held = record.secrets.iter().map(held).collect::<Result<Held, _>>()?;
    Ok(check_values(fleet, ground, &record.values, held).await?.missing)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn a_plugin_that_is_checked_without_end_stands_in_the_line_once() {
        let checks = Checks::of(1);
        let name = |text: &str| text.parse::<PluginName>().unwrap();
        let (loud, calm) = (name("loud"), name("calm"));
        let first = checks.turn(Checked::Plugin(&loud)).await;
        let mut flood = Box::pin(join_all((0..50).map(|_| checks.turn(Checked::Plugin(&loud)))));
        let mut packages = Box::pin(join_all((0..50).map(|_| checks.turn(Checked::Package))));
        assert!(flood.as_mut().now_or_never().is_none() && packages.as_mut().now_or_never().is_none());
        let mut neighbour = Box::pin(checks.turn(Checked::Plugin(&calm)));
        assert!(neighbour.as_mut().now_or_never().is_none(), "one check runs at a time");
        drop(first);
        // One of the packages was there before, and gives way to the neighbour, not to the other 49.
        assert!(packages.as_mut().now_or_never().is_none() && flood.as_mut().now_or_never().is_none());
        drop(packages);
        assert!(neighbour.as_mut().now_or_never().is_some());
    }
}
