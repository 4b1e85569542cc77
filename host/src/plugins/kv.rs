//! Bytes that the host keeps for an analyzer. Writes are seen by the plugin at once, and stored with the cursor that its call advances.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::store::StoreError;

/// Longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 512;
/// Most bytes of keys and values that one plugin may keep.
pub const QUOTA_BYTES: u64 = 16 << 20;

/// A stored value and when it expires, in nanoseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvEntry {
    /// The value.
    pub value: Vec<u8>,
    /// When it is gone; `None` for never.
    pub expires_at: Option<u64>,
}

/// Where the stored values of one plugin are read. Calls may block on disk.
pub trait KvBackend: Send + Sync {
    /// Returns the entry at `key`, expired ones included.
    ///
    /// # Errors
    /// The store's.
    fn get(&self, key: &str) -> Result<Option<KvEntry>, StoreError>;
    /// Returns all keys that begin with `prefix`, with when they expire, sorted.
    ///
    /// # Errors
    /// The store's.
    fn keys(&self, prefix: &str) -> Result<Vec<(String, Option<u64>)>, StoreError>;
    /// Returns how many bytes its keys and values take.
    ///
    /// # Errors
    /// The store's.
    fn bytes(&self) -> Result<u64, StoreError>;
}

/// What calls have changed since the last commit: `None` for deleted.
pub type KvChanges = BTreeMap<String, Option<KvEntry>>;

/// The values of one plugin as it sees them: what is stored, and over it what has changed since.
pub struct Kv {
    backend: Arc<dyn KvBackend>,
    changes: KvChanges,
    /// What the call that is under way has changed: dropped if it fails.
    pending: KvChanges,
    pending_bytes: i64,
    changed_bytes: i64,
}

/// Why a call is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvRefusal {
    /// It would keep too much.
    Quota,
    /// The value is no number, or was changed meanwhile.
    Conflict,
    /// Something else.
    Other(String),
}

impl From<StoreError> for KvRefusal {
    fn from(error: StoreError) -> Self {
        Self::Other(error.to_string())
    }
}

impl Kv {
    /// Returns the values stored in `backend`.
    #[must_use]
    pub fn new(backend: Arc<dyn KvBackend>) -> Self {
        Self { backend, changes: KvChanges::new(), pending: KvChanges::new(), pending_bytes: 0, changed_bytes: 0 }
    }

    /// Keeps what the last call has changed.
    pub fn keep(&mut self) {
        self.changes.append(&mut self.pending);
        self.changed_bytes += std::mem::take(&mut self.pending_bytes);
    }

    /// Forgets what the last call has changed: it failed.
    pub fn discard(&mut self) {
        self.pending.clear();
        self.pending_bytes = 0;
    }

    /// Returns what is to be committed; from here on it counts as stored.
    pub fn take(&mut self) -> KvChanges {
        self.changed_bytes = 0;
        std::mem::take(&mut self.changes)
    }

    /// Returns the value at `key`, unless it has expired at `now`.
    ///
    /// # Errors
    /// The store's.
    pub fn get(&self, key: &str, now: u64) -> Result<Option<Vec<u8>>, KvRefusal> {
        let entry = self.entry(key)?;
        Ok(entry.filter(|entry| entry.expires_at.is_none_or(|at| at > now)).map(|entry| entry.value))
    }

    /// Sets the value at `key`.
    ///
    /// # Errors
    /// If the plugin would keep too much.
    pub fn set(&mut self, key: &str, value: Vec<u8>, expires_at: Option<u64>) -> Result<(), KvRefusal> {
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            return Err(KvRefusal::Other(format!("a key has 1 to {MAX_KEY_BYTES} bytes")));
        }
        let before = self.entry(key)?.map_or(0, |entry| key.len() + entry.value.len()) as i64;
        let added = (key.len() + value.len()) as i64 - before;
        let total = self.backend.bytes()? as i64 + self.changed_bytes + self.pending_bytes + added;
        if added > 0 && total > QUOTA_BYTES as i64 {
            return Err(KvRefusal::Quota);
        }
        self.pending_bytes += added;
        self.pending.insert(key.to_owned(), Some(KvEntry { value, expires_at }));
        Ok(())
    }

    /// Deletes the value at `key`; returns whether there was one.
    ///
    /// # Errors
    /// The store's.
    pub fn delete(&mut self, key: &str, now: u64) -> Result<bool, KvRefusal> {
        let Some(entry) = self.entry(key)? else { return Ok(false) };
        self.pending_bytes -= (key.len() + entry.value.len()) as i64;
        self.pending.insert(key.to_owned(), None);
        Ok(entry.expires_at.is_none_or(|at| at > now))
    }

    /// Adds `delta` to the decimal number at `key`, 0 if there is none, and returns the sum.
    ///
    /// # Errors
    /// If what stands there is no number, or the sum is too great for one.
    pub fn increment(&mut self, key: &str, delta: i64, now: u64, expires_at: Option<u64>) -> Result<i64, KvRefusal> {
        let number = match self.get(key, now)? {
            None => 0,
            Some(value) => str::from_utf8(&value).ok().and_then(|text| text.parse::<i64>().ok()).ok_or(KvRefusal::Conflict)?,
        };
        let sum = number.checked_add(delta).ok_or(KvRefusal::Conflict)?;
        self.set(key, sum.to_string().into_bytes(), expires_at)?;
        Ok(sum)
    }

    /// Returns at most `limit` keys that begin with `prefix` and come after `after`, sorted.
    ///
    /// # Errors
    /// The store's.
    pub fn keys(&self, prefix: &str, after: Option<&str>, limit: usize, now: u64) -> Result<Vec<String>, KvRefusal> {
        let mut keys: BTreeMap<String, Option<u64>> = self.backend.keys(prefix)?.into_iter().collect();
        for (key, entry) in self.changes.iter().chain(&self.pending).filter(|(key, _)| key.starts_with(prefix)) {
            match entry {
                Some(entry) => keys.insert(key.clone(), entry.expires_at),
                None => keys.remove(key),
            };
        }
        let living = keys.into_iter().filter(|(_, expires_at)| expires_at.is_none_or(|at| at > now)).map(|(key, _)| key);
        Ok(living.filter(|key| after.is_none_or(|after| key.as_str() > after)).take(limit).collect())
    }

    fn entry(&self, key: &str) -> Result<Option<KvEntry>, StoreError> {
        match self.pending.get(key).or_else(|| self.changes.get(key)) {
            Some(entry) => Ok(entry.clone()),
            None => self.backend.get(key),
        }
    }
}
