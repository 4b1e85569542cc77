//! How serious a record or an alert is, in OpenTelemetry's numbers.

use std::fmt;

/// OpenTelemetry severity number: 1 to 24, 0 when unset.
///
/// Source: OpenTelemetry logs data model, "Field: `SeverityNumber`".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Severity(pub u8);

impl Severity {
    /// Not given.
    pub const UNSET: Self = Self(0);
    /// 1.
    pub const TRACE: Self = Self(1);
    /// 5.
    pub const DEBUG: Self = Self(5);
    /// 9.
    pub const INFO: Self = Self(9);
    /// 13.
    pub const WARN: Self = Self(13);
    /// 17.
    pub const ERROR: Self = Self(17);
    /// 21.
    pub const FATAL: Self = Self(21);

    /// Returns the severity that `text` names in any of the usual spellings, in any case: `warn`, `WARNING`, `crit`, `I`, syslog's words.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let mut buffer = [0_u8; 13];
        let lower = buffer.get_mut(..text.len())?;
        lower.copy_from_slice(text.as_bytes());
        lower.make_ascii_lowercase();
        Some(match &*lower {
            b"trace" | b"verbose" | b"finest" | b"finer" => Self::TRACE,
            b"debug" | b"fine" | b"dbg" | b"d" => Self::DEBUG,
            b"info" | b"information" | b"informational" | b"inf" | b"i" => Self::INFO,
            b"notice" => Self(10),
            b"warn" | b"warning" | b"wrn" | b"w" => Self::WARN,
            b"error" | b"err" | b"severe" | b"e" => Self::ERROR,
            b"critical" | b"crit" => Self(21),
            b"alert" => Self(22),
            b"fatal" | b"panic" | b"f" => Self::FATAL,
            b"emerg" | b"emergency" => Self(24),
            _ => return None,
        })
    }

    /// Returns the short upper-case name of its range: `INFO` for 9 to 12; empty when unset.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            1..=4 => "TRACE",
            5..=8 => "DEBUG",
            9..=12 => "INFO",
            13..=16 => "WARN",
            17..=20 => "ERROR",
            21..=24 => "FATAL",
            _ => "",
        }
    }

    /// Returns the severity of a syslog priority value (RFC 5424, table 2), mapped as OpenTelemetry's data model appendix does.
    #[must_use]
    pub const fn from_syslog(severity: u8) -> Self {
        match severity & 7 {
            0 => Self(24),
            1 => Self(22),
            2 => Self(21),
            3 => Self::ERROR,
            4 => Self::WARN,
            5 => Self(10),
            6 => Self::INFO,
            _ => Self::DEBUG,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
