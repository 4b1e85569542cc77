//! Finds the patterns that log lines are made from.
//!
//! A [`Miner`] gives each line the id of its pattern: `Accepted password for alice from 10.0.0.1 port 4711` and the same for `bob`
//! have one, whose template is `Accepted password for <*> from <*> port <*>`. There is no configuration per source of lines.
//!
//! ```
//! let mut miner = watchfire_patterns::Miner::new(watchfire_patterns::Settings::default());
//! let mut last = 0;
//! let mut next_id = || { last += 1; last };
//! let a = miner.assign(b"connection from 10.0.0.1 closed after 12 ms", &mut next_id);
//! let b = miner.assign(b"connection from 10.0.0.77 closed after 3 ms", &mut next_id);
//! assert_eq!(a, b);
//! assert_eq!(miner.template(a).as_deref(), Some("connection from <*> closed after <*> ms"));
//! ```
//!
//! Two stages. The first sees every line: one pass over its bytes tells words from values, and a hash of the words and of where the
//! values stand is looked up. The second sees only what was new to the first, and finds the places where words differ.
//!
//! Pure computation: no IO, no clock, no randomness. The same lines in the same order always get the same ids, on every machine.
#![warn(missing_docs)]

mod align;
mod bytes;
mod chunk;
mod coarse;
mod header;
mod index;
mod json;
mod line;
mod logfmt;
mod miner;
mod scan;
mod settle;
mod shape;
mod stamp;
mod stored;
mod texts;
mod variables;
mod vocabulary;
mod wide;

pub use header::message_start;
pub use miner::{Changes, Miner, Settings};
pub use shape::HOLE;
pub use stored::StoredPattern;
pub use variables::variables;
