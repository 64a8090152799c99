//! `plugbay validate`: every mistake of a folder or archive, before anyone else sees it.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::archive::{Build, Checked, check_archive, check_folder};
use super::report::{self, Format, Report};
use crate::cli::Context;
use crate::cli::Exit;
use crate::cli::failure::Failure;
use crate::cli::mistake::Mistake;

/// What `validate` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: plugbay validate my-plugin --format sarif > plugbay.sarif\n\n\
                        Nothing of the plugin is run. Signatures are not looked at; `plugbay verify` does that.")]
pub(in crate::cli) struct ValidateArguments {
    /// A plugin's folder or archive
    path: PathBuf,
    /// How mistakes and warnings are written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the command.
pub(in crate::cli) fn validate(arguments: &ValidateArguments, context: &Context) -> Result<(), Failure> {
    let ValidateArguments { path, format } = arguments;
    let context = &format.context(context)?;
    let checked = check(path);
    match format {
        Format::Text => checked.map(|checked| tell(checked, context)),
        Format::Json => checked.map(|checked| tell(checked, context)).map_err(|failure| {
            context.output.failure(&failure);
            failure.written()
        }),
        Format::Github | Format::Sarif => {
            let (outcome, report) = match checked {
                Ok((Checked { warnings, .. }, _)) => (Ok(()), Report::of(path, Vec::new(), warnings)),
                // Of wrong arguments there is nothing to report.
                Err(failure) if failure.exit() != Exit::Refused => return Err(failure),
                Err(failure) => {
                    let report = Report::of_failure(path, &failure);
                    (Err(failure.written()), report)
                }
            };
            let text = if *format == Format::Sarif { report::sarif(&report) } else { report::github(&report) };
            if !text.is_empty() {
                context.output.result(&text, &());
            }
            outcome
        }
    }
}

type Outcome = (Checked, Option<crate::domain::Digest>);

fn check(path: &PathBuf) -> Result<Outcome, Failure> {
    let is_folder = fs::metadata(path).map_err(|error| Failure::read(path, &error))?.is_dir();
    if is_folder {
        return Ok((check_folder(path, Build::ToCome)?, None));
    }
    let (checked, digest) = check_archive(path).map_err(Failure::without_circle)?;
    Ok((checked, Some(digest)))
}

fn tell((Checked { manifest, warnings }, digest): Outcome, context: &Context) {
    for warning in &warnings {
        context.output.warning_at(warning);
    }
    let requested = manifest.requested();
    let mut outcome = json!({
        "valid": true,
        "name": manifest.name,
        "version": manifest.version,
        "permissions": requested,
        "network": manifest.network,
        "risks": manifest.risks(),
        "warnings": warnings.iter().map(Mistake::sentence).collect::<Vec<_>>(),
    });
    if let Some(digest) = digest {
        outcome["digest"] = json!(digest);
    }
    context.output.result(&format!("{} {} is valid", manifest.name, manifest.version), &outcome);
}
