//! Texts that are values wherever they stand: what an operating system calls its errors.

use std::sync::OnceLock;

use rustc_hash::FxHashSet;

use crate::bytes::{SEED, then};
use crate::scan::scan;
use crate::shape::Collect;

/// What errors are called, by the hash of all of the text; and the first words of such texts.
#[derive(Default)]
struct Errors {
    texts: FxHashSet<u64>,
    first: FxHashSet<u64>,
    longest: usize,
}

static ERRORS: OnceLock<Errors> = OnceLock::new();

fn errors() -> &'static Errors {
    ERRORS.get_or_init(|| {
        let mut errors = Errors::default();
        for text in include_str!("errors.txt").lines() {
            for text in [text, &decapitalised(text)] {
                let codes = codes(text);
                errors.first.extend(codes.first());
                errors.longest = errors.longest.max(codes.len());
                errors.texts.insert(codes.into_iter().fold(SEED, then));
            }
        }
        errors
    })
}

/// Returns whether the elements with this hash are the text of an error: `Connection refused`, `no such file or directory`.
pub(crate) fn is_error(hash: u64) -> bool {
    errors().texts.contains(&hash)
}

/// Returns how many elements the text of an error has that begins here: the longest.
pub(crate) fn error_at(codes: &[u64]) -> Option<usize> {
    let errors = errors();
    if !errors.first.contains(codes.first()?) {
        return None;
    }
    let mut hash = SEED;
    let mut found = None;
    for (index, code) in codes.iter().take(errors.longest).enumerate() {
        hash = then(hash, *code);
        if errors.texts.contains(&hash) {
            found = Some(index + 1);
        }
    }
    found
}

fn codes(text: &str) -> Vec<u64> {
    let mut collect = Collect::default();
    scan(text.as_bytes(), 0, &mut collect);
    collect.shape.codes()
}

fn decapitalised(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    if bytes.len() > 1 && bytes[1].is_ascii_lowercase() {
        bytes[0].make_ascii_lowercase();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_known_by_their_text() {
        assert_eq!(error_at(&codes("connection refused by x")), Some(2));
        assert_eq!(error_at(&codes("connection established")), None);
    }
}
