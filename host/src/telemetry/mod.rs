//! How the host watches itself: its own metrics and its own log.

pub mod catalogue;
pub mod own_log;
pub mod self_metrics;

pub use self_metrics::{Counter, Gauge, SelfMetrics};
