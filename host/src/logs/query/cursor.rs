//! A place in the text of a query, and what is wrong there.

use std::fmt;
use std::ops::Range;

/// Why a query cannot be read: what is wrong, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryError {
    /// What is wrong, and what to write instead.
    pub message: String,
    /// The bytes of the query that are meant; empty at its end.
    pub at: Range<usize>,
    /// The query.
    pub query: String,
}

impl QueryError {
    /// Returns the number of the character at which it is wrong, from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.query.get(..self.at.start).map_or(0, |before| before.chars().count()) + 1
    }
}

impl fmt::Display for QueryError {
    /// Writes the message, then the query with a mark under the place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// What is shown of a long query on each side of the place.
        const AROUND: usize = 60;
        write!(f, "{} (character {})", self.message, self.column())?;
        let chars: Vec<char> = self.query.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let at = self.column() - 1;
        let marked = self.query.get(self.at.clone()).map_or(0, |marked| marked.chars().count()).clamp(1, AROUND);
        let (start, end) = (at.saturating_sub(AROUND), (at + marked + AROUND).min(chars.len()));
        let shown: String = chars[start.min(end)..end].iter().collect();
        let (before, after) = (if start > 0 { "…" } else { "" }, if end < chars.len() { "…" } else { "" });
        let indent = at - start + before.chars().count();
        write!(f, "\n  {before}{shown}{after}\n  {}{}", " ".repeat(indent), "^".repeat(marked))
    }
}

impl std::error::Error for QueryError {}

/// A place in a query.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
}

/// A quoted or bare value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) text: String,
    pub(super) quoted: bool,
    /// Whether a `*` followed it.
    pub(super) star: bool,
    pub(super) span: Range<usize>,
}

impl<'a> Cursor<'a> {
    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn skip_space(&mut self) -> &mut Self {
        self.at += self.rest().len() - self.rest().trim_start().len();
        self
    }

    /// Steps over `token` if it is here.
    pub(super) fn eat(&mut self, token: &str) -> bool {
        let is_here = self.rest().starts_with(token);
        if is_here {
            self.at += token.len();
        }
        is_here
    }

    /// Returns whether a condition ends here: at the end, a bracket or a pipe.
    pub(super) fn is_at_end(&self) -> bool {
        matches!(self.peek(), None | Some(')' | '|'))
    }

    /// Returns whether `word` is here, and is not the beginning of a longer one.
    pub(super) fn is_at_word(&self, word: &str) -> bool {
        self.rest()
            .strip_prefix(word)
            .is_some_and(|rest| rest.chars().next().is_none_or(|c| c.is_whitespace() || "()\"|".contains(c)))
    }

    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let is_here = self.is_at_word(word);
        if is_here {
            self.at += word.len();
        }
        is_here
    }

    pub(super) fn error(&self, at: Range<usize>, message: impl Into<String>) -> QueryError {
        QueryError { message: message.into(), at, query: self.text.to_owned() }
    }

    /// Returns the error that something else was expected here.
    pub(super) fn expected(&self, what: &str) -> QueryError {
        let end =
            self.at + self.rest().find(char::is_whitespace).unwrap_or(self.rest().len()).max(self.peek().map_or(0, char::len_utf8));
        let found = match self.peek() {
            None => "the query ends".to_owned(),
            Some(_) => format!("found `{}`", &self.text[self.at..end]),
        };
        self.error(self.at..end, format!("expected {what}, but {found}"))
    }

    /// Reads `"…"`, in which `\"` and `\\` stand for a quote and a backslash, and whether a `*` follows.
    pub(super) fn quoted(&mut self) -> Result<Value, QueryError> {
        let start = self.at;
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1).peekable();
        while let Some((offset, char)) = chars.next() {
            match char {
                '"' => {
                    self.at = start + offset + 1;
                    let star = self.eat("*");
                    return Ok(Value { text, quoted: true, star, span: start..self.at });
                }
                '\\' => match chars.next_if(|(_, next)| matches!(next, '"' | '\\')) {
                    Some((_, escaped)) => text.push(escaped),
                    None => text.push('\\'),
                },
                char => text.push(char),
            }
        }
        Err(self
            .error(start..start + 1, "this quote is never closed: write `\"` after the phrase, or `\\\"` for a quote within one"))
    }

    /// Reads up to white space, a quote, a pipe or a bracket that was not opened within: `main()` is one word.
    pub(super) fn bare(&mut self) -> Value {
        let start = self.at;
        let mut depth = 0_usize;
        let ends = |(_, char): &(usize, char)| {
            match char {
                '(' => depth += 1,
                ')' if depth > 0 => depth -= 1,
                ')' | '"' | '|' => return true,
                char => return char.is_whitespace(),
            }
            false
        };
        let length = self.rest().char_indices().find(ends).map_or(self.rest().len(), |(offset, _)| offset);
        self.at += length;
        let text = &self.text[start..self.at];
        let star = text.len() > 1 && text.ends_with('*');
        let text = if star { &text[..text.len() - 1] } else { text };
        Value { text: text.to_owned(), quoted: false, star, span: start..self.at }
    }

    /// Reads a quoted or bare value.
    pub(super) fn value(&mut self) -> Result<Value, QueryError> {
        if self.peek() == Some('"') { self.quoted() } else { Ok(self.bare()) }
    }

    /// Reads `/…/`, or `/…/i` for any case, in which `\/` stands for a slash. `None` if what is here is no such expression but
    /// a word with slashes, such as a path.
    pub(super) fn slashed(&mut self) -> Option<Value> {
        let start = self.at;
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((offset, char)) = chars.next() {
            match char {
                '\\' => match chars.next() {
                    Some((_, '/')) => text.push('/'),
                    Some((_, escaped)) => text.extend(['\\', escaped]),
                    None => return None,
                },
                '/' => {
                    let mut end = Cursor { at: start + offset + 1, ..*self };
                    let any_case = end.eat("i");
                    let ends = end.is_at_end() || end.peek().is_some_and(char::is_whitespace);
                    if text.is_empty() || !ends {
                        return None;
                    }
                    self.at = end.at;
                    let text = if any_case { format!("(?i){text}") } else { text };
                    return Some(Value { text, quoted: true, star: false, span: start..self.at });
                }
                char => text.push(char),
            }
        }
        None
    }
}
