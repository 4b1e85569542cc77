//! Records and wire shapes shared by the watchfire host and its clients.
//!
//! Plain data: no IO, no async, no clock. Names follow OpenTelemetry for logs and Prometheus for metrics.
#![warn(missing_docs)]

pub mod attributes;
pub mod columns;
pub mod log;
pub mod metric;
pub mod severity;
pub mod time;

pub use attributes::{Attributes, Value, ValueRef};
pub use log::{LogBatch, LogRecord};
pub use metric::{MetricBatch, MetricKind, MetricPoint, Sample, SeriesKey};
pub use severity::Severity;
pub use time::{Day, Timestamp};
