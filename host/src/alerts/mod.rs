//! The alert engine: rules over metrics and logs, their states, and who is told.

pub mod annotations;
pub mod duration;
pub mod engine;
pub mod identity;
pub mod types;
pub mod windows;
