//! What a secret was set for, where that is not said by the request that sets it.

use plugbay_domain::{Chain, Manifest, PluginId, PluginName, PluginRef, Secret, SecretPolicies};
use plugbay_store as store;
use plugbay_store::WriteTransaction;
use tracing::warn;

use crate::{Service, ServiceError};

/// Binds secrets of before there were policies to the version that serves: an operator who set them has seen no other.
pub(crate) async fn bind_old_secrets(service: &Service) -> Result<(), ServiceError> {
    let mut tx = service.store.begin().await?;
    for plugin in store::configs::list_unbound(&mut tx).await? {
        let Some(plugin) = store::plugins::find(&mut tx, &PluginRef::Id(plugin)).await? else { continue };
        let versions = store::plugins::list_versions(&mut tx, Some(plugin.id)).await?;
        let serving = store::plugins::serving_of(&plugin, &versions);
        // A version that cannot be read does not start either; its secrets wait for one that can.
        let Some(Ok(manifest)) = serving.map(|version| service.registry.manifest(version)) else { continue };
        let record = store::configs::find(&mut tx, plugin.id).await?;
        for secret in record.secrets.iter().filter(|secret| secret.is_unbound()) {
            let policies = policy(&manifest, &secret.field).map(SecretPolicies::of).unwrap_or_default();
            let bound = store::configs::bind_secret(&mut tx, &service.sealing_key, secret, &policies).await;
            if let Err(error) = bound {
                // A row that was changed stays as it is, and is told of where it is needed.
                warn!(plugin.name = %plugin.name, error = %Chain(&error), "A secret could not be bound");
            }
        }
    }
    tx.commit().await?;
    Ok(())
}

/// Lets a version that takes over have the secrets that the one before had. Where it does more with them, an
/// administrator has approved of that: an update that does more has waited for it.
pub(crate) async fn bind_to_update(
    service: &Service,
    tx: &mut WriteTransaction,
    plugin: PluginId,
    name: &PluginName,
    (before, after): (&Manifest, &Manifest),
) -> Result<(), ServiceError> {
    let record = store::configs::find(tx, plugin).await?;
    for secret in &record.secrets {
        let Some((had, has)) = policy(before, &secret.field).zip(policy(after, &secret.field)) else { continue };
        let policies = secret.policies()?;
        // What the version before must not have is no part of what was approved.
        if policies.admit(had) && !policies.admit(has) {
            store::configs::bind_secret(tx, &service.sealing_key, secret, &policies.with(has)).await?;
            tracing::info!(plugin.name = %name, field = secret.field, "A secret is used as was approved");
        }
    }
    Ok(())
}

fn policy<'a>(manifest: &'a Manifest, field: &str) -> Option<&'a Secret> {
    manifest.config_schema.as_ref()?.secrets().get(field)
}
