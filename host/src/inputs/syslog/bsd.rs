//! The older form of syslog (RFC 3164), which is less a format than what programs have been seen to send: time, host, tag and text,
//! of which any may be missing; Cisco's numbered messages; and times as RFC 5424 writes them.

use watchfire_types::{Severity, Timestamp};

use super::message::Message;
use super::times::Times;

/// Tags have 32 characters at most in the RFC, and somewhat more in the world.
const MAX_TAG_BYTES: usize = 64;

/// Process ids, or what stands where one is expected.
const MAX_PROCESS_ID_BYTES: usize = 32;

/// Takes apart what follows a priority.
pub(super) fn parse<'a>(rest: &'a str, times: &mut Times) -> Message<'a> {
    let rest = rest.trim_start_matches(' ');
    dated(rest, times, true)
        .or_else(|| counted(rest, times))
        .or_else(|| epoch(rest))
        .unwrap_or_else(|| if rest.starts_with('%') { mnemonic(rest) } else { tagged(rest) })
}

/// Takes a message without a priority apart, if it begins with a time.
pub(super) fn parse_without_priority<'a>(text: &'a str, times: &mut Times) -> Option<Message<'a>> {
    dated(text, times, false)
}

/// Reads a time and what follows it. `is_syslog` says that this has been told by something else than the time.
fn dated<'a>(text: &'a str, times: &mut Times, is_syslog: bool) -> Option<Message<'a>> {
    let is_bsd = text.starts_with(|first: char| first.is_ascii_uppercase() || matches!(first, '*' | '.'));
    let (timestamp, rest) = if is_bsd { times.bsd(text)? } else { times.rfc3339(text)? };
    let message = if let Some(rest) = rest.strip_prefix(':') {
        // Cisco's devices end the time with a colon and name no host.
        after_host(rest.trim_start_matches(' '))
    } else if rest.is_empty() || rest.starts_with([' ', '\t']) {
        let rest = rest.trim_start_matches([' ', '\t']);
        let message = host_and_tag(rest);
        // Programs of other kinds write such times, too: there, what follows is a host only if a tag follows that.
        let is_plain = !is_bsd && !is_syslog && message.program.is_none();
        if is_plain { Message { text: rest, ..Message::default() } } else { message }
    } else {
        return None;
    };
    Some(Message { timestamp: Some(timestamp), ..message })
}

/// Reads a host, unless what stands there is a tag, which some send without one.
fn host_and_tag(text: &str) -> Message<'_> {
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    if !is_host(first) || Severity::from_text(first).is_some() {
        return after_host(text);
    }
    // `host : %ASA-6-302013: …`
    let rest = rest.trim_start_matches(' ');
    let rest = rest.strip_prefix(": ").unwrap_or(rest);
    Message { host: Some(first), ..after_host(rest) }
}

fn after_host(text: &str) -> Message<'_> {
    if text.starts_with('%') { mnemonic(text) } else { tagged(text) }
}

/// Returns whether `word` can be a host: a name, an address, or several as syslog-ng chains them (`origin/relay`).
fn is_host(word: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'/' | b'@' | b'%');
    word.bytes().all(is_allowed)
        && word.starts_with(|first: char| first.is_ascii_alphanumeric() || first == ':')
        && !word.ends_with(':')
}

/// Reads `program[123]: text`; without such a tag all of it is the text.
fn tagged(text: &str) -> Message<'_> {
    let whole = Message { text, ..Message::default() };
    let bytes = text.as_bytes();
    let early = &bytes[..bytes.len().min(MAX_TAG_BYTES + 1)];
    let Some(end) = early.iter().position(|byte| matches!(byte, b':' | b'[' | b' ' | b'\t' | b'=' | b'"' | b'{' | b',')) else {
        return whole;
    };
    let program = &text[..end];
    // `404:` and `ERROR:` name no program.
    if program.is_empty() || program.bytes().all(|byte| byte.is_ascii_digit()) || Severity::from_text(program).is_some() {
        return whole;
    }
    let (process_id, rest) = match bytes[end] {
        b':' => (None, &text[end + 1..]),
        b'[' => {
            let inner = &bytes[end + 1..];
            let Some(length) = inner[..inner.len().min(MAX_PROCESS_ID_BYTES + 1)].iter().position(|byte| *byte == b']') else {
                return whole;
            };
            let Some(rest) = text[end + 1 + length + 1..].strip_prefix(':') else { return whole };
            (Some(&text[end + 1..end + 1 + length]), rest)
        }
        _ => return whole,
    };
    // `http://…` and `12:30` are no tags.
    if !(rest.is_empty() || rest.starts_with([' ', '\t'])) {
        return whole;
    }
    let process_id = process_id.filter(|id| !id.is_empty());
    Message { program: Some(program), process_id, text: rest.strip_prefix([' ', '\t']).unwrap_or(rest), ..Message::default() }
}

/// Reads Cisco's `%ASA-6-302013: text`, which stays in the text.
fn mnemonic(text: &str) -> Message<'_> {
    let name = text[1..].split_once(':').map_or("", |(name, _)| name);
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_mnemonic = name.len() <= MAX_TAG_BYTES && name.split('-').count() >= 3 && name.bytes().all(is_allowed);
    if !is_mnemonic {
        return Message { text, ..Message::default() };
    }
    Message { program: name.split('-').next(), message_id: Some(name), text, ..Message::default() }
}

/// Reads Cisco's `45: router1: 000123: *Nov 22 23:44:07.123: %SYS-5-CONFIG_I: text`: numbers and a name before the time.
fn counted<'a>(text: &'a str, times: &mut Times) -> Option<Message<'a>> {
    let (mut sequence, mut host, mut rest) = (None, None, text);
    for _ in 0..3 {
        let (word, after) = rest.split_once(": ").filter(|(word, _)| word.len() <= MAX_TAG_BYTES)?;
        match word.parse() {
            Ok(number) if word.bytes().all(|byte| byte.is_ascii_digit()) => sequence = Some(number),
            _ if sequence.is_some() && host.is_none() && is_host(word) => host = Some(word),
            _ => return None,
        }
        rest = after.trim_start_matches(' ');
        let message = if rest.starts_with('%') { Some(mnemonic(rest)) } else { dated(rest, times, true) };
        if let Some(message) = message {
            return Some(Message { sequence, host: host.or(message.host), ..message });
        }
    }
    None
}

/// Reads `1 1795392600.123 host text`, as Meraki's devices write it.
fn epoch(text: &str) -> Option<Message<'_>> {
    let (time, rest) = text.strip_prefix("1 ")?.split_once(' ')?;
    let (seconds, decimals) = time.split_once('.').unwrap_or((time, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if seconds.len() != 10 || decimals.len() > 9 || !is_number(seconds) || !is_number(decimals) {
        return None;
    }
    let nanos = format!("{decimals:0<9}").parse::<u64>().ok()?;
    let timestamp = Timestamp::from_nanos(seconds.parse::<u64>().ok()? * 1_000_000_000 + nanos);
    Some(Message { timestamp: Some(timestamp), ..host_and_tag(rest) })
}
