//! `plugbay plan`: what the sandbox of a plugin is made of.

use super::connection::{Connection, plugin_path};
use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::wire::SandboxPlan;

/// Arguments of `plan`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: plugbay plan my-plugin\n\nWrites what the engine is sent, as JSON. Nothing is started."
)]
pub(in crate::cli) struct PlanArguments {
    /// Plugin, by name or id
    name: String,
}

pub(in crate::cli) fn plan(arguments: &PlanArguments, context: &Context) -> Result<(), Failure> {
    let connection = Connection::open(context)?;
    let plan: SandboxPlan = connection.get(&plugin_path(&arguments.name, "/sandbox/plan"))?;
    context.output.result(&format!("{:#}", plan.body), &plan);
    Ok(())
}
