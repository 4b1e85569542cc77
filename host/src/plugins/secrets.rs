//! Secrets that a plugin uses and never sees. It holds placeholders, which are replaced as a request leaves the host.

use std::sync::Arc;

use url::Url;

use crate::config::Secret;

/// What placeholders begin with. Text from outside is given to a plugin only after this has been taken out of it.
pub const PREFIX: &str = "wfsecret";

/// One secret, and where it may go.
#[derive(Clone, Debug)]
pub struct BoundSecret {
    /// Its name in the plugin's configuration.
    pub name: String,
    /// Its value.
    pub value: Secret,
    /// `scheme://host[:port]` patterns of where it may go.
    pub hosts: Vec<String>,
}

/// The secrets of one plugin for the length of one delivery: its placeholders mean nothing afterwards.
#[derive(Clone, Debug)]
pub struct SecretBox {
    secrets: Arc<Vec<BoundSecret>>,
    /// Random: a placeholder cannot be guessed.
    nonce: String,
}

/// Why a text with placeholders does not leave the host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretRefusal {
    /// It was not handed out for this delivery.
    #[error("it holds a placeholder that the host did not hand out")]
    Forged,
    /// Its secret goes elsewhere.
    #[error("secret `{name}` is not meant for {target}")]
    NotForThisHost {
        /// Which secret.
        name: String,
        /// Scheme and host of the request.
        target: String,
    },
}

impl SecretBox {
    /// Returns a box of `secrets` with placeholders of its own.
    #[must_use]
    pub fn new(secrets: Arc<Vec<BoundSecret>>) -> Self {
        let nonce = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        Self { secrets, nonce }
    }

    /// Returns the placeholder of secret `name`, to be replaced by its value in `encoding`: `raw`, `url`, `json`.
    #[must_use]
    pub fn placeholder(&self, _name: &str, _encoding: &str) -> Option<String> {
        todo!("H1")
    }

    /// Returns the value of a Basic `Authorization` header with a placeholder in it.
    #[must_use]
    pub fn basic(&self, _user: &str, _secret: &str) -> Option<String> {
        todo!("H1")
    }

    /// Signs `message` with `key`, in which placeholders are replaced first.
    ///
    /// # Errors
    /// Says what is wrong, for the plugin's author.
    pub fn sign(&self, _algorithm: &str, _key: &[u8], _message: &[u8]) -> Result<Vec<u8>, String> {
        todo!("H1")
    }

    /// Returns `text` with every placeholder replaced, on its way to `target`.
    ///
    /// # Errors
    /// If a placeholder is forged, or its secret may not go there.
    pub fn expand(&self, _text: &[u8], _target: &Url) -> Result<Vec<u8>, SecretRefusal> {
        todo!("H1")
    }

    /// Returns `bytes` with every secret value taken out, in all its encodings.
    #[must_use]
    pub fn scrub(&self, _bytes: &[u8]) -> Vec<u8> {
        todo!("H1")
    }
}
