//! `plugbay approve` and `plugbay revoke`.

use super::connection::{Connection, plugin_path};
use super::consent::{Consent, ask};
use super::install::updated_text;
use super::plugins::permission_text;
use super::summary::Summary;
use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::moments;
use crate::domain::{Clock as _, Risk, SystemClock};
use crate::wire::{
    AcceptedRiskView, ApproveRequest, PermissionItem, PermissionsDecided, PermissionsShown, RevokeRequest,
};

/// Arguments of `approve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  plugbay approve my-plugin\n  plugbay approve my-plugin --yes\n  \
                        plugbay approve my-plugin --grant network_access:api.example.com --deny filesystem_read\n  \
                        plugbay approve my-plugin --grant chat_access --accept-risk data-egress --expires 90d\n\n\
                        Without --grant, --deny, --accept-risk and --yes it shows what the plugin asks for, and asks.")]
pub(in crate::cli) struct ApproveArguments {
    /// Plugin, by name or id
    name: String,
    /// Grant a permission, or only a part of it: `database_read:chat,crm`
    #[arg(long, value_name = "PERMISSION")]
    grant: Vec<String>,
    /// Deny a permission
    #[arg(long, value_name = "PERMISSION")]
    deny: Vec<String>,
    /// Take a risk that the summary names
    #[arg(long, value_name = "RISK")]
    accept_risk: Vec<String>,
    /// Why, for whoever asks later
    #[arg(long)]
    note: Option<String>,
    /// When the grants end: 90d, 12h, or a time
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
    /// sha256 of the archive that was looked at; another one is refused
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,
    /// Grant what the plugin requires, without a question; never an optional permission, never a risk
    #[arg(long, short)]
    yes: bool,
}

/// Arguments of `revoke`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  plugbay revoke my-plugin network_access --note incident\n  \
                        plugbay revoke my-plugin database_read:crm\n\nA plugin that lost what it requires is stopped.")]
pub(in crate::cli) struct RevokeArguments {
    /// Plugin, by name or id
    name: String,
    /// Permissions, or parts of them: `database_read:crm`
    #[arg(value_name = "PERMISSION", required = true)]
    permissions: Vec<String>,
    /// Why, for whoever asks later
    #[arg(long)]
    note: Option<String>,
}

/// A permission as it is written on the command line: `database_read`, or `database_read:chat,crm`.
pub(in crate::cli) fn item(text: &str) -> PermissionItem {
    match text.split_once(':') {
        None => PermissionItem::Whole(text.to_owned()),
        Some((permission, scope)) => PermissionItem::Scoped {
            permission: permission.to_owned(),
            scope: scope.split(',').map(str::to_owned).collect(),
        },
    }
}

pub(in crate::cli) fn approve(arguments: &ApproveArguments, context: &Context) -> Result<(), Failure> {
    let ApproveArguments { name, grant, deny, accept_risk, note, expires, digest, yes } = arguments;
    let connection = Connection::open(context)?;
    let expires_at = match expires {
        Some(text) => Some(moments::future("--expires", text, SystemClock.now())?.to_string()),
        None => None,
    };
    let mut request = ApproveRequest {
        grant: grant.iter().map(|text| item(text)).collect(),
        deny: deny.iter().map(|text| item(text)).collect(),
        accept_risks: accept_risk.clone(),
        note: note.clone(),
        expires_at,
        digest: digest.clone(),
    };
    let is_decided = !(grant.is_empty() && deny.is_empty() && accept_risk.is_empty());
    if *yes || !is_decided {
        let open = Open::find(name, &connection)?;
        if open.is_settled() {
            let text = format!("nothing is open: {name} has every permission it needs");
            context.output.result(&text, &open.shown);
            return Ok(());
        }
        let consent = if *yes { Consent::default() } else { ask(&open.summary, "approve", context)? };
        request.digest.get_or_insert(open.digest);
        request.accept_risks.extend(consent.risks);
        // What is denied in the same breath is not granted by --yes.
        let required = open.summary.permissions.pending.into_iter().filter(|item| !request.deny.contains(item));
        request.grant.extend(required);
    }
    let decided = send(name, &request, &connection)?;
    context.output.result(&decided_text(name, &decided), &decided);
    Ok(())
}

/// The version that somebody has to decide about.
struct Open {
    summary: Summary,
    /// Risks of the version itself that were not accepted.
    risks: Vec<String>,
    digest: String,
    waits: bool,
    shown: PermissionsShown,
}

impl Open {
    fn find(name: &str, connection: &Connection) -> Result<Self, Failure> {
        let shown: PermissionsShown = connection.get(&plugin_path(name, "/permissions"))?;
        let (summary, digest) = match &shown.pending {
            Some(pending) => (Summary::of_pending(&shown, pending), pending.digest.clone()),
            None => (Summary::of_serving(&shown), shown.digest.clone()),
        };
        // Those that lie in what is granted are hints before it is.
        let is_open = |risk: &&String| {
            let is_accepted = |found: &AcceptedRiskView| found.risk == **risk && found.digest == digest;
            risk.parse().is_ok_and(|known: Risk| !known.lies_in_grants())
                && !shown.accepted_risks.iter().any(is_accepted)
        };
        let risks = summary.risks.iter().filter(is_open).cloned().collect();
        Ok(Self { summary, risks, digest, waits: shown.pending.is_some(), shown })
    }

    /// Nothing is required that was not granted, no risk is open, and no version waits.
    fn is_settled(&self) -> bool {
        !self.waits && self.summary.permissions.pending.is_empty() && self.risks.is_empty()
    }
}

/// Grants what the version at hand requires, with the risks that were agreed to.
pub(super) fn approve_required(
    name: &str,
    consent: &Consent,
    connection: &Connection,
) -> Result<Option<PermissionsDecided>, Failure> {
    let open = Open::find(name, connection)?;
    if open.is_settled() {
        return Ok(None);
    }
    // Risks that are only hints need no word; one too many harms nobody.
    let request = ApproveRequest {
        grant: open.summary.permissions.pending,
        accept_risks: consent.risks.clone(),
        digest: Some(open.digest),
        ..ApproveRequest::default()
    };
    send(name, &request, connection).map(Some)
}

fn send(name: &str, request: &ApproveRequest, connection: &Connection) -> Result<PermissionsDecided, Failure> {
    let decided = connection.post(&plugin_path(name, "/permissions/approve"), request);
    decided.map_err(|failure: Failure| failure.about(name))
}

pub(in crate::cli) fn revoke(arguments: &RevokeArguments, context: &Context) -> Result<(), Failure> {
    let RevokeArguments { name, permissions, note } = arguments;
    let connection = Connection::open(context)?;
    let request =
        RevokeRequest { permissions: permissions.iter().map(|text| item(text)).collect(), note: note.clone() };
    let spinner = context.output.spinner("revoking");
    let decided = connection.post::<PermissionsDecided>(&plugin_path(name, "/permissions/revoke"), &request);
    spinner.finish_and_clear();
    let decided = decided.map_err(|failure| failure.about(name))?;
    let text = if decided.records.is_empty() {
        format!("{name} had none of these")
    } else {
        let lost = decided.records.iter().map(|record| record_text(&record.grant.permission, &record.grant.scope));
        let lost = format!("revoked {}", lost.collect::<Vec<_>>().join(", "));
        if decided.permissions.pending.is_empty() {
            lost
        } else {
            format!("{lost}\n{name} does not run without; plugbay approve {name} brings it back")
        }
    };
    context.output.result(&text, &decided);
    Ok(())
}

fn record_text(permission: &str, scope: &[String]) -> String {
    if scope.is_empty() { permission.to_owned() } else { format!("{permission} ({})", scope.join(", ")) }
}

/// What was decided, on a few lines.
pub(super) fn decided_text(name: &str, decided: &PermissionsDecided) -> String {
    let mut lines = Vec::new();
    for decision in ["granted", "denied"] {
        let records = decided.records.iter().filter(|record| record.decision == decision);
        let texts: Vec<_> = records.map(|record| record_text(&record.grant.permission, &record.grant.scope)).collect();
        if !texts.is_empty() {
            lines.push(format!("{decision} {}", texts.join(", ")));
        }
    }
    let pending: Vec<_> = decided.permissions.pending.iter().map(permission_text).collect();
    if !pending.is_empty() {
        lines.push(format!("still open: {}", pending.join(", ")));
    }
    lines.extend(decided.update.as_ref().map(|updated| updated_text(name, updated)));
    if lines.is_empty() {
        lines.push(format!("noted for {name}"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_may_name_parts() {
        assert_eq!(item("chat_access"), PermissionItem::Whole("chat_access".to_owned()));
        let host = PermissionItem::Scoped {
            permission: "network_access".to_owned(),
            scope: vec!["a.example:8443".to_owned(), "tcp://b.example:1".to_owned()],
        };
        assert_eq!(item("network_access:a.example:8443,tcp://b.example:1"), host);
    }
}
