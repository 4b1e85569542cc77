//! One word or phrase: found in any case, as whole words.

use regex::bytes::{Regex, RegexBuilder};
use watchfire_types::log::TextColumn;

use crate::logs::block::probe::Run;
use crate::logs::tokens::{hash_word, is_word_byte};

/// A word or phrase made ready.
#[derive(Debug)]
pub struct Term {
    pattern: Regex,
    /// Whether the text must end, or go on with something else than a letter or digit, after the term.
    whole_start: bool,
    whole_end: bool,
    /// Words of which a block must contain every one.
    words: Vec<u64>,
    /// Letters that a text with it has.
    run: Option<Run>,
}

/// Returns whether words are told apart at `char` by white space and punctuation. Chinese, Japanese and their like write
/// words without gaps, so their characters match anywhere.
fn is_word_char(char: char) -> bool {
    char == '_' || (char.is_alphanumeric() && char < '\u{2e80}')
}

impl Term {
    /// Compiles `text`; with `prefix` it may go on.
    #[must_use]
    pub fn new(text: &str, prefix: bool) -> Self {
        let pattern = RegexBuilder::new(&regex::escape(text))
            .case_insensitive(true)
            .unicode(!text.is_ascii())
            .size_limit(8 << 20)
            .build()
            // Longer than [`crate::logs::types::MAX_TEXT_BYTES`], which every way in checks: no record has it.
            .unwrap_or_else(|_| Regex::new("[a&&b]").expect("a constant pattern"));
        let last_is_cut = prefix && text.chars().next_back().is_some_and(is_word_char);
        let mut words: Vec<&str> = text.split(|char: char| !is_word_char(char) && char.is_ascii()).collect();
        if last_is_cut {
            words.pop();
        }
        let words = words.iter().filter_map(|word| hash_word(word)).collect();
        Self {
            pattern,
            whole_start: text.chars().next().is_some_and(is_word_char),
            whole_end: !prefix && text.chars().next_back().is_some_and(is_word_char),
            words,
            // Beyond ASCII a letter may have another one's case.
            run: Run::of(text.as_bytes()).filter(|_| text.is_ascii()),
        }
    }

    /// Returns letters that every text with it has.
    #[must_use]
    pub fn run(&self) -> Option<&Run> {
        self.run.as_ref()
    }

    /// Returns the hashes of words of which a block that has the term has every one.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Calls `hit` with each row of `column` that contains the term, once or more often.
    pub fn mark(&self, column: &TextColumn, mut hit: impl FnMut(usize)) {
        // One pass over all rows at once: a search that is set up per row costs more than it finds.
        let mut at = 0;
        while let Some(found) = self.pattern.find_at(&column.bytes, at) {
            let row = column.row_at(found.start());
            let (start, end) = (column.offsets[row] as usize, column.offsets[row + 1] as usize);
            if found.end() <= end && self.is_whole(&column.bytes[start..end], found.start() - start, found.end() - start) {
                hit(row);
                at = end.max(at + 1);
            } else {
                at = self.after_miss(&column.bytes[..end], found.start());
            }
        }
    }

    /// Returns whether `text` contains the term.
    #[must_use]
    pub fn is_in(&self, text: &[u8]) -> bool {
        let mut at = 0;
        while let Some(found) = self.pattern.find_at(text, at) {
            if self.is_whole(text, found.start(), found.end()) {
                return true;
            }
            at = self.after_miss(text, found.start());
        }
        false
    }

    /// Returns where to look on after something at `start` that was no whole word: what must begin a word begins nowhere within one.
    fn after_miss(&self, text: &[u8], start: usize) -> usize {
        let inside = || text[start..].iter().take_while(|byte| is_word_byte(**byte)).count();
        start + if self.whole_start { inside().max(1) } else { 1 }
    }

    fn is_whole(&self, text: &[u8], start: usize, end: usize) -> bool {
        // A character has at most four bytes: to look further would take time squared in a long text.
        let before = || {
            (1..=start.min(4))
                .find_map(|length| str::from_utf8(&text[start - length..start]).ok())
                .and_then(|char| char.chars().next_back())
        };
        let after = || text[end..text.len().min(end + 4)].utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
        let quick = |byte: Option<&u8>, char: &dyn Fn() -> Option<char>| match byte {
            Some(byte) if byte.is_ascii() => is_word_byte(*byte),
            Some(_) => char().is_some_and(is_word_char),
            None => false,
        };
        !(self.whole_start && quick(text[..start].last(), &before) || self.whole_end && quick(text.get(end), &after))
    }
}
