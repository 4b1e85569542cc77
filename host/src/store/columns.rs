//! How times and JSON stand in the columns of a table: nanoseconds since 1970, which end where SQLite's integers do, and text.

use rusqlite::types::Type;
use rusqlite::{Row, RowIndex};
use serde::Serialize;
use serde::de::DeserializeOwned;
use watchfire_types::Timestamp;

/// Returns `time` as a column has it.
#[must_use]
pub fn nanos(time: Timestamp) -> i64 {
    time.as_nanos().min(i64::MAX as u64) as i64
}

/// Returns the time that a column has.
#[must_use]
pub fn timestamp(nanos: i64) -> Timestamp {
    Timestamp::from_nanos(nanos.max(0) as u64)
}

/// Reads a time.
///
/// # Errors
/// If `column` holds no integer.
pub fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<Timestamp> {
    row.get(column).map(timestamp)
}

/// Reads a time that may be missing.
///
/// # Errors
/// If `column` holds something else.
pub fn optional_time(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(timestamp))
}

/// Reads JSON.
///
/// # Errors
/// If `column` holds no text, or none that is a `T`.
pub fn json<T: DeserializeOwned>(row: &Row<'_>, column: impl RowIndex) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))
}

/// Returns `value` as JSON.
///
/// # Errors
/// If JSON cannot say it.
pub fn to_json(value: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}
