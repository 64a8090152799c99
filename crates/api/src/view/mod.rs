//! Turns what the use cases return into what travels.

mod chat;
mod config;
mod permissions;
mod running;
mod scans;
mod tools;

use plugbay_domain::{Growth, LastUpdate, RequestRate, Timestamp, TrustedKey};
use plugbay_operations::{
    AuditEntry, InstallOutcome, PluginView, Requirement, RollbackOutcome, Signed, TokenRecord, UpdateOutcome,
    UpdateStatus, VersionsView,
};
use plugbay_wire as wire;

pub(super) use chat::{conversation, message, posted};
pub(super) use config::config;
pub(super) use permissions::{decided, permissions_of};
pub(super) use running::{
    breaker, call, execution, figures, health, limits, metrics, sandbox, state_event, stats, word,
};
pub(super) use scans::scan;
pub(super) use tools::tool;

fn signature(signed: &Signed) -> wire::SignatureView {
    wire::SignatureView {
        status: signed.status.as_str().to_owned(),
        key_id: signed.key_id.map(|id| id.to_string()),
        label: signed.label.clone(),
    }
}

fn status(view: &PluginView) -> &'static str {
    if view.plugin.quarantine.is_some() { "quarantined" } else { view.plugin.status.as_str() }
}

pub(super) fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

pub(super) fn installed(outcome: &InstallOutcome) -> wire::Installed {
    let view = &outcome.view;
    wire::Installed {
        plugin_id: view.plugin.id.to_string(),
        name: view.plugin.name.to_string(),
        version: view.plugin.serving.to_string(),
        status: status(view).to_owned(),
        digest: view.serving.digest.to_string(),
        permissions: permissions::permissions(&view.manifest, &view.standing),
        network: texts(&view.manifest.network),
        risks: texts(&view.risks),
        signature: signature(&view.signed),
        warnings: outcome.warnings.clone(),
    }
}

pub(super) fn summary(view: &PluginView) -> wire::PluginSummary {
    wire::PluginSummary {
        id: view.plugin.id.to_string(),
        name: view.plugin.name.to_string(),
        version: view.plugin.serving.to_string(),
        status: status(view).to_owned(),
        state: view.runtime.state.to_string(),
        author: view.manifest.author.clone(),
        description: view.manifest.description.clone(),
        kind: view.manifest.kind.to_string(),
        isolation: view.runtime.isolation.map(|isolation| isolation.to_string()),
        signature: view.serving.signature_status.as_str().to_owned(),
        tags: view.manifest.tags.clone(),
        capabilities: view.manifest.capabilities.clone(),
        updated_at: view.plugin.updated_at.to_string(),
        permissions: permissions::permissions(&view.manifest, &view.standing),
    }
}

pub(super) fn detail(view: &PluginView, now: Timestamp) -> wire::PluginDetail {
    let manifest = &view.manifest;
    wire::PluginDetail {
        summary: summary(view),
        plugin_id: view.plugin.id.to_string(),
        digest: view.serving.digest.to_string(),
        email: manifest.email.clone(),
        license: manifest.license.clone(),
        hooks: manifest
            .hooks
            .iter()
            .map(|hook| wire::HookView { name: hook.name.to_string(), priority: hook.priority.to_string() })
            .collect(),
        commands: manifest
            .commands
            .iter()
            .map(|command| wire::CommandView {
                name: command.name.clone(),
                description: command.description.clone(),
                usage: command.usage.clone(),
            })
            .collect(),
        network: texts(&manifest.network),
        risks: texts(&view.risks),
        risk_rating: scans::rating(&view.rating),
        scan: view.serving.verdict.map(|verdict| verdict.to_string()),
        signed_by: signature(&view.signed),
        versions: texts(&view.versions),
        pending: view.pending.as_ref().map(permissions::pending),
        quarantine: view.plugin.quarantine.as_ref().map(|quarantine| wire::QuarantineView {
            reason: quarantine.reason.to_string(),
            since: quarantine.since.to_string(),
        }),
        breaker: running::breaker(view.runtime.breaker),
        methods: view.runtime.methods.clone(),
        last_failure: view.runtime.last_failure.as_ref().map(running::failure),
        last_update: view.plugin.last_update.as_ref().map(|update| last_update(update, now)),
        uptime_seconds: view.runtime.up_since.map(|since| now.since(since).as_secs_f64()),
        restarts: view.runtime.restarts,
        limits: view.limits.into(),
        grants: permissions::grants(&view.grants),
        missing_config: view.missing_config.clone(),
        warnings: view.warnings.clone(),
        requires: view.requires.iter().map(requirement).collect(),
        required_by: texts(&view.required_by),
    }
}

fn requirement(requirement: &Requirement) -> wire::RequirementView {
    wire::RequirementView {
        name: requirement.name.to_string(),
        range: requirement.range.to_string(),
        installed: requirement.installed.as_ref().map(ToString::to_string),
        satisfied: requirement.satisfied,
    }
}

fn diff(growth: &Growth) -> wire::PermissionDiff {
    wire::PermissionDiff { added: growth.added.clone(), removed: growth.removed.clone() }
}

pub(super) fn updated(outcome: &UpdateOutcome) -> wire::Updated {
    let status = match outcome.status {
        UpdateStatus::Updated => "updated",
        UpdateStatus::Unchanged => "unchanged",
        UpdateStatus::PendingApproval => "pending_approval",
        UpdateStatus::PendingConfig => "pending_config",
    };
    wire::Updated {
        plugin_id: outcome.plugin_id.to_string(),
        status: status.to_owned(),
        version: outcome.version.to_string(),
        previous_version: outcome.previous.to_string(),
        permission_diff: diff(&outcome.growth),
        signer_changed: outcome.signer_changed,
        watched_until: outcome.watched_until.map(|time| time.to_string()),
        warnings: outcome.warnings.clone(),
    }
}

fn last_update(last: &LastUpdate, now: Timestamp) -> wire::LastUpdateView {
    let failure = last.failure();
    let data = failure.and_then(|(_, ended_at, data_of)| Some((ended_at, data_of?)));
    wire::LastUpdateView {
        version: last.version.to_string(),
        previous_version: last.previous.to_string(),
        at: last.at.to_string(),
        status: last.state_at(now).to_string(),
        watched_until: last.watched_until.to_string(),
        reason: failure.map(|(why, ..)| why.reason.clone()),
        text: failure.map(|(why, ..)| why.text.clone()),
        ended_at: failure.map(|(_, ended_at, _)| ended_at.to_string()),
        data_restored: data.is_some(),
        data_age_seconds: data.map(|(ended_at, data_of)| ended_at.since(data_of).as_secs_f64()),
    }
}

pub(super) fn rolled_back(outcome: &RollbackOutcome) -> wire::RolledBack {
    wire::RolledBack {
        plugin_id: outcome.plugin_id.to_string(),
        status: "rolled_back".to_owned(),
        version: outcome.version.to_string(),
        previous_version: outcome.previous.to_string(),
        data_restored: outcome.data_restored,
    }
}

pub(super) fn versions(view: &VersionsView) -> wire::VersionList {
    wire::VersionList {
        versions: view
            .versions
            .iter()
            .map(|version| wire::VersionView {
                version: version.version.to_string(),
                digest: version.digest.to_string(),
                installed_at: version.installed_at.to_string(),
                served: version.served_at.is_some(),
                signer: version.key_id.map(|id| id.to_string()),
            })
            .collect(),
        serving: view.plugin.serving.to_string(),
        floor: view.floor.to_string(),
        pending: view.plugin.pending.as_ref().map(|pending| pending.version.to_string()),
    }
}

pub(super) fn key(key: &TrustedKey) -> wire::KeyView {
    wire::KeyView {
        key_id: key.key.id().to_string(),
        label: key.label.clone(),
        public_key: key.key.to_string(),
        names: texts(&key.names),
        not_before: key.not_before.map(|time| time.to_string()),
        not_after: key.not_after.map(|time| time.to_string()),
        revoked_at: key.revoked_at.map(|time| time.to_string()),
        reason: key.reason.clone(),
    }
}

pub(super) fn token(token: &TokenRecord) -> wire::TokenView {
    wire::TokenView {
        id: token.id.to_string(),
        label: token.label.clone(),
        scopes: texts(token.scopes.as_slice()),
        plugins: token.plugins.as_deref().map(texts),
        tools: token.tools.as_deref().map(texts),
        read_only: token.read_only,
        rate: token.rate.map(RequestRate::get),
        created_at: token.created_at.to_string(),
        expires_at: token.expires_at.map(|time| time.to_string()),
        last_used_at: token.last_used_at.map(|time| time.to_string()),
        revoked_at: token.revoked_at.map(|time| time.to_string()),
    }
}

pub(super) fn audit_entry(entry: AuditEntry) -> wire::AuditEntry {
    wire::AuditEntry {
        seq: entry.seq,
        at: entry.at.to_string(),
        actor: entry.actor,
        action: entry.action,
        plugin: entry.plugin,
        detail: entry.detail,
        request_id: entry.request_id,
        hash: entry.hash,
    }
}
