//! The certificate that a TLS listener shows, and which certificates it wants to see.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// Where certificates and key lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Our certificate and those between it and its authority.
    pub cert_file: PathBuf,
    /// The key to our certificate.
    pub key_file: PathBuf,
    /// Authorities of which clients must show a certificate; without it any client may send.
    pub client_ca_file: Option<PathBuf>,
}

/// Why TLS cannot be spoken with these files. The first part names the key in the configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds nothing of the kind.
    #[error("cannot read {what} in `{}`: {reason}", .path.display())]
    File { key: &'static str, what: &'static str, path: PathBuf, reason: String },
    /// Certificate and key do not belong together, or are of a kind that is not spoken.
    #[error("certificate and key cannot be used: {0}")]
    Pair(#[source] rustls::Error),
    /// The clients' authorities are not usable.
    #[error("the certificates in it cannot be used: {0}")]
    Authorities(String),
}

impl TlsError {
    /// Returns the key of the configuration that is wrong.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::File { key, .. } => key,
            Self::Pair(_) => "key_file",
            Self::Authorities(_) => "client_ca_file",
        }
    }
}

/// Reads the files.
///
/// # Errors
/// [`TlsError`] says which of them is wrong and why.
pub fn server_config(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let chain = certificates("cert_file", &files.cert_file)?;
    let key = PrivateKeyDer::from_pem_file(&files.key_file)
        .map_err(|error| unreadable("key_file", "a private key", &files.key_file, &error))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(TlsError::Pair)?;
    let builder = match &files.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates("client_ca_file", path)? {
                roots.add(authority).map_err(|error| TlsError::Authorities(error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(|error| TlsError::Authorities(error.to_string()))?)
        }
    };
    builder.with_single_cert(chain, key).map(Arc::new).map_err(TlsError::Pair)
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    let chain = read().map_err(|error| unreadable(key, "certificates", path, &error))?;
    if chain.is_empty() { Err(unreadable(key, "certificates", path, &pem::Error::NoItemsFound)) } else { Ok(chain) }
}

fn unreadable(key: &'static str, what: &'static str, path: &Path, error: &pem::Error) -> TlsError {
    let reason = match error {
        pem::Error::NoItemsFound => "there are none in PEM form".to_owned(),
        pem::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    };
    TlsError::File { key, what, path: path.to_owned(), reason }
}
