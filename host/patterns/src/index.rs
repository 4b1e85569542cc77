//! Finds the pattern with holes for words that describes a message.

use rustc_hash::FxHashMap;

use crate::align::describes;
use crate::shape::{Kind, Shape};
use crate::stored::State;

/// Most patterns that one message is compared with: only lines that were made to be slow have more.
const MAX_COMPARED: usize = 256;

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
    /// Most words of a message that it describes.
    limit: usize,
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

    pub(crate) fn insert(&mut self, slot: u32, id: u64, state: &State) {
        let shape = &state.shape;
        let Some(anchor) = anchor(shape) else { return };
        // Twice as many as in any of those that it was made from. It only ever grows: what was described once always will be.
        let limit = 2 * usize::from(state.words);
        let entry = Entry { slot, id, codes: shape.codes(), words: shape.words(), limit, shape: shape.clone() };
        self.by_word.entry(anchor).or_default().push(entry);
    }

    /// Returns the slot of the pattern that describes a message and says most about it; of several the oldest. `but` is left out.
    pub(crate) fn find(&self, message: &Shape, codes: &[u64], but: Option<u32>) -> Option<u32> {
        if self.by_word.is_empty() {
            return None;
        }
        let words = message.words();
        let mut best: Option<&Entry> = None;
        let mut compared = 0;
        for (token, code) in message.tokens().iter().zip(codes) {
            if token.kind != Kind::Word {
                continue;
            }
            for entry in self.by_word.get(code).map_or(&[][..], Vec::as_slice) {
                let better = best.is_none_or(|best| (entry.words, best.id) > (best.words, entry.id));
                if compared >= MAX_COMPARED {
                    return best.map(|entry| entry.slot);
                }
                if better
                    && Some(entry.slot) != but
                    && words <= entry.limit
                    && describes(&entry.shape, &entry.codes, message, codes)
                {
                    best = Some(entry);
                }
                compared += usize::from(better);
            }
        }
        best.map(|entry| entry.slot)
    }
}
