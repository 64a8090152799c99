//! A request that carries an Idempotency-Key is carried out once; repeated, it gets the first answer again.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use plugbay_domain::escape;
use plugbay_store as store;
use plugbay_store::idempotency::{Answer, IdempotencyKey};

use crate::{Service, ServiceError};

/// The keys whose first request still runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct InFlight(Arc<Mutex<HashSet<IdempotencyKey>>>);

/// What to do with a request that carries a key.
#[derive(Debug)]
pub enum Begun {
    /// Carry it out, and remember the answer.
    Fresh(Remember),
    /// Give this answer again.
    Replay(Answer),
}

/// A key whose request is being carried out. Dropping it without an answer lets the request be tried again.
#[derive(Debug)]
pub struct Remember {
    key: IdempotencyKey,
    fingerprint: String,
    in_flight: InFlight,
}

impl Drop for Remember {
    fn drop(&mut self) {
        self.in_flight.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// Looks for an earlier answer. The same key with another fingerprint is a mistake of the caller.
pub async fn begin_once(service: &Service, key: IdempotencyKey, fingerprint: String) -> Result<Begun, ServiceError> {
    let shown = || escape(&key.key);
    let taken = service.idempotency.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
    if !taken {
        return Err(ServiceError::IdempotencyBusy { key: shown() });
    }
    let mismatch = ServiceError::IdempotencyMismatch { key: shown() };
    let remember = Remember { key, fingerprint, in_flight: service.idempotency.clone() };
    match store::idempotency::find(&mut *service.store.reader().await?, &remember.key).await? {
        None => Ok(Begun::Fresh(remember)),
        Some(answer) if answer.fingerprint == remember.fingerprint => Ok(Begun::Replay(answer)),
        Some(_) => Err(mismatch),
    }
}

/// Keeps the answer of a request that succeeded; one that failed may be tried again.
pub async fn remember(service: &Service, remember: Remember, status: u16, body: String) -> Result<(), ServiceError> {
    let answer = Answer { fingerprint: remember.fingerprint.clone(), status, body };
    let mut tx = service.store.begin().await?;
    store::idempotency::insert(&mut tx, &remember.key, &answer, service.now()).await?;
    tx.commit().await?;
    Ok(())
}
