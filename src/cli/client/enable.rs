//! `plugbay enable` and `plugbay disable`.

use super::connection::{Connection, plugin_path};
use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::wire::StatusChanged;

/// Arguments of `enable`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: plugbay enable my-plugin\n\nEnds with 8 when the plugin does not start.")]
pub(in crate::cli) struct EnableArguments {
    /// Plugin, by name or id
    name: String,
}

/// Arguments of `disable`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: plugbay disable my-plugin")]
pub(in crate::cli) struct DisableArguments {
    /// Plugin, by name or id
    name: String,
}

pub(in crate::cli) fn enable(arguments: &EnableArguments, context: &Context) -> Result<(), Failure> {
    let connection = Connection::open(context)?;
    let changed = start(&arguments.name, &connection, context)?;
    context.output.result(&changed_text(&arguments.name, &changed), &changed);
    Ok(())
}

/// Enables a plugin, which includes that it starts.
pub(super) fn start(name: &str, connection: &Connection, context: &Context) -> Result<StatusChanged, Failure> {
    let spinner = context.output.spinner("starting");
    let changed = connection.act(&plugin_path(name, "/enable"));
    spinner.finish_and_clear();
    changed.map_err(|failure| failure.about(name))
}

pub(in crate::cli) fn disable(arguments: &DisableArguments, context: &Context) -> Result<(), Failure> {
    let connection = Connection::open(context)?;
    let spinner = context.output.spinner("stopping");
    let changed: Result<StatusChanged, _> = connection.act(&plugin_path(&arguments.name, "/disable"));
    spinner.finish_and_clear();
    let changed = changed?;
    context.output.result(&changed_text(&arguments.name, &changed), &changed);
    Ok(())
}

/// One line about a wish and what came of it.
pub(super) fn changed_text(name: &str, changed: &StatusChanged) -> String {
    format!("{} {name}, it is {}", changed.status, changed.state)
}
