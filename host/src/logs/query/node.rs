//! Conditions made ready, and which rows of a batch meet them.

use std::borrow::Cow;

use jiff::tz::TimeZone;
use watchfire_types::log::unhex;
use watchfire_types::{LogBatch, Timestamp};

use super::ast::{Expr, Order, Place, Test};
use super::bits::Bits;
use super::field::{Attribute, Field, services};
use super::pattern::Pattern;
use super::term::Term;
use crate::logs::block::probe::Probe;
use crate::logs::block::{BlockError, Columns};
use crate::logs::matcher::BlockOutline;
use crate::logs::summary::SummaryRow;
use crate::logs::tokens::{Words, for_each_word};

/// With fewer rows left than one in so many, they are looked at one by one and not the whole column at once.
const FEW: usize = 16;

/// A condition made ready.
#[derive(Debug)]
pub enum Node {
    /// Every record.
    All,
    /// All hold, the cheapest first.
    And(Vec<Self>),
    /// One holds.
    Or(Vec<Self>),
    /// It does not hold.
    Not(Box<Self>),
    /// A word or phrase is there.
    Text(Place, Term),
    /// A regular expression is found.
    Pattern(Place, Pattern),
    /// The severity number is in this range.
    Level(u8, u8),
    /// The event time is in this range, its end excluded.
    Time(u64, u64),
    /// A number of the record is in this range.
    Number(Field, u64, u64),
    /// It has one of these patterns.
    Patterns(Vec<u64>),
    /// It belongs to this trace.
    Trace([u8; 16]),
    /// Something about a field.
    Field(Field, FieldTest),
}

/// A test of a field made ready.
#[derive(Debug)]
pub enum FieldTest {
    /// Exactly this; nothing also means absent. Words that a block must have.
    Is(Vec<u8>, Vec<u64>),
    /// It begins so.
    Begins(Vec<u8>, Vec<u64>),
    /// There and not empty.
    Present,
    /// On this side of a number.
    Number(Order, f64),
    /// On this side of a text.
    Text(Order, Vec<u8>),
    /// The expression is found in it.
    Matches(Pattern),
}

/// What an outline says of the rows of its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// None matches.
    Never,
    /// Some may.
    Maybe,
    /// Every one does.
    Always,
}

/// What turns words of a query into what they mean when it runs.
pub struct Meaning<'a> {
    /// Now.
    pub now: Timestamp,
    /// Where the asker's clocks are.
    pub zone: &'a TimeZone,
    /// Returns the patterns that have been merged into one, itself included.
    pub patterns: &'a dyn Fn(u64) -> Vec<u64>,
}

impl Node {
    /// Makes `expr` ready.
    #[must_use]
    pub fn new(expr: &Expr, meaning: &Meaning<'_>) -> Self {
        let all = |parts: &[Expr]| parts.iter().map(|part| Self::new(part, meaning)).collect::<Vec<_>>();
        match expr {
            Expr::All => Self::All,
            Expr::And(parts) => {
                let mut nodes = all(parts);
                nodes.sort_by_key(Self::cost);
                Self::And(nodes)
            }
            Expr::Or(parts) => {
                let mut nodes = all(parts);
                nodes.sort_by_key(Self::cost);
                Self::Or(nodes)
            }
            Expr::Not(inner) => Self::Not(Box::new(Self::new(inner, meaning))),
            Expr::Text { place, text, prefix } => Self::Text(*place, Term::new(text, *prefix)),
            Expr::Pattern { place, regex } => match Pattern::new(regex) {
                Ok(pattern) => Self::Pattern(*place, pattern),
                // The parser has tried it.
                Err(_) => Self::Not(Box::new(Self::All)),
            },
            Expr::Field { field, test } => Self::of_field(field, test, meaning),
            Expr::Level { least, most } => Self::Level(*least, *most),
            Expr::Since(moment) => Self::Time(moment.resolve(meaning.now, meaning.zone).as_nanos(), u64::MAX),
            Expr::Until(moment) => Self::Time(0, moment.resolve(meaning.now, meaning.zone).as_nanos()),
        }
    }

    fn of_field(field: &Field, test: &Test, meaning: &Meaning<'_>) -> Self {
        let number = |text: &str| text.parse::<u64>().ok();
        match (field, test) {
            (Field::Pattern, Test::Is(text)) => Self::Patterns(number(text).map_or_else(Vec::new, meaning.patterns)),
            (Field::Seq, Test::Is(text)) => number(text).map_or(Self::All, |at| Self::Number(field.clone(), at, at)),
            (Field::Seq | Field::Pattern, Test::Compare(order, text)) => {
                let at = number(text).unwrap_or_default();
                let (least, most) = match order {
                    Order::AtLeast => (at, u64::MAX),
                    Order::Above => (at.saturating_add(1), u64::MAX),
                    Order::AtMost => (0, at),
                    Order::Below if at == 0 => (1, 0),
                    Order::Below => (0, at - 1),
                };
                Self::Number(field.clone(), least, most)
            }
            (Field::TraceId, Test::Is(text)) if !text.is_empty() => {
                unhex(text).map_or_else(|| Self::Not(Box::new(Self::All)), Self::Trace)
            }
            (field, test) => Self::Field(field.clone(), FieldTest::new(test)),
        }
    }

    /// What it costs to look at a row, roughly.
    fn cost(&self) -> u32 {
        match self {
            Self::All => 0,
            Self::Level(..) | Self::Time(..) | Self::Number(..) | Self::Patterns(_) => 1,
            Self::Field(Field::Attribute(_), FieldTest::Matches(_)) => 30,
            Self::Field(Field::Attribute(_), _) => 10,
            Self::Field(_, FieldTest::Matches(_)) => 8,
            Self::Field(..) | Self::Trace(_) => 2,
            Self::Text(..) => 20,
            Self::Pattern(..) => 40,
            Self::And(parts) | Self::Or(parts) => parts.iter().map(Self::cost).sum(),
            Self::Not(inner) => inner.cost(),
        }
    }

    /// Returns what of a block must be read to decide.
    #[must_use]
    pub fn columns(&self) -> Columns {
        match self {
            Self::All | Self::Level(..) | Self::Time(..) | Self::Number(..) | Self::Patterns(_) => Columns::HEAD,
            Self::And(parts) | Self::Or(parts) => parts.iter().map(Self::columns).fold(Columns::HEAD, Columns::or),
            Self::Not(inner) => inner.columns(),
            Self::Text(Place::Anywhere, _) | Self::Pattern(Place::Anywhere, _) => {
                Columns { body: true, attributes: true, ..Columns::HEAD }
            }
            Self::Text(Place::Body, _) | Self::Pattern(Place::Body, _) => Field::Body.columns(),
            Self::Trace(_) => Field::TraceId.columns(),
            Self::Field(field, _) => field.columns(),
        }
    }

    /// Returns the attributes that must be read to decide; `None` if those are all.
    #[must_use]
    pub fn keys(&self) -> Option<Vec<String>> {
        match self {
            Self::And(parts) | Self::Or(parts) => {
                parts.iter().map(Self::keys).collect::<Option<Vec<_>>>().map(|keys| keys.concat())
            }
            Self::Not(inner) => inner.keys(),
            Self::Text(Place::Anywhere, _) | Self::Pattern(Place::Anywhere, _) => None,
            Self::Field(field, _) => Some(field.keys()),
            _ => Some(Vec::new()),
        }
    }

    /// Returns whether [`Self::candidates`] can tell anything.
    #[must_use]
    pub fn is_probed(&self) -> bool {
        match self {
            Self::And(parts) => parts.iter().any(Self::is_probed),
            Self::Or(parts) => !parts.is_empty() && parts.iter().all(Self::is_probed),
            Self::Text(_, term) => term.run().is_some(),
            Self::Pattern(_, pattern) => pattern.run().is_some(),
            _ => false,
        }
    }

    /// Returns the rows of a block that may meet it, if they are at most `most`.
    ///
    /// # Errors
    /// [`BlockError`] if the block is damaged.
    pub fn candidates(&self, probe: &mut Probe<'_>, most: usize) -> Result<Option<Bits>, BlockError> {
        let run = match self {
            Self::And(parts) => {
                let mut all: Option<Bits> = None;
                for part in parts {
                    match (part.candidates(probe, most)?, &mut all) {
                        (None, _) => {}
                        (Some(rows), Some(all)) => all.keep(&rows),
                        (rows, all) => *all = rows,
                    }
                    if all.as_ref().is_some_and(Bits::is_empty) {
                        break;
                    }
                }
                return Ok(all);
            }
            Self::Or(parts) => {
                let mut any = Bits::none(probe.rows());
                for part in parts {
                    let Some(rows) = part.candidates(probe, most)? else { return Ok(None) };
                    any.add(&rows);
                }
                return Ok(Some(any).filter(|any| any.count() <= most));
            }
            Self::Text(place, term) => term.run().map(|run| (run, *place)),
            Self::Pattern(place, pattern) => pattern.run().map(|run| (run, *place)),
            _ => None,
        };
        let Some((run, place)) = run else { return Ok(None) };
        probe.rows_with(run, place == Place::Anywhere, most)
    }

    /// Returns the rows of `among` that meet it.
    #[must_use]
    pub fn rows(&self, batch: &LogBatch, among: &Bits) -> Bits {
        match self {
            Self::All => among.clone(),
            Self::And(parts) => {
                let mut left = among.clone();
                for part in parts {
                    if left.is_empty() {
                        break;
                    }
                    left = part.rows(batch, &left);
                }
                left
            }
            Self::Or(parts) => {
                let (mut found, mut rest) = (Bits::none(among.rows()), among.clone());
                for part in parts {
                    let more = part.rows(batch, &rest);
                    rest.remove(&more);
                    found.add(&more);
                }
                found
            }
            Self::Not(inner) => {
                let mut rest = among.clone();
                rest.remove(&inner.rows(batch, among));
                rest
            }
            Self::Text(place, term) => in_texts(batch, among, *place, &|text| term.is_in(text), &|column| {
                let mut rows = Bits::none(column.len());
                term.mark(column, |row| rows.set(row));
                rows
            }),
            Self::Pattern(place, pattern) => {
                in_texts(batch, among, *place, &|text| pattern.is_in(text), &|column| pattern.rows(column))
            }
            Self::Field(Field::Attribute(name), test) => {
                let attribute = Attribute::find(batch, name);
                if attribute.is_absent() {
                    return if test.holds(None) { among.clone() } else { Bits::none(among.rows()) };
                }
                among.filter(|row| attribute.with(batch, row, |text| test.holds(text)))
            }
            Self::Field(Field::Service, test) => {
                let of_resource: Vec<bool> = services(batch).iter().map(|service| test.holds_text(service)).collect();
                let of_none = test.holds_text("");
                among.filter(|row| of_resource.get(batch.resource[row] as usize).copied().unwrap_or(of_none))
            }
            _ => among.filter(|row| self.matches(batch, row)),
        }
    }

    /// Returns whether row `row` of `batch` meets it.
    #[must_use]
    pub fn matches(&self, batch: &LogBatch, row: usize) -> bool {
        let in_text = |place: Place, found: &dyn Fn(&[u8]) -> bool| {
            found(batch.body.data.get(row))
                || place == Place::Anywhere && batch.attribute_range(row).any(|index| found(batch.attribute_value.data.get(index)))
        };
        match self {
            Self::All => true,
            Self::And(parts) => parts.iter().all(|part| part.matches(batch, row)),
            Self::Or(parts) => parts.iter().any(|part| part.matches(batch, row)),
            Self::Not(inner) => !inner.matches(batch, row),
            Self::Text(place, term) => in_text(*place, &|text| term.is_in(text)),
            Self::Pattern(place, pattern) => in_text(*place, &|text| pattern.is_in(text)),
            Self::Level(least, most) => (*least..=*most).contains(&batch.severity[row]),
            Self::Time(since, until) => (*since..*until).contains(&batch.time[row]),
            Self::Number(Field::Seq, least, most) => batch.seq.get(row).is_some_and(|seq| (*least..=*most).contains(seq)),
            Self::Number(_, least, most) => batch.pattern.get(row).is_some_and(|id| *id != 0 && (*least..=*most).contains(id)),
            Self::Patterns(ids) => batch.pattern.get(row).is_some_and(|id| *id != 0 && ids.contains(id)),
            Self::Trace(id) => batch.trace_id[row] == *id,
            Self::Field(field, test) => test.holds(field.text(batch, row).as_ref().map(Cow::as_ref)),
        }
    }

    /// Returns what `outline` says.
    #[must_use]
    pub fn verdict(&self, outline: &BlockOutline<'_>) -> Verdict {
        match self {
            Self::All => Verdict::Always,
            Self::And(parts) => parts.iter().map(|part| part.verdict(outline)).fold(Verdict::Always, Verdict::and),
            Self::Or(parts) => {
                parts.iter().map(|part| part.verdict(outline).negated()).fold(Verdict::Always, Verdict::and).negated()
            }
            Self::Not(inner) => inner.verdict(outline).negated(),
            Self::Level(least, most) => {
                let wanted = (*least..=(*most).min(31)).fold(0_u32, |bits, number| bits | 1 << (number & 31));
                Verdict::of(outline.severities & wanted != 0, outline.severities & !wanted == 0 && *most == u8::MAX && *least <= 24)
            }
            Self::Time(since, until) => Verdict::of(
                outline.max_time >= *since && outline.min_time < *until,
                outline.min_time >= *since && outline.max_time < *until,
            ),
            Self::Number(Field::Seq, least, most) => Verdict::of(
                outline.last_seq >= *least && outline.first_seq <= *most,
                outline.first_seq >= *least && outline.last_seq <= *most,
            ),
            Self::Field(Field::Service, test) => {
                let Some(services) = outline.services else { return Verdict::Maybe };
                let matching = services.iter().filter(|service| test.holds_text(service)).count();
                Verdict::of(matching > 0, matching == services.len())
            }
            _ => Verdict::Maybe,
        }
    }

    /// Returns whether level, service and pattern decide, beside ranges of time that must hold of all.
    #[must_use]
    pub fn is_summarised(&self) -> bool {
        fn inner(node: &Node) -> bool {
            match node {
                Node::All
                | Node::Level(..)
                | Node::Patterns(_)
                | Node::Number(Field::Pattern, ..)
                | Node::Field(Field::Service, _) => true,
                Node::And(parts) | Node::Or(parts) => parts.iter().all(inner),
                Node::Not(part) => inner(part),
                _ => false,
            }
        }
        match self {
            Self::And(parts) => parts.iter().all(|part| matches!(part, Self::Time(..)) || inner(part)),
            Self::Time(..) => true,
            node => inner(node),
        }
    }

    /// Returns whether records that a summary has counted meet it, their time aside. Only of such as [`Self::is_summarised`].
    #[must_use]
    pub fn matches_summary(&self, row: &SummaryRow<'_>) -> bool {
        match self {
            Self::And(parts) => parts.iter().all(|part| part.matches_summary(row)),
            Self::Or(parts) => parts.iter().any(|part| part.matches_summary(row)),
            Self::Not(inner) => !inner.matches_summary(row),
            Self::Level(least, most) => (*least..=*most).contains(&row.severity),
            Self::Patterns(ids) => row.pattern != 0 && ids.contains(&row.pattern),
            Self::Number(_, least, most) => row.pattern != 0 && (*least..=*most).contains(&row.pattern),
            Self::Field(_, test) => test.holds_text(row.service),
            _ => true,
        }
    }

    /// Returns whether a block with these tokens may hold a match.
    #[must_use]
    pub fn may_contain(&self, tokens: &dyn Words) -> bool {
        let all = |words: &[u64]| words.iter().all(|word| tokens.may_contain(*word));
        match self {
            Self::And(parts) => parts.iter().all(|part| part.may_contain(tokens)),
            Self::Or(parts) => parts.iter().any(|part| part.may_contain(tokens)),
            Self::Text(_, term) => all(term.words()),
            Self::Pattern(_, pattern) => all(pattern.words()),
            Self::Trace(id) if tokens.has_traces() => tokens.may_contain(crate::logs::tokens::hash_trace(id)),
            Self::Field(Field::Attribute(_), test) if tokens.has_traces() => match test {
                FieldTest::Is(_, words) | FieldTest::Begins(_, words) => all(words),
                FieldTest::Matches(pattern) => all(pattern.words()),
                _ => true,
            },
            _ => true,
        }
    }

    /// Returns whether [`Self::may_contain`] can rule any block out.
    #[must_use]
    pub fn uses_tokens(&self) -> bool {
        match self {
            Self::And(parts) => parts.iter().any(Self::uses_tokens),
            Self::Or(parts) => parts.iter().all(Self::uses_tokens),
            Self::Text(_, term) => !term.words().is_empty(),
            Self::Pattern(_, pattern) | Self::Field(Field::Attribute(_), FieldTest::Matches(pattern)) => {
                !pattern.words().is_empty()
            }
            Self::Trace(_) => true,
            Self::Field(Field::Attribute(_), FieldTest::Is(_, words) | FieldTest::Begins(_, words)) => !words.is_empty(),
            _ => false,
        }
    }
}

/// Returns the rows of `among` with a text in which `found` holds; `mark` says it of a whole column at once.
fn in_texts(
    batch: &LogBatch,
    among: &Bits,
    place: Place,
    found: &dyn Fn(&[u8]) -> bool,
    mark: &dyn Fn(&watchfire_types::log::TextColumn) -> Bits,
) -> Bits {
    let few = |rows: &Bits| rows.count() * FEW < rows.rows();
    let mut hits = if few(among) {
        among.filter(|row| found(batch.body.data.get(row)))
    } else {
        let mut hits = mark(&batch.body.data);
        hits.keep(among);
        hits
    };
    if place == Place::Body {
        return hits;
    }
    let mut rest = among.clone();
    rest.remove(&hits);
    if few(&rest) {
        let in_attributes = |row: usize| batch.attribute_range(row).any(|index| found(batch.attribute_value.data.get(index)));
        hits.add(&rest.filter(in_attributes));
        return hits;
    }
    let mut row = 0;
    for index in mark(&batch.attribute_value.data).iter() {
        while batch.attribute_ends[row] as usize <= index {
            row += 1;
        }
        if rest.has(row) {
            hits.set(row);
        }
    }
    hits
}

impl FieldTest {
    fn new(test: &Test) -> Self {
        let words_of = |text: &str| {
            let mut words = Vec::new();
            for_each_word(text.as_bytes(), |word| words.push(word));
            words
        };
        match test {
            Test::Is(text) => Self::Is(text.clone().into_bytes(), words_of(text)),
            Test::Begins(text) => {
                // The last word may go on.
                let whole = text.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
                Self::Begins(text.clone().into_bytes(), words_of(whole))
            }
            Test::Present => Self::Present,
            Test::Compare(order, text) => match number(text.as_bytes()) {
                Some(number) => Self::Number(*order, number),
                None => Self::Text(*order, text.clone().into_bytes()),
            },
            Test::Matches(regex) => match Pattern::new(regex) {
                Ok(pattern) => Self::Matches(pattern),
                // The parser has tried it.
                Err(_) => Self::Is(vec![0xff], Vec::new()),
            },
        }
    }

    fn holds_text(&self, text: &str) -> bool {
        self.holds(Some(text.as_bytes()).filter(|text| !text.is_empty()))
    }

    /// Returns whether it holds of a field with this text, or of one that is not there.
    #[must_use]
    pub fn holds(&self, text: Option<&[u8]>) -> bool {
        match (self, text) {
            (Self::Is(wanted, _), text) => text.unwrap_or_default() == wanted,
            (_, None) => false,
            (Self::Begins(beginning, _), Some(text)) => text.starts_with(beginning),
            (Self::Present, Some(text)) => !text.is_empty(),
            (Self::Number(order, bound), Some(text)) => {
                number(text).and_then(|number| number.partial_cmp(bound)).is_some_and(|ordering| order.holds(ordering))
            }
            (Self::Text(order, bound), Some(text)) => order.holds(text.cmp(bound)),
            (Self::Matches(pattern), Some(text)) => pattern.is_in(text),
        }
    }
}

/// The least double is 326 characters when written out, the greatest with a fraction less: longer text is no number.
const LONGEST_NUMBER: usize = 400;

/// Returns the number that `text` is. Words such as `nan` and `infinity` are none.
#[must_use]
pub fn number(text: &[u8]) -> Option<f64> {
    let is_number = text.len() <= LONGEST_NUMBER && text.iter().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(byte));
    str::from_utf8(text).ok().filter(|_| is_number)?.parse().ok()
}

impl Verdict {
    fn of(some: bool, every: bool) -> Self {
        match (some, every) {
            (false, _) => Self::Never,
            (true, false) => Self::Maybe,
            (true, true) => Self::Always,
        }
    }

    fn negated(self) -> Self {
        match self {
            Self::Never => Self::Always,
            Self::Maybe => Self::Maybe,
            Self::Always => Self::Never,
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Never, _) | (_, Self::Never) => Self::Never,
            (Self::Always, Self::Always) => Self::Always,
            _ => Self::Maybe,
        }
    }
}
