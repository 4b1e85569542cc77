//! glog and klog: `I1124 05:37:20.123456   12345 server.go:123] message`.

use super::parsed::{Field, Parsed};
use super::times::{self, Around};

/// Reads a line; `None` if it is none of these.
#[must_use]
pub fn parse<'a>(line: &'a str, around: &mut Around<'_>) -> Option<Parsed<'a>> {
    let bytes = line.as_bytes();
    if !matches!(bytes.first()?, b'I' | b'W' | b'E' | b'F') || !bytes.get(1)?.is_ascii_digit() {
        return None;
    }
    let date = bytes[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (timestamp, after) = match date {
        // Of this year, or the last.
        4 => {
            let number = |range: std::ops::Range<usize>| line.get(range)?.parse::<i8>().ok();
            let (month, day) = (number(1..3)?, number(3..5)?);
            if bytes.get(5)? != &b' ' || bytes.get(8)? != &b':' || bytes.get(11)? != &b':' || bytes.get(14)? != &b'.' {
                return None;
            }
            let clock = (number(6..8)?, number(9..11)?, number(12..14)?.min(59));
            let fraction = bytes[15..].iter().take_while(|byte| byte.is_ascii_digit()).count().min(9);
            let nanos: i32 = line.get(15..15 + fraction)?.parse::<i32>().ok()? * 10_i32.pow(9 - fraction as u32);
            if !(0..24).contains(&clock.0) || !(0..60).contains(&clock.1) {
                return None;
            }
            (times::without_year(month.into(), day.into(), (clock.0, clock.1, clock.2, nanos), around)?, 15 + fraction)
        }
        8 => times::head(line.get(1..)?, around).map(|(time, end)| (time, end + 1))?,
        _ => return None,
    };
    let rest = line.get(after..)?.trim_start_matches(' ');
    let (thread, rest) = rest.split_once(' ')?;
    let (place, message) = rest.trim_start_matches(' ').split_once(']')?;
    let (file, number) = place.rsplit_once(':')?;
    if file.contains(' ') || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut parsed = Parsed::message(message.strip_prefix(' ').unwrap_or(message));
    parsed.timestamp = Some(timestamp);
    parsed.level(&line[..1]);
    if thread.bytes().all(|byte| byte.is_ascii_digit()) {
        parsed.number("thread.id", thread);
    } else {
        parsed.attribute("thread.id", Field::text(thread));
    }
    parsed.text("code.file.path", file);
    parsed.number("code.line.number", number);
    Some(parsed)
}
