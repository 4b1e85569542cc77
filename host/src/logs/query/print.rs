//! Writes a query so that it reads back equal.

use std::fmt::{self, Display, Formatter, Write as _};

use watchfire_types::Severity;

use super::ast::{Aggregate, Bound, BoundTest, Expr, Key, Moment, Pipe, Place, Query, SortKey, Test};
use super::parse::bare_name;
use crate::config::HumanDuration;

impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        if self.filter != Expr::All || self.pipes.is_empty() {
            self.filter.fmt(f)?;
            separator = " ";
        }
        for pipe in &self.pipes {
            write!(f, "{separator}| {pipe}")?;
            separator = " ";
        }
        Ok(())
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_char('*'),
            Self::And(parts) => {
                for (index, part) in parts.iter().enumerate() {
                    let space = if index == 0 { "" } else { " " };
                    match part {
                        Self::Or(_) => write!(f, "{space}({part})")?,
                        _ => write!(f, "{space}{part}")?,
                    }
                }
                Ok(())
            }
            Self::Or(parts) => joined(f, parts, " OR "),
            Self::Not(inner) => match &**inner {
                Self::And(_) | Self::Or(_) => write!(f, "NOT ({inner})"),
                _ => write!(f, "NOT {inner}"),
            },
            Self::Text { place, text, prefix } => {
                let star = if *prefix { "*" } else { "" };
                match place {
                    Place::Anywhere => write!(f, "{}{star}", word(text)),
                    Place::Body => write!(f, "body:{}{star}", quoted(text)),
                }
            }
            Self::Pattern { place: Place::Anywhere, regex } => slashed(f, regex),
            Self::Pattern { place: Place::Body, regex } => write!(f, "body~{}", quoted(regex)),
            Self::Field { field, test } => {
                let name = field_name(field.name());
                match test {
                    Test::Is(text) => write!(f, "{name}:{}", value(text)),
                    Test::Begins(text) => write!(f, "{name}:{}*", value(text)),
                    Test::Present => write!(f, "{name}:*"),
                    Test::Compare(order, text) => write!(f, "{name}{}{}", order.sign(), value(text)),
                    Test::Matches(regex) => write!(f, "{name}~{}", quoted(regex)),
                }
            }
            Self::Level { least, most: u8::MAX } => write!(f, "level>={}", level_name(*least)),
            Self::Level { least: 0, most } => write!(f, "level<={most}"),
            Self::Level { least, most } if *least % 4 == 1 && *most == least + 3 => write!(f, "level:{}", level_name(*least)),
            Self::Level { least, .. } => write!(f, "level:{least}"),
            Self::Since(moment) => write!(f, "since:{moment}"),
            Self::Until(moment) => write!(f, "until:{moment}"),
        }
    }
}

/// Returns the name of a range that begins with `number`, else the number.
fn level_name(number: u8) -> String {
    if number % 4 == 1 && number < 24 { Severity(number).name().to_lowercase() } else { number.to_string() }
}

impl Display for Moment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ago(ago) => write!(f, "{}", HumanDuration(*ago)),
            Self::At(at) => write!(f, "{at}"),
            Self::Local(local) => write!(f, "{local}"),
            Self::Now => f.write_str("now"),
            Self::Today => f.write_str("today"),
            Self::Yesterday => f.write_str("yesterday"),
        }
    }
}

impl Display for Pipe {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let names = |fields: &[super::field::Field]| fields.iter().map(|field| name(field.name())).collect::<Vec<_>>().join(", ");
        match self {
            Self::Stats { columns, by } => {
                f.write_str("stats ")?;
                joined(f, columns, ", ")?;
                if !by.is_empty() {
                    f.write_str(" by ")?;
                    joined(f, by, ", ")?;
                }
                Ok(())
            }
            Self::Top { count, by } => write!(f, "top {count} {}", names(by)),
            Self::Uniq { by } => write!(f, "uniq {}", names(by)),
            Self::Fields(fields) => write!(f, "fields {}", names(fields)),
            Self::Sort(keys) => {
                f.write_str("sort ")?;
                joined(f, keys, ", ")
            }
            Self::Limit(count) => write!(f, "limit {count}"),
            Self::Where(bounds) => {
                f.write_str("where ")?;
                joined(f, bounds, " AND ")
            }
        }
    }
}

impl Display for Aggregate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.call())?;
        self.name.as_ref().map_or(Ok(()), |column| write!(f, " as {}", name(column)))
    }
}

impl Display for Key {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(field) => f.write_str(&name(field.name())),
            Self::Time(step) => write!(f, "time({})", HumanDuration(*step)),
        }
    }
}

impl Display for SortKey {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.descending { "-" } else { "" }, name(&self.name))
    }
}

impl Display for Bound {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let sign = match self.test {
            BoundTest::Is => ":",
            BoundTest::IsNot => "!=",
            BoundTest::Order(order) => order.sign(),
        };
        write!(f, "{}{sign}{}", name(&self.name), value(&self.value))
    }
}

fn joined<T: Display>(f: &mut Formatter<'_>, parts: &[T], between: &str) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(between)?;
        }
        part.fmt(f)?;
    }
    Ok(())
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn slashed(f: &mut Formatter<'_>, regex: &str) -> fmt::Result {
    f.write_char('/')?;
    let mut chars = regex.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => {
                f.write_char('\\')?;
                chars.next().map_or(Ok(()), |escaped| f.write_char(escaped))?;
            }
            '/' => f.write_str("\\/")?,
            char => f.write_char(char)?,
        }
    }
    f.write_char('/')
}

/// Returns `text` as a word, or in quotes if it would be read as something else.
fn word(text: &str) -> String {
    let is_plain = text.chars().next().is_some_and(|c| c.is_alphanumeric() || c == '_')
        && text.chars().all(|c| c.is_alphanumeric() || "_.-/".contains(c))
        && !["AND", "OR", "NOT"].contains(&text);
    if is_plain { text.to_owned() } else { quoted(text) }
}

/// Returns `text` as the value of a field.
pub(super) fn value(text: &str) -> String {
    let is_plain = text.chars().next().is_some_and(|c| c.is_alphanumeric() || "_-/".contains(c))
        && text.chars().all(|c| c.is_alphanumeric() || "_.-/:@+".contains(c))
        && !text.starts_with("//");
    if is_plain { text.to_owned() } else { quoted(text) }
}

fn field_name(text: &str) -> String {
    if !text.is_empty() && bare_name(text) == text { text.to_owned() } else { quoted(text) }
}

/// Returns the name of a field or column as a pipe has it.
pub(super) fn name(text: &str) -> String {
    let is_word = !["by", "as", "asc", "desc"].contains(&text) && text.starts_with(|c: char| c.is_alphabetic() || "_@".contains(c));
    let plain = |c: char| c.is_alphanumeric() || "_.-/@".contains(c);
    let is_call = || {
        let call = text.strip_suffix(')').and_then(|text| text.split_once('('));
        call.is_some_and(|(function, field)| function != "time" && function.chars().all(plain) && field.chars().all(plain))
    };
    if is_word && (text.chars().all(plain) || is_call()) { text.to_owned() } else { quoted(text) }
}
