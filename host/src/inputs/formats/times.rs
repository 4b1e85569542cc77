//! Times as they stand at the beginning of lines, read without a parser for dates: a line costs tens of nanoseconds, not hundreds.

use std::time::Duration;

use jiff::tz::TimeZone;
use watchfire_types::Timestamp;

use crate::inputs::time;

const DAY: i64 = 86_400;
/// Zones change their offset on quarters of an hour.
const QUARTER: i64 = 900;
const MONTHS: [&[u8; 3]; 12] = [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
const WEEKDAYS: [&[u8; 3]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];

/// The zone's offset at the last local time that was asked for: neighbours share it.
#[derive(Clone, Copy, Debug)]
pub struct OffsetCache {
    quarter: i64,
    offset: i64,
}

impl Default for OffsetCache {
    fn default() -> Self {
        Self { quarter: i64::MIN, offset: 0 }
    }
}

/// What times without a date or a zone are relative to.
#[derive(Debug)]
pub struct Around<'a> {
    /// The present time.
    pub now: Timestamp,
    /// The zone of times that name none.
    pub zone: &'a TimeZone,
    /// Kept from line to line.
    pub cache: &'a mut OffsetCache,
}

/// A date and a time of day, as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    second_of_day: i64,
    nanos: u32,
}

impl Civil {
    /// Returns seconds since 1970 as if it were UTC.
    fn seconds(&self) -> Option<i64> {
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        let days = match self.month {
            2 => 28 + i64::from(leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        if !(1..=days).contains(&self.day) || !(1970..=2262).contains(&self.year) {
            return None;
        }
        // Howard Hinnant's days_from_civil.
        let year = if self.month <= 2 { self.year - 1 } else { self.year };
        let (era, of_era) = (year / 400, year % 400);
        let of_year = (153 * (if self.month > 2 { self.month - 3 } else { self.month + 9 }) + 2) / 5 + self.day - 1;
        let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
        Some(days * DAY + self.second_of_day)
    }

    /// Returns the moment, given the zone's offset in seconds; the zone of `around` if it is not known.
    fn at(&self, offset: Option<i64>, around: &mut Around<'_>) -> Option<Timestamp> {
        let local = self.seconds()?;
        let offset = match offset {
            Some(offset) => offset,
            None => around.offset(local)?,
        };
        let nanos = u64::try_from(local - offset).ok()?.checked_mul(1_000_000_000)?.checked_add(u64::from(self.nanos))?;
        Some(Timestamp::from_nanos(nanos))
    }
}

impl Around<'_> {
    /// Returns the zone's offset when its clocks show `local`, in seconds since 1970.
    fn offset(&mut self, local: i64) -> Option<i64> {
        let quarter = local.div_euclid(QUARTER);
        if self.cache.quarter != quarter {
            let civil = jiff::civil::DateTime::constant(1970, 1, 1, 0, 0, 0, 0).checked_add(jiff::SignedDuration::from_secs(local));
            let time = time::in_zone(civil.ok()?, self.zone)?;
            self.cache.offset = local - (time.as_nanos() / 1_000_000_000) as i64;
            self.cache.quarter = quarter;
        }
        Some(self.cache.offset)
    }

    /// Returns today's date where `zone` is.
    fn today(&self) -> Option<jiff::civil::DateTime> {
        let now = jiff::Timestamp::from_nanosecond(i128::from(self.now.as_nanos())).ok()?;
        Some(self.zone.to_datetime(now))
    }
}

/// Reads the time at the beginning of `text`. Returns it with the number of bytes it takes; what follows is left alone.
#[must_use]
pub fn head(text: &str, around: &mut Around<'_>) -> Option<(Timestamp, usize)> {
    let bytes = text.as_bytes();
    match bytes.first()? {
        b'0'..=b'9' => numeric(bytes, around),
        b'A'..=b'Z' => named(bytes, around),
        _ => None,
    }
}

/// Reads a text that is a time and nothing else.
#[must_use]
pub fn whole(text: &str, around: &mut Around<'_>) -> Option<Timestamp> {
    match head(text, around) {
        Some((time, length)) if length == text.len() => Some(time),
        _ => time::parse(text, around.zone),
    }
}

fn numeric(bytes: &[u8], around: &mut Around<'_>) -> Option<(Timestamp, usize)> {
    match (bytes.get(4)?, bytes.get(2)?) {
        (b'-' | b'/', _) => year_first(bytes, around),
        (_, b'/' | b'-' | b' ' | b'.') => day_first(bytes, around),
        (_, b':') => clock_only(bytes, around),
        (b'0'..=b'9', b'0'..=b'9') => compact(bytes, around).or_else(|| epoch(bytes)),
        _ => None,
    }
}

/// Reads `2026-11-24T05:37:20.123+01:00` and its kin; `2026/11/24 05:37:20`.
fn year_first(bytes: &[u8], around: &mut Around<'_>) -> Option<(Timestamp, usize)> {
    if bytes.get(7)? != &bytes[4] || !matches!(bytes.get(10)?, b'T' | b't' | b' ' | b'_') {
        return None;
    }
    let (year, month, day) = (digits(bytes, 0, 4)?, digits(bytes, 5, 2)?, digits(bytes, 8, 2)?);
    let (second_of_day, nanos, end) = clock(bytes, 11)?;
    let (offset, end) = zone(bytes, end);
    Some((Civil { year, month, day, second_of_day, nanos }.at(offset, around)?, end))
}

/// Reads `24/Nov/2026:05:37:20 +0100`, `24-Nov-2026 05:37:20.123`, `24 Nov 2026 05:37:20.123`, `24.11.2026 05:37:20`.
fn day_first(bytes: &[u8], around: &mut Around<'_>) -> Option<(Timestamp, usize)> {
    let separator = bytes[2];
    let day = digits(bytes, 0, 2)?;
    let (month, year_at) = match digits(bytes, 3, 2) {
        // With slashes, nobody knows which of the two is the month.
        Some(month) if separator == b'.' => (month, 6),
        Some(_) => return None,
        None => (month(bytes, 3)?, 7),
    };
    if bytes.get(year_at - 1)? != &separator {
        return None;
    }
    let year = digits(bytes, year_at, 4)?;
    if !matches!(bytes.get(year_at + 4)?, b':' | b' ' | b'T') {
        return None;
    }
    let (second_of_day, nanos, end) = clock(bytes, year_at + 5)?;
    let (offset, end) = zone(bytes, end);
    Some((Civil { year, month, day, second_of_day, nanos }.at(offset, around)?, end))
}

/// Reads `05:37:20.123`, of today, or of yesterday if that would lie ahead. Without a fraction it might be anything.
fn clock_only(bytes: &[u8], around: &mut Around<'_>) -> Option<(Timestamp, usize)> {
    let (second_of_day, nanos, end) = clock(bytes, 0)?;
    if end < 9 {
        return None;
    }
    let today = around.today()?;
    let civil = |date: jiff::civil::Date| Civil {
        year: i64::from(date.year()),
        month: i64::from(date.month()),
        day: i64::from(date.day()),
        second_of_day,
        nanos,
    };
    let time = civil(today.date()).at(None, around)?;
    if time > around.now.plus(Duration::from_secs(3600)) {
        return Some((civil(today.date().yesterday().ok()?).at(None, around)?, end));
    }
    Some((time, end))
}

/// Reads `20261124 05:37:20` and `20261124T053720Z`.
fn compact(bytes: &[u8], around: &mut Around<'_>) -> Option<(Timestamp, usize)> {
    if !matches!(bytes.get(8)?, b'T' | b' ' | b'-') {
        return None;
    }
    let (year, month, day) = (digits(bytes, 0, 4)?, digits(bytes, 4, 2)?, digits(bytes, 6, 2)?);
    let (second_of_day, nanos, end) = match digits(bytes, 9, 6) {
        Some(clock) => (in_day(clock / 10_000, clock / 100 % 100, clock % 100)?, 0, 15),
        None => clock(bytes, 9)?,
    };
    let (offset, end) = zone(bytes, end);
    Some((Civil { year, month, day, second_of_day, nanos }.at(offset, around)?, end))
}

/// Reads `1795392600.123` and `1795392600123`: seconds with a fraction, or milliseconds, as programs write them.
fn epoch(bytes: &[u8]) -> Option<(Timestamp, usize)> {
    let length = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (seconds, nanos, end) = match (length, bytes.get(length)) {
        (10, Some(b'.')) => {
            let (nanos, end) = fraction(bytes, length);
            if end < length + 4 {
                return None;
            }
            (digits(bytes, 0, 10)?, nanos, end)
        }
        (13, None | Some(b' ' | b'\t')) => (digits(bytes, 0, 10)?, digits(bytes, 10, 3)? as u32 * 1_000_000, 13),
        _ => return None,
    };
    // Numbers of other kinds are seldom a time of these decades.
    (1_000_000_000..4_000_000_000)
        .contains(&seconds)
        .then(|| (Timestamp::from_nanos(seconds as u64 * 1_000_000_000 + u64::from(nanos)), end))
}

/// Reads what begins with a month or a day of the week: `Nov 24 05:37:20`, `Nov 24, 2026 5:37:20`, `Tue Nov 24 05:37:20.123 2026`.
fn named(bytes: &[u8], around: &mut Around<'_>) -> Option<(Timestamp, usize)> {
    let weekday = bytes.get(..3).is_some_and(|name| WEEKDAYS.iter().any(|day| *day == name));
    let start = match (weekday, bytes.get(3)?) {
        (true, b' ') => 4,
        (true, b',') => return rfc2822(bytes, around),
        (false, b' ') => 0,
        _ => return None,
    };
    let month = month(bytes, start)?;
    let at = start + 4;
    if bytes.get(at - 1)? != &b' ' {
        return None;
    }
    let (day, mut at) = match bytes.get(at)? {
        b' ' => (digits(bytes, at + 1, 1)?, at + 2),
        _ => match digits(bytes, at, 2) {
            Some(day) => (day, at + 2),
            None => (digits(bytes, at, 1)?, at + 1),
        },
    };
    let mut year = None;
    match bytes.get(at)? {
        b',' => {
            year = Some(digits(bytes, at + 2, 4)?);
            at += 6;
        }
        b' ' => {
            if let Some(found) = digits(bytes, at + 1, 4) {
                year = Some(found);
                at += 5;
            }
        }
        _ => return None,
    }
    if bytes.get(at)? != &b' ' {
        return None;
    }
    let (second_of_day, nanos, mut end) = clock(bytes, at + 1)?;
    let mut offset = None;
    if year.is_none() && bytes.get(end) == Some(&b' ') {
        // The year may stand at the end, and the zone before it.
        let (zone_offset, after) = zone(bytes, end);
        if let Some(found) = digits(bytes, after + 1, 4).filter(|_| bytes.get(after) == Some(&b' '))
            && weekday
            && !bytes.get(after + 5).is_some_and(u8::is_ascii_digit)
        {
            (year, offset, end) = (Some(found), zone_offset, after + 5);
        }
    }
    let Some(year) = year else {
        let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
        let clock = (hour as i8, minute as i8, second as i8, nanos as i32);
        return Some((without_year(month, day, clock, around)?, end));
    };
    Some((Civil { year, month, day, second_of_day, nanos }.at(offset, around)?, end))
}

/// Returns the moment of a date without its year, as [`time::with_inferred_year`] does; quickly if it is of this year and past.
pub(super) fn without_year(month: i64, day: i64, clock: (i8, i8, i8, i32), around: &mut Around<'_>) -> Option<Timestamp> {
    let year = i64::from(around.today()?.year());
    let second_of_day = i64::from(clock.0) * 3600 + i64::from(clock.1) * 60 + i64::from(clock.2);
    let this_year = Civil { year, month, day, second_of_day, nanos: clock.3 as u32 }.at(None, around);
    match this_year {
        Some(time) if time <= around.now => Some(time),
        _ => time::with_inferred_year(month as i8, day as i8, clock, around.now, around.zone),
    }
}

/// Reads `Tue, 24 Nov 2026 05:37:20 GMT`.
fn rfc2822(bytes: &[u8], around: &mut Around<'_>) -> Option<(Timestamp, usize)> {
    let rest = bytes.get(5..)?;
    let (time, length) = day_first(rest, around)?;
    Some((time, length + 5))
}

/// Reads `05:37:20` with a fraction after a point or a comma; returns second of the day, nanoseconds, and where it ends.
fn clock(bytes: &[u8], at: usize) -> Option<(i64, u32, usize)> {
    let (hour, at) = match digits(bytes, at, 2) {
        Some(hour) => (hour, at + 2),
        None => (digits(bytes, at, 1)?, at + 1),
    };
    if bytes.get(at)? != &b':' || bytes.get(at + 3)? != &b':' {
        return None;
    }
    let second_of_day = in_day(hour, digits(bytes, at + 1, 2)?, digits(bytes, at + 4, 2)?)?;
    let (nanos, end) = fraction(bytes, at + 6);
    Some((second_of_day, nanos, end))
}

fn in_day(hour: i64, minute: i64, second: i64) -> Option<i64> {
    // A leap second is written as 60.
    (hour < 24 && minute < 60 && second <= 60).then(|| hour * 3600 + minute * 60 + second.min(59))
}

/// Reads a fraction of a second of any length, if one is there.
fn fraction(bytes: &[u8], at: usize) -> (u32, usize) {
    if !matches!(bytes.get(at), Some(b'.' | b',')) || !bytes.get(at + 1).is_some_and(u8::is_ascii_digit) {
        return (0, at);
    }
    let (mut nanos, mut scale, mut end) = (0, 100_000_000, at + 1);
    while let Some(digit) = bytes.get(end).filter(|byte| byte.is_ascii_digit()) {
        nanos += u32::from(digit - b'0') * scale;
        scale /= 10;
        end += 1;
    }
    (nanos, end)
}

/// Reads `Z`, `+01:00`, `+0100`, `+01`, ` +0100`, ` UTC`, ` GMT`, if one of them is there.
fn zone(bytes: &[u8], at: usize) -> (Option<i64>, usize) {
    let blank = usize::from(bytes.get(at) == Some(&b' '));
    let at_sign = at + blank;
    let is_end = |end: usize| !bytes.get(end).is_some_and(u8::is_ascii_alphanumeric);
    match bytes.get(at_sign) {
        Some(b'Z' | b'z') if is_end(at_sign + 1) => return (Some(0), at_sign + 1),
        Some(b'U' | b'G') if matches!(bytes.get(at_sign..at_sign + 3), Some(b"UTC" | b"GMT")) && is_end(at_sign + 3) => {
            return (Some(0), at_sign + 3);
        }
        Some(sign @ (b'+' | b'-')) => {
            let Some(hours) = digits(bytes, at_sign + 1, 2).filter(|hours| *hours <= 18) else { return (None, at) };
            let colon = usize::from(bytes.get(at_sign + 3) == Some(&b':'));
            let minutes = digits(bytes, at_sign + 3 + colon, 2);
            let end = at_sign + if minutes.is_some() { 5 + colon } else { 3 };
            if is_end(end) && (blank == 0 || minutes.is_some()) {
                let offset = hours * 3600 + minutes.unwrap_or(0) * 60;
                return (Some(if *sign == b'-' { -offset } else { offset }), end);
            }
        }
        _ => {}
    }
    (None, at)
}

/// Returns the number that `count` digits at `at` make.
fn digits(bytes: &[u8], at: usize, count: usize) -> Option<i64> {
    let mut number = 0;
    for byte in bytes.get(at..at + count)? {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + i64::from(digit);
    }
    Some(number)
}

fn month(bytes: &[u8], at: usize) -> Option<i64> {
    let name = bytes.get(at..at + 3)?;
    Some(MONTHS.iter().position(|month| *month == name)? as i64 + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> String {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let mut cache = OffsetCache::default();
        let now = "2026-11-24T12:00:00Z".parse().unwrap();
        match head(text, &mut Around { now, zone: &zone, cache: &mut cache }) {
            Some((time, end)) => format!("{time}|{}", &text[end..]),
            None => "none".to_owned(),
        }
    }

    #[test]
    fn the_shapes_that_programs_write() {
        let lines = [
            "2026-11-24T05:37:20.123456+01:00 x",
            "2026-11-24T05:37:20Z",
            "2026-11-24 05:37:20,123 INFO",
            "2026-11-24 05:37:20 +0100 x",
            "2026-11-24 05:37:20 UTC [12]",
            "2026-11-24 05:37:20.123 CET x",
            "2026/11/24 05:37:20 [error]",
            "24/Nov/2026:05:37:20 -0500] x",
            "24-Nov-2026 05:37:20.123 INFO",
            "24 Nov 2026 05:37:20.123 * x",
            "24.11.2026 05:37:20 x",
            "05:37:20.123 [main]",
            "23:37:20.123 yesterday",
            "20261124 05:37:20 x",
            "20261124T053720Z x",
            "1795498640.123 x",
            "1795498640123 x",
            "Nov 24 05:37:20 web1 x",
            "Nov  4 05:37:20 web1 x",
            "Nov 24, 2026 5:37:20 AM x",
            "Tue Nov 24 05:37:20.123456 2026] x",
            "Tue Nov 24 05:37:20 UTC 2026 x",
            "Tue, 24 Nov 2026 05:37:20 GMT x",
            "2026-02-30 05:37:20 x",
            "2026-11-24 25:37:20 x",
            "11/24/2026 05:37:20 x",
            "12:30:00 noon",
            "1234567890 an id",
            "Now is 24",
        ];
        let shown: Vec<String> = lines.iter().map(|line| read(line)).collect();
        insta::assert_snapshot!(shown.join("\n"), @r"
        2026-11-24T04:37:20.123456Z| x
        2026-11-24T05:37:20Z|
        2026-11-24T04:37:20.123Z| INFO
        2026-11-24T04:37:20Z| x
        2026-11-24T05:37:20Z| [12]
        2026-11-24T04:37:20.123Z| CET x
        2026-11-24T04:37:20Z| [error]
        2026-11-24T10:37:20Z|] x
        2026-11-24T04:37:20.123Z| INFO
        2026-11-24T04:37:20.123Z| * x
        2026-11-24T04:37:20Z| x
        2026-11-24T04:37:20.123Z| [main]
        2026-11-23T22:37:20.123Z| yesterday
        2026-11-24T04:37:20Z| x
        2026-11-24T05:37:20Z| x
        2026-11-24T05:37:20.123Z| x
        2026-11-24T05:37:20.123Z| x
        2026-11-24T04:37:20Z| web1 x
        2026-11-04T04:37:20Z| web1 x
        2026-11-24T04:37:20Z| AM x
        2026-11-24T04:37:20.123456Z|] x
        2026-11-24T05:37:20Z| x
        2026-11-24T05:37:20Z| x
        none
        none
        none
        none
        none
        none
        ");
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "[0-9A-Za-z:,./+ TZ-]{0,40}|\\PC{0,40}") {
            let _ = read(&text);
        }

        #[test]
        fn what_is_written_reads_back(nanos in 0_u64..9_000_000_000_000_000_000) {
            let time = Timestamp::from_nanos(nanos);
            let zone = TimeZone::UTC;
            let mut cache = OffsetCache::default();
            let text = time.to_string();
            let mut around = Around { now: time, zone: &zone, cache: &mut cache };
            prop_assert_eq!(head(&text, &mut around), Some((time, text.len())));
        }

        #[test]
        fn a_cached_offset_is_the_zones(seconds in proptest::collection::vec(0_i64..4_000_000_000, 1..20)) {
            let zone = TimeZone::get("Europe/Berlin").unwrap_or(TimeZone::UTC);
            let mut cache = OffsetCache::default();
            for local in seconds {
                let civil = jiff::civil::DateTime::constant(1970, 1, 1, 0, 0, 0, 0).checked_add(jiff::SignedDuration::from_secs(local)).unwrap();
                let expected = time::in_zone(civil, &zone);
                let text = civil.to_string();
                let mut around = Around { now: Timestamp::ZERO, zone: &zone, cache: &mut cache };
                prop_assert_eq!(head(&text, &mut around).map(|(time, _)| time), expected);
            }
        }
    }
}
