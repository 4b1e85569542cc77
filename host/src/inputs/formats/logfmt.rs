//! logfmt: `time=… level=warn msg="disk is filling" disk=/dev/sda1`.

use std::borrow::Cow;

use watchfire_types::Severity;
use watchfire_types::log::unhex;

use super::parsed::{Field, Parsed};
use super::times::{self, Around};

/// Keys of which one must be there before a line counts as logfmt unasked: prose has equals signs, too.
const TELLING: [&str; 12] = ["level", "lvl", "msg", "message", "time", "ts", "t", "severity", "err", "error", "caller", "logger"];

/// Reads a line; `None` if it is not logfmt from end to end, or, unless it is `expected`, might as well be something else.
#[must_use]
pub fn parse<'a>(line: &'a str, expected: bool, around: &mut Around<'_>) -> Option<Parsed<'a>> {
    // Its first key ends before the first blank.
    let equals = memchr::memchr2(b'=', b' ', line.as_bytes())?;
    if line.as_bytes()[equals] != b'=' || !is_key(&line[..equals]) {
        return None;
    }
    let mut parsed = Parsed::default();
    let (mut pairs, mut told, mut has_body) = (0, expected, false);
    let mut rest = line;
    while !rest.is_empty() {
        let (key, value, after) = pair(rest)?;
        rest = after.trim_start_matches(' ');
        pairs += 1;
        told = told || TELLING.contains(&key);
        match (key, &value) {
            ("time" | "ts" | "t" | "timestamp", value) if parsed.timestamp.is_none() => {
                parsed.timestamp = times::whole(value, around);
                if parsed.timestamp.is_none() {
                    parsed.attributes.push((Cow::Borrowed(key), text(value.clone())));
                }
            }
            ("level" | "lvl" | "severity", Cow::Borrowed(word)) if parsed.severity == Severity::UNSET => {
                parsed.level(word);
                if parsed.severity == Severity::UNSET {
                    parsed.text(key, word);
                }
            }
            ("msg" | "message", value) if !has_body => {
                has_body = true;
                parsed.body = Field::Text(value.clone());
            }
            ("logger", Cow::Borrowed(name)) if parsed.scope.is_empty() => parsed.scope = Cow::Borrowed(name),
            ("trace_id" | "traceID" | "traceId", value) if parsed.trace_id == [0; 16] => match unhex(value) {
                Some(id) => parsed.trace_id = id,
                None => parsed.attributes.push((Cow::Borrowed(key), text(value.clone()))),
            },
            ("span_id" | "spanID" | "spanId", value) if parsed.span_id == [0; 8] => match unhex(value) {
                Some(id) => parsed.span_id = id,
                None => parsed.attributes.push((Cow::Borrowed(key), text(value.clone()))),
            },
            ("service" | "service.name", value) if parsed.service.is_none() => parsed.service = Some(value.clone()),
            _ => parsed.attributes.push((Cow::Borrowed(key), text(value))),
        }
    }
    if !told || (pairs < 2 && !expected) {
        return None;
    }
    if !has_body {
        // What it says is in its pairs: as a body, the line itself.
        parsed.body = Field::text(line);
    }
    Some(parsed)
}

fn text(value: Cow<'_, str>) -> Field<'_> {
    match value {
        Cow::Borrowed(value) => Field::bare(value),
        owned @ Cow::Owned(_) => Field::Text(owned),
    }
}

/// Reads one pair, or a bare key; returns what follows it.
fn pair(text: &str) -> Option<(&str, Cow<'_, str>, &str)> {
    let end = memchr::memchr2(b'=', b' ', text.as_bytes()).unwrap_or(text.len());
    let key = &text[..end];
    if !is_key(key) {
        return None;
    }
    let Some(value) = text[end..].strip_prefix('=') else { return Some((key, Cow::Borrowed("true"), &text[end..])) };
    if let Some(quoted) = value.strip_prefix('"') {
        let (value, rest) = unquote(quoted)?;
        return (rest.is_empty() || rest.starts_with(' ')).then_some((key, value, rest));
    }
    let end = memchr::memchr(b' ', value.as_bytes()).unwrap_or(value.len());
    Some((key, Cow::Borrowed(&value[..end]), &value[end..]))
}

fn is_key(key: &str) -> bool {
    !key.is_empty()
        && key.len() <= 128
        && !key.as_bytes()[0].is_ascii_digit()
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/' | b'@'))
}

/// Reads up to the closing quote.
fn unquote(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let end = memchr::memchr2(b'"', b'\\', text.as_bytes())?;
    if text.as_bytes()[end] == b'"' {
        return Some((Cow::Borrowed(&text[..end]), &text[end + 1..]));
    }
    let mut value = String::with_capacity(text.len().min(256));
    let mut chars = text.char_indices();
    while let Some((index, char)) = chars.next() {
        match char {
            '"' => return Some((Cow::Owned(value), &text[index + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                'r' => value.push('\r'),
                'u' => {
                    let start = index + 2;
                    let code = text.get(start..start + 4).and_then(|digits| u32::from_str_radix(digits, 16).ok())?;
                    value.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                    chars.nth(3);
                }
                other => value.push(other),
            },
            char => value.push(char),
        }
    }
    None
}
