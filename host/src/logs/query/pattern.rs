//! A regular expression over many rows: rows without a text that every match has are never shown to it.

use aho_corasick::AhoCorasick;
use memchr::memmem::Finder;
use regex::bytes::Regex;
use regex_syntax::hir::literal::Extractor;
use regex_syntax::hir::{Hir, HirKind};
use watchfire_types::log::TextColumn;

use super::bits::Bits;
use crate::logs::block::probe::Run;
use crate::logs::tokens::{for_each_word, is_word_byte};

/// Shorter texts are in too many rows.
const MIN_LITERAL_BYTES: usize = 3;
/// What is longer is not looked for in many texts at once: much of it may lie in texts that are not meant.
const MAX_WITHIN_BYTES: usize = 256;
/// With more beginnings than this, looking for them costs what the expression does.
const MAX_BEGINNINGS: usize = 64;

/// A regular expression made ready.
#[derive(Debug)]
pub struct Pattern {
    regex: Regex,
    quick: Quick,
    /// Words of which a block must contain every one.
    words: Vec<u64>,
    /// Letters that a text with a match has.
    run: Option<Run>,
}

/// What tells most rows that cannot match.
#[derive(Debug)]
enum Quick {
    /// Every match has this.
    Has(Box<Finder<'static>>),
    /// Every match begins with one of these.
    Begins(Box<AhoCorasick>),
    /// Every match has a match of this, which is short, not empty, and says nothing of what stands around it: it is looked for in many
    /// texts at once.
    Within(Box<Regex>),
    /// Nothing does.
    Nothing,
}

impl Pattern {
    /// Compiles `text`, which the parser has tried.
    ///
    /// # Errors
    /// That of the expression.
    pub fn new(text: &str) -> Result<Self, regex::Error> {
        let regex = super::regex(text)?;
        let hir = regex_syntax::ParserBuilder::new().utf8(false).build().parse(text).ok();
        let mut pieces = Vec::new();
        if let Some(hir) = &hir {
            required(hir, &mut pieces);
        }
        let mut words = Vec::new();
        pieces.iter().for_each(|piece| for_each_word(whole_words(piece), |word| words.push(word)));
        // Pieces are kept apart by something that is no letter.
        let run = Run::of(&pieces.join(&b' '));
        let longest = pieces.into_iter().max_by_key(Vec::len).filter(|piece| piece.len() >= MIN_LITERAL_BYTES);
        let quick = match longest {
            Some(piece) => Quick::Has(Box::new(Finder::new(&piece).into_owned())),
            None => match hir.as_ref().and_then(beginnings) {
                Some(beginnings) => Quick::Begins(beginnings),
                None => hir.as_ref().and_then(within).map_or(Quick::Nothing, |regex| Quick::Within(Box::new(regex))),
            },
        };
        Ok(Self { regex, quick, words, run })
    }

    /// Returns the hashes of words of which a block with a match has every one.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Returns letters that every text with a match has.
    #[must_use]
    pub fn run(&self) -> Option<&Run> {
        self.run.as_ref()
    }

    /// Returns whether it is found in `text`.
    #[must_use]
    pub fn is_in(&self, text: &[u8]) -> bool {
        match &self.quick {
            Quick::Has(finder) => finder.find(text).is_some() && self.regex.is_match(text),
            Quick::Begins(_) | Quick::Within(_) | Quick::Nothing => self.regex.is_match(text),
        }
    }

    /// Returns the rows of `column` in which it is found.
    #[must_use]
    pub fn rows(&self, column: &TextColumn) -> Bits {
        let mut rows = Bits::none(column.len());
        let mut at = 0;
        let mut look = |find: &dyn Fn(&[u8]) -> Option<usize>| {
            while let Some(found) = column.bytes.get(at..).and_then(find) {
                let row = column.row_at(at + found);
                if self.regex.is_match(column.get(row)) {
                    rows.set(row);
                }
                at = (column.offsets[row + 1] as usize).max(at + 1);
            }
        };
        match &self.quick {
            Quick::Has(finder) => look(&|bytes| finder.find(bytes)),
            Quick::Begins(beginnings) => look(&|bytes| beginnings.find(bytes).map(|found| found.start())),
            Quick::Within(regex) => look(&|bytes| regex.find(bytes).map(|found| found.start())),
            Quick::Nothing => {
                (0..column.len()).filter(|row| self.regex.is_match(column.get(*row))).for_each(|row| rows.set(row));
            }
        }
        rows
    }
}

/// Collects texts that every match contains.
fn required(hir: &Hir, pieces: &mut Vec<Vec<u8>>) {
    match hir.kind() {
        HirKind::Literal(literal) => pieces.push(literal.0.to_vec()),
        HirKind::Capture(capture) => required(&capture.sub, pieces),
        HirKind::Repetition(repetition) if repetition.min > 0 => required(&repetition.sub, pieces),
        HirKind::Concat(parts) => parts.iter().for_each(|part| required(part, pieces)),
        _ => {}
    }
}

/// Returns the part of `piece` whose words are whole whatever stands around it.
fn whole_words(piece: &[u8]) -> &[u8] {
    let start = piece.iter().position(|byte| !is_word_byte(*byte)).unwrap_or(piece.len());
    let end = piece.iter().rposition(|byte| !is_word_byte(*byte)).unwrap_or(start);
    piece.get(start..end).unwrap_or_default()
}

fn beginnings(hir: &Hir) -> Option<Box<AhoCorasick>> {
    let sequence = Extractor::new().limit_total(MAX_BEGINNINGS).extract(hir);
    let literals = sequence.literals()?;
    if literals.is_empty() || literals.len() > MAX_BEGINNINGS || literals.iter().any(|literal| literal.len() < MIN_LITERAL_BYTES) {
        return None;
    }
    AhoCorasick::new(literals.iter().map(regex_syntax::hir::literal::Literal::as_bytes)).ok().map(Box::new)
}

/// Returns an expression of bounded length of which every match of `hir` has one: what it repeats at its ends need not be repeated further.
fn within(hir: &Hir) -> Option<Regex> {
    if !hir.properties().look_set().is_empty() {
        return None;
    }
    let least = |hir: &Hir| match hir.kind() {
        HirKind::Repetition(repetition) if repetition.max.is_none() => {
            Hir::repetition(regex_syntax::hir::Repetition { max: Some(repetition.min), ..repetition.clone() })
        }
        _ => hir.clone(),
    };
    let trimmed = match hir.kind() {
        HirKind::Concat(parts) => {
            let last = parts.len() - 1;
            let part = |(place, part): (usize, &Hir)| if place == 0 || place == last { least(part) } else { part.clone() };
            Hir::concat(parts.iter().enumerate().map(part).collect())
        }
        _ => least(hir),
    };
    let (shortest, longest) = (trimmed.properties().minimum_len()?, trimmed.properties().maximum_len()?);
    (shortest > 0 && longest <= MAX_WITHIN_BYTES).then(|| super::regex(&trimmed.to_string()).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn column(rows: &[String]) -> TextColumn {
        let mut column = TextColumn::default();
        rows.iter().for_each(|row| column.push(row.as_bytes()));
        column
    }

    #[test]
    fn only_words_that_are_whole_in_every_match_rule_a_block_out() {
        let words = |text: &str| Pattern::new(text).unwrap().words().to_vec();
        let hash = |word: &str| crate::logs::tokens::hash_word(word).unwrap();
        assert_eq!(words("timeout after [0-9]+ ms"), [hash("after")]);
        assert_eq!(words("(user) deleted: (x| by him )+"), [hash("deleted")]);
        assert!(words("refused").is_empty() && words("(?i) lower ").is_empty() && words(" a | b ").is_empty());
        assert!(words("( never )?").is_empty());
    }

    proptest! {
        #[test]
        fn the_quick_look_misses_nothing(
            regex in proptest::sample::select(vec![
                "abc", "ab*c", "(abc|bca|cab)b?", "a.c", "^abc", "abc$", r"\babc\b", "(?i)ABC", "[a-c]{3}", "abc.*cab", "a", "(?s).", "", "[ab]{2,}", "a+", "[bc]+.", "(?-u)[^a]{2,}c+", "a[bc]*", "[abc]{3,}?a",
            ]),
            rows in proptest::collection::vec("[abcA ]{0,9}", 0..12),
        ) {
            let pattern = Pattern::new(regex).unwrap();
            let column = column(&rows);
            let expected: Vec<usize> = (0..rows.len()).filter(|row| pattern.regex.is_match(rows[*row].as_bytes())).collect();
            prop_assert_eq!(pattern.rows(&column).iter().collect::<Vec<_>>(), expected.clone());
            prop_assert_eq!((0..rows.len()).filter(|row| pattern.is_in(rows[*row].as_bytes())).collect::<Vec<_>>(), expected);
        }
    }
}
