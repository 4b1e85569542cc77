//! A report of a number of hours: what there is to tell ([`types`]), how metrics go ([`trend`]), and how it reads: as Markdown
//! ([`markdown`]) or as one HTML file ([`html`]) with charts ([`chart`]), in English and Chinese ([`words`]).
//!
//! Pure: who has the data fills in a [`Report`]. Text in it is from outside, and each format escapes it.

pub mod chart;
pub mod html;
pub mod markdown;
pub mod sentences;
pub mod trend;
pub mod types;
pub mod words;

pub use jiff::tz::TimeZone;
pub use types::Report;
pub use words::Lang;
