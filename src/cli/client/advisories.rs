//! `plugbay advisories import`: known holes of packages for the scans of a service.

use std::fs;
use std::path::{Path, PathBuf};

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;

use super::connection::Connection;
use crate::cli::Context;
use crate::cli::failure::{Failure, Local};
use crate::wire::AdvisoriesImported;

/// Commands about known holes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: plugbay advisories import advisory-database/vulns\n\nThe service compares them with \
                        vendor.lock of each package, and reads what is installed again.")]
pub(in crate::cli) struct AdvisoryArguments {
    #[command(subcommand)]
    command: AdvisoryCommand,
}

#[derive(Debug, clap::Subcommand)]
enum AdvisoryCommand {
    /// Bring in every record of OSV below a folder, in the place of what was brought in before
    Import {
        /// The folder: JSON files in the format of OSV
        folder: PathBuf,
    },
}

pub(in crate::cli) fn advisories(arguments: &AdvisoryArguments, context: &Context) -> Result<(), Failure> {
    let AdvisoryCommand::Import { folder } = &arguments.command;
    let connection = Connection::open(context)?;
    let mut files = Vec::new();
    list(folder, &mut files).map_err(|error| Failure::read(folder, &error))?;
    files.sort();
    let mut lines = Vec::new();
    for file in &files {
        let bytes = fs::read(file).map_err(|error| Failure::read(file, &error))?;
        match serde_json::from_slice::<Value>(&bytes) {
            Ok(record) if record["id"].is_string() => {
                // A record in a line: line breaks between its tokens are gone.
                lines.extend_from_slice(record.to_string().as_bytes());
                lines.push(b'\n');
            }
            _ => context.output.warning(&format!("`{}` is no record of OSV and is left out", file.display())),
        }
    }
    if lines.is_empty() {
        let detail = format!("there is no record of OSV below `{}`", folder.display());
        return Err(Failure::local(Local::Usage, detail, "name the folder that holds the JSON files"));
    }
    let request = connection.request(Method::POST, "/api/advisories");
    let request = request.header(CONTENT_TYPE, "application/octet-stream").body(lines);
    let imported: AdvisoriesImported = connection.send(request)?;
    let text = format!("{} advisories about packages of PyPI are in force", imported.advisories);
    context.output.result(&text, &imported);
    Ok(())
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let (entry, path) = entry.map(|entry| (entry.file_type(), entry.path()))?;
        match entry? {
            kind if kind.is_dir() => list(&path, files)?,
            kind if kind.is_file() && path.extension().is_some_and(|ending| ending == "json") => files.push(path),
            _ => {}
        }
    }
    Ok(())
}
