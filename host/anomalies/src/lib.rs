//! What is unusual in counts of log records, and how sure that is.
//!
//! [`stats`] has the statistics, [`window`] the counts, [`past`] what counts were usual, [`detect`] one module for each question,
//! [`engine`] puts the questions to each window and keeps account of what is unusual at present. Pure: no IO, no clock; what was
//! counted earlier comes through a trait, and what follows is returned.

pub mod detect;
pub mod engine;
pub mod found;
pub mod ledger;
pub mod past;
pub mod settings;
pub mod stats;
pub mod window;

pub use engine::{Engine, Observed, Step};
pub use found::{Anomaly, Detector, Direction, Evidence, Expected, Readiness};
pub use past::{Memory, Past};
pub use settings::Settings;
pub use window::{DayCounts, Key, Series, SourceId, Window};
