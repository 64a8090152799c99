//! `plugbay backup`: everything but keys and tokens in one file, taken while the service runs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, IsTerminal as _, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use reqwest::Method;
use serde::Serialize;

use super::connection::Connection;
use crate::backup::{BackupError, Reader};
use crate::cli::Context;
use crate::cli::failure::{Failure, Local};

/// Arguments of `backup`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  plugbay backup plugbay.tar\n  plugbay backup - | ssh store 'cat > plugbay.tar'\n\nKeep \
                        master.key of the data directory elsewhere: it is not in the backup, and opens its secrets."
)]
pub(in crate::cli) struct BackupArguments {
    /// File to write; `-` for stdout
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
}

/// What was taken.
#[derive(Serialize)]
struct Taken {
    file: PathBuf,
    bytes: u64,
    entries: usize,
    created_at: String,
}

pub(in crate::cli) fn backup(arguments: &BackupArguments, context: &Context) -> Result<(), Failure> {
    if arguments.file == Path::new("-") {
        return to_stdout(context);
    }
    let file = &arguments.file;
    if file.exists() && !arguments.force {
        let detail = format!("`{}` is there already", file.display());
        return Err(Failure::local(Local::PathExists, detail, "choose another name, or replace it with --force"));
    }
    let part = Part::make(file)?;
    let bytes = receive(&part.file, "write", context)?;
    let (entries, created_at) = check(&part.path)?;
    part.file.sync_all().map_err(|error| Failure::io("write the backup", &error))?;
    part.take_place_of(file)?;
    let text = format!("wrote {} ({bytes} bytes, {entries} entries)", file.display());
    context.output.result(&text, &Taken { file: file.clone(), bytes, entries, created_at });
    Ok(())
}

fn to_stdout(context: &Context) -> Result<(), Failure> {
    if context.output.is_json() {
        return Err(Failure::local(Local::Usage, "--json and the backup cannot both go to stdout", "name a file"));
    }
    if io::stdout().is_terminal() {
        return Err(Failure::local(Local::Usage, "a backup is not for a terminal", "name a file, or use a pipe"));
    }
    receive(io::stdout().lock(), "write to stdout", context).map(drop)
}

/// Writes what the service sends; returns how much it was.
fn receive(mut to: impl Write, doing: &str, context: &Context) -> Result<u64, Failure> {
    let connection = Connection::open(context)?;
    let spinner = context.output.spinner("taking a backup");
    let mut bytes = 0;
    let received = connection.stream(connection.request(Method::POST, "/api/system/backup"), |piece| {
        to.write_all(piece).map_err(|error| Failure::io(doing, &error))?;
        bytes += piece.len() as u64;
        spinner.set_message(format!("taking a backup, {} MiB", bytes >> 20));
        Ok(ControlFlow::Continue(()))
    });
    spinner.finish_and_clear();
    received?;
    to.flush().map_err(|error| Failure::io(doing, &error))?;
    Ok(bytes)
}

/// Reads what was written as a restore would.
fn check(path: &Path) -> Result<(usize, String), Failure> {
    let file = File::open(path).map_err(|error| Failure::read(path, &error))?;
    let read = || -> Result<(usize, String), BackupError> {
        // A service that is newer than this program may well be backed up by it.
        let mut reader = Reader::open(BufReader::with_capacity(1 << 20, file), i64::MAX)?;
        // backup.json counts, too.
        let mut entries = 1;
        while let Some(entry) = reader.next_entry()? {
            reader.content(&entry, &mut |_, _| Ok(()))?;
            entries += 1;
        }
        Ok((entries, reader.about().created_at.clone()))
    };
    Ok(read()?)
}

/// The file in the making, which goes unless it is complete.
struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    fn make(target: &Path) -> Result<Self, Failure> {
        let mut path = target.as_os_str().to_owned();
        path.push(".part");
        let path = PathBuf::from(path);
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = made.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                let detail = format!("`{}` is there: another backup into it, or what one left", path.display());
                Failure::local(Local::PathExists, detail, "wait for the other, or remove the file")
            }
            _ => Failure::io(format_args!("make `{}`", path.display()), &error),
        })?;
        Ok(Self { path, file })
    }

    fn take_place_of(self, target: &Path) -> Result<(), Failure> {
        fs::rename(&self.path, target)
            .map_err(|error| Failure::io(format_args!("write `{}`", target.display()), &error))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Renamed, it is not there any more.
        fs::remove_file(&self.path).ok();
    }
}
