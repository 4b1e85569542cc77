//! What is kept of a pattern outside of memory.

use crate::shape::{Shape, take};

/// A pattern as it is stored: with it a new [`Miner`](crate::Miner) gives the same lines the same id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPattern {
    /// Its id.
    pub id: u64,
    /// Its text, with `<*>` where values stand.
    pub template: String,
    /// What the miner needs to know of it besides; opaque, a few hundred bytes.
    pub state: Vec<u8>,
}

/// The first byte of a state.
const VERSION: u8 = 1;

/// What a state says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Whether words have become holes, so that it is looked for among new messages.
    pub(crate) general: bool,
    pub(crate) shape: Shape,
    /// Most words of a message that has become part of it; see `Index::find`.
    pub(crate) words: u8,
    /// Signatures of lines that have it.
    pub(crate) members: Vec<u64>,
    /// Their coarse hashes.
    pub(crate) coarse: Vec<u64>,
}

impl State {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, u8::from(self.general), self.words];
        self.shape.encode(&mut out);
        for list in [&self.members, &self.coarse] {
            out.push(list.len() as u8);
            for hash in list {
                out.extend_from_slice(&hash.to_le_bytes());
            }
        }
        out
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let [VERSION, general, words] = *take::<3>(bytes)? else { return None };
        let shape = Shape::decode(bytes)?;
        let mut lists = [Vec::new(), Vec::new()];
        for list in &mut lists {
            let [count] = *take::<1>(bytes)?;
            for _ in 0..count {
                list.push(u64::from_le_bytes(*take::<8>(bytes)?));
            }
        }
        let [members, coarse] = lists;
        bytes.is_empty().then_some(Self { general: general == 1, shape, words, members, coarse })
    }
}
