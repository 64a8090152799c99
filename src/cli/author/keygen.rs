//! `plugbay keygen`: a new pair of keys in minisign's format.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret as _;
use serde_json::json;

use super::keys;
use crate::cli::Context;
use crate::cli::failure::{Failure, Local};
use crate::package::SecretKey;

/// What `keygen` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: plugbay keygen --output my-plugin\n\nWrites my-plugin.key, which stays secret, and \
                        my-plugin.pub, which is for everybody.")]
pub(in crate::cli) struct KeygenArguments {
    /// Path of both files without their endings
    #[arg(long, short, default_value = "plugbay", value_name = "NAME")]
    output: PathBuf,
    /// Leave the secret key unprotected, as a build server needs it
    #[arg(long)]
    no_password: bool,
}

/// Runs the command.
pub(in crate::cli) fn keygen(arguments: &KeygenArguments, context: &Context) -> Result<(), Failure> {
    let secret_path = with_ending(&arguments.output, "key");
    let public_path = with_ending(&arguments.output, "pub");
    for path in [&secret_path, &public_path] {
        if fs::symlink_metadata(path).is_ok() {
            return Err(in_the_way(path));
        }
    }
    let password = if arguments.no_password { None } else { Some(keys::new_password()?) };
    let key = SecretKey::generate()?;
    let secret = key.to_file_text(password.as_ref())?;
    create(&secret_path, 0o600, secret.expose_secret())?;
    create(&public_path, 0o644, &key.to_public_file_text())?;
    let public = key.public_key();
    context.output.result(
        &public.to_string(),
        &json!({
            "key_id": public.id(),
            "public_key": public.to_string(),
            "secret_key_file": secret_path,
            "public_key_file": public_path,
        }),
    );
    context.output.message(&format!(
        "Wrote {} (keep it secret, keep a copy) and {} (give it to whoever installs your plugins).",
        secret_path.display(),
        public_path.display()
    ));
    Ok(())
}

/// The path with an ending behind it; a dot in the name is part of the name.
fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

fn in_the_way(path: &Path) -> Failure {
    let detail = format!("`{}` exists; a key is never overwritten", path.display());
    Failure::local(Local::PathExists, detail, "choose another name with --output")
}

/// Creates a file that was not there, with its mode from the first moment on.
fn create(path: &Path, mode: u32, text: &str) -> Result<(), Failure> {
    let created = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    created.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all())).map_err(|error| {
        match error.kind() {
            std::io::ErrorKind::AlreadyExists => in_the_way(path),
            _ => Failure::io(format_args!("write `{}`", path.display()), &error),
        }
    })
}
