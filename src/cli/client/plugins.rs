//! `plugbay list`, `plugbay show`, `plugbay uninstall`.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::connection::{Connection, plugin_path, query, segment};
use super::decisions::Decisions;
use super::summary::{BEST, rating_points};
use super::tools;
use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::output::table;
use crate::cli::shown::{entry, printable};
use crate::wire::{
    FailureView, LastUpdateView, PendingView, PermissionItem, PermissionsShown, PluginDetail, PluginList,
    PluginSummary, RequirementView,
};

/// Where `show` writes what it knows.
const TEXT_COLUMN: usize = 13;

/// Arguments of `list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  plugbay list --status quarantined\n  plugbay list --tools --json")]
pub(in crate::cli) struct ListArguments {
    /// Only plugins of this status
    #[arg(long, value_parser = ["all", "installed", "enabled", "disabled", "quarantined"])]
    status: Option<String>,
    /// Only plugins whose name, description or tags contain this text
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Tools of enabled plugins that the token may use, instead of plugins
    #[arg(long, conflicts_with_all = ["status", "search"])]
    tools: bool,
}

pub(in crate::cli) fn list(arguments: &ListArguments, context: &Context) -> Result<(), Failure> {
    let connection = Connection::open(context)?;
    if arguments.tools {
        return tools::list(&connection, context);
    }
    let plugins = list_all(arguments.status.as_deref(), arguments.search.as_deref(), &connection)?;
    if plugins.is_empty() && arguments.status.is_none() && arguments.search.is_none() {
        context.output.message("no plugins yet; install one: plugbay install FILE");
    }
    let rows: Vec<_> = plugins
        .iter()
        .map(|plugin| {
            let description = plugin.description.as_deref().map(one_line).unwrap_or_default();
            let isolation = plugin.isolation.clone().unwrap_or_else(|| "-".to_owned());
            let PluginSummary { name, version, status, state, signature, permissions, .. } = plugin;
            let open = permissions.pending.len();
            let status = if open == 0 { status.clone() } else { format!("{status}, {open} to approve") };
            [name, version, &status, state, &isolation, signature, &description].map(Clone::clone)
        })
        .collect();
    let head = ["NAME", "VERSION", "STATUS", "STATE", "ISOLATION", "SIGNATURE", "DESCRIPTION"];
    context.output.result(&table(head, &rows), &json!({"total": plugins.len(), "plugins": plugins}));
    Ok(())
}

/// Every plugin of this status that contains this text, page by page.
pub(super) fn list_all(
    status: Option<&str>,
    search: Option<&str>,
    connection: &Connection,
) -> Result<Vec<PluginSummary>, Failure> {
    let mut plugins: Vec<PluginSummary> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let query = query(&[("status", status), ("q", search), ("limit", Some("1000")), ("cursor", cursor.as_deref())]);
        let page: PluginList = connection.get(&format!("/api/plugins{query}"))?;
        plugins.extend(page.plugins);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(plugins);
        }
    }
}

/// A text of the plugin's author in a table.
fn one_line(text: &str) -> String {
    printable(text).replace(['\n', '\t'], " ")
}

/// Arguments of `show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: plugbay show my-plugin")]
pub(in crate::cli) struct ShowArguments {
    /// Plugin, by name or id
    name: String,
}

pub(in crate::cli) fn show(arguments: &ShowArguments, context: &Context) -> Result<(), Failure> {
    let connection = Connection::open(context)?;
    let plugin: PluginDetail = connection.get(&format!("/api/plugins/{}", segment(&arguments.name)))?;
    for warning in &plugin.warnings {
        context.output.warning(warning);
    }
    if context.output.is_json() {
        context.output.result("", &plugin);
        return Ok(());
    }
    let shown: PermissionsShown = connection.get(&plugin_path(&plugin.summary.name, "/permissions"))?;
    context.output.result(&detail_text(&plugin, &Decisions::of(&plugin, &shown)), &plugin);
    Ok(())
}

fn detail_text(plugin: &PluginDetail, decisions: &Decisions<'_>) -> String {
    let summary = &plugin.summary;
    let items = |items: &[PermissionItem]| items.iter().map(permission_text).collect::<Vec<_>>().join(", ");
    let signer = match (&plugin.signed_by.label, &plugin.signed_by.key_id) {
        (Some(label), Some(id)) => format!("{label} ({id})"),
        (None, Some(id)) => id.clone(),
        _ => "nobody".to_owned(),
    };
    let limits = &plugin.limits;
    let pending = plugin.pending.as_ref().map(pending_text);
    let quarantine =
        plugin.quarantine.as_ref().map(|quarantine| format!("{} since {}", quarantine.reason, quarantine.since));
    let breaker = (plugin.breaker.state != "closed").then(|| {
        let since = plugin.breaker.opened_at.as_deref().unwrap_or("now");
        format!("{} since {since}, after {} failures in a row", plugin.breaker.state, plugin.breaker.failures)
    });
    let uptime = plugin.uptime_seconds.map(uptime_text);
    let failure = plugin.last_failure.as_ref().map(|failure| {
        let FailureView { kind, at, text, .. } = failure;
        format!("{kind} at {at}: {}", entry(text, TEXT_COLUMN))
    });
    let update = plugin.last_update.as_ref().map(update_text);
    let open = (!summary.permissions.pending.is_empty())
        .then(|| format!("{}; plugbay approve {}", items(&summary.permissions.pending), summary.name));
    let trust =
        std::iter::once(format!("{} of {BEST}", plugin.risk_rating.value)).chain(rating_points(&plugin.risk_rating));
    let trust = each_line("trust", &trust.collect::<Vec<_>>());
    let missing = (!plugin.missing_config.is_empty())
        .then(|| format!("{}; plugbay config set {}", plugin.missing_config.join(", "), summary.name));
    let rows = [
        ("name", Some(summary.name.clone())),
        ("id", Some(summary.id.clone())),
        ("version", Some(summary.version.clone())),
        ("status", Some(format!("{}, {}", summary.status, summary.state))),
        ("isolation", summary.isolation.clone()),
        ("running for", uptime),
        ("restarts", (plugin.restarts > 0).then(|| plugin.restarts.to_string())),
        ("last failure", failure),
        ("last update", update),
        ("quarantine", quarantine),
        ("breaker", breaker),
        ("pending", pending),
        ("description", summary.description.as_deref().map(|text| entry(text, TEXT_COLUMN))),
        ("author", summary.author.as_deref().map(|text| entry(text, TEXT_COLUMN))),
        ("license", plugin.license.clone()),
        ("signature", Some(format!("{}, by {signer}", summary.signature))),
        ("digest", Some(plugin.digest.clone())),
        ("needs", Some(items(&summary.permissions.required))),
        ("may use", Some(items(&decisions.may_use()))),
        ("granted", Some(each_line("granted", &decisions.granted(TEXT_COLUMN)))),
        ("denied", Some(each_line("denied", &decisions.denied(TEXT_COLUMN)))),
        ("revoked", Some(each_line("revoked", &decisions.revoked(TEXT_COLUMN)))),
        ("open", open),
        ("missing", missing),
        ("requires", Some(plugin.requires.iter().map(requirement_text).collect::<Vec<_>>().join(", "))),
        ("required by", Some(plugin.required_by.join(", "))),
        ("reaches", Some(plugin.network.join(", "))),
        ("risks", Some(plugin.risks.join(", "))),
        ("code", plugin.scan.as_ref().map(|verdict| format!("looks {verdict}"))),
        ("trust", Some(trust)),
        ("commands", Some(plugin.commands.iter().map(|command| command.name.clone()).collect::<Vec<_>>().join(", "))),
        ("hooks", Some(plugin.hooks.iter().map(|hook| hook.name.clone()).collect::<Vec<_>>().join(", "))),
        ("methods", plugin.methods.as_ref().map(|methods| methods.join(", "))),
        ("versions", Some(plugin.versions.join(", "))),
        (
            "limits",
            Some(format!(
                "{} MiB memory, {} CPUs, {} processes, {} s per call",
                limits.memory_mb, limits.cpus, limits.pids, limits.timeout_seconds
            )),
        ),
    ];
    let lines = rows
        .into_iter()
        .filter_map(|(head, text)| text.filter(|text| !text.is_empty()).map(|text| format!("{head:12} {text}")));
    lines.collect::<Vec<_>>().join("\n")
}

/// What the waiting version waits for.
fn pending_text(pending: &PendingView) -> String {
    if pending.status == "pending_config" {
        let errors = pending.config.iter().map(|error| format!("{} ({})", error.pointer, printable(&error.message)));
        let errors = errors.collect::<Vec<_>>().join(", ");
        return format!("{} waits for another configuration because of {errors}", pending.version);
    }
    let mut reasons = pending.permission_diff.added.clone();
    reasons.extend(pending.signer_changed.then(|| "another signer".to_owned()));
    format!("{} waits for an administrator because of {}", pending.version, reasons.join(", "))
}

/// Several lines under the same head, of which the first one is written by the caller.
fn each_line(head: &str, lines: &[String]) -> String {
    lines.join(&format!("\n{head:12} "))
}

/// One line about what became of an update.
fn update_text(update: &LastUpdateView) -> String {
    let LastUpdateView { version, previous_version, status, .. } = update;
    match status.as_str() {
        "watched" => {
            format!("{version} took over from {previous_version} and is watched until {}", update.watched_until)
        }
        "rolled_back" => {
            let data = update.data_age_seconds.map(|age| format!(", with what was kept {age:.0} s before"));
            let text = entry(update.text.as_deref().unwrap_or_default(), TEXT_COLUMN);
            format!("{version} went back to {previous_version}{}: {text}", data.unwrap_or_default())
        }
        _ => format!("{version} took over from {previous_version} at {}", update.at),
    }
}

/// A while in its two largest units.
fn uptime_text(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs();
    let (days, hours, minutes) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{whole} s"),
        (0, 0, _) => format!("{minutes} min {} s", whole % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// A plugin that is required, and what is there for it.
fn requirement_text(requirement: &RequirementView) -> String {
    let RequirementView { name, range, installed, satisfied } = requirement;
    match (satisfied, installed) {
        (None, _) => format!("{name} {range}"),
        (Some(true), Some(version)) => format!("{name} {range} ({version})"),
        (Some(_), Some(version)) => format!("{name} {range} ({version} does not fit)"),
        (Some(_), None) => format!("{name} {range} (not installed)"),
    }
}

/// A permission on one line.
pub(super) fn permission_text(item: &PermissionItem) -> String {
    match item {
        PermissionItem::Whole(name) => name.clone(),
        PermissionItem::Scoped { permission, scope } => format!("{permission} ({})", scope.join(", ")),
    }
}

/// Arguments of `uninstall`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: plugbay uninstall my-plugin")]
pub(in crate::cli) struct UninstallArguments {
    /// Plugin, by name or id
    name: String,
    /// Remove what the plugin kept, too
    #[arg(long)]
    purge: bool,
}

pub(in crate::cli) fn uninstall(arguments: &UninstallArguments, context: &Context) -> Result<(), Failure> {
    let connection = Connection::open(context)?;
    let query = query(&[("purge", arguments.purge.then_some("true"))]);
    let path = format!("/api/plugins/{}{query}", segment(&arguments.name));
    connection.send_empty(connection.request(Method::DELETE, &path))?;
    context.output.result(&format!("uninstalled {}", arguments.name), &json!({"uninstalled": arguments.name}));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_while_has_two_units() {
        let texts = [12.5, 75.0, 3_700.0, 90_000.0, -1.0].map(uptime_text);
        assert_eq!(texts, ["12 s", "1 min 15 s", "1 h 1 min", "1 d 1 h", "0 s"]);
    }

    #[test]
    fn what_is_required_is_shown_with_what_is_there() {
        let text = |installed: Option<&str>, satisfied| {
            let (name, range) = ("b".to_owned(), "^1.2".to_owned());
            requirement_text(&RequirementView { name, range, installed: installed.map(str::to_owned), satisfied })
        };
        assert_eq!(text(Some("1.4.0"), Some(true)), "b ^1.2 (1.4.0)");
        assert_eq!(text(Some("1.1.0"), Some(false)), "b ^1.2 (1.1.0 does not fit)");
        assert_eq!(text(None, Some(false)), "b ^1.2 (not installed)");
        assert_eq!(text(None, None), "b ^1.2", "the token is not for it");
    }
}
