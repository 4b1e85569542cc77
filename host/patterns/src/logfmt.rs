//! `level=info msg="listening on :80" port=80`: keys are the shape, the message is mined, other values are values.

use crate::line::{is_message_key, is_telling_key, is_telling_value};
use crate::scan::{Sink, scan_range};

/// Least pairs of a line in this format.
const MIN_PAIRS: usize = 3;

/// One pair: `text[key.0..key.1]`, and the value without its quotes.
struct Pair {
    key: (usize, usize),
    value: (usize, usize),
    quoted: bool,
    end: usize,
}

/// Returns the pair at `at`.
fn pair(text: &[u8], at: usize) -> Option<Pair> {
    let length = text[at..]
        .iter()
        .take(64)
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'@'))
        .count();
    let equals = at + length;
    if length == 0 || text.get(equals) != Some(&b'=') {
        return None;
    }
    let start = equals + 1;
    let key = (at, equals);
    if text.get(start) == Some(&b'"') {
        let mut end = start + 1;
        loop {
            end += memchr::memchr2(b'"', b'\\', text.get(end..)?)?;
            if text[end] == b'"' {
                break;
            }
            end = (end + 2).min(text.len());
        }
        let after = text.get(end + 1).is_none_or(|byte| *byte <= b' ');
        return after.then_some(Pair { key, value: (start + 1, end), quoted: true, end: end + 1 });
    }
    let end = start + text[start..].iter().take_while(|byte| **byte > b' ').count();
    Some(Pair { key, value: (start, end), quoted: false, end })
}

fn skip_blanks(text: &[u8], at: usize) -> usize {
    at + text[at..].iter().take_while(|byte| **byte <= b' ').count()
}

/// Returns whether `text` is nothing but pairs.
pub(crate) fn is_logfmt(text: &[u8]) -> bool {
    let mut at = 0;
    let mut pairs = 0;
    while at < text.len() {
        let Some(pair) = pair(text, at) else { return false };
        pairs += 1;
        at = skip_blanks(text, pair.end);
    }
    pairs >= MIN_PAIRS
}

/// Reads what [`is_logfmt`] accepted.
pub(crate) fn read<S: Sink>(text: &[u8], sink: &mut S) {
    let mut at = 0;
    while at < text.len() {
        let Some(pair) = pair(text, at) else { return };
        if sink.taken() >= crate::scan::MAX_TOKENS {
            return sink.hole(text, at, text.len());
        }
        let (start, end) = pair.value;
        let key = &text[pair.key.0..pair.key.1];
        sink.word(text, pair.key.0, pair.key.1);
        sink.mark(text, pair.key.1);
        if is_message_key(key) {
            if pair.quoted {
                sink.mark(text, start - 1);
            }
            scan_range(text, start, end, sink);
            if pair.quoted {
                sink.mark(text, end);
            }
        } else if is_telling_key(key) && is_telling_value(&text[start..end]) && !pair.quoted {
            sink.word(text, start, end);
        } else {
            sink.hole(text, pair.key.1 + 1, pair.end);
        }
        at = skip_blanks(text, pair.end);
    }
}
