//! The alert engine: rules over metrics and logs, their states, and who is told.

pub mod types;
