//! Finds the pattern with holes for words that describes a message.

use rustc_hash::FxHashMap;

use crate::align::describes;
use crate::shape::{Kind, Shape};

/// Patterns by one of their words. There is no tree that begins at the first word: that may be a variable.
#[derive(Debug, Default)]
pub(crate) struct Index {
    by_word: FxHashMap<u64, Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    slot: u32,
    id: u64,
    shape: Shape,
    codes: Vec<u64>,
    words: usize,
}

/// Returns the word under which a pattern is found: its longest.
fn anchor(shape: &Shape) -> Option<u64> {
    let longest = shape
        .tokens()
        .iter()
        .zip(shape.codes())
        .filter(|(token, _)| token.kind == Kind::Word)
        .max_by_key(|(token, code)| (token.len, *code));
    longest.map(|(_, code)| code)
}

impl Index {
    pub(crate) fn clear(&mut self) {
        self.by_word.clear();
    }

    pub(crate) fn insert(&mut self, slot: u32, id: u64, shape: &Shape) {
        let Some(anchor) = anchor(shape) else { return };
        let entry = Entry { slot, id, codes: shape.codes(), words: shape.words(), shape: shape.clone() };
        self.by_word.entry(anchor).or_default().push(entry);
    }

    /// Returns the slot of the pattern that describes a message and says most about it; of several the oldest. `but` is left out.
    pub(crate) fn find(&self, message: &Shape, codes: &[u64], but: Option<u32>) -> Option<u32> {
        if self.by_word.is_empty() {
            return None;
        }
        let words = message.words();
        let mut best: Option<&Entry> = None;
        for (token, code) in message.tokens().iter().zip(codes) {
            if token.kind != Kind::Word {
                continue;
            }
            for entry in self.by_word.get(code).map_or(&[][..], Vec::as_slice) {
                let better = best.is_none_or(|best| (entry.words, best.id) > (best.words, entry.id));
                // Enough of the message must be words of the pattern.
                if better
                    && Some(entry.slot) != but
                    && entry.words * 5 >= words * 2
                    && describes(&entry.shape, &entry.codes, message, codes)
                {
                    best = Some(entry);
                }
            }
        }
        best.map(|entry| entry.slot)
    }
}
