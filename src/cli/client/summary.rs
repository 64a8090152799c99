//! What a plugin would be allowed to do, in words for whoever decides.

use super::plugins::permission_text;
use crate::cli::shown::printable;
use crate::domain::{Manifest, Permission, PermissionRequest, Risk};
use crate::wire::{
    PendingView, PermissionItem, PermissionsShown, PermissionsView, RiskRating, RiskRatingChange, SignatureView,
};

/// The best rating.
pub(super) const BEST: u8 = 6;

/// Everything somebody should see before deciding.
#[derive(Debug)]
pub(super) struct Summary {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) signer: String,
    /// What is new since the last decision, in the words of the service.
    pub(super) changes: Vec<String>,
    pub(super) permissions: PermissionsView,
    pub(super) network: Vec<String>,
    pub(super) risks: Vec<String>,
    /// How much trust it needs, with the reasons; nothing of what is not installed.
    trust: Vec<String>,
}

impl Summary {
    /// Of the version that serves.
    pub(super) fn of_serving(shown: &PermissionsShown) -> Self {
        Self {
            name: shown.name.clone(),
            version: shown.version.clone(),
            signer: signer(&shown.signature),
            changes: Vec::new(),
            permissions: shown.permissions.clone(),
            network: shown.request.network.clone(),
            risks: shown.risks.clone(),
            trust: trust(&shown.risk_rating),
        }
    }

    /// Of the version that waits.
    pub(super) fn of_pending(shown: &PermissionsShown, pending: &PendingView) -> Self {
        let (name, serving) = (&shown.name, &shown.version);
        let PendingView { permission_diff: diff, .. } = pending;
        let added = diff.added.iter().map(|what| format!("more: {what}"));
        let removed = diff.removed.iter().map(|what| format!("less: {what}"));
        let signer_changed = pending.signer_changed.then(|| format!("another signer than that of {serving}"));
        Self {
            name: name.clone(),
            version: pending.version.clone(),
            signer: signer(&pending.signature),
            changes: signer_changed.into_iter().chain(added).chain(removed).collect(),
            permissions: pending.permissions.clone(),
            network: pending.network.clone(),
            risks: pending.risks.clone(),
            trust: trust(&shown.risk_rating),
        }
    }

    /// Of an archive that is not installed yet.
    pub(super) fn of_archive(manifest: &Manifest, signer: String) -> Self {
        let items = |requests: &[PermissionRequest]| requests.iter().map(item).collect::<Vec<_>>();
        let requested = manifest.requested();
        Self {
            name: manifest.name.to_string(),
            version: manifest.version.to_string(),
            signer,
            changes: Vec::new(),
            permissions: PermissionsView {
                required: items(&requested.required),
                optional: items(&requested.optional),
                pending: items(&requested.required),
                ..PermissionsView::default()
            },
            network: manifest.network.iter().map(ToString::to_string).collect(),
            risks: manifest.risks().iter().map(ToString::to_string).collect(),
            trust: Vec::new(),
        }
    }

    /// As it is shown.
    pub(super) fn text(&self) -> String {
        let mut lines = vec![format!("{} {}", self.name, self.version), format!("  signed by {}", self.signer)];
        let mut section = |head: &str, texts: Vec<String>| {
            if !texts.is_empty() {
                lines.push(format!("  {head}"));
                lines.extend(texts.iter().map(|text| format!("    {}", printable(text))));
            }
        };
        section("changed since the version that serves:", self.changes.clone());
        section("needs:", self.explained(&self.permissions.required));
        section("may also be granted:", self.explained(&self.permissions.optional));
        section("granted so far:", self.permissions.granted.iter().map(permission_text).collect());
        section("denied so far:", self.permissions.denied.iter().map(permission_text).collect());
        section("risks:", self.risks.iter().map(|risk| format!("{risk}: {}", risk_words(risk))).collect());
        section("trust:", self.trust.clone());
        lines.join("\n")
    }

    fn explained(&self, items: &[PermissionItem]) -> Vec<String> {
        let text = |item: &PermissionItem| {
            let (word, scope) = parts(item);
            let words = word.parse::<Permission>().map_or_else(
                |_newer| "see the service's documentation".to_owned(),
                |permission| {
                    gives_away(
                        permission,
                        if permission == Permission::NetworkAccess && scope.is_empty() { &self.network } else { scope },
                    )
                },
            );
            format!("{word}: {words}")
        };
        items.iter().map(text).collect()
    }
}

/// Both ratings in a line, then the reasons of the second one.
fn trust(change: &RiskRatingChange) -> Vec<String> {
    let (now, then) = (change.before.value, change.after.value);
    let head = format!("{now} of {BEST} now, {then} of {BEST} with everything granted ({BEST} needs the least trust)");
    std::iter::once(head).chain(rating_points(&change.after)).collect()
}

/// What takes how much away from a rating.
pub(super) fn rating_points(rating: &RiskRating) -> impl Iterator<Item = String> + '_ {
    rating.points.iter().map(|point| format!("{} {}", point.weight, point.why))
}

fn item(request: &PermissionRequest) -> PermissionItem {
    let permission = request.permission.to_string();
    if request.scope.is_empty() {
        PermissionItem::Whole(permission)
    } else {
        PermissionItem::Scoped { permission, scope: request.scope.clone() }
    }
}

fn parts(item: &PermissionItem) -> (&str, &[String]) {
    match item {
        PermissionItem::Whole(word) => (word, &[]),
        PermissionItem::Scoped { permission, scope } => (permission, scope),
    }
}

/// A permission as it is written after `--grant`.
pub(in crate::cli) fn flag_text(item: &PermissionItem) -> String {
    match parts(item) {
        (word, []) => word.to_owned(),
        (word, scope) => format!("{word}:{}", scope.join(",")),
    }
}

/// Who signed, for people.
fn signer(signature: &SignatureView) -> String {
    match (&signature.label, &signature.key_id) {
        (Some(label), Some(id)) => format!("{label} ({id})"),
        (None, Some(id)) => format!("{id}, a key nobody registered"),
        _ => "nobody".to_owned(),
    }
}

/// What a permission gives away.
fn gives_away(permission: Permission, scope: &[String]) -> String {
    let named = scope.join(", ");
    let of = |every: &str, some: &str| if scope.is_empty() { every.to_owned() } else { format!("{some} {named}") };
    match permission {
        Permission::FilesystemRead => {
            format!("reads every file in {}", of("every folder you have named", "your folder"))
        }
        Permission::FilesystemWrite => {
            format!("reads, changes and deletes every file in {}", of("every folder you have named", "your folder"))
        }
        Permission::NetworkAccess => {
            format!("sends anything it knows to {}", of("EVERY PUBLIC HOST on the internet", "these hosts:"))
        }
        Permission::DatabaseRead => {
            format!("reads all rows of {}", of("every database you have named", "your database"))
        }
        Permission::DatabaseWrite => {
            format!("changes and deletes rows of {}", of("every database you have named", "your database"))
        }
        Permission::ApiAccess => {
            format!("calls, with your credentials, {}", of("every API you have named", "your API"))
        }
        Permission::ChatAccess => "reads chat messages and writes answers".to_owned(),
        Permission::AdminAccess => "lists and calls EVERY other plugin, with whatever those may do".to_owned(),
        Permission::Plugins => format!("calls the plugin {named}, with whatever that may do"),
    }
}

/// What a risk means.
fn risk_words(risk: &str) -> &'static str {
    match risk.parse() {
        Ok(Risk::DataEgress) => "it sees data that is not its own, and can send it out",
        Ok(Risk::SignerChanged) => "this version comes from somebody else than the one before",
        Ok(Risk::ScanSuspicious) => "its code looks as an attack would: read what the scan found before you accept it",
        Err(_newer) => "see the service's documentation",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_tells_what_is_given_away() {
        let yaml = "name: demo\nversion: 1.0.0\nmain: main.py\npermissions: [network_access, chat_access]\n\
                    optional_permissions: [filesystem_read]\naccess: { filesystem_read: [docs] }\nrequires: { other: '*' }\n";
        let summary = Summary::of_archive(&Manifest::parse(yaml.as_bytes()).unwrap(), "acme (A1B2)".to_owned());
        let text = summary.text();
        for line in [
            "demo 1.0.0",
            "  signed by acme (A1B2)",
            "    network_access: sends anything it knows to EVERY PUBLIC HOST on the internet",
            "    chat_access: reads chat messages and writes answers",
            "    plugins: calls the plugin other, with whatever that may do",
            "  may also be granted:\n    filesystem_read: reads every file in your folder docs",
            "    data-egress: it sees data that is not its own, and can send it out",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn flags_name_their_scope() {
        let item =
            PermissionItem::Scoped { permission: "database_read".to_owned(), scope: vec!["a".into(), "b".into()] };
        assert_eq!(flag_text(&item), "database_read:a,b");
        assert_eq!(flag_text(&PermissionItem::Whole("chat_access".to_owned())), "chat_access");
    }
}
