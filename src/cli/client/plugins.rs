//! `plugbay list`, `plugbay show`, `plugbay uninstall`.

use reqwest::Method;
use serde_json::json;

use super::connection::{Connection, query, segment};
use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::output::table;
use crate::wire::{PermissionItem, PluginDetail, PluginList, PluginSummary};

/// Arguments of `list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: plugbay list --status quarantined")]
pub(in crate::cli) struct ListArguments {
    /// Only plugins of this status
    #[arg(long, value_parser = ["all", "installed", "enabled", "disabled", "quarantined"])]
    status: Option<String>,
    /// Only plugins whose name, description or tags contain this text
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
}

pub(in crate::cli) fn list(arguments: &ListArguments, context: &Context) -> Result<(), Failure> {
    let connection = Connection::open(context)?;
    let mut plugins: Vec<PluginSummary> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let query = query(&[
            ("status", arguments.status.as_deref()),
            ("q", arguments.search.as_deref()),
            ("limit", Some("1000")),
            ("cursor", cursor.as_deref()),
        ]);
        let page: PluginList = connection.get(&format!("/api/plugins{query}"))?;
        plugins.extend(page.plugins);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    if plugins.is_empty() && arguments.status.is_none() && arguments.search.is_none() {
        context.output.message("no plugins yet; install one: plugbay install FILE");
    }
    let rows: Vec<_> = plugins
        .iter()
        .map(|plugin| {
            let description = plugin.description.clone().unwrap_or_default();
            [&plugin.name, &plugin.version, &plugin.status, &plugin.signature, &description].map(Clone::clone)
        })
        .collect();
    let text = table(["NAME", "VERSION", "STATUS", "SIGNATURE", "DESCRIPTION"], &rows);
    context.output.result(&text, &json!({"total": plugins.len(), "plugins": plugins}));
    Ok(())
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
    context.output.result(&detail_text(&plugin), &plugin);
    Ok(())
}

fn detail_text(plugin: &PluginDetail) -> String {
    let summary = &plugin.summary;
    let items = |items: &[PermissionItem]| items.iter().map(permission_text).collect::<Vec<_>>().join(", ");
    let signer = match (&plugin.signed_by.label, &plugin.signed_by.key_id) {
        (Some(label), Some(id)) => format!("{label} ({id})"),
        (None, Some(id)) => id.clone(),
        _ => "nobody".to_owned(),
    };
    let limits = &plugin.limits;
    let pending = plugin.pending.as_ref().map(|pending| {
        let mut reasons = pending.permission_diff.added.clone();
        reasons.extend(pending.signer_changed.then(|| "another signer".to_owned()));
        format!("{} waits for an administrator because of {}", pending.version, reasons.join(", "))
    });
    let quarantine =
        plugin.quarantine.as_ref().map(|quarantine| format!("{} since {}", quarantine.reason, quarantine.since));
    let rows = [
        ("name", Some(summary.name.clone())),
        ("id", Some(summary.id.clone())),
        ("version", Some(summary.version.clone())),
        ("status", Some(format!("{}, {}", summary.status, summary.state))),
        ("quarantine", quarantine),
        ("pending", pending),
        ("description", summary.description.clone()),
        ("author", summary.author.clone()),
        ("license", plugin.license.clone()),
        ("signature", Some(format!("{}, by {signer}", summary.signature))),
        ("digest", Some(plugin.digest.clone())),
        ("needs", Some(items(&plugin.permissions.required))),
        ("may use", Some(items(&plugin.permissions.optional))),
        ("reaches", Some(plugin.network.join(", "))),
        ("risks", Some(plugin.risks.join(", "))),
        ("commands", Some(plugin.commands.iter().map(|command| command.name.clone()).collect::<Vec<_>>().join(", "))),
        ("hooks", Some(plugin.hooks.iter().map(|hook| hook.name.clone()).collect::<Vec<_>>().join(", "))),
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
