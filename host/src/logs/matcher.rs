//! Decides which records a filter means.

use jiff::tz::TimeZone;
use watchfire_types::{LogBatch, Timestamp};

use super::block::Wants;
use super::query::ast::{Expr, Moment, Place, Test};
use super::query::bits::Bits;
use super::query::node::{Meaning, Node, Verdict};
use super::query::{Field, Query, QueryError};
use super::tokens::Words;
use super::types::LogFilter;

/// A filter made ready: its words compiled once.
#[derive(Debug)]
pub struct Matcher {
    node: Node,
    /// Event time of every match, as far as the conditions that must all hold say it.
    since: u64,
    until: u64,
    wants: Wants,
}

/// A rough view of a block, by which it can be ruled out unread.
#[derive(Clone, Copy, Debug)]
pub struct BlockOutline<'a> {
    /// Least `seq`.
    pub first_seq: u64,
    /// Greatest `seq`.
    pub last_seq: u64,
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
    /// Compiles `filter`, whose text has been checked by [`Self::check`] and says no time. A text that cannot be read is taken as it was before
    /// there was a language: as words and phrases.
    #[must_use]
    pub fn new(filter: &LogFilter) -> Self {
        Self::knowing(filter, &|id| vec![id])
    }

    /// As [`Self::new`], where `patterns` returns those that have been merged into one, itself included.
    #[must_use]
    pub fn knowing(filter: &LogFilter, patterns: &dyn Fn(u64) -> Vec<u64>) -> Self {
        static UTC: TimeZone = TimeZone::UTC;
        let text = Query::parse(&filter.text).map_or_else(|_| words(&filter.text), |query| query.filter);
        Self::of(&filter.and(text), &Meaning { now: Timestamp::MAX, zone: &UTC, patterns })
    }

    /// Makes `expr` ready.
    #[must_use]
    pub fn of(expr: &Expr, meaning: &Meaning<'_>) -> Self {
        let node = Node::new(expr, meaning);
        let (mut since, mut until) = (0, u64::MAX);
        let parts = if let Node::And(parts) = &node { parts } else { std::slice::from_ref(&node) };
        for part in parts {
            if let Node::Time(from, to) = part {
                (since, until) = (since.max(*from), until.min(*to));
            }
        }
        Self { wants: Wants { columns: node.columns(), keys: node.keys() }, node, since, until }
    }

    /// Checks the text of a filter that looks at each record once: such a one has no pipes, and no time of its own.
    ///
    /// # Errors
    /// What is wrong with it, where, and what to write.
    pub fn check(text: &str) -> Result<(), QueryError> {
        let query = Query::parse(text)?;
        let error = |message: &str| QueryError { message: message.to_owned(), at: 0..text.len(), query: text.to_owned() };
        let mut has_time = false;
        query.filter.walk(&mut |expr| has_time |= matches!(expr, Expr::Since(_) | Expr::Until(_)));
        if has_time {
            return Err(error("a time has no meaning here: leave `since:` and `until:` away"));
        }
        if query.pipes.is_empty() {
            Ok(())
        } else {
            Err(error("pipes have no meaning here: leave everything from the first `|` away"))
        }
    }

    /// Returns the range of event time outside of which nothing matches: from, inclusive, and up to, exclusive.
    #[must_use]
    pub fn time_range(&self) -> (u64, u64) {
        (self.since, self.until)
    }

    /// Returns the condition.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Returns whether a block with this outline may hold a match.
    #[must_use]
    pub fn may_match(&self, outline: &BlockOutline<'_>) -> bool {
        self.node.verdict(outline) != Verdict::Never
    }

    /// Returns whether a block with this token filter may hold a match.
    #[must_use]
    pub fn may_contain(&self, tokens: &dyn Words) -> bool {
        self.node.may_contain(tokens)
    }

    /// Returns whether [`Self::may_contain`] can rule any block out.
    #[must_use]
    pub fn uses_tokens(&self) -> bool {
        self.node.uses_tokens()
    }

    /// Returns what of a block must be read to decide.
    #[must_use]
    pub fn wants(&self) -> &Wants {
        &self.wants
    }

    /// Returns the rows of `batch` that match, ascending.
    #[must_use]
    pub fn matching_rows(&self, batch: &LogBatch) -> Vec<usize> {
        self.node.rows(batch, &Bits::all(batch.len())).iter().collect()
    }

    /// Returns the rows of `among` that match.
    #[must_use]
    pub fn rows(&self, batch: &LogBatch, among: &Bits) -> Bits {
        self.node.rows(batch, among)
    }

    /// Returns whether row `row` of `batch` matches.
    #[must_use]
    pub fn matches(&self, batch: &LogBatch, row: usize) -> bool {
        self.node.matches(batch, row)
    }
}

impl LogFilter {
    /// Returns the condition that `text` holds, which is what its own text says, and everything else that it asks.
    #[must_use]
    pub fn and(&self, text: Expr) -> Expr {
        let is = |field: Field, value: &str| Expr::Field { field, test: Test::Is(value.to_owned()) };
        let mut parts = vec![text];
        parts.extend(self.level.filter(|level| level.0 > 0).map(|level| Expr::Level { least: level.0, most: u8::MAX }));
        if !self.services.is_empty() {
            parts.push(Expr::or(self.services.iter().map(|service| is(Field::Service, service)).collect()));
        }
        parts.extend(self.attributes.iter().map(|(key, value)| is(Field::from_name(key), value)));
        parts.extend(self.since.map(|since| Expr::Since(Moment::At(since))));
        parts.extend(self.until.map(|until| Expr::Until(Moment::At(until))));
        Expr::and(parts)
    }
}

/// Splits `text` at white space into words that must all be there; what stands in double quotes stays together.
fn words(text: &str) -> Expr {
    let mut terms = Vec::new();
    for (index, part) in text.split('"').enumerate() {
        // Every second part stood inside quotes.
        if index % 2 == 1 {
            terms.push(part);
        } else {
            terms.extend(part.split_whitespace());
        }
    }
    terms.retain(|term| !term.trim().is_empty() && *term != "*");
    let word = |term: &&str| {
        let (text, prefix) = term.strip_suffix('*').filter(|text| !text.is_empty()).map_or((*term, false), |text| (text, true));
        Expr::Text { place: Place::Anywhere, text: text.to_owned(), prefix }
    };
    Expr::and(terms.iter().map(word).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use watchfire_types::attributes::keys;
    use watchfire_types::log::RecordHead;
    use watchfire_types::{Severity, ValueRef};

    use super::*;
    use crate::logs::tokens::TokenFilter;

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
