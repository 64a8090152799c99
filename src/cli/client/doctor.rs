//! `plugbay doctor`: whether the service has what it needs.

use super::connection::Connection;
use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::wire::{Check, System};

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: plugbay doctor --json")]
pub(in crate::cli) struct DoctorArguments {}

pub(in crate::cli) fn doctor(_arguments: &DoctorArguments, context: &Context) -> Result<(), Failure> {
    let connection = Connection::open(context)?;
    let system: System = connection.get("/api/system")?;
    let mut lines = vec![format!("plugbay {} at {}", system.version, connection.url())];
    if system.insecure_dev {
        lines.push("started with --insecure-dev, for development only".to_owned());
    }
    lines.push(format!("signatures are {}", system.signatures));
    let mark = |check: &Check| if check.ok { "ok     " } else { "missing" };
    lines.extend(system.doctor.iter().map(|check| format!("{} {}: {}", mark(check), check.check, check.detail)));
    context.output.result(&lines.join("\n"), &system);
    if system.doctor.iter().all(|check| check.ok) { Ok(()) } else { Err(Failure::shown()) }
}
