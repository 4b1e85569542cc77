//! What a query says: a tree of conditions, and the pipes behind it.

use std::time::Duration;

use jiff::civil::DateTime;
use watchfire_types::Timestamp;

use super::field::Field;

/// Conditions inside one another at most: brackets and negations.
pub const MAX_DEPTH: usize = 64;

/// A whole query: which records, and what becomes of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Which records are meant.
    pub filter: Expr,
    /// What is done with them, in this order.
    pub pipes: Vec<Pipe>,
}

/// A condition that a record meets or not.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// Every record.
    All,
    /// All of them hold; two at least, none of them an `And`.
    And(Vec<Self>),
    /// One of them holds; two at least, none of them an `Or`.
    Or(Vec<Self>),
    /// It does not hold.
    Not(Box<Self>),
    /// A word or phrase is in the body or an attribute value, or in the body alone.
    Text {
        /// Where it may be.
        place: Place,
        /// The word or phrase.
        text: String,
        /// Whether only its beginning is given.
        prefix: bool,
    },
    /// A regular expression is found in the body or an attribute value, or in the body alone.
    Pattern {
        /// Where it may be.
        place: Place,
        /// The expression.
        regex: String,
    },
    /// Something about one field.
    Field {
        /// Which.
        field: Field,
        /// What.
        test: Test,
    },
    /// The severity number lies between these, both included.
    Level {
        /// Least.
        least: u8,
        /// Greatest; 255 for any.
        most: u8,
    },
    /// The event time is then or later.
    Since(Moment),
    /// The event time is earlier.
    Until(Moment),
}

/// Where a text may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the body or in an attribute value.
    Anywhere,
    /// In the body.
    Body,
}

/// What a field must be like.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// Exactly this, as text.
    Is(String),
    /// Text that begins so.
    Begins(String),
    /// There, and not empty.
    Present,
    /// On this side of a number; of a text if it is no number.
    Compare(Order, String),
    /// The regular expression is found in it.
    Matches(String),
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
}

/// A point in time as it was written.
#[derive(Clone, Debug, PartialEq)]
pub enum Moment {
    /// So long before now.
    Ago(Duration),
    /// Exactly then.
    At(Timestamp),
    /// On a clock of the asker's zone.
    Local(DateTime),
    /// Now.
    Now,
    /// The midnight before now.
    Today,
    /// The midnight before that.
    Yesterday,
}

/// What is done with records, or with the rows that an earlier pipe made of them.
#[derive(Clone, Debug, PartialEq)]
pub enum Pipe {
    /// One row for each distinct value of the keys.
    Stats {
        /// What is counted and computed.
        columns: Vec<Aggregate>,
        /// What tells rows apart; a single row if nothing does.
        by: Vec<Key>,
    },
    /// The most frequent values.
    Top {
        /// How many.
        count: u64,
        /// Of which fields.
        by: Vec<Field>,
    },
    /// The distinct values.
    Uniq {
        /// Of which fields.
        by: Vec<Field>,
    },
    /// Only these fields, in this order.
    Fields(Vec<Field>),
    /// In another order.
    Sort(Vec<SortKey>),
    /// At most so many.
    Limit(u64),
    /// Only rows for which this holds, after `stats`, `top` or `uniq`.
    Where(Vec<Bound>),
}

/// A computed column.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// How it is computed.
    pub function: Function,
    /// Of what; nothing for a plain `count`.
    pub field: Option<Field>,
    /// Its name, when one is given.
    pub name: Option<String>,
}

/// How a column is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// Records; those that have the field, if one is given.
    Count,
    /// Distinct values.
    CountDistinct,
    /// Sum of the numbers.
    Sum,
    /// Their mean.
    Avg,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// A percentile, in tenths of a per cent: 999 is p99.9.
    Percentile(u16),
}

/// What tells rows apart.
#[derive(Clone, Debug, PartialEq)]
pub enum Key {
    /// The value of a field.
    Field(Field),
    /// The event time in steps of this length.
    Time(Duration),
}

/// A column to sort by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortKey {
    /// Field or column.
    pub name: String,
    /// The greatest first.
    pub descending: bool,
}

/// A bound on a column of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// The column.
    pub name: String,
    /// How it is compared.
    pub test: BoundTest,
    /// With what.
    pub value: String,
}

/// How a column of a table is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoundTest {
    /// Is the same text or number.
    Is,
    /// Is not.
    IsNot,
    /// On a side of it.
    Order(Order),
}

impl Expr {
    /// Returns the condition that all of `parts` hold.
    #[must_use]
    pub fn and(parts: Vec<Self>) -> Self {
        let mut flat = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Self::All => {}
                Self::And(inner) => flat.extend(inner),
                part => flat.push(part),
            }
        }
        if flat.len() > 1 { Self::And(flat) } else { flat.pop().unwrap_or(Self::All) }
    }

    /// Returns the condition that one of `parts` holds; there is one at least.
    #[must_use]
    pub fn or(parts: Vec<Self>) -> Self {
        let mut flat = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Self::Or(inner) => flat.extend(inner),
                part => flat.push(part),
            }
        }
        if flat.len() > 1 { Self::Or(flat) } else { flat.pop().unwrap_or(Self::All) }
    }

    /// Returns its opposite.
    #[must_use]
    pub fn negated(self) -> Self {
        Self::Not(Box::new(self))
    }

    /// Calls `visit` with it and with every condition in it.
    pub fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Self)) {
        visit(self);
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().for_each(|part| part.walk(visit)),
            Self::Not(inner) => inner.walk(visit),
            _ => {}
        }
    }
}

impl Order {
    /// Returns whether something that compares so with the bound is on the right side of it.
    #[must_use]
    pub fn holds(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Self::Below => ordering.is_lt(),
            Self::AtMost => ordering.is_le(),
            Self::Above => ordering.is_gt(),
            Self::AtLeast => ordering.is_ge(),
        }
    }

    /// Returns it as it is written.
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Self::Below => "<",
            Self::AtMost => "<=",
            Self::Above => ">",
            Self::AtLeast => ">=",
        }
    }
}

impl Moment {
    /// Returns the moment that it is at `now`, for somebody in `zone`.
    #[must_use]
    pub fn resolve(&self, now: Timestamp, zone: &jiff::tz::TimeZone) -> Timestamp {
        let at = |local: DateTime| {
            let zoned = local.to_zoned(zone.clone()).ok()?;
            u64::try_from(zoned.timestamp().as_nanosecond()).ok().map(Timestamp::from_nanos)
        };
        let midnight = |back: i64| {
            let now = jiff::Timestamp::from_nanosecond(i128::from(now.as_nanos())).ok()?.to_zoned(zone.clone());
            let day = now.date().checked_sub(jiff::Span::new().days(back)).ok()?;
            at(day.at(0, 0, 0, 0))
        };
        match self {
            Self::Ago(ago) => now.minus(*ago),
            Self::At(at) => *at,
            Self::Local(local) => at(*local).unwrap_or_default(),
            Self::Now => now,
            Self::Today => midnight(0).unwrap_or(now),
            Self::Yesterday => midnight(1).unwrap_or(now),
        }
    }
}

impl Aggregate {
    /// Returns the name of its column.
    #[must_use]
    pub fn column(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.call())
    }

    /// Returns it as it is written, without its name.
    #[must_use]
    pub fn call(&self) -> String {
        match &self.field {
            Some(field) => format!("{}({})", self.function.name(), super::print::name(field.name())),
            None => self.function.name(),
        }
    }
}

impl Function {
    /// Returns the function called `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "count" => Self::Count,
            "count_distinct" => Self::CountDistinct,
            "sum" => Self::Sum,
            "avg" => Self::Avg,
            "min" => Self::Min,
            "max" => Self::Max,
            _ => {
                let (whole, tenth) = name.strip_prefix('p')?.split_once('.').unwrap_or((&name[1..], "0"));
                let digits =
                    |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u16>().ok()).flatten();
                let tenths =
                    digits(whole).filter(|_| (1..=3).contains(&whole.len()))? * 10 + digits(tenth).filter(|_| tenth.len() == 1)?;
                (tenths <= 1000).then_some(Self::Percentile(tenths))?
            }
        })
    }

    /// Returns its name.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Count => "count".into(),
            Self::CountDistinct => "count_distinct".into(),
            Self::Sum => "sum".into(),
            Self::Avg => "avg".into(),
            Self::Min => "min".into(),
            Self::Max => "max".into(),
            Self::Percentile(tenths) if tenths % 10 == 0 => format!("p{}", tenths / 10),
            Self::Percentile(tenths) => format!("p{}.{}", tenths / 10, tenths % 10),
        }
    }
}
