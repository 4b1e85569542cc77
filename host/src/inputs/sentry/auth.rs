//! The key of the DSN: what a Sentry SDK knows of this host.
//!
//! A DSN stands in programs, and in the pages of a site, so its key is no secret and not the host's token: it lets in events, and
//! reads nothing. It is made once, at random, and kept in the data directory.

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use axum::http::{HeaderMap, Uri, header};
use base64::Engine as _;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use subtle::ConstantTimeEq as _;
use watchfire_types::log::hex;

/// Where the key lies in the data directory.
const KEY_FILE: &str = "dsn.key";

/// The key of every DSN of this host. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DsnKey(Arc<str>);

impl DsnKey {
    /// Returns the key that `text` is.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Returns the key of `data`, which is made if there is none. Blocks on disk.
    ///
    /// # Errors
    /// If it can be neither read nor made.
    pub fn open(data: &Path) -> io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = data.join(KEY_FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text.trim().to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut key = [0_u8; 16];
                SystemRandom::new().fill(&mut key).map_err(|_| io::Error::other("the system has no randomness"))?;
                let temporary = path.with_extension("new");
                let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
                file.write_all(hex(&key).as_bytes())?;
                file.sync_all()?;
                std::fs::rename(&temporary, &path)?;
                hex(&key)
            }
            Err(error) => return Err(error),
        };
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(io::Error::other(
                "it should have 32 hexadecimal digits: restore it, or delete it and give programs the new DSN",
            ));
        }
        Ok(Self(text.into()))
    }

    /// Returns it as it stands in a DSN.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether `key` is this one.
    #[must_use]
    pub fn is(&self, key: &str) -> bool {
        key.as_bytes().ct_eq(self.0.as_bytes()).into()
    }

    /// Returns what tells a user from others and does not say who it is.
    #[must_use]
    pub fn pseudonym(&self, user: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.as_bytes());
        hex(&hmac::sign(&key, user.as_bytes()).as_ref()[..8])
    }
}

/// Returns the key that the request itself names: in `X-Sentry-Auth`, in `Authorization` as Sentry or as a browser's prompt, or in the
/// query.
#[must_use]
pub fn key_of(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let sentry = [text("x-sentry-auth"), text(header::AUTHORIZATION.as_str())].into_iter().flatten().find_map(key_in_header);
    sentry.or_else(|| {
        let pairs = url::form_urlencoded::parse(uri.query().unwrap_or("").as_bytes());
        pairs.into_iter().find(|(name, _)| name == "sentry_key").map(|(_, key)| key.into_owned())
    })
}

/// Reads `Sentry sentry_version=7, sentry_key=…`, or `Basic` with the key as user.
fn key_in_header(value: &str) -> Option<String> {
    let (scheme, rest) = value.trim().split_once(' ')?;
    match scheme.to_ascii_lowercase().as_str() {
        "sentry" => rest.split(',').find_map(|part| part.trim().strip_prefix("sentry_key=")).map(|key| key.trim().to_owned()),
        "basic" => {
            let pair = base64::engine::general_purpose::STANDARD.decode(rest.trim()).ok()?;
            let user = pair.split(|byte| *byte == b':').next()?;
            String::from_utf8(user.to_vec()).ok()
        }
        _ => None,
    }
}

/// Returns the key of a DSN: `http://KEY@host/1`.
#[must_use]
pub fn key_in_dsn(dsn: &str) -> Option<&str> {
    let (_, rest) = dsn.split_once("://")?;
    let (user, _) = rest.split_once('@')?;
    user.split(':').next().filter(|key| !key.is_empty())
}

/// Returns the project of `path`, if it is one of Sentry's: `/api/1/envelope/`.
#[must_use]
pub fn project_of(path: &str) -> Option<u64> {
    let (project, _) = path.strip_prefix("/api/")?.split_once('/')?;
    let is_number = !project.is_empty() && project.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| project.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_nobody_else_can_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let data = tempfile::tempdir().unwrap();
        let key = DsnKey::open(data.path()).unwrap();
        assert_eq!(DsnKey::open(data.path()).unwrap().as_str(), key.as_str());
        assert!(key.is(key.as_str()) && !key.is("") && !key.is(&key.as_str()[1..]));
        assert_eq!(key.pseudonym("ann"), key.pseudonym("ann"));
        assert_ne!(key.pseudonym("ann"), key.pseudonym("bob"));
        let mode = std::fs::metadata(data.path().join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(data.path().join(KEY_FILE), "short").unwrap();
        assert!(DsnKey::open(data.path()).is_err());
    }

    #[test]
    fn a_key_is_found_wherever_sdks_put_it() {
        let of = |headers: &[(&'static str, &str)], uri: &str| {
            key_of(
                &headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect(),
                &uri.parse().unwrap(),
            )
        };
        let sentry = "Sentry sentry_version=7, sentry_client=sentry.python/2.0,sentry_key=abc , sentry_secret=x";
        assert_eq!(of(&[("x-sentry-auth", sentry)], "/").as_deref(), Some("abc"));
        assert_eq!(of(&[("authorization", sentry)], "/").as_deref(), Some("abc"));
        assert_eq!(of(&[("authorization", "Basic YWJjOg==")], "/").as_deref(), Some("abc"));
        assert_eq!(of(&[], "/api/1/store/?sentry_version=7&sentry_key=abc").as_deref(), Some("abc"));
        assert_eq!(of(&[("authorization", "Bearer abc")], "/"), None);
        assert_eq!(key_in_dsn("https://abc@localhost:3473/1"), Some("abc"));
        assert_eq!(key_in_dsn("https://abc:secret@localhost/1"), Some("abc"));
        assert_eq!(key_in_dsn("https://localhost/1"), None);
    }

    #[test]
    fn only_a_number_is_a_project() {
        assert_eq!(project_of("/api/12/envelope/"), Some(12));
        for path in ["/api/v1/logs", "/api/12", "/api//x", "/api/99999999999999999999/envelope/", "/v1/logs", "/api/0x1/store/"] {
            assert_eq!(project_of(path), None, "{path}");
        }
    }
}
