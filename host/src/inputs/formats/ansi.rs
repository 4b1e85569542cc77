//! Takes the colours out of what programs write for terminals.

use std::borrow::Cow;

const ESCAPE: u8 = 0x1b;

/// Returns `text` without ANSI escape sequences.
#[must_use]
pub fn strip(text: &str) -> Cow<'_, str> {
    let Some(first) = memchr::memchr(ESCAPE, text.as_bytes()) else { return Cow::Borrowed(text) };
    let mut kept = String::with_capacity(text.len());
    kept.push_str(&text[..first]);
    let mut rest = &text[first..];
    while let Some(after) = rest.strip_prefix('\x1b') {
        rest = &after[sequence(after.as_bytes())..];
        let next = memchr::memchr(ESCAPE, rest.as_bytes()).unwrap_or(rest.len());
        kept.push_str(&rest[..next]);
        rest = &rest[next..];
    }
    Cow::Owned(kept)
}

/// Returns how many bytes after the escape belong to its sequence.
///
/// Source: ECMA-48, section 5.4 (control sequences) and 8.3.89 (operating system commands).
fn sequence(bytes: &[u8]) -> usize {
    match bytes.first() {
        Some(b'[') => {
            let parameters = bytes[1..].iter().take_while(|byte| (0x20..0x40).contains(*byte)).count();
            let end = bytes.get(1 + parameters).is_some_and(|byte| (0x40..0x7f).contains(byte));
            1 + parameters + usize::from(end)
        }
        Some(b']') => {
            let end = bytes.iter().position(|byte| *byte == 0x07 || *byte == ESCAPE);
            match end {
                Some(end) if bytes[end] == 0x07 => end + 1,
                Some(end) if bytes.get(end + 1) == Some(&b'\\') => end + 2,
                // Without its end, only the mark is taken.
                _ => 1,
            }
        }
        Some(b'(' | b')') if bytes.get(1).is_some_and(u8::is_ascii) => 2,
        Some(0x30..=0x7e) => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::strip;

    #[test]
    fn colours_links_and_titles_go() {
        assert_eq!(strip("\x1b[32mINFO\x1b[0m ok \x1b[1;38;5;200mx\x1b[m"), "INFO ok x");
        assert_eq!(strip("\x1b]8;;https://a\x07link\x1b]8;;\x1b\\ \x1b(Bx"), "link x");
        assert_eq!(strip("plain é"), "plain é");
        assert_eq!(strip("\x1b[3é \x1b"), "é ");
    }

    proptest! {
        #[test]
        fn no_escape_is_left_and_nothing_else_is_lost(text in "(\\x1b\\[[0-9;]{0,5}[a-zA-Z]?|\\PC{0,5}|\\x1b){0,12}") {
            let stripped = strip(&text);
            prop_assert!(!stripped.contains('\x1b'));
            prop_assert!(stripped.len() <= text.len());
        }
    }
}
