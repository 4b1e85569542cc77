//! OpenTelemetry's severity numbers, the first of each range.

/// Finer than debugging.
pub const TRACE: u8 = 1;
/// For debugging.
pub const DEBUG: u8 = 5;
/// Something happened.
pub const INFO: u8 = 9;
/// Something is not as it should be.
pub const WARN: u8 = 13;
/// Something failed.
pub const ERROR: u8 = 17;
/// Something must be done now: `CRITICAL` of alerts.
pub const FATAL: u8 = 21;
