//! Points in time and days, UTC.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const NANOS_PER_SECOND: u64 = 1_000_000_000;
const NANOS_PER_DAY: u64 = 86_400 * NANOS_PER_SECOND;

/// Nanoseconds since the Unix epoch, UTC, as in OpenTelemetry's `time_unix_nano`.
///
/// In JSON a string of RFC 3339 with up to nine decimals. The range ends in the year 2554.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The epoch; OpenTelemetry's "unknown".
    pub const ZERO: Self = Self(0);
    /// The last moment that fits a signed 64-bit integer of nanoseconds (the year 2262): what a store can keep.
    pub const MAX: Self = Self(i64::MAX as u64);

    /// Returns the moment `nanos` nanoseconds after the epoch.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Returns the moment `millis` milliseconds after the epoch, or the latest one if that is out of range.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Returns the moment `seconds` seconds after the epoch, or the latest one if that is out of range.
    #[must_use]
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(NANOS_PER_SECOND))
    }

    /// Returns the moment that a number of seconds, milliseconds, microseconds or nanoseconds since 1970 says, told apart by size.
    #[must_use]
    pub const fn from_epoch(number: u64) -> Self {
        match number {
            0..=99_999_999_999 => Self::from_seconds(number),
            100_000_000_000..=99_999_999_999_999 => Self::from_millis(number),
            100_000_000_000_000..=99_999_999_999_999_999 => Self(number.saturating_mul(1_000)),
            _ => Self(number),
        }
    }

    /// Returns nanoseconds since the epoch.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns whole milliseconds since the epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Returns seconds since the epoch, with a fraction, as Prometheus writes time.
    #[must_use]
    pub fn as_seconds_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// Returns the UTC day it falls on.
    #[must_use]
    pub const fn day(self) -> Day {
        Day((self.0 / NANOS_PER_DAY) as u32)
    }

    /// Returns the time passed since `earlier`, zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Returns the moment `duration` later, stopping at the end of the range.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Returns the moment `duration` earlier, stopping at the epoch.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(timestamp) => timestamp.fmt(f),
            Err(_) => write!(f, "{}ns", self.0),
        }
    }
}

/// Why a text is not a point in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time: expected RFC 3339 such as `2026-11-22T08:30:00Z`, or seconds since 1970")]
pub struct ParseTimestampError(pub String);

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    /// Reads RFC 3339, or a number of seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by size.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseTimestampError(text.chars().take(80).collect());
        if let Ok(number) = text.parse::<u64>() {
            return Ok(Self::from_epoch(number));
        }
        if let Ok(seconds) = text.parse::<f64>()
            && (0.0..1e11).contains(&seconds)
        {
            return Ok(Self((seconds * 1e9) as u64));
        }
        let parsed: jiff::Timestamp = text.parse().map_err(|_| error())?;
        u64::try_from(parsed.as_nanosecond()).map(Self).map_err(|_| error())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl utoipa::PartialSchema for Timestamp {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .format(Some(utoipa::openapi::SchemaFormat::KnownFormat(utoipa::openapi::KnownFormat::DateTime)))
            .into()
    }
}

impl utoipa::ToSchema for Timestamp {}

/// A UTC day, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub u32);

impl Day {
    /// Returns its first moment.
    #[must_use]
    pub const fn start(self) -> Timestamp {
        Timestamp(self.0 as u64 * NANOS_PER_DAY)
    }

    /// Returns the day after it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Day {
    /// Writes `2026-11-22`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.start().to_string();
        f.write_str(text.split('T').next().unwrap_or(&text))
    }
}

impl FromStr for Day {
    type Err = ParseTimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 10 {
            return Err(ParseTimestampError(text.chars().take(80).collect()));
        }
        Ok(format!("{text}T00:00:00Z").parse::<Timestamp>()?.day())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_back_from_what_it_prints() {
        let moment = Timestamp::from_nanos(1_795_391_047_123_456_789);
        assert_eq!(moment.to_string().parse(), Ok(moment));
        assert_eq!(moment.day().to_string().parse(), Ok(moment.day()));
    }

    #[test]
    fn numbers_are_told_apart_by_size() {
        let moment = Timestamp::from_seconds(1_795_391_047);
        for text in ["1795391047", "1795391047000", "1795391047000000", "1795391047000000000", "1795391047.0"] {
            assert_eq!(text.parse(), Ok(moment), "{text}");
        }
    }
}
