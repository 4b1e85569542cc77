//! Which rows of a block may hold a text, found without putting their texts together, and those rows alone.
//!
//! A word of letters is looked for where it can be: in the templates, of which there are hundreds for tens of thousands of rows, and in those
//! columns of variables that may have letters. What is found may be too much and is never too little: whoever asks looks at the rows.

use regex::bytes::{Regex, RegexBuilder};
use watchfire_types::LogBatch;
use watchfire_types::log::TextColumn;

use super::packed::{self, Shapes};
use super::texts::Column;
use super::{BlockError, Columns};
use crate::logs::query::bits::Bits;

/// Shorter runs are in too many texts.
const LEAST_LETTERS: usize = 3;

/// Letters of ASCII that a text must have side by side, in any case.
#[derive(Debug)]
pub struct Run {
    pattern: Regex,
    hexadecimal: bool,
}

impl Run {
    /// Returns the longest run in `text`, if there is one that is worth looking for.
    #[must_use]
    pub fn of(text: &[u8]) -> Option<Self> {
        let runs = text.split(|byte| !byte.is_ascii_alphabetic());
        let longest = runs.max_by_key(|run| run.len()).filter(|run| run.len() >= LEAST_LETTERS)?;
        let letters = str::from_utf8(longest).ok()?;
        let pattern = RegexBuilder::new(letters).case_insensitive(true).unicode(false).build().ok()?;
        Some(Self { pattern, hexadecimal: longest.iter().all(u8::is_ascii_hexdigit) })
    }

    /// Returns whether a hexadecimal number may have it.
    pub(super) fn is_hexadecimal(&self) -> bool {
        self.hexadecimal
    }

    /// Returns whether `text` has it.
    pub(super) fn is_in(&self, text: &[u8]) -> bool {
        self.pattern.is_match(text)
    }

    /// Returns the rows of `column` that have it; `None` if there is none.
    pub(super) fn rows_of(&self, column: &TextColumn) -> Option<Bits> {
        let mut rows: Option<Bits> = None;
        let mut at = 0;
        while let Some(found) = self.pattern.find_at(&column.bytes, at) {
            let row = column.row_at(found.start());
            let end = column.offsets[row + 1] as usize;
            if found.end() <= end {
                rows.get_or_insert_with(|| Bits::none(column.len())).set(row);
                at = end.max(at + 1);
            } else {
                at = found.start() + 1;
            }
        }
        rows
    }
}

/// A block of format 3 that is being looked through.
pub struct Probe<'a> {
    sections: packed::Sections<'a>,
    head: &'a LogBatch,
    body: Option<(Vec<u64>, Column<'a>)>,
    attributes: Option<packed::Attributes<'a>>,
}

impl<'a> Probe<'a> {
    /// Returns whether `block` can be looked through.
    #[must_use]
    pub fn fits(block: &[u8]) -> bool {
        block.first() == Some(&packed::FORMAT)
    }

    /// Begins to look through `block`, whose head is `head`.
    ///
    /// # Errors
    /// [`BlockError`] if anything about it is not as it was written.
    pub fn new(block: &'a [u8], head: &'a LogBatch) -> Result<Self, BlockError> {
        let sections = packed::Sections::new(block)?;
        if sections.rows != head.len() {
            return Err(BlockError::Length);
        }
        Ok(Self { sections, head, body: None, attributes: None })
    }

    /// Returns how many rows the block has.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.sections.rows
    }

    /// Returns the rows that may have `run` in their body, and with `anywhere` in an attribute. Once they are more than `most`, the attributes
    /// are not looked at, and it is `None`.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn rows_with(&mut self, run: &Run, anywhere: bool, most: usize) -> Result<Option<Bits>, BlockError> {
        let rows = self.rows();
        let mut found = self.body()?.1.rows_with(run, rows).unwrap_or_else(|| Bits::none(rows));
        if found.count() > most {
            return Ok(None);
        }
        if anywhere {
            self.attributes()?.add_rows_with(run, &mut found);
        }
        Ok(Some(found).filter(|found| found.count() <= most))
    }

    /// Returns `wanted` rows alone, in their order, with `columns`; of the attributes, with `keys`, only those.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn take(&mut self, wanted: &Bits, columns: Columns, keys: Option<&[String]>) -> Result<LogBatch, BlockError> {
        let rows: Vec<usize> = wanted.iter().collect();
        let mut batch = head_of(self.head, &rows);
        if columns.ids {
            (batch.trace_id, batch.span_id) = packed::ids(&self.sections, Some(&rows))?;
        }
        if columns.body {
            let (kinds, texts) = self.body()?;
            batch.body.kind = rows.iter().map(|row| kinds[*row] as u8).collect();
            batch.body.data = TextColumn::default();
            for row in &rows {
                texts.append(*row, &mut batch.body.data.bytes);
                packed::end_row(&mut batch.body.data)?;
            }
        }
        if columns.attributes {
            batch.attribute_ends = Vec::new();
            self.attributes()?.append(wanted, keys, &mut batch)?;
        }
        Ok(batch)
    }

    fn body(&mut self) -> Result<&(Vec<u64>, Column<'a>), BlockError> {
        if self.body.is_none() {
            self.body = Some(packed::body(&self.sections)?);
        }
        self.body.as_ref().ok_or(BlockError::Length)
    }

    fn attributes(&mut self) -> Result<&packed::Attributes<'a>, BlockError> {
        if self.attributes.is_none() {
            self.attributes = Some(packed::attributes(&self.sections, self.head.dict.strings(), &|_| true)?);
        }
        self.attributes.as_ref().ok_or(BlockError::Length)
    }
}

/// Returns `rows` of `batch`, with no ids, bodies and attributes.
fn head_of(batch: &LogBatch, rows: &[usize]) -> LogBatch {
    fn taken<T: Copy>(column: &[T], rows: &[usize]) -> Vec<T> {
        rows.iter().filter_map(|row| column.get(*row).copied()).collect()
    }
    LogBatch {
        seq: taken(&batch.seq, rows),
        pattern: taken(&batch.pattern, rows),
        time: taken(&batch.time, rows),
        observed: taken(&batch.observed, rows),
        severity: taken(&batch.severity, rows),
        severity_text: taken(&batch.severity_text, rows),
        resource: taken(&batch.resource, rows),
        scope: taken(&batch.scope, rows),
        event_name: taken(&batch.event_name, rows),
        flags: taken(&batch.flags, rows),
        trace_id: vec![[0; 16]; rows.len()],
        span_id: vec![[0; 8]; rows.len()],
        body: super::empty_values(rows.len()),
        attribute_ends: vec![0; rows.len()],
        resources: batch.resources.clone(),
        dict: batch.dict.clone(),
        ..LogBatch::default()
    }
}

impl packed::Attributes<'_> {
    /// Adds the rows that may have `run` in an attribute.
    fn add_rows_with(&self, run: &Run, found: &mut Bits) {
        for (slot, column) in self.columns.iter().enumerate() {
            let Some((_, values)) = column else { continue };
            let Some(hits) = values.rows_with(run, self.keys[slot].1) else { continue };
            let key = self.keys[slot].0;
            let Shapes { keys, places } = &self.shapes;
            let times: Vec<usize> = keys.iter().map(|shape| shape.iter().filter(|other| **other == key).count()).collect();
            let mut next = 0;
            for (row, place) in places.iter().enumerate() {
                let times = times[*place as usize];
                if (next..next + times).any(|index| hits.has(index)) {
                    found.set(row);
                }
                next += times;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use watchfire_types::ValueRef;
    use watchfire_types::log::RecordHead;

    use super::super::tests::batches;
    use super::super::{decode, pack};
    use super::*;

    /// Records whose bodies have templates, with variables of every kind.
    fn wordy() -> impl Strategy<Value = LogBatch> {
        let text = "(user|USER|item) [a-f]{0,9}[0-9]{0,3}(needle|Needles|nee|feed)?( took [0-9]{1,4}ms| from 10\\.1\\.2\\.[0-9])?";
        let record = (text, proptest::option::of("(GET|needle|[0-9]{1,3}|[0-9a-f]{16})"), 0..3_u8);
        proptest::collection::vec(record, 0..300).prop_map(|records| {
            let mut batch = LogBatch::default();
            for (body, attribute, key) in records {
                batch.push(&RecordHead::default(), ValueRef::Text(&body));
                if let Some(value) = attribute {
                    batch.attribute(["a", "b", "needle"][key as usize], ValueRef::Text(&value));
                    batch.attribute("a", ValueRef::Int(7));
                }
            }
            batch
        })
    }

    proptest! {
        #[test]
        fn rows_alone_are_those_of_the_whole_block(
            mut batch in prop_oneof![batches(), wordy()],
            picks in proptest::collection::vec(any::<bool>(), 300),
        ) {
            batch.seq = (0..batch.len() as u64).map(|row| 9 + row * 2).collect();
            let block = pack(&batch, 1);
            prop_assume!(Probe::fits(&block));
            let head = decode(&block, 9, Columns::HEAD).unwrap();
            let wanted = Bits::all(batch.len()).filter(|row| picks[row]);
            let taken = Probe::new(&block, &head).unwrap().take(&wanted, Columns::ALL, None).unwrap();
            let expected: Vec<_> = wanted.iter().map(|row| batch.record(row)).collect();
            prop_assert_eq!((0..taken.len()).map(|row| taken.record(row)).collect::<Vec<_>>(), expected);
        }

        #[test]
        fn no_row_with_the_letters_is_missed(batch in wordy(), text in "(needle|NEE|user|feed|GET|took|needles|item abc|x 1)") {
            let Some(run) = Run::of(text.as_bytes()) else { return Ok(()) };
            let block = pack(&batch, 1);
            prop_assume!(Probe::fits(&block));
            let head = decode(&block, 1, Columns::HEAD).unwrap();
            let found = Probe::new(&block, &head).unwrap().rows_with(&run, true, usize::MAX).unwrap().unwrap();
            for row in 0..batch.len() {
                let attributes = batch.attribute_range(row).map(|index| batch.attribute_value.data.get(index));
                let has = std::iter::once(batch.body.data.get(row)).chain(attributes).any(|text| run.is_in(text));
                prop_assert!(!has || found.has(row), "{:?}", batch.record(row));
            }
        }
    }

    #[test]
    fn few_rows_are_found_for_a_rare_word() {
        let mut batch = LogBatch::default();
        for row in 0..5_000 {
            let body = if row == 77 { "found the needle".to_owned() } else { format!("request {row} took {}ms", row * 7) };
            batch.push(&RecordHead::default(), ValueRef::Text(&body));
            batch.attribute("request.id", ValueRef::Text(&if row == 99 { "needle-9".to_owned() } else { format!("{row:016x}") }));
        }
        let block = pack(&batch, 3);
        let head = decode(&block, 1, Columns::HEAD).unwrap();
        let mut probe = Probe::new(&block, &head).unwrap();
        let run = Run::of(b"needle").unwrap();
        assert_eq!(probe.rows_with(&run, true, 100).unwrap().unwrap().iter().collect::<Vec<_>>(), [77, 99]);
        assert_eq!(probe.rows_with(&run, false, 100).unwrap().unwrap().iter().collect::<Vec<_>>(), [77]);
        assert_eq!(probe.rows_with(&Run::of(b"request").unwrap(), true, 100).unwrap(), None);
        assert!(Run::of(b"12 ab 34").is_none());
    }
}
