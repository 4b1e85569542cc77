//! The only place that reads the machine's clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns nanoseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "a record is stamped with the time of the application's machine")]
pub(crate) fn now_nanos() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
