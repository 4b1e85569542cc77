//! Follows files: each line becomes a record once, across rotation, truncation, restarts and `kill -9`.
//!
//! `discover` finds the files that patterns stand for, `watch` tells of changes, [`tail`] follows one path, `rotation` and
//! `packed` find what its files have become, `reader` finds lines, `chunk`,
//! `multiline` and `records` make records of them, [`stream`] does so with what is no file, `follow` sees to it that all files have their turn.
//!
//! **Invariant**: a position is stored in the transaction of the lines before it, and a file waits rather than drop a line.

mod chunk;
mod discover;
mod follow;
pub mod glob;
mod multiline;
mod packed;
mod permission;
pub mod positions;
mod reader;
mod records;
mod rotation;
#[cfg(test)]
mod rotation_tests;
mod siblings;
pub mod status;
pub mod stream;
pub mod tail;
#[cfg(test)]
mod tests;
mod watch;

use std::ops::Range;
use std::path::Path;

use regex::Regex;

use self::glob::{BadPattern, Exclude, Pattern};
use self::multiline::Rules;
use crate::config::FileInput;

pub use follow::{Following, follow};
pub use status::{FileState, FileStatus, FileStatuses};

/// An input with its patterns compiled.
#[derive(Debug)]
pub struct Input {
    /// As configured.
    pub config: FileInput,
    patterns: Vec<Pattern>,
    excludes: Vec<Exclude>,
    rules: Rules,
}

/// Why an input cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum BadInput {
    /// A pattern of files.
    #[error(transparent)]
    Pattern(#[from] BadPattern),
    /// A pattern of lines.
    #[error("`{pattern}` is no regular expression: {source}")]
    Lines {
        /// As written.
        pattern: String,
        /// Why.
        source: Box<regex::Error>,
    },
}

impl Input {
    /// Compiles an input.
    ///
    /// # Errors
    /// Says which pattern is wrong; the configuration has checked them before.
    pub fn new(config: FileInput) -> Result<Self, BadInput> {
        let patterns = config.paths.iter().map(|path| Pattern::new(path)).collect::<Result<_, _>>()?;
        let excludes = config.exclude.iter().map(|text| Exclude::new(text)).collect::<Result<_, _>>()?;
        let regex = |text: &Option<String>| {
            let compile = |text: &String| {
                let bad = |source| BadInput::Lines { pattern: text.clone(), source: Box::new(source) };
                Regex::new(text).map_err(bad)
            };
            text.as_ref().map(compile).transpose()
        };
        let multiline = &config.multiline;
        let rules = match (regex(&multiline.start)?, regex(&multiline.continues)?) {
            _ if !multiline.enabled => Rules::Off,
            (None, None) => Rules::Traces,
            (start, continues) => Rules::Custom { start, continues, max_lines: multiline.max_lines },
        };
        Ok(Self { config, patterns, excludes, rules })
    }

    /// Returns whether a pattern means this file, and no exclusion does.
    fn wants(&self, path: &Path) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(path)) && !self.excludes.iter().any(|exclude| exclude.matches(path))
    }

    /// Returns whether the file is named as it is, not by a pattern.
    fn names(&self, path: &Path) -> bool {
        self.patterns.iter().any(|pattern| pattern.is_literal() && pattern.text() == path)
    }
}

/// Returns which of `lines` are put together as stack traces. For fuzzing: followed files do this by themselves.
#[doc(hidden)]
#[must_use]
pub fn traces(lines: &[&str]) -> Vec<Range<usize>> {
    Rules::Traces.join(lines, &mut |line| line.contains("ERROR")).into_iter().map(|joined| joined.lines).collect()
}
