//! Whether a pattern that was never seen is news.

/// Words are of one kind if they may stand for each other in a message: numbers, ids, paths, addresses.
const VARIABLE: &str = "<*>";
/// Longer words are ids.
const LONG_WORD: usize = 24;
/// Templates of at least so many words may differ in one of ten and be the same message still.
const LONG_TEMPLATE: usize = 10;
/// Words of a template that are compared.
const MAX_WORDS: usize = 100;

/// Returns whether `template` is, but for what varies, one of `known`: then it is no news that it is seen.
#[must_use]
pub fn is_near<'a>(template: &str, known: impl IntoIterator<Item = &'a str>) -> bool {
    let words = skeleton(template);
    let allowed = if words.len() < LONG_TEMPLATE { 0 } else { words.len() / LONG_TEMPLATE };
    known.into_iter().any(|other| {
        let other = skeleton(other);
        words.len().abs_diff(other.len()) <= allowed && differences(&words, &other, allowed) <= allowed
    })
}

/// Returns the words, all that varies as one sign, runs of it as one.
fn skeleton(template: &str) -> Vec<&str> {
    let varies = |word: &&str| {
        word.contains(VARIABLE)
            || word.len() > LONG_WORD
            || word.bytes().any(|byte| byte.is_ascii_digit())
            || word.contains(['/', '\\', '@'])
    };
    let split = |c: char| c.is_whitespace() || matches!(c, ',' | ';' | '=' | '"' | '\'' | '(' | ')' | '[' | ']' | '{' | '}');
    let words = template.split(split).filter(|word| !word.is_empty());
    let mut words: Vec<&str> = words.map(|word| if varies(&word) { VARIABLE } else { word }).take(MAX_WORDS).collect();
    words.dedup_by(|a, b| *a == VARIABLE && *b == VARIABLE);
    words
}

/// Returns how many words must be changed, added or left out to make one of the other; more than `most` is not told apart.
fn differences(left: &[&str], right: &[&str], most: usize) -> usize {
    if most == 0 {
        return usize::from(left != right);
    }
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, word) in left.iter().enumerate() {
        let mut corner = row[0];
        row[0] = index + 1;
        for (place, other) in right.iter().enumerate() {
            let change = corner + usize::from(word != other);
            corner = row[place + 1];
            row[place + 1] = change.min(corner + 1).min(row[place] + 1);
        }
    }
    row[right.len()]
}

/// Words that tell of trouble in a line whose level nobody gave.
const TROUBLE: [&str; 16] = [
    "error",
    "fail",
    "fatal",
    "panic",
    "exception",
    "critical",
    "traceback",
    "denied",
    "refused",
    "timeout",
    "timed out",
    "abort",
    "corrupt",
    "unable to",
    "cannot",
    "out of memory",
];

/// Returns the severity number that a line without a level speaks of: 13 if it tells of trouble.
#[must_use]
pub fn severity_of(line: &str) -> u8 {
    let line = line.get(..line.floor_char_boundary(2_000)).unwrap_or(line).to_lowercase();
    if TROUBLE.iter().any(|word| line.contains(word)) { 13 } else { 9 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_differs_in_what_varies_is_known() {
        let known = ["connection to <*> failed: timeout", "user <*> logged in from <*>"];
        assert!(is_near("connection to 10.0.0.7 failed: timeout", known));
        assert!(is_near("user <*> logged in from db-7", known));
        assert!(!is_near("connection to <*> failed: refused", known), "another reason is news");
        assert!(!is_near("user <*> logged out from <*>", known));
        assert!(!is_near("anything", []));
    }

    #[test]
    fn long_messages_may_differ_in_a_tenth_of_their_words() {
        let words = |last: &str| format!("the quick brown fox jumps over a lazy dog and is {last}");
        assert!(is_near(&words("happy"), [words("sad").as_str()]));
        assert!(!is_near("the quick brown cat jumps over a lazy mouse and is sad", [words("sad").as_str()]));
    }

    #[test]
    fn a_line_without_a_level_is_taken_at_its_word() {
        assert_eq!(severity_of("Failed password for root"), 13);
        assert_eq!(severity_of("session opened"), 9);
    }

    proptest! {
        #[test]
        fn every_template_is_near_itself(template in "[a-z0-9 <>*/=]{0,80}") {
            prop_assert!(is_near(&template, [template.as_str()]));
        }
    }
}
