//! Finds runs of digits, 64 bytes at a time: a bit for each byte says whether it is a digit, and shifts of that say where enough of
//! them stand side by side. Most text is done with after the first few of those.

use crate::scan::{Candidate, Look};

/// A run of digits that may be something by itself: an IBAN may have as few as ten in a row, everything else has more.
const RUN: u32 = 10;

/// What is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    /// Ten digits in a row, or four, one other byte, and four.
    pub(crate) runs: bool,
    /// Three, one other, two, one other, four.
    pub(crate) ssn: bool,
    /// One, one other, one.
    pub(crate) dotted: bool,
}

/// Appends every place where digits stand as `wanted`.
pub(crate) fn scan(text: &[u8], wanted: Wanted, found: &mut Vec<Candidate>) {
    if !(wanted.runs || wanted.ssn || wanted.dotted) {
        return;
    }
    let mut current = block(text, 0);
    let mut last_run = 0;
    for start in (0..text.len()).step_by(64) {
        let next = block(text, start + 64);
        let digits = u128::from(next) << 64 | u128::from(current);
        current = next;
        if wanted.dotted {
            let apart = (digits & !(digits >> 1) & digits >> 2) as u64;
            each(apart, |bit| found.push(((start + bit) as u32 + 1, Look::Dotted)));
        }
        let twos = digits & digits >> 1;
        let fours = twos & twos >> 2;
        // Everything else has four in a row.
        if fours as u64 == 0 && !(wanted.ssn && twos as u64 != 0) {
            last_run = 0;
            continue;
        }
        if wanted.runs {
            let eights = fours & fours >> 4;
            let tens = eights & twos >> (RUN - 2);
            // Only where such a run begins.
            let begins = tens as u64 & !((tens as u64) << 1 | last_run);
            last_run = tens as u64 >> 63;
            let pairs = (fours & !(digits >> 4) & fours >> 5) as u64;
            each(begins | pairs, |bit| found.push(((start + bit) as u32, Look::Digits)));
        }
        if wanted.ssn {
            let threes = twos & digits >> 2;
            let parts = threes & !(digits >> 3) & twos >> 4 & !(digits >> 6) & fours >> 7;
            each(parts as u64, |bit| found.push(((start + bit) as u32, Look::Ssn)));
        }
    }
}

fn each(mut bits: u64, mut take: impl FnMut(usize)) {
    while bits != 0 {
        take(bits.trailing_zeros() as usize);
        bits &= bits - 1;
    }
}

/// Returns a bit for each of the 64 bytes from `start`, the first being the lowest; bytes past the end are no digits.
fn block(text: &[u8], start: usize) -> u64 {
    let Some(rest) = text.get(start..) else { return 0 };
    if let Some(bytes) = rest.first_chunk::<64>() {
        return mask(bytes);
    }
    let mut bytes = [0; 64];
    bytes[..rest.len()].copy_from_slice(rest);
    mask(&bytes)
}

fn mask(bytes: &[u8; 64]) -> u64 {
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().enumerate().fold(0, |mask, (index, word)| mask | word_mask(u64::from_le_bytes(*word)) << (8 * index))
}

/// Returns a bit for each byte of `word`. Eight at a time in one register: adding to what is left of a byte without its highest bit never
/// reaches the next.
const fn word_mask(word: u64) -> u64 {
    const LOW: u64 = u64::MAX / 255;
    // '0' to '9' become 0 to 9.
    let zeroed = word ^ (LOW * 0x30);
    let over = ((zeroed & (LOW * 0x7f)) + LOW * (0x80 - 10)) | zeroed;
    let digits = !over & (LOW * 0x80);
    // The highest bits of the bytes, side by side.
    (digits >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(text: &str) -> Vec<Candidate> {
        let mut found = Vec::new();
        scan(text.as_bytes(), Wanted { runs: true, ssn: true, dotted: true }, &mut found);
        found
    }

    #[test]
    fn a_mask_has_a_bit_for_each_digit() {
        for byte in 0..=255_u8 {
            for position in 0..8 {
                let mut word = *b"a/:\xb0\x00z\xff ";
                word[position] = byte;
                assert_eq!(
                    word_mask(u64::from_le_bytes(word)),
                    u64::from(byte.is_ascii_digit()) << position,
                    "{byte} at {position}"
                );
            }
        }
    }

    /// The same, slowly.
    fn slow(text: &[u8]) -> Vec<Candidate> {
        let is = |position: usize| text.get(position).is_some_and(u8::is_ascii_digit);
        let run = |position: usize, length: usize| (position..position + length).all(is);
        let mut found = Vec::new();
        for at in 0..text.len() {
            let begins = run(at, 10) && !(at > 0 && run(at - 1, 10));
            if begins || run(at, 4) && !is(at + 4) && run(at + 5, 4) {
                found.push((at as u32, Look::Digits));
            }
            if run(at, 3) && !is(at + 3) && run(at + 4, 2) && !is(at + 6) && run(at + 7, 4) {
                found.push((at as u32, Look::Ssn));
            }
            if is(at) && !is(at + 1) && is(at + 2) {
                found.push((at as u32 + 1, Look::Dotted));
            }
        }
        found
    }

    fn sorted(mut found: Vec<Candidate>) -> Vec<(u32, String)> {
        found.sort_by_key(|(position, look)| (*position, *look as u8));
        found.into_iter().map(|(position, look)| (position, format!("{look:?}"))).collect()
    }

    proptest! {
        #[test]
        fn digits_are_found_wherever_they_stand(text in "([0-9]{1,12}|[a-z .:é-]{1,40}){0,30}") {
            prop_assert_eq!(sorted(found(&text)), sorted(slow(text.as_bytes())));
        }
    }
}
