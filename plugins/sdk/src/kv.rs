//! Bytes that the host keeps for an analyzer. What a call writes it reads back at once; it counts only if the call succeeds, and is
//! stored with the findings of that call.
//!
//! A plugin that uses this asks for the capability `kv`. What fits into a few hundred kilobytes is better kept in
//! [`save`](crate::Analyzer::save), which asks for nothing.

use std::time::Duration;

use crate::bindings::host::kv::KvError;
use crate::imports::kv;
use crate::{Error, Result};

/// Returns the value at `key`.
///
/// # Errors
/// If the capability is not granted, or the host's store fails.
pub fn get(key: &str) -> Result<Option<Vec<u8>>> {
    kv::get(key).map_err(explain)
}

/// Returns the values at `keys`, in their order, with one call into the host.
///
/// # Errors
/// As [`get`].
pub fn get_many(keys: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
    kv::get_many(keys).map_err(explain)
}

/// Sets the value at `key`, for `lifetime` if one is given.
///
/// # Errors
/// As [`get`], and if the plugin would keep too much.
pub fn set(key: &str, value: &[u8], lifetime: Option<Duration>) -> Result<()> {
    kv::set(key, value, lifetime.map(millis)).map_err(explain)
}

/// Deletes the value at `key`; returns whether there was one.
///
/// # Errors
/// As [`get`].
pub fn delete(key: &str) -> Result<bool> {
    kv::delete(key).map_err(explain)
}

/// Adds `delta` to the number at `key`, 0 if there is none, and returns the sum.
///
/// # Errors
/// As [`set`], and if what stands there is no number.
pub fn increment(key: &str, delta: i64, lifetime: Option<Duration>) -> Result<i64> {
    kv::increment(key, delta, lifetime.map(millis)).map_err(explain)
}

/// Returns at most `limit` keys that begin with `prefix` and come after `after`, sorted.
///
/// # Errors
/// As [`get`].
pub fn keys(prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>> {
    kv::keys(prefix, after, limit).map_err(explain)
}

/// Returns the value at `key` as what it was written from with [`set_json`].
///
/// # Errors
/// As [`get`], and if it is something else.
pub fn get_json<T: serde::de::DeserializeOwned>(key: &str) -> Result<Option<T>> {
    get(key)?.map(|value| serde_json::from_slice(&value)).transpose().map_err(Error::from)
}

/// Sets the value at `key` to `value` as JSON.
///
/// # Errors
/// As [`set`].
pub fn set_json<T: serde::Serialize>(key: &str, value: &T, lifetime: Option<Duration>) -> Result<()> {
    set(key, &serde_json::to_vec(value)?, lifetime)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn explain(error: KvError) -> Error {
    match error {
        KvError::Denied => Error::refused("the capability `kv` is not granted"),
        KvError::Quota => Error::quota("the plugin keeps as much as it may"),
        KvError::Conflict => Error::input("what stands there is no number"),
        KvError::Other(message) => Error::internal(message),
    }
}
