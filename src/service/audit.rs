//! The audit log: reading it, and proving that nobody changed it.

use std::path::Path;
use std::sync::PoisonError;

use super::data_dir::{DataDir, KeyNeeded};
use super::{Caller, Service, ServiceError};
use crate::domain::{Code, PluginId, Refusal};
use crate::store::audit::{self, AuditKey, Entry, Filter, Head, NewEntry, Verdict};
use crate::store::{Missing, Store};

impl Service {
    /// Lists rows that the caller may see, newest first. A token for certain plugins sees rows about those alone.
    pub async fn list_audit(&self, caller: &Caller, filter: &Filter, limit: i64) -> Result<Vec<Entry>, ServiceError> {
        let mut reader = self.store.reader().await?;
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
    pub async fn verify_audit(&self, expected: Option<&Head>) -> Result<VerifiedAudit, ServiceError> {
        let _one_at_a_time = self.audit_walk.lock().await;
        verify(&self.store, &self.audit_key, expected).await
    }

    /// Compares what is stored with the log, once at the start. The service goes on with what it finds: an operator who is
    /// shut out by a changed row could not look for its cause.
    pub(super) async fn look_at_audit(&self) -> Result<(), ServiceError> {
        let found = match self.verify_audit(None).await {
            Ok(_) => None,
            Err(ServiceError::AuditBroken { found }) => {
                tracing::error!("The audit log does not fit to what is stored: {found}");
                Some(found)
            }
            Err(error) => return Err(error),
        };
        *self.audit_found.lock().unwrap_or_else(PoisonError::into_inner) = found;
        Ok(())
    }

    /// What did not fit at the start.
    pub fn audit_found(&self) -> Option<String> {
        self.audit_found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes a row that reports no change, such as a refused install.
    pub(super) async fn record(&self, entry: NewEntry) -> Result<(), ServiceError> {
        let mut tx = self.store.begin().await?;
        audit::append(&mut tx, &self.audit_key, &entry).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The same for what a plugin caused, in that plugin's turn.
    pub(super) async fn record_for(&self, plugin: PluginId, entry: NewEntry) -> Result<(), ServiceError> {
        let mut tx = self.store.of_plugin(plugin).begin().await?;
        audit::append(tx.transaction(), &self.audit_key, &entry).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Reports an archive that was refused before it was wholly there.
    pub async fn record_refused_upload(&self, caller: &Caller, code: Code, text: &str) {
        let detail = serde_json::json!({"code": code.as_str(), "text": crate::domain::escape(text)});
        self.record_or_log(self.entry(&caller.into(), "plugin.refused", None, detail)).await;
    }

    /// Reports a refused change. The refusal itself is what the caller has to learn, also if this row cannot be written.
    pub(super) async fn record_refusal(&self, entry: NewEntry, refusal: &ServiceError) {
        let mut entry = entry;
        if let Some(detail) = entry.detail.as_object_mut() {
            detail.insert("code".to_owned(), refusal.code().as_str().into());
            detail.insert("text".to_owned(), crate::domain::escape(&refusal.to_string()).into());
        }
        self.record_or_log(entry).await;
    }

    async fn record_or_log(&self, entry: NewEntry) {
        if let Err(error) = self.record(entry).await {
            tracing::error!(error = %crate::domain::Chain(&error), "Failed to record a refusal");
        }
    }
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
