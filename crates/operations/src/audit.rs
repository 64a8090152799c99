//! The audit log: reading it, and proving that nobody changed it.

use std::path::Path;
use std::sync::PoisonError;

use plugbay_data_dir::{DataDir, KeyNeeded};
use plugbay_domain::Code;
use plugbay_registry::Caller;
use plugbay_store::audit::{AuditKey, Entry, Filter, Head, Verdict};
use plugbay_store::{Missing, Store, audit};
use serde_json::json;

use crate::{Service, ServiceError};

/// Lists rows that the caller may see, newest first. A token for certain plugins sees rows about those alone.
pub async fn list_audit(
    service: &Service,
    caller: &Caller,
    filter: &Filter,
    limit: i64,
) -> Result<Vec<Entry>, ServiceError> {
    let mut reader = service.store.reader().await?;
    let may_see = |entry: &Entry| match (&caller.plugins, &entry.plugin) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(_), Some(name)) => name.parse().is_ok_and(|name| caller.may_see(&name)),
    };
    let mut filter = filter.clone();
    let mut seen = Vec::new();
    loop {
        let rows = audit::list(&mut reader, &filter, limit).await?;
        let Some(last) = rows.last().map(|row| row.seq) else { return Ok(seen) };
        seen.extend(rows.into_iter().filter(may_see));
        if i64::try_from(seen.len()).is_ok_and(|count| count >= limit) {
            seen.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            return Ok(seen);
        }
        filter.before = Some(last);
    }
}

/// Walks the whole chain. One walk at a time: each keeps a connection for as long as it takes.
pub async fn verify_audit(service: &Service, expected: Option<&Head>) -> Result<VerifiedAudit, ServiceError> {
    let _one_at_a_time = service.audit_walk.lock().await;
    verify(&service.store, service.registry.audit_key(), expected).await
}

/// Compares what is stored with the log, once at the start. The service goes on with what it finds: an operator who is
/// shut out by a changed row could not look for its cause.
pub(crate) async fn look_at_audit(service: &Service) -> Result<(), ServiceError> {
    let found = match verify_audit(service, None).await {
        Ok(_) => None,
        Err(ServiceError::AuditBroken { found }) => {
            tracing::error!("The audit log does not fit to what is stored: {found}");
            Some(found)
        }
        Err(error) => return Err(error),
    };
    *service.audit_found.lock().unwrap_or_else(PoisonError::into_inner) = found;
    Ok(())
}

/// What did not fit at the start.
pub fn audit_found(service: &Service) -> Option<String> {
    service.audit_found.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Reports an archive that was refused before it was wholly there.
pub async fn record_refused_upload(service: &Service, caller: &Caller, code: Code, text: &str) {
    service.registry.report_refusal(caller, "plugin.refused", None, json!({}), (code, text)).await;
}

/// A chain in which every row fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedAudit {
    /// Where it ends.
    pub head: Head,
    /// How many of its first rows a restore took over as found. Whether they were changed before nobody can tell.
    pub taken_over: Option<i64>,
}

async fn verify(store: &Store, key: &AuditKey, expected: Option<&Head>) -> Result<VerifiedAudit, ServiceError> {
    match store.verify_audit(key, expected).await? {
        Verdict::Whole(head) => {
            let taken_over = audit::taken_over(&mut *store.reader().await?).await?;
            Ok(VerifiedAudit { head, taken_over })
        }
        Verdict::Broken(found) => Err(ServiceError::AuditBroken { found }),
    }
}

/// Walks the chain of a data directory whose service is stopped.
pub async fn verify_offline(data_dir: &Path, expected: Option<&Head>) -> Result<VerifiedAudit, ServiceError> {
    let data = DataDir::open_existing(data_dir)?;
    let key = AuditKey::derive(&data.master_key(KeyNeeded::MustExist)?);
    let store = Store::open(&data.database(), Missing::Refuse).await?;
    let verified = verify(&store, &key, expected).await;
    store.close().await;
    verified
}
