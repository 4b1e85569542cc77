//! Why a plugin says no.

use crate::Error;

/// Why. What an answer holds as `code`.
const CONFIGURATION: u16 = 1;
const INPUT: u16 = 2;
const REFUSED: u16 = 3;
const QUOTA: u16 = 4;
const INTERNAL: u16 = 5;

impl Error {
    /// Something in the configuration is wrong: the message begins with the key.
    pub fn configuration(message: impl Into<String>) -> Self {
        Self::with_code(CONFIGURATION, message)
    }

    /// What was given makes no sense.
    pub fn input(message: impl Into<String>) -> Self {
        Self::with_code(INPUT, message)
    }

    /// The host, or the service, does not allow it.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::with_code(REFUSED, message)
    }

    /// It would be too much.
    pub fn quota(message: impl Into<String>) -> Self {
        Self::with_code(QUOTA, message)
    }

    /// The plugin itself is at fault.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::with_code(INTERNAL, message)
    }

    fn with_code(code: u16, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), extra: Vec::new() }
    }
}

/// A value that cannot be written or read as JSON is the plugin's own fault.
impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::internal(error.to_string())
    }
}
