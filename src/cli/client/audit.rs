//! `plugbay audit`: what was done, and whether anybody changed the record of it.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::connection::{Connection, query};
use crate::cli::Context;
use crate::cli::failure::{Failure, Local};
use crate::cli::output::table;
use crate::startup;
use crate::wire::{AuditList, AuditVerified};

/// Arguments of `audit`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  plugbay audit\n  plugbay audit list --plugin my-plugin\n  plugbay audit verify\n  \
                        plugbay audit verify --data-dir ./data --expect 7:9f…"
)]
pub(in crate::cli) struct AuditArguments {
    #[command(subcommand)]
    action: Option<AuditAction>,
}

#[derive(Debug, clap::Subcommand)]
enum AuditAction {
    /// List what was done, newest first
    List(AuditListArguments),
    /// Walk the whole chain and show the first row that does not fit
    Verify {
        /// Read the data directory of a stopped service instead of asking a running one
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
        /// A head noted down earlier, which must still be part of the chain
        #[arg(long, value_name = "SEQ:HASH", requires = "data_dir")]
        expect: Option<String>,
    },
}

#[derive(Debug, Default, clap::Args)]
struct AuditListArguments {
    /// Only rows about this plugin
    #[arg(long)]
    plugin: Option<String>,
    /// Only rows of this token, or of `service`
    #[arg(long)]
    actor: Option<String>,
    /// Only rows from this time on (RFC 3339)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Most rows to list
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: Option<u16>,
}

pub(in crate::cli) fn audit(arguments: AuditArguments, context: &Context) -> Result<(), Failure> {
    match arguments.action.unwrap_or(AuditAction::List(AuditListArguments::default())) {
        AuditAction::List(filter) => list(&filter, context),
        AuditAction::Verify { data_dir: None, .. } => {
            let verified: AuditVerified = Connection::open(context)?.get("/api/audit/verify")?;
            show_verified(&verified, context);
            Ok(())
        }
        AuditAction::Verify { data_dir: Some(folder), expect } => verify_offline(&folder, expect.as_deref(), context),
    }
}

fn list(filter: &AuditListArguments, context: &Context) -> Result<(), Failure> {
    let limit = filter.limit.map(|limit| limit.to_string());
    let query = query(&[
        ("plugin", filter.plugin.as_deref()),
        ("actor", filter.actor.as_deref()),
        ("since", filter.since.as_deref()),
        ("limit", limit.as_deref()),
    ]);
    let found: AuditList = Connection::open(context)?.get(&format!("/api/audit{query}"))?;
    let rows: Vec<_> = found
        .entries
        .iter()
        .map(|entry| {
            let plugin = entry.plugin.clone().unwrap_or_default();
            [entry.seq.to_string(), entry.at.clone(), entry.action.clone(), plugin, entry.actor.clone()]
        })
        .collect();
    context.output.result(&table(["ROW", "AT", "ACTION", "PLUGIN", "ACTOR"], &rows), &found);
    if found.next_cursor.is_some() {
        context.output.message("there are older rows; --limit shows up to 1000, --since narrows");
    }
    Ok(())
}

fn verify_offline(folder: &std::path::Path, expect: Option<&str>, context: &Context) -> Result<(), Failure> {
    if !folder.is_dir() {
        return Err(Failure::missing(folder));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("start the runtime", &error))?;
    let verified = runtime.block_on(startup::verify_audit(folder, expect)).map_err(|error| match error {
        startup::VerifyError::Service(error) => Failure::from(error),
        startup::VerifyError::Head(error) => {
            Failure::local(Local::Usage, format!("--expect: {error}"), "copy it from an earlier `plugbay audit verify`")
        }
    })?;
    let (head, taken_over) = (verified.head, verified.taken_over);
    show_verified(&AuditVerified { ok: true, entries: head.seq, taken_over, head: head.to_string() }, context);
    Ok(())
}

fn show_verified(verified: &AuditVerified, context: &Context) {
    let mut text = format!("the audit log is whole: {} rows, head {}", verified.entries, verified.head);
    if let Some(rows) = verified.taken_over {
        write!(
            text,
            "\nrows 1 to {rows} were taken over by a restore without their key: whether they were changed before then, \
             nobody can tell"
        )
        .expect("texts grow");
    }
    context.output.result(&text, verified);
}
