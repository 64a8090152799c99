//! Where schemas of plugins are put to use.
//!
//! What a check may cost is bounded (`domain::ConfigSchema`), and it is still far more than a request may take on the
//! threads that answer. So checks run on blocking threads, and few at a time: the other blocking threads are for what
//! the service does for itself.

use secrecy::SecretString;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use super::ground::{Held, HeldSecret};
use super::{ConfigFindings, ConfigRecord, Ground};
use crate::service::{Service, ServiceError};
use crate::store::StoreError;
use crate::store::configs::SealedSecret;

/// Stands for a secret where it does not matter which.
const PLACEHOLDER: &str = "set";

/// The checks of one service. They take turns in the order in which they come.
#[derive(Debug)]
pub(in crate::service) struct Checks(Semaphore);

impl Checks {
    /// Half of the processors at most, so that the other half answers.
    pub(in crate::service) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self(Semaphore::new((processors / 2).max(1)))
    }
}

impl Service {
    /// Runs what reads or checks something that a package brought.
    pub(in crate::service) async fn checking<T: Send + 'static>(
        &self,
        name: &'static str,
        check: impl FnOnce() -> Result<T, ServiceError> + Send + 'static,
    ) -> Result<T, ServiceError> {
        // It is never closed.
        let _turn = self.checks.0.acquire().await;
        Self::blocking(name, check).await
    }

    /// What a version finds wrong with values and secrets.
    pub(super) async fn check_values(
        &self,
        ground: &Ground,
        values: &Map<String, Value>,
        held: Held,
    ) -> Result<ConfigFindings, ServiceError> {
        if ground.schema().is_none() {
            return Ok(ground.check(values, &held));
        }
        let (ground, values) = (ground.clone(), values.clone());
        self.checking("config.check", move || Ok(ground.check(&values, &held))).await
    }

    /// Required fields of a version without a value, without opening any secret.
    pub(super) async fn missing_values(
        &self,
        ground: &Ground,
        record: &ConfigRecord,
    ) -> Result<Vec<String>, ServiceError> {
        let held = |secret: &SealedSecret| {
            let (value, policies) = (SecretString::from(PLACEHOLDER), secret.policies()?);
            Ok::<_, StoreError>((secret.field.clone(), HeldSecret { value, policies }))
        };
        let held = record.secrets.iter().map(held).collect::<Result<Held, _>>()?;
        Ok(self.check_values(ground, &record.values, held).await?.missing)
    }
}
