//! What the attribute macros call. Not for anyone else: it changes without notice.

pub(crate) mod call;
mod probe;

pub use call::{Call, Monitor, Site, run, run_async};
pub use probe::{
    Argument, ArgumentDebug, ArgumentOther, FailureAny, FailureBoxed, FailureCarried, FailureDebug, FailureDisplay, FailureError,
    FailureResult, Probe, RowsAny, RowsResult, RowsValue, StatusAny, StatusKnown, StatusOfError, StatusOfResponse, StatusPair,
    StatusResult,
};

pub use crate::Fields;

/// What an argument is shown as whose name says that it is a secret.
pub const REDACTED: &str = "[redacted]";
