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
use super::numbers::{self, Order};
use super::template::{HOLE, split};
use super::texts::{self, Column, Ways};
use super::{BlockError, MAX_SECTION_BYTES};

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

/// A template while rows are put together.
struct Parts<'a> {
    /// What stands before each hole, and after the last one.
    literals: Vec<&'a [u8]>,
    /// A column for each hole; empty if its variables lie with those of others.
    columns: Vec<Column<'a>>,
    /// The next row of the columns, or the next variable among those of others.
    next: usize,
}

/// Reads what [`encode`] has written; its columns are `depth` columns within another.
pub(super) fn decode(reader: &mut Reader<'_>, count: usize, depth: usize) -> Result<TextColumn, BlockError> {
    let (templates, common) = (reader.number()? as usize, reader.number()? as usize);
    let all_bytes = (reader.number()? as usize).min(MAX_RESERVED_BYTES);
    if templates > count || common > templates {
        return Err(BlockError::Length);
    }
    let texts = Column::decode(reader, templates, depth)?.into_texts(templates)?;
    let places = numbers::decode(reader, count)?;
    let mut rows_of = vec![0_usize; templates + 1];
    for place in &places {
        *rows_of.get_mut(*place as usize).ok_or(BlockError::Length)? += 1;
    }
    let kept = Column::decode(reader, rows_of[0], depth)?.into_texts(rows_of[0])?;
    let mut parts: Vec<Parts<'_>> = (0..templates)
        .map(|place| Parts { literals: texts.get(place).split(|byte| *byte == HOLE).collect(), columns: Vec::new(), next: 0 })
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
        parts.next = others;
        others += variables(parts, *rows);
    }
    let others = Column::decode(reader, others, depth)?;

    let mut whole = TextColumn { offsets: Vec::with_capacity(count + 1), bytes: Vec::with_capacity(all_bytes) };
    whole.offsets.push(0);
    let mut next_kept = 0;
    for place in places {
        match (place as usize).checked_sub(1) {
            None => {
                whole.bytes.extend_from_slice(kept.get(next_kept));
                next_kept += 1;
            }
            Some(place) => {
                let is_common = place < common;
                let Parts { literals, columns, next } = &mut parts[place];
                whole.bytes.extend_from_slice(literals[0]);
                for (hole, literal) in literals[1..].iter().enumerate() {
                    if is_common {
                        columns[hole].append(*next, &mut whole.bytes);
                    } else {
                        others.append(*next, &mut whole.bytes);
                        *next += 1;
                    }
                    whole.bytes.extend_from_slice(literal);
                }
                *next += usize::from(is_common);
            }
        }
        if whole.bytes.len() > MAX_SECTION_BYTES {
            return Err(BlockError::Length);
        }
        whole.offsets.push(whole.bytes.len() as u32);
    }
    Ok(whole)
}
