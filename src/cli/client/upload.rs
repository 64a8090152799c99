//! Sending an archive: a file with a progress bar, or the address of one.

use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Method, RequestBuilder};
use tokio_util::io::ReaderStream;

use super::connection::Connection;
use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::domain::Code;
use crate::wire::{InstallFromUrl, System};

/// Bytes read from the file at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// Bytes from which on the service is asked how many it takes. Less is sent as fast as that is asked.
const ASKED_FROM_BYTES: u64 = 8 * MEBIBYTE;

/// Bytes of a mebibyte, as `limits.upload_mb` counts.
const MEBIBYTE: u64 = 1024 * 1024;

/// An archive to send.
pub(in crate::cli) enum Source {
    /// A file on this machine, with its signature.
    File { archive: PathBuf, signature: Option<String> },
    /// An address for the service to fetch.
    Url { archive: String, signature: Option<String> },
}

impl Source {
    /// Tells files from addresses, and finds the signature beside a file.
    pub(in crate::cli) fn find(archive: &str, signature: Option<&str>) -> Result<Self, Failure> {
        if archive.starts_with("https://") || archive.starts_with("http://") {
            return Ok(Self::Url { archive: archive.to_owned(), signature: signature.map(str::to_owned) });
        }
        let path = PathBuf::from(archive);
        if path.is_dir() {
            return Err(Failure::is_folder(&path));
        }
        if !path.is_file() {
            return Err(Failure::missing(&path));
        }
        let beside = PathBuf::from(format!("{archive}.minisig"));
        let signature = match signature {
            Some(given) => Some(read(Path::new(given))?),
            None if beside.exists() => Some(read(&beside)?),
            None => None,
        };
        Ok(Self::File { archive: path, signature })
    }

    /// Puts the archive into a request.
    pub(in crate::cli) fn into_request(
        self,
        connection: &Connection,
        context: &Context,
        path: &str,
    ) -> Result<RequestBuilder, Failure> {
        let request = connection.request(Method::POST, path);
        match self {
            Self::Url { archive, signature } => {
                Ok(request.json(&InstallFromUrl { url: archive, signature_url: signature, sha256: None }))
            }
            Self::File { archive, signature } => {
                check_size(&archive, connection)?;
                let form = Form::new().part("file", file_part(&archive, context)?);
                Ok(request.multipart(match signature {
                    Some(text) => form.text("signature", text),
                    None => form,
                }))
            }
        }
    }
}

/// Refuses an archive that the service would not take, before it is sent. Only a service that tells its limit is believed;
/// any other one refuses by itself.
fn check_size(path: &Path, connection: &Connection) -> Result<(), Failure> {
    let bytes = std::fs::metadata(path).map_err(|error| Failure::read(path, &error))?.len();
    if bytes < ASKED_FROM_BYTES {
        return Ok(());
    }
    let told = connection.get::<System>("/api/system").ok().and_then(|system| system.upload_mb);
    let Some(most) = told.filter(|most| bytes > most.saturating_mul(MEBIBYTE)) else { return Ok(()) };
    let found = bytes.div_ceil(MEBIBYTE);
    let shown = path.display();
    let detail = format!("`{shown}` has {found} MiB; {} takes {most} MiB (`limits.upload_mb`)", connection.url());
    let how = "make the package smaller, or ask the operator to raise `limits.upload_mb` in plugbay.yaml";
    Err(Failure::refused(Code::ArchiveTooLarge, detail).with_how(how))
}

fn file_part(path: &Path, context: &Context) -> Result<Part, Failure> {
    let file = std::fs::File::open(path).map_err(|error| Failure::read(path, &error))?;
    let bytes = file.metadata().map_err(|error| Failure::read(path, &error))?.len();
    let bar = context.output.progress_bar("uploading", bytes);
    let chunks = ReaderStream::with_capacity(tokio::fs::File::from_std(file), CHUNK_BYTES);
    let chunks = chunks.inspect(move |chunk| {
        if let Ok(chunk) = chunk {
            bar.inc(chunk.len() as u64);
        }
    });
    Ok(Part::stream_with_length(Body::wrap_stream(chunks), bytes).file_name("archive"))
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| Failure::read(path, &error))
}
