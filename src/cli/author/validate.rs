//! `plugbay validate`: every mistake of a folder or archive, before anyone else sees it.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::archive::{Build, Checked, check_archive, check_folder};
use crate::cli::Context;
use crate::cli::failure::Failure;

/// What `validate` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: plugbay validate my-plugin\n\nSignatures are not looked at; `plugbay verify` does that."
)]
pub(in crate::cli) struct ValidateArguments {
    /// A plugin's folder or archive
    path: PathBuf,
}

/// Runs the command.
pub(in crate::cli) fn validate(arguments: &ValidateArguments, context: &Context) -> Result<(), Failure> {
    let path = &arguments.path;
    let is_folder = fs::metadata(path).map_err(|error| Failure::read(path, &error))?.is_dir();
    let (Checked { manifest, warnings }, digest) = if is_folder {
        (check_folder(path, Build::ToCome)?, None)
    } else {
        let (checked, digest) = check_archive(path).map_err(Failure::without_circle)?;
        (checked, Some(digest))
    };
    for warning in &warnings {
        context.output.warning(warning);
    }
    let requested = manifest.requested();
    let mut outcome = json!({
        "valid": true,
        "name": manifest.name,
        "version": manifest.version,
        "permissions": requested,
        "network": manifest.network,
        "risks": manifest.risks(),
        "warnings": warnings,
    });
    if let Some(digest) = digest {
        outcome["digest"] = json!(digest);
    }
    context.output.result(&format!("{} {} is valid", manifest.name, manifest.version), &outcome);
    Ok(())
}
