//! One request to the host or another backend.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

use crate::config::Config;

/// Most bytes of an answer that are read.
const MAX_ANSWER_BYTES: u64 = 64 << 10;
/// Longest wait that a server may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Taken, apart from so many records.
    Taken { rejected: u64, reason: String },
    /// It may be taken later: after the time that the server asked for, if it did.
    Later { reason: String, after: Option<Duration> },
    /// Too large: half of it may be taken.
    TooLarge,
    /// It will never be taken.
    Never { reason: String },
}

/// Returns an HTTP client that trusts what `config` says.
///
/// # Errors
/// If the certificates cannot be read.
pub(crate) fn agent(config: &Config) -> Result<Agent, String> {
    let roots = match &config.ca_file {
        None => RootCerts::PlatformVerifier,
        Some(path) => {
            let pem = std::fs::read(path).map_err(|error| format!("ca_file: cannot read `{}`: {error}", path.display()))?;
            let certificates: Vec<Certificate<'static>> = parse_pem(&pem)
                .filter_map(|item| match item {
                    Ok(PemItem::Certificate(certificate)) => Some(certificate),
                    _ => None,
                })
                .collect();
            if certificates.is_empty() {
                return Err(format!("ca_file: `{}` has no certificate in PEM", path.display()));
            }
            RootCerts::Specific(Arc::new(certificates))
        }
    };
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(roots)
        .build();
    let agent = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(config.timeout))
        .timeout_connect(Some(config.timeout.min(Duration::from_secs(5))))
        // A redirect would carry telemetry, and headers with it, to somebody that nobody named.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_age(Duration::from_secs(20))
        .user_agent(concat!("watchfire-client/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls)
        .build();
    Ok(agent.new_agent())
}

/// Where requests of one kind go.
#[derive(Debug)]
pub(crate) struct Target {
    agent: Agent,
    address: String,
    headers: Vec<(String, String)>,
    gzip: bool,
    timeout: Duration,
}

impl Target {
    pub(crate) fn new(agent: Agent, config: &Config, signal: &str) -> Self {
        let address = config.address(signal);
        let mut headers = config.headers.clone();
        if let Some(token) = config.token_for(&address)
            && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"))
        {
            headers.push(("authorization".to_owned(), format!("Bearer {token}")));
        }
        Self { agent, address, headers, gzip: config.gzip, timeout: config.timeout.max(Duration::from_millis(50)) }
    }

    /// Sends one encoded request, and waits for the answer until `deadline` at the latest.
    pub(crate) fn send(&self, body: &[u8], deadline: Option<Instant>) -> Outcome {
        let mut request = self.agent.post(&self.address).content_type("application/x-protobuf");
        if let Some(deadline) = deadline {
            let left = deadline.saturating_duration_since(Instant::now()).clamp(Duration::from_millis(50), self.timeout);
            request = request.config().timeout_global(Some(left)).build();
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let answer = if self.gzip {
            let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(body.len() / 4), flate2::Compression::fast());
            match encoder.write_all(body).and_then(|()| encoder.finish()) {
                Ok(compressed) => request.header("content-encoding", "gzip").send(&compressed[..]),
                Err(error) => return Outcome::Never { reason: format!("cannot compress: {error}") },
            }
        } else {
            request.send(body)
        };
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Outcome::Later { reason: format!("{}: {error}", self.address), after: None },
        };
        let status = answer.status().as_u16();
        let after = answer.headers().get("retry-after").and_then(|value| retry_after(value.to_str().ok()?));
        // Read to its end, so that the connection can be used again.
        let body = answer.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec().unwrap_or_default();
        judge(status, after, &body, &self.address)
    }
}

fn judge(status: u16, after: Option<Duration>, body: &[u8], address: &str) -> Outcome {
    match status {
        200..300 => {
            let (rejected, reason) = super::proto::partial_success(body);
            Outcome::Taken { rejected, reason }
        }
        413 => Outcome::TooLarge,
        // 401 and 403: the batch is right and the token is wrong, which somebody will mend.
        401 | 403 | 404 | 408 | 425 | 429 | 500..600 => Outcome::Later { reason: said(status, body, address), after },
        _ => Outcome::Never { reason: said(status, body, address) },
    }
}

fn said(status: u16, body: &[u8], address: &str) -> String {
    let text: String = String::from_utf8_lossy(&body[..body.len().min(300)]).chars().filter(|c| !c.is_control()).collect();
    format!("{address} answers {status}: {text}")
}

/// Reads `Retry-After`: seconds, or a date.
fn retry_after(text: &str) -> Option<Duration> {
    let wait = if let Ok(seconds) = text.trim().parse::<u64>() {
        Duration::from_secs(seconds)
    } else {
        let at = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
        at.saturating_sub(Duration::from_nanos(crate::clock::now_nanos()))
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_change_is_tried_again_and_the_rest_is_not() {
        let of = |status| judge(status, None, b"{\"error\": \"x\"}", "http://a/v1/logs");
        assert!(matches!(of(200), Outcome::Taken { rejected: 0, .. }));
        for status in [401, 403, 404, 429, 500, 502, 503, 504] {
            assert!(matches!(of(status), Outcome::Later { .. }), "{status}");
        }
        assert_eq!(of(413), Outcome::TooLarge);
        assert_eq!(of(400), Outcome::Never { reason: "http://a/v1/logs answers 400: {\"error\": \"x\"}".into() });
        assert!(matches!(of(302), Outcome::Never { .. }));
    }

    #[test]
    fn a_server_says_when_to_come_again() {
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("100000"), Some(MAX_RETRY_AFTER));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(retry_after("soon"), None);
    }
}
