//! One JSON object a line: the keys are the shape, the message is mined, other values are values.

use memchr::memchr2;

use crate::line::{is_message_key, is_telling_key, is_telling_value};
use crate::scan::{MAX_TOKENS, Sink, scan_range};

/// A key and its value, as ranges of the text; those of texts without their quotes.
struct Member {
    key: (usize, usize),
    value: (usize, usize),
    is_text: bool,
    /// Behind the value.
    end: usize,
}

fn skip_blanks(text: &[u8], at: usize) -> usize {
    at + text[at.min(text.len())..].iter().take_while(|byte| **byte <= b' ').count()
}

/// Returns where the text that begins with the quote at `at` ends: at its closing quote.
fn string_end(text: &[u8], at: usize) -> Option<usize> {
    let mut end = at + 1;
    loop {
        end += memchr2(b'"', b'\\', text.get(end..)?)?;
        if text[end] == b'"' {
            return Some(end);
        }
        end += 2;
    }
}

/// Returns where the value at `at` ends. Of nested values only the brackets are looked at.
fn value_end(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at)? {
        b'"' => Some(string_end(text, at)? + 1),
        b'{' | b'[' => {
            let mut depth = 0_u32;
            let mut here = at;
            loop {
                match text.get(here)? {
                    b'"' => here = string_end(text, here)?,
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => {
                        depth -= 1;
                        if depth == 0 {
                            return Some(here + 1);
                        }
                    }
                    _ => {}
                }
                here += 1;
            }
        }
        byte if byte.is_ascii_alphanumeric() || *byte == b'-' => Some(
            at + text[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')).count(),
        ),
        _ => None,
    }
}

fn member(text: &[u8], at: usize) -> Option<Member> {
    if text.get(at) != Some(&b'"') {
        return None;
    }
    let key_end = string_end(text, at)?;
    let colon = skip_blanks(text, key_end + 1);
    if text.get(colon) != Some(&b':') {
        return None;
    }
    let start = skip_blanks(text, colon + 1);
    let end = value_end(text, start)?;
    let is_text = text[start] == b'"';
    let value = if is_text { (start + 1, end - 1) } else { (start, end) };
    Some(Member { key: (at + 1, key_end), value, is_text, end })
}

/// Calls `each` for every member; returns whether the text is one object with at least one member and nothing behind it.
fn members(text: &[u8], mut each: impl FnMut(&Member) -> bool) -> bool {
    let mut at = skip_blanks(text, 1);
    loop {
        let Some(member) = member(text, at) else { return false };
        if !each(&member) {
            return true;
        }
        at = skip_blanks(text, member.end);
        match text.get(at) {
            Some(b',') => at = skip_blanks(text, at + 1),
            Some(b'}') => return skip_blanks(text, at + 1) == text.len(),
            _ => return false,
        }
    }
}

/// Returns whether `text`, which begins with a brace, is one JSON object.
pub(crate) fn is_object(text: &[u8]) -> bool {
    members(text, |_| true)
}

/// Reads what [`is_object`] accepted.
pub(crate) fn read<S: Sink>(text: &[u8], sink: &mut S) {
    sink.mark(text, 0);
    let mut last = 1;
    members(text, |member| {
        let (start, end) = member.value;
        if sink.taken() >= MAX_TOKENS {
            sink.hole(text, member.key.0 - 1, text.len());
            last = text.len();
            return false;
        }
        if let Some(comma) = memchr::memchr(b',', &text[last..member.key.0]) {
            sink.mark(text, last + comma);
        }
        let key = &text[member.key.0..member.key.1];
        sink.mark(text, member.key.0 - 1);
        sink.word(text, member.key.0, member.key.1);
        sink.mark(text, member.key.1);
        if let Some(colon) = memchr::memchr(b':', &text[member.key.1..start]) {
            sink.mark(text, member.key.1 + colon);
        }
        if member.is_text && is_message_key(key) {
            sink.mark(text, start - 1);
            scan_range(text, start, end, sink);
            sink.mark(text, end);
        } else if member.is_text && is_telling_key(key) && is_telling_value(&text[start..end]) {
            sink.mark(text, start - 1);
            sink.word(text, start, end);
            sink.mark(text, end);
        } else {
            let quote = usize::from(member.is_text);
            sink.hole(text, start - quote, end + quote);
        }
        last = member.end;
        true
    });
    if last < text.len()
        && let Some(brace) = memchr::memrchr(b'}', &text[last..])
    {
        sink.mark(text, last + brace);
    }
}
