//! What `plugbay show` tells of decisions: one line for each, and what is left to be used.

use crate::cli::shown::{entry, printable};
use crate::wire::{DecisionRecord, GrantView, PermissionItem, PermissionsShown, PluginDetail};

/// Decisions about a plugin.
pub(super) struct Decisions<'a> {
    plugin: &'a PluginDetail,
    denied: Vec<&'a GrantView>,
    revoked: Vec<&'a DecisionRecord>,
}

impl<'a> Decisions<'a> {
    /// What holds now, and what was taken back and not granted again.
    pub(super) fn of(plugin: &'a PluginDetail, shown: &'a PermissionsShown) -> Self {
        let is_denied = |record: &&DecisionRecord| record.decision == "denied" && record.ended.is_none();
        let denied: Vec<_> = shown.records.iter().filter(is_denied).map(|record| &record.grant).collect();
        let asked = &plugin.summary.permissions;
        let is_asked = |grant: &GrantView| {
            let items = asked.required.iter().chain(&asked.optional);
            items.map(name_of).any(|name| name == grant.permission)
        };
        let mut revoked: Vec<&DecisionRecord> = Vec::new();
        // The latest comes first.
        for record in shown.records.iter().filter(|record| record.ended.as_deref() == Some("revoked")) {
            let grant = &record.grant;
            let decided_since = plugin.grants.iter().chain(denied.iter().copied()).any(|other| covers(other, grant));
            let is_told = revoked.iter().any(|told| covers(&told.grant, grant));
            if is_asked(grant) && !decided_since && !is_told {
                revoked.push(record);
            }
        }
        Self { plugin, denied, revoked }
    }

    /// Grants with who decided, until when, and why.
    pub(super) fn granted(&self, column: usize) -> Vec<String> {
        self.plugin.grants.iter().map(|grant| decided_text(grant, column)).collect()
    }

    /// What was denied.
    pub(super) fn denied(&self, column: usize) -> Vec<String> {
        self.denied.iter().map(|grant| decided_text(grant, column)).collect()
    }

    /// What was taken back.
    pub(super) fn revoked(&self, column: usize) -> Vec<String> {
        let text = |record: &&DecisionRecord| {
            let at = record.ended_at.as_deref().unwrap_or_default();
            format!("{} at {at}{}", what(&record.grant), note_text(record.ended_note.as_deref(), column))
        };
        self.revoked.iter().map(text).collect()
    }

    /// What is optional without what was denied or taken back.
    pub(super) fn may_use(&self) -> Vec<PermissionItem> {
        self.plugin.summary.permissions.optional.iter().filter_map(|item| self.left_of(item)).collect()
    }

    fn left_of(&self, item: &PermissionItem) -> Option<PermissionItem> {
        let name = name_of(item);
        let lost = self.denied.iter().copied().chain(self.revoked.iter().map(|record| &record.grant));
        let lost: Vec<_> = lost.filter(|grant| grant.permission == name).collect();
        if lost.iter().any(|grant| grant.scope.is_empty()) {
            return None;
        }
        match item {
            PermissionItem::Whole(_) => {
                let is_held = self.plugin.grants.iter().any(|grant| grant.permission == name);
                (lost.is_empty() || is_held).then(|| item.clone())
            }
            PermissionItem::Scoped { permission, scope } => {
                let left = scope.iter().filter(|part| !lost.iter().any(|grant| grant.scope.contains(part)));
                let left: Vec<_> = left.cloned().collect();
                let permission = permission.clone();
                (!left.is_empty()).then_some(PermissionItem::Scoped { permission, scope: left })
            }
        }
    }
}

fn name_of(item: &PermissionItem) -> &str {
    match item {
        PermissionItem::Whole(name) => name,
        PermissionItem::Scoped { permission, .. } => permission,
    }
}

/// Whether a decision is about everything that another one is about.
fn covers(decision: &GrantView, other: &GrantView) -> bool {
    let all_parts = || !other.scope.is_empty() && other.scope.iter().all(|part| decision.scope.contains(part));
    decision.permission == other.permission && (decision.scope.is_empty() || all_parts())
}

fn what(grant: &GrantView) -> String {
    let scope = if grant.scope.is_empty() { String::new() } else { format!(" ({})", grant.scope.join(", ")) };
    format!("{}{scope}", grant.permission)
}

fn decided_text(grant: &GrantView, column: usize) -> String {
    let until = grant.expires_at.as_ref().map(|end| format!(" until {end}")).unwrap_or_default();
    let note = note_text(grant.note.as_deref(), column);
    format!("{} by {}{until}{note}", what(grant), printable(&grant.label))
}

fn note_text(note: Option<&str>, column: usize) -> String {
    note.map(|note| format!(": {}", entry(note, column))).unwrap_or_default()
}
