//! What each byte is to the scanner, and how words are hashed.

/// Ends a word and is not kept: blanks and control characters.
pub(crate) const SPACE: u8 = 1;
/// Ends a word and stands for itself: brackets, quotes, `=`, `,` and so on.
pub(crate) const MARK: u8 = 2;
/// `0` to `9`.
pub(crate) const DIGIT: u8 = 4;
/// Stands inside a word, and may separate its parts: `. : / - + @ % ~` and `\`.
pub(crate) const JOIN: u8 = 8;
/// Letters, `_`, and everything outside ASCII.
pub(crate) const LETTER: u8 = 16;

/// Begins a character of a script without blanks between words; a letter as well.
pub(crate) const WIDE: u8 = 32;

/// The class of each byte.
pub(crate) static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            0..=b' ' | 0x7f => SPACE,
            b'0'..=b'9' => DIGIT,
            b'.' | b':' | b'/' | b'-' | b'+' | b'@' | b'%' | b'\\' | b'~' => JOIN,
            0xe3..=0xef => LETTER | WIDE,
            b'A'..=b'Z' | b'a'..=b'z' | b'_' | 0x80.. => LETTER,
            _ => MARK,
        };
        byte += 1;
    }
    classes
}

#[inline]
pub(crate) fn class(byte: u8) -> u8 {
    CLASS[byte as usize]
}

/// Folds the 128-bit product of two numbers: each bit of the result depends on all of both.
#[inline]
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// Odd constants without structure, from the digits of pi.
pub(crate) const SEED: u64 = 0x243f_6a88_85a3_08d3;
const KEY: u64 = 0x1319_8a2e_0370_7345;

/// Returns the hash of a word.
#[inline]
pub(crate) fn hash(word: &[u8]) -> u64 {
    let mut hash = SEED ^ (word.len() as u64);
    let mut chunks = word.chunks_exact(8);
    for chunk in &mut chunks {
        hash = mix(hash ^ u64::from_le_bytes(chunk.try_into().expect("eight bytes")), KEY);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        let mut last = 0;
        for &byte in rest {
            last = last << 8 | u64::from(byte);
        }
        hash = mix(hash ^ last, KEY);
    }
    hash
}

/// Returns the hash of a sequence whose hash so far is `sequence`, with one more element.
#[inline]
pub(crate) fn then(sequence: u64, element: u64) -> u64 {
    mix(sequence ^ element, KEY).wrapping_add(sequence.rotate_left(23))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_repetition_change_a_hash() {
        let [a, b] = [hash(b"a"), hash(b"b")];
        assert_ne!(then(then(SEED, a), b), then(then(SEED, b), a));
        assert_ne!(then(SEED, a), then(then(SEED, a), a));
        assert_ne!(hash(b""), hash(b"\0"));
        assert_ne!(hash(b"12345678"), hash(b"123456780"));
    }
}
