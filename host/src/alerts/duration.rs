//! Durations as people write them: `90`, `"90s"`, `"5m"`, `"1h30m"`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de};

/// Returns `duration` as it is written in a rule: `5m`, `1h 30m`, `250ms`.
#[must_use]
pub fn text(duration: Duration) -> String {
    match jiff::SignedDuration::try_from(duration) {
        Ok(duration) => format!("{duration:#}"),
        Err(_) => format!("{}s", duration.as_secs()),
    }
}

/// Reads whole seconds, or a number with units.
///
/// # Errors
/// Says what was expected.
pub fn parse(text: &str) -> Result<Duration, String> {
    let error = || format!("`{text}` is not a duration: expected seconds such as 90, or `90s`, `5m`, `1h30m`");
    if let Ok(seconds) = text.trim().parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let duration: jiff::SignedDuration = text.trim().parse().map_err(|_| error())?;
    Duration::try_from(duration).map_err(|_| error())
}

/// Serde: written as text, read from text or a number of seconds.
pub mod human {
    use super::{Deserialize, Deserializer, Duration, Serializer, de, parse, text};

    #[expect(clippy::missing_errors_doc, reason = "serde's contract")]
    /// Writes `5m`.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&text(*duration))
    }

    #[expect(clippy::missing_errors_doc, reason = "serde's contract")]
    /// Reads seconds or text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => parse(&text).map_err(de::Error::custom),
            serde_json::Value::Number(number) if number.as_u64().is_some() => {
                Ok(Duration::from_secs(number.as_u64().unwrap_or_default()))
            }
            other => Err(de::Error::custom(format!("{other} is not a duration: expected seconds or text such as `5m`"))),
        }
    }
}

/// The same for an optional duration.
pub mod optional {
    use super::{Deserialize, Deserializer, Duration, Serializer, human};

    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Wrapped(#[serde(with = "human")] Duration);

    #[expect(clippy::missing_errors_doc, reason = "serde's contract")]
    /// Writes `5m` or null.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => human::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    #[expect(clippy::missing_errors_doc, reason = "serde's contract")]
    /// Reads seconds, text or null.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Wrapped>::deserialize(deserializer)?.map(|wrapped| wrapped.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for seconds in [0, 1, 90, 300, 5400, 86_400] {
            let duration = Duration::from_secs(seconds);
            assert_eq!(parse(&text(duration)), Ok(duration), "{}", text(duration));
        }
        assert_eq!(parse("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("1h30m"), Ok(Duration::from_secs(5400)));
        assert!(parse("-5m").is_err());
        assert!(parse("soon").is_err());
    }
}
