//! Access logs of web servers: the common and the combined format, with OpenTelemetry's names for what they say.

use watchfire_types::Severity;

use super::parsed::{Field, Parsed};
use super::times::{self, Around};

/// Reads `host ident user [time] "request" status bytes "referer" "agent"`, the last two if they are there; what follows is kept.
/// `None` if it is something else. The message is the request with its status and size.
#[must_use]
pub fn parse<'a>(line: &'a str, around: &mut Around<'_>) -> Option<Parsed<'a>> {
    // The bracket and the quote stand where they must before anything is taken apart.
    let bracket = memchr::memchr(b'[', &line.as_bytes()[..line.len().min(512)])?;
    let before = line[..bracket].strip_suffix(' ')?;
    let (time, length) = times::head(&line[bracket + 1..], around)?;
    let rest = line[bracket + 1 + length..].strip_prefix("] \"")?;
    let (virtual_host, client, user) = who(before)?;
    let (request, rest) = quoted(rest)?;
    let rest = rest.strip_prefix(' ')?;
    let (status, rest) = rest.split_at_checked(3)?;
    let code: i64 = status.parse().ok().filter(|code| (0..1000).contains(code) && status.as_bytes()[0].is_ascii_digit())?;
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    let size_end = rest.find(' ').unwrap_or(rest.len());
    let (size, rest) = rest.split_at(size_end);
    let body_end = line.len() - rest.len();
    let mut parsed = Parsed::message(&line[bracket + 1 + length + "] ".len()..body_end]);
    parsed.timestamp = Some(time);
    parsed.severity = severity(code);
    parsed.attributes.reserve(12);
    parsed.text("client.address", client);
    parsed.text("user.name", user);
    parsed.text("server.address", virtual_host);
    self::request(&mut parsed, request);
    parsed.attribute("http.response.status_code", Field::Int(code));
    parsed.number("http.response.body.size", size);
    let mut rest = rest.trim_start_matches(' ');
    for key in ["http.request.header.referer", "user_agent.original"] {
        let Some((value, after)) = rest.strip_prefix('"').and_then(quoted) else { break };
        parsed.text(key, value);
        rest = after.trim_start_matches(' ');
    }
    // Formats of one's own add to the combined one: times, the address before a proxy, the virtual host.
    parsed.text("http.log.extra", rest);
    Some(parsed)
}

/// Reads `client ident user`, with the virtual host before them in Apache's `vhost_combined`.
fn who(before: &str) -> Option<(&str, &str, &str)> {
    let mut words = before.split(' ');
    let (first, second, third) = (words.next()?, words.next()?, words.next()?);
    if first.is_empty()
        || !first.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'-' | b'_' | b'%'))
    {
        return None;
    }
    match words.next() {
        None => Some(("", first, third)),
        // A user may have blanks in the name.
        Some(fourth) if second != "-" && third == "-" && words.next().is_none() => Some((first, second, fourth)),
        Some(_) => Some(("", first, &before[first.len() + second.len() + 2..])),
    }
}

/// Reads up to the closing quote; what servers escape stays as they wrote it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let mut from = 0;
    loop {
        let at = from + memchr::memchr2(b'"', b'\\', &text.as_bytes()[from..])?;
        if text.as_bytes()[at] == b'"' {
            return Some((&text[..at], &text[at + 1..]));
        }
        from = (at + 2).min(text.len());
    }
}

/// Takes `GET /path?query HTTP/1.1` apart. What is no request, as scanners send it, stays one text.
pub(super) fn request<'a>(parsed: &mut Parsed<'a>, request: &'a str) {
    let mut words = request.splitn(3, ' ');
    let (method, target, protocol) = (words.next().unwrap_or(""), words.next().unwrap_or(""), words.next().unwrap_or(""));
    if target.is_empty() || method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return parsed.text("http.request.original", request);
    }
    parsed.text("http.request.method", method);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    parsed.text("url.path", path);
    parsed.text("url.query", query);
    parsed.text("network.protocol.version", protocol.strip_prefix("HTTP/").unwrap_or(protocol));
}

const fn severity(code: i64) -> Severity {
    match code {
        500.. => Severity::ERROR,
        400..=499 => Severity::WARN,
        _ => Severity::INFO,
    }
}
