//! Reads the conditions of a query. Pipes are in [`super::parse_pipes`].

use std::ops::Range;

use jiff::civil::DateTime;
use watchfire_types::Severity;

use super::ast::{Expr, MAX_DEPTH, Moment, Order, Place, Query, Test};
use super::cursor::{Cursor, QueryError, Value};
use super::field::Field;
use super::parse_pipes::pipes;
use crate::http::time_range::parse_duration;
use crate::logs::types::MAX_TEXT_BYTES;
use crate::nearest::did_you_mean;

/// A regular expression may take this much memory when compiled, in bytes.
pub(super) const MAX_REGEX_BYTES: usize = 8 << 20;

/// Signs between a field and its value, each before its own beginnings.
const SIGNS: [(&str, Sign); 8] = [
    ("!=", Sign::IsNot),
    ("!~", Sign::MatchesNot),
    (">=", Sign::Order(Order::AtLeast)),
    ("<=", Sign::Order(Order::AtMost)),
    (">", Sign::Order(Order::Above)),
    ("<", Sign::Order(Order::Below)),
    ("~", Sign::Matches),
    (":", Sign::Is),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Is,
    IsNot,
    Matches,
    MatchesNot,
    Order(Order),
}

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// [`QueryError`]: what is wrong, where, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let mut cursor = Cursor { text, at: 0 };
        if text.len() > MAX_TEXT_BYTES {
            return Err(cursor.error(0..0, format!("a query has at most {MAX_TEXT_BYTES} bytes, this one has {}", text.len())));
        }
        let filter = match cursor.skip_space().peek() {
            None | Some('|') => Expr::All,
            Some(_) => any(&mut cursor, 0)?,
        };
        if cursor.peek() == Some(')') {
            return Err(
                cursor.error(cursor.at..cursor.at + 1, "nothing opens this bracket: leave it away, or quote text that has it")
            );
        }
        Ok(Self { filter, pipes: pipes(&mut cursor)? })
    }
}

/// Conditions with `OR` between them.
fn any(cursor: &mut Cursor<'_>, depth: usize) -> Result<Expr, QueryError> {
    let mut parts = vec![all(cursor, depth)?];
    while cursor.eat_word("OR") {
        parts.push(all(cursor, depth)?);
    }
    Ok(Expr::or(parts))
}

/// Conditions side by side, or with `AND` between them.
fn all(cursor: &mut Cursor<'_>, depth: usize) -> Result<Expr, QueryError> {
    let mut parts = vec![operand(cursor, depth)?];
    loop {
        cursor.skip_space();
        if cursor.is_at_end() || cursor.is_at_word("OR") {
            return Ok(Expr::and(parts));
        }
        cursor.eat_word("AND");
        parts.push(operand(cursor, depth)?);
    }
}

fn operand(cursor: &mut Cursor<'_>, depth: usize) -> Result<Expr, QueryError> {
    cursor.skip_space();
    if depth > MAX_DEPTH {
        return Err(cursor.error(cursor.at..cursor.at, format!("more than {MAX_DEPTH} brackets and negations inside one another")));
    }
    for word in ["AND", "OR"] {
        if cursor.is_at_word(word) {
            let message = format!("`{word}` stands between two conditions: write `{}` to find the word", word.to_lowercase());
            return Err(cursor.error(cursor.at..cursor.at + word.len(), message));
        }
    }
    if cursor.is_at_end() {
        return Err(cursor.expected("a word, a \"phrase\" or a condition such as `level>=warn`"));
    }
    if cursor.eat_word("NOT") || eat_minus(cursor) {
        return Ok(operand(cursor, depth + 1)?.negated());
    }
    let open = cursor.at;
    if cursor.eat("(") {
        if cursor.skip_space().peek() == Some(')') {
            return Err(cursor
                .error(open..cursor.at + 1, "there is nothing in these brackets: quote them to find them, as in `\"main()\"`"));
        }
        let inner = any(cursor, depth + 1)?;
        if !cursor.eat(")") {
            return Err(cursor.error(open..open + 1, "this bracket is never closed: write `)`, or quote text that has it"));
        }
        return Ok(inner);
    }
    condition(cursor)
}

/// Steps over a `-` or `!` that negates what follows. Otherwise they belong to a word, as in `--force` and `->`.
fn eat_minus(cursor: &mut Cursor<'_>) -> bool {
    let mut chars = cursor.rest().chars();
    let negates =
        matches!(chars.next(), Some('-' | '!')) && chars.next().is_some_and(|c| c.is_alphanumeric() || "_\"(/@".contains(c));
    if negates {
        cursor.at += 1;
    }
    negates
}

fn condition(cursor: &mut Cursor<'_>) -> Result<Expr, QueryError> {
    let start = cursor.at;
    if let Some((name, sign)) = field(cursor)? {
        return field_condition(cursor, start, &name, sign);
    }
    if cursor.peek() == Some('/')
        && let Some(regex) = cursor.slashed()
    {
        return Ok(Expr::Pattern { place: Place::Anywhere, regex: checked_regex(cursor, regex)? });
    }
    let value = cursor.value()?;
    if !value.quoted && value.text == "*" || value.text.trim().is_empty() {
        return Ok(Expr::All);
    }
    text(cursor, Place::Anywhere, value)
}

fn text(cursor: &Cursor<'_>, place: Place, value: Value) -> Result<Expr, QueryError> {
    if !value.quoted && value.text.starts_with('*') {
        let message =
            "a `*` stands at the end of a word: use a regular expression such as `/\\w+end\\b/`, or quote text that has it";
        return Err(cursor.error(value.span, message));
    }
    Ok(Expr::Text { place, text: value.text, prefix: value.star })
}

/// Reads the name of a field and the sign behind it; stays where it was if there is no such thing.
fn field(cursor: &mut Cursor<'_>) -> Result<Option<(String, Sign)>, QueryError> {
    let mut ahead = *cursor;
    let name = if ahead.peek() == Some('"') {
        let value = ahead.quoted()?;
        if value.star || value.text.is_empty() {
            return Ok(None);
        }
        value.text
    } else {
        let name = bare_name(ahead.rest());
        ahead.at += name.len();
        name.to_owned()
    };
    if name.is_empty() {
        return Ok(None);
    }
    let after_name = ahead.at;
    ahead.skip_space();
    let spaced = ahead.at > after_name;
    let Some((sign, kind)) = SIGNS.into_iter().find(|(sign, _)| ahead.rest().starts_with(sign)) else { return Ok(None) };
    ahead.at += sign.len();
    let next = ahead.peek();
    let is_field = match kind {
        // `error: it broke`, `std::fmt`, `https://example.com` are text.
        Sign::Is => !spaced && next.is_some_and(|c| !c.is_whitespace() && !")|:".contains(c)) && !ahead.rest().starts_with("//"),
        Sign::Matches | Sign::MatchesNot => !spaced && next.is_some(),
        // `a > b` compares; `a <b>` and `a >b` are text.
        Sign::IsNot | Sign::Order(_) => !spaced || next.is_some_and(char::is_whitespace),
    };
    if !is_field {
        return Ok(None);
    }
    *cursor = ahead;
    Ok(Some((name, kind)))
}

/// Returns the longest beginning of `text` that is a name without quotes: a letter, `_` or `@`, then also digits, `.`, `-` and `/`.
pub(super) fn bare_name(text: &str) -> &str {
    let fits =
        |(index, c): (usize, char)| c.is_alphabetic() || "_@".contains(c) || index > 0 && (c.is_numeric() || ".-/".contains(c));
    let end = text.char_indices().find(|(index, c)| !fits((*index, *c))).map_or(text.len(), |(index, _)| index);
    // `->` is an arrow.
    text[..end].trim_end_matches(['-', '.', '/'])
}

fn field_condition(cursor: &mut Cursor<'_>, start: usize, name: &str, mut sign: Sign) -> Result<Expr, QueryError> {
    if sign == Sign::Is {
        // `duration:>250`, as others write it.
        let orders = SIGNS.into_iter().filter(|(_, sign)| matches!(sign, Sign::Order(_) | Sign::Matches));
        if let Some((_, order)) = orders.into_iter().find(|(sign, _)| cursor.eat(sign)) {
            sign = order;
        }
    }
    cursor.skip_space();
    if cursor.peek() == Some('(') && matches!(sign, Sign::Is | Sign::IsNot) {
        return group(cursor, start, name, sign);
    }
    if cursor.is_at_end() {
        let written = &cursor.text[start..cursor.at];
        return Err(cursor.expected(&format!("a value after `{}`", written.trim_end())));
    }
    let value = cursor.value()?;
    one_condition(cursor, start..cursor.at, name, sign, value)
}

/// Reads `(a OR b)` behind `name:`, which means that it is one of them. Commas do as well.
fn group(cursor: &mut Cursor<'_>, start: usize, name: &str, sign: Sign) -> Result<Expr, QueryError> {
    let open = cursor.at;
    cursor.eat("(");
    let mut parts = Vec::new();
    loop {
        if cursor.skip_space().is_at_end() {
            return Err(cursor.expected(&format!("a value of `{name}`")));
        }
        let mut value = cursor.value()?;
        if !value.quoted
            && let Some(comma) = value.text.find(',')
        {
            cursor.at = value.span.start + comma;
            value.text.truncate(comma);
            value.star = comma > 1 && value.text.ends_with('*');
            value.text.truncate(comma - usize::from(value.star));
            value.span.end = cursor.at;
        }
        parts.push(one_condition(cursor, start..cursor.at, name, Sign::Is, value)?);
        cursor.skip_space();
        if cursor.eat(")") {
            let one_of = Expr::or(parts);
            return Ok(if sign == Sign::IsNot { one_of.negated() } else { one_of });
        }
        if cursor.peek().is_none() {
            return Err(cursor.error(open..open + 1, "this bracket is never closed: write `)` after the last value"));
        }
        if !cursor.eat(",") && !cursor.eat_word("OR") {
            return Err(cursor.expected("`OR`, `,` or `)` between the values"));
        }
    }
}

fn one_condition(cursor: &Cursor<'_>, span: Range<usize>, name: &str, sign: Sign, value: Value) -> Result<Expr, QueryError> {
    if matches!(name, "since" | "until") {
        let moment = moment(cursor, &value, name)?;
        return match sign {
            Sign::Is => Ok(if name == "since" { Expr::Since(moment) } else { Expr::Until(moment) }),
            _ => Err(cursor.error(span, format!("a time is written `{name}:15m` or `{name}:2026-11-22T10:00`"))),
        };
    }
    let field = Field::from_name(name);
    let order = |cursor: &Cursor<'_>, what: &str| {
        cursor.error(span.clone(), format!("{what} is not compared by size: write `{name}:{}`", value.text))
    };
    let negative = matches!(sign, Sign::IsNot | Sign::MatchesNot);
    let condition = match (field, sign) {
        (Field::Level, Sign::Matches | Sign::MatchesNot) => {
            return Err(cursor.error(span, "a level is written `level:error`, `level>=warn` or `level!=debug`"));
        }
        (Field::Level, sign) => level(cursor, name, sign, &value)?,
        (Field::Body, Sign::Matches | Sign::MatchesNot) => {
            Expr::Pattern { place: Place::Body, regex: checked_regex(cursor, value)? }
        }
        (Field::Body, Sign::Order(_)) => return Err(order(cursor, "a body")),
        (Field::Body, _) if is_star(&value) => Expr::Field { field: Field::Body, test: Test::Present },
        (Field::Body, _) if value.text.trim().is_empty() => Expr::Field { field: Field::Body, test: Test::Present }.negated(),
        (Field::Body, _) => text(cursor, Place::Body, value)?,
        (field, Sign::Matches | Sign::MatchesNot) => Expr::Field { field, test: Test::Matches(checked_regex(cursor, value)?) },
        (field @ (Field::Seq | Field::Pattern), sign) if !is_star(&value) => {
            if value.star || value.text.parse::<u64>().is_err() {
                return Err(
                    cursor.error(value.span, format!("`{name}` is compared with a whole number, and `{}` is none", value.text))
                );
            }
            let number = value.text.parse::<u64>().unwrap_or_default().to_string();
            match sign {
                Sign::Order(order) => Expr::Field { field, test: Test::Compare(order, number) },
                _ => Expr::Field { field, test: Test::Is(number) },
            }
        }
        (Field::Timestamp, Sign::Order(order)) => {
            let moment = moment(cursor, &value, name)?;
            match order {
                Order::AtLeast => Expr::Since(moment),
                Order::Below => Expr::Until(moment),
                _ => return Err(cursor.error(span, format!("write `{name}>=` for then or later, `{name}<` for earlier"))),
            }
        }
        (Field::Timestamp, _) => {
            return Err(
                cursor.error(span, "a time is a range: write `since:2026-11-22T10:00 until:2026-11-22T10:05`, or `since:15m`")
            );
        }
        (field, Sign::Order(order)) => {
            if value.star || is_star(&value) {
                return Err(cursor.error(value.span, "a comparison needs a whole value, without `*`"));
            }
            Expr::Field { field, test: Test::Compare(order, value.text) }
        }
        (field, _) if is_star(&value) => Expr::Field { field, test: Test::Present },
        (field, _) => {
            if !value.quoted && value.text.contains('*') {
                let message = format!(
                    "a `*` stands at the end of a value: use a regular expression, `{name}~\"…\"`, or quote a value that has it"
                );
                return Err(cursor.error(value.span, message));
            }
            let value_text = if matches!(field, Field::TraceId | Field::SpanId) { value.text.to_lowercase() } else { value.text };
            Expr::Field { field, test: if value.star { Test::Begins(value_text) } else { Test::Is(value_text) } }
        }
    };
    Ok(if negative { condition.negated() } else { condition })
}

fn is_star(value: &Value) -> bool {
    !value.quoted && value.text == "*"
}

/// Returns the range of severity numbers that a level means: its whole range for a name such as `error`, else the number.
fn level(cursor: &Cursor<'_>, name: &str, sign: Sign, value: &Value) -> Result<Expr, QueryError> {
    if is_star(value) {
        return Ok(Expr::Level { least: 1, most: u8::MAX });
    }
    let number = value.text.parse::<u8>().ok().filter(|number| *number <= 24);
    let named = Severity::from_text(&value.text).map(|severity| severity.0);
    let Some(least) = number.or(named).filter(|_| !value.star) else {
        const NAMES: [&str; 8] = ["trace", "debug", "info", "notice", "warn", "error", "critical", "fatal"];
        let hint = did_you_mean(&value.text, NAMES);
        let hint = if hint.is_empty() { ": there are trace, debug, info, warn, error, fatal, or 1 to 24".to_owned() } else { hint };
        let message = format!("`{}` is no level{hint}", value.text);
        return Err(cursor.error(value.span.clone(), message));
    };
    let most = if number.is_none() && least % 4 == 1 { least + 3 } else { least };
    let (least, most) = match sign {
        Sign::Order(Order::AtLeast) => (least, u8::MAX),
        Sign::Order(Order::Above) if most < 24 => (most + 1, u8::MAX),
        Sign::Order(Order::AtMost) => (0, most),
        Sign::Order(Order::Below) if least > 0 => (0, least - 1),
        Sign::Order(_) => return Err(cursor.error(value.span.clone(), format!("no `{name}` is beyond `{}`", value.text))),
        _ if most == 24 && least == 21 => (21, u8::MAX),
        _ => (least, most),
    };
    Ok(Expr::Level { least, most })
}

fn moment(cursor: &Cursor<'_>, value: &Value, name: &str) -> Result<Moment, QueryError> {
    let text = value.text.as_str();
    Ok(match text {
        _ if value.star => return Err(cursor.error(value.span.clone(), "a time has no `*`")),
        "now" => Moment::Now,
        "today" => Moment::Today,
        "yesterday" => Moment::Yesterday,
        _ => {
            if let Some(ago) = parse_duration(text) {
                return Ok(Moment::Ago(ago));
            }
            if let Ok(at) = text.parse() {
                return Ok(Moment::At(at));
            }
            let local = text.parse::<DateTime>().ok();
            let Some(local) = local else {
                let message = format!(
                    "`{text}` is no time: write `{name}:15m`, `{name}:today`, `{name}:yesterday`, `{name}:2026-11-22` or `{name}:2026-11-22T10:00`"
                );
                return Err(cursor.error(value.span.clone(), message));
            };
            Moment::Local(local)
        }
    })
}

/// Returns a regular expression that can be compiled.
fn checked_regex(cursor: &Cursor<'_>, value: Value) -> Result<String, QueryError> {
    let text = if value.star { format!("{}*", value.text) } else { value.text };
    match super::regex(&text) {
        Ok(_) => Ok(text),
        Err(regex::Error::CompiledTooBig(_)) => {
            Err(cursor.error(value.span, "this regular expression becomes too large: repeat less, or name fewer characters"))
        }
        Err(error) => {
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
            Err(cursor.error(value.span, format!("this regular expression is wrong: {reason}")))
        }
    }
}
