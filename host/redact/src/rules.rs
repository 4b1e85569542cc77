//! Looks closer at a candidate: is it a secret, and which bytes are it?

use crate::scan::Look;
use crate::settings::Rule;
use crate::{network, numbers, secrets};

/// Bytes of a row that a rule takes for its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) rule: Rule,
    /// Whether its place must not be left empty, because what follows would be taken for the secret then.
    pub(crate) keeps_place: bool,
}

impl Found {
    pub(crate) fn new(rule: Rule, start: usize, end: usize) -> Self {
        Self { start, end, rule, keeps_place: false }
    }
}

/// Returns what stands in `row` at or around `at`, where something was seen that `look` names.
pub(crate) fn look(row: &[u8], at: usize, look: Look, is_on: &dyn Fn(Rule) -> bool) -> Option<Found> {
    debug_assert!(at < row.len());
    let found = match look {
        Look::Key => secrets::key_value(row, at),
        Look::Scheme => secrets::scheme(row, at),
        Look::Url => secrets::url(row, at),
        Look::Pem => secrets::pem(row, at),
        Look::Prefix => secrets::prefix(row, at),
        Look::Jwt => secrets::jwt(row, at),
        Look::Digits => return numbers::digits(row, at, is_on),
        Look::Ssn => numbers::ssn(row, at),
        Look::At => network::email(row, at),
        Look::Dotted => network::ip_v4(row, at),
        Look::Separator => return network::separator(row, at, is_on),
        Look::Path => network::user_path(row, at),
    };
    found.filter(|found| is_on(found.rule))
}

/// Returns how many bytes from `start` on `is_part` of something.
pub(crate) fn run(row: &[u8], start: usize, is_part: impl Fn(u8) -> bool) -> usize {
    row[start.min(row.len())..].iter().take_while(|byte| is_part(**byte)).count()
}

/// Returns how many bytes before `end` `is_part` of something.
pub(crate) fn run_before(row: &[u8], end: usize, is_part: impl Fn(u8) -> bool) -> usize {
    row[..end].iter().rev().take_while(|byte| is_part(**byte)).count()
}

/// Returns whether no letter or digit stands before `start`.
pub(crate) fn begins(row: &[u8], start: usize) -> bool {
    start == 0 || !(row[start - 1].is_ascii_alphanumeric() || row[start - 1] == b'_')
}

/// Returns whether no letter or digit stands at `end`.
pub(crate) fn ends(row: &[u8], end: usize) -> bool {
    row.get(end).is_none_or(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'_'))
}

/// Returns whether `row` is JSON, or begins like it.
pub(crate) fn is_json(row: &[u8]) -> bool {
    matches!(row.iter().find(|byte| !byte.is_ascii_whitespace()), Some(b'{' | b'['))
}
