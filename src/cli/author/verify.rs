//! `plugbay verify`: checks a signature the way the service does.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::keys;
use super::sign::signature_path;
use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::domain::{ArchiveLimits, Clock as _, Code, SignaturePolicy, SystemClock, TrustedKey, escape};
use crate::package::{Signature, Upload};

/// What `verify` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: plugbay verify my-plugin-1.0.0.tar.gz --key my-plugin.pub\n\nAccepts what `plugbay sign` \
                        and `minisign -S` write."
)]
pub(in crate::cli) struct VerifyArguments {
    /// The archive
    file: PathBuf,
    /// The signature, if it is not FILE.minisig
    #[arg(long, short, value_name = "FILE.minisig")]
    signature: Option<PathBuf>,
    /// The public key: a file, or the text that begins with RW
    #[arg(long, short, value_name = "NAME.pub|STRING")]
    key: String,
}

/// Runs the command.
pub(in crate::cli) fn verify(arguments: &VerifyArguments, context: &Context) -> Result<(), Failure> {
    let file = &arguments.file;
    fs::metadata(file).map_err(|error| Failure::read(file, &error))?;
    let key = keys::read_public_key(&arguments.key)?;
    let path = arguments.signature.clone().unwrap_or_else(|| signature_path(file));
    if arguments.signature.is_none() && !path.exists() {
        let detail = format!("there is no signature at `{}`", path.display());
        return Err(Failure::refused(Code::SignatureMissing, detail));
    }
    let signature: Signature = keys::read_small(&path)?.parse()?;
    let upload = Upload::read(file, &ArchiveLimits::default())?;
    let (id, digest) = (key.id(), upload.digest());
    let trusted = TrustedKey {
        key,
        label: String::new(),
        names: Vec::new(),
        not_before: None,
        not_after: None,
        revoked_at: None,
        reason: None,
    };
    upload.verify(Some(&signature), &[trusted], SignaturePolicy::Required, SystemClock.now())?;
    let comment = escape(signature.trusted_comment());
    context.output.result(
        &format!("valid: signed by {id} ({comment})"),
        &json!({ "valid": true, "key_id": id, "digest": digest, "trusted_comment": signature.trusted_comment() }),
    );
    Ok(())
}
