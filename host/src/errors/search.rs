//! What issues are searched by: `is:unresolved release:shop@1.2 route:/pay !level:fatal "no answer"`.
//!
//! A word with a colon says what must be so; `!` in front of it, that it must not. `*` in a value stands for any text. What is left is a
//! text that stands in title, class or culprit, in any case.

use rusqlite::types::ToSql;

use super::types::IssueStatus;
use crate::nearest::suggestion;

/// Longest query, in bytes, and most of its words.
const MAX_BYTES: usize = 2_000;
const MAX_TERMS: usize = 20;

/// What `is:` may be followed by.
const IS: [&str; 7] = ["unresolved", "resolved", "ignored", "assigned", "unassigned", "merged", "regressed"];

/// A query that has been read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    terms: Vec<Term>,
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    negated: bool,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Status(&'static str),
    Assigned,
    Merged,
    Regressed,
    /// A column of the issue.
    Column(&'static str, String),
    Level(String),
    Has(String),
    Tag(String, String),
}

impl Search {
    /// Reads `query`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(query: &str) -> Result<Self, String> {
        if query.len() > MAX_BYTES {
            return Err(format!("a query may have {MAX_BYTES} bytes"));
        }
        let mut search = Self::default();
        let mut texts: Vec<String> = Vec::new();
        for word in words(query) {
            match term(&word)? {
                Some(term) => search.terms.push(term),
                None => texts.push(word.text),
            }
        }
        if search.terms.len() > MAX_TERMS {
            return Err(format!("a query may have {MAX_TERMS} words with a colon"));
        }
        search.text = texts.join(" ");
        Ok(search)
    }

    /// Adds its conditions on an issue `i` to `sql`, and what they compare with to `values`.
    pub(super) fn conditions(&self, sql: &mut String, values: &mut Vec<Box<dyn ToSql>>) {
        if !self.text.is_empty() {
            sql.push_str(" AND instr(lower(i.title || ' ' || i.kind || ' ' || i.culprit), lower(?)) > 0");
            values.push(Box::new(self.text.clone()));
        }
        for term in &self.terms {
            sql.push_str(if term.negated { " AND NOT (" } else { " AND (" });
            let mut like = |sql: &mut String, what: &str, value: &str| {
                sql.push_str(what);
                if value.contains('*') {
                    sql.push_str(" LIKE ? ESCAPE '\\'");
                    values.push(Box::new(pattern(value)));
                } else {
                    sql.push_str(" = ? COLLATE NOCASE");
                    values.push(Box::new(value.to_owned()));
                }
            };
            let tags = "EXISTS (SELECT 1 FROM issue_tags t JOIN issues m ON m.id = t.issue
                        WHERE (m.id = i.id OR m.merged_into = i.id)";
            match &term.what {
                What::Status(status) => like(sql, "i.status", status),
                What::Assigned => sql.push_str("i.assigned_to <> ''"),
                What::Merged => sql.push_str("merged > 0"),
                What::Regressed => {
                    sql.push_str(
                        "(SELECT kind FROM issue_events e WHERE e.issue = i.id ORDER BY position DESC LIMIT 1) = 'regressed'",
                    );
                }
                What::Column(column, value) => like(sql, column, value),
                What::Level(level) => {
                    let level = watchfire_types::Severity::from_text(level).map_or(0, |level| level.0);
                    // The whole range of the level.
                    sql.push_str("(i.severity + 3) / 4 = (? + 3) / 4");
                    values.push(Box::new(level));
                }
                What::Has(key) => {
                    sql.push_str(tags);
                    sql.push_str(" AND t.key = ?)");
                    values.push(Box::new(key.clone()));
                }
                What::Tag(key, value) => {
                    sql.push_str(tags);
                    like(sql, " AND t.value", value);
                    sql.push_str(" AND t.key = ?)");
                    values.push(Box::new(key.clone()));
                }
            }
            sql.push(')');
        }
    }
}

/// A word of a query; one in quotes is never more than a text.
struct Word {
    text: String,
    is_quoted: bool,
}

/// Splits at blanks outside quotes; a value may be quoted as well: `release:"a b"`.
fn words(query: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let (mut text, mut quoted, mut began_quoted) = (String::new(), false, false);
    for c in query.chars() {
        match c {
            '"' => {
                began_quoted |= text.is_empty() && !quoted;
                quoted = !quoted;
            }
            c if c.is_whitespace() && !quoted => {
                if !text.is_empty() {
                    words.push(Word { text: std::mem::take(&mut text), is_quoted: began_quoted });
                }
                began_quoted = false;
            }
            c => text.push(c),
        }
    }
    if !text.is_empty() {
        words.push(Word { text, is_quoted: began_quoted });
    }
    words
}

fn term(word: &Word) -> Result<Option<Term>, String> {
    let (negated, rest) = word.text.strip_prefix('!').map_or((false, word.text.as_str()), |rest| (true, rest));
    let Some((key, value)) = rest.split_once(':').filter(|_| !word.is_quoted) else { return Ok(None) };
    let is_key = key.starts_with(|c: char| c.is_ascii_lowercase())
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
    // `ValueError: bad` and addresses are texts.
    if !is_key || value.is_empty() || value.starts_with("//") {
        return Ok(None);
    }
    let value = value.to_owned();
    let what = match key {
        "is" => match value.as_str() {
            "assigned" => What::Assigned,
            "unassigned" => return Ok(Some(Term { negated: !negated, what: What::Assigned })),
            "merged" => What::Merged,
            "regressed" => What::Regressed,
            status => match IssueStatus::from_name(status) {
                Some(status) => What::Status(status.name()),
                None => return Err(format!("`is:{status}`: expected one of {}{}", IS.join(", "), suggestion(status, IS))),
            },
        },
        "level" => match watchfire_types::Severity::from_text(&value) {
            Some(_) => What::Level(value),
            None => return Err(format!("`level:{value}` is none of debug, info, warning, error, critical")),
        },
        "service" => What::Column("i.service", value),
        "type" => What::Column("i.kind", value),
        "title" => What::Column("i.title", value),
        "culprit" => What::Column("i.culprit", value),
        "assigned" => What::Column("i.assigned_to", value),
        "has" => What::Has(value),
        "tag" => match value.split_once('=') {
            Some((key, value)) if !key.is_empty() && !value.is_empty() => What::Tag(key.to_owned(), value.to_owned()),
            _ => What::Has(value),
        },
        key => What::Tag(key.to_owned(), value),
    };
    Ok(Some(Term { negated, what }))
}

/// Returns `value` as `LIKE` understands it.
fn pattern(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    escaped.replace('*', "%")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sql(query: &str) -> String {
        let (mut sql, mut values) = (String::new(), Vec::new());
        Search::parse(query).unwrap().conditions(&mut sql, &mut values);
        sql.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn words_with_a_colon_are_conditions_and_the_rest_is_text() {
        let search =
            Search::parse(r#"is:unresolved release:shop@1.* !level:fatal "is:quoted" ValueError: bad http://x no"#).unwrap();
        assert_eq!(search.text, "is:quoted ValueError: bad http://x no");
        let whats: Vec<_> = search.terms.iter().map(|term| (term.negated, term.what.clone())).collect();
        assert_eq!(
            whats,
            [
                (false, What::Status("unresolved")),
                (false, What::Tag("release".into(), "shop@1.*".into())),
                (true, What::Level("fatal".into()))
            ]
        );
        assert_eq!(Search::parse("tag:route=/pay").unwrap(), Search::parse("route:/pay").unwrap());
        assert_eq!(Search::parse("is:unassigned").unwrap(), Search::parse("!is:assigned").unwrap());
        assert_eq!(pattern("50%_*"), "50\\%\\_%");
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert!(Search::parse("is:resolvd").unwrap_err().contains("did you mean `resolved`?"));
        assert!(Search::parse("level:bad").is_err());
        assert!(Search::parse(&"a".repeat(3_000)).is_err());
    }

    proptest! {
        #[test]
        fn no_query_breaks_out_of_its_conditions(query in "\\PC{0,40}") {
            if let Ok(search) = Search::parse(&query) {
                let (mut sql, mut values) = (String::new(), Vec::new());
                search.conditions(&mut sql, &mut values);
                prop_assert_eq!(sql.matches('?').count(), values.len());
                prop_assert_eq!(sql.matches('(').count(), sql.matches(')').count());
            }
        }
    }

    #[test]
    fn conditions_are_joined() {
        assert_eq!(sql("service:shop"), "AND (i.service = ? COLLATE NOCASE)");
    }
}
