//! Errors, as far as they are known yet: log records that carry an exception, seen as error events.
//!
//! There is no store here: an event is read from its log record each time it is asked for.

pub mod api;
pub mod types;
