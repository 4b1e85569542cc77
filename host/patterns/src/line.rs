//! One line: the header is skipped, the kind of text is told, and its elements go to a sink.

use crate::header::message_start;
use crate::scan::{MAX_BYTES, Sink, scan};
use crate::{json, logfmt};

/// Returns the part of `line` that is mined.
pub(crate) fn message(line: &[u8]) -> &[u8] {
    let line = &line[..line.len().min(MAX_BYTES)];
    let line = line.trim_ascii_end();
    &line[message_start(line)..]
}

/// Hands the elements of the message of `line` to `sink`. Offsets are those of [`message`].
#[inline]
pub(crate) fn read<S: Sink>(line: &[u8], sink: &mut S) {
    let text = message(line);
    match text.first() {
        Some(b'{') if json::is_object(text) => json::read(text, sink),
        Some(byte) if byte.is_ascii_alphabetic() && logfmt::is_logfmt(text) => logfmt::read(text, sink),
        _ => scan(text, 0, sink),
    }
    if line.len() > MAX_BYTES {
        sink.hole(text, text.len(), text.len());
    }
}

/// Keys under which the message stands.
pub(crate) fn is_message_key(key: &[u8]) -> bool {
    [&b"msg"[..], b"message", b"log", b"body", b"text", b"MESSAGE", b"@message", b"short_message"].contains(&key)
}

/// Keys whose values belong to the pattern, since there are few and they say what happened.
pub(crate) fn is_telling_key(key: &[u8]) -> bool {
    [&b"level"[..], b"lvl", b"severity", b"event", b"type", b"kind", b"action", b"op", b"operation", b"error_code", b"event_type"]
        .iter()
        .any(|telling| key.eq_ignore_ascii_case(telling))
}

/// Returns whether the value of a telling key is a word rather than a value.
pub(crate) fn is_telling_value(value: &[u8]) -> bool {
    (1..=32).contains(&value.len())
        && value.iter().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-' | b'.' | b':'))
}
