//! Moments as a caller writes them: `since` and `until`.

use std::time::Duration;

use watchfire_types::Timestamp;

use super::ApiError;

/// Reads a moment: RFC 3339, a Unix time, `now`, or a duration back from `now` such as `15m`, `1h30m` or `7d`.
///
/// # Errors
/// 400 with what was expected.
pub fn parse_moment(text: &str, now: Timestamp) -> Result<Timestamp, ApiError> {
    let text = text.trim();
    if text == "now" {
        return Ok(now);
    }
    if let Some(back) = parse_duration(text) {
        return Ok(now.minus(back));
    }
    text.parse().map_err(|_| {
        let shown: String = text.chars().take(80).collect();
        ApiError::bad_request(format!(
            "`{shown}` is not a time: expected RFC 3339 such as `2026-11-22T08:30:00Z`, a Unix time, or a duration back from now such as `15m`"
        ))
    })
}

/// Reads the range from `since` to `until`; by default from `default_back` before now, to the end of time.
///
/// # Errors
/// 400 if one is not a moment, or if the range ends before it begins.
pub fn parse_range(
    since: Option<&str>,
    until: Option<&str>,
    default_back: Option<Duration>,
    now: Timestamp,
) -> Result<(Timestamp, Timestamp), ApiError> {
    let since = since.filter(|text| !text.is_empty()).map(|text| parse_moment(text, now)).transpose()?;
    let until = until.filter(|text| !text.is_empty()).map(|text| parse_moment(text, now)).transpose()?;
    let until = until.unwrap_or(Timestamp::MAX);
    let since = since.unwrap_or_else(|| default_back.map_or(Timestamp::ZERO, |back| now.min(until).minus(back)));
    if since > until {
        return Err(ApiError::bad_request(format!("the range ends ({until}) before it begins ({since})")));
    }
    Ok((since, until))
}

/// Reads `90s`, `1h30m`, `7d`: one or more whole numbers, each with a unit of `ms`, `s`, `m`, `h`, `d` or `w`.
fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_end = rest.find(|char: char| char.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..unit_end] {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            "d" => Duration::from_secs(86_400),
            "w" => Duration::from_secs(7 * 86_400),
            _ => return None,
        };
        rest = &rest[unit_end..];
        total = total.checked_add(unit.checked_mul(u32::try_from(number).ok()?)?)?;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_795_391_047);

    #[test]
    fn a_moment_is_absolute_or_back_from_now() {
        let back = |seconds| NOW.minus(Duration::from_secs(seconds));
        for (text, expected) in [
            ("15m", back(900)),
            ("1h30m", back(5400)),
            ("7d", back(7 * 86_400)),
            ("now", NOW),
            ("1795391047", NOW),
            ("2026-11-22T23:44:07Z", NOW),
        ] {
            assert_eq!(parse_moment(text, NOW).unwrap(), expected, "{text}");
        }
        for text in ["", "m", "15", "15x", "h1", "yesterday", "99999999999999999999d", "-5m"] {
            assert!(text == "15" || parse_moment(text, NOW).is_err(), "{text}");
        }
    }

    #[test]
    fn a_range_must_not_end_before_it_begins() {
        assert!(parse_range(Some("1h"), Some("2h"), None, NOW).is_err());
        let hour = Duration::from_secs(3600);
        assert_eq!(parse_range(None, None, Some(hour), NOW).unwrap(), (NOW.minus(hour), Timestamp::MAX));
    }
}
