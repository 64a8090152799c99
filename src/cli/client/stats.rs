//! `plugbay stats`: what plugins use.

use std::time::Duration;

use serde::Serialize;

use super::connection::{Connection, plugin_path};
use super::plugins::list_all;
use crate::cli::Context;
use crate::cli::failure::{Failure, Local};
use crate::cli::output::table;
use crate::wire::Stats;

/// How often the figures are asked for while somebody watches.
const REFRESH: Duration = Duration::from_secs(1);

const HEAD: [&str; 7] = ["NAME", "STATE", "CPU", "MEMORY", "PIDS", "RECEIVED / SENT", "DATA"];

/// Arguments of `stats`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  plugbay stats\n  plugbay stats my-plugin --once --json\n\n\
                        On a terminal the figures are shown anew every second until Ctrl-C.")]
pub(in crate::cli) struct StatsArguments {
    /// Plugin, by name or id [default: all enabled ones]
    name: Option<String>,
    /// Show the figures once, also on a terminal
    #[arg(long)]
    once: bool,
}

/// The figures of one plugin among others.
#[derive(Serialize)]
struct Named {
    name: String,
    #[serde(flatten)]
    stats: Stats,
}

pub(in crate::cli) fn stats(arguments: &StatsArguments, context: &Context) -> Result<(), Failure> {
    let connection = Connection::open(context)?;
    let name = arguments.name.as_deref();
    if arguments.once || !context.output.is_live() {
        let plugins = read(name, &connection)?;
        let text = stats_text(&plugins);
        match (name, plugins.first()) {
            (Some(_), Some(plugin)) => context.output.result(&text, &plugin.stats),
            _ => context.output.result(&text, &serde_json::json!({"plugins": plugins})),
        }
        return Ok(());
    }
    let watch = || -> Result<(), Failure> {
        loop {
            context.output.redraw(&stats_text(&read(name, &connection)?));
            connection.pause(REFRESH)?;
        }
    };
    watch().map_err(|failure| {
        // This is how watching ends.
        if failure.is_interruption() { Failure::shown(Local::Interrupted) } else { failure }
    })
}

fn read(name: Option<&str>, connection: &Connection) -> Result<Vec<Named>, Failure> {
    let names = match name {
        Some(name) => vec![name.to_owned()],
        None => list_all(Some("enabled"), None, connection)?.into_iter().map(|plugin| plugin.name).collect(),
    };
    // Together: an engine measures for a second or two before it answers.
    let paths: Vec<_> = names.iter().map(|name| plugin_path(name, "/stats")).collect();
    let mut plugins = Vec::new();
    for (each, stats) in names.into_iter().zip(connection.get_all(&paths)?) {
        match stats {
            Ok(stats) => plugins.push(Named { name: each, stats }),
            // Uninstalled since the list was made.
            Err(failure) if name.is_none() && &*failure.code == "plugin-unknown" => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(plugins)
}

fn stats_text(plugins: &[Named]) -> String {
    let rows: Vec<_> = plugins.iter().map(row).collect();
    table(HEAD, &rows)
}

fn row(plugin: &Named) -> [String; 7] {
    let stats = &plugin.stats;
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let of = |used: Option<f64>, limit: u64| or_dash(used.map(|used| format!("{used:.1} / {limit} MiB")));
    let traffic = stats.network_rx_bytes.zip(stats.network_tx_bytes);
    [
        plugin.name.clone(),
        stats.status.clone(),
        or_dash(stats.cpu_percent.map(|percent| format!("{percent:.1} %"))),
        of(stats.memory_mb, stats.memory_limit_mb),
        or_dash(stats.pids.map(|pids| pids.to_string())),
        or_dash(traffic.map(|(received, sent)| format!("{} / {}", bytes(received), bytes(sent)))),
        of(stats.data_used_mb, stats.data_limit_mb),
    ]
}

/// A count of bytes in the unit that reads best.
fn bytes(count: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.into_iter().find(|(size, _)| count >= *size) {
        // Tenths in whole numbers: no digit is lost, however many bytes there are.
        Some((size, unit)) => format!("{}.{} {unit}", count / size, count % size * 10 / size),
        None => format!("{count} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_the_unit_that_reads_best() {
        let shown = [0, 1023, 1024, 1536, 1 << 20, 5 * (1 << 30)].map(bytes);
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "5.0 GiB"]);
    }

    #[test]
    fn what_does_not_run_has_dashes() {
        let limits = Stats { status: "error".to_owned(), memory_limit_mb: 256, data_limit_mb: 16, ..Stats::default() };
        let stats = Stats { cpu_percent: Some(0.42), memory_mb: Some(11.25), pids: Some(2), ..limits.clone() };
        let plugins = [("idle", limits), ("busy", stats)].map(|(name, stats)| Named { name: name.to_owned(), stats });
        let text = stats_text(&plugins);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["idle", "error", "-", "-", "-", "-", "-"]);
        assert_eq!(lines[2], ["busy", "error", "0.4", "%", "11.2", "/", "256", "MiB", "2", "-", "-"]);
    }
}
