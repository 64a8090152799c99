//! Signing keys: registered with the names they may sign, revoked with a reason.

use plugbay_domain::{KeyId, NamePattern, PublicKey, Timestamp, TrustedKey, escape};
use plugbay_registry::Caller;
use plugbay_store as store;
use plugbay_store::StoreError;
use serde_json::json;

use crate::{Service, ServiceError, verification};

/// A key to register.
#[derive(Clone, Debug)]
pub struct NewTrustedKey {
    /// The key.
    pub key: PublicKey,
    /// The operator's name for it.
    pub label: String,
    /// Plugins it may sign.
    pub names: Vec<NamePattern>,
    /// It signs nothing before this time.
    pub not_before: Option<Timestamp>,
    /// It signs nothing from this time on.
    pub not_after: Option<Timestamp>,
}

/// Registers a key. A second one with the same id is refused, whatever it is.
pub async fn add_key(service: &Service, caller: &Caller, new: NewTrustedKey) -> Result<TrustedKey, ServiceError> {
    let NewTrustedKey { key, label, names, not_before, not_after } = new;
    let key = TrustedKey { key, label, names, not_before, not_after, revoked_at: None, reason: None };
    let id = key.key.id();
    let mut tx = service.store.begin().await?;
    match store::keys::insert(&mut tx, &key, service.now()).await {
        Err(StoreError::Exists) => return Err(ServiceError::KeyExists { id }),
        other => other?,
    }
    let detail = json!({"key_id": id, "label": key.label, "names": key.names});
    service.registry.commit(tx, caller, "key.added", None, detail).await?;
    Ok(key)
}

/// Every key, revoked ones included.
pub async fn list_keys(service: &Service) -> Result<Vec<TrustedKey>, ServiceError> {
    Ok(store::keys::list(&mut *service.store.reader().await?).await?)
}

/// Revokes a key and quarantines what it signed. Revoking it again changes nothing.
pub async fn revoke_key(
    service: &Service,
    caller: &Caller,
    wanted: &str,
    reason: Option<&str>,
) -> Result<TrustedKey, ServiceError> {
    let unknown = || ServiceError::KeyUnknown { wanted: escape(wanted) };
    let id: KeyId = wanted.parse().map_err(|_not_an_id| unknown())?;
    let mut tx = service.store.begin().await?;
    let keys = store::keys::list(&mut tx).await?;
    let mut key = keys.into_iter().find(|key| key.key.id() == id).ok_or_else(unknown)?;
    if key.revoked_at.is_none() {
        let now = service.now();
        store::keys::revoke(&mut tx, id, reason, now).await?;
        key.revoked_at = Some(now);
        key.reason = reason.map(str::to_owned);
        let detail = json!({"key_id": id, "label": key.label, "reason": reason});
        service.registry.commit(tx, caller, "key.revoked", None, detail).await?;
        verification::quarantine_what_revoked_keys_signed(service).await?;
    }
    Ok(key)
}
