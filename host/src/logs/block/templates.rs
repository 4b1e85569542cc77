//! Texts as templates and variables: the variables of one place in one template lie side by side, and compress far better so.
//!
//! Layout: how many templates there are, how many of them are common, and the bytes of all rows; the templates, each of which shows
//! how many holes it has.
//! Then which template each row has (0: none, the row is kept as it is), the rows that have none, for each common template a column
//! for each hole, and one column with all variables of the others.

use std::borrow::Cow;

use rustc_hash::{FxBuildHasher, FxHashMap};
use watchfire_types::log::TextColumn;

use super::super::varint::{Reader, put};
use super::BlockError;
use super::numbers::{self, Order};
use super::probe::Run;
use super::template::{HOLE, split};
use super::texts::{self, Column, Ways};
use crate::logs::query::bits::Bits;

/// Fewer rows are not worth it.
const LEAST_ROWS: usize = 32;
/// A template of so many rows has a column for each of its holes.
const COMMON_ROWS: u32 = 48;
/// Rows after which a column is given up in which hardly any template comes twice.
const TRIAL_ROWS: usize = 2048;
/// What is said of the bytes of all rows is believed up to here; beyond, memory is taken as it is needed.
const MAX_RESERVED_BYTES: usize = 32 << 20;
/// Most variables of a column: bounds what a reader must hold.
const MAX_VARIABLES: usize = 1 << 24;

/// One template while rows are gathered.
struct Found {
    rows: u32,
    /// Where it stands among the templates that are kept, from 1; 0 for none.
    place: u64,
}

/// Returns `rows` as templates and variables, or nothing if hardly any two have the same template.
pub(super) fn encode(rows: &[&[u8]], level: i32) -> Option<Vec<u8>> {
    if rows.len() < LEAST_ROWS {
        return None;
    }
    let mut found: Vec<Found> = Vec::new();
    let mut known: FxHashMap<Box<[u8]>, u32> = FxHashMap::with_hasher(FxBuildHasher);
    // Of each row: its template, or none, and its variables.
    let mut of_row: Vec<Option<u32>> = Vec::with_capacity(rows.len());
    let mut ends: Vec<u32> = Vec::with_capacity(rows.len());
    let mut spans: Vec<(u32, u32)> = Vec::new();
    let mut template = Vec::new();
    for (row, text) in rows.iter().enumerate() {
        template.clear();
        let number = split(text, &mut template, &mut spans).then(|| {
            if let Some(number) = known.get(template.as_slice()) {
                found[*number as usize].rows += 1;
                return *number;
            }
            found.push(Found { rows: 1, place: 0 });
            known.insert(template.as_slice().into(), found.len() as u32 - 1);
            found.len() as u32 - 1
        });
        of_row.push(number);
        ends.push(spans.len() as u32);
        if spans.len() > MAX_VARIABLES || (row + 1 == TRIAL_ROWS.min(rows.len()) && found.len() > (row + 1) * 3 / 4) {
            return None;
        }
    }
    let mut texts: Vec<(&[u8], usize)> = known.iter().map(|(text, number)| (&**text, *number as usize)).collect();
    texts.retain(|(_, number)| found[*number].rows > 1);
    // The most frequent first: small numbers, and the common ones are a beginning of the list.
    texts.sort_unstable_by_key(|(_, number)| (std::cmp::Reverse(found[*number].rows), *number));
    for (place, (_, number)) in texts.iter().enumerate() {
        found[*number].place = place as u64 + 1;
    }
    let common = texts.iter().take_while(|(_, number)| found[*number].rows >= COMMON_ROWS).count();
    let place = |number: &Option<u32>| number.map_or(0, |number| found[number as usize].place);
    let places: Vec<u64> = of_row.iter().map(place).collect();
    if places.iter().filter(|place| **place == 0).count() > rows.len() / 2 {
        return None;
    }
    let variable = |row: usize, span: &(u32, u32)| &rows[row][span.0 as usize..span.1 as usize];
    let spans_of = |row: usize| &spans[if row == 0 { 0 } else { ends[row - 1] as usize }..ends[row] as usize];
    let mut rows_of: Vec<Vec<usize>> = vec![Vec::new(); texts.len() + 1];
    for (row, place) in places.iter().enumerate() {
        rows_of[*place as usize].push(row);
    }

    let mut columns = Vec::new();
    let mut stored_texts: Vec<Cow<'_, [u8]>> = Vec::with_capacity(texts.len());
    for (place, (text, _)) in texts.iter().enumerate() {
        if place >= common {
            stored_texts.push(Cow::Borrowed(text));
            continue;
        }
        let of_template = &rows_of[place + 1];
        let mut literals = text.split(|byte| *byte == HOLE);
        let mut stored = literals.next().unwrap_or_default().to_vec();
        for (hole, literal) in literals.enumerate() {
            let column: Vec<&[u8]> = of_template.iter().map(|row| variable(*row, &spans_of(*row)[hole])).collect();
            // What never varies is no variable: the template is stored with it.
            if column.iter().all(|text| *text == column[0]) {
                stored.extend_from_slice(column[0]);
            } else {
                stored.push(HOLE);
                texts::encode(&column, Ways::VARIABLES, level, &mut columns);
            }
            stored.extend_from_slice(literal);
        }
        stored_texts.push(Cow::Owned(stored));
    }

    let mut out = Vec::new();
    put(&mut out, texts.len() as u64);
    put(&mut out, common as u64);
    put(&mut out, rows.iter().map(|row| row.len() as u64).sum());
    let stored_texts: Vec<&[u8]> = stored_texts.iter().map(|text| &**text).collect();
    texts::encode_plain(&stored_texts, level, &mut out);
    numbers::encode(&places, Order::Free, level, &mut out);
    let kept: Vec<&[u8]> = rows_of[0].iter().map(|row| rows[*row]).collect();
    if !kept.is_empty() {
        texts::encode_plain(&kept, level, &mut out);
    }
    out.extend(columns);
    let others = rows_of[common + 1..].iter().flatten();
    let others: Vec<&[u8]> = others.flat_map(|row| spans_of(*row).iter().map(|span| variable(*row, span))).collect();
    if !others.is_empty() {
        texts::encode_plain(&others, level, &mut out);
    }
    Some(out)
}

/// Texts in the way they lie: none is put together before it is asked for.
pub(super) struct Templates<'a> {
    /// Bytes of all rows, as far as that is believed.
    all_bytes: usize,
    /// The templates, with their holes.
    texts: TextColumn,
    parts: Vec<Parts<'a>>,
    /// How many templates, the first ones, have columns of their own.
    common: usize,
    /// Of each row: 0, or its template from 1.
    places: Vec<u64>,
    /// Of each row: the how manieth of its template it is.
    ranks: Vec<u32>,
    /// Rows without a template.
    kept: TextColumn,
    /// Variables of all templates that are not common, and how many they are.
    others: (Column<'a>, usize),
}

/// A template while rows are put together.
struct Parts<'a> {
    /// Where what stands before each hole, and after the last one, lies in the texts.
    literals: Vec<(u32, u32)>,
    /// A column for each hole; empty if its variables lie with those of others.
    columns: Vec<Column<'a>>,
    /// Where its variables begin among those of others.
    first: usize,
    /// How many rows it has.
    rows: usize,
}

impl<'a> Templates<'a> {
    /// Reads what [`encode`] has written; its columns are `depth` columns within another.
    pub(super) fn read(reader: &mut Reader<'a>, count: usize, depth: usize) -> Result<Self, BlockError> {
        let (templates, common) = (reader.number()? as usize, reader.number()? as usize);
        let all_bytes = (reader.number()? as usize).min(MAX_RESERVED_BYTES);
        if templates > count || common > templates {
            return Err(BlockError::Length);
        }
        let texts = Column::decode(reader, templates, depth)?.into_texts(templates)?;
        let places = numbers::decode(reader, count)?;
        let mut rows_of = vec![0_usize; templates + 1];
        let mut ranks = Vec::with_capacity(count);
        for place in &places {
            let rows = rows_of.get_mut(*place as usize).ok_or(BlockError::Length)?;
            ranks.push(*rows as u32);
            *rows += 1;
        }
        let kept = Column::decode(reader, rows_of[0], depth)?.into_texts(rows_of[0])?;
        let mut parts: Vec<Parts<'_>> = (0..templates)
            .map(|place| Parts { literals: literals(&texts, place), columns: Vec::new(), first: 0, rows: rows_of[place + 1] })
            .collect();
        let variables = |parts: &Parts<'_>, rows: usize| (parts.literals.len() - 1).saturating_mul(rows);
        let all = parts.iter().zip(&rows_of[1..]).map(|(parts, rows)| variables(parts, *rows)).fold(0, usize::saturating_add);
        if all > MAX_VARIABLES {
            return Err(BlockError::Length);
        }
        for (parts, rows) in parts[..common].iter_mut().zip(&rows_of[1..]) {
            let holes = parts.literals.len() - 1;
            parts.columns = (0..holes).map(|_| Column::decode(reader, *rows, depth)).collect::<Result<_, _>>()?;
        }
        let mut others = 0;
        for (parts, rows) in parts.iter_mut().zip(&rows_of[1..]).skip(common) {
            parts.first = others;
            others += variables(parts, *rows);
        }
        let others = (Column::decode(reader, others, depth)?, others);
        Ok(Self { all_bytes, texts, parts, common, places, ranks, kept, others })
    }

    /// Returns how many rows there are.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Returns how many bytes to reserve for all of them.
    pub(super) fn all_bytes(&self) -> usize {
        self.all_bytes
    }

    /// Appends the text of row `row`.
    #[inline]
    pub(super) fn append(&self, row: usize, out: &mut Vec<u8>) {
        let rank = self.ranks[row] as usize;
        let Some(place) = (self.places[row] as usize).checked_sub(1) else {
            out.extend_from_slice(self.kept.get(rank));
            return;
        };
        let Parts { literals, columns, first, .. } = &self.parts[place];
        let text = |(start, end): (u32, u32)| &self.texts.bytes[start as usize..end as usize];
        out.extend_from_slice(text(literals[0]));
        for (hole, literal) in literals[1..].iter().enumerate() {
            if place < self.common {
                columns[hole].append(rank, out);
            } else {
                self.others.0.append(first + rank * (literals.len() - 1) + hole, out);
            }
            out.extend_from_slice(text(*literal));
        }
    }

    /// Returns the rows that may have `run`: those whose template or one of whose variables has it.
    pub(super) fn rows_with(&self, run: &Run) -> Option<Bits> {
        let of_template: Vec<bool> = (0..self.parts.len()).map(|place| run.is_in(self.texts.get(place))).collect();
        let of_kept = run.rows_of(&self.kept);
        let of_variables: Vec<Option<Bits>> = self
            .parts
            .iter()
            .map(|parts| {
                parts.columns.iter().filter_map(|column| column.rows_with(run, parts.rows)).reduce(|mut all, more| {
                    all.add(&more);
                    all
                })
            })
            .collect();
        let of_others = self.others.0.rows_with(run, self.others.1);
        if of_kept.is_none() && of_others.is_none() && !of_template.contains(&true) && of_variables.iter().all(Option::is_none) {
            return None;
        }
        let mut rows = Bits::none(self.len());
        for (row, (place, rank)) in self.places.iter().zip(&self.ranks).enumerate() {
            let rank = *rank as usize;
            let is_there = match (*place as usize).checked_sub(1) {
                None => of_kept.as_ref().is_some_and(|kept| kept.has(rank)),
                Some(place) if of_template[place] => true,
                Some(place) if place < self.common => of_variables[place].as_ref().is_some_and(|rows| rows.has(rank)),
                Some(place) => of_others.as_ref().is_some_and(|others| {
                    let Parts { literals, first, .. } = &self.parts[place];
                    let holes = literals.len() - 1;
                    (0..holes).any(|hole| others.has(first + rank * holes + hole))
                }),
            };
            if is_there {
                rows.set(row);
            }
        }
        Some(rows)
    }
}

/// Returns where the literals of template `place` lie.
fn literals(texts: &TextColumn, place: usize) -> Vec<(u32, u32)> {
    let (mut start, end) = (texts.offsets[place], texts.offsets[place + 1]);
    let mut literals = Vec::new();
    for hole in memchr::memchr_iter(HOLE, texts.get(place)) {
        let hole = texts.offsets[place] + hole as u32;
        literals.push((start, hole));
        start = hole + 1;
    }
    literals.push((start, end));
    literals
}
