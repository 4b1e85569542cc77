//! Which entries of an uploaded journal are stored already.
//!
//! An uploader remembers how far it got only when a whole request was answered; after a crash on either side it sends again what was
//! stored. The place of an entry is in its cursor: the id of a sequence, and its number in it. Several uploaders may send different
//! entries of one sequence (`--system`, `--user`), so it is not enough to remember the last number: ranges are remembered, and with them
//! the records are stored in one transaction.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use parking_lot::Mutex;

/// Most ranges remembered of one sequence. The lowest are forgotten first: an entry may then come twice, but is never left out.
const MAX_RANGES: usize = 128;

/// Most sequences remembered in memory: one for each machine and each time its journal was begun anew.
const MAX_SEQUENCES: usize = 4096;

/// Numbers of one sequence, as ranges: sorted, and with a gap between each two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    ranges: Vec<(u64, u64)>,
}

impl Seen {
    /// Reads what [`Self::text`] has written; what cannot be read is forgotten.
    pub(super) fn parse(text: &str) -> Self {
        let mut seen = Self::default();
        let number = |text: &str| u64::from_str_radix(text, 16).ok();
        for range in text.split(',') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            if let (Some(first), Some(last)) = (number(first), number(last))
                && first <= last
                && seen.ranges.last().is_none_or(|(_, before)| before.checked_add(1).is_some_and(|next| next < first))
            {
                seen.ranges.push((first, last));
            }
        }
        seen
    }

    /// Returns it as text, in hexadecimal as cursors are: `1-1f4,1f6`.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (first, last) in &self.ranges {
            let separator = if text.is_empty() { "" } else { "," };
            // Writing into a `String` cannot fail.
            let _ =
                if first == last { write!(text, "{separator}{first:x}") } else { write!(text, "{separator}{first:x}-{last:x}") };
        }
        text
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        let after = self.ranges.partition_point(|(first, _)| *first <= number);
        after > 0 && self.ranges[after - 1].1 >= number
    }

    pub(super) fn insert(&mut self, number: u64) {
        let after = self.ranges.partition_point(|(first, _)| *first <= number);
        if after > 0 && self.ranges[after - 1].1 >= number {
            return;
        }
        let joins_before = after > 0 && self.ranges[after - 1].1 + 1 == number;
        let joins_after = self.ranges.get(after).is_some_and(|(first, _)| number.checked_add(1) == Some(*first));
        match (joins_before, joins_after) {
            (true, true) => {
                self.ranges[after - 1].1 = self.ranges[after].1;
                self.ranges.remove(after);
            }
            (true, false) => self.ranges[after - 1].1 = number,
            (false, true) => self.ranges[after].0 = number,
            (false, false) => self.ranges.insert(after, (number, number)),
        }
        if self.ranges.len() > MAX_RANGES {
            self.ranges.remove(0);
        }
    }
}

/// Returns the sequence and the number in it that a cursor says.
pub(super) fn position(cursor: &str) -> Option<(&str, u64)> {
    let field = |name: &str| cursor.split(';').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    let (sequence, number) = (field("s")?, u64::from_str_radix(field("i")?, 16).ok()?);
    // What is no 128-bit id was not written by a journal.
    (sequence.len() == 32 && sequence.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some((sequence, number))
}

/// What is known of one sequence; `None` until somebody has looked it up. Whoever stores entries of it holds the lock meanwhile.
pub(super) type Known = tokio::sync::Mutex<Option<Seen>>;

/// What is known of each sequence. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Uploads(Arc<Mutex<HashMap<String, Arc<Known>>>>);

impl Uploads {
    /// Returns what is known of `sequence`; `None` if there are too many.
    pub(super) fn of(&self, sequence: &str) -> Option<Arc<Known>> {
        let mut known = self.0.lock();
        if known.len() >= MAX_SEQUENCES && !known.contains_key(sequence) {
            return None;
        }
        Some(Arc::clone(known.entry(sequence.to_owned()).or_default()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cursor_says_its_place() {
        let cursor =
            "s=33a8d24def0e4cb6a501aa19bd257a85;i=1f;b=0123456789abcdef0123456789abcdef;m=3f1;t=660ffc2c1838a;x=fc2f17a937e9c410";
        assert_eq!(position(cursor), Some(("33a8d24def0e4cb6a501aa19bd257a85", 31)));
        assert_eq!(position("s=1;i=2"), None);
    }

    #[test]
    fn the_lowest_ranges_are_forgotten() {
        let mut seen = Seen::default();
        (0..300).for_each(|number| seen.insert(number * 2));
        assert_eq!((seen.contains(0), seen.contains(598), seen.ranges.len()), (false, true, MAX_RANGES));
    }

    proptest! {
        #[test]
        fn ranges_are_a_set(numbers in proptest::collection::vec(prop_oneof![0_u64..60, Just(u64::MAX), Just(u64::MAX - 1)], 0..60)) {
            let (mut seen, mut set) = (Seen::default(), BTreeSet::new());
            for number in numbers {
                prop_assert_eq!(seen.contains(number), set.contains(&number));
                seen.insert(number);
                set.insert(number);
            }
            for number in 0..62 {
                prop_assert_eq!(seen.contains(number), set.contains(&number));
            }
            prop_assert_eq!(Seen::parse(&seen.text()), seen);
        }

        #[test]
        fn any_text_is_read(text in "[0-9a-f,-]{0,40}") {
            let seen = Seen::parse(&text);
            prop_assert_eq!(Seen::parse(&seen.text()), seen);
        }
    }
}
