//! Key files and passwords.

use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};

use crate::cli::failure::{Failure, Local};
use crate::domain::PublicKey;
use crate::package::SecretKey;

/// Bytes of a key file. Real ones have a few hundred.
const MAX_KEY_BYTES: u64 = 4096;

/// Reads a secret key, and asks for its password if it has one and somebody is there.
pub(super) fn read_secret_key(path: &Path) -> Result<SecretKey, Failure> {
    let text = SecretString::from(read_small(path)?);
    let password = if SecretKey::is_encrypted(text.expose_secret())? {
        Some(ask(&format!("Password of {}: ", path.display()))?)
    } else {
        None
    };
    Ok(SecretKey::from_file_text(text.expose_secret(), password.as_ref())?)
}

/// Asks twice for a new password. Without a terminal nobody could answer.
pub(super) fn new_password() -> Result<SecretString, Failure> {
    let first = ask("Password for the new key: ")?;
    if first.expose_secret().is_empty() {
        let how = "choose a password, or say --no-password";
        return Err(Failure::local(Local::Usage, "the password is empty", how));
    }
    if ask("The same again: ")?.expose_secret() != first.expose_secret() {
        return Err(Failure::local(Local::Usage, "the two passwords differ", "start again"));
    }
    Ok(first)
}

fn ask(prompt: &str) -> Result<SecretString, Failure> {
    if !io::stdin().is_terminal() {
        let how = "run it on a terminal, or use a key made with `plugbay keygen --no-password`";
        return Err(Failure::local(Local::Usage, "a password is needed, and there is no terminal to ask on", how));
    }
    let password = rpassword::prompt_password(prompt).map_err(|error| Failure::io("read the password", &error))?;
    Ok(SecretString::from(password))
}

/// A public key as it was given: a file that exists, else the text itself.
pub(in crate::cli) fn read_public_key(given: &str) -> Result<PublicKey, Failure> {
    let path = Path::new(given);
    if path.exists() {
        return Ok(read_small(path)?.parse::<PublicKey>()?);
    }
    // A path with a slip in it should not be called a malformed key.
    if path.extension().is_some_and(|suffix| suffix == "pub") {
        return Err(Failure::missing(path));
    }
    Ok(given.parse::<PublicKey>()?)
}

/// Reads a small text file.
pub(super) fn read_small(path: &Path) -> Result<String, Failure> {
    let size = fs::metadata(path).map_err(|error| Failure::read(path, &error))?.len();
    if size > MAX_KEY_BYTES {
        let detail = format!("`{}` has {size} bytes; at most {MAX_KEY_BYTES} are read", path.display());
        return Err(Failure::local(Local::Failed, detail, "check that it is the right file"));
    }
    fs::read_to_string(path).map_err(|error| Failure::read(path, &error))
}
