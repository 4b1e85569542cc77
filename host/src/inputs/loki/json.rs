//! Push requests in JSON: `{"streams": [{"stream": {"app": "shop"}, "values": [["<nanoseconds>", "line", {"user": "7"}]]}]}`.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use watchfire_types::Timestamp;

use super::record::{Collector, Decoded, NotPush};
use crate::inputs::builder::OverBudget;

#[derive(Deserialize)]
struct Push<'a> {
    #[serde(borrow, default)]
    streams: Vec<Stream<'a>>,
}

#[derive(Deserialize)]
struct Stream<'a> {
    #[serde(borrow, default)]
    stream: Pairs<'a>,
    #[serde(borrow, default)]
    values: Vec<Entry<'a>>,
}

/// Reads a push request into at most about `budget` bytes of columns.
///
/// # Errors
/// See [`NotPush`].
pub(super) fn decode(bytes: &[u8], now: Timestamp, budget: usize) -> Result<Decoded, NotPush> {
    // An entry takes a hundred bytes in memory and as few as seven on the wire, so they are counted before they are read.
    if memchr::memchr2_iter(b'[', b'{', bytes).count() > budget / size_of::<Entry<'_>>() {
        return Err(OverBudget { budget }.into());
    }
    let push: Push<'_> = serde_json::from_slice(bytes)?;
    let mut collector = Collector::new(now, budget);
    for stream in &push.streams {
        collector.stream(&stream.stream.0);
        for entry in &stream.values {
            match entry.time.0 {
                Some(time) => collector.entry(time, &entry.line.0, &entry.metadata.0)?,
                None => collector.refuse(1, || "the time of a line is not a text of nanoseconds since 1970".to_owned()),
            }
        }
    }
    Ok(collector.finish())
}

/// `["<nanoseconds>", "line"]`, perhaps with an object of structured metadata after it.
struct Entry<'a> {
    time: Time,
    line: Text<'a>,
    metadata: Pairs<'a>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Entry<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;
        impl<'de> Visitor<'de> for Items {
            type Value = Entry<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of a time, a line and perhaps an object")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Entry<'de>, A::Error> {
                let time = seq.next_element()?.ok_or_else(|| de::Error::invalid_length(0, &self))?;
                let line = seq.next_element()?.ok_or_else(|| de::Error::invalid_length(1, &self))?;
                let metadata = seq.next_element()?.unwrap_or_default();
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Entry { time, line, metadata })
            }
        }
        deserializer.deserialize_seq(Items)
    }
}

/// Nanoseconds since 1970 as text; some clients send a number.
struct Time(Option<Timestamp>);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Nanos;
        impl Visitor<'_> for Nanos {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text of nanoseconds since 1970")
            }

            fn visit_str<E>(self, text: &str) -> Result<Time, E> {
                Ok(Time(text.parse().ok().map(Timestamp::from_nanos)))
            }

            fn visit_u64<E>(self, nanos: u64) -> Result<Time, E> {
                Ok(Time(Some(Timestamp::from_nanos(nanos))))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Time, E> {
                Ok(Time(None))
            }

            fn visit_f64<E>(self, nanos: f64) -> Result<Time, E> {
                Ok(Time((nanos >= 0.0).then(|| Timestamp::from_nanos(nanos as u64))))
            }
        }
        deserializer.deserialize_any(Nanos)
    }
}

/// Text that is copied only if it has an escape.
#[derive(Default)]
struct Text<'a>(Cow<'a, str>);

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrow;
        impl<'de> Visitor<'de> for Borrow {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Borrow)
    }
}

/// An object of texts, in its order.
#[derive(Default)]
struct Pairs<'a>(Vec<(Text<'a>, Text<'a>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }

            fn visit_unit<E>(self) -> Result<Pairs<'de>, E> {
                Ok(Pairs::default())
            }
        }
        deserializer.deserialize_any(Entries)
    }
}
