//! `plugbay enable` and `plugbay disable`.

use super::connection::{Connection, plugin_path, query};
use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::wire::StatusChanged;

/// Arguments of `enable`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: plugbay enable my-plugin\n\nPlugins that it requires are enabled before it. \
                            Ends with 8 when one of them does not start; then all of them stay as they were.")]
pub(in crate::cli) struct EnableArguments {
    /// Plugin, by name or id
    name: String,
}

/// Arguments of `disable`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  plugbay disable my-plugin\n  plugbay disable my-plugin --cascade")]
pub(in crate::cli) struct DisableArguments {
    /// Plugin, by name or id
    name: String,
    /// Disable the plugins that require it before it
    #[arg(long)]
    cascade: bool,
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
    let query = query(&[("cascade", arguments.cascade.then_some("true"))]);
    let spinner = context.output.spinner("stopping");
    let changed: Result<StatusChanged, _> = connection.act(&plugin_path(&arguments.name, &format!("/disable{query}")));
    spinner.finish_and_clear();
    let changed = changed?;
    context.output.result(&changed_text(&arguments.name, &changed), &changed);
    Ok(())
}

/// One line about a wish and what came of it, after a line for each plugin that was changed for its sake.
pub(super) fn changed_text(name: &str, changed: &StatusChanged) -> String {
    let enabled = changed.also_enabled.iter().map(|other| format!("enabled {other}, which is required"));
    let disabled = changed.also_disabled.iter().map(|other| format!("disabled {other}, which requires it"));
    let own = format!("{} {name}, it is {}", changed.status, changed.state);
    enabled.chain(disabled).chain([own]).collect::<Vec<_>>().join("\n")
}
