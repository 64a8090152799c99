//! `plugbay key`: signing keys the service trusts.

use reqwest::Method;

use super::connection::{Connection, query, segment};
use crate::cli::Context;
use crate::cli::author::read_public_key;
use crate::cli::failure::Failure;
use crate::cli::output::table;
use crate::wire::{KeyList, KeyView, NewKey};

/// Arguments of `key`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  plugbay key add author.pub --label acme --names 'acme-*'\n  plugbay key list\n  \
                        plugbay key revoke A1B2C3D4E5F60718 --reason lost")]
pub(in crate::cli) struct KeyArguments {
    #[command(subcommand)]
    action: KeyAction,
}

#[derive(Debug, clap::Subcommand)]
enum KeyAction {
    /// Trust a key for plugins of these names
    Add {
        /// Public key, a .pub file or the text beginning with RW
        #[arg(value_name = "FILE|STRING")]
        key: String,
        /// Your name for it
        #[arg(long)]
        label: String,
        /// Plugins it may sign, such as 'acme-*'; say '*' for every plugin
        #[arg(long, value_name = "GLOB", num_args = 1.., required = true)]
        names: Vec<String>,
        /// It signs nothing before this time (RFC 3339)
        #[arg(long, value_name = "TIME")]
        not_before: Option<String>,
        /// It signs nothing from this time on (RFC 3339)
        #[arg(long, value_name = "TIME")]
        not_after: Option<String>,
    },
    /// List keys, revoked ones included
    List,
    /// Revoke a key and quarantine what it signed
    Revoke {
        /// Id of the key, 16 hex digits
        #[arg(value_name = "KEY_ID")]
        id: String,
        /// Why, for whoever asks later
        #[arg(long)]
        reason: Option<String>,
    },
}

pub(in crate::cli) fn key(arguments: KeyArguments, context: &Context) -> Result<(), Failure> {
    match arguments.action {
        KeyAction::Add { key, label, names, not_before, not_after } => {
            let public_key = read_public_key(&key)?.to_string();
            let new = NewKey { public_key, label, names, not_before, not_after };
            let added: KeyView = Connection::open(context)?.post("/api/keys", &new)?;
            let text = format!("trusted key {} ({}) for {}", added.key_id, added.label, added.names.join(", "));
            context.output.result(&text, &added);
        }
        KeyAction::List => {
            let keys: KeyList = Connection::open(context)?.get("/api/keys")?;
            context.output.result(&keys_text(&keys), &keys);
        }
        KeyAction::Revoke { id, reason } => {
            let connection = Connection::open(context)?;
            let path = format!("/api/keys/{}{}", segment(&id), query(&[("reason", reason.as_deref())]));
            let revoked: KeyView = connection.send(connection.request(Method::DELETE, &path))?;
            context.output.result(&format!("revoked key {} ({})", revoked.key_id, revoked.label), &revoked);
        }
    }
    Ok(())
}

fn keys_text(keys: &KeyList) -> String {
    let rows: Vec<_> = keys
        .keys
        .iter()
        .map(|key| {
            let state = match (&key.revoked_at, &key.reason) {
                (Some(at), Some(reason)) => format!("revoked {at}: {reason}"),
                (Some(at), None) => format!("revoked {at}"),
                (None, _) => key.not_after.as_ref().map_or("trusted".to_owned(), |end| format!("trusted until {end}")),
            };
            [key.key_id.clone(), key.label.clone(), key.names.join(", "), state]
        })
        .collect();
    table(["KEY", "LABEL", "NAMES", "STATE"], &rows)
}
