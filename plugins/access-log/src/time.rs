//! The times that nginx writes, in nanoseconds since 1970.

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Reads `24/Nov/2026:05:37:20 +0100`.
#[must_use]
pub fn local(text: &str) -> Option<u64> {
    let month = MONTHS.iter().position(|month| text.get(3..6) == Some(month))? as i64 + 1;
    at(number(text, 7, 4)?, month, number(text, 0, 2)?, text.get(12..20)?, text.get(21..)?)
}

/// Reads `2026-11-24T05:37:20+01:00`.
#[must_use]
pub fn iso8601(text: &str) -> Option<u64> {
    at(number(text, 0, 4)?, number(text, 5, 2)?, number(text, 8, 2)?, text.get(11..19)?, text.get(19..)?)
}

/// Reads `1795498640.123`.
#[must_use]
pub fn msec(text: &str) -> Option<u64> {
    let (seconds, millis) = text.split_once('.')?;
    let seconds: u64 = seconds.parse().ok()?;
    seconds.checked_mul(1_000)?.checked_add(millis.parse().ok().filter(|millis| *millis < 1_000)?)?.checked_mul(1_000_000)
}

fn at(year: i64, month: i64, day: i64, clock: &str, zone: &str) -> Option<u64> {
    if !(1970..2262).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let sign = match zone.get(..1)? {
        "+" => 1,
        "-" => -1,
        "Z" => 0,
        _ => return None,
    };
    let offset = if sign == 0 {
        0
    } else {
        let digits: String = zone[1..].chars().filter(|char| *char != ':').collect();
        sign * (number(&digits, 0, 2)? * 3600 + number(&digits, 2, 2)? * 60)
    };
    let second = number(clock, 0, 2)? * 3600 + number(clock, 3, 2)? * 60 + number(clock, 6, 2)?;
    // Howard Hinnant's days_from_civil.
    let from_march = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (from_march / 400, from_march % 400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    u64::try_from(days * 86_400 + second - offset).ok()?.checked_mul(1_000_000_000)
}

fn number(text: &str, at: usize, count: usize) -> Option<i64> {
    let digits = text.get(at..at + count)?;
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_spellings_are_one_moment() {
        let moment = Some(1_795_495_040_000_000_000);
        assert_eq!(local("24/Nov/2026:05:37:20 +0100"), moment);
        assert_eq!(iso8601("2026-11-24T05:37:20+01:00"), moment);
        assert_eq!(msec("1795495040.000"), moment);
        assert_eq!([local("24/Foo/2026:05:37:20 +0100"), iso8601("2026-13-24T05:37:20Z"), iso8601("é"), msec("1")], [None; 4]);
    }
}
