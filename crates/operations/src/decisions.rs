//! What becomes of decisions when another version starts to serve.

use plugbay_domain::{Plugin, Timestamp};
use plugbay_registry::Target;
use plugbay_store as store;
use plugbay_store::WriteTransaction;
use plugbay_store::grants::{AcceptedRisk, EndReason, GrantEnd, GrantRecord};

use crate::ServiceError;

/// Ends the decisions about archives of the plugin that neither serve nor wait, once a version has come in. If that
/// version serves, it takes over what was decided about the one before.
pub(crate) async fn carry(
    tx: &mut WriteTransaction,
    plugin: &Plugin,
    target: &Target<'_>,
    by: &str,
    now: Timestamp,
) -> Result<(), ServiceError> {
    let rows = store::grants::list_open(tx, Some(plugin.id)).await?;
    let accepted = store::grants::list_accepted(tx, plugin.id).await?;
    let versions = store::plugins::list_versions(tx, Some(plugin.id)).await?;
    let serving = store::plugins::serving_of(plugin, &versions).map(|version| version.digest);
    let end = GrantEnd { at: now, by: by.to_owned(), reason: EndReason::Superseded, note: None };
    let serves = target.version.version == plugin.serving;
    // Of a version that waits, the one before still serves, and still has what it was granted.
    let goes_on = |row: &GrantRecord| row.digest == target.version.digest || (!serves && Some(row.digest) == serving);
    for row in rows.iter().filter(|row| !goes_on(row)) {
        store::grants::end(tx, row.id, &end).await?;
    }
    if !serves {
        return Ok(());
    }
    for mut row in target.carried(&rows, now) {
        store::grants::insert(tx, &mut row).await?;
    }
    let is_carried = |found: &&AcceptedRisk| target.carries == Some(found.digest) && found.risk.lies_in_grants();
    for found in accepted.iter().filter(is_carried) {
        let copy = AcceptedRisk { digest: target.version.digest, ..found.clone() };
        store::grants::accept(tx, plugin.id, &copy).await?;
    }
    Ok(())
}
