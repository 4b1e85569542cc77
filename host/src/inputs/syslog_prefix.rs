//! What stands before the message in a line of a log file: time, host, program, process id, level.
//!
//! Source: RFC 3164, section 4.1, as daemons write it to files (usually without the priority); and the ISO 8601 form that rsyslog
//! writes since version 8 (`RSYSLOG_FileFormat`).

use jiff::tz::TimeZone;
use watchfire_types::{Severity, Timestamp};

use super::time;

/// A line taken apart. What it does not have is `None`, empty or unset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line<'a> {
    /// When it was written.
    pub timestamp: Option<Timestamp>,
    /// The machine.
    pub host: Option<&'a str>,
    /// The program.
    pub program: Option<&'a str>,
    /// Its process id.
    pub process_id: Option<i64>,
    /// From the priority, else from a level word early in the message.
    pub severity: Severity,
    /// That word as written.
    pub severity_text: &'a str,
    /// What is left; the whole line when nothing was recognised.
    pub message: &'a str,
}

/// Takes a line apart. Times without a year or a zone are meant in `zone` and lie at most a day after `now`.
#[must_use]
pub fn parse<'a>(line: &'a str, now: Timestamp, zone: &TimeZone) -> Line<'a> {
    let (priority, rest) = priority(line).unwrap_or((None, line));
    let mut parsed = if let Some((timestamp, rest)) = rfc3164_time(rest, now, zone) {
        // With its time a line of this kind always has its host.
        let (host, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let mut parsed = tagged(rest.trim_start());
        parsed.host = Some(host).filter(|host| !host.is_empty());
        Line { timestamp: Some(timestamp), ..parsed }
    } else if let Some((timestamp, rest)) = iso_time(rest, zone) {
        Line { timestamp: Some(timestamp), ..after_iso_time(rest) }
    } else if priority.is_some() {
        tagged(rest)
    } else {
        Line { message: line, ..Line::default() }
    };
    let (severity, text) = find_level(parsed.message).unwrap_or_default();
    parsed.severity = priority.unwrap_or(severity);
    parsed.severity_text = text;
    parsed
}

/// Reads `<PRI>`, the facility times eight plus the severity.
fn priority(line: &str) -> Option<(Option<Severity>, &str)> {
    let (number, rest) = line.strip_prefix('<')?.split_once('>')?;
    let number: u8 = number.parse().ok().filter(|number| *number < 192)?;
    Some((Some(Severity::from_syslog(number)), rest))
}

/// Reads `Nov 22 23:44:07 `.
fn rfc3164_time<'a>(line: &'a str, now: Timestamp, zone: &TimeZone) -> Option<(Timestamp, &'a str)> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let head = line.get(..15).filter(|head| head.is_ascii())?;
    let rest = line[15..].strip_prefix(' ')?;
    let month = MONTHS.iter().position(|month| *month == &head[..3])? as i8 + 1;
    if &head[3..4] != " " || &head[6..7] != " " || &head[9..10] != ":" || &head[12..13] != ":" {
        return None;
    }
    let number = |range: std::ops::Range<usize>| digits(head[range].trim_start_matches(' '));
    let (day, hour, minute, second) = (number(4..6)?, number(7..9)?, number(10..12)?, number(13..15)?);
    // A leap second is written as 60.
    let clock = (hour, minute, second.min(59), 0);
    Some((time::with_inferred_year(month, day, clock, now, zone)?, rest))
}

fn digits(text: &str) -> Option<i8> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Reads `2026-11-22T23:44:07.123456+01:00 `, or the same with a blank for `T`, a comma for the point, or no zone.
fn iso_time<'a>(line: &'a str, zone: &TimeZone) -> Option<(Timestamp, &'a str)> {
    let bytes = line.as_bytes();
    let looks_right = bytes.len() > 19
        && bytes[..19].iter().enumerate().all(|(index, byte)| match index {
            4 | 7 => *byte == b'-',
            10 => matches!(byte, b'T' | b' '),
            13 | 16 => *byte == b':',
            _ => byte.is_ascii_digit(),
        });
    if !looks_right {
        return None;
    }
    let end = 19 + line[19..].find([' ', '\t', ']', '|']).unwrap_or(line.len() - 19);
    let timestamp = time::parse(&line[..end], zone)?;
    // A zone may stand apart, as in `2026-11-22 23:44:07 +0100`; it is left in the message rather than guessed.
    Some((timestamp, line[end..].trim_start_matches([' ', '\t'])))
}

/// Reads what follows an ISO time: `host program[123]: message` if it looks like that, else all of it is the message.
pub(super) fn after_iso_time(rest: &str) -> Line<'_> {
    if let Some((host, after)) = rest.split_once(' ')
        && !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':'))
        && !host.ends_with(':')
        && Severity::from_text(host).is_none()
    {
        let parsed = tagged(after);
        if parsed.program.is_some() || after.starts_with("last message repeated ") {
            return Line { host: Some(host), ..parsed };
        }
    }
    Line { message: rest, ..Line::default() }
}

/// Reads `program[123]: message`; without such a tag all of it is the message.
pub(super) fn tagged(text: &str) -> Line<'_> {
    let whole = Line { message: text, ..Line::default() };
    let Some((tag, message)) = text.split_once(':') else { return whole };
    let (program, process_id) = match tag.strip_suffix(']').and_then(|tag| tag.rsplit_once('[')) {
        Some((program, id)) => (program, id.parse().ok()),
        None => (tag, None),
    };
    // Tags have 32 characters at most in the RFC, and somewhat more in the world.
    let fits = !program.is_empty() && program.len() <= 64 && !program.contains([' ', '\t', '=', '"', '{']);
    // `http://…` and `12:30` are no tags.
    if !fits || !(message.is_empty() || message.starts_with([' ', '\t'])) {
        return whole;
    }
    Line { program: Some(program), process_id, message: message.trim_start_matches([' ', '\t']), ..Line::default() }
}

/// Finds a level word early in a message: `ERROR`, `[warn]`, `error:`, `level=error`, `"level":"error"`.
#[must_use]
pub fn find_level(message: &str) -> Option<(Severity, &str)> {
    let mut end = message.len().min(96);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    let early = &message[..end];
    // Without one of these there is no key to look for, and most messages have none early.
    let has_keys = memchr::memchr2(b'=', b'"', early.as_bytes()).is_some();
    for key in ["level=", "lvl=", "severity=", "\"level\":", "\"severity\":"] {
        if has_keys && let Some(position) = early.find(key) {
            let value = early[position + key.len()..].trim_start().trim_start_matches('"');
            let word = value.split(|char: char| !char.is_ascii_alphabetic()).next().unwrap_or("");
            if let Some(severity) = Severity::from_text(word) {
                return Some((severity, word));
            }
        }
    }
    for (index, token) in early.split_ascii_whitespace().take(6).enumerate() {
        let word = token.trim_matches(|char: char| !char.is_ascii_alphanumeric());
        let is_set_off = token.starts_with(['[', '<', '(', '|']) || token.ends_with(':') && index == 0;
        let is_shouted = word.len() >= 3 && word.bytes().all(|byte| byte.is_ascii_uppercase());
        if (is_set_off || is_shouted)
            && (word.len() > 1 || token.starts_with('['))
            && let Some(severity) = Severity::from_text(word)
        {
            return Some((severity, word));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-23T00:10:00Z".parse().unwrap()
    }

    fn show(line: &str) -> String {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let line = parse(line, now(), &zone);
        let time = line.timestamp.map(|time| time.to_string()).unwrap_or_default();
        format!(
            "{time}|{}|{}|{}|{}|{}",
            line.host.unwrap_or_default(),
            line.program.unwrap_or_default(),
            line.process_id.map(|id| id.to_string()).unwrap_or_default(),
            line.severity,
            line.message
        )
    }

    #[test]
    fn lines_of_files_are_taken_apart() {
        let lines = [
            "Nov 22 23:44:07 web1 sshd[123]: Failed password for root",
            "Nov  2 03:04:05 web1 kernel: [   12.5] usb 1-1: new device",
            "<11>Nov 22 23:44:07 web1 app: it broke",
            "2026-11-22T23:44:07.123456+01:00 web1 postfix/smtpd[77]: ERROR: no route",
            "2026-11-22T23:44:07.123456+01:00 web1 (systemd)[9]: started",
            "2026-11-22 23:44:07,500 WARNING app.module careful: now",
            "2026-11-22T22:44:07Z INFO starting: up",
            "Nov 22 23:44:07 web1 last message repeated 2 times",
            "2026-11-22T23:44:07+01:00 web1 last message repeated 2 times",
            "Nov 24 23:44:07 web1 app: written last year",
            "Nov 23 23:44:07 web1 app: at most a day ahead",
            "Feb 29 10:00:00 web1 app: in the last leap year",
            "ts=1 level=error msg=\"x\"",
            "[warn] disk is filling",
            "information about nothing in particular",
            "Foo 22 23:44:07 web1 app: no such month",
            "GET http://example.com/ 200",
            "",
        ];
        let shown: Vec<String> = lines.into_iter().map(show).collect();
        insta::assert_snapshot!(shown.join("\n"), @r#"
        2026-11-22T22:44:07Z|web1|sshd|123||Failed password for root
        2026-11-02T02:04:05Z|web1|kernel|||[   12.5] usb 1-1: new device
        2026-11-22T22:44:07Z|web1|app||ERROR|it broke
        2026-11-22T22:44:07.123456Z|web1|postfix/smtpd|77|ERROR|ERROR: no route
        2026-11-22T22:44:07.123456Z|web1|(systemd)|9||started
        2026-11-22T22:44:07.5Z||||WARN|WARNING app.module careful: now
        2026-11-22T22:44:07Z||||INFO|INFO starting: up
        2026-11-22T22:44:07Z|web1||||last message repeated 2 times
        2026-11-22T22:44:07Z|web1||||last message repeated 2 times
        2025-11-24T22:44:07Z|web1|app|||written last year
        2026-11-23T22:44:07Z|web1|app|||at most a day ahead
        2024-02-29T09:00:00Z|web1|app|||in the last leap year
        ||||ERROR|ts=1 level=error msg="x"
        ||||WARN|[warn] disk is filling
        |||||information about nothing in particular
        |||||Foo 22 23:44:07 web1 app: no such month
        |||||GET http://example.com/ 200
        |||||
        "#);
    }

    proptest! {
        #[test]
        fn any_line_is_parsed_and_its_message_is_a_part_of_it(
            line in "(<[0-9]{1,4}>)?([A-Z][a-z]{2} [ 0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} |[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}[.,Z+]?[0-9]{0,6} )?\\PC*"
        ) {
            let parsed = parse(&line, now(), &TimeZone::UTC);
            prop_assert!(line.ends_with(parsed.message));
            prop_assert!(parsed.timestamp.is_none_or(|time| time <= now().plus(std::time::Duration::from_secs(86_400)) || line.contains('-')));
        }
    }
}
