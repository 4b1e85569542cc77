//! What may stand at a place of a query: names of fields, values that have been seen, words of the language.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::field::{BUILT_IN, Field};
use super::parse_pipes::{FUNCTIONS, PIPES};
use crate::logs::Logs;
use crate::logs::block::{self, Columns};
use crate::logs::files::ignore_vanished;
use crate::logs::matcher::Matcher;
use crate::logs::types::LogFilter;
use crate::store::StoreError;

/// Blocks whose fields and values are looked at: the newest.
const SAMPLED_BLOCKS: usize = 3;
/// Records of each of them.
const SAMPLED_ROWS: usize = 20_000;
/// Suggestions at most.
const MOST: usize = 50;
/// Longer values are not suggested.
const MAX_VALUE_BYTES: usize = 80;

/// What may stand where the cursor is.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Completion {
    /// Where the word under the cursor begins, in bytes: a suggestion stands in place of everything from here to the cursor.
    pub from: usize,
    /// The likeliest first.
    pub items: Vec<Suggestion>,
}

/// One suggestion.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Suggestion {
    /// What to write.
    pub text: String,
    /// `field`, `value`, `word`, `pipe` or `function`.
    pub kind: String,
}

/// What the word under the cursor is.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    /// A condition, or the name of a field.
    Condition(&'a str),
    /// The value of a field.
    Value(&'a str, &'a str),
    /// The name of a pipe.
    Pipe(&'a str),
    /// Something in a pipe.
    InPipe(&'a str, &'a str),
}

/// Returns what is at the end of `text`, and where it begins.
fn place(text: &str) -> (Place<'_>, usize) {
    let mut quoted = false;
    let (mut start, mut pipe) = (0, None);
    for (at, char) in text.char_indices() {
        match char {
            '"' => quoted = !quoted,
            '|' if !quoted => {
                pipe = Some(at + 1);
                start = at + 1;
            }
            '(' | ',' if !quoted => start = at + 1,
            char if char.is_whitespace() && !quoted => start = at + char.len_utf8(),
            _ => {}
        }
    }
    let word = &text[start..];
    if let Some(pipe) = pipe {
        let before = text[pipe..start].trim_start();
        return match before.split_whitespace().next() {
            Some(name) => (Place::InPipe(name, word.trim_start_matches('-')), text.len() - word.trim_start_matches('-').len()),
            None => (Place::Pipe(word), start),
        };
    }
    let bare = word.trim_start_matches(['-', '!']);
    let start = text.len() - bare.len();
    if let Some(sign) = bare.find([':', '>', '<', '~', '!']) {
        let value = bare[sign..].trim_start_matches([':', '>', '<', '~', '!', '=']);
        let value_start = text.len() - value.len();
        return (Place::Value(&bare[..sign], value.trim_start_matches('"')), value_start);
    }
    (Place::Condition(bare), start)
}

impl Logs {
    /// Returns what may stand in `query` at byte `cursor`. Blocks on disk.
    ///
    /// # Errors
    /// [`StoreError`] when a file cannot be read.
    pub fn complete(&self, query: &str, cursor: usize) -> Result<Completion, StoreError> {
        let text = &query[..query.floor_char_boundary(cursor.min(query.len()))];
        let (place, from) = place(text);
        let item = |text: &str, kind: &str| Suggestion { text: text.to_owned(), kind: kind.to_owned() };
        let fields = |word: &str| -> Result<Vec<Suggestion>, StoreError> {
            let names = self.field_names()?;
            Ok(names.iter().filter(|name| begins(name, word)).map(|name| item(&super::print::name(name), "field")).collect())
        };
        let mut items: Vec<Suggestion> = match place {
            Place::Condition(word) => {
                let words = ["since:", "until:", "AND", "OR", "NOT"];
                let mut items = fields(word)?;
                items.extend(words.iter().filter(|text| begins(text, word)).map(|text| item(text, "word")));
                items
            }
            Place::Value(name, value) => {
                let values = self.values(name)?;
                values.iter().filter(|text| begins(text, value)).map(|text| item(&super::print::value(text), "value")).collect()
            }
            Place::Pipe(word) => PIPES.iter().filter(|pipe| begins(pipe, word)).map(|pipe| item(pipe, "pipe")).collect(),
            Place::InPipe(pipe, word) => {
                let functions: &[&str] = if pipe == "stats" { &FUNCTIONS } else { &[] };
                let mut items: Vec<_> =
                    functions.iter().filter(|name| begins(name, word)).map(|name| item(name, "function")).collect();
                items.extend((pipe == "stats" && begins("time(", word)).then(|| item("time(", "function")));
                items.extend((pipe == "stats" && begins("by", word)).then(|| item("by", "word")));
                items.extend(fields(word)?);
                items
            }
        };
        items.truncate(MOST);
        Ok(Completion { from, items })
    }

    /// Returns the names of the fields of recent records, the fixed ones first, then the most frequent. Blocks on disk.
    ///
    /// # Errors
    /// [`StoreError`] when a file cannot be read.
    pub fn field_names(&self) -> Result<Vec<String>, StoreError> {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        self.sample(&mut |batch, rows| {
            let mut of_key = vec![0_u64; batch.dict.strings().len()];
            for row in rows {
                batch.attribute_range(row).for_each(|index| of_key[batch.attribute_key[index] as usize] += 1);
            }
            for (key, count) in of_key.into_iter().enumerate().filter(|(_, count)| *count > 0) {
                *counts.entry(batch.dict.get(key as u32).to_owned()).or_default() += count;
            }
            for (key, _) in batch.resources.iter().flatten() {
                *counts.entry(key.clone()).or_default() += 1;
            }
        })?;
        let mut names: Vec<(String, u64)> = counts.into_iter().filter(|(name, _)| !BUILT_IN.contains(&name.as_str())).collect();
        names.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
        Ok(BUILT_IN.iter().map(|name| (*name).to_owned()).chain(names.into_iter().map(|(name, _)| name)).collect())
    }

    /// Returns values of the field called `name` in recent records, the most frequent first.
    fn values(&self, name: &str) -> Result<Vec<String>, StoreError> {
        let field = Field::from_name(name);
        match field {
            _ if matches!(name, "since" | "until") => {
                return Ok(["15m", "1h", "6h", "1d", "7d", "today", "yesterday", "now"].map(str::to_owned).to_vec());
            }
            Field::Level => return Ok(["trace", "debug", "info", "warn", "error", "fatal"].map(str::to_owned).to_vec()),
            Field::Service => return Ok(self.services()?.into_iter().filter(|name| !name.is_empty()).collect()),
            Field::Body | Field::Seq | Field::Timestamp => return Ok(Vec::new()),
            _ => {}
        }
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        self.sample(&mut |batch, rows| {
            for row in rows {
                let text = field.text(batch, row).filter(|text| !text.is_empty() && text.len() <= MAX_VALUE_BYTES);
                if let Some(text) = text.and_then(|text| String::from_utf8(text.into_owned()).ok()) {
                    *counts.entry(text).or_default() += 1;
                }
            }
        })?;
        let mut values: Vec<(String, u64)> = counts.into_iter().collect();
        values.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
        Ok(values.into_iter().map(|(value, _)| value).collect())
    }

    /// Calls `look` with the newest records of the newest blocks.
    fn sample(&self, look: &mut dyn FnMut(&watchfire_types::LogBatch, std::ops::Range<usize>)) -> Result<(), StoreError> {
        let mut plans = self.0.files.plan(&Matcher::new(&LogFilter::default()))?;
        plans.sort_by_key(|plan| std::cmp::Reverse(plan.max_time));
        for plan in plans.iter().take(SAMPLED_BLOCKS) {
            let read = plan.file.readers.read(|connection| {
                let mut statement = connection.prepare_cached("SELECT data FROM blocks WHERE first_seq = ?1")?;
                let mut rows = statement.query([plan.first_seq as i64])?;
                let Some(row) = rows.next()? else { return Ok(None) };
                let columns = Columns { body: false, ..Columns::ALL };
                Ok(block::decode(row.get_ref(0)?.as_blob()?, plan.first_seq, columns).ok())
            });
            if let Some(batch) = ignore_vanished(read)?.flatten() {
                look(&batch, batch.len().saturating_sub(SAMPLED_ROWS)..batch.len());
            }
        }
        Ok(())
    }
}

fn begins(text: &str, word: &str) -> bool {
    text.get(..word.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(word)) && text != word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_under_the_cursor_is_known_for_what_it_is() {
        assert_eq!(place("lev"), (Place::Condition("lev"), 0));
        assert_eq!(place("a \"b | c\" (NOT -ser"), (Place::Condition("ser"), 16));
        assert_eq!(place("level>=wa"), (Place::Value("level", "wa"), 7));
        assert_eq!(place("x -service:\"a"), (Place::Value("service", "a"), 11));
        assert_eq!(place("a | st"), (Place::Pipe("st"), 4));
        assert_eq!(place("a|"), (Place::Pipe(""), 2));
        assert_eq!(place("a | stats count by ser"), (Place::InPipe("stats", "ser"), 19));
        assert_eq!(place("| sort -cou"), (Place::InPipe("sort", "cou"), 8));
        assert_eq!(place("| stats p99(dur"), (Place::InPipe("stats", "dur"), 12));
        assert_eq!(place("| top 5 a,b"), (Place::InPipe("top", "b"), 10));
    }
}
