//! Groups of records by their values, and what is computed of each: `stats`, `top`, `uniq` and histograms.

use std::borrow::Cow;

use rustc_hash::FxHashMap;
use watchfire_types::{LogBatch, Severity, Timestamp};

use super::ast::{Aggregate, Function, Key};
use super::bits::Bits;
use super::field::{Attribute, Field, services};
use super::node::number;
use super::parse_pipes::MAX_KEYS;
use super::sketch::{Distinct, Quantiles, hash};
use super::table::{Cell, Table};
use crate::logs::block::{Columns, Wants};
use crate::logs::summary::SummaryRow;

/// Summaries count by minutes, in nanoseconds.
const MINUTE: u64 = 60_000_000_000;

/// Memory of the groups of one query, in bytes; what needs more is refused.
pub const MAX_GROUP_BYTES: usize = 96 << 20;

/// Groups need more memory than [`MAX_GROUP_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this makes more groups than fit into {} MiB: group by something with fewer values, or narrow the query", MAX_GROUP_BYTES >> 20)]
pub struct TooManyGroups;

/// Codes of the values of each key; unused ones are zero.
type Codes = [u32; MAX_KEYS];

/// Records grouped so far.
#[derive(Debug)]
pub struct Groups {
    by: Vec<Key>,
    columns: Vec<Aggregate>,
    values: Vec<Values>,
    index: FxHashMap<Codes, usize>,
    keys: Vec<Codes>,
    /// One for each group and column, group by group.
    states: Vec<State>,
    /// Memory of states beside themselves, about.
    state_bytes: usize,
}

/// The values that a key has had; code 0 stands for none.
#[derive(Debug, Default)]
struct Values {
    cells: Vec<Cell>,
    texts: FxHashMap<Vec<u8>, u32>,
    numbers: FxHashMap<u64, u32>,
    bytes: usize,
}

/// What has been computed of one column.
#[derive(Clone, Debug)]
enum State {
    Count(u64),
    Distinct(Distinct),
    Sum { whole: i128, rest: f64, count: u64 },
    Extreme(Option<Number>),
    Quantiles(Quantiles),
}

/// A number of a record, whole as long as it can be.
#[derive(Clone, Copy, Debug)]
enum Number {
    Int(i64),
    Float(f64),
}

impl Number {
    fn as_f64(self) -> f64 {
        match self {
            Self::Int(number) => number as f64,
            Self::Float(number) => number,
        }
    }

    fn is_less(self, other: Self) -> bool {
        match (self, other) {
            (Self::Int(own), Self::Int(other)) => own < other,
            (own, other) => own.as_f64() < other.as_f64(),
        }
    }
}

impl Values {
    fn new() -> Self {
        Self { cells: vec![Cell::None], ..Self::default() }
    }

    fn text(&mut self, bytes: &[u8], cell: impl FnOnce() -> Cell) -> u32 {
        if let Some(code) = self.texts.get(bytes) {
            return *code;
        }
        let code = self.push(cell());
        self.bytes += bytes.len() + 48;
        self.texts.insert(bytes.to_vec(), code);
        code
    }

    fn number(&mut self, number: u64, cell: impl FnOnce() -> Cell) -> u32 {
        if let Some(code) = self.numbers.get(&number) {
            return *code;
        }
        let code = self.push(cell());
        self.bytes += 16;
        self.numbers.insert(number, code);
        code
    }

    fn push(&mut self, cell: Cell) -> u32 {
        self.bytes += cell.bytes();
        self.cells.push(cell);
        self.cells.len() as u32 - 1
    }

    /// Returns the code of a value of another such list.
    fn adopt(&mut self, key: &Key, cell: &Cell) -> u32 {
        match (key, cell) {
            (_, Cell::None) => 0,
            (Key::Time(_), Cell::Time(time)) => self.number(time.as_nanos(), || cell.clone()),
            (_, Cell::Level(severity)) => self.number(u64::from(severity.0), || cell.clone()),
            (_, Cell::Id(id)) => self.number(*id, || cell.clone()),
            (_, cell) => self.text(cell.display().as_bytes(), || cell.clone()),
        }
    }
}

impl Groups {
    /// Returns no groups yet. Without keys there is one from the beginning.
    #[must_use]
    pub fn new(by: &[Key], columns: &[Aggregate]) -> Self {
        let mut groups = Self {
            by: by.to_vec(),
            columns: columns.to_vec(),
            values: by.iter().map(|_| Values::new()).collect(),
            index: FxHashMap::default(),
            keys: Vec::new(),
            states: Vec::new(),
            state_bytes: 0,
        };
        if by.is_empty() {
            groups.group([0; MAX_KEYS]);
        }
        groups
    }

    /// Returns what of a block must be read for it.
    #[must_use]
    pub fn needs(by: &[Key], columns: &[Aggregate]) -> Wants {
        let keys = by.iter().filter_map(|key| if let Key::Field(field) = key { Some(field) } else { None });
        let fields: Vec<&Field> = keys.chain(columns.iter().filter_map(|column| column.field.as_ref())).collect();
        Wants {
            columns: fields.iter().map(|field| field.columns()).fold(Columns::HEAD, Columns::or),
            keys: Some(fields.iter().flat_map(|field| field.keys()).collect()),
        }
    }

    /// Adds `rows` of `batch`.
    ///
    /// # Errors
    /// [`TooManyGroups`]: then it is of no use any more.
    pub fn add(&mut self, batch: &LogBatch, rows: &Bits) -> Result<(), TooManyGroups> {
        let rows: Vec<usize> = rows.iter().collect();
        let mut codes = vec![[0; MAX_KEYS]; rows.len()];
        for (position, key) in self.by.iter().enumerate() {
            code(key, &mut self.values[position], batch, &rows, |index, code| codes[index][position] = code);
        }
        let mut groups = Vec::with_capacity(rows.len());
        let mut last: Option<(Codes, usize)> = None;
        for codes in codes {
            // Neighbours mostly belong together, and a comparison is cheaper than a hash.
            let group = match last {
                Some((same, group)) if same == codes => group,
                _ => self.group(codes),
            };
            last = Some((codes, group));
            groups.push(group);
        }
        let width = self.columns.len();
        for (position, column) in self.columns.iter().enumerate() {
            let states = &mut self.states;
            let state_bytes = &mut self.state_bytes;
            let at = |index: usize| groups[index] * width + position;
            match (&column.function, &column.field) {
                (Function::Count, None) => {
                    for index in 0..rows.len() {
                        if let State::Count(count) = &mut states[at(index)] {
                            *count += 1;
                        }
                    }
                }
                (Function::Count, Some(field)) => texts(field, batch, &rows, |index, _| {
                    if let State::Count(count) = &mut states[at(index)] {
                        *count += 1;
                    }
                }),
                (Function::CountDistinct, Some(field)) => texts(field, batch, &rows, |index, text| {
                    if let State::Distinct(distinct) = &mut states[at(index)] {
                        let before = distinct.bytes();
                        distinct.add(hash(text));
                        *state_bytes = (*state_bytes + distinct.bytes()).saturating_sub(before);
                    }
                }),
                (_, Some(field)) => numbers(field, batch, &rows, |index, number| {
                    let state = &mut states[at(index)];
                    if let State::Quantiles(quantiles) = state {
                        let before = quantiles.bytes();
                        quantiles.add(number.as_f64());
                        *state_bytes = (*state_bytes + quantiles.bytes()).saturating_sub(before);
                    } else {
                        state.add(column.function, number);
                    }
                }),
                _ => {}
            }
        }
        if self.bytes() > MAX_GROUP_BYTES { Err(TooManyGroups) } else { Ok(()) }
    }

    /// Adds records that a block's summary has counted, for which [`Self::is_summarised`].
    pub fn add_summary(&mut self, row: &SummaryRow<'_>) {
        let mut codes = [0; MAX_KEYS];
        for (position, key) in self.by.iter().enumerate() {
            let values = &mut self.values[position];
            codes[position] = match key {
                Key::Time(step) => {
                    let step = u64::try_from(step.as_nanos()).unwrap_or(u64::MAX).max(1);
                    let start = row.minute.saturating_mul(MINUTE) / step * step;
                    values.number(start, || Cell::Time(Timestamp::from_nanos(start)))
                }
                Key::Field(Field::Level) => level_code(values, row.severity),
                Key::Field(Field::Service) if row.service.is_empty() => 0,
                Key::Field(Field::Service) => values.text(row.service.as_bytes(), || Cell::Text(row.service.to_owned())),
                Key::Field(Field::Pattern) if row.pattern != 0 => values.number(row.pattern, || Cell::Id(row.pattern)),
                Key::Field(_) => 0,
            };
        }
        let group = self.group(codes);
        let width = self.columns.len();
        for state in &mut self.states[group * width..(group + 1) * width] {
            if let State::Count(own) = state {
                *own += row.count;
            }
        }
    }

    /// Returns whether summaries tell these groups exactly: plain counts by level, service, pattern and whole minutes.
    #[must_use]
    pub fn is_summarised(by: &[Key], columns: &[Aggregate]) -> bool {
        let is_known = |key: &Key| match key {
            Key::Time(step) => step.as_nanos().is_multiple_of(u128::from(MINUTE)),
            Key::Field(field) => matches!(field, Field::Level | Field::Service | Field::Pattern),
        };
        by.iter().all(is_known) && columns.iter().all(|column| column.function == Function::Count && column.field.is_none())
    }

    /// Adds the groups of `other`, which has the same keys and columns.
    ///
    /// # Errors
    /// [`TooManyGroups`]
    pub fn merge(&mut self, other: Self) -> Result<(), TooManyGroups> {
        let width = self.columns.len();
        let adopted: Vec<Vec<u32>> = (0..self.by.len())
            .map(|position| {
                other.values[position].cells.iter().map(|cell| self.values[position].adopt(&self.by[position], cell)).collect()
            })
            .collect();
        let mut states = other.states.into_iter();
        for theirs in other.keys {
            let mut codes = [0; MAX_KEYS];
            for (position, codes_of) in adopted.iter().enumerate() {
                codes[position] = codes_of[theirs[position] as usize];
            }
            let group = self.group(codes);
            let own = self.states[group * width..(group + 1) * width].iter_mut().zip(&self.columns);
            for ((own, column), theirs) in own.zip(states.by_ref()) {
                own.merge(theirs, column.function);
            }
        }
        self.state_bytes += other.state_bytes;
        if self.bytes() > MAX_GROUP_BYTES { Err(TooManyGroups) } else { Ok(()) }
    }

    /// Returns about how many bytes it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let groups = self.keys.len() * (2 * size_of::<Codes>() + 16 + self.columns.len() * size_of::<State>());
        groups + self.state_bytes + self.values.iter().map(|values| values.bytes).sum::<usize>()
    }

    /// Returns a row for each group, sorted by the keys.
    #[must_use]
    pub fn into_table(self) -> Table {
        let width = self.columns.len();
        let names = self.by.iter().map(Key::column).chain(self.columns.iter().map(Aggregate::column)).collect();
        let mut states = self.states.into_iter();
        let mut rows: Vec<Vec<Cell>> = Vec::with_capacity(self.keys.len());
        for codes in &self.keys {
            let mut row: Vec<Cell> =
                self.values.iter().enumerate().map(|(position, values)| values.cells[codes[position] as usize].clone()).collect();
            let of_group = states.by_ref().take(width).zip(&self.columns);
            row.extend(of_group.map(|(state, column)| state.finish(column)));
            rows.push(row);
        }
        let keys: Vec<(usize, bool)> = (0..self.by.len()).map(|column| (column, false)).collect();
        rows.sort_by(|left, right| super::table::order(left, right, &keys));
        Table { columns: names, rows }
    }

    fn group(&mut self, codes: Codes) -> usize {
        let next = self.keys.len();
        let group = *self.index.entry(codes).or_insert(next);
        if group == next {
            self.keys.push(codes);
            self.states.extend(self.columns.iter().map(|column| State::new(column.function)));
        }
        group
    }
}

impl State {
    fn new(function: Function) -> Self {
        match function {
            Function::Count => Self::Count(0),
            Function::CountDistinct => Self::Distinct(Distinct::default()),
            Function::Sum | Function::Avg => Self::Sum { whole: 0, rest: 0.0, count: 0 },
            Function::Min | Function::Max => Self::Extreme(None),
            Function::Percentile(_) => Self::Quantiles(Quantiles::default()),
        }
    }

    fn add(&mut self, function: Function, number: Number) {
        match self {
            Self::Sum { whole, rest, count } => {
                match number {
                    Number::Int(number) => *whole += i128::from(number),
                    Number::Float(number) => *rest += number,
                }
                *count += 1;
            }
            Self::Extreme(extreme) => {
                let is_new =
                    extreme.is_none_or(
                        |extreme| {
                            if function == Function::Min { number.is_less(extreme) } else { extreme.is_less(number) }
                        },
                    );
                if is_new {
                    *extreme = Some(number);
                }
            }
            Self::Quantiles(quantiles) => quantiles.add(number.as_f64()),
            Self::Count(_) | Self::Distinct(_) => {}
        }
    }

    fn merge(&mut self, other: Self, function: Function) {
        match (self, other) {
            (own @ Self::Extreme(_), Self::Extreme(theirs)) => theirs.into_iter().for_each(|number| own.add(function, number)),
            (Self::Count(own), Self::Count(theirs)) => *own += theirs,
            (Self::Distinct(own), Self::Distinct(theirs)) => own.merge(theirs),
            (Self::Sum { whole, rest, count }, Self::Sum { whole: their_whole, rest: their_rest, count: their_count }) => {
                *whole += their_whole;
                *rest += their_rest;
                *count += their_count;
            }
            (Self::Quantiles(own), Self::Quantiles(theirs)) => own.merge(theirs),
            _ => {}
        }
    }

    fn finish(self, column: &Aggregate) -> Cell {
        let of_time = column.field == Some(Field::Timestamp);
        match self {
            Self::Count(count) => Cell::Int(count as i64),
            Self::Distinct(distinct) => Cell::Int(distinct.count() as i64),
            Self::Sum { count: 0, .. } | Self::Extreme(None) => Cell::None,
            Self::Sum { whole, rest, .. } if column.function == Function::Sum => match i64::try_from(whole) {
                Ok(whole) if rest == 0.0 => Cell::Int(whole),
                _ => Cell::Float(whole as f64 + rest),
            },
            Self::Sum { whole, rest, count } => shown((whole as f64 + rest) / count as f64, of_time),
            Self::Extreme(Some(Number::Int(number))) if of_time => Cell::Time(Timestamp::from_nanos(number as u64)),
            Self::Extreme(Some(Number::Int(number))) => Cell::Int(number),
            Self::Extreme(Some(Number::Float(number))) => Cell::Float(number),
            Self::Quantiles(quantiles) => {
                let Function::Percentile(tenths) = column.function else { return Cell::None };
                quantiles.at(f64::from(tenths) / 1000.0).map_or(Cell::None, |number| shown(number, of_time))
            }
        }
    }
}

fn shown(number: f64, of_time: bool) -> Cell {
    if of_time { Cell::Time(Timestamp::from_nanos(number as u64)) } else { Cell::number(number) }
}

/// Calls `each` with the place in `rows` and the code of the value that `key` has there.
fn code(key: &Key, values: &mut Values, batch: &LogBatch, rows: &[usize], mut each: impl FnMut(usize, u32)) {
    /// Codes of a short list of values that rows point into, looked up once each.
    fn cached(cache: &mut [u32], at: usize, look_up: impl FnOnce() -> u32) -> u32 {
        match cache.get_mut(at) {
            Some(code) if *code != u32::MAX => *code,
            Some(code) => {
                *code = look_up();
                *code
            }
            None => 0,
        }
    }
    match key {
        Key::Time(step) => {
            let step = u64::try_from(step.as_nanos()).unwrap_or(u64::MAX).max(1);
            let mut last = (u64::MAX, 0);
            for (index, row) in rows.iter().enumerate() {
                let start = batch.time[*row] / step * step;
                if last.0 != start {
                    last = (start, values.number(start, || Cell::Time(Timestamp::from_nanos(start))));
                }
                each(index, last.1);
            }
        }
        Key::Field(Field::Level) => {
            let mut cache = [u32::MAX; 256];
            for (index, row) in rows.iter().enumerate() {
                let severity = batch.severity[*row];
                each(index, cached(&mut cache, severity as usize, || level_code(values, severity)));
            }
        }
        Key::Field(Field::Service) => {
            let services = services(batch);
            let mut cache = vec![u32::MAX; services.len()];
            for (index, row) in rows.iter().enumerate() {
                let at = batch.resource[*row] as usize;
                each(
                    index,
                    cached(&mut cache, at, || match services[at] {
                        "" => 0,
                        service => values.text(service.as_bytes(), || Cell::Text(service.to_owned())),
                    }),
                );
            }
        }
        Key::Field(field @ (Field::Scope | Field::EventName | Field::SeverityText)) => {
            let column = match field {
                Field::Scope => &batch.scope,
                Field::EventName => &batch.event_name,
                _ => &batch.severity_text,
            };
            let mut cache = vec![u32::MAX; batch.dict.strings().len()];
            for (index, row) in rows.iter().enumerate() {
                let at = column[*row];
                each(
                    index,
                    cached(&mut cache, at as usize, || match batch.dict.get(at) {
                        "" => 0,
                        text => values.text(text.as_bytes(), || Cell::Text(text.to_owned())),
                    }),
                );
            }
        }
        Key::Field(Field::Pattern) => {
            for (index, row) in rows.iter().enumerate() {
                let id = batch.pattern.get(*row).copied().unwrap_or(0);
                each(index, if id == 0 { 0 } else { values.number(id, || Cell::Id(id)) });
            }
        }
        Key::Field(field @ Field::Seq) => {
            for (index, row) in rows.iter().enumerate() {
                let seq = batch.seq.get(*row).copied().unwrap_or(0);
                each(index, values.number(seq, || Cell::of(field, batch, *row)));
            }
        }
        Key::Field(field) => texts(field, batch, rows, |index, text| {
            let row = rows[index];
            let code = if text.is_empty() { 0 } else { values.text(text, || Cell::of(field, batch, row)) };
            each(index, code);
        }),
    }
}

/// Returns the code of a severity: all of one name are one group.
fn level_code(values: &mut Values, severity: u8) -> u32 {
    let range = Severity(if severity == 0 { 0 } else { (severity - 1) / 4 * 4 + 1 });
    if range.name().is_empty() { 0 } else { values.number(u64::from(range.0), || Cell::Level(range)) }
}

/// Calls `each` with the place in `rows` and the text of `field` there, where it is.
fn texts(field: &Field, batch: &LogBatch, rows: &[usize], mut each: impl FnMut(usize, &[u8])) {
    if let Field::Attribute(name) = field {
        let attribute = Attribute::find(batch, name);
        if !attribute.is_absent() {
            for (index, row) in rows.iter().enumerate() {
                attribute.with(batch, *row, |text| text.into_iter().for_each(|text| each(index, text)));
            }
        }
        return;
    }
    for (index, row) in rows.iter().enumerate() {
        field.text(batch, *row).as_ref().map(Cow::as_ref).into_iter().for_each(|text| each(index, text));
    }
}

/// Calls `each` with the place in `rows` and the number that `field` is there, where it is one.
fn numbers(field: &Field, batch: &LogBatch, rows: &[usize], mut each: impl FnMut(usize, Number)) {
    let whole: Option<&dyn Fn(usize) -> Option<u64>> = match field {
        Field::Timestamp => Some(&|row| Some(batch.time[row])),
        Field::Level => Some(&|row| Some(u64::from(batch.severity[row]))),
        Field::Seq => Some(&|row| batch.seq.get(row).copied()),
        _ => None,
    };
    if let Some(whole) = whole {
        for (index, row) in rows.iter().enumerate() {
            whole(*row)
                .and_then(|number| i64::try_from(number).ok())
                .into_iter()
                .for_each(|number| each(index, Number::Int(number)));
        }
        return;
    }
    texts(field, batch, rows, |index, text| {
        let whole = str::from_utf8(text).ok().filter(|text| text.len() < 20).and_then(|text| text.parse().ok());
        let number = whole.map(Number::Int).or_else(|| number(text).map(Number::Float));
        number.into_iter().for_each(|number| each(index, number));
    });
}
