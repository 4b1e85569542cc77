//! Redaction as a part of the host: its key, which never leaves the data directory, and its counters.

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use ring::rand::{SecureRandom as _, SystemRandom};
use watchfire_redact::{Redactor, Settings, SettingsError};
use watchfire_types::LogBatch;

use crate::telemetry::SelfMetrics;

/// Where the key lies in the data directory.
const KEY_FILE: &str = "redaction.key";

/// How long it is.
const KEY_BYTES: usize = 32;

/// Takes secrets out of batches before anybody sees them. Cheap to clone.
#[derive(Clone)]
pub struct Redaction(Arc<Inner>);

struct Inner {
    redactor: Redactor,
    metrics: SelfMetrics,
}

/// Why there is no redaction, without which nothing is stored.
#[derive(Debug, thiserror::Error)]
pub enum RedactionError {
    /// The key cannot be read or made.
    #[error("cannot read or make the key of redaction, {path}")]
    Key {
        /// Where it lies.
        path: String,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// The configuration has been checked, but not by us.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

impl Redaction {
    /// Returns one that does what `settings` say, with the key in `data`, which is made if there is none. Blocks on disk.
    ///
    /// # Errors
    /// When the key can be neither read nor made.
    pub fn open(mut settings: Settings, data: &Path, metrics: &SelfMetrics) -> Result<Self, RedactionError> {
        let path = data.join(KEY_FILE);
        settings.key = key(&path).map_err(|source| RedactionError::Key { path: path.display().to_string(), source })?;
        Ok(Self(Arc::new(Inner { redactor: Redactor::new(settings)?, metrics: metrics.clone() })))
    }

    /// Takes out of `batch` what is to be taken out, and counts it.
    pub fn apply(&self, batch: &mut LogBatch) {
        for (rule, count) in self.0.redactor.redact(batch).iter() {
            self.0.metrics.counter("watchfire_redacted_total", &[("rule", rule)]).add(count);
        }
    }
}

/// Reads the key; makes one that nobody else can read if there is none.
fn key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    use std::os::unix::fs::OpenOptionsExt as _;
    match std::fs::read(path) {
        Ok(bytes) => bytes.try_into().map_err(|_| {
            io::Error::other(format!("it should have {KEY_BYTES} bytes: restore it, or delete it and have new hashes"))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut key = [0; KEY_BYTES];
            SystemRandom::new().fill(&mut key).map_err(|_| io::Error::other("the system has no randomness"))?;
            let temporary = path.with_extension("new");
            let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(&key)?;
            file.sync_all()?;
            std::fs::rename(&temporary, path)?;
            Ok(key)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use watchfire_redact::{Action, Rule};
    use watchfire_types::ValueRef;
    use watchfire_types::log::RecordHead;

    use super::*;

    fn hash(data: &Path, metrics: &SelfMetrics) -> String {
        let settings = Settings { rules: [(Rule::Email, Action::Hash)].into(), ..Settings::default() };
        let mut batch = LogBatch::default();
        batch.push(&RecordHead::default(), ValueRef::Text("a@b.io"));
        Redaction::open(settings, data, metrics).unwrap().apply(&mut batch);
        batch.record(0).body.as_ref().display()
    }

    #[test]
    fn hashes_stay_the_same_across_restarts_and_differ_between_hosts() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let metrics = SelfMetrics::default();
        let first = hash(one.path(), &metrics);
        assert!(first.starts_with("[email:"), "{first}");
        assert_eq!(hash(one.path(), &metrics), first);
        assert_ne!(hash(two.path(), &metrics), first);
        assert_eq!(metrics.counter("watchfire_redacted_total", &[("rule", "email")]).get(), 3);
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(one.path().join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(one.path().join(KEY_FILE), "short").unwrap();
        assert!(Redaction::open(Settings::default(), one.path(), &metrics).is_err());
    }
}
