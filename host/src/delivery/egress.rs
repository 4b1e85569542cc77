//! How the host reaches out: the certificates it trusts, proxies, limits.

pub mod address;
pub mod component;

use std::path::Path;
use std::time::Duration;

use super::channel::ChannelError;

/// How long a connection may take, and an attempt in all.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an attempt may take in all.
pub const TOTAL_TIMEOUT: Duration = Duration::from_secs(30);

/// What all channels share.
#[derive(Clone)]
pub struct Egress {
    /// For everywhere but this machine: honours the system's proxy.
    remote: reqwest::Client,
    /// For this machine: never through a proxy.
    local: reqwest::Client,
    /// PEM of the certificate authorities trusted beside the system's.
    authorities: Option<Vec<u8>>,
    /// The same, read.
    roots: Vec<reqwest::Certificate>,
}

impl Egress {
    /// Returns how to reach out, trusting the certificate authorities in `ca_file` beside the system's.
    ///
    /// # Errors
    /// If the file cannot be read or has no certificate.
    pub fn new(ca_file: Option<&Path>) -> Result<Self, ChannelError> {
        // Whoever came first chose the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let certificates = |path: &Path, problem: String| ChannelError::Certificates { path: path.display().to_string(), problem };
        let authorities =
            ca_file.map(|path| std::fs::read(path).map_err(|error| certificates(path, error.to_string()))).transpose()?;
        let mut roots = Vec::new();
        if let (Some(path), Some(pem)) = (ca_file, &authorities) {
            roots = reqwest::Certificate::from_pem_bundle(pem).map_err(|error| certificates(path, error.to_string()))?;
            if roots.is_empty() {
                return Err(certificates(path, "it has no PEM certificate".to_owned()));
            }
        }
        let remote = builder(&roots).build().map_err(ChannelError::Client)?;
        let local = builder(&roots).no_proxy().build().map_err(ChannelError::Client)?;
        Ok(Self { remote, local, authorities, roots })
    }

    /// Returns what further HTTP clients are built from: they trust the same authorities, and follow no redirects.
    fn builder(&self) -> reqwest::ClientBuilder {
        builder(&self.roots)
    }

    /// Returns the HTTP client for `url`.
    #[must_use]
    pub fn client(&self, url: &url::Url) -> &reqwest::Client {
        if url.host_str().is_some_and(super::types::is_loopback_host) { &self.local } else { &self.remote }
    }

    /// Returns the PEM of the certificate authorities trusted beside the system's.
    #[must_use]
    pub fn authorities(&self) -> Option<&[u8]> {
        self.authorities.as_deref()
    }
}

fn builder(roots: &[reqwest::Certificate]) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("watchfire/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TOTAL_TIMEOUT)
        .pool_max_idle_per_host(1)
        .tls_certs_merge(roots.iter().cloned())
}
