//! Decides which records a filter means.

use regex::bytes::{Regex, RegexBuilder};
use watchfire_types::log::{TextColumn, service_of};
use watchfire_types::{LogBatch, Timestamp};

use super::tokens::{TokenFilter, hash_word};
use super::types::LogFilter;

/// A filter made ready: its words compiled once.
#[derive(Debug)]
pub struct Matcher {
    filter: LogFilter,
    terms: Vec<Term>,
    since: u64,
    until: u64,
}

/// One word or phrase of the text: found in any case, as whole words.
#[derive(Debug)]
struct Term {
    pattern: Regex,
    /// Whether the text must end, or go on with something else than a letter or digit, after the term.
    whole_start: bool,
    whole_end: bool,
    /// Words of which a block must contain every one.
    words: Vec<u64>,
}

/// A rough view of a block, by which it can be ruled out unread.
#[derive(Clone, Copy, Debug)]
pub struct BlockOutline<'a> {
    /// Least event time.
    pub min_time: u64,
    /// Greatest event time.
    pub max_time: u64,
    /// Bit n: a record of severity n is there.
    pub severities: u32,
    /// All `service.name`s, the empty one included; `None` if any may be there.
    pub services: Option<&'a [String]>,
}

impl Matcher {
    /// Compiles `filter`.
    #[must_use]
    pub fn new(filter: &LogFilter) -> Self {
        Self {
            filter: filter.clone(),
            terms: split_terms(&filter.text).iter().filter_map(|text| Term::new(text)).collect(),
            since: filter.since.map_or(0, Timestamp::as_nanos),
            until: filter.until.map_or(u64::MAX, Timestamp::as_nanos),
        }
    }

    /// Returns whether a block with this outline may hold a match.
    #[must_use]
    pub fn may_match(&self, outline: &BlockOutline<'_>) -> bool {
        let level = self.filter.level.map_or(0, |level| level.0);
        outline.max_time >= self.since
            && outline.min_time < self.until
            && (level == 0 || outline.severities >> level != 0)
            && (self.filter.services.is_empty()
                || outline.services.is_none_or(|services| self.filter.services.iter().any(|wanted| services.contains(wanted))))
    }

    /// Returns whether a block with this token filter may hold a match.
    #[must_use]
    pub fn may_contain(&self, tokens: &TokenFilter) -> bool {
        self.terms.iter().flat_map(|term| &term.words).all(|word| tokens.may_contain(*word))
    }

    /// Returns whether bodies or attributes must be read to decide.
    #[must_use]
    pub fn reads_content(&self) -> bool {
        !self.terms.is_empty() || !self.filter.attributes.is_empty()
    }

    /// Returns the rows of `batch` that match, ascending.
    #[must_use]
    pub fn matching_rows(&self, batch: &LogBatch) -> Vec<usize> {
        let mut rows = self.rows_by_head(batch);
        for term in &self.terms {
            if rows.is_empty() {
                break;
            }
            let mut hit = vec![false; batch.len()];
            term.mark(&batch.body.data, |row| hit[row] = true);
            if rows.iter().any(|row| !hit[*row]) {
                term.mark(&batch.attribute_value.data, |index| {
                    hit[batch.attribute_ends.partition_point(|end| *end as usize <= index)] = true;
                });
            }
            rows.retain(|row| hit[*row]);
        }
        rows.retain(|row| self.attributes_match(batch, *row));
        rows
    }

    /// Returns whether row `row` of `batch` matches.
    #[must_use]
    pub fn matches(&self, batch: &LogBatch, row: usize) -> bool {
        self.head_matches(batch, row)
            && self.terms.iter().all(|term| {
                term.is_in(batch.body.data.get(row))
                    || batch.attribute_range(row).any(|index| term.is_in(batch.attribute_value.data.get(index)))
            })
            && self.attributes_match(batch, row)
    }

    fn rows_by_head(&self, batch: &LogBatch) -> Vec<usize> {
        let services = &self.filter.services;
        let wanted: Vec<bool> = batch
            .resources
            .iter()
            .map(|resource| services.is_empty() || services.iter().any(|name| name == service_of(resource).unwrap_or("")))
            .collect();
        let level = self.filter.level.map_or(0, |level| level.0);
        (0..batch.len())
            .filter(|row| {
                batch.severity[*row] >= level
                    && (self.since..self.until).contains(&batch.time[*row])
                    && wanted.get(batch.resource[*row] as usize).copied().unwrap_or(services.is_empty())
            })
            .collect()
    }

    fn head_matches(&self, batch: &LogBatch, row: usize) -> bool {
        batch.severity[row] >= self.filter.level.map_or(0, |level| level.0)
            && (self.since..self.until).contains(&batch.time[row])
            && (self.filter.services.is_empty() || self.filter.services.iter().any(|name| name == batch.service(row)))
    }

    fn attributes_match(&self, batch: &LogBatch, row: usize) -> bool {
        self.filter.attributes.iter().all(|(key, wanted)| {
            let own = batch.find_attribute(row, key).map(watchfire_types::ValueRef::display);
            let value = own.or_else(|| match key.as_str() {
                "trace_id" => Some(watchfire_types::log::hex(&batch.trace_id[row])),
                "span_id" => Some(watchfire_types::log::hex(&batch.span_id[row])),
                "scope" => Some(batch.dict.get(batch.scope[row]).to_owned()),
                _ => {
                    let resource = batch.resources.get(batch.resource[row] as usize)?;
                    resource.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_ref().display())
                }
            });
            value.as_deref() == Some(wanted)
        })
    }
}

/// Splits `text` at white space; what stands in double quotes stays together.
fn split_terms(text: &str) -> Vec<String> {
    let mut terms = Vec::new();
    for (index, part) in text.split('"').enumerate() {
        // Every second part stood inside quotes.
        if index % 2 == 1 {
            terms.push(part.to_owned());
        } else {
            terms.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    terms.retain(|term| !term.trim().is_empty());
    terms
}

/// Returns whether words are told apart at `char` by white space and punctuation. Chinese, Japanese and their like write
/// words without gaps, so their characters match anywhere.
fn is_word_char(char: char) -> bool {
    char == '_' || (char.is_alphanumeric() && char < '\u{2e80}')
}

impl Term {
    /// `None` for a lone `*`, which every record contains.
    fn new(text: &str) -> Option<Self> {
        let prefix = text.len() > 1 && text.ends_with('*');
        let text = if prefix { &text[..text.len() - 1] } else { text };
        if text == "*" {
            return None;
        }
        let pattern = RegexBuilder::new(&regex::escape(text))
            .case_insensitive(true)
            .unicode(!text.is_ascii())
            .size_limit(8 << 20)
            .build()
            // Longer than [`super::types::MAX_TEXT_BYTES`], which every way in checks: no record has it.
            .unwrap_or_else(|_| Regex::new("[a&&b]").expect("a constant pattern"));
        let last_is_cut = prefix && text.chars().next_back().is_some_and(is_word_char);
        let mut words: Vec<&str> = text.split(|char: char| !is_word_char(char) && char.is_ascii()).collect();
        if last_is_cut {
            words.pop();
        }
        let words = words.iter().filter_map(|word| hash_word(word)).collect();
        Some(Self {
            pattern,
            whole_start: text.chars().next().is_some_and(is_word_char),
            whole_end: !prefix && text.chars().next_back().is_some_and(is_word_char),
            words,
        })
    }

    /// Calls `hit` with each row of `column` that contains the term, once or more often.
    fn mark(&self, column: &TextColumn, mut hit: impl FnMut(usize)) {
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

    fn is_in(&self, text: &[u8]) -> bool {
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
        let inside = || text[start..].iter().take_while(|byte| super::tokens::is_word_byte(**byte)).count();
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
            Some(byte) if byte.is_ascii() => super::tokens::is_word_byte(*byte),
            Some(_) => char().is_some_and(is_word_char),
            None => false,
        };
        !(self.whole_start && quick(text[..start].last(), &before) || self.whole_end && quick(text.get(end), &after))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use watchfire_types::attributes::keys;
    use watchfire_types::log::RecordHead;
    use watchfire_types::{Severity, ValueRef};

    use super::*;

    fn batch(bodies: &[&str]) -> LogBatch {
        let mut batch = LogBatch::default();
        for (index, body) in bodies.iter().enumerate() {
            let resource = batch.resource(vec![(keys::SERVICE_NAME.into(), format!("s{}", index % 2).into())]);
            let head = RecordHead {
                timestamp: Timestamp::from_nanos(index as u64),
                severity: Severity(index as u8),
                resource,
                ..RecordHead::default()
            };
            batch.push(&head, ValueRef::Text(body));
            batch.attribute("n", ValueRef::Int(index as i64));
        }
        batch
    }

    fn rows(text: &str, bodies: &[&str]) -> Vec<usize> {
        let matcher = Matcher::new(&LogFilter { text: text.into(), ..LogFilter::default() });
        let batch = batch(bodies);
        let rows = matcher.matching_rows(&batch);
        let one_by_one: Vec<usize> = (0..batch.len()).filter(|row| matcher.matches(&batch, *row)).collect();
        assert_eq!(rows, one_by_one);
        assert!(rows.is_empty() || matcher.may_contain(&TokenFilter::build(&batch)));
        rows
    }

    #[test]
    fn words_are_whole_and_in_any_case() {
        let bodies = ["connection Timeout", "timeouts", "time out", "a_timeout", "(timeout)"];
        assert_eq!(rows("timeout", &bodies), [0, 4]);
        assert_eq!(rows("timeout*", &bodies), [0, 1, 4]);
        assert_eq!(rows("connection timeout", &bodies), [0]);
        assert_eq!(rows("\"time out\"", &bodies), [2]);
        assert_eq!(rows("*", &bodies), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn text_without_gaps_is_found_inside() {
        assert_eq!(rows("处理", &["开始处理数据", "完成"]), [0]);
        assert_eq!(rows("数据 id", &["处理数据id", "数据 id"]), [0, 1]);
        assert_eq!(rows("straße", &["Hauptstraße", "die STRAßE"]), [1]);
    }

    #[test]
    fn a_match_does_not_cross_records() {
        assert!(rows("ab cd", &["ab", "cd"]).is_empty());
        assert!(rows("\"b c\"", &["b ", "c"]).is_empty());
    }

    #[test]
    fn attribute_values_are_text_too() {
        assert_eq!(rows("1", &["x", "y", "1"]), [1, 2]);
    }

    #[test]
    fn a_text_of_any_length_is_compiled_or_found_nowhere() {
        let longest = "K".repeat(crate::logs::types::MAX_TEXT_BYTES);
        assert_eq!(rows(&longest, &["x", &longest.to_lowercase()]), [1]);
        let longest = "\u{212a}".repeat(crate::logs::types::MAX_TEXT_BYTES / 3);
        assert_eq!(rows(&longest, &["x", &longest]), [1]);
        assert!(rows(&"k".repeat(1 << 20), &["k"]).is_empty());
    }

    #[test]
    fn a_long_text_of_near_misses_takes_no_time_squared() {
        assert_eq!(rows("a", &[&"éaé".repeat(500_000), "é a"]), [1]);
        let word = "a".repeat(2_000);
        assert_eq!(rows(&word, &[&"a".repeat(1 << 20), &word]), [1]);
        assert_eq!(rows("b", &["ab", "éb", "aéb b", "bé", "处b", "-b-"]), [2, 4, 5]);
    }

    #[test]
    fn all_conditions_must_hold() {
        let batch = batch(&["a", "a", "a", "a"]);
        let filter = LogFilter {
            text: "a".into(),
            level: Some(Severity(1)),
            services: vec!["s1".into()],
            attributes: vec![("n".into(), "3".into())],
            since: Some(Timestamp::from_nanos(1)),
            until: Some(Timestamp::from_nanos(4)),
        };
        assert_eq!(Matcher::new(&filter).matching_rows(&batch), [3]);
        let by_resource = LogFilter { attributes: vec![(keys::SERVICE_NAME.into(), "s0".into())], ..LogFilter::default() };
        assert_eq!(Matcher::new(&by_resource).matching_rows(&batch), [0, 2]);
    }

    proptest! {
        #[test]
        fn both_ways_of_matching_agree(bodies in proptest::collection::vec("[ab _é处]{0,6}", 1..8), text in "[ab _é处*\"]{0,4}") {
            rows(&text, &bodies.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }
}
