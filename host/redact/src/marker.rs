//! What is put in place of what was found, and how it is told when it is met again.

use ring::hmac;

use crate::settings::Action;

/// Letters of a hash. Sixteen of them are 64 bits; digits are not among them, so that no hash looks like a number to the rules.
const HASH_LETTERS: &[u8; 16] = b"abcdefghijklmnop";

/// How long a hash is.
const HASH_LENGTH: usize = 16;

/// Makes what is put in place.
pub(crate) struct Markers {
    key: hmac::Key,
}

impl Markers {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// Appends to `output` what `action` of rule `name` puts in place of `found`.
    pub(crate) fn write(&self, output: &mut Vec<u8>, name: &str, action: Action, found: &[u8]) {
        match action {
            Action::Off => output.extend_from_slice(found),
            Action::Remove => {}
            Action::Mask => {
                output.extend_from_slice(b"[redacted:");
                output.extend_from_slice(name.as_bytes());
                output.push(b']');
            }
            Action::Hash => {
                let tag = hmac::sign(&self.key, found);
                output.push(b'[');
                output.extend_from_slice(name.as_bytes());
                output.push(b':');
                let letters = tag.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]).take(HASH_LENGTH);
                output.extend(letters.map(|nibble| HASH_LETTERS[usize::from(nibble)]));
                output.push(b']');
            }
        }
    }
}

/// Returns how long the marker is that `text` begins with; 0 if it begins with none.
pub(crate) fn length(text: &[u8]) -> usize {
    let Some(inner) = text.strip_prefix(b"[") else { return 0 };
    let Some(end) = inner.iter().take(64).position(|byte| *byte == b']') else { return 0 };
    let inner = &inner[..end];
    let is_name =
        |name: &[u8]| !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    let is_marker = match inner.iter().position(|byte| *byte == b':').map(|colon| (&inner[..colon], &inner[colon + 1..])) {
        Some((b"redacted", name)) => is_name(name),
        Some((name, hash)) => is_name(name) && hash.len() == HASH_LENGTH && hash.iter().all(|letter| HASH_LETTERS.contains(letter)),
        None => false,
    };
    if is_marker { end + 2 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_told_again() {
        let markers = Markers::new(&[7; 32]);
        for action in [Action::Mask, Action::Hash] {
            let mut text = Vec::new();
            markers.write(&mut text, "cn_id", action, b"secret");
            let whole = text.len();
            text.extend_from_slice(b" and more");
            assert_eq!(length(&text), whole, "{}", String::from_utf8_lossy(&text));
        }
        for text in ["[redacted:]", "[redacted]", "[a:b]", "[a:abcdefghijklmnoz]", "redacted:a]", "[redacted:a", "[]", "["] {
            assert_eq!(length(text.as_bytes()), 0, "{text}");
        }
    }

    #[test]
    fn a_hash_is_the_same_for_the_same_key_and_value_only() {
        let hash = |key, value: &[u8]| {
            let mut text = Vec::new();
            Markers::new(&[key; 32]).write(&mut text, "email", Action::Hash, value);
            text
        };
        assert_eq!(hash(1, b"a"), hash(1, b"a"));
        assert!(hash(1, b"a") != hash(1, b"b") && hash(1, b"a") != hash(2, b"a"));
    }
}
