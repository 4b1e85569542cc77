//! When to try again.

use std::time::Duration;

use watchfire_types::Timestamp;

/// Backoff of the first retry, before jitter.
const FIRST: Duration = Duration::from_secs(1);
/// Longest backoff, before jitter.
const LONGEST: Duration = Duration::from_secs(300);
/// Shortest wait, whatever the jitter: no receiver is hammered.
const SHORTEST: Duration = Duration::from_millis(250);
/// Longest wait that a receiver may ask for.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);
/// Wait after refused credentials: until somebody acts, asking more often only locks accounts.
pub const CREDENTIALS_WAIT: Duration = Duration::from_secs(300);

/// Returns the wait after failed attempt number `attempt` (from 1): exponential with full jitter, `random` being in `0..1`.
///
/// Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
#[must_use]
pub fn backoff(attempt: u32, random: f64) -> Duration {
    let longest = FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(LONGEST);
    longest.mul_f64(random.clamp(0.0, 1.0)).max(SHORTEST)
}

/// Reads `Retry-After`: seconds or an HTTP date (RFC 9110, section 10.2.3); at most an hour.
#[must_use]
pub fn retry_after(header: &str, now: Timestamp) -> Option<Duration> {
    let header = header.trim();
    let wait = match header.parse::<f64>() {
        // Slack and Discord send fractions.
        Ok(seconds) if seconds.is_finite() && seconds >= 0.0 => Duration::from_secs_f64(seconds.min(1e9)),
        Ok(_) => return None,
        Err(_) => {
            let date = httpdate::parse_http_date(header).ok()?;
            let date = date.duration_since(std::time::UNIX_EPOCH).ok()?;
            Timestamp::ZERO.plus(date).since(now)
        }
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_five_minutes_and_no_further() {
        let longest: Vec<u64> = (1..=12).map(|attempt| backoff(attempt, 1.0).as_secs()).collect();
        assert_eq!(longest, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(backoff(u32::MAX, 1.0), LONGEST);
        assert_eq!(backoff(5, 0.0), SHORTEST);
        assert_eq!(backoff(5, 0.5), Duration::from_secs(8));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_bounded() {
        let now = Timestamp::from_seconds(784_111_777);
        let read = |text| retry_after(text, now).map(|wait| wait.as_millis());
        assert_eq!(read("120"), Some(120_000));
        assert_eq!(read(" 0.5 "), Some(500));
        assert_eq!(read("Sun, 06 Nov 1994 08:50:07 GMT"), Some(30_000));
        assert_eq!(read("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        assert_eq!(read("999999"), Some(3_600_000));
        assert_eq!(["soon", "-1", "NaN", ""].map(read), [None; 4]);
    }
}
