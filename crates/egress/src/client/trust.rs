//! Whose certificates are believed: the system's authorities, and those of `egress.ca_file`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, OnceLock};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// The system's authorities, read at the first use.
static SYSTEM: LazyLock<Vec<CertificateDer<'static>>> = LazyLock::new(|| {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "Some of the system's certificates could not be read");
    }
    found.certs
});

/// Why `egress.ca_file` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Not a file of certificates.
    #[error("`egress.ca_file` `{}` could not be read as certificates in PEM: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// How TLS is spoken with hosts.
#[derive(Debug)]
pub(crate) struct Trust {
    more: Vec<CertificateDer<'static>>,
    config: OnceLock<Arc<ClientConfig>>,
}

impl Trust {
    /// Reads the file of the operator.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self, TrustError> {
        let more = file.map(read).transpose()?.unwrap_or_default();
        Ok(Self { more, config: OnceLock::new() })
    }

    /// With names and dates of certificates checked against every authority.
    pub(super) fn config(&self) -> Arc<ClientConfig> {
        let make = || {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(SYSTEM.iter().cloned());
            roots.add_parsable_certificates(self.more.iter().cloned());
            if roots.is_empty() {
                tracing::warn!("The system has no certificates of authorities: no `https` host is believed");
            }
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider);
            let config = config.with_safe_default_protocol_versions().expect("ring speaks TLS 1.2 and 1.3");
            let mut config = config.with_root_certificates(roots).with_no_client_auth();
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Arc::new(config)
        };
        Arc::clone(self.config.get_or_init(make))
    }
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let refused = |reason: String| TrustError::File { path: path.to_owned(), reason };
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| refused(error.to_string()))?.collect();
    let found = found.map_err(|error| refused(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in &found {
        roots.add(certificate.clone()).map_err(|error| refused(error.to_string()))?;
    }
    if found.is_empty() { Err(refused("it holds none".to_owned())) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_holds_no_certificates_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        for text in ["", "nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&file, text).unwrap();
            let error = Trust::load(Some(&file)).unwrap_err().to_string();
            assert!(error.contains("ca.pem` could not be read as certificates"), "{error}");
        }
        assert!(Trust::load(Some(&folder.path().join("missing"))).is_err());
        assert!(Trust::load(None).is_ok());
    }
}
