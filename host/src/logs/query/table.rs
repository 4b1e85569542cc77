//! Tables: what `stats`, `top`, `uniq` and `fields` make of records, and what later pipes make of tables.

use std::cmp::Ordering;

use serde::{Serialize, Serializer};
use watchfire_types::{LogBatch, Severity, Timestamp, ValueRef};

use super::ast::{Bound, BoundTest, SortKey};
use super::field::Field;
use super::node::number;
use crate::nearest::suggestion;

/// One value of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// There is none.
    None,
    /// Text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Yes or no.
    Bool(bool),
    /// A point in time.
    Time(Timestamp),
    /// A severity, sorted by its number and shown by its name.
    Level(Severity),
    /// An id, sorted by its number and written as text because it may pass 2^53.
    Id(u64),
    /// A JSON value, as text.
    Json(String),
}

/// Rows with the same columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// As many cells in each as there are columns.
    pub rows: Vec<Vec<Cell>>,
}

impl Cell {
    /// Returns field `field` of row `row` of `batch`.
    #[must_use]
    pub fn of(field: &Field, batch: &LogBatch, row: usize) -> Self {
        let id = |id: u64| if id == 0 { Self::None } else { Self::Id(id) };
        match field {
            Field::Level => Self::level(batch.severity[row]),
            Field::Timestamp => Self::Time(Timestamp::from_nanos(batch.time[row])),
            Field::Seq => batch.seq.get(row).map_or(Self::None, |seq| Self::Id(*seq)),
            Field::Pattern => batch.pattern.get(row).map_or(Self::None, |pattern| id(*pattern)),
            Field::Body => Self::from(batch.body.get(row)),
            Field::Attribute(name) => match batch.find_attribute(row, name) {
                Some(value) => Self::from(value),
                None => field.text(batch, row).map_or(Self::None, |text| Self::text(&text)),
            },
            field => field.text(batch, row).map_or(Self::None, |text| Self::text(&text)),
        }
    }

    /// Returns the level of a severity number.
    #[must_use]
    pub fn level(number: u8) -> Self {
        if number == 0 { Self::None } else { Self::Level(Severity(number)) }
    }

    /// Returns bytes as text.
    #[must_use]
    pub fn text(bytes: &[u8]) -> Self {
        Self::Text(String::from_utf8_lossy(bytes).into_owned())
    }

    /// Returns a number as whole if it is.
    #[must_use]
    pub fn number(number: f64) -> Self {
        let whole = number.fract() == 0.0 && number.abs() < 9e15;
        if whole { Self::Int(number as i64) } else { Self::Float(number) }
    }

    /// Returns it as text, as a CSV has it.
    #[must_use]
    pub fn display(&self) -> String {
        match self {
            Self::None => String::new(),
            Self::Text(text) | Self::Json(text) => text.clone(),
            Self::Int(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Bool(value) => value.to_string(),
            Self::Time(time) => time.to_string(),
            Self::Level(severity) => severity.name().to_owned(),
            Self::Id(id) => id.to_string(),
        }
    }

    /// Where it is sorted: numbers, times and levels by size before texts, nothing last.
    fn rank(&self) -> (u8, f64) {
        match self {
            Self::Int(number) => (0, *number as f64),
            Self::Float(number) => (0, *number),
            Self::Text(text) => number(text.as_bytes()).map_or((1, 0.0), |number| (0, number)),
            Self::Bool(_) | Self::Json(_) => (1, 0.0),
            Self::Level(severity) => (2, f64::from(severity.0)),
            Self::Time(_) | Self::Id(_) => (3, 0.0),
            Self::None => (4, 0.0),
        }
    }

    /// Compares as `sort` does.
    #[must_use]
    pub fn order(&self, other: &Self) -> Ordering {
        let (own, theirs) = (self.rank(), other.rank());
        own.0.cmp(&theirs.0).then(own.1.total_cmp(&theirs.1)).then_with(|| match (self, other) {
            (Self::Time(own), Self::Time(theirs)) => own.cmp(theirs),
            (Self::Id(own), Self::Id(theirs)) => own.cmp(theirs),
            (Self::None, Self::None) => Ordering::Equal,
            (own, theirs) => own.display().cmp(&theirs.display()),
        })
    }

    fn meets(&self, bound: &Bound) -> bool {
        let ordering = match (self, number(bound.value.as_bytes())) {
            // `error` is the whole range of that name.
            (Self::Level(severity), _) => match Severity::from_text(&bound.value) {
                Some(wanted) if wanted.name() == severity.name() => Some(Ordering::Equal),
                Some(wanted) => Some(severity.cmp(&wanted)),
                None => Some(severity.name().cmp(bound.value.as_str())),
            },
            (Self::Id(id), _) => bound.value.parse().ok().map(|wanted: u64| id.cmp(&wanted)),
            (Self::Time(time), _) => bound.value.parse().ok().map(|wanted: Timestamp| time.cmp(&wanted)),
            (cell, Some(wanted)) => number(cell.display().as_bytes()).and_then(|own| own.partial_cmp(&wanted)),
            (cell, None) => Some(cell.display().as_str().cmp(bound.value.as_str())),
        };
        match bound.test {
            BoundTest::Is => ordering.is_some_and(Ordering::is_eq),
            BoundTest::IsNot => !ordering.is_some_and(Ordering::is_eq),
            BoundTest::Order(order) => *self != Self::None && ordering.is_some_and(|ordering| order.holds(ordering)),
        }
    }

    /// Returns about how many bytes it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Text(text) | Self::Json(text) => text.len(),
                _ => 0,
            }
    }
}

impl From<ValueRef<'_>> for Cell {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::None,
            ValueRef::Text(text) => Self::Text(text.to_owned()),
            ValueRef::Bool(value) => Self::Bool(value),
            ValueRef::Int(number) => Self::Int(number),
            ValueRef::Float(number) => Self::Float(number),
            ValueRef::Bytes(_) => Self::Text(value.display()),
            ValueRef::Json(json) => Self::Json(json.to_owned()),
        }
    }
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_unit(),
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Json(text) => ValueRef::Json(text).to_json().serialize(serializer),
            other => serializer.serialize_str(&other.display()),
        }
    }
}

impl Table {
    /// Returns where the column called `name` is.
    ///
    /// # Errors
    /// Says which columns there are.
    pub fn column(&self, name: &str) -> Result<usize, String> {
        let field = Field::from_name(name);
        let find = |name: &str| self.columns.iter().position(|column| column == name);
        let missing = || format!("there is no column `{name}`{}", suggestion(name, self.columns.iter().map(String::as_str)));
        find(name).or_else(|| find(field.name())).ok_or_else(missing)
    }

    /// Sorts the rows.
    ///
    /// # Errors
    /// Says which columns there are.
    pub fn sort(&mut self, keys: &[SortKey]) -> Result<(), String> {
        let keys: Vec<(usize, bool)> =
            keys.iter().map(|key| Ok((self.column(&key.name)?, key.descending))).collect::<Result<_, String>>()?;
        self.rows.sort_by(|left, right| order(left, right, &keys));
        Ok(())
    }

    /// Keeps the rows that meet all of `bounds`.
    ///
    /// # Errors
    /// Says which columns there are.
    pub fn keep(&mut self, bounds: &[Bound]) -> Result<(), String> {
        let columns: Vec<usize> = bounds.iter().map(|bound| self.column(&bound.name)).collect::<Result<_, _>>()?;
        self.rows.retain(|row| bounds.iter().zip(&columns).all(|(bound, column)| row[*column].meets(bound)));
        Ok(())
    }

    /// Keeps only these columns, in this order.
    ///
    /// # Errors
    /// Says which columns there are.
    pub fn select(&mut self, fields: &[Field]) -> Result<(), String> {
        let columns: Vec<usize> = fields.iter().map(|field| self.column(field.name())).collect::<Result<_, _>>()?;
        self.columns = columns.iter().map(|column| self.columns[*column].clone()).collect();
        for row in &mut self.rows {
            *row = columns.iter().map(|column| row[*column].clone()).collect();
        }
        Ok(())
    }
}

/// Compares two rows by `keys`: columns, and whether the greatest comes first. What is not there comes last either way.
#[must_use]
pub fn order(left: &[Cell], right: &[Cell], keys: &[(usize, bool)]) -> Ordering {
    keys.iter().fold(Ordering::Equal, |so_far, (column, descending)| {
        so_far.then_with(|| {
            let (left, right) = (&left[*column], &right[*column]);
            let ordering = left.order(right);
            if *descending && *left != Cell::None && *right != Cell::None { ordering.reverse() } else { ordering }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_sort_as_people_expect() {
        let mut cells = [
            Cell::None,
            Cell::Text("b".into()),
            Cell::Text("10".into()),
            Cell::Int(9),
            Cell::Level(Severity::WARN),
            Cell::Level(Severity::ERROR),
            Cell::Text("a".into()),
        ];
        cells.sort_by(Cell::order);
        let shown: Vec<_> = cells.iter().map(Cell::display).collect();
        assert_eq!(shown, ["9", "10", "a", "b", "WARN", "ERROR", ""]);
    }

    #[test]
    fn a_missing_column_is_told_with_those_that_are_there() {
        let table = Table { columns: vec!["service".into(), "count".into()], rows: Vec::new() };
        assert_eq!(table.column("service.name"), Ok(0));
        assert_eq!(table.column("cuont"), Err("there is no column `cuont`; did you mean `count`?".into()));
    }
}
