//! `plugbay rollback`: the way back to an earlier version.

use super::connection::{Connection, plugin_path};
use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::wire::{RollbackRequest, RolledBack};

/// Arguments of `rollback`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples: plugbay rollback my-plugin\n          plugbay rollback my-plugin --to 1.0.0 --restore-data\n\n\
                        The earlier version is started beside the one that serves and takes over once it works.\nWhat the \
                        plugin keeps stays as it is, unless --restore-data puts back what it was when that version last \
                        served."
)]
pub(in crate::cli) struct RollbackArguments {
    /// Plugin, by name or id
    name: String,
    /// Version to go back to [default: the one that served before]
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,
    /// Put back what the plugin kept then; what it kept since is lost
    #[arg(long)]
    restore_data: bool,
}

pub(in crate::cli) fn rollback(arguments: &RollbackArguments, context: &Context) -> Result<(), Failure> {
    let connection = Connection::open(context)?;
    let request = RollbackRequest { version: arguments.to.clone(), restore_data: arguments.restore_data };
    let spinner = context.output.spinner("rolling back");
    let done = connection.post::<RolledBack>(&plugin_path(&arguments.name, "/rollback"), &request);
    spinner.finish_and_clear();
    let done = done.map_err(|failure| failure.about(&arguments.name))?;
    let data = if done.data_restored { ", with what it kept then" } else { "" };
    let text = format!("rolled {} back from {} to {}{data}", arguments.name, done.previous_version, done.version);
    context.output.result(&text, &done);
    Ok(())
}
