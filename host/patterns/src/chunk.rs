//! What a run of bytes between blanks and marks is: a word, a value, or parts of both.

use crate::bytes::{DIGIT, JOIN, LETTER, SPACE, class};
use crate::scan::{Sink, with_groups};

/// Longest word; what is longer is a value.
pub(crate) const MAX_WORD: usize = 64;

/// Returns whether a run of letters is a value all the same: a truth value, nothing, the name of a day or month in a date, or hexadecimal.
#[inline]
pub(crate) fn is_value_word(text: &[u8], start: usize, end: usize) -> bool {
    let word = &text[start..end];
    match word.len() {
        3 => is_date_word(word) && in_date(text, start, end),
        4 => matches!(lower4(word), TRUE | NULL | ROOT),
        5 => word.eq_ignore_ascii_case(b"false"),
        8..=MAX_WORD => word[0] | 0x20 <= b'f' && word.iter().all(u8::is_ascii_hexdigit),
        length => length > MAX_WORD,
    }
}

const TRUE: u32 = u32::from_le_bytes(*b"true");
const NULL: u32 = u32::from_le_bytes(*b"null");
const ROOT: u32 = u32::from_le_bytes(*b"root");

#[inline]
fn lower4(word: &[u8]) -> u32 {
    u32::from_le_bytes([word[0], word[1], word[2], word[3]]) | 0x2020_2020
}

fn is_date_word(word: &[u8]) -> bool {
    const NAMES: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDecMonTueWedThuFriSatSun";
    word[0].is_ascii_uppercase() && NAMES.chunks_exact(3).any(|name| name == word)
}

/// Returns whether digits or another such name stand beside a name of a day or month.
fn in_date(text: &[u8], start: usize, end: usize) -> bool {
    let after = text[end..].iter().copied().find(|byte| !matches!(byte, b' ' | b',' | b'/' | b'-'));
    let before = text[..start].iter().rev().copied().find(|byte| !matches!(byte, b' ' | b'/' | b'-'));
    after.is_some_and(|byte| byte.is_ascii_digit())
        || before.is_some_and(|byte| byte.is_ascii_digit()) && after.is_none()
        || text.get(end + 1..end + 4).is_some_and(is_date_word)
}

/// Letters and digits without anything between them: `eth0`, `12ms`, `0x1f`. A value, unless it looks like a name that has a digit
/// wherever it stands: `ssh2`, `krb5`, `x86_64`. Whether it has is decided when another one stands in its place.
pub(crate) fn letters_and_digits<S: Sink>(text: &[u8], start: usize, end: usize, sink: &mut S) {
    let word = &text[start..end];
    let digits = word.iter().filter(|byte| byte.is_ascii_digit()).count();
    let is_name = class(word[0]) & LETTER != 0
        && (digits == 1
            || digits == 2 && word.len() >= 8
            || is_known(word)
            || digits >= 3 && is_code(word) && text.get(end) == Some(&b':'));
    if is_name && word.len() <= MAX_WORD {
        sink.name(text, start, end);
    } else {
        sink.hole(text, start, end);
    }
}

/// `AH01321`, as programs number their messages.
fn is_code(word: &[u8]) -> bool {
    let letters = word.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    (2..=4).contains(&letters) && word.len() <= letters + 5 && word[letters..].iter().all(u8::is_ascii_digit)
}

/// Names with more digits that are the same everywhere.
fn is_known(word: &[u8]) -> bool {
    const KNOWN: [&[u8]; 20] = [
        b"sha256", b"sha512", b"sha384", b"x86_64", b"amd64", b"arm64", b"i386", b"i686", b"x509", b"base64", b"pkcs11", b"pkcs12",
        b"crc32", b"win32", b"int32", b"int64", b"uint32", b"uint64", b"float64", b"ed25519",
    ];
    word.len() <= 7 && KNOWN.iter().any(|known| word.eq_ignore_ascii_case(known))
}

/// A run with something between its parts. Returns where the scan goes on, which is later than `end` for a path with `?` or `=` in it.
pub(crate) fn mixed<S: Sink>(text: &[u8], start: usize, end: usize, flags: u8, sink: &mut S) -> usize {
    if flags & (LETTER | DIGIT) == 0 {
        return joins_only(text, start, end, sink);
    }
    if let Some(path_end) = path(text, start, end) {
        let stop =
            start + 1 + text[start + 1..path_end].iter().rposition(|byte| !matches!(byte, b'.' | b':')).map_or(0, |at| at + 1);
        sink.hole(text, start, stop);
        marks(text, stop, path_end, sink);
        return path_end;
    }
    let stop = trimmed_end(text, start, end);
    // `:8080` and `.5`, `@host`; a sign belongs to its number and `--option` is a word.
    let mut at = start;
    while at < stop && matches!(text[at], b':' | b'@' | b'%' | b'/') {
        sink.mark(text, at);
        at += 1;
    }
    let flags = text[at..stop].iter().fold(0, |flags, byte| flags | class(*byte));
    match flags {
        0 => {}
        LETTER if is_value_word(text, at, stop) => sink.hole(text, at, stop),
        LETTER => sink.word(text, at, stop),
        DIGIT => {
            let with = if stop == end { with_groups(text, stop) } else { stop };
            sink.hole(text, at, with);
            if with > stop {
                return with;
            }
        }
        _ if flags & DIGIT != 0 => {
            if let Some(with) = with_digits(text, at, stop, stop == end, sink) {
                return with;
            }
        }
        _ => without_digits(text, at, stop, sink),
    }
    marks(text, stop, end, sink);
    end
}

/// `-`, `...`, `::`, `--`: dashes alone may stand for an absent value, so they are kept together as a word.
fn joins_only<S: Sink>(text: &[u8], start: usize, end: usize, sink: &mut S) -> usize {
    if end - start <= 3 {
        sink.word(text, start, end);
    } else {
        // A rule across the page, of whatever length.
        sink.word(text, start, start + 3);
    }
    end
}

fn marks<S: Sink>(text: &[u8], start: usize, end: usize, sink: &mut S) {
    for at in start..end {
        sink.mark(text, at);
    }
}

/// Returns the end without the punctuation of the sentence.
fn trimmed_end(text: &[u8], start: usize, mut end: usize) -> usize {
    while end > start + 1 && class(text[end - 1]) & JOIN != 0 {
        end -= 1;
    }
    end
}

/// Returns where the path or URL at `start` ends, if it is one.
fn path(text: &[u8], start: usize, end: usize) -> Option<usize> {
    let chunk = &text[start..end];
    let named = |byte: Option<&u8>| byte.is_some_and(|byte| class(*byte) & (LETTER | DIGIT) != 0 || *byte == b'.');
    let is_path = match chunk[0] {
        b'/' => named(chunk.get(1)),
        b'~' => chunk.starts_with(b"~/"),
        b'.' => chunk.starts_with(b"./") && named(chunk.get(2)) || chunk.starts_with(b"../"),
        b'\\' => chunk.len() > 2 && class(chunk[1]) & (LETTER | JOIN) != 0 && chunk[2..].contains(&b'\\'),
        _ => {
            chunk.len() > 3 && chunk[1] == b':' && matches!(chunk[2], b'\\' | b'/') && chunk[0].is_ascii_alphabetic()
                || memchr::memchr(b':', chunk).is_some_and(|colon| chunk[colon..].starts_with(b"://") && colon > 0)
        }
    };
    if !is_path {
        return None;
    }
    // Query strings and what else may stand in a path, up to what cannot.
    let rest = text[end..]
        .iter()
        .take_while(|byte| {
            !matches!(byte, b'"' | b'\'' | b'`' | b')' | b'(' | b']' | b'[' | b'>' | b'<' | b'{' | b'}' | b',' | b';' | b'|')
                && class(**byte) & SPACE == 0
        })
        .count();
    Some(end + rest)
}

/// Parts without any digit.
fn without_digits<S: Sink>(text: &[u8], start: usize, end: usize, sink: &mut S) {
    let chunk = &text[start..end];
    let slashes = memchr::memchr_iter(b'/', chunk).count();
    if slashes >= 2 || slashes == 1 && chunk.contains(&b'.') || chunk.contains(&b'@') || chunk.contains(&b'\\') {
        return sink.hole(text, start, end);
    }
    if chunk.len() > MAX_WORD || is_host(chunk) && !matches!(text.get(end), Some(b'(' | b'=')) {
        return sink.hole(text, start, end);
    }
    // `key:value`; but `std::fmt` is one name.
    let mut at = start;
    while let Some(colon) = memchr::memchr(b':', &text[at..end]).map(|colon| at + colon) {
        if text.get(colon + 1) == Some(&b':') || colon == at {
            break;
        }
        part(text, at, colon, sink);
        sink.mark(text, colon);
        at = colon + 1;
    }
    part(text, at, end, sink);
}

/// Returns whether a dotted name is one of a machine: small letters, and an end that such names have.
fn is_host(chunk: &[u8]) -> bool {
    const ENDS: [&[u8]; 24] = [
        b"com",
        b"net",
        b"org",
        b"edu",
        b"gov",
        b"mil",
        b"de",
        b"uk",
        b"fr",
        b"jp",
        b"cn",
        b"tw",
        b"kr",
        b"ru",
        b"it",
        b"br",
        b"ch",
        b"eu",
        b"local",
        b"lan",
        b"internal",
        b"localdomain",
        b"cluster",
        b"arpa",
    ];
    let Some(dot) = memchr::memrchr(b'.', chunk) else { return false };
    dot > 0
        && ENDS.contains(&&chunk[dot + 1..])
        && chunk.iter().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'.' | b'-'))
}

fn part<S: Sink>(text: &[u8], start: usize, end: usize, sink: &mut S) {
    if is_value_word(text, start, end) {
        sink.hole(text, start, end);
    } else if end > start {
        sink.word(text, start, end);
    }
}

/// Parts with a digit somewhere. Returns where the scan goes on if that is after `end`.
fn with_digits<S: Sink>(text: &[u8], start: usize, end: usize, may_grow: bool, sink: &mut S) -> Option<usize> {
    let chunk = &text[start..end];
    // A percentage: the sign is kept.
    let has = |byte: u8| memchr::memchr(byte, chunk).is_some();
    if is_numeric(chunk) {
        // Numbers, times, dates, addresses, versions.
        let with = if may_grow && chunk.last().is_some_and(u8::is_ascii_digit) { with_groups(text, end) } else { end };
        sink.hole(text, start, with);
        return (with > end).then_some(with);
    }
    // `12.5/sec`
    if let Some(slash) = memchr::memchr(b'/', chunk)
        && slash > 0
        && chunk[..slash].iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
        && chunk[slash + 1..].iter().all(u8::is_ascii_alphabetic)
    {
        sink.hole(text, start, start + slash);
        sink.mark(text, start + slash);
        sink.word(text, start + slash + 1, end);
        return None;
    }
    if has(b':') && !is_hex_groups(chunk) {
        // `name:12`, `host:80`, `12:name`: each side for itself, unless it is an address.
        let first = memchr::memchr(b':', chunk).expect("there is one");
        let (name, rest) = (&chunk[..first], &chunk[first + 1..]);
        let is_port = rest.len() <= 5 && rest.iter().all(u8::is_ascii_digit);
        if is_port && (name.contains(&b'.') || name.eq_ignore_ascii_case(b"localhost") || name.iter().any(u8::is_ascii_digit)) {
            sink.hole(text, start, end);
            return None;
        }
        let flags = |part: &[u8]| part.iter().fold(0, |flags, byte| flags | class(*byte));
        if rest.first() != Some(&b':')
            && !name.is_empty()
            && !rest.is_empty()
            && (flags(name) & DIGIT == 0 || flags(rest) & DIGIT == 0)
        {
            piece(text, start, start + first, sink);
            sink.mark(text, start + first);
            piece(text, start + first + 1, end, sink);
            return None;
        }
        sink.hole(text, start, end);
        return None;
    }
    dashed(text, start, end, sink);
    None
}

/// One side of a colon.
fn piece<S: Sink>(text: &[u8], start: usize, end: usize, sink: &mut S) {
    let flags = text[start..end].iter().fold(0, |flags, byte| flags | class(*byte));
    if flags & DIGIT == 0 {
        without_digits(text, start, end, sink);
    } else if flags & JOIN == 0 {
        letters_and_digits(text, start, end, sink);
    } else if is_numeric(&text[start..end]) {
        sink.hole(text, start, end);
    } else {
        dashed(text, start, end, sink);
    }
}

/// `node-12`, `task_1-2`, `HTTP/1.1`, `host1.example.com`: leading words without digits are kept, the rest is one value.
fn dashed<S: Sink>(text: &[u8], start: usize, end: usize, sink: &mut S) {
    let chunk = &text[start..end];
    let is_id = chunk.iter().any(|byte| matches!(byte, b'@' | b'\\')) || is_hex_groups(chunk);
    let mut at = start;
    loop {
        if is_id {
            break;
        }
        let Some(cut) = text[at..end].iter().position(|byte| matches!(byte, b'-' | b'/')).map(|cut| at + cut) else { break };
        let word = &text[at..cut];
        if word.is_empty() || !word.iter().all(u8::is_ascii_alphabetic) {
            break;
        }
        at = cut + 1;
    }
    // A path or a host name keeps no words.
    let rest = &text[at..end];
    let slashes = memchr::memchr_iter(b'/', &text[start..at]).count();
    let is_file =
        rest.contains(&b'.') && !rest.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.') && text[start..at].contains(&b'-');
    if at == start || slashes > 1 || is_file || !rest.iter().any(u8::is_ascii_digit) {
        if rest.len() == chunk.len() && chunk.iter().all(|byte| class(*byte) & JOIN == 0) {
            letters_and_digits(text, start, end, sink);
        } else {
            sink.hole(text, start, end);
        }
        return;
    }
    sink.word(text, start, at - 1);
    sink.mark(text, at - 1);
    sink.hole(text, at, end);
}

/// Digits and what stands between the parts of numbers, dates, times, addresses; at most one letter in a row (`T`, `Z`, `e`).
fn is_numeric(chunk: &[u8]) -> bool {
    let mut letters = 0;
    for &byte in chunk {
        if class(byte) & LETTER != 0 {
            letters += 1;
            if letters > 1 || byte == b'_' {
                return false;
            }
        } else {
            letters = 0;
        }
    }
    true
}

/// Groups of hexadecimal digits: hardware addresses, IPv6, UUIDs.
fn is_hex_groups(chunk: &[u8]) -> bool {
    let separators = chunk.iter().filter(|byte| matches!(byte, b':' | b'-')).count();
    separators >= 2
        && chunk.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'-' | b'.' | b'%'))
        && chunk.iter().any(u8::is_ascii_digit)
}
