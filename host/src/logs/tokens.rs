//! Words of a text, and the filter that says which words a block cannot contain.

use std::borrow::Cow;

use rustc_hash::FxHashSet;
use watchfire_types::LogBatch;

/// Bits per distinct word: about 1 % of the words a block lacks look as if they were there.
const BITS_PER_WORD: usize = 10;
/// Words longer than this are not in the filter; looking for one then reads the block.
const MAX_WORD_BYTES: usize = 64;

/// Returns whether `byte` belongs to a word of ASCII text.
#[must_use]
pub const fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Calls `found` with the hash of each ASCII word of `text`, lower-cased. Words that touch a letter beyond ASCII are left out,
/// here and in [`hash_word`]'s callers, so that both sides always agree on what a word is.
pub(super) fn for_each_word(text: &[u8], mut found: impl FnMut(u64)) {
    let mut start = 0;
    while start < text.len() {
        if !is_word_byte(text[start]) {
            start += 1;
            continue;
        }
        let mut end = start;
        let mut hash = SEED;
        while end < text.len() && is_word_byte(text[end]) {
            hash = step(hash, text[end]);
            end += 1;
        }
        if end - start <= MAX_WORD_BYTES {
            found(finish(hash));
        }
        start = end;
    }
}

const SEED: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a over lower-cased bytes: words are short, and one multiplication a byte beats setting up a stronger hash.
#[inline]
const fn step(hash: u64, byte: u8) -> u64 {
    (hash ^ byte.to_ascii_lowercase() as u64).wrapping_mul(0x0100_0000_01b3)
}

/// Spreads FNV's weak high bits (the finaliser of `MurmurHash3`).
#[inline]
const fn finish(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// Returns the hash under which `word` stands in a filter, or nothing if it is never put there.
#[must_use]
pub fn hash_word(word: &str) -> Option<u64> {
    let fits = !word.is_empty() && word.len() <= MAX_WORD_BYTES && word.bytes().all(is_word_byte);
    fits.then(|| finish(word.bytes().fold(SEED, step)))
}

/// Returns the hash under which a trace id stands in a filter: no word has it but by chance.
#[must_use]
pub fn hash_trace(id: &[u8; 16]) -> u64 {
    finish(id.iter().fold(SEED ^ 0x7472_6163_6569_6421, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)))
}

/// What says which words a block may contain.
pub trait Words {
    /// Returns whether a word with this hash may be there. `false` is certain.
    fn may_contain(&self, word: u64) -> bool;

    /// Returns whether it knows more than the words of bodies and attributes: filters of older blocks do not.
    fn has_traces(&self) -> bool;
}

/// Bytes of a bucket, in which all bits of a word lie.
pub(super) const BUCKET_BYTES: usize = 32;

/// Ends a filter that knows trace ids, attributes of resources, and bytes as they are shown.
const KNOWS_TRACES: u8 = 1;

/// Which words a block may contain: a blocked Bloom filter (Putze, Sanders, Singler 2007, as in Parquet), eight bits in one 32-byte bucket per word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFilter<'a>(Cow<'a, [u8]>);

impl<'a> TokenFilter<'a> {
    /// Returns the filter of all words in bodies and attribute values of `batch`, and of its trace ids.
    #[must_use]
    pub fn build(batch: &LogBatch) -> Self {
        let mut words = FxHashSet::default();
        for_each_row(&batch.body.data, |text| for_each_word(text, |word| _ = words.insert(word)));
        for_each_row(&batch.attribute_value.data, |text| for_each_word(text, |word| _ = words.insert(word)));
        let shown = batch.resources.iter().flatten().map(|(_, value)| value.as_ref().display());
        let bytes = (0..batch.attribute_value.kind.len()).filter(|index| batch.attribute_value.kind[*index] == 5);
        for text in shown.chain(bytes.map(|index| batch.attribute_value.get(index).display())) {
            for_each_word(text.as_bytes(), |word| _ = words.insert(word));
        }
        words.extend(batch.trace_id.iter().filter(|id| **id != [0; 16]).map(hash_trace));
        let buckets = (words.len() * BITS_PER_WORD).div_ceil(256).max(1);
        let mut filter = vec![0; buckets * BUCKET_BYTES];
        for word in words {
            let start = bucket_of(word, buckets) * BUCKET_BYTES;
            bits(word).for_each(|(byte, bit)| filter[start + byte] |= bit);
        }
        filter.push(KNOWS_TRACES);
        Self(filter.into())
    }

    /// Wraps stored bytes. An empty filter rules nothing out.
    #[must_use]
    pub fn from_bytes(bytes: &'a [u8]) -> Self {
        Self(bytes.into())
    }

    /// Returns the bytes to store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Words for TokenFilter<'_> {
    fn may_contain(&self, word: u64) -> bool {
        let buckets = self.0.len() / BUCKET_BYTES;
        if buckets == 0 {
            return true;
        }
        let start = bucket_of(word, buckets) * BUCKET_BYTES;
        is_in_bucket(word, &self.0[start..start + BUCKET_BYTES])
    }

    fn has_traces(&self) -> bool {
        self.0.len() % BUCKET_BYTES == 1 && self.0.last() == Some(&KNOWS_TRACES)
    }
}

/// Returns in which of so many buckets a word is.
pub(super) fn bucket_of(word: u64, buckets: usize) -> usize {
    (((word >> 32) * buckets as u64) >> 32) as usize
}

/// Returns whether a word that belongs into this bucket may be there.
pub(super) fn is_in_bucket(word: u64, bucket: &[u8]) -> bool {
    bits(word).all(|(byte, bit)| bucket.get(byte).is_none_or(|bits| bits & bit != 0))
}

/// Returns the bytes and bits of a word in its bucket.
fn bits(word: u64) -> impl Iterator<Item = (usize, u8)> {
    const SALT: [u32; 8] = [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];
    SALT.into_iter().enumerate().map(move |(lane, salt)| {
        let bit = (word as u32).wrapping_mul(salt) >> 27;
        (lane * 4 + (bit >> 3) as usize, 1 << (bit & 7))
    })
}

fn for_each_row(column: &watchfire_types::log::TextColumn, mut row: impl FnMut(&[u8])) {
    (0..column.len()).for_each(|index| row(column.get(index)));
}

#[cfg(test)]
mod tests {
    use watchfire_types::ValueRef;
    use watchfire_types::log::RecordHead;

    use super::*;

    #[test]
    fn every_word_that_is_there_is_found_and_few_others_are() {
        let mut batch = LogBatch::default();
        for row in 0..2_000 {
            batch.push(&RecordHead::default(), ValueRef::Text(&format!("Request req_{row} took {row}ms")));
            batch.attribute("path", ValueRef::Text(&format!("/api/item{row}")));
        }
        let filter = TokenFilter::build(&batch);
        let has = |word: &str| filter.may_contain(hash_word(word).unwrap());
        assert!(has("request") && has("REQ_1999") && has("item7") && has("12ms"));
        let wrong = (0..10_000).filter(|number| has(&format!("absent{number}"))).count();
        assert!(wrong < 300, "{wrong} of 10000 absent words look present");
    }
}
