//! `plugbay install` and `plugbay update`.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::connection::{Connection, plugin_path, query};
use super::enable::{changed_text, start};
use super::plugins::permission_text;
use super::upload::Source;
use crate::cli::Context;
use crate::cli::author::{read_archive_name, read_public_key};
use crate::cli::failure::{Failure, Local};
use crate::domain::PluginName;
use crate::wire::{Installed, KeyView, NewKey, PluginDetail, StatusChanged, Updated};

/// Arguments of `install`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  plugbay install my-plugin-1.0.0.tar.gz\n  \
                        plugbay install my-plugin-1.0.0.tar.gz --trust author.pub --enable\n  \
                        plugbay install https://plugins.example.com/my-plugin-1.0.0.tar.gz")]
pub(in crate::cli) struct InstallArguments {
    /// Archive to upload, or address the service fetches it from
    #[arg(value_name = "FILE|URL")]
    archive: String,
    /// Signature, a file or an address like the archive [default: the archive's with .minisig, if it is there]
    #[arg(long, value_name = "FILE|URL")]
    signature: Option<String>,
    /// Register this public key for the archive's plugin first
    #[arg(long, value_name = "KEY.pub")]
    trust: Option<PathBuf>,
    /// Update the plugin if it is installed already
    #[arg(long)]
    or_update: bool,
    /// Enable the plugin, too
    #[arg(long)]
    enable: bool,
}

pub(in crate::cli) fn install(arguments: &InstallArguments, context: &Context) -> Result<(), Failure> {
    let connection = Connection::open(context)?;
    let source = Source::find(&arguments.archive, arguments.signature.as_deref())?;
    if let Some(key) = &arguments.trust {
        trust(&arguments.archive, key, &connection, context)?;
    }
    if arguments.or_update {
        let name = archive_name(&arguments.archive, "--or-update")?;
        match connection.get::<PluginDetail>(&format!("/api/plugins/{name}")) {
            Ok(_) => {
                let updated = send_update(source, name.as_str(), None, &connection, context)?;
                let text = updated_text(name.as_str(), &updated);
                return finish(
                    name.as_str(),
                    text,
                    &updated,
                    &updated.warnings,
                    arguments.enable,
                    &connection,
                    context,
                );
            }
            Err(failure) if &*failure.code == "plugin-unknown" => {}
            Err(failure) => return Err(failure),
        }
    }
    let request = source.into_request(&connection, context, "/api/plugins/install")?;
    let installed: Installed = connection.send(request)?;
    let Installed { name, warnings, .. } = &installed;
    finish(name, installed_text(&installed), &installed, warnings, arguments.enable, &connection, context)
}

/// What was done, and what came of enabling it.
#[derive(Serialize)]
struct Outcome<'a, T> {
    #[serde(flatten)]
    brought: &'a T,
    #[serde(skip_serializing_if = "Option::is_none")]
    enabled: Option<StatusChanged>,
}

/// Enables what was brought, where that is wanted, and shows both as one outcome.
fn finish(
    name: &str,
    text: String,
    brought: &impl Serialize,
    warnings: &[String],
    enable: bool,
    connection: &Connection,
    context: &Context,
) -> Result<(), Failure> {
    warn(warnings, context);
    let enabled = match enable.then(|| start(name, connection, context)) {
        None => None,
        Some(Ok(enabled)) => Some(enabled),
        Some(Err(failure)) => {
            if !context.output.is_json() {
                context.output.result(&text, brought);
            }
            context.output.message(&format!("{name} is installed and was not enabled"));
            return Err(failure);
        }
    };
    let state = enabled.iter().map(|changed| changed_text(name, changed));
    let text = std::iter::once(text).chain(state).collect::<Vec<_>>().join("\n");
    context.output.result(&text, &Outcome { brought, enabled });
    Ok(())
}

/// The name of the plugin in an archive on this machine.
fn archive_name(archive: &str, flag: &str) -> Result<PluginName, Failure> {
    let path = Path::new(archive);
    if path.is_file() {
        return read_archive_name(path);
    }
    let detail = format!("{flag} reads the plugin's name from the archive, so it needs a file and not an address");
    Err(Failure::local(Local::Usage, detail, "download the archive first"))
}

/// Registers a key for the one plugin that the archive is of. A key that is there already stays as it is.
fn trust(archive: &str, key: &Path, connection: &Connection, context: &Context) -> Result<(), Failure> {
    let name = archive_name(archive, "--trust")?;
    let public_key = read_public_key(&key.to_string_lossy())?;
    let label = key.file_stem().map_or_else(|| name.to_string(), |stem| stem.to_string_lossy().into_owned());
    let new = NewKey {
        public_key: public_key.to_string(),
        label,
        names: vec![name.to_string()],
        not_before: None,
        not_after: None,
    };
    match connection.post::<KeyView>("/api/keys", &new) {
        Ok(key) => context.output.message(&format!("trusted key {} for {name}", key.key_id)),
        Err(failure) if &*failure.code == "key-exists" => {
            context.output.message(&format!("key {} is registered already", public_key.id()));
        }
        Err(failure) => return Err(failure),
    }
    Ok(())
}

/// Arguments of `update`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: plugbay update my-plugin my-plugin-1.1.0.tar.gz")]
pub(in crate::cli) struct UpdateArguments {
    /// Plugin, by name or id
    name: String,
    /// Archive to upload, or address the service fetches it from
    #[arg(value_name = "FILE|URL")]
    archive: String,
    /// Signature, a file or an address like the archive [default: the archive's with .minisig, if it is there]
    #[arg(long, value_name = "FILE|URL")]
    signature: Option<String>,
    /// Accept a version lower than one that has served
    #[arg(long)]
    allow_downgrade: bool,
}

pub(in crate::cli) fn update(arguments: &UpdateArguments, context: &Context) -> Result<(), Failure> {
    let connection = Connection::open(context)?;
    let source = Source::find(&arguments.archive, arguments.signature.as_deref())?;
    let downgrade = arguments.allow_downgrade.then_some("true");
    let updated = send_update(source, &arguments.name, downgrade, &connection, context)?;
    warn(&updated.warnings, context);
    context.output.result(&updated_text(&arguments.name, &updated), &updated);
    Ok(())
}

fn send_update(
    source: Source,
    name: &str,
    downgrade: Option<&str>,
    connection: &Connection,
    context: &Context,
) -> Result<Updated, Failure> {
    let path = plugin_path(name, &format!("/update{}", query(&[("allow_downgrade", downgrade)])));
    connection.send(source.into_request(connection, context, &path)?)
}

fn installed_text(installed: &Installed) -> String {
    let mut lines = vec![format!("installed {} {} ({})", installed.name, installed.version, installed.plugin_id)];
    let signature = &installed.signature;
    lines.push(match (&signature.label, &signature.key_id) {
        (Some(label), Some(id)) => format!("signed by   {label} ({id})"),
        (None, Some(id)) => format!("signed by   {id}, a key nobody registered"),
        _ => "signed by   nobody".to_owned(),
    });
    for (head, items) in [("needs", &installed.permissions.required), ("may use", &installed.permissions.optional)] {
        if !items.is_empty() {
            let items: Vec<_> = items.iter().map(permission_text).collect();
            lines.push(format!("{head:11} {}", items.join(", ")));
        }
    }
    if !installed.network.is_empty() {
        lines.push(format!("reaches     {}", installed.network.join(", ")));
    }
    if !installed.risks.is_empty() {
        lines.push(format!("risks       {}", installed.risks.join(", ")));
    }
    lines.join("\n")
}

fn updated_text(name: &str, updated: &Updated) -> String {
    match updated.status.as_str() {
        "updated" => format!("updated {name} from {} to {}", updated.previous_version, updated.version),
        "unchanged" => format!("{name} {} is there already", updated.version),
        _ => {
            let mut reasons = updated.permission_diff.added.clone();
            if updated.signer_changed {
                reasons.insert(0, "another signer".to_owned());
            }
            format!(
                "{name} {} waits for an administrator, {} serves on\nbecause of  {}",
                updated.version,
                updated.previous_version,
                reasons.join(", ")
            )
        }
    }
}

fn warn(warnings: &[String], context: &Context) {
    for warning in warnings {
        context.output.warning(warning);
    }
}
