//! `plugbay sign`: a minisign signature over the exact bytes of an archive.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{archive, keys};
use crate::cli::Context;
use crate::cli::failure::{Failure, Local};
use crate::domain::{ArchiveLimits, Manifest};
use crate::package::Upload;

/// What `sign` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: plugbay sign my-plugin-1.0.0.tar.gz --key my-plugin.key\n\nWrites FILE.minisig. The \
                        signature can be checked with `plugbay verify` and with `minisign -V`.")]
pub(in crate::cli) struct SignArguments {
    /// The archive
    file: PathBuf,
    /// The secret key
    #[arg(long, short, value_name = "NAME.key")]
    key: PathBuf,
}

/// Runs the command.
pub(in crate::cli) fn sign(arguments: &SignArguments, context: &Context) -> Result<(), Failure> {
    let file = &arguments.file;
    let (inspected, digest) = archive::open(file)?;
    let manifest = Manifest::parse(inspected.manifest_bytes())?;
    let key = keys::read_secret_key(&arguments.key)?;
    let upload = Upload::read(file, &ArchiveLimits::default())?;
    // The manifest was read from the same bytes that are signed now.
    if upload.digest() != digest {
        let detail = format!("`{}` changed while it was read", file.display());
        return Err(Failure::local(Local::Failed, detail, "sign it again when nothing writes to it"));
    }
    let comment = format!("plugin:{} version:{} {digest}", manifest.name, manifest.version);
    let signature = key.sign(&upload, &comment)?;
    let path = signature_path(file);
    fs::write(&path, signature).map_err(|error| Failure::io(format_args!("write `{}`", path.display()), &error))?;
    let id = key.public_key().id();
    context.output.result(
        &path.display().to_string(),
        &json!({ "signature": path, "key_id": id, "digest": digest, "trusted_comment": comment }),
    );
    context.output.message(&format!("Signed {} {} with key {id}.", manifest.name, manifest.version));
    Ok(())
}

/// Where the signature of an archive lies.
pub(super) fn signature_path(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".minisig");
    PathBuf::from(name)
}
