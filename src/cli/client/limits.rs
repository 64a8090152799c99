//! `plugbay limits`: what a plugin gets when it runs.

use reqwest::Method;
use serde_json::{Map, Value};

use super::connection::{Connection, plugin_path};
use crate::cli::Context;
use crate::cli::failure::{Failure, Local};
use crate::cli::output::table;
use crate::domain::{escape, nearest};
use crate::wire::{LimitsChange, LimitsView};

/// Every limit, in the order it is shown.
const LIMITS: [&str; 9] = [
    "memory_mb",
    "cpus",
    "cpu_shares",
    "pids",
    "tmp_mb",
    "data_mb",
    "timeout_seconds",
    "max_concurrency",
    "max_streams",
];

/// Arguments of `limits`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  plugbay limits get my-plugin\n  plugbay limits set my-plugin memory_mb=512 cpus=1\n  \
                        plugbay limits set my-plugin memory_mb=\n  plugbay limits set my-plugin --clear"
)]
pub(in crate::cli) struct LimitsArguments {
    #[command(subcommand)]
    action: LimitsAction,
}

#[derive(Debug, clap::Subcommand)]
enum LimitsAction {
    /// Show the limits, and who decided each
    Get {
        /// Plugin, by name or id
        name: String,
    },
    /// Set limits in place of the manifest's; those that are not named stay as they are
    Set {
        /// Plugin, by name or id
        name: String,
        /// Limits to set; without a value, the manifest's holds again
        #[arg(value_name = "LIMIT=VALUE", required_unless_present = "clear", value_parser = parse_limit)]
        limits: Vec<(&'static str, Option<Value>)>,
        /// Forget everything that was set before
        #[arg(long)]
        clear: bool,
    },
}

/// Reads `memory_mb=512`. A value that is too large the service refuses, because the ceiling is there.
fn parse_limit(text: &str) -> Result<(&'static str, Option<Value>), String> {
    let (name, value) = text.split_once('=').ok_or("expected LIMIT=VALUE, such as memory_mb=512")?;
    let known = LIMITS.into_iter().find(|limit| *limit == name).ok_or_else(|| match nearest(name, LIMITS) {
        Some(meant) => format!("there is no such limit; did you mean {meant}?"),
        None => format!("there is no such limit; expected one of {}", LIMITS.join(", ")),
    })?;
    if value.is_empty() {
        return Ok((known, None));
    }
    let number = if known == "cpus" {
        value.parse().ok().filter(|cpus: &f64| cpus.is_finite()).map(Value::from)
    } else {
        value.parse::<u64>().ok().map(Value::from)
    };
    let expected = if known == "cpus" { "a number such as 0.5" } else { "a whole number" };
    number.map(|number| (known, Some(number))).ok_or_else(|| format!("expected {expected}, found `{}`", escape(value)))
}

pub(in crate::cli) fn limits(arguments: LimitsArguments, context: &Context) -> Result<(), Failure> {
    let connection = Connection::open(context)?;
    let view: LimitsView = match arguments.action {
        LimitsAction::Get { name } => connection.get(&plugin_path(&name, "/limits"))?,
        LimitsAction::Set { name, limits, clear } => {
            let path = plugin_path(&name, "/limits");
            let held = if clear { LimitsChange::default() } else { connection.get::<LimitsView>(&path)?.overridden };
            let change = merge(&held, limits)?;
            connection.send(connection.request(Method::PUT, &path).json(&change))?
        }
    };
    context.output.result(&view_text(&view)?, &view);
    Ok(())
}

fn merge(held: &LimitsChange, limits: Vec<(&'static str, Option<Value>)>) -> Result<LimitsChange, Failure> {
    let mut object = object(held)?;
    for (name, value) in limits {
        object.insert(name.to_owned(), value.unwrap_or(Value::Null));
    }
    serde_json::from_value(Value::Object(object)).map_err(|error| unreadable(&error))
}

/// One row per limit: what holds, and where it comes from.
fn view_text(view: &LimitsView) -> Result<String, Failure> {
    let (limits, set) = (object(&view.limits)?, object(&view.overridden)?);
    let (manifest, ceiling) = (object(&view.manifest)?, object(&view.ceiling)?);
    let rows: Vec<_> = LIMITS
        .into_iter()
        .map(|name| {
            let cell = |object: &Map<String, Value>| object.get(name).map_or("-".to_owned(), ToString::to_string);
            [name.to_owned(), cell(&limits), cell(&set), cell(&manifest), cell(&ceiling)]
        })
        .collect();
    Ok(table(["LIMIT", "VALUE", "SET HERE", "MANIFEST", "CEILING"], &rows))
}

fn object(value: &impl serde::Serialize) -> Result<Map<String, Value>, Failure> {
    let value = serde_json::to_value(value).and_then(serde_json::from_value);
    value.map_err(|error| unreadable(&error))
}

fn unreadable(error: &serde_json::Error) -> Failure {
    Failure::local(Local::Failed, format!("limits cannot be read: {error}"), "report this")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_named_and_numbers() {
        assert_eq!(parse_limit("memory_mb=512"), Ok(("memory_mb", Some(512.into()))));
        assert_eq!(parse_limit("cpus=1"), Ok(("cpus", Some(1.0.into()))));
        assert_eq!(parse_limit("pids="), Ok(("pids", None)));
        assert!(parse_limit("memory=512").unwrap_err().contains("expected one of memory_mb"));
        assert!(parse_limit("memory_bm=512").unwrap_err().contains("did you mean memory_mb?"));
        for text in ["memory_mb", "memory_mb=much", "memory_mb=-1", "memory_mb=1.5", "cpus=inf"] {
            assert!(parse_limit(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_not_named_stays_as_it_was_set() {
        let held = LimitsChange { memory_mb: Some(512), pids: Some(10), ..LimitsChange::default() };
        let merged = merge(&held, vec![("pids", None), ("cpus", Some(1.0.into()))]).unwrap();
        assert_eq!(merged, LimitsChange { memory_mb: Some(512), cpus: Some(1.0), ..LimitsChange::default() });
    }
}
