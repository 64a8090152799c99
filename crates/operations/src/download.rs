//! Install from a URL: only https, only public addresses unless the operator named the host, every redirect
//! decided anew, and the connection goes to the very address that was checked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use plugbay_domain::{Code, Digest, Refusal, escape};
use plugbay_egress::policy;
use reqwest::header::{CONTENT_ENCODING, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use url::{Host, Url};

use crate::{Incoming, Service, ServiceError, incoming};

/// Redirects followed for one file.
const MAX_REDIRECTS: usize = 5;

/// Longest signature file.
const MAX_SIGNATURE_BYTES: usize = 4096;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What to fetch.
#[derive(Clone, Debug)]
pub struct Download {
    /// The archive.
    pub url: String,
    /// Its signature; the archive's address with `.minisig` when absent.
    pub signature_url: Option<String>,
    /// The sha256 it must have.
    pub expected: Option<Digest>,
}

/// Why an archive could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The address itself is refused.
    #[error("`{url}` is refused: {reason}")]
    Refused {
        /// The address, escaped, without what may be a password.
        url: String,
        /// Why.
        reason: String,
    },
    /// The server answered with something else than the file.
    #[error("`{url}` answered {status}")]
    Status {
        /// The address.
        url: String,
        /// The status.
        status: u16,
    },
    /// The transfer broke.
    #[error("failed to fetch `{url}`")]
    Transfer {
        /// The address.
        url: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Too slow.
    #[error("`{url}` was not fetched within {seconds} s")]
    Timeout {
        /// The address.
        url: String,
        /// The limit.
        seconds: u64,
    },
}

impl Refusal for DownloadError {
    fn code(&self) -> Code {
        match self {
            Self::Refused { .. } => Code::UrlRefused,
            Self::Status { .. } | Self::Transfer { .. } => Code::DownloadFailed,
            Self::Timeout { .. } => Code::DownloadTimeout,
        }
    }
}

/// Fetches archive and signature into a staging folder.
pub async fn download(service: &Arc<Service>, download: &Download) -> Result<Incoming, ServiceError> {
    let timeout = service.config.install.timeout;
    let url = || escape(&download.url);
    tokio::time::timeout(timeout, fetch_both(service, download))
        .await
        .unwrap_or_else(|_elapsed| Err(DownloadError::Timeout { url: url(), seconds: timeout.as_secs() }.into()))
}

async fn fetch_both(service: &Arc<Service>, download: &Download) -> Result<Incoming, ServiceError> {
    let staging = incoming::stage(service)?;
    let archive_url = checked_url(service, &download.url)?;
    // The signature is small: when it is refused, the archive need not be fetched.
    let signature = fetch_signature(service, download, &archive_url).await?;
    let response = fetch(service, archive_url).await?;
    let url = response.url().to_string();
    let mut writer = incoming::start_upload(service, &staging)?;
    let mut body = response.bytes_stream();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|source| DownloadError::Transfer { url: escape(&url), source: source.into() })?;
        writer.write(chunk).await?;
    }
    let upload = writer.finish().await?;
    Ok(Incoming::new(staging, upload, signature, download.expected))
}

async fn fetch_signature(
    service: &Service,
    download: &Download,
    archive: &Url,
) -> Result<Option<String>, ServiceError> {
    let url = if let Some(url) = &download.signature_url {
        checked_url(service, url)?
    } else {
        let mut url = archive.clone();
        url.set_path(&format!("{}.minisig", archive.path()));
        url
    };
    let shown = escape(url.as_str());
    let response = match fetch(service, url).await {
        // Nobody said there was one; the policy decides what an unsigned archive is worth.
        Err(ServiceError::Download(DownloadError::Status { status: 404, .. })) if download.signature_url.is_none() => {
            return Ok(None);
        }
        other => other?,
    };
    let mut text = Vec::new();
    let mut body = response.bytes_stream();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|source| DownloadError::Transfer { url: shown.clone(), source: source.into() })?;
        text.extend(chunk);
        if text.len() > MAX_SIGNATURE_BYTES {
            break;
        }
    }
    Ok(Some(String::from_utf8_lossy(&text).into_owned()))
}

/// Asks for a file, following redirects one by one.
async fn fetch(service: &Service, mut url: Url) -> Result<Response, ServiceError> {
    for _ in 0..=MAX_REDIRECTS {
        let response = request(service, &url).await?;
        let status = response.status();
        if !status.is_redirection() {
            return accept(response, status, &url);
        }
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let target = url.join(location).map_err(|error| refused(after_password(location), error.to_string()))?;
        url = checked_url(service, target.as_str())?;
    }
    Err(refused(url.as_str(), format!("more than {MAX_REDIRECTS} redirects")).into())
}

async fn request(service: &Service, url: &Url) -> Result<Response, ServiceError> {
    let host = url.host_str().unwrap_or_default().to_owned();
    let addresses = checked_addresses(service, url).await?;
    let transfer = |source: reqwest::Error| DownloadError::Transfer {
        url: escape(url.as_str()),
        source: source.without_url().into(),
    };
    let client = Client::builder()
        .redirect(Policy::none())
        // A proxy from the environment would resolve the name again, past the check.
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .resolve_to_addrs(&host, &addresses)
        .build()
        .map_err(transfer)?;
    Ok(client.get(url.clone()).send().await.map_err(transfer)?)
}

/// Decides on the text of an address, before any name is resolved.
fn checked_url(service: &Service, text: &str) -> Result<Url, DownloadError> {
    let url = Url::parse(text).map_err(|error| refused(after_password(text), error.to_string()))?;
    let shown = || {
        let mut shown = url.clone();
        // Both fail for addresses without a host, in which a password is part of the path.
        match shown.set_password(None).and_then(|()| shown.set_username("")) {
            Ok(()) => shown.to_string(),
            Err(()) => after_password(url.as_str()).to_owned(),
        }
    };
    let listed = is_listed(service, &url);
    let reason = match url.scheme() {
        "https" | "http" if !url.username().is_empty() || url.password().is_some() => {
            "it carries a user name or password"
        }
        "http" if !listed => "http is only used for hosts in `install.allow_hosts`; use https",
        "https" | "http" => match url.host() {
            Some(Host::Domain(_)) => return Ok(url),
            Some(_) if listed => return Ok(url),
            Some(_) => "it names an address; use the host's name",
            None => "it has no host",
        },
        _ => "only https is used",
    };
    Err(refused(&shown(), reason.to_owned()))
}

/// Whether the operator listed this very host, or host and port.
fn is_listed(service: &Service, url: &Url) -> bool {
    let port = url.port_or_known_default().unwrap_or_default();
    service.config.install.allow_hosts.iter().any(|listed| listed.covers(bare_host(url), port))
}

/// Resolves the name once. One refused address among the answers refuses them all: an attacker's name server
/// would otherwise mix a public address with the one it is after.
async fn checked_addresses(service: &Service, url: &Url) -> Result<Vec<SocketAddr>, ServiceError> {
    let host = bare_host(url);
    let port = url.port_or_known_default().unwrap_or_default();
    let found = match host.parse() {
        Ok(address) => vec![address],
        Err(_a_name) => service
            .egress
            .resolve_for_service(host, CONNECT_TIMEOUT)
            .await
            .map_err(|source| DownloadError::Transfer { url: escape(url.as_str()), source: source.into() })?,
    };
    let addresses: Vec<SocketAddr> = found.into_iter().map(|address| (address, port).into()).collect();
    if !is_listed(service, url) {
        for address in &addresses {
            policy::check_foreign(*address, &service.config.egress.deny)
                .map_err(|kind| refused(url.as_str(), format!("{} is {kind}", address.ip())))?;
        }
    }
    Ok(addresses)
}

/// The host without the brackets of an IPv6 address.
fn bare_host(url: &Url) -> &str {
    url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

fn accept(response: Response, status: StatusCode, url: &Url) -> Result<Response, ServiceError> {
    if !status.is_success() {
        return Err(DownloadError::Status { url: escape(url.as_str()), status: status.as_u16() }.into());
    }
    // The signature is over the bytes as they are; an encoding could also hide a bomb.
    if response.headers().contains_key(CONTENT_ENCODING) {
        return Err(refused(url.as_str(), "the server encoded the file (Content-Encoding)".to_owned()).into());
    }
    Ok(response)
}

/// What follows a user name and password. In a text that is no web address only the last `@` tells where they end.
fn after_password(text: &str) -> &str {
    text.rsplit_once('@').map_or(text, |(_, rest)| rest)
}

fn refused(url: &str, reason: String) -> DownloadError {
    DownloadError::Refused { url: escape(url), reason }
}
