//! Times as syslog writes them, fast: a busy host reads a hundred thousand of them a second.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use watchfire_types::Timestamp;

use super::super::time;

/// A remembered time without a year is meant in the same one for this long.
const REMEMBER_NANOS: u64 = 60_000_000_000;

/// Reads times that may leave out year and zone.
#[derive(Clone, Debug)]
pub struct Times {
    now: Timestamp,
    zone: TimeZone,
    /// The last time without a year, as written, and its moment: messages come many to a second.
    last: Option<([u8; 15], Timestamp)>,
    last_now: Timestamp,
}

impl Times {
    /// Returns a reader for times in `zone`, as seen at `now`.
    #[must_use]
    pub fn new(zone: TimeZone, now: Timestamp) -> Self {
        Self { now, zone, last: None, last_now: now }
    }

    /// Says what time it is now.
    pub fn set_now(&mut self, now: Timestamp) {
        self.now = now;
        if now.as_nanos().abs_diff(self.last_now.as_nanos()) > REMEMBER_NANOS {
            self.last = None;
        }
    }

    /// Reads `2026-11-22T23:44:07.123456+01:00`, with any number of decimals or none, a blank for `T`, a comma for the point, `Z`, `+0100`
    /// or no zone. Returns what follows, too.
    #[must_use]
    pub fn rfc3339<'a>(&self, text: &'a str) -> Option<(Timestamp, &'a str)> {
        let bytes = text.as_bytes();
        if bytes.len() < 19 || bytes[4] != b'-' || bytes[7] != b'-' || !matches!(bytes[10], b'T' | b't' | b' ') {
            return None;
        }
        let date = (number(&bytes[..4])?, number(&bytes[5..7])?, number(&bytes[8..10])?);
        let clock = clock(&bytes[11..19])?;
        let (nanos, rest) = fraction(&text[19..]);
        let (offset, rest) = zone_offset(rest)?;
        let time = match offset {
            Some(offset) => utc(date, clock, nanos, offset)?,
            None => self.local(date, clock, nanos)?,
        };
        Some((time, rest))
    }

    /// Reads `Nov 22 23:44:07`, or with Cisco's additions `*Nov 22 2026 23:44:07.123 UTC`. Returns what follows, too.
    #[must_use]
    pub fn bsd<'a>(&mut self, text: &'a str) -> Option<(Timestamp, &'a str)> {
        // An asterisk: the clock is not set; a point: it was, and has lost its source.
        let text = text.strip_prefix(['*', '.']).unwrap_or(text);
        let bytes = text.as_bytes();
        if bytes.len() < 15 || bytes[3] != b' ' {
            return None;
        }
        let month = month(&bytes[..3])?;
        if let Some(day) = day(&bytes[4..6])
            && bytes[6] == b' '
            && let Some(clock) = clock(&bytes[7..15])
        {
            let (nanos, rest) = fraction(text.get(15..)?);
            if let Some((year, rest)) = year(rest) {
                let (zone, rest) = zone_name(rest);
                return Some((self.named((year, month, day), clock, nanos, zone)?, rest));
            }
            let (zone, rest) = zone_name(rest);
            let time = if zone == Some(0) {
                time::with_inferred_year(month as i8, day as i8, civil(clock), self.now, &TimeZone::UTC)?
            } else {
                self.without_year(bytes[..15].try_into().ok()?, month, day, clock)?
            };
            return Some((Timestamp::from_nanos(time.as_nanos() + u64::from(nanos)), rest));
        }
        // `Nov 22 2026 23:44:07`, and with a day of one digit and no blank before it, `Nov 2 2026 23:44:07`.
        let digits = 1 + usize::from(bytes[5].is_ascii_digit());
        let day = number(&bytes[4..4 + digits])?;
        let (year, rest) = year(text.get(4 + digits..)?)?;
        let rest = rest.strip_prefix(' ')?;
        let clock = clock(rest.as_bytes().get(..8)?)?;
        let (nanos, rest) = fraction(rest.get(8..)?);
        let (zone, rest) = zone_name(rest);
        Some((self.named((year, month, day), clock, nanos, zone)?, rest))
    }

    fn without_year(&mut self, written: [u8; 15], month: u32, day: u32, clock: Clock) -> Option<Timestamp> {
        if let Some((text, time)) = &self.last
            && *text == written
        {
            return Some(*time);
        }
        let time = time::with_inferred_year(month as i8, day as i8, civil(clock), self.now, &self.zone)?;
        self.last = Some((written, time));
        self.last_now = self.now;
        Some(time)
    }

    fn named(&self, date: Date, clock: Clock, nanos: u32, zone: Option<i64>) -> Option<Timestamp> {
        match zone {
            Some(offset) => utc(date, clock, nanos, offset),
            None => self.local(date, clock, nanos),
        }
    }

    fn local(&self, (year, month, day): Date, (hour, minute, second): Clock, nanos: u32) -> Option<Timestamp> {
        let (hour, minute, second) = (hour as i8, minute as i8, second as i8);
        let civil = DateTime::new(year as i16, month as i8, day as i8, hour, minute, second, nanos as i32).ok()?;
        time::in_zone(civil, &self.zone)
    }
}

/// Year, month, day.
type Date = (u32, u32, u32);
/// Hour, minute, second.
type Clock = (u32, u32, u32);

fn civil((hour, minute, second): Clock) -> (i8, i8, i8, i32) {
    (hour as i8, minute as i8, second as i8, 0)
}

/// Reads `23:44:07`. A leap second counts as the one before it.
fn clock(bytes: &[u8]) -> Option<Clock> {
    if bytes[2] != b':' || bytes[5] != b':' {
        return None;
    }
    let (hour, minute, second) = (number(&bytes[..2])?, number(&bytes[3..5])?, number(&bytes[6..8])?);
    (hour < 24 && minute < 60 && second <= 60).then_some((hour, minute, second.min(59)))
}

/// Reads `22`, ` 2` or `02`.
fn day(bytes: &[u8]) -> Option<u32> {
    number(bytes.strip_prefix(b" ").unwrap_or(bytes))
}

fn month(name: &[u8]) -> Option<u32> {
    const MONTHS: [&[u8; 3]; 12] = [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    MONTHS.iter().position(|month| *month == name).map(|index| index as u32 + 1)
}

/// Reads ` 2026`.
fn year(text: &str) -> Option<(u32, &str)> {
    let digits = text.strip_prefix(' ')?.as_bytes();
    let year = number(digits.get(..4)?).filter(|year| (1970..2200).contains(year))?;
    (!digits.get(4).is_some_and(u8::is_ascii_digit)).then(|| (year, &text[5..]))
}

/// Reads a fraction of a second; decimals past the ninth are left out.
fn fraction(text: &str) -> (u32, &str) {
    let Some(decimals) = text.strip_prefix(['.', ',']) else { return (0, text) };
    let length = decimals.bytes().take_while(u8::is_ascii_digit).count();
    if length == 0 {
        return (0, text);
    }
    let nanos = decimals.bytes().take(length.min(9)).fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    (nanos * 10_u32.pow(9 - length.min(9) as u32), &decimals[length..])
}

/// Reads `Z`, `+01:00`, `+0100`, `+01` or nothing as seconds east of Greenwich; `None` if it is anything else.
fn zone_offset(text: &str) -> Option<(Option<i64>, &str)> {
    let bytes = text.as_bytes();
    let sign = match bytes.first() {
        None | Some(b' ' | b':' | b']') => return Some((None, text)),
        Some(b'Z' | b'z') => return Some((Some(0), &text[1..])),
        Some(b'+') => 1,
        Some(b'-') => -1,
        Some(_) => return None,
    };
    let hours = number(bytes.get(1..3)?)?;
    let (minutes, length) = match bytes.get(3..) {
        Some([b':', first, second, ..]) => (number(&[*first, *second])?, 6),
        Some([first @ b'0'..=b'9', second, ..]) => (number(&[*first, *second])?, 5),
        _ => (0, 3),
    };
    (hours < 24 && minutes < 60).then(|| (Some(sign * (i64::from(hours) * 3600 + i64::from(minutes) * 60)), &text[length..]))
}

/// Reads ` UTC` and the like where a colon follows, as Cisco's devices write it. Of other zones only the name is known, not what it
/// means, and the configured one is believed.
fn zone_name(text: &str) -> (Option<i64>, &str) {
    let name = text.strip_prefix(' ').unwrap_or("");
    let length = name.bytes().take(6).take_while(u8::is_ascii_uppercase).count();
    let rest = &name[length..];
    match (&name[..length], rest.starts_with(':')) {
        ("UTC" | "GMT" | "Z", true) => (Some(0), rest),
        (_, true) if length >= 2 => (None, rest),
        _ => (None, text),
    }
}

/// Reads decimal digits, and nothing else.
fn number(digits: &[u8]) -> Option<u32> {
    let mut number = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number * 10 + u32::from(digit - b'0');
    }
    Some(number)
}

/// Returns the moment of a civil time that is `offset` seconds east of Greenwich, from 1970 on.
fn utc((year, month, day): Date, (hour, minute, second): Clock, nanos: u32, offset: i64) -> Option<Timestamp> {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(is_leap),
        _ => return None,
    };
    // The year 2262 does not fit whole.
    if !(1..=days).contains(&day) || !(1969..2262).contains(&year) {
        return None;
    }
    // Days since 0000-03-01, so that a leap day ends its year. Source: H. Hinnant, "chrono-compatible low-level date algorithms".
    let (year, month) = if month > 2 { (i64::from(year), month - 3) } else { (i64::from(year) - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + i64::from((153 * month + 2) / 5 + day - 1) - 719_468;
    let seconds = days * 86_400 + i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second) - offset;
    Some(Timestamp::from_nanos(u64::try_from(seconds).ok()? * 1_000_000_000 + u64::from(nanos)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn times() -> Times {
        Times::new(TimeZone::fixed(jiff::tz::offset(1)), "2026-11-23T00:10:00Z".parse().unwrap())
    }

    fn show<'a>(read: impl FnOnce(&mut Times) -> Option<(Timestamp, &'a str)>) -> String {
        read(&mut times()).map_or_else(|| "-".to_owned(), |(time, rest)| format!("{time}{rest}"))
    }

    #[test]
    fn times_with_a_year_are_read() {
        for (text, expected) in [
            ("2026-11-22T22:44:07Z", "2026-11-22T22:44:07Z"),
            ("2026-11-22T23:44:07.123456+01:00 rest", "2026-11-22T22:44:07.123456Z rest"),
            ("2026-11-22T23:44:07.1234567891+0100", "2026-11-22T22:44:07.123456789Z"),
            ("2026-11-22 20:44:07,5-02", "2026-11-22T22:44:07.5Z"),
            ("2026-11-22 23:44:07 host", "2026-11-22T22:44:07Z host"),
            ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z"),
            ("2026-02-29T00:00:00Z", "-"),
            ("2026-11-22T24:00:00Z", "-"),
            ("2026-11-22T23:59:60Z", "2026-11-22T23:59:59Z"),
            ("2026-11-22T22:44:07X", "-"),
            ("1970-01-01T00:30:00+01:00", "-"),
            ("2026-11-22", "-"),
        ] {
            assert_eq!(show(|times| times.rfc3339(text)), expected, "{text}");
        }
    }

    #[test]
    fn times_without_a_year_are_read() {
        for (text, expected) in [
            ("Nov 22 23:44:07 rest", "2026-11-22T22:44:07Z rest"),
            ("Nov  2 03:04:05", "2026-11-02T02:04:05Z"),
            ("Nov 22 23:44:07.250 rest", "2026-11-22T22:44:07.25Z rest"),
            ("Nov 22 2026 23:44:07: rest", "2026-11-22T22:44:07Z: rest"),
            ("Nov 2 2025 23:44:07 rest", "2025-11-02T22:44:07Z rest"),
            ("*Nov 22 22:44:07.123 UTC: rest", "2026-11-22T22:44:07.123Z: rest"),
            (".Nov 22 23:44:07 CET: rest", "2026-11-22T22:44:07Z: rest"),
            ("Nov 22 23:44:07 2026 rest", "2026-11-22T22:44:07Z rest"),
            ("Nov 22 23:44:07 WEB rest", "2026-11-22T22:44:07Z WEB rest"),
            ("Dec 31 23:59:59", "2025-12-31T22:59:59Z"),
            ("Feb 29 10:00:00", "2024-02-29T09:00:00Z"),
            ("Feb 30 10:00:00", "-"),
            ("Foo 22 23:44:07", "-"),
            ("Nov 22 23:44", "-"),
        ] {
            assert_eq!(show(|times| times.bsd(text)), expected, "{text}");
        }
    }

    #[test]
    fn a_remembered_time_is_forgotten_when_its_year_may_be_another() {
        let mut times = times();
        let first = times.bsd("Dec 31 23:59:59").unwrap().0;
        times.set_now("2026-12-31T23:00:00Z".parse().unwrap());
        let second = times.bsd("Dec 31 23:59:59").unwrap().0;
        assert_eq!((first.to_string(), second.to_string()), ("2025-12-31T22:59:59Z".into(), "2026-12-31T22:59:59Z".into()));
    }

    /// A day before the year 2262, the first that is not read: not all of it fits.
    const LAST_NANOS: u64 = 9_214_560_000_000_000_000;

    proptest! {
        #[test]
        fn what_jiff_writes_is_read_as_it_was(nanos in 0..LAST_NANOS, offset in -12_i8..=12) {
            let time = jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap();
            let text = time.display_with_offset(jiff::tz::offset(offset)).to_string();
            let read = times().rfc3339(&text).map(|(time, rest)| (time.as_nanos(), rest.to_owned()));
            prop_assert_eq!(read, Some((nanos, String::new())));
        }

        #[test]
        fn any_text_is_read_or_not(text in "\\PC{0,40}", near in "[*.]?[A-Z][a-z]{2} [ 0-9]{2} [0-9 ]{0,5}[0-9:]{8}[., A-Z0-9:]{0,12}é?") {
            let mut times = times();
            for text in [text, near] {
                if let Some((_, rest)) = times.bsd(&text) {
                    prop_assert!(text.ends_with(rest));
                }
                if let Some((_, rest)) = times.rfc3339(&text) {
                    prop_assert!(text.ends_with(rest));
                }
            }
        }
    }
}
