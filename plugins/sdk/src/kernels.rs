//! Searches over the batch at hand that the host does with compiled code: nothing is copied, and the plugin reads only what was found.

use crate::Result;
#[cfg(target_arch = "wasm32")]
use crate::bindings::host::kernels as imports;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::host::kernels as imports;

/// A set of at most 256 regular expressions, to be made once.
pub struct RegexSet(imports::RegexSet);

/// Where a pattern of a set matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// Which record of the batch.
    pub row: usize,
    /// Which pattern of the set.
    pub pattern: usize,
}

impl RegexSet {
    /// Compiles `patterns`.
    ///
    /// # Errors
    /// If one is wrong, or they are too many or too large.
    pub fn new(patterns: impl IntoIterator<Item = impl Into<String>>) -> Result<Self> {
        let patterns: Vec<String> = patterns.into_iter().map(Into::into).collect();
        imports::RegexSet::compile(&patterns).map(Self)
    }

    /// Returns what matches in the bodies of the batch at hand, by row and then by pattern.
    ///
    /// # Errors
    /// Outside [`analyze`](crate::Analyzer::analyze).
    pub fn match_body(&self) -> Result<Vec<Match>> {
        imports::RegexSet::match_body(&self.0).map(unpack)
    }

    /// Returns what matches in attribute `key` of the batch at hand, by row and then by pattern.
    ///
    /// # Errors
    /// Outside [`analyze`](crate::Analyzer::analyze).
    pub fn match_attribute(&self, key: &str) -> Result<Vec<Match>> {
        imports::RegexSet::match_attribute(&self.0, key).map(unpack)
    }
}

fn unpack(pairs: Vec<u64>) -> Vec<Match> {
    pairs.into_iter().map(|pair| Match { row: (pair >> 16) as usize, pattern: (pair & 0xffff) as usize }).collect()
}
