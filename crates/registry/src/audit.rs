//! Writing the audit log: a row in the transaction of each change, and a row for each refusal.

use serde_json::Value;

use super::Registry;
use plugbay_domain::{Chain, Code, PluginId, PluginName, Refusal, TokenId, escape};
use plugbay_store::audit::{self, NewEntry};
use plugbay_store::{StoreError, WriteTransaction};

/// Who is named in the audit log.
#[derive(Clone, Debug)]
pub enum Actor {
    /// The service itself.
    Service,
    /// The holder of a token, in one request.
    Token {
        /// The token.
        id: TokenId,
        /// The request.
        request: String,
    },
}

impl Registry {
    /// Keeps a change together with the row that reports it.
    pub async fn commit(
        &self,
        mut tx: WriteTransaction,
        by: impl Into<Actor>,
        action: &'static str,
        plugin: Option<&PluginName>,
        detail: Value,
    ) -> Result<(), StoreError> {
        // Last, as the row proves what the registry is after the change.
        audit::append(&mut tx, &self.audit_key, &self.entry(by.into(), action, plugin, detail)).await?;
        tx.commit().await?;
        self.changed();
        Ok(())
    }

    /// Writes a row that reports no change of the registry.
    pub async fn record(
        &self,
        by: impl Into<Actor>,
        action: &'static str,
        plugin: Option<&PluginName>,
        detail: Value,
    ) -> Result<(), StoreError> {
        self.commit(self.store.begin().await?, by, action, plugin, detail).await
    }

    /// The same for what a plugin caused, in that plugin's turn.
    pub async fn record_for(
        &self,
        (id, name): (PluginId, &PluginName),
        action: &'static str,
        detail: Value,
    ) -> Result<(), StoreError> {
        let mut tx = self.store.of_plugin(id).begin().await?;
        let entry = self.entry(Actor::Service, action, Some(name), detail);
        audit::append(tx.transaction(), &self.audit_key, &entry).await?;
        tx.commit().await
    }

    /// Waits for a change, and reports it in a row of this action if it is refused.
    pub async fn attempt<T, E: Refusal>(
        &self,
        by: impl Into<Actor>,
        action: &'static str,
        plugin: Option<&PluginName>,
        detail: Value,
        change: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let result = change.await;
        if let Err(refusal) = &result {
            self.report_refusal(by, action, plugin, detail, (refusal.code(), &refusal.to_string())).await;
        }
        result
    }

    /// Reports a refusal. That is what the caller has to learn, also if the row cannot be written.
    pub async fn report_refusal(
        &self,
        by: impl Into<Actor>,
        action: &'static str,
        plugin: Option<&PluginName>,
        mut detail: Value,
        (code, text): (Code, &str),
    ) {
        detail["code"] = code.as_str().into();
        detail["text"] = escape(text).into();
        if let Err(error) = self.record(by, action, plugin, detail).await {
            tracing::error!(error = %Chain(&error), "Failed to record a refusal");
        }
    }

    fn entry(&self, by: Actor, action: &'static str, plugin: Option<&PluginName>, detail: Value) -> NewEntry {
        let (actor, request_id) = match by {
            Actor::Service => ("service".to_owned(), None),
            Actor::Token { id, request } => (id.to_string(), Some(request)),
        };
        NewEntry { at: self.clock.now(), actor, action, plugin: plugin.map(ToString::to_string), detail, request_id }
    }
}
