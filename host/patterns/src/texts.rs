//! Texts that are values wherever they stand: what an operating system calls its errors.

use std::sync::OnceLock;

use rustc_hash::FxHashSet;

use crate::bytes::{SEED, then};
use crate::scan::scan;
use crate::shape::Collect;

static ERRORS: OnceLock<FxHashSet<u64>> = OnceLock::new();

/// Returns whether the elements with this hash are the text of an error: `Connection refused`, `no such file or directory`.
pub(crate) fn is_error(hash: u64) -> bool {
    ERRORS
        .get_or_init(|| include_str!("errors.txt").lines().flat_map(|text| [of(text), of(&decapitalised(text))]).collect())
        .contains(&hash)
}

fn of(text: &str) -> u64 {
    let mut collect = Collect::default();
    scan(text.as_bytes(), 0, &mut collect);
    collect.shape.codes().into_iter().fold(SEED, then)
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
    #[test]
    fn errors_are_known_by_their_text() {
        assert!(super::is_error(super::of("connection refused")));
        assert!(!super::is_error(super::of("connection established")));
    }
}
