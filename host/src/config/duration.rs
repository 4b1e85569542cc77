//! Durations as people write them: the one type and the one deserialiser for every duration of the configuration.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Units from the largest to the smallest, in milliseconds.
const UNITS: [(&str, u64); 6] =
    [("w", 7 * 86_400_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A hundred years: far enough that a deadline made of it still fits every clock.
const MAX_MILLIS: u64 = 36_500 * 86_400_000;

/// A length of time: an integer (seconds) or text such as `90s`, `5m`, `1h30m`, `250ms`, `30d`. Resolution: one millisecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

/// Why a text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseDurationError {
    /// It is written in another way.
    #[error("expected a duration: whole seconds, or text such as `90s`, `5m`, `1h30m`, `250ms`")]
    Form,
    /// It is longer than a hundred years.
    #[error("expected a duration of at most 100 years")]
    TooLong,
}

impl HumanDuration {
    /// Returns a duration of `seconds`.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    fn from_millis(millis: u64) -> Result<Self, ParseDurationError> {
        if millis > MAX_MILLIS {
            return Err(ParseDurationError::TooLong);
        }
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl FromStr for HumanDuration {
    type Err = ParseDurationError;

    /// Reads whole seconds, or numbers with a unit each, the larger unit first.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(seconds) = text.parse::<u64>() {
            return Self::from_millis(seconds.checked_mul(1_000).ok_or(ParseDurationError::TooLong)?);
        }
        let mut rest = text;
        let mut units = UNITS.iter();
        let mut total = 0_u64;
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let letters = rest[digits..].len() - rest[digits..].trim_start_matches(|c: char| c.is_ascii_lowercase()).len();
            let (number, unit) = (&rest[..digits], &rest[digits..digits + letters]);
            let number: u64 = number.parse().map_err(|_| ParseDurationError::Form)?;
            // `find` goes on where it stopped, so a unit can neither repeat nor follow a smaller one.
            let (_, millis) = units.find(|(name, _)| *name == unit).ok_or(ParseDurationError::Form)?;
            total = number.checked_mul(*millis).and_then(|part| total.checked_add(part)).ok_or(ParseDurationError::TooLong)?;
            rest = &rest[digits + letters..];
        }
        if text.is_empty() { Err(ParseDurationError::Form) } else { Self::from_millis(total) }
    }
}

impl fmt::Display for HumanDuration {
    /// Writes the shortest text that reads back equal, down to milliseconds: `1h30m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if left == 0 {
            return f.write_str("0s");
        }
        for (unit, millis) in UNITS {
            // Weeks are read but not written: `30d` says more than `4w2d`.
            if unit != "w" && left >= millis {
                write!(f, "{}{unit}", left / millis)?;
                left %= millis;
            }
        }
        Ok(())
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = HumanDuration;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration: whole seconds, or text such as `90s`, `5m`, `1h30m`, `250ms`")
            }
            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<HumanDuration, E> {
                seconds.to_string().parse().map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<HumanDuration, E> {
                seconds.to_string().parse().map_err(E::custom)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<HumanDuration, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Name of the type in the JSON Schema; `shape` knows durations by it.
pub(super) const SCHEMA_NAME: &str = "Duration";

impl JsonSchema for HumanDuration {
    fn schema_name() -> Cow<'static, str> {
        SCHEMA_NAME.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A length of time: whole seconds, or text such as `90s`, `5m`, `1h30m`, `250ms`, `30d`.",
            "type": ["integer", "string"],
            "minimum": 0,
            "pattern": r"^([0-9]+|(?=.)([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$",
        })
    }
}

impl utoipa::PartialSchema for HumanDuration {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .description(Some("whole seconds, or text such as `90s`, `5m`, `1h30m`, `250ms`"))
            .examples(["5m"])
            .into()
    }
}

impl utoipa::ToSchema for HumanDuration {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(json: &str) -> Result<Duration, String> {
        serde_json::from_str::<HumanDuration>(json).map(|duration| duration.0).map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_and_texts_say_the_same() {
        for (json, millis) in [
            ("90", 90_000),
            (r#""90""#, 90_000),
            (r#""90s""#, 90_000),
            (r#""1m30s""#, 90_000),
            (r#""1h30m""#, 5_400_000),
            (r#""250ms""#, 250),
            (r#""1s250ms""#, 1_250),
            (r#""2w""#, 14 * 86_400_000),
            ("0", 0),
        ] {
            assert_eq!(read(json), Ok(Duration::from_millis(millis)), "{json}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_examples() {
        for json in
            [r#""""#, r#""5 m""#, r#""-5s""#, r#""m""#, r#""5m1h""#, r#""5m5m""#, r#""1.5h""#, r#""5x""#, "-1", "1.5", "true"]
        {
            let error = read(json).unwrap_err();
            assert!(error.contains("`5m`"), "{json}: {error}");
        }
        assert!(read("99999999999999").unwrap_err().contains("100 years"));
    }

    proptest! {
        #[test]
        fn a_duration_reads_back_from_what_it_prints(millis in 0..=MAX_MILLIS) {
            let duration = HumanDuration(Duration::from_millis(millis));
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,24}") {
            let _ = text.parse::<HumanDuration>();
        }
    }
}
