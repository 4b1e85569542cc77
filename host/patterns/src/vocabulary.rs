//! Words that programs use in their messages, as opposed to names.
//!
//! Taken from the texts in the binaries of about eight hundred programs of a Linux distribution: words that fifteen of them share.

use std::sync::OnceLock;

use rustc_hash::FxHashSet;

use crate::bytes::hash;

static WORDS: OnceLock<FxHashSet<u64>> = OnceLock::new();

/// Returns whether `word` is one of them, in any case and with the usual endings.
pub(crate) fn contains(word: &[u8]) -> bool {
    let words = WORDS.get_or_init(|| include_str!("vocabulary.txt").lines().map(|word| hash(word.as_bytes())).collect());
    if word.len() > 24 {
        return false;
    }
    if word.contains(&b'-') {
        return word.split(|byte| *byte == b'-').all(|part| part.len() > 1 && contains(part));
    }
    let lower = word.to_ascii_lowercase();
    if words.contains(&hash(&lower)) {
        return true;
    }
    [&b"s"[..], b"es", b"ed", b"d", b"ing", b"ly", b"er"]
        .iter()
        .any(|ending| lower.strip_suffix(*ending).is_some_and(|stem| stem.len() > 3 && words.contains(&hash(stem))))
}

#[cfg(test)]
mod tests {
    #[test]
    fn words_of_messages_are_known_and_names_are_not() {
        for word in ["Started", "stopped", "connection", "REFUSED", "closing"] {
            assert!(super::contains(word.as_bytes()), "{word}");
        }
        for word in ["alice", "mysqld", "web-frontend", "QuorumPeer", "org.x.Y"] {
            assert!(!super::contains(word.as_bytes()), "{word}");
        }
    }
}
