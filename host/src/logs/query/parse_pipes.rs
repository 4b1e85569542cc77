//! Reads what stands behind the pipes of a query.

use std::time::Duration;

use super::ast::{Aggregate, Bound, BoundTest, Function, Key, Order, Pipe, SortKey};
use super::cursor::{Cursor, QueryError};
use super::field::Field;
use crate::http::time_range::parse_duration;
use crate::nearest::suggestion;

/// Words that begin a pipe.
pub(super) const PIPES: [&str; 7] = ["stats", "top", "uniq", "fields", "sort", "limit", "where"];
/// Functions of `stats`; any other percentile is `pN`.
pub(super) const FUNCTIONS: [&str; 9] = ["count", "count_distinct", "sum", "avg", "min", "max", "p50", "p90", "p99"];

/// Pipes one after the other at most.
const MAX_PIPES: usize = 16;
/// Columns, keys or fields of one pipe at most.
pub(super) const MAX_COLUMNS: usize = 32;
/// Keys of one `stats`, `top` or `uniq` at most.
pub(super) const MAX_KEYS: usize = 6;
/// Values of `top` when no number is given.
const DEFAULT_TOP: u64 = 10;

/// Reads all pipes up to the end.
pub(super) fn pipes(cursor: &mut Cursor<'_>) -> Result<Vec<Pipe>, QueryError> {
    let mut pipes = Vec::new();
    while cursor.skip_space().peek().is_some() {
        let start = cursor.at;
        if !cursor.eat("|") {
            return Err(cursor.expected("`|` and a pipe such as `stats count by level`"));
        }
        if pipes.len() == MAX_PIPES {
            return Err(cursor.error(start..start + 1, format!("more than {MAX_PIPES} pipes")));
        }
        pipes.push(pipe(cursor)?);
    }
    Ok(pipes)
}

fn pipe(cursor: &mut Cursor<'_>) -> Result<Pipe, QueryError> {
    cursor.skip_space();
    let start = cursor.at;
    let word = word(cursor);
    match word {
        "stats" => stats(cursor),
        "top" => top(cursor),
        "uniq" => {
            eat_by(cursor);
            Ok(Pipe::Uniq { by: fields(cursor, MAX_KEYS)? })
        }
        "fields" => Ok(Pipe::Fields(fields(cursor, MAX_COLUMNS)?)),
        "sort" => sort(cursor),
        "limit" | "head" => match number(cursor) {
            Some(count) => Ok(Pipe::Limit(count)),
            None => Err(cursor.expected("a whole number after `limit`")),
        },
        "where" => Ok(Pipe::Where(bounds(cursor)?)),
        "" => Err(cursor.expected("a pipe after `|` (stats, top, uniq, fields, sort, limit or where)")),
        other => {
            let hint = suggestion(other, PIPES);
            Err(cursor.error(start..cursor.at, format!("`{other}` is no pipe{hint} (quote text that has a `|`)")))
        }
    }
}

/// Reads letters, digits, `_` and `.`.
fn word<'a>(cursor: &mut Cursor<'a>) -> &'a str {
    let rest = cursor.skip_space().rest();
    let end = rest.find(|c: char| !c.is_alphanumeric() && !"_.".contains(c)).unwrap_or(rest.len());
    cursor.at += end;
    &rest[..end]
}

fn number(cursor: &mut Cursor<'_>) -> Option<u64> {
    let mut ahead = *cursor;
    let text = word(&mut ahead);
    let number = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    *cursor = ahead;
    Some(number)
}

fn eat_by(cursor: &mut Cursor<'_>) -> bool {
    cursor.skip_space().eat_word("by")
}

/// Reads a list with commas between; `one` reads an item.
fn list<'a, T>(
    cursor: &mut Cursor<'a>,
    most: usize,
    mut one: impl FnMut(&mut Cursor<'a>) -> Result<T, QueryError>,
) -> Result<Vec<T>, QueryError> {
    let mut items = Vec::new();
    loop {
        cursor.skip_space();
        if items.len() == most {
            return Err(cursor.error(cursor.at..cursor.at, format!("more than {most} of them")));
        }
        items.push(one(cursor)?);
        if !cursor.skip_space().eat(",") {
            return Ok(items);
        }
    }
}

/// Reads the name of a field or column, quoted or not; a bare one may have brackets, as `p99(duration)` has.
fn name(cursor: &mut Cursor<'_>, what: &str) -> Result<String, QueryError> {
    if cursor.skip_space().peek() == Some('"') {
        let start = *cursor;
        let value = cursor.quoted()?;
        return if value.star || value.text.is_empty() { Err(start.expected(what)) } else { Ok(value.text) };
    }
    let start = cursor.at;
    let mut depth = 0_usize;
    let ends = |(_, c): &(usize, char)| match c {
        '(' => {
            depth += 1;
            false
        }
        ')' if depth > 0 => {
            depth -= 1;
            false
        }
        ',' | '|' | ')' | '"' | '<' | '>' | '=' | '!' | ':' => true,
        c => c.is_whitespace(),
    };
    let rest = cursor.rest();
    let length = rest.char_indices().find(ends).map_or(rest.len(), |(offset, _)| offset);
    if length == 0 {
        return Err(cursor.expected(what));
    }
    cursor.at += length;
    Ok(cursor.text[start..cursor.at].to_owned())
}

fn fields(cursor: &mut Cursor<'_>, most: usize) -> Result<Vec<Field>, QueryError> {
    list(cursor, most, |cursor| Ok(Field::from_name(&name(cursor, "the name of a field")?)))
}

fn top(cursor: &mut Cursor<'_>) -> Result<Pipe, QueryError> {
    let count = number(cursor);
    if count == Some(0) {
        return Err(cursor.error(cursor.at - 1..cursor.at, "`top 0` shows nothing: ask for one at least"));
    }
    eat_by(cursor);
    Ok(Pipe::Top { count: count.unwrap_or(DEFAULT_TOP), by: fields(cursor, MAX_KEYS)? })
}

fn sort(cursor: &mut Cursor<'_>) -> Result<Pipe, QueryError> {
    eat_by(cursor);
    let keys = list(cursor, MAX_KEYS, |cursor| {
        let minus = cursor.eat("-");
        let name = name(cursor, "the name of a field or column")?;
        cursor.skip_space();
        let mut ahead = *cursor;
        let descending = match word(&mut ahead) {
            "desc" => true,
            "asc" => false,
            _ => {
                ahead = *cursor;
                minus
            }
        };
        *cursor = ahead;
        Ok(SortKey { name, descending })
    })?;
    Ok(Pipe::Sort(keys))
}

fn stats(cursor: &mut Cursor<'_>) -> Result<Pipe, QueryError> {
    let mut columns = Vec::new();
    let mut is_by = eat_by(cursor);
    if is_by {
        columns.push(Aggregate { function: Function::Count, field: None, name: None });
    } else {
        columns = list(cursor, MAX_COLUMNS, aggregate)?;
        is_by = eat_by(cursor);
    }
    let by = if is_by { list(cursor, MAX_KEYS, key)? } else { Vec::new() };
    let mut names: Vec<String> = by.iter().map(Key::column).chain(columns.iter().map(Aggregate::column)).collect();
    names.sort_unstable();
    if let Some([twice, _]) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(cursor.error(cursor.at..cursor.at, format!("two columns are called `{twice}`: name one with `as`")));
    }
    Ok(Pipe::Stats { columns, by })
}

fn aggregate(cursor: &mut Cursor<'_>) -> Result<Aggregate, QueryError> {
    let start = cursor.skip_space().at;
    let word = word(cursor);
    if word.is_empty() {
        return Err(cursor.expected("a function such as `count` or `p99(duration)`"));
    }
    let Some(function) = Function::from_name(word) else {
        let hint = suggestion(word, FUNCTIONS);
        return Err(cursor.error(start..cursor.at, format!("`{word}` is no function{hint}")));
    };
    let mut field = None;
    if cursor.skip_space().eat("(") {
        if cursor.skip_space().peek() != Some(')') {
            field = Some(Field::from_name(&name(cursor, "the name of a field")?));
        }
        if !cursor.skip_space().eat(")") {
            return Err(cursor.expected(&format!("`)` after the field of `{word}`")));
        }
    }
    if field.is_none() && function != Function::Count {
        return Err(cursor.error(start..cursor.at, format!("`{word}` of what? Write `{word}(field)`")));
    }
    let is_named = cursor.skip_space().eat_word("as");
    let name = if is_named { Some(name(cursor, "a name after `as`")?) } else { None };
    Ok(Aggregate { function, field, name })
}

fn key(cursor: &mut Cursor<'_>) -> Result<Key, QueryError> {
    let start = cursor.skip_space().at;
    let is_quoted = cursor.peek() == Some('"');
    let name = name(cursor, "the name of a field, or `time(5m)`")?;
    let Some(step) = name.strip_prefix("time(").and_then(|rest| rest.strip_suffix(')')).filter(|_| !is_quoted) else {
        if name == "time" && !is_quoted {
            return Err(cursor.error(start..cursor.at, "`time` needs the length of a step: write `time(5m)`"));
        }
        return Ok(Key::Field(Field::from_name(&name)));
    };
    match parse_duration(step).filter(|step| *step >= Duration::from_millis(1)) {
        Some(step) => Ok(Key::Time(step)),
        None => {
            Err(cursor
                .error(start..cursor.at, format!("`{step}` is no length of time: write `time(30s)`, `time(5m)` or `time(1h)`")))
        }
    }
}

fn bounds(cursor: &mut Cursor<'_>) -> Result<Vec<Bound>, QueryError> {
    const TESTS: [(&str, BoundTest); 7] = [
        ("!=", BoundTest::IsNot),
        (">=", BoundTest::Order(Order::AtLeast)),
        ("<=", BoundTest::Order(Order::AtMost)),
        (">", BoundTest::Order(Order::Above)),
        ("<", BoundTest::Order(Order::Below)),
        (":", BoundTest::Is),
        ("=", BoundTest::Is),
    ];
    let mut bounds = Vec::new();
    loop {
        let name = name(cursor, "the name of a column")?;
        cursor.skip_space();
        let Some((_, test)) = TESTS.into_iter().find(|(sign, _)| cursor.eat(sign)) else {
            return Err(cursor.expected(&format!("a comparison such as `{name}>10`")));
        };
        if cursor.skip_space().is_at_end() {
            return Err(cursor.expected(&format!("a value to compare `{name}` with")));
        }
        let value = cursor.value()?;
        if value.star || value.text == "*" && !value.quoted {
            return Err(cursor.error(value.span, "a comparison needs a whole value, without `*`"));
        }
        bounds.push(Bound { name, test, value: value.text });
        let more = cursor.skip_space().eat_word("AND");
        if !more && (cursor.peek().is_none() || cursor.peek() == Some('|')) {
            return Ok(bounds);
        }
        if bounds.len() == MAX_COLUMNS {
            return Err(cursor.error(cursor.at..cursor.at, format!("more than {MAX_COLUMNS} comparisons")));
        }
    }
}

impl Key {
    /// Returns the name of its column.
    #[must_use]
    pub fn column(&self) -> String {
        match self {
            Self::Field(field) => field.name().to_owned(),
            Self::Time(_) => "time".to_owned(),
        }
    }
}
