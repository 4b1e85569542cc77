//! Passwords, tokens and keys: told by the name before them, or by their form.

use crate::keys::{self, Kind};
use crate::marker;
use crate::rules::{Found, begins, ends, is_json, run, run_before};
use crate::settings::Rule;

/// Blanks that may stand around `=` and `:`.
const MAX_BLANKS: usize = 3;

/// A value in running text that is shorter is a word rather than a token.
const LEAST_TOKEN_BYTES: usize = 8;

/// A value that is longer is no word any more.
const LONG_WORD_BYTES: usize = 20;

/// A line of a key has 64 bytes; what has no word as long as this is no key.
const LEAST_KEY_LINE_BYTES: usize = 24;

/// What begins and ends a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    /// `"`, `'` or a backtick.
    Plain(u8),
    /// `\"`: JSON in JSON.
    Escaped,
}

/// Reads `key=value`, `key: value`, `"key":"value"`, `key => 'value'` and their like around a part of a key at `at`.
pub(crate) fn key_value(row: &[u8], at: usize) -> Option<Found> {
    let start = at - run_before(&row[..at], at, keys::is_part).min(keys::MAX_KEY_BYTES);
    let end = at + run(row, at, keys::is_part).min(2 * keys::MAX_KEY_BYTES);
    if is_in_marker(row, at) {
        return None;
    }
    let key = &row[start..end];
    // A flag: `--password=x`.
    let key = &key[key.iter().take_while(|byte| matches!(byte, b'-' | b'.')).count()..];
    let kind = keys::kind(key)?;
    let mut position = end;
    // `user[password]=x`
    position += usize::from(row.get(position) == Some(&b']'));
    position += if row[position..].starts_with(b"\\\"") { 2 } else { usize::from(matches!(row.get(position), Some(b'"' | b'\''))) };
    let blanks_before = run(row, position, |byte| byte == b' ').min(MAX_BLANKS);
    position += blanks_before;
    let (separator, length) = match &row[position..] {
        [b'=', b'>', ..] | [b':', b'=', ..] => (b'=', 2),
        // `Token::new`, `password == "x"`
        [b':', b':', ..] | [b'=', b'=' | b'~', ..] => return None,
        [separator @ (b'=' | b':'), ..] => (*separator, 1),
        _ => return None,
    };
    position += length;
    let blanks = run(row, position, |byte| byte == b' ' || byte == b'\t');
    // `password= next` has no value; `password = next` has.
    if separator == b'=' && blanks > 0 && blanks_before == 0 {
        return None;
    }
    position += blanks;
    if kind == Kind::Authorization && matches!(row.get(position), Some(byte) if byte.is_ascii_alphabetic()) {
        return authorization(row, position);
    }
    let quote = quote(&row[position..]);
    let is_json = is_json(row);
    // In JSON the end of a string, and not the beginning of one.
    if is_json && quote == Quote::Plain(b'"') && row.get(end) != Some(&b'"') {
        return None;
    }
    let start = position
        + match quote {
            Quote::None => 0,
            Quote::Plain(_) => 1,
            Quote::Escaped => 2,
        };
    let end = start + value_length(&row[start..], quote, is_json);
    let (start, end) = match (kind, quote) {
        (Kind::Authorization, Quote::Plain(_) | Quote::Escaped) => {
            // The scheme stays: which one was used is not secret.
            let scheme = run(&row[..end], start, |byte| byte.is_ascii_alphanumeric() || byte == b'-');
            let blanks = run(&row[..end], start + scheme, |byte| byte == b' ');
            (if blanks > 0 { start + scheme + blanks } else { start }, end)
        }
        (Kind::Cookie, Quote::None) if separator == b':' => (start, start + line_length(&row[start..], is_json)),
        _ => (start, end),
    };
    let value = &row[start..end];
    if is_trivial(value) || (quote == Quote::None && matches!(value.first(), Some(b'[' | b'{'))) {
        return None;
    }
    let is_prose = quote == Quote::None && (separator == b':' || blanks > 0);
    match kind {
        Kind::Token if is_prose && !looks_random(value) => return None,
        Kind::WorkingDirectory if value.starts_with(b"/") => return None,
        _ => {}
    }
    let rule = if kind == Kind::Authorization { Rule::Authorization } else { Rule::Secret };
    Some(Found { keeps_place: quote == Quote::None, ..Found::new(rule, start, end) })
}

/// Returns whether all of the value of an attribute or field `key` is a secret, so that it goes as a whole.
pub(crate) fn is_secret_value(key: &str, value: &[u8]) -> bool {
    match keys::kind(key.as_bytes()) {
        None => false,
        Some(Kind::WorkingDirectory) if value.starts_with(b"/") => false,
        Some(_) => !is_trivial(value),
    }
}

/// Returns whether `at` lies in what has been put in place of something: its rule may have the name of a secret.
fn is_in_marker(row: &[u8], at: usize) -> bool {
    let before = run_before(row, at, |byte| keys::is_part(byte) || byte == b':');
    let Some(start) = (at - before).checked_sub(1) else { return false };
    start + marker::length(&row[start..]) > at
}

/// Reads what follows `Authorization:` without quotes: a scheme, which stays, and credentials.
fn authorization(row: &[u8], start: usize) -> Option<Found> {
    let scheme = run(row, start, |byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let blanks = run(row, start + scheme, |byte| byte == b' ');
    let is_word = row.get(start + scheme).is_none_or(|byte| matches!(byte, b' ' | b'\n' | b',' | b';'));
    let value = if blanks > 0 && is_word { start + scheme + blanks } else { start };
    // Digest and signatures have several parts.
    let is_list = row[start..start + scheme].eq_ignore_ascii_case(b"digest") || row[start..].starts_with(b"AWS4-");
    let end = value + if is_list { line_length(&row[value..], is_json(row)) } else { run(row, value, is_token) };
    let found = &row[value..end];
    let is_secret = !is_trivial(found) && (is_list || looks_random(found) || is_basic(found));
    is_secret.then(|| Found { keeps_place: true, ..Found::new(Rule::Authorization, value, end) })
}

/// Reads `Bearer TOKEN` or `Basic CREDENTIALS` at `earer ` or `asic `.
pub(crate) fn scheme(row: &[u8], at: usize) -> Option<Found> {
    let first = at.checked_sub(1)?;
    if !row[first].eq_ignore_ascii_case(&b'b') || !begins(row, first) {
        return None;
    }
    let word = run(row, at, |byte| byte.is_ascii_alphabetic());
    let start = at + word + run(row, at + word, |byte| byte == b' ');
    let end = start + run(row, start, is_token);
    let value = &row[start..end];
    let is_secret = if row[at..].starts_with(b"asic") { is_basic(value) } else { looks_random(value) };
    is_secret.then(|| Found { keeps_place: true, ..Found::new(Rule::Authorization, start, end) })
}

/// RFC 6750, section 2.1: `b64token`.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
}

/// Returns whether `text` is base64 of something with a colon, as the credentials of `Basic` are.
fn is_basic(text: &[u8]) -> bool {
    let digits = text.iter().position(|byte| *byte == b'=').unwrap_or(text.len());
    if digits < 4 || text.len() - digits > 2 {
        return false;
    }
    let (mut word, mut bits, mut has_colon) = (0_u32, 0, false);
    for byte in &text[..digits] {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return false,
        };
        word = word << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            let decoded = (word >> bits) as u8;
            if decoded.is_ascii_control() {
                return false;
            }
            has_colon |= decoded == b':';
        }
    }
    has_colon
}

fn quote(text: &[u8]) -> Quote {
    match text {
        [b'\\', b'"', ..] => Quote::Escaped,
        [quote @ (b'"' | b'\'' | b'`'), ..] => Quote::Plain(*quote),
        _ => Quote::None,
    }
}

fn value_length(text: &[u8], quote: Quote, is_json: bool) -> usize {
    match quote {
        Quote::None => run(text, 0, |byte| {
            !byte.is_ascii_whitespace()
                && !matches!(byte, b',' | b';' | b'&' | b')' | b']' | b'}' | b'"' | b'\'' | b'`' | b'<' | b'>' | b'|' | b'\\')
        }),
        Quote::Plain(quote) => {
            let mut position = 0;
            // A string of JSON around it ends it, too.
            let other = if is_json { b'"' } else { quote };
            while let Some(found) = memchr::memchr3(quote, other, b'\\', &text[position..]) {
                if text[position + found] != b'\\' {
                    return position + found;
                }
                position = (position + found + 2).min(text.len());
            }
            text.len()
        }
        // Within, an escaped quote is `\\\"`: three backslashes or more before the quote.
        Quote::Escaped => {
            let mut position = 0;
            while let Some(found) = memchr::memchr(b'"', &text[position..]) {
                let end = position + found;
                let slashes = run_before(text, end, |byte| byte == b'\\');
                if slashes <= 1 {
                    // Without its backslash the text itself ends here.
                    return end - slashes;
                }
                position = end + 1;
            }
            text.len()
        }
    }
}

/// Returns how long the rest of a line is; within JSON, of the string that it stands in.
fn line_length(text: &[u8], is_json: bool) -> usize {
    let mut position = 0;
    while let Some(byte) = text.get(position) {
        match byte {
            b'\n' | b'\r' => break,
            b'"' if is_json => break,
            b'\\' if is_json && matches!(text.get(position + 1), Some(b'n' | b'r')) => break,
            b'\\' if is_json => position += 2,
            _ => position += 1,
        }
    }
    position.min(text.len())
}

/// Returns whether `value` says that there is none, or is hidden already.
fn is_trivial(value: &[u8]) -> bool {
    const NOTHING: [&[u8]; 9] = [b"null", b"none", b"nil", b"true", b"false", b"undefined", b"empty", b"<nil>", b"(null)"];
    value.is_empty()
        || value.iter().all(|byte| matches!(byte, b'*' | b'-' | b'.' | b' ' | b'\\'))
        || NOTHING.iter().any(|nothing| value.eq_ignore_ascii_case(nothing))
        || marker::length(value) == value.len()
}

/// Returns whether `value` looks like a token rather than a word: letters and digits, or very long.
fn looks_random(value: &[u8]) -> bool {
    let has = |is: fn(&u8) -> bool| value.iter().any(is);
    value.len() >= LEAST_TOKEN_BYTES
        && marker::length(value) == 0
        && (value.len() >= LONG_WORD_BYTES || has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic))
}

/// Reads `scheme://user:password@host` at `://`.
pub(crate) fn url(row: &[u8], at: usize) -> Option<Found> {
    if at == 0 || !row[at - 1].is_ascii_alphanumeric() {
        return None;
    }
    let start = at + 3;
    let is_part =
        |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'?' | b'#' | b'"' | b'\'' | b'<' | b'>' | b'\\' | b'`');
    let authority = &row[start..start + run(row, start, is_part)];
    let host = memchr::memrchr(b'@', authority)?;
    let colon = memchr::memchr(b':', &authority[..host])?;
    let password = &authority[colon + 1..host];
    if is_trivial(password) {
        return None;
    }
    Some(Found::new(Rule::UrlPassword, start + colon + 1, start + host))
}

/// Reads a private key in PEM form at `-----BEGIN `, also where its lines end in `\n` of JSON. Header and end stay.
pub(crate) fn pem(row: &[u8], at: usize) -> Option<Found> {
    let name = at + b"-----BEGIN ".len();
    let length = run(row, name, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' ');
    let is_private = row[name..name + length].ends_with(b"PRIVATE KEY") || row[name..name + length].ends_with(b"PRIVATE KEY BLOCK");
    if !is_private || !row[name + length..].starts_with(b"-----") {
        return None;
    }
    let start = name + length + 5;
    let mut end = start;
    while let Some(byte) = row.get(end) {
        match byte {
            b'-' if row[end..].starts_with(b"-----END") => break,
            b'\\' if matches!(row.get(end + 1), Some(b'n' | b'r' | b't')) => end += 2,
            b'+' | b'/' | b'=' | b':' | b',' | b'-' | b'.' | b'(' | b')' => end += 1,
            byte if byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace() => end += 1,
            _ => break,
        }
    }
    let body = &row[start..end];
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    let has_key = body.split(|byte| !is_part(byte)).any(|line| line.len() >= LEAST_KEY_LINE_BYTES);
    has_key.then(|| Found::new(Rule::PrivateKey, start, end))
}

/// How the key of some service looks.
struct Form {
    prefix: &'static [u8],
    /// Bytes after the prefix.
    tail: std::ops::RangeInclusive<usize>,
    is_part: fn(u8) -> bool,
}

const fn form(prefix: &'static [u8], tail: std::ops::RangeInclusive<usize>, is_part: fn(u8) -> bool) -> Form {
    Form { prefix, tail, is_part }
}

fn upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

fn alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn dotted(byte: u8) -> bool {
    word(byte) || byte == b'.'
}

/// Base64 in a URL.
fn signature(byte: u8) -> bool {
    word(byte) || matches!(byte, b'%' | b'+' | b'/' | b'=')
}

/// As their makers document them.
const FORMS: [Form; 33] = [
    form(b"AKIA", 16..=16, upper),
    form(b"ASIA", 16..=16, upper),
    form(b"AIza", 35..=35, word),
    form(b"ya29.", 20..=512, word),
    form(b"ghp_", 36..=255, alphanumeric),
    form(b"gho_", 36..=255, alphanumeric),
    form(b"ghu_", 36..=255, alphanumeric),
    form(b"ghs_", 36..=255, alphanumeric),
    form(b"ghr_", 36..=255, alphanumeric),
    form(b"github_pat_", 22..=255, word),
    form(b"glpat-", 20..=255, dotted),
    form(b"xoxb-", 10..=255, word),
    form(b"xoxp-", 10..=255, word),
    form(b"xoxa-", 10..=255, word),
    form(b"xoxe-", 10..=255, word),
    form(b"xoxo-", 10..=255, word),
    form(b"xoxr-", 10..=255, word),
    form(b"xoxs-", 10..=255, word),
    form(b"xapp-", 10..=255, word),
    form(b"sk_live_", 16..=255, alphanumeric),
    form(b"sk_test_", 16..=255, alphanumeric),
    form(b"rk_live_", 16..=255, alphanumeric),
    form(b"rk_test_", 16..=255, alphanumeric),
    form(b"whsec_", 16..=255, signature),
    form(b"npm_", 36..=36, alphanumeric),
    form(b"pypi-", 50..=512, word),
    form(b"SG.", 60..=80, dotted),
    form(b"hf_", 30..=64, alphanumeric),
    form(b"LTAI", 12..=24, alphanumeric),
    form(b"AKID", 32..=32, alphanumeric),
    form(b"GOCSPX-", 28..=28, word),
    form(b"dckr_pat_", 20..=64, word),
    form(b"sk-", 20..=255, word),
];

/// Reads the key of a cloud or service, at a part of its beginning.
pub(crate) fn prefix(row: &[u8], at: usize) -> Option<Found> {
    // `k_live_` is looked for, with either letter before it.
    let at = if row[at..].starts_with(b"k_") { at.checked_sub(1)? } else { at };
    if row[at..].starts_with(b"sig=") {
        return shared_signature(row, at);
    }
    if !begins(row, at) {
        return None;
    }
    let form = FORMS.iter().find(|form| row[at..].starts_with(form.prefix))?;
    let start = at + form.prefix.len();
    let length = run(row, start, form.is_part);
    let end = start + length;
    if !form.tail.contains(&length) || !ends(row, end) {
        return None;
    }
    // Names of things may begin with `sk-`, but have no digits and capitals in them.
    let tail = &row[start..end];
    let is_random = form.prefix != b"sk-" || (tail.iter().any(u8::is_ascii_digit) && tail.iter().any(u8::is_ascii_alphabetic));
    is_random.then(|| Found::new(Rule::CloudKey, at, end))
}

/// Reads the signature of Azure's shared access: `…&sig=…`.
fn shared_signature(row: &[u8], at: usize) -> Option<Found> {
    if at > 0 && !matches!(row[at - 1], b'?' | b'&' | b';' | b'"' | b' ') {
        return None;
    }
    let start = at + b"sig=".len();
    let length = run(row, start, signature);
    (length >= 30).then(|| Found::new(Rule::CloudKey, start, start + length))
}

/// Reads three parts of base64 with points between them, of which two begin as JSON does.
pub(crate) fn jwt(row: &[u8], at: usize) -> Option<Found> {
    if !begins(row, at) {
        return None;
    }
    let header = at + run(row, at, word);
    if header - at < 10 || !row[header..].starts_with(b".eyJ") {
        return None;
    }
    let payload = header + 1 + run(row, header + 1, word);
    if row.get(payload) != Some(&b'.') {
        return None;
    }
    let end = payload + 1 + run(row, payload + 1, word);
    Some(Found::new(Rule::Jwt, at, end))
}
