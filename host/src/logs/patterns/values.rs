//! What stands in the holes of a pattern: distinct values, the most frequent ones, and the range of numbers.

use std::cmp::Reverse;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

/// Values of a hole that are listed.
const TOP: usize = 10;
/// Longest value that is shown, in characters.
const MAX_VALUE: usize = 200;
/// Longest text that says what stands before a hole, in characters.
const MAX_BEFORE: usize = 24;

/// What stands in one hole of a pattern.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PatternVariable {
    /// Which `<*>` of the template, counted from 1.
    pub position: usize,
    /// The words before it in the template.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub after: String,
    /// Different values among the records that were read.
    pub distinct: usize,
    /// The most frequent values, the first most often.
    pub top: Vec<PatternValue>,
    /// If all values are numbers: their range.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub numbers: Option<PatternNumbers>,
}

/// A value of a variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PatternValue {
    /// Its text, shortened.
    pub value: String,
    /// Records that have it.
    pub count: u64,
}

/// The range of a variable that is a number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PatternNumbers {
    /// Least.
    pub min: f64,
    /// Median.
    pub p50: f64,
    /// 90 of 100 are not greater.
    pub p90: f64,
    /// 99 of 100 are not greater.
    pub p99: f64,
    /// Greatest.
    pub max: f64,
}

/// Gathers what stands in the holes of one template.
pub(super) struct Values<'a> {
    template: &'a str,
    holes: Vec<FxHashMap<Vec<u8>, u64>>,
    /// Lines that the template describes.
    pub(super) lines: u64,
}

impl<'a> Values<'a> {
    pub(super) fn new(template: &'a str) -> Self {
        let holes = template.matches(watchfire_patterns::HOLE).count();
        Self { template, holes: vec![FxHashMap::default(); holes], lines: 0 }
    }

    /// Adds a line; one that the template does not describe, as lines of merged patterns may be, is left out.
    pub(super) fn add(&mut self, line: &[u8]) {
        let Some(ranges) = watchfire_patterns::variables(self.template, line) else { return };
        self.lines += 1;
        for (hole, range) in self.holes.iter_mut().zip(ranges) {
            let value = &line[range];
            match hole.get_mut(value) {
                Some(count) => *count += 1,
                None => drop(hole.insert(value.to_owned(), 1)),
            }
        }
    }

    /// Returns the variables in their order.
    pub(super) fn finish(self) -> Vec<PatternVariable> {
        let mut before = self.template.split(watchfire_patterns::HOLE);
        let holes = self.holes.into_iter().enumerate();
        holes
            .map(|(index, values)| PatternVariable {
                position: index + 1,
                after: last_words(before.next().unwrap_or("")),
                distinct: values.len(),
                top: top(&values),
                numbers: numbers(&values),
            })
            .collect()
    }
}

fn last_words(text: &str) -> String {
    let text = text.trim();
    let start = text.char_indices().rev().nth(MAX_BEFORE - 1).map_or(0, |(index, _)| index);
    // Whole words, unless there is but one.
    let start = if start == 0 { 0 } else { text[start..].find(' ').map_or(start, |space| start + space + 1) };
    text[start..].to_owned()
}

fn top(values: &FxHashMap<Vec<u8>, u64>) -> Vec<PatternValue> {
    let mut list: Vec<(&Vec<u8>, &u64)> = values.iter().collect();
    list.sort_unstable_by_key(|(value, count)| (Reverse(**count), *value));
    let shown = |(value, count): (&Vec<u8>, &u64)| PatternValue {
        value: String::from_utf8_lossy(value).chars().take(MAX_VALUE).collect(),
        count: *count,
    };
    list.into_iter().take(TOP).map(shown).collect()
}

fn numbers(values: &FxHashMap<Vec<u8>, u64>) -> Option<PatternNumbers> {
    let number = |value: &[u8]| {
        let text = str::from_utf8(value).ok()?;
        // What Rust reads as a number beside digits (`inf`, `nan`) is a word in a log.
        text.ends_with(|c: char| c.is_ascii_digit()).then(|| text.parse::<f64>().ok().filter(|number| number.is_finite()))?
    };
    let mut list: Vec<(f64, u64)> = values.iter().map(|(value, count)| Some((number(value)?, *count))).collect::<Option<_>>()?;
    list.sort_unstable_by(|left, right| left.0.total_cmp(&right.0));
    let total: u64 = list.iter().map(|(_, count)| count).sum();
    let (min, max) = (list.first()?.0, list.last()?.0);
    let percentile = |percent: u64| {
        let rank = (total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        list.iter()
            .find(|(_, count)| {
                seen += count;
                seen >= rank
            })
            .map_or(max, |(number, _)| *number)
    };
    Some(PatternNumbers { min, p50: percentile(50), p90: percentile(90), p99: percentile(99), max })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_each_hole_are_counted_and_numbers_ranged() {
        let mut values = Values::new("Accepted password for <*> from <*> port <*>");
        for number in 1..=100 {
            let user = if number % 4 == 0 { "root" } else { "bob" };
            values.add(format!("Accepted password for {user} from 10.0.0.{} port {number}", number % 2).as_bytes());
        }
        values.add(b"something else");
        assert_eq!(values.lines, 100);
        let variables = values.finish();
        let after: Vec<_> = variables.iter().map(|variable| variable.after.as_str()).collect();
        assert_eq!(after, ["Accepted password for", "from", "port"]);
        let counted = |value: &str, count| PatternValue { value: value.to_owned(), count };
        assert_eq!(variables[0].top, [counted("bob", 75), counted("root", 25)]);
        assert_eq!((variables[1].distinct, variables[1].numbers), (2, None));
        let numbers = PatternNumbers { min: 1.0, p50: 50.0, p90: 90.0, p99: 99.0, max: 100.0 };
        assert_eq!((variables[2].distinct, variables[2].numbers), (100, Some(numbers)));
        assert_eq!(variables[2].top.len(), TOP);
    }

    #[test]
    fn words_that_read_as_numbers_are_none() {
        let values = |list: &[&str]| list.iter().map(|value| (value.as_bytes().to_vec(), 1)).collect();
        assert_eq!(numbers(&values(&["inf", "1"])), None);
        assert_eq!(numbers(&values(&["1e999"])), None);
        assert_eq!(numbers(&values(&[])), None);
        assert!(numbers(&values(&["-1.5", "2"])).is_some());
    }
}
