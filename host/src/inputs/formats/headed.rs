//! Lines that begin with a time, then say level, thread and logger in one of the usual orders: Log4j, Logback, Spring, Python, Rust, Go,
//! Ruby, PHP, Redis, MySQL, Elasticsearch, Kafka. What does not fit is left in the message.

use std::borrow::Cow;

use watchfire_types::Severity;
use watchfire_types::log::unhex;

use super::parsed::{Field, Parsed};
use super::times::{self, Around};
use crate::inputs::syslog_prefix::{after_iso_time, find_level, tagged};

/// Words that are looked at before the message must have begun.
const MAX_WORDS: usize = 9;

/// Reads a line; `None` if it does not begin with a time, or with what stands before it in the shapes that are known.
#[must_use]
pub fn parse<'a>(line: &'a str, around: &mut Around<'_>) -> Option<Parsed<'a>> {
    match line.as_bytes().first()? {
        b'0'..=b'9' => {
            let Some((time, length)) = times::head(line, around) else { return redis(line, around) };
            let rest = &line[length..];
            if !rest.is_empty() && !rest.starts_with([' ', '\t', ',', ':', '|', ';', ']', '[']) {
                return None;
            }
            let mut parsed = syslog(rest).unwrap_or_else(|| after_time(rest));
            parsed.timestamp = Some(time);
            Some(parsed)
        }
        b'[' => bracketed(line, around),
        b'A'..=b'Z' if line.as_bytes().get(1) == Some(&b',') => ruby(line, around),
        b'A'..=b'Z' => {
            let Some((time, length)) = times::head(line, around) else { return python_basic(line) };
            let rest = line[length..].strip_prefix(' ')?;
            // With a month first, it is syslog, which always has its host; or a date in full.
            let mut parsed = if line.as_bytes().get(6) == Some(&b' ') && line.as_bytes().get(9) == Some(&b':') {
                let (host, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                let mut parsed = from_tagged(rest.trim_start());
                parsed.host = Some(host).filter(|host| !host.is_empty()).map(Cow::Borrowed);
                parsed
            } else {
                after_time(rest)
            };
            parsed.timestamp = Some(time);
            Some(parsed)
        }
        _ => None,
    }
}

/// Returns a line of which nothing is known but the level that stands early in it.
#[must_use]
pub fn plain(line: &str) -> Parsed<'_> {
    let mut parsed = Parsed::message(line);
    if let Some((severity, text)) = find_level(line) {
        parsed.severity = severity;
        parsed.severity_text = Cow::Borrowed(text);
    }
    parsed
}

/// Reads `host program[pid]: message`, as syslog daemons write after an ISO time.
fn syslog(rest: &str) -> Option<Parsed<'_>> {
    let line = after_iso_time(rest.strip_prefix(' ')?);
    line.host?;
    let mut parsed = plain(line.message);
    parsed.host = line.host.map(Cow::Borrowed);
    parsed.service = line.program.map(Cow::Borrowed);
    if let Some(id) = line.process_id {
        parsed.attribute("process.pid", Field::Int(id));
    }
    Some(parsed)
}

fn from_tagged(rest: &str) -> Parsed<'_> {
    let line = tagged(rest);
    let mut parsed = plain(line.message);
    parsed.service = line.program.map(Cow::Borrowed);
    if let Some(id) = line.process_id {
        parsed.attribute("process.pid", Field::Int(id));
    }
    parsed
}

/// Reads `[time] …`, `[time LEVEL logger] …` (`env_logger`) and `[time zone] …` (PHP).
fn bracketed<'a>(line: &'a str, around: &mut Around<'_>) -> Option<Parsed<'a>> {
    let (time, length) = times::head(&line[1..], around)?;
    let rest = &line[1 + length..];
    let mut parsed = if let Some(rest) = rest.strip_prefix("] PHP ") {
        php(&line[line.len() - rest.len() - "PHP ".len()..])
    } else if let Some(rest) = rest.strip_prefix(']') {
        after_time(rest)
    } else {
        let (inside, rest) = rest.strip_prefix(' ')?.split_once(']')?;
        let mut words = inside.split_ascii_whitespace();
        let (first, second) = (words.next()?, words.next());
        match Severity::from_text(first) {
            Some(_) => {
                let mut parsed = Parsed::message(rest.trim_start());
                parsed.level(first);
                parsed.scope = Cow::Borrowed(second.unwrap_or(""));
                parsed
            }
            None if second.is_none() => php(rest.trim_start()),
            None => return None,
        }
    };
    parsed.timestamp = Some(time);
    // Kafka names the class at the end.
    if parsed.scope.is_empty()
        && let Some((body, class)) = body_and_class(&parsed)
    {
        parsed.scope = Cow::Borrowed(class);
        parsed.body = Field::text(body);
    }
    Some(parsed)
}

fn body_and_class<'a>(parsed: &Parsed<'a>) -> Option<(&'a str, &'a str)> {
    let Field::Text(Cow::Borrowed(body)) = parsed.body else { return None };
    let (body, class) = body.strip_suffix(')')?.rsplit_once(" (")?;
    let is_class =
        class.contains('.') && class.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'$'));
    (is_class && parsed.severity != Severity::UNSET && class.as_bytes()[0].is_ascii_alphabetic()).then_some((body, class))
}

/// Reads `PHP Warning:  message`.
fn php(rest: &str) -> Parsed<'_> {
    let mut parsed = Parsed::message(rest);
    let level = rest.strip_prefix("PHP ").and_then(|rest| rest.split_once(':')).map(|(level, _)| level);
    match level {
        Some(level) if level.ends_with("rror") => parsed.severity = Severity::ERROR,
        Some(level) if level.ends_with("arning") => parsed.severity = Severity::WARN,
        Some("Notice" | "Deprecated") => parsed.severity = Severity(10),
        _ => return plain(rest),
    }
    parsed.severity_text = Cow::Borrowed(level.unwrap_or(""));
    parsed
}

/// Reads what follows the time.
fn after_time(rest: &str) -> Parsed<'_> {
    let rest = rest.trim_start_matches([' ', '\t', ':', '|', ';', ',']);
    if let Some(parsed) = dashed(rest) {
        return parsed;
    }
    let mut parsed = Parsed::default();
    let mut text = rest;
    // The bracketed words after `---`, of which Spring has up to three.
    let mut spring: Option<Vec<&str>> = None;
    for _ in 0..MAX_WORDS {
        text = text.trim_start_matches([' ', '\t', '|']);
        if let Some(inner) = text.strip_prefix('[') {
            let Some((inside, after)) = inner.split_once(']') else { break };
            let inside = inside.trim();
            if !bracket(&mut parsed, inside, spring.as_mut()) {
                break;
            }
            text = after.strip_prefix(':').unwrap_or(after);
            continue;
        }
        let end = text.find([' ', '\t']).unwrap_or(text.len());
        let (word, after) = text.split_at(end);
        if let Some(after) = level_word(&mut parsed, word, after) {
            text = after;
        } else if word == "---" {
            spring = Some(Vec::new());
            text = after;
        } else if word == "-" && parsed.severity != Severity::UNSET {
            text = after.trim_start();
            break;
        } else if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()) && is_id(&parsed, after) {
            let key = if after.starts_with(" [") { "thread.id" } else { "process.pid" };
            parsed.number(key, word);
            text = after;
        } else {
            if let Some((scope, after)) = scope(word, after, parsed.severity != Severity::UNSET) {
                parsed.scope = Cow::Borrowed(scope);
                text = after;
            }
            break;
        }
    }
    if parsed.severity == Severity::UNSET {
        // Words were read that belong to the message.
        return plain(rest);
    }
    spring_words(&mut parsed, &spring.unwrap_or_default());
    parsed.body = Field::text(text);
    parsed
}

/// Takes what stands in brackets; returns whether it is not a part of the message.
fn bracket<'a>(parsed: &mut Parsed<'a>, inside: &'a str, spring: Option<&mut Vec<&'a str>>) -> bool {
    if let Some(words) = spring {
        words.push(inside);
        return words.len() <= 3;
    }
    if parsed.severity == Severity::UNSET && Severity::from_text(inside).is_some() {
        parsed.level(inside);
    } else if !inside.is_empty() && inside.bytes().all(|byte| byte.is_ascii_digit()) && parsed.severity == Severity::UNSET {
        parsed.number("process.pid", inside);
    } else if inside.starts_with("MY-") {
        parsed.text("error.code", inside);
    } else if parsed.scope.is_empty()
        && (parsed.attributes.iter().any(|(key, _)| key == "error.code")
            || (is_name(inside) && inside.contains('.') && parsed.severity != Severity::UNSET))
    {
        parsed.scope = Cow::Borrowed(inside);
    } else if inside.len() <= 128 && !parsed.attributes.iter().any(|(key, _)| key == "thread.name") {
        parsed.text("thread.name", inside);
    } else {
        return false;
    }
    true
}

/// Reads `INFO`, `info:`, `app.ERROR:`; returns what follows.
fn level_word<'a>(parsed: &mut Parsed<'a>, word: &'a str, after: &'a str) -> Option<&'a str> {
    if parsed.severity != Severity::UNSET {
        return None;
    }
    let (bare, has_colon) = word.strip_suffix(':').map_or((word, false), |bare| (bare, true));
    let is_shouted = bare.len() >= 3 && bare.bytes().all(|byte| byte.is_ascii_uppercase());
    if (is_shouted || (has_colon && bare.len() >= 3)) && Severity::from_text(bare).is_some() {
        parsed.level(bare);
        return Some(after);
    }
    // Monolog's channel and level.
    let (channel, level) = bare.rsplit_once('.').filter(|_| has_colon)?;
    if level.bytes().all(|byte| byte.is_ascii_uppercase()) && is_name(channel) && Severity::from_text(level).is_some() {
        parsed.level(level);
        parsed.scope = Cow::Borrowed(channel);
        return Some(after);
    }
    None
}

/// Returns whether a number is the id of a process or a thread: with more to come before the message.
fn is_id(parsed: &Parsed<'_>, after: &str) -> bool {
    after.starts_with(" --- ") || (parsed.severity == Severity::UNSET && after.starts_with(" ["))
}

/// Reads the name of a logger with the sign that ends it; returns it and the message.
fn scope<'a>(word: &'a str, after: &'a str, has_level: bool) -> Option<(&'a str, &'a str)> {
    if !has_level {
        return None;
    }
    let padded = after.trim_start_matches(' ');
    for sign in ["- ", ": "] {
        if let Some(message) = padded.strip_prefix(sign)
            && is_name(word)
            && padded.len() < after.len()
        {
            return Some((word, message));
        }
    }
    // Logback and Log4j may say where in the source.
    if let Some((_, message)) = padded.strip_prefix('(').and_then(|place| place.split_once(") - "))
        && is_name(word)
    {
        return Some((word, message));
    }
    let name = word.strip_suffix(':')?;
    // A word with a colon may begin any message: it must look like the name of a module.
    let looks_like_one = name.contains("::") || name.contains('.') || name.contains('/');
    (is_name(name) && looks_like_one).then_some((name, padded))
}

fn is_name(word: &str) -> bool {
    !word.is_empty()
        && word.len() <= 200
        && word.as_bytes()[0].is_ascii_alphabetic()
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'_' | b'$' | b'-' | b'/' | b'#'))
        && !word.ends_with(':')
}

/// Reads `[app] [main] [trace-span]`, or only `[main]`.
fn spring_words<'a>(parsed: &mut Parsed<'a>, words: &[&'a str]) {
    match words {
        [] => {}
        [thread] => parsed.text("thread.name", thread),
        [app, thread, rest @ ..] => {
            if !app.is_empty() {
                parsed.service = Some(Cow::Borrowed(app));
            }
            parsed.text("thread.name", thread);
            if let Some((trace, span)) = rest.first().and_then(|ids| ids.split_once('-')) {
                parsed.trace_id = unhex(trace.trim()).unwrap_or_default();
                parsed.span_id = unhex(span.trim()).unwrap_or_default();
            }
        }
    }
}

/// Reads `- name - LEVEL - message`, the usual of Python.
fn dashed(rest: &str) -> Option<Parsed<'_>> {
    let (name, rest) = rest.strip_prefix("- ")?.split_once(" - ")?;
    let (level, message) = rest.split_once(" - ")?;
    if name.contains(' ') || Severity::from_text(level.trim()).is_none() {
        return None;
    }
    let mut parsed = Parsed::message(message);
    parsed.level(level.trim());
    parsed.scope = Cow::Borrowed(name);
    Some(parsed)
}

/// Reads `WARNING:shop.orders:message`, what Python writes when nobody says how.
fn python_basic(line: &str) -> Option<Parsed<'_>> {
    let (level, rest) = line.split_once(':')?;
    if !matches!(level, "DEBUG" | "INFO" | "WARNING" | "ERROR" | "CRITICAL") {
        return None;
    }
    let (name, message) = rest.split_once(':')?;
    if !is_name(name) {
        return None;
    }
    let mut parsed = Parsed::message(message);
    parsed.level(level);
    parsed.scope = Cow::Borrowed(name);
    Some(parsed)
}

/// Reads `I, [2026-11-24T05:37:20.123456 #1234]  INFO -- shop: message`.
fn ruby<'a>(line: &'a str, around: &mut Around<'_>) -> Option<Parsed<'a>> {
    let rest = line[1..].strip_prefix(", [")?;
    let (time, length) = times::head(rest, around)?;
    let (process, rest) = rest[length..].strip_prefix(" #")?.split_once(']')?;
    let (level, rest) = rest.trim_start().split_once(" -- ")?;
    let (program, message) = rest.split_once(": ")?;
    let mut parsed = Parsed::message(message);
    parsed.timestamp = Some(time);
    match level {
        "ANY" => parsed.severity_text = Cow::Borrowed(level),
        _ => parsed.level(level),
    }
    parsed.number("process.pid", process);
    parsed.scope = Cow::Borrowed(program);
    Some(parsed)
}

/// Reads `1234:M 24 Nov 2026 05:37:20.123 * message`.
fn redis<'a>(line: &'a str, around: &mut Around<'_>) -> Option<Parsed<'a>> {
    let (process, rest) = line.split_once(':').filter(|(process, _)| process.len() <= 8)?;
    let role = rest.get(..1).filter(|role| matches!(*role, "X" | "C" | "S" | "M"))?;
    let rest = rest[1..].strip_prefix(' ')?;
    let (time, length) = times::head(rest, around)?;
    let rest = rest[length..].strip_prefix(' ')?;
    let mark = rest.get(..1)?;
    let severity = match mark {
        "." => Severity::DEBUG,
        "-" => Severity::INFO,
        "*" => Severity(10),
        "#" => Severity::WARN,
        _ => return None,
    };
    let mut parsed = Parsed::message(rest[1..].strip_prefix(' ')?);
    parsed.timestamp = Some(time);
    parsed.severity = severity;
    parsed.severity_text = Cow::Borrowed(mark);
    parsed.number("process.pid", process);
    parsed.text("redis.role", role);
    Some(parsed)
}
