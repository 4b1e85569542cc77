//! What servers write in shapes of their own: nginx's and Apache's error logs, PostgreSQL.

use std::borrow::Cow;

use watchfire_types::Severity;

use super::access;
use super::parsed::{Field, Parsed};
use super::times::{self, Around};

/// Reads `2026/11/24 05:37:20 [error] 31#31: *7 open() failed, client: 10.0.0.1, server: shop, request: "GET / HTTP/1.1"`.
#[must_use]
pub fn nginx<'a>(line: &'a str, around: &mut Around<'_>) -> Option<Parsed<'a>> {
    if line.as_bytes().get(4) != Some(&b'/') {
        return None;
    }
    let (time, length) = times::head(line, around)?;
    let (level, rest) = line[length..].strip_prefix(" [")?.split_once("] ")?;
    let (ids, message) = rest.split_once(": ")?;
    let (process, thread) = ids.split_once('#')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(process) || !is_number(thread) {
        return None;
    }
    let (connection, message) = match message.strip_prefix('*').and_then(|rest| rest.split_once(' ')) {
        Some((connection, message)) if is_number(connection) => (connection, message),
        _ => ("", message),
    };
    let context = message.find(", client: ").unwrap_or(message.len());
    let mut parsed = Parsed::message(&message[..context]);
    parsed.timestamp = Some(time);
    match level {
        "emerg" | "alert" | "crit" | "error" | "warn" | "notice" | "info" | "debug" => parsed.level(level),
        _ => return None,
    }
    parsed.number("process.pid", process);
    parsed.number("thread.id", thread);
    parsed.number("nginx.connection", connection);
    for part in message[context..].split(", ").filter(|part| !part.is_empty()) {
        let Some((key, value)) = part.split_once(": ") else { continue };
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        match key {
            "client" => parsed.text("client.address", value),
            "server" => parsed.text("server.address", value),
            "request" => access::request(&mut parsed, value),
            "upstream" => parsed.text("nginx.upstream", value),
            "host" => parsed.text("http.request.header.host", value),
            "referrer" => parsed.text("http.request.header.referer", value),
            _ => parsed.text("nginx.context", part),
        }
    }
    Some(parsed)
}

/// Reads `[Tue Nov 24 05:37:20.123456 2026] [core:error] [pid 12:tid 34] [client 10.0.0.1:567] AH00126: message`.
#[must_use]
pub fn apache<'a>(line: &'a str, around: &mut Around<'_>) -> Option<Parsed<'a>> {
    let inner = line.strip_prefix('[')?;
    let (time, length) = times::head(inner, around)?;
    let rest = inner[length..].strip_prefix("] [")?;
    let (level, rest) = rest.split_once("] ")?;
    let (module, level) = level.split_once(':').unwrap_or(("", level));
    let mut parsed = Parsed { timestamp: Some(time), ..Parsed::default() };
    // `trace1` to `trace8` are one level.
    parsed.level(level);
    if level.starts_with("trace") {
        parsed.severity = Severity::TRACE;
        parsed.severity_text = Cow::Borrowed(level);
    }
    if parsed.severity == Severity::UNSET {
        return None;
    }
    parsed.scope = Cow::Borrowed(module);
    let mut rest = rest;
    while let Some((inside, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        if let Some(ids) = inside.strip_prefix("pid ") {
            let (process, thread) = ids.split_once(":tid ").unwrap_or((ids, ""));
            parsed.number("process.pid", process);
            parsed.number("thread.id", thread);
        } else if let Some(client) = inside.strip_prefix("client ") {
            let (address, port) = client.rsplit_once(':').unwrap_or((client, ""));
            parsed.text("client.address", address);
            parsed.number("client.port", port);
        } else {
            break;
        }
        rest = after;
    }
    parsed.body = Field::text(rest);
    Some(parsed)
}

/// Reads `2026-11-24 05:37:20.123 UTC [1234] shop@orders ERROR:  message`: PostgreSQL's default prefix, and with user and database.
#[must_use]
pub fn postgres<'a>(line: &'a str, around: &mut Around<'_>) -> Option<Parsed<'a>> {
    const WORDS: [(&str, Severity); 13] = [
        ("LOG", Severity::INFO),
        ("INFO", Severity::INFO),
        ("NOTICE", Severity(10)),
        ("WARNING", Severity::WARN),
        ("ERROR", Severity::ERROR),
        ("FATAL", Severity::FATAL),
        ("PANIC", Severity::FATAL),
        ("DETAIL", Severity::INFO),
        ("HINT", Severity::INFO),
        ("STATEMENT", Severity::INFO),
        ("CONTEXT", Severity::INFO),
        ("QUERY", Severity::INFO),
        ("LOCATION", Severity::INFO),
    ];
    let (time, length) = times::head(line, around)?;
    let mut rest = line[length..].strip_prefix(' ')?;
    // A zone that is known to us by its name only is the one that the server is in.
    let word = rest.bytes().take_while(u8::is_ascii_uppercase).count();
    if matches!(word, 3..=5) && rest[word..].starts_with(' ') {
        rest = &rest[word + 1..];
    }
    let (process, rest) = rest.strip_prefix('[')?.split_once(']')?;
    let process = process.split('-').next().unwrap_or(process);
    if process.is_empty() || !process.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let rest = rest.strip_prefix(':').unwrap_or(rest).trim_start_matches(' ');
    let (before, message) = rest.split_once(":  ")?;
    let (who, level) = before.rsplit_once(' ').unwrap_or(("", before));
    let severity = match WORDS.iter().find(|(word, _)| *word == level) {
        Some((_, severity)) => *severity,
        None if level.starts_with("DEBUG") => Severity::DEBUG,
        None => return None,
    };
    let mut parsed = Parsed::message(message);
    parsed.timestamp = Some(time);
    parsed.severity = severity;
    parsed.severity_text = Cow::Borrowed(level);
    parsed.number("process.pid", process);
    if let Some((user, database)) = who.split_once('@') {
        parsed.text("user.name", user);
        parsed.text("db.namespace", database);
    } else {
        parsed.text("postgresql.prefix", who);
    }
    Some(parsed)
}
