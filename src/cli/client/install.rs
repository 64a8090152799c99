//! `plugbay install` and `plugbay update`.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::approve::{approve_required, decided_text};
use super::connection::{Connection, plugin_path, query};
use super::consent::{Consent, ask};
use super::enable::{changed_text, start};
use super::plugins::permission_text;
use super::summary::Summary;
use super::upload::Source;
use crate::cli::Context;
use crate::cli::author::{read_archive_name, read_archived_manifest, read_public_key};
use crate::cli::failure::{Failure, Local};
use crate::domain::PluginName;
use crate::wire::{Installed, KeyView, NewKey, PermissionsDecided, PluginDetail, StatusChanged, Updated};

/// Arguments of `install`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  plugbay install my-plugin-1.0.0.tar.gz\n  \
                        plugbay install my-plugin-1.0.0.tar.gz --trust author.pub --approve --enable\n  \
                        plugbay install https://plugins.example.com/my-plugin-1.0.0.tar.gz")]
#[expect(clippy::struct_excessive_bools, reason = "each is one flag")]
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
    /// Show what the plugin asks for, ask once, and grant what it requires
    #[arg(long)]
    approve: bool,
    /// With --approve: grant what it requires without a question; never an optional permission, never a risk
    #[arg(long, short, requires = "approve")]
    yes: bool,
    /// With --approve: take a risk that the summary names
    #[arg(long, value_name = "RISK", requires = "approve")]
    accept_risk: Vec<String>,
    /// Enable the plugin, too
    #[arg(long)]
    enable: bool,
}

pub(in crate::cli) fn install(arguments: &InstallArguments, context: &Context) -> Result<(), Failure> {
    let connection = Connection::open(context)?;
    let source = Source::find(&arguments.archive, arguments.signature.as_deref())?;
    // One question, before anything is changed.
    let consent = if arguments.approve { Some(agree(arguments, context)?) } else { None };
    let then = Then { consent, enable: arguments.enable };
    if let Some(key) = &arguments.trust {
        trust(&arguments.archive, key, &connection, context)?;
    }
    if arguments.or_update {
        let name = archive_name(&arguments.archive, "--or-update")?;
        match connection.get::<PluginDetail>(&format!("/api/plugins/{name}")) {
            Ok(_) => {
                let updated = send_update(source, name.as_str(), None, &connection, context)?;
                warn(&updated.warnings, context);
                let text = updated_text(name.as_str(), &updated);
                return then.finish(name.as_str(), text, &updated, &connection, context);
            }
            Err(failure) if &*failure.code == "plugin-unknown" => {}
            Err(failure) => return Err(failure),
        }
    }
    let request = source.into_request(&connection, context, "/api/plugins/install")?;
    let installed: Installed = connection.send(request)?;
    warn(&installed.warnings, context);
    then.finish(&installed.name, installed_text(&installed), &installed, &connection, context)
}

/// Shows what the archive asks for and asks once, unless the flags answer.
fn agree(arguments: &InstallArguments, context: &Context) -> Result<Consent, Failure> {
    let path = Path::new(&arguments.archive);
    if !path.is_file() {
        let detail = "--approve shows what the archive asks for, so it needs a file and not an address";
        return Err(Failure::local(Local::Usage, detail, "install it, then: plugbay approve NAME"));
    }
    if arguments.yes {
        return Ok(Consent { risks: arguments.accept_risk.clone() });
    }
    let manifest = read_archived_manifest(path)?;
    let signer = match &arguments.trust {
        Some(key) => {
            let public_key = read_public_key(&key.to_string_lossy())?;
            format!("{}, which will be trusted for {}", public_key.id(), manifest.name)
        }
        None => "a key that the service knows, else it is refused".to_owned(),
    };
    let summary = Summary::of_archive(&manifest, signer);
    if summary.permissions.required.is_empty() && summary.risks.is_empty() {
        context.output.message(&summary.text());
        return Ok(Consent::default());
    }
    let mut consent = ask(&summary, "install", context)?;
    consent.risks.extend(arguments.accept_risk.iter().cloned());
    Ok(consent)
}

/// What was done, and what came of what was to follow.
#[derive(Serialize)]
struct Outcome<'a, T> {
    #[serde(flatten)]
    brought: &'a T,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved: Option<PermissionsDecided>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enabled: Option<StatusChanged>,
}

/// What follows once the archive is there.
struct Then {
    consent: Option<Consent>,
    enable: bool,
}

impl Then {
    /// Approves and enables what was brought, where that is wanted, and shows all of it as one outcome.
    fn finish(
        self,
        name: &str,
        text: String,
        brought: &impl Serialize,
        connection: &Connection,
        context: &Context,
    ) -> Result<(), Failure> {
        let mut texts = vec![text];
        let stopped = |texts: &[String], what: &str, failure: Failure| {
            if !context.output.is_json() {
                context.output.result(&texts.join("\n"), brought);
            }
            context.output.message(&format!("{name} is installed and was not {what}"));
            failure
        };
        let approved = match self.consent.map(|consent| approve_required(name, &consent, connection)) {
            None | Some(Ok(None)) => None,
            Some(Ok(Some(decided))) => {
                texts.push(decided_text(name, &decided));
                Some(decided)
            }
            Some(Err(failure)) => return Err(stopped(&texts, "approved", failure)),
        };
        let enabled = match self.enable.then(|| start(name, connection, context)) {
            None => None,
            Some(Ok(enabled)) => {
                texts.push(changed_text(name, &enabled));
                Some(enabled)
            }
            Some(Err(failure)) => return Err(stopped(&texts, "enabled", failure)),
        };
        context.output.result(&texts.join("\n"), &Outcome { brought, approved, enabled });
        Ok(())
    }
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

pub(super) fn updated_text(name: &str, updated: &Updated) -> String {
    match updated.status.as_str() {
        "updated" => {
            let watched = updated.watched_until.as_ref();
            let watched = watched.map(|end| format!("\nwatched     until {end}; it goes back by itself if it fails"));
            let (before, version) = (&updated.previous_version, &updated.version);
            format!("updated {name} from {before} to {version}{}", watched.unwrap_or_default())
        }
        "unchanged" => format!("{name} {} is there already", updated.version),
        "pending_config" => format!(
            "{name} {} waits for a configuration that it accepts, {} serves on\nsee         plugbay config get {name}",
            updated.version, updated.previous_version
        ),
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
