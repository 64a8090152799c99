//! `plugbay token`: who may call the service.

use reqwest::Method;

use super::connection::{Connection, segment};
use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::cli::moments;
use crate::cli::output::table;
use crate::domain::{Clock as _, SystemClock};
use crate::wire::{NewToken, TokenCreated, TokenList, TokenView};

/// Arguments of `token`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  plugbay token create --label ci --scopes install --plugins 'acme-*' --expires 90d\n  \
                        plugbay token create --label app --scopes execute --rate 50\n  plugbay token create --label model --scopes read,execute --tools git.git_status,'fs.*' --read-only\n  plugbay token list\n  plugbay token revoke token_0192…"
)]
pub(in crate::cli) struct TokenArguments {
    #[command(subcommand)]
    action: TokenAction,
}

#[derive(Debug, clap::Subcommand)]
enum TokenAction {
    /// Make a token; its secret is shown once
    Create {
        /// What it allows: read, execute, chat, operate, install, approve, trust, audit, admin
        #[arg(long, value_name = "SCOPE", num_args = 1.., value_delimiter = ',', required = true)]
        scopes: Vec<String>,
        /// Your name for it
        #[arg(long, default_value = "made on the command line")]
        label: String,
        /// Plugins it is for, such as 'acme-*' [default: all]
        #[arg(long, value_name = "GLOB", num_args = 1..)]
        plugins: Option<Vec<String>>,
        /// Tools it is for, such as 'fs.*', by comma [default: every method]
        #[arg(long, value_name = "GLOB", num_args = 1.., value_delimiter = ',')]
        tools: Option<Vec<String>>,
        /// Only tools whose annotations say that they change nothing
        #[arg(long)]
        read_only: bool,
        /// When it ends: a while such as 90d, 12h, 30m, or a time (RFC 3339) [default: never]
        #[arg(long, value_name = "WHEN")]
        expires: Option<String>,
        /// Requests per second; 0 for no limit [default: `server.requests_per_second` of the service]
        #[arg(long, value_name = "N")]
        rate: Option<u32>,
    },
    /// List tokens, revoked ones included
    List,
    /// End a token at once
    Revoke {
        /// Id of the token
        #[arg(value_name = "TOKEN_ID")]
        id: String,
    },
}

pub(in crate::cli) fn token(arguments: TokenArguments, context: &Context) -> Result<(), Failure> {
    match arguments.action {
        TokenAction::Create { scopes, label, plugins, tools, read_only, expires, rate } => {
            let expires_at =
                expires.as_deref().map(|text| moments::future("--expires", text, SystemClock.now())).transpose()?;
            let expires_at = expires_at.map(|time| time.to_string());
            let new = NewToken { label, scopes, plugins, tools, read_only, expires_at, rate };
            let created: TokenCreated = Connection::open(context)?.post("/api/tokens", &new)?;
            // Alone on stdout, so that it can be taken into a variable.
            context
                .output
                .message(&format!("made {} ({}); it is not shown again", created.view.id, created.view.label));
            context.output.result(&created.token, &created);
        }
        TokenAction::List => {
            let tokens: TokenList = Connection::open(context)?.get("/api/tokens")?;
            context.output.result(&tokens_text(&tokens), &tokens);
        }
        TokenAction::Revoke { id } => {
            let connection = Connection::open(context)?;
            let path = format!("/api/tokens/{}", segment(&id));
            let revoked: TokenView = connection.send(connection.request(Method::DELETE, &path))?;
            context.output.result(&format!("revoked {} ({})", revoked.id, revoked.label), &revoked);
        }
    }
    Ok(())
}

fn tokens_text(tokens: &TokenList) -> String {
    let rows: Vec<_> = tokens
        .tokens
        .iter()
        .map(|token| {
            let state = match (&token.revoked_at, &token.expires_at) {
                (Some(at), _) => format!("revoked {at}"),
                (None, Some(end)) => format!("until {end}"),
                (None, None) => "no end".to_owned(),
            };
            let plugins = token.plugins.as_ref().map_or("all".to_owned(), |plugins| plugins.join(", "));
            let used = token.last_used_at.clone().unwrap_or_else(|| "never".to_owned());
            let rate = match token.rate {
                None => "-".to_owned(),
                Some(0) => "no limit".to_owned(),
                Some(rate) => format!("{rate}/s"),
            };
            let tools = match (&token.tools, token.read_only) {
                (None, false) => "-".to_owned(),
                (None, true) => "read-only".to_owned(),
                (Some(tools), false) => tools.join(", "),
                (Some(tools), true) => format!("{} (read-only)", tools.join(", ")),
            };
            [token.id.clone(), token.label.clone(), token.scopes.join(","), plugins, tools, rate, used, state]
        })
        .collect();
    table(["TOKEN", "LABEL", "SCOPES", "PLUGINS", "TOOLS", "RATE", "LAST USED", "STATE"], &rows)
}
