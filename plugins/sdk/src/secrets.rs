//! Secrets that a plugin uses and never sees: it holds placeholders, which the host replaces as a request leaves, and only towards the
//! hosts that the [`Descriptor`](crate::Descriptor::secret) binds them to.
//!
//! A plugin that uses this asks for the capability `secrets`.

use crate::imports::secrets;
use crate::{Error, Result};

/// How a value is written where it will stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As it is: in a header, or as a whole URL.
    Raw,
    /// As part of a URL, percent-encoded.
    Url,
    /// Inside a JSON string.
    Json,
}

/// A keyed hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    HmacSha256,
    /// HMAC with SHA-1: where a service has nothing else.
    HmacSha1,
}

/// Returns the placeholder of secret `name`; `None` if the operator has not given it.
pub fn optional(name: &str, encoding: Encoding) -> Option<String> {
    let encoding = match encoding {
        Encoding::Raw => "raw",
        Encoding::Url => "url",
        Encoding::Json => "json",
    };
    secrets::placeholder(name, encoding)
}

/// Returns the placeholder of secret `name`.
///
/// # Errors
/// If the operator has not given it.
pub fn placeholder(name: &str, encoding: Encoding) -> Result<String> {
    optional(name, encoding).ok_or_else(|| not_given(name))
}

/// Returns the value of a Basic `Authorization` header for `user`, with secret `name` as the password.
///
/// # Errors
/// If the operator has not given it.
pub fn basic(user: &str, name: &str) -> Result<String> {
    secrets::basic(user, name).ok_or_else(|| not_given(name))
}

/// Signs `message` with `key`: placeholders in both are replaced first.
///
/// # Errors
/// If a placeholder is not the host's, or the capability is not granted.
pub fn sign(algorithm: Algorithm, key: impl AsRef<[u8]>, message: impl AsRef<[u8]>) -> Result<Vec<u8>> {
    let algorithm = match algorithm {
        Algorithm::HmacSha256 => "hmac-sha256",
        Algorithm::HmacSha1 => "hmac-sha1",
    };
    secrets::sign(algorithm, key.as_ref(), message.as_ref())
}

fn not_given(name: &str) -> Error {
    Error::configuration(format!("secrets.{name}: it is required and not given"))
}
