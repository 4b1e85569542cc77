//! Logs, metrics and errors of a Rust program, sent to watchfire or to any other backend that takes OpenTelemetry (OTLP over HTTP).
//!
//! ```
//! use watchfire_client::{ErrorSeverity, capture_error, fields, get_logger, increment_counter, monitor_execution};
//!
//! #[monitor_execution(metric_name = "data_processing")]
//! fn process_data(lines: &[&str]) -> Result<u32, std::num::ParseIntError> {
//!     lines.iter().map(|line| line.parse::<u32>()).sum()
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! watchfire_client::init()?;
//! let _guard = watchfire_client::guard();
//!
//! get_logger("shop").info_with("user logged in", fields! { user_id: "12345" });
//! increment_counter("user_registrations", 1, &[("plan", "premium")]);
//! assert_eq!(process_data(&["1", "2"])?, 3);
//! if let Err(error) = std::fs::read("/does/not/exist") {
//!     capture_error(&error, ErrorSeverity::High);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Nothing here blocks, and nothing panics: what the program says waits in a bounded queue for a thread that sends it, and what does not fit is dropped and counted.

#![warn(missing_docs)]

// The macros' code names this crate, also within it.
extern crate self as watchfire_client;

mod ask;
mod clock;
mod components;
mod config;
mod context;
mod errors;
mod export;
mod extend;
mod global;
mod layer;
mod level;
mod logger;
mod metrics;
mod panic;
mod process;
mod queue;
mod record;
#[cfg(feature = "tower")]
mod tower;
mod traits;
mod value;

use __private::call as private_call;

#[doc(hidden)]
#[path = "private/mod.rs"]
pub mod __private;

pub use ask::{
    Alert, AlertLevel, AlertRule, Anomaly, AnomalyList, AskError, Asked, Comparison, ErrorStatistics, Health, LogEntry, NetworkIo,
    Pattern, PatternList, RuleState, Share, TopIssue, add_rule, create_error_rule, create_metric_rule, generate_analysis_report,
    get_active_alerts, get_error_statistics, get_recent_anomalies, get_system_health, get_top_patterns, remove_rule, search_logs,
};
pub use components::{Component, Components, components};
pub use config::{Config, ConfigError};
pub use context::traceparent;
pub use errors::{Capturable, CarriesError, ErrorReport, IsError, capture_error, capture_error_with, capture_message};
pub use extend::{
    Finding, LogAnalyzer, Notification, NotificationChannel, NotifiedAlert, Refused, Registration, Selection, add_analyzer,
    add_notification_channel,
};
pub use global::{Guard, InitError, flush, guard, init, init_with, shutdown};
pub use layer::{MonitorLayer, layer};
pub use level::{ErrorSeverity, Level};
pub use logger::{Logger, get_logger};
pub use metrics::{
    Counter, Gauge, Timer, add_to_gauge, counter, gauge, increment_counter, record_histogram, record_timer, set_gauge, timer,
};
#[cfg(feature = "tower")]
pub use tower::{RequestFuture, RequestLayer, RequestService};
pub use traits::{Rows, StatusOf};
pub use value::{Fields, Number, Value};
pub use watchfire_client_macros::{
    monitor_api_request, monitor_database_operation, monitor_execution, monitor_task_execution, track_errors,
};
