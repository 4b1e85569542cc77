//! Puts the pipes of a query into the order in which they can be run.

use super::ast::{Aggregate, Function, Key, Pipe, Query, SortKey};
use super::field::Field;

/// What is made of the matching records before anything else.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Records, the newest first.
    Newest {
        /// At most so many.
        limit: Option<u64>,
    },
    /// The first records in another order.
    Sorted {
        /// The order.
        keys: Vec<SortKey>,
        /// At most so many.
        limit: Option<u64>,
    },
    /// Groups of all records, or of the newest ones.
    Groups {
        /// What tells them apart.
        by: Vec<Key>,
        /// What is computed of each.
        columns: Vec<Aggregate>,
        /// Only so many of the newest records count.
        of_newest: Option<u64>,
    },
}

/// A query in steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// First.
    pub source: Source,
    /// Which fields of records are shown, if not all.
    pub fields: Option<Vec<Field>>,
    /// What is done with the rows of groups, in this order.
    pub then: Vec<Pipe>,
    /// Whether each row of groups also says which part of all it is.
    pub with_share: bool,
    /// Whether records that have none of the keys are left out.
    pub only_present: bool,
}

impl Plan {
    /// Plans `query`.
    ///
    /// # Errors
    /// Says what does not go together.
    pub fn new(query: &Query) -> Result<Self, String> {
        let mut limit: Option<u64> = None;
        let mut keys: Option<Vec<SortKey>> = None;
        let mut fields: Option<Vec<Field>> = None;
        let least = |limit: Option<u64>, count: u64| Some(limit.map_or(count, |limit| limit.min(count)));
        let mut pipes = query.pipes.iter();
        while let Some(pipe) = pipes.next() {
            let (by, columns) = match pipe {
                Pipe::Limit(count) => {
                    limit = least(limit, *count);
                    continue;
                }
                Pipe::Sort(by) => {
                    if keys.is_some() || limit.is_some() {
                        return Err("records are sorted once, and before `limit`: sort by several fields with `sort a, b`".into());
                    }
                    keys = Some(by.clone());
                    continue;
                }
                Pipe::Fields(only) => {
                    fields = Some(only.clone());
                    continue;
                }
                Pipe::Where(_) => {
                    return Err(
                        "`where` looks at the rows of `stats`, `top` or `uniq`: write a condition on records before the first `|`"
                            .into(),
                    );
                }
                Pipe::Stats { columns, by } => (by.clone(), columns.clone()),
                Pipe::Top { by, .. } => (of_fields(by), vec![count()]),
                Pipe::Uniq { by } => (of_fields(by), Vec::new()),
            };
            if keys.is_some() {
                return Err("`sort` before `stats`, `top` or `uniq` changes nothing: write it behind".into());
            }
            return Self {
                source: Source::Groups { by, columns, of_newest: limit },
                fields: None,
                then: of_top(pipe).into_iter().chain(pipes.cloned()).collect(),
                with_share: matches!(pipe, Pipe::Top { .. }),
                only_present: !matches!(pipe, Pipe::Stats { .. }),
            }
            .checked();
        }
        let source = match keys {
            Some(keys) => Source::Sorted { keys, limit },
            None => Source::Newest { limit },
        };
        Ok(Self { source, fields, then: Vec::new(), with_share: false, only_present: false })
    }

    fn checked(self) -> Result<Self, String> {
        let again = self.then.iter().find(|pipe| matches!(pipe, Pipe::Stats { .. } | Pipe::Top { .. } | Pipe::Uniq { .. }));
        match again {
            Some(pipe) => {
                Err(format!("`{pipe}` cannot group what is grouped already: `count_distinct(field)` counts distinct values"))
            }
            None => Ok(self),
        }
    }

    /// Returns whether it answers records as they are.
    #[must_use]
    pub fn is_of_records(&self) -> bool {
        !matches!(self.source, Source::Groups { .. }) && self.fields.is_none()
    }
}

fn of_fields(fields: &[Field]) -> Vec<Key> {
    fields.iter().cloned().map(Key::Field).collect()
}

fn count() -> Aggregate {
    Aggregate { function: Function::Count, field: None, name: None }
}

/// Returns what `top` does with its groups.
fn of_top(pipe: &Pipe) -> Vec<Pipe> {
    let Pipe::Top { count, .. } = pipe else { return Vec::new() };
    vec![Pipe::Sort(vec![SortKey { name: "count".into(), descending: true }]), Pipe::Limit(*count)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Result<Plan, String> {
        Plan::new(&Query::parse(text).unwrap())
    }

    #[test]
    fn pipes_that_commute_are_put_in_order() {
        let newest = plan("a | limit 5 | fields body | limit 3").unwrap();
        assert_eq!((newest.source, newest.fields), (Source::Newest { limit: Some(3) }, Some(vec![Field::Body])));
        let sorted = plan("| fields a | sort a | limit 2").unwrap();
        assert!(matches!(sorted.source, Source::Sorted { limit: Some(2), .. }));
        let top = plan("| limit 100 | top 3 service | fields service").unwrap();
        assert!(matches!(top.source, Source::Groups { of_newest: Some(100), .. }));
        assert_eq!(top.then.len(), 3);
    }

    #[test]
    fn what_does_not_go_together_is_said() {
        for text in
            ["| where a>1", "| sort a | sort b", "| limit 3 | sort a", "| sort a | stats count", "| stats count by a | top a"]
        {
            assert!(plan(text).is_err(), "{text}");
        }
    }
}
