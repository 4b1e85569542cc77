//! Messages without what changes from one occurrence to the next.

use std::fmt::Write as _;

use super::stack::cut;

/// Bytes of a message that are looked at.
const MAX_BYTES: usize = 2_000;
/// Longest quoted text that is taken for one value.
const MAX_QUOTED_BYTES: usize = 500;
/// From this length on, a word of letters and digits is taken for an id.
const ID_BYTES: usize = 16;

/// Returns the first line of `message` that says something, with `<number>`, `<uuid>`, `<ip>`, `<email>`, `<url>`, `<path>`, `<date>`,
/// `<hex>`, `<id>` and `<quoted>` where values were.
#[must_use]
pub fn parametrise(message: &str) -> String {
    let line = message.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("");
    let line = cut(line, MAX_BYTES);
    let mut template = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let after_word = template.ends_with(|c: char| c.is_alphanumeric());
        if matches!(first, '"' | '\'' | '`')
            && !after_word
            && let Some(length) = quoted(rest, first)
        {
            template.push_str("<quoted>");
            rest = &rest[length..];
        } else if is_break(first) {
            template.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            let (length, words) = date(rest).unwrap_or_else(|| (rest.find(is_break).unwrap_or(rest.len()), ""));
            let (word, after) = rest.split_at(length);
            if words.is_empty() {
                push_word(&mut template, word);
            } else {
                template.push_str(words);
            }
            rest = after;
        }
    }
    template
}

/// What ends a word. `:` `/` `.` `-` `@` `%` `=` and others may stand inside one.
fn is_break(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>' | ',' | ';' | '|')
}

/// Returns how long the quoted text at the beginning of `rest` is, quotes included. One that ends within a word is an apostrophe.
fn quoted(rest: &str, quote: char) -> Option<usize> {
    let inner = &rest[1..];
    let mut from = 0;
    while let Some(at) = inner[from..].find(quote) {
        let end = from + at;
        if end > MAX_QUOTED_BYTES {
            return None;
        }
        let escaped = inner[..end].ends_with('\\');
        if !escaped && !inner[end + 1..].starts_with(|c: char| c.is_alphanumeric()) {
            return Some(end + 2);
        }
        from = end + 1;
    }
    None
}

/// Returns how long a day at the beginning of `rest` is, with the time that may follow it: `2026-11-22 08:30:00.123+01:00`.
fn date(rest: &str) -> Option<(usize, &'static str)> {
    let matches = |text: &str, shape: &str| {
        text.len() >= shape.len()
            && text
                .bytes()
                .zip(shape.bytes())
                .all(|(byte, wanted)| if wanted == b'0' { byte.is_ascii_digit() } else { byte == wanted })
    };
    let day = ["0000-00-00", "0000/00/00", "00.00.0000", "00/00/0000"].iter().any(|shape| matches(rest, shape));
    if !day {
        return None;
    }
    let time = |from: usize| {
        rest.get(from..).filter(|rest| matches(rest, "00:00")).map(|rest| {
            let is_time = |c: char| c.is_ascii_digit() || matches!(c, ':' | '.' | ',' | '+' | '-' | 'Z');
            let end = rest.find(|c| !is_time(c)).unwrap_or(rest.len());
            from + rest[..end].trim_end_matches(['.', ',', ':', '-']).len()
        })
    };
    let end = if rest[10..].starts_with(['T', ' ']) { time(11).unwrap_or(10) } else { 10 };
    // `2026-11-22-backup` is a name, and its digits are masked as those of names are.
    let ends = !rest[end..].starts_with(|c: char| c.is_alphanumeric() || c == '-' || c == '_');
    ends.then_some((end, "<date>"))
}

fn push_word(template: &mut String, word: &str) {
    let end = word.trim_end_matches(['.', ':', '!', '?']).len();
    let (word, tail) = word.split_at(end);
    match kind(word) {
        Some(kind) => {
            // Writing to a `String` cannot fail.
            let _ = write!(template, "<{kind}>");
        }
        None => match word.split_once(['=', '#']) {
            Some((key, value)) if !key.is_empty() && !value.is_empty() => {
                template.push_str(key);
                template.push_str(&word[key.len()..=key.len()]);
                push_word(template, value);
            }
            _ => push_pieces(template, word),
        },
    }
    template.push_str(tail);
}

/// Returns what a whole word is, if it is a value.
fn kind(word: &str) -> Option<&'static str> {
    if word.is_empty() {
        return None;
    }
    if word.contains("://") {
        return Some("url");
    }
    if let Some((name, domain)) = word.split_once('@')
        && !name.is_empty()
        && domain.contains('.')
    {
        return Some("email");
    }
    if is_uuid(word) {
        return Some("uuid");
    }
    if is_ip(word) {
        return Some("ip");
    }
    if word.starts_with("0x") && word.len() > 2 && word[2..].bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some("hex");
    }
    let hexadecimal = word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let has_digit = word.bytes().any(|byte| byte.is_ascii_digit());
    let has_letter = word.bytes().any(|byte| byte.is_ascii_alphabetic());
    if word.len() >= 8 && hexadecimal && has_digit && has_letter {
        return Some("hex");
    }
    let is_windows = word.as_bytes().get(1..3) == Some(b":\\");
    let begins = ["/", "./", "../", "~/", "\\\\"].iter().any(|begin| word.starts_with(begin));
    if is_windows || (begins && word.len() > 1) {
        return Some("path");
    }
    let is_time =
        word.len() >= 5 && word.contains(':') && word.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.'));
    if is_time && word.matches(':').count() >= 2 {
        return Some("date");
    }
    let opaque = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'/');
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    if word.len() >= ID_BYTES && has_letter && digits >= 3 && !word.contains(['-', '_', '/']) && word.bytes().all(opaque) {
        return Some("id");
    }
    None
}

fn is_uuid(word: &str) -> bool {
    let lengths = [8, 4, 4, 4, 12];
    let mut parts = word.split('-');
    lengths
        .iter()
        .all(|length| parts.next().is_some_and(|part| part.len() == *length && part.bytes().all(|byte| byte.is_ascii_hexdigit())))
        && parts.next().is_none()
}

/// Returns whether this is an address of version 4 or 6, with or without a port.
fn is_ip(word: &str) -> bool {
    let v4 = |text: &str| text.parse::<std::net::Ipv4Addr>().is_ok();
    let host = word.split_once(':').map_or(word, |(host, _)| host);
    v4(host) || (word.matches(':').count() >= 2 && word.parse::<std::net::Ipv6Addr>().is_ok())
}

/// Masks numbers and ids within a word. Digits that directly follow letters belong to a name: `utf8`, `E11000`, `x86`.
fn push_pieces(template: &mut String, word: &str) {
    let mut rest = word;
    let mut in_name = false;
    while let Some(first) = rest.chars().next() {
        if first.is_ascii_digit() && !in_name {
            let mut end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            // A fraction.
            if let Some(fraction) = rest[end..].strip_prefix('.') {
                let digits = fraction.find(|c: char| !c.is_ascii_digit()).unwrap_or(fraction.len());
                end += if digits > 0 { digits + 1 } else { 0 };
            }
            template.push_str("<number>");
            rest = &rest[end..];
            continue;
        }
        let length = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
        if !in_name && length > 0 {
            let (piece, after) = rest.split_at(length);
            match kind(piece) {
                Some(kind) => {
                    let _ = write!(template, "<{kind}>");
                }
                None => template.push_str(piece),
            }
            rest = after;
            continue;
        }
        template.push(first);
        in_name = first.is_alphanumeric();
        rest = &rest[first.len_utf8()..];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_masked_and_words_are_kept() {
        let cases = [
            ("order 17 of user 4711 failed", "order <number> of user <number> failed"),
            ("took 12.5ms, limit 10s", "took <number>ms, limit <number>s"),
            ("cannot reach 10.0.0.7:5432", "cannot reach <ip>"),
            ("cannot reach fe80::1", "cannot reach <ip>"),
            ("no user ann@shop.example.", "no user <email>."),
            ("GET https://shop.example/a?b=1: 502", "GET <url>: <number>"),
            ("session 550e8400-e29b-41d4-a716-446655440000 is gone", "session <uuid> is gone"),
            ("at 0x7ffe12 and commit 3f2a1b9c0d", "at <hex> and commit <hex>"),
            ("cannot open '/var/lib/x': denied", "cannot open <quoted>: denied"),
            ("cannot open /var/lib/x.db: denied", "cannot open <path>: denied"),
            (r"cannot open C:\data\x.db", "cannot open <path>"),
            ("due 2026-11-22T08:30:00Z, now 2026-11-23 09:00:01.5", "due <date>, now <date>"),
            ("user_id=42 failed", "user_id=<number> failed"),
            ("worker-12 and worker_13 stopped", "worker-<number> and worker_<number> stopped"),
            ("invalid utf8 in E11000 of x86_64", "invalid utf8 in E11000 of x86_<number>"),
            ("can't open the user's file", "can't open the user's file"),
            ("token aB3dE5fG7hI9jK1l refused", "token <id> refused"),
            ("\n  second line counts 3\nthird", "second line counts <number>"),
            ("同步失败：商品 123 不存在", "同步失败：商品 <number> 不存在"),
            ("", ""),
        ];
        for (message, template) in cases {
            assert_eq!(parametrise(message), template, "{message}");
        }
    }

    proptest! {
        #[test]
        fn no_message_makes_it_panic_and_a_number_never_matters(text in "\\PC{0,60}", one in 0_u32..1_000_000, other in 0_u32..1_000_000) {
            let _ = parametrise(&text);
            prop_assert_eq!(parametrise(&format!("failed: {one} items")), parametrise(&format!("failed: {other} items")));
        }
    }
}
