//! The search language: read, printed, made ready, run.
//!
//! `parse` turns text into the tree of `ast`, and `print` turns it back; `node` is a tree made ready to look at rows.

pub mod api;
pub mod ast;
pub mod bits;
pub mod complete;
pub mod context;
mod cursor;
pub mod export;
pub mod field;
pub mod group;
pub mod histogram;
pub mod node;
mod parquet;
mod parse;
mod parse_pipes;
pub mod pattern;
pub mod plan;
mod print;
pub mod run;
pub mod scan;
pub mod sketch;
mod sorted;
pub mod table;
pub mod term;

#[cfg(test)]
mod tests;

pub use ast::{Expr, Query};
pub use cursor::QueryError;
pub use field::Field;

/// Compiles a regular expression as queries have them: over bytes, with a bound on its memory.
fn regex(text: &str) -> Result<regex::bytes::Regex, regex::Error> {
    regex::bytes::RegexBuilder::new(text).size_limit(parse::MAX_REGEX_BYTES).build()
}
