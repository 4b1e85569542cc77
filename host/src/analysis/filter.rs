//! Which records an analyzer gets: decided here, natively, before anything crosses to the component.

use memchr::memmem::Finder;
use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use watchfire_types::LogBatch;
use watchfire_types::log::{TextColumn, service_of};

use crate::plugins::Subscription;

/// Most texts, and most patterns, of one subscription.
const MAX_NEEDLES: usize = 1_024;
const MAX_PATTERNS: usize = 256;
/// Most bytes of all texts, and of what patterns are compiled to.
const MAX_NEEDLE_BYTES: usize = 64 << 10;
const MAX_SET_BYTES: usize = 4 << 20;

/// What is said about plugins, about notifications and about analysis is no record to analyze: it would cause itself.
const OWN_SCOPES: [&str; 3] = ["watchfire::plugins", "watchfire::delivery", "watchfire::analysis"];

/// A subscription made ready.
#[derive(Debug)]
pub struct Filter {
    min_severity: u8,
    sources: Vec<String>,
    needles: Needles,
    patterns: Option<RegexSet>,
}

/// Texts of which any will do.
#[derive(Debug)]
enum Needles {
    None,
    One(Box<Finder<'static>>),
    Many(Regex),
}

impl Filter {
    /// Compiles `subscription`.
    ///
    /// # Errors
    /// Says which part of it cannot be used.
    pub fn new(subscription: &Subscription) -> Result<Self, String> {
        let (texts, patterns) = (&subscription.any_substring, &subscription.any_regex);
        let bytes: usize = texts.iter().map(String::len).sum();
        if texts.len() > MAX_NEEDLES || bytes > MAX_NEEDLE_BYTES {
            return Err(format!(
                "its subscription has {} texts of {bytes} bytes, more than {MAX_NEEDLES} of {MAX_NEEDLE_BYTES}",
                texts.len()
            ));
        }
        if patterns.len() > MAX_PATTERNS {
            return Err(format!("its subscription has {} patterns, more than {MAX_PATTERNS}", patterns.len()));
        }
        // Every body contains the empty text.
        let everything = texts.iter().any(String::is_empty) || patterns.iter().any(String::is_empty);
        if everything || (texts.is_empty() && patterns.is_empty()) {
            return Ok(Self::of(subscription, Needles::None, None));
        }
        let too_large = |error: regex::Error| format!("its subscription cannot be compiled: {error}");
        let needles = match &texts[..] {
            [] => Needles::None,
            [one] => Needles::One(Box::new(Finder::new(one).into_owned())),
            many => {
                let any: Vec<String> = many.iter().map(|text| regex::escape(text)).collect();
                Needles::Many(RegexBuilder::new(&any.join("|")).size_limit(MAX_SET_BYTES).build().map_err(too_large)?)
            }
        };
        for pattern in patterns {
            let compiled = RegexBuilder::new(pattern).size_limit(MAX_SET_BYTES).build();
            compiled.map_err(|error| format!("its subscription has a pattern that cannot be used, `{pattern}`: {error}"))?;
        }
        let set = RegexSetBuilder::new(patterns).size_limit(MAX_SET_BYTES).build().map_err(too_large)?;
        Ok(Self::of(subscription, needles, (!patterns.is_empty()).then_some(set)))
    }

    fn of(subscription: &Subscription, needles: Needles, patterns: Option<RegexSet>) -> Self {
        Self { min_severity: subscription.min_severity, sources: subscription.sources.clone(), needles, patterns }
    }

    /// Returns the rows of `batch` that are wanted, ascending.
    #[must_use]
    pub fn rows(&self, batch: &LogBatch) -> Vec<usize> {
        let named = |name: &str| self.sources.is_empty() || self.sources.iter().any(|source| source == name);
        let sources: Vec<bool> = batch.resources.iter().map(|resource| named(service_of(resource).unwrap_or(""))).collect();
        let without_resource = named("");
        let own: Vec<bool> = batch.dict.strings().iter().map(|scope| is_own(scope)).collect();
        let wanted = |row: &usize| {
            batch.severity[*row] >= self.min_severity
                && sources.get(batch.resource[*row] as usize).copied().unwrap_or(without_resource)
                && !own.get(batch.scope[*row] as usize).copied().unwrap_or(false)
        };
        let mut rows: Vec<usize> = (0..batch.len()).filter(wanted).collect();
        if rows.is_empty() || (matches!(self.needles, Needles::None) && self.patterns.is_none()) {
            return rows;
        }
        let mut hit = vec![false; batch.len()];
        self.needles.mark(&batch.body.data, &mut hit);
        rows.retain(|row| hit[*row] || self.patterns.as_ref().is_some_and(|set| set.is_match(batch.body.data.get(*row))));
        rows
    }
}

/// Returns whether a logger of this name is not to be analyzed.
#[must_use]
pub fn is_own(scope: &str) -> bool {
    OWN_SCOPES.iter().any(|own| scope.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with("::")))
}

impl Needles {
    /// Marks the rows of `column` that contain any of the texts: one search over all rows, which lie end to end.
    fn mark(&self, column: &TextColumn, hit: &mut [bool]) {
        let bytes = &column.bytes[..];
        let mut from = 0;
        while let Some((start, end)) = self.find(bytes, from) {
            let row = column.row_at(start);
            let row_end = column.offsets[row + 1] as usize;
            // What begins in one row and ends in another is no hit, but may hide one that is.
            hit[row] = end <= row_end || self.find(&bytes[start..row_end], 0).is_some();
            from = row_end;
        }
    }

    fn find(&self, bytes: &[u8], from: usize) -> Option<(usize, usize)> {
        match self {
            Self::None => None,
            Self::One(finder) => {
                let start = from + finder.find(&bytes[from..])?;
                Some((start, start + finder.needle().len()))
            }
            Self::Many(regex) => regex.find_at(bytes, from).map(|found| (found.start(), found.end())),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use watchfire_types::attributes::keys;
    use watchfire_types::log::RecordHead;
    use watchfire_types::{Severity, ValueRef};

    use super::*;

    fn batch(rows: &[(&str, u8, &str, &str)]) -> LogBatch {
        let mut batch = LogBatch::default();
        for (service, severity, scope, body) in rows {
            let resource = batch.resource(vec![(keys::SERVICE_NAME.into(), (*service).into())]);
            let head = RecordHead { severity: Severity(*severity), resource, scope, ..RecordHead::default() };
            batch.push(&head, ValueRef::Text(body));
        }
        batch
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn all_conditions_must_hold_and_of_the_contents_any() {
        let records = batch(&[
            ("sshd", 9, "", "Failed password for root"),
            ("sshd", 5, "", "Failed password for root"),
            ("cron", 9, "", "Failed password for root"),
            ("sshd", 9, "", "Accepted password"),
            ("sshd", 9, "", "Invalid user 17"),
        ]);
        let subscription = Subscription {
            min_severity: 9,
            sources: texts(&["sshd"]),
            any_substring: texts(&["Failed password"]),
            any_regex: texts(&["^Invalid user [0-9]+$"]),
            ..Subscription::default()
        };
        assert_eq!(Filter::new(&subscription).unwrap().rows(&records), [0, 4]);
        assert_eq!(Filter::new(&Subscription::default()).unwrap().rows(&records), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn what_the_host_says_about_plugins_and_notifications_is_never_analyzed() {
        let records = batch(&[
            ("watchfire", 17, "watchfire::plugins", "trap"),
            ("watchfire", 17, "watchfire::plugins::room", "trap"),
            ("watchfire", 17, "watchfire::delivery", "refused"),
            ("watchfire", 17, "watchfire::analysis::consumer", "trap"),
            ("watchfire", 17, "watchfire::plugins_elsewhere", "trap"),
            ("watchfire", 17, "watchfire::logs", "full"),
        ]);
        assert_eq!(Filter::new(&Subscription::default()).unwrap().rows(&records), [4, 5]);
    }

    #[test]
    fn a_subscription_that_cannot_be_used_says_why() {
        let wrong = Subscription { any_regex: texts(&["fine", "("]), ..Subscription::default() };
        assert!(Filter::new(&wrong).unwrap_err().starts_with("its subscription has a pattern that cannot be used, `(`:"));
        let large = Subscription { any_regex: texts(&[r"\w{1000}{100}"]), ..Subscription::default() };
        assert!(Filter::new(&large).is_err());
        let many = Subscription { any_substring: vec!["x".repeat(100); 1_000], ..Subscription::default() };
        assert!(Filter::new(&many).unwrap_err().contains("1000 texts of 100000 bytes"));
    }

    proptest! {
        #[test]
        fn a_search_over_all_rows_finds_what_a_search_row_by_row_finds(
            bodies in prop::collection::vec("[ab]{0,6}", 0..20),
            needles in prop::collection::vec("[ab]{1,4}", 1..4),
        ) {
            let rows: Vec<_> = bodies.iter().map(|body| ("s", 9, "", body.as_str())).collect();
            let subscription = Subscription { any_substring: needles.clone(), ..Subscription::default() };
            let found = Filter::new(&subscription).unwrap().rows(&batch(&rows));
            let expected: Vec<usize> =
                (0..bodies.len()).filter(|row| needles.iter().any(|needle| bodies[*row].contains(needle))).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
