//! Lines in the host's own log, under the plugin's name. The host limits their rate.

use crate::imports::logging;

/// Writes a line with fields.
pub fn write(severity: u8, message: &str, fields: &[(String, String)]) {
    logging::log(severity, message, fields);
}

/// Writes a line for debugging, formatted as by [`format!`].
#[macro_export]
macro_rules! debug {
    ($($text:tt)*) => { $crate::log::write($crate::severity::DEBUG, &::std::format!($($text)*), &[]) };
}

/// Writes a line about something that happened, formatted as by [`format!`].
#[macro_export]
macro_rules! info {
    ($($text:tt)*) => { $crate::log::write($crate::severity::INFO, &::std::format!($($text)*), &[]) };
}

/// Writes a line about something that is not as it should be, formatted as by [`format!`].
#[macro_export]
macro_rules! warn {
    ($($text:tt)*) => { $crate::log::write($crate::severity::WARN, &::std::format!($($text)*), &[]) };
}

/// Writes a line about something that failed, formatted as by [`format!`].
#[macro_export]
macro_rules! error {
    ($($text:tt)*) => { $crate::log::write($crate::severity::ERROR, &::std::format!($($text)*), &[]) };
}
