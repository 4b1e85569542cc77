//! Takes one syslog message apart: RFC 5424, else the older form (`bsd`), else it is text.

use std::borrow::Cow;

use watchfire_types::Timestamp;

use super::bsd;
use super::times::Times;

/// The longest text of a priority: `<191>`.
const MAX_PRIORITY_DIGITS: usize = 3;

/// A message taken apart. What it does not say is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message<'a> {
    /// Facility times eight plus severity, 0 to 191.
    pub priority: Option<u8>,
    /// When it was written.
    pub timestamp: Option<Timestamp>,
    /// The machine.
    pub host: Option<&'a str>,
    /// The program: APP-NAME, or the tag without process id.
    pub program: Option<&'a str>,
    /// PROCID: usually, but not always, a number.
    pub process_id: Option<&'a str>,
    /// MSGID, or the mnemonic of Cisco's `%SYS-5-CONFIG_I:`.
    pub message_id: Option<&'a str>,
    /// The number that Cisco's devices count messages with.
    pub sequence: Option<i64>,
    /// Structured data as written, well formed: `[id name="value"][id …]`; empty if there is none.
    pub structured: &'a str,
    /// What is left; the whole message when nothing was recognised.
    pub text: &'a str,
    /// What kept it from being understood; the text is whole then.
    pub fault: Option<&'static str>,
}

impl<'a> Message<'a> {
    /// Returns a message of which nothing is understood.
    fn unread(text: &'a str, fault: &'static str) -> Self {
        Self { text, fault: Some(fault), ..Self::default() }
    }
}

/// Takes a message apart. `times` says in which zone and near which moment times are meant that leave these out.
#[must_use]
pub fn parse<'a>(text: &'a str, times: &mut Times) -> Message<'a> {
    match priority(text) {
        Priority::Given(priority, rest) => {
            let parsed = match rfc5424(rest) {
                Some((time, rest)) => after_version(time, rest, times),
                None => bsd::parse(rest, times),
            };
            Message { priority: Some(priority), ..parsed }
        }
        Priority::Absent => match bsd::parse_without_priority(text, times) {
            Some(parsed) => parsed,
            None => Message::unread(text, "it begins with neither a priority nor a time"),
        },
        Priority::Wrong => Message::unread(text, "its priority is not a number from 0 to 191"),
    }
}

enum Priority<'a> {
    Given(u8, &'a str),
    Absent,
    Wrong,
}

fn priority(text: &str) -> Priority<'_> {
    let Some(rest) = text.strip_prefix('<') else { return Priority::Absent };
    let digits = rest.bytes().take(MAX_PRIORITY_DIGITS + 1).take_while(u8::is_ascii_digit).count();
    let number = rest[..digits].parse::<u8>().ok().filter(|number| *number < 192);
    match (number, rest[digits..].strip_prefix('>')) {
        (Some(number), Some(rest)) if digits <= MAX_PRIORITY_DIGITS => Priority::Given(number, rest),
        (_, Some(_)) if digits > 0 => Priority::Wrong,
        // `<html>` and the like: text that happens to begin so.
        _ => Priority::Absent,
    }
}

/// Tells RFC 5424 by its version and what can only be its time. Returns the time as written and what follows.
fn rfc5424(rest: &str) -> Option<(&str, &str)> {
    let digits = rest.bytes().take(3).take_while(u8::is_ascii_digit).count();
    if digits == 0 || rest.starts_with('0') {
        return None;
    }
    let (time, rest) = field(rest[digits..].strip_prefix(' ')?);
    let is_time = time == "-" || time.len() >= 10 && time.as_bytes()[4] == b'-' && time.as_bytes()[7] == b'-';
    is_time.then_some((time, rest))
}

/// Reads what follows the version of RFC 5424, section 6: fields that end at a blank, structured data, text.
fn after_version<'a>(time: &'a str, rest: &'a str, times: &mut Times) -> Message<'a> {
    let (host, rest) = field(rest);
    let (program, rest) = field(rest);
    let (process_id, rest) = field(rest);
    let (message_id, rest) = field(rest);
    let mut message = Message {
        timestamp: times.rfc3339(time).filter(|(_, rest)| rest.is_empty()).map(|(time, _)| time),
        host: given(host),
        program: given(program),
        process_id: given(process_id),
        message_id: given(message_id),
        ..Message::default()
    };
    if message.timestamp.is_none() && time != "-" {
        message.fault = Some("its time is not one");
    }
    message.text = if rest == "-" {
        ""
    } else if let Some(text) = rest.strip_prefix("- ") {
        text
    } else if rest.starts_with('[') {
        if let Some(end) = structured_end(rest) {
            message.structured = &rest[..end];
            rest[end..].strip_prefix(' ').unwrap_or(&rest[end..])
        } else {
            message.fault = Some("its structured data are not well formed");
            rest
        }
    } else {
        // Some senders leave structured data out altogether.
        rest
    };
    // Section 6.4: a mark that the text is UTF-8, which it is by now.
    message.text = message.text.strip_prefix('\u{feff}').unwrap_or(message.text);
    message
}

/// Returns the text up to the next blank, and what follows it.
fn field(text: &str) -> (&str, &str) {
    match memchr::memchr(b' ', text.as_bytes()) {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, ""),
    }
}

fn given(field: &str) -> Option<&str> {
    (!field.is_empty() && field != "-").then_some(field)
}

/// Returns where well-formed structured data at the beginning of `text` end.
fn structured_end(text: &str) -> Option<usize> {
    let mut elements = Elements { rest: text };
    while elements.rest.starts_with('[') {
        let (_, mut parameters) = elements.next()?;
        while parameters.next().is_some() {}
        elements.rest = parameters.end()?;
    }
    Some(text.len() - elements.rest.len())
}

/// Calls `take` with element, name and value of every parameter of `structured`; without name and value for an element that has none.
pub fn parameters<'a>(structured: &'a str, take: &mut dyn FnMut(&'a str, Option<(&'a str, Cow<'a, str>)>)) {
    let mut elements = Elements { rest: structured };
    while let Some((id, mut parameters)) = elements.next() {
        let mut is_empty = true;
        while let Some((name, value)) = parameters.next() {
            is_empty = false;
            take(id, Some((name, unescaped(value))));
        }
        if is_empty {
            take(id, None);
        }
        let Some(rest) = parameters.end() else { return };
        elements.rest = rest;
    }
}

struct Elements<'a> {
    rest: &'a str,
}

impl<'a> Elements<'a> {
    fn next(&mut self) -> Option<(&'a str, Parameters<'a>)> {
        let (id, rest) = name(self.rest.strip_prefix('[')?)?;
        Some((id, Parameters { rest }))
    }
}

struct Parameters<'a> {
    rest: &'a str,
}

impl<'a> Parameters<'a> {
    /// Returns the next ` name="value"`, the value as written.
    fn next(&mut self) -> Option<(&'a str, &'a str)> {
        let (name, rest) = name(self.rest.trim_start_matches(' '))?;
        let value = rest.strip_prefix("=\"")?;
        let mut from = 0;
        loop {
            let position = from + memchr::memchr2(b'"', b'\\', &value.as_bytes()[from..])?;
            if value.as_bytes()[position] == b'"' {
                self.rest = &value[position + 1..];
                return Some((name, &value[..position]));
            }
            // The byte after a backslash is part of the value, whatever it is; it may be the first of several.
            from = (position + 2).min(value.len());
        }
    }

    /// Returns what follows the element, if it is closed here.
    fn end(&self) -> Option<&'a str> {
        self.rest.trim_start_matches(' ').strip_prefix(']')
    }
}

/// Reads an SD-NAME: printable ASCII but for `=`, blank, `]` and `"`.
fn name(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_graphic() || matches!(byte, b'=' | b']' | b'"')).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// Undoes the escapes of section 6.3.3: `\"`, `\\` and `\]`. A backslash before anything else is itself.
fn unescaped(value: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\\', value.as_bytes()).is_none() {
        return Cow::Borrowed(value);
    }
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.chars().peekable();
    while let Some(character) = characters.next() {
        match characters.peek() {
            Some('"' | '\\' | ']') if character == '\\' => plain.extend(characters.next()),
            _ => plain.push(character),
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
