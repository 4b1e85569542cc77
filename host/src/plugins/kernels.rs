//! Searches that compiled host code does over the batch an analyzer is looking at: no bytes cross the boundary.

use std::sync::Arc;

use regex::bytes::{RegexSet, RegexSetBuilder};
use watchfire_types::LogBatch;

/// Most patterns of one set.
const MAX_PATTERNS: usize = 256;
/// Most bytes that a compiled set may take.
const MAX_SET_BYTES: usize = 4 << 20;

/// A compiled set of patterns, as a plugin holds it.
#[expect(unreachable_pub, reason = "generated code re-exports it")]
pub struct CompiledSet(RegexSet);

impl CompiledSet {
    /// Compiles `patterns`.
    ///
    /// # Errors
    /// Says which pattern is wrong, or that they are too many or too large.
    pub(super) fn new(patterns: &[String]) -> Result<Self, String> {
        if patterns.len() > MAX_PATTERNS {
            return Err(format!("a set has at most {MAX_PATTERNS} patterns, not {}", patterns.len()));
        }
        RegexSetBuilder::new(patterns).size_limit(MAX_SET_BYTES).build().map(Self).map_err(|error| error.to_string())
    }

    fn pairs<'a>(&self, texts: impl Iterator<Item = Option<&'a [u8]>>) -> Vec<u64> {
        let rows = texts.enumerate().filter_map(|(row, text)| Some((row, text?)));
        rows.flat_map(|(row, text)| {
            self.0.matches(text).into_iter().map(move |pattern| (row * 65_536 + pattern) as u64).collect::<Vec<_>>()
        })
        .collect()
    }
}

/// The rows that an analyzer has been given.
#[derive(Clone)]
pub(super) struct KernelBatch {
    /// The batch as it was read.
    pub(super) batch: Arc<LogBatch>,
    /// Which of its rows the analyzer sees, in order.
    pub(super) rows: Vec<usize>,
}

impl KernelBatch {
    /// Returns row × 65536 + pattern for each row whose body a pattern of `set` matches, sorted.
    #[must_use]
    pub(super) fn match_body(&self, set: &CompiledSet) -> Vec<u64> {
        set.pairs(self.rows.iter().map(|row| Some(self.batch.body.data.get(*row))))
    }

    /// Does the same for attribute `key`.
    #[must_use]
    pub(super) fn match_attribute(&self, set: &CompiledSet, key: &str) -> Vec<u64> {
        let Some(key) = self.batch.dict.find(key) else { return Vec::new() };
        set.pairs(self.rows.iter().map(|row| {
            let index = self.batch.attribute_range(*row).find(|index| self.batch.attribute_key[*index] == key)?;
            Some(self.batch.attribute_value.data.get(index))
        }))
    }
}
