//! Times as logs write them.

use jiff::Span;
use jiff::civil::DateTime;
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::TimeZone;
use watchfire_types::Timestamp;

static PARSER: DateTimeParser = DateTimeParser::new();

/// Reads a time: RFC 3339, the same with a blank or a comma where others have `T` and a point, without a zone (then `zone` holds),
/// or a number of seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by size.
#[must_use]
pub fn parse(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    let text = text.replacen(',', ".", 1);
    if let Ok(time) = PARSER.parse_timestamp(&text) {
        return from_jiff(time);
    }
    civil(&text, zone)
}

/// Reads a number of seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by size.
#[must_use]
pub fn from_number(number: &serde_json::Number) -> Option<Timestamp> {
    match number.as_u64() {
        Some(whole) => Some(Timestamp::from_epoch(whole)),
        None => from_float(number.as_f64()?),
    }
}

/// The same for a number with a fraction.
pub(super) fn from_float(number: f64) -> Option<Timestamp> {
    if number.is_nan() || number < 0.0 {
        return None;
    }
    let nanos = match number {
        ..1e11 => number * 1e9,
        ..1e14 => number * 1e6,
        ..1e17 => number * 1e3,
        _ => number,
    };
    Some(Timestamp::from_nanos(nanos as u64))
}

fn civil(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    // Anything shorter is a day, not a moment.
    if text.len() < "2026-11-22T23:44".len() {
        return None;
    }
    in_zone(PARSER.parse_datetime(text).ok()?, zone)
}

/// Returns the moment at which clocks in `zone` show `civil`; the earlier one when they show it twice.
pub(super) fn in_zone(civil: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    from_jiff(zone.to_ambiguous_timestamp(civil).compatible().ok()?)
}

pub(super) fn from_jiff(time: jiff::Timestamp) -> Option<Timestamp> {
    u64::try_from(time.as_nanosecond()).ok().map(Timestamp::from_nanos)
}

/// Returns the moment of `civil`, which lacks its year, in the latest year in which it is not more than a day after `now`.
pub(super) fn with_inferred_year(
    month: i8,
    day: i8,
    clock: (i8, i8, i8, i32),
    now: Timestamp,
    zone: &TimeZone,
) -> Option<Timestamp> {
    let now = jiff::Timestamp::from_nanosecond(i128::from(now.as_nanos())).ok()?;
    let latest = now.checked_add(Span::new().hours(24)).ok()?;
    let year = zone.to_datetime(latest).year();
    // A 29 February may lie eight years back.
    (0..=8).find_map(|back| {
        let civil = DateTime::new(year - back, month, day, clock.0, clock.1, clock.2, clock.3).ok()?;
        let time = zone.to_ambiguous_timestamp(civil).compatible().ok()?;
        if time <= latest { from_jiff(time) } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_spellings_are_one_moment() {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let moment = Timestamp::from_millis(1_795_386_247_250);
        for text in [
            "2026-11-22T22:24:07.25Z",
            "2026-11-22T23:24:07.250+01:00",
            "2026-11-22 23:24:07,250",
            "2026-11-22T23:24:07.25",
            "2026-11-22 22:24:07.25Z",
            "1795386247250",
        ] {
            assert_eq!(parse(text, &zone), Some(moment), "{text}");
        }
        assert_eq!(parse("2026-11-22", &zone), None);
        assert_eq!(parse("yesterday", &zone), None);
    }
}
