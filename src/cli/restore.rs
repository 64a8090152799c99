//! `plugbay restore`: a backup made a data directory again.

use std::path::PathBuf;

use super::Context;
use super::failure::Failure;
use crate::startup::{self, RestoreOrder, Restored};

/// Arguments of `restore`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  plugbay restore backup.tar --data-dir ./data --key-file ./master.key\n  \
                        plugbay restore backup.tar --data-dir ./data\n\nWithout the master key that was in force, \
                        secrets of plugins are lost; they are listed, to be set again.")]
pub(super) struct RestoreArguments {
    /// The backup
    #[arg(value_name = "FILE")]
    backup: PathBuf,
    /// Directory to restore into; empty, or not there yet
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The master.key that was in force when the backup was made
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Accept a backup without a seal, as plugbay made them before it sealed backups
    #[arg(long, requires = "key_file")]
    accept_unsealed: bool,
}

pub(super) fn restore(arguments: RestoreArguments, context: &Context) -> Result<(), Failure> {
    let RestoreArguments { backup, data_dir, key_file, accept_unsealed } = arguments;
    for path in [Some(&backup), key_file.as_ref()].into_iter().flatten() {
        if !path.is_file() {
            return Err(Failure::missing(path));
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("start the runtime", &error))?;
    let spinner = context.output.spinner("restoring");
    let order = RestoreOrder { backup, data_dir, key_file, accept_unsealed };
    let restored = runtime.block_on(startup::restore(&order));
    spinner.finish_and_clear();
    let restored = restored?;
    context.output.result(&text(&restored), &restored);
    Ok(())
}

fn text(restored: &Restored) -> String {
    let mut lines = vec![
        format!(
            "restored {} plugins and {} volumes of {} into {}",
            restored.plugins,
            restored.volumes,
            restored.created_at,
            restored.data_dir.display()
        ),
        format!("a new token with scope admin is in {}", restored.admin_token.display()),
        format!(
            "{} older tokens are valid, also those revoked after the backup: plugbay token list",
            restored.old_tokens
        ),
        restored.seal.to_string(),
        format!("audit log, {} rows: {}", restored.audit_rows, restored.audit),
    ];
    if !restored.lost_secrets.is_empty() {
        lines.push("these secrets have to be set again:".to_owned());
        let again = |lost: &startup::LostSecret| format!("  plugbay config set {} {}", lost.plugin, lost.field);
        lines.extend(restored.lost_secrets.iter().map(again));
    }
    lines.join("\n")
}
