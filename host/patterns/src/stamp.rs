//! Times as programs write them at the beginning of a line.

/// What kind of time it is, where the rest of the header depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stamp {
    /// `Nov 24 05:37:20`: a host follows.
    Syslog,
    /// `2026-11-24T05:37:20Z`.
    Iso,
    /// A number of seconds or milliseconds since 1970.
    Epoch,
    /// Any other.
    Other,
}

const MONTHS: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
const DAYS: &[u8] = b"MonTueWedThuFriSatSun";

/// Reads a time at the beginning of `text`; returns its kind and its end.
pub(crate) fn read(text: &[u8]) -> Option<(Stamp, usize)> {
    match text.first()? {
        b'[' => {
            let inside = &text[1..];
            let blanks = inside.iter().take(8).take_while(|byte| **byte == b' ').count();
            if let Some(end) = uptime(&inside[blanks..]) {
                return Some((Stamp::Other, 1 + blanks + end));
            }
            let (_, end) = read_bare(&inside[blanks..])?;
            let end = 1 + blanks + end;
            (text.get(end) == Some(&b']')).then_some((Stamp::Other, end + 1))
        }
        b'0'..=b'9' | b'A'..=b'Z' => read_bare(text),
        _ => None,
    }
}

/// `    0.123456]`, as the kernel counts.
fn uptime(text: &[u8]) -> Option<usize> {
    let (whole, end) = digits(text, 0);
    let (fraction, end) = digits(text, (whole > 0 && text.get(end) == Some(&b'.')).then_some(end + 1)?);
    (fraction == 6 && text.get(end) == Some(&b']')).then_some(end + 1)
}

fn read_bare(text: &[u8]) -> Option<(Stamp, usize)> {
    let first = *text.first()?;
    if first.is_ascii_digit() { numeric(text) } else { named(text) }
}

/// Returns how many digits stand at `at`, and where they end.
fn digits(text: &[u8], at: usize) -> (usize, usize) {
    let count = text[at.min(text.len())..].iter().take(20).take_while(|byte| byte.is_ascii_digit()).count();
    (count, at + count)
}

fn is_name(text: &[u8], names: &[u8]) -> bool {
    text.len() >= 3 && names.chunks_exact(3).any(|name| name == &text[..3]) && !text.get(3).is_some_and(u8::is_ascii_alphabetic)
}

fn skip_blanks(text: &[u8], at: usize) -> usize {
    at + text[at.min(text.len())..].iter().take_while(|byte| **byte == b' ').count()
}

/// Times that begin with the name of a day or a month, or a letter for the level (`I0102 …`).
fn named(text: &[u8]) -> Option<(Stamp, usize)> {
    if matches!(text[0], b'I' | b'W' | b'E' | b'F') && text.get(1).is_some_and(u8::is_ascii_digit) {
        let (count, end) = digits(text, 1);
        let end = if count == 4 { clock(text, skip_blanks(text, end))? } else { return None };
        // The thread and the place in the source, up to the bracket.
        let close = memchr::memchr(b']', &text[..text.len().min(end + 80)])?;
        return Some((Stamp::Other, close + 1));
    }
    let mut at = 0;
    let with_day = is_name(text, DAYS);
    if with_day {
        at = skip_blanks(text, if text.get(3) == Some(&b',') { 4 } else { 3 });
    }
    if with_day && text.get(at).is_some_and(u8::is_ascii_digit) {
        return numeric(&text[at..]).map(|(_, end)| (Stamp::Other, at + end));
    }
    if !is_name(text.get(at..)?, MONTHS) {
        return None;
    }
    at = skip_blanks(text, at + 3);
    let (count, end) = digits(text, at);
    if !(1..=2).contains(&count) {
        return None;
    }
    at = skip_blanks(text, if text.get(end) == Some(&b',') { end + 1 } else { end });
    // A year before the time, as some devices write it.
    let (count, end) = digits(text, at);
    let mut had_year = count == 4 && text.get(end).is_some_and(|byte| matches!(byte, b' ' | b','));
    if had_year {
        at = skip_blanks(text, end + usize::from(text[end] == b','));
    }
    at = clock(text, at)?;
    // A year, or a zone and a year, after it.
    let mut after = skip_blanks(text, at);
    if with_day {
        let zone = text[after.min(text.len())..].iter().take_while(|byte| byte.is_ascii_uppercase()).count();
        if (2..=5).contains(&zone) && text.get(after + zone) == Some(&b' ') {
            after = skip_blanks(text, after + zone);
        }
        let (count, end) = digits(text, after);
        if count == 4 {
            at = end;
            had_year = true;
        }
    }
    Some((if had_year { Stamp::Other } else { Stamp::Syslog }, at))
}

/// `05:37`, `05:37:20`, `05:37:20.123`, `05:37:20,123Z`, `05.37.20.123`, `053720`. Returns the end.
fn clock(text: &[u8], at: usize) -> Option<usize> {
    let (count, mut end) = digits(text, at);
    if count == 6 {
        return Some(end);
    }
    if !(1..=2).contains(&count) {
        return None;
    }
    let separator = *text.get(end).filter(|byte| matches!(byte, b':' | b'.'))?;
    let (count, next) = digits(text, end + 1);
    if count != 2 {
        return None;
    }
    end = next;
    if text.get(end) == Some(&separator) {
        let (count, next) = digits(text, end + 1);
        if count != 2 {
            return None;
        }
        end = next;
    } else if separator == b'.' {
        return None;
    }
    if matches!(text.get(end), Some(b'.' | b',' | b':')) {
        let (count, next) = digits(text, end + 1);
        if count > 0 && count <= 9 {
            end = next;
        }
    }
    Some(zone(text, end))
}

/// Skips `Z`, `+01:00`, ` +0100`, ` UTC`.
fn zone(text: &[u8], at: usize) -> usize {
    if text.get(at) == Some(&b'Z') {
        return at + 1;
    }
    for (name, length) in
        [(&b" UTC"[..], 4), (b" CET", 4), (b" CEST", 5), (b" GMT", 4), (b" EST", 4), (b" PST", 4), (b" AM", 3), (b" PM", 3)]
    {
        if text[at..].starts_with(name) && text.get(at + length).is_none_or(|byte| !byte.is_ascii_alphanumeric()) {
            return at + length;
        }
    }
    let sign = if text.get(at) == Some(&b' ') { at + 1 } else { at };
    if matches!(text.get(sign), Some(b'+' | b'-')) {
        let (count, end) = digits(text, sign + 1);
        if count == 4 {
            return end;
        }
        if count == 2 && text.get(end) == Some(&b':') && digits(text, end + 1).0 == 2 {
            return end + 3;
        }
        if count == 2 && sign == at {
            return end;
        }
    }
    at
}

/// Times that begin with a digit.
fn numeric(text: &[u8]) -> Option<(Stamp, usize)> {
    let (first, at) = digits(text, 0);
    let separator = text.get(at).copied().unwrap_or(b' ');
    let ends = |end: usize| text.get(end).is_none_or(|byte| matches!(byte, b' ' | b'\t' | b',' | b']' | b'|' | b':' | b'-'));
    match (first, separator) {
        // 05:37:20
        (1..=2, b':') => {
            let end = clock(text, 0)?;
            // `12:30` alone may be anything.
            (end >= 7 && ends(end)).then_some((Stamp::Other, end))
        }
        // 2026-11-24
        (4, b'-' | b'/' | b'.') => {
            let (month, next) = digits(text, at + 1);
            if !(1..=2).contains(&month) || text.get(next) != Some(&separator) {
                return None;
            }
            let (day, end) = digits(text, next + 1);
            if !(1..=2).contains(&day) {
                return None;
            }
            let kind = if separator == b'-' { Stamp::Iso } else { Stamp::Other };
            with_clock(text, end, kind).or_else(|| ends(end).then_some((Stamp::Other, end)))
        }
        // 10/Oct/2000:13:55:36 -0700, 24/11/26, 24-Nov-2026
        (1..=2, b'/' | b'-') => {
            let mut next = at + 1;
            if is_name(text.get(next..)?, MONTHS) {
                next += 3;
            } else {
                let (month, end) = digits(text, next);
                if month != 2 {
                    return None;
                }
                next = end;
            }
            if text.get(next) == Some(&separator) {
                let (year, end) = digits(text, next + 1);
                if year != 2 && year != 4 {
                    return None;
                }
                return with_clock(text, end, Stamp::Other);
            }
            with_clock(text, next, Stamp::Other)
        }
        // 10.30 16:49:06, 24.11.2026 05:37:20
        (2, b'.') => {
            let (month, mut end) = digits(text, at + 1);
            if month != 2 {
                return None;
            }
            if text.get(end) == Some(&b'.') {
                let (year, next) = digits(text, end + 1);
                if year != 2 && year != 4 {
                    return None;
                }
                end = next;
            }
            with_clock(text, end, Stamp::Other).filter(|_| text.get(end) == Some(&b' '))
        }
        // 24 Nov 2026 05:37:20
        (1..=2, b' ') => {
            let next = at + 1;
            if !is_name(text.get(next..)?, MONTHS) {
                return None;
            }
            let (year, end) = digits(text, skip_blanks(text, next + 3));
            if year == 4 {
                with_clock(text, end, Stamp::Other)
            } else {
                clock(text, skip_blanks(text, next + 3)).map(|end| (Stamp::Other, end))
            }
        }
        // 20261124-05:37:20, 20261124T053720
        (8, b'-' | b'T' | b' ' | b'_') => with_clock(text, at, Stamp::Other),
        // 081109 203615
        (6, b' ') => {
            let (count, end) = digits(text, at + 1);
            (count == 6 && ends(end)).then_some((Stamp::Other, end)).or_else(|| with_clock(text, at, Stamp::Other))
        }
        // Seconds or milliseconds.
        (10 | 13, _) => {
            let fraction = if separator == b'.' { digits(text, at + 1).0 } else { 0 };
            let end = if fraction > 0 { at + 1 + fraction } else { at };
            ends(end).then_some((Stamp::Epoch, end))
        }
        _ => None,
    }
}

/// A date that ends at `end`, and the time after it.
fn with_clock(text: &[u8], end: usize, kind: Stamp) -> Option<(Stamp, usize)> {
    let at = match text.get(end)? {
        b'T' | b'_' | b'-' | b':' | b'@' => end + 1,
        b' ' => skip_blanks(text, end),
        b',' if text.get(end + 1) == Some(&b' ') => end + 2,
        _ => return None,
    };
    clock(text, at).map(|end| (kind, end))
}
