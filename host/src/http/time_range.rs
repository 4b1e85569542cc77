//! Moments and durations as people write them in a request.

use std::time::Duration;

use watchfire_types::Timestamp;

use super::ApiError;
use crate::config::duration::HumanDuration;

/// Reads a moment: RFC 3339, seconds (or milliseconds …) since 1970, or how long before `now`: `90s`, `15m`, `1h30m`, `7d`.
///
/// # Errors
/// 400, saying what is read here.
pub fn parse_moment(text: &str, now: Timestamp) -> Result<Timestamp, ApiError> {
    if text == "now" {
        return Ok(now);
    }
    if let Some(ago) = parse_duration(text) {
        return Ok(now.minus(ago));
    }
    text.parse().map_err(|_| {
        ApiError::bad_request(format!(
            "`{text}` is not a time: write `2026-11-22T08:30:00Z`, seconds since 1970, or how long ago, such as `15m`, `1h` or `7d`"
        ))
    })
}

/// Reads `250ms`, `90s`, `15m`, `1h30m`, `7d`, as in the configuration. A number without a unit is none: it is a time.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) { None } else { text.parse().ok().map(|HumanDuration(duration)| duration) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_in_every_usual_way() {
        let now = Timestamp::from_seconds(1_000_000);
        for (text, seconds) in
            [("15m", 999_100), ("1h30m", 994_600), ("now", 1_000_000), ("500000", 500_000), ("1970-01-01T00:01:00Z", 60)]
        {
            assert_eq!(parse_moment(text, now).unwrap(), Timestamp::from_seconds(seconds), "{text}");
        }
        for text in ["", "yesterday", "5x", "m", "5m3", "99999999999999999999d"] {
            assert!(parse_moment(text, now).is_err(), "{text}");
        }
    }
}
