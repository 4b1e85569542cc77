//! A host for unit tests: what a plugin does natively, it does with this one.
//!
//! [`ChannelTester`] and [`AnalyzerTester`] drive a plugin as the host does and show what came of it; [`FakeHost`] alone is for testing
//! smaller pieces.

mod analyzer;
mod batch;
mod channel;
pub(crate) mod host;
mod notification;
mod parser;
mod placeholders;

pub use analyzer::AnalyzerTester;
pub use batch::{BatchBuilder, Record};
pub use channel::{ChannelTester, Delivered, SentRequest, reply};
pub use host::{FakeHost, Line};
pub use notification::{alert, notification};
pub use parser::{ParsedLine, ParserTester};
