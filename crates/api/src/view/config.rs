//! The configuration of a plugin, as it is shown.

use plugbay_operations::{ConfigView, PendingConfig};
use plugbay_wire as wire;

use super::updated;

pub(crate) fn config(view: ConfigView) -> wire::ConfigView {
    let secrets = view.secrets.into_iter().map(|(field, set)| (field, wire::SecretState { set }));
    wire::ConfigView {
        config: view.config,
        secrets: secrets.collect(),
        schema: view.schema,
        missing: view.missing,
        pending: view.pending.map(pending),
        update: view.update.as_ref().map(updated),
    }
}

fn pending(pending: PendingConfig) -> wire::PendingConfig {
    wire::PendingConfig {
        version: pending.version.to_string(),
        schema: pending.schema,
        errors: pending.errors.iter().map(wire::FieldProblem::from).collect(),
    }
}
