//! watchfire, a monitoring host: logs, metrics, errors and alerts in one binary.
//!
//! The map of the modules, and where to start reading, is in `ARCHITECTURE.md` beside this folder.

pub mod alerts;
pub mod analysis;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod delivery;
pub mod errors;
pub mod http;
pub mod inputs;
pub mod logs;
pub mod metrics;
pub mod nearest;
pub mod plugins;
pub mod redaction;
pub mod source_maps;
pub mod store;
pub mod telemetry;
