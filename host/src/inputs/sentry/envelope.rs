//! The envelope of Sentry's protocol: a line of headers, then items, each with a line of headers and a payload.
//!
//! Source: develop.sentry.dev, "Envelopes". A payload is as long as its header says, or ends with its line; `\r` is part of it. Whatever
//! can be read is read: of an envelope that breaks off, the whole items before.

use serde_json::{Map, Value as JsonValue};

/// Most items of one envelope.
const MAX_ITEMS: usize = 1_000;

/// What can be read of an envelope.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Envelope<'a> {
    /// `event_id`, `dsn`, `sent_at` and others.
    pub headers: Map<String, JsonValue>,
    /// Its items, in their order.
    pub items: Vec<Item<'a>>,
    /// Why the rest could not be read; empty if all of it was.
    pub rest: String,
}

/// One item.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Item<'a> {
    /// `type`, `length`, `filename` and others.
    pub headers: Map<String, JsonValue>,
    /// Its bytes.
    pub payload: &'a [u8],
}

impl Item<'_> {
    /// Returns its type; empty if it has none.
    #[must_use]
    pub fn kind(&self) -> &str {
        text(&self.headers, "type")
    }
}

/// Returns text `key` of `map`; empty if there is none.
#[must_use]
pub fn text<'a>(map: &'a Map<String, JsonValue>, key: &str) -> &'a str {
    map.get(key).and_then(JsonValue::as_str).unwrap_or("")
}

/// Reads `bytes` as an envelope.
///
/// # Errors
/// If its first line is no JSON object: then it is no envelope at all.
pub fn parse(bytes: &[u8]) -> Result<Envelope<'_>, String> {
    let (first, mut rest) = line(bytes);
    let headers = object(first).map_err(|error| format!("an envelope begins with a line of headers, one JSON object: {error}"))?;
    let mut envelope = Envelope { headers, ..Envelope::default() };
    while !rest.is_empty() {
        // Some senders leave empty lines between items.
        if rest[0] == b'\n' {
            rest = &rest[1..];
            continue;
        }
        if envelope.items.len() == MAX_ITEMS {
            envelope.rest = format!("an envelope may have {MAX_ITEMS} items");
            break;
        }
        let place = envelope.items.len();
        let (header, after) = line(rest);
        let headers = match object(header) {
            Ok(headers) => headers,
            Err(error) => {
                envelope.rest = format!("item {place}: its line of headers is no JSON object: {error}");
                break;
            }
        };
        let length = headers.get("length").and_then(JsonValue::as_u64);
        let payload = length
            .map_or_else(|| Some(line(after).0), |length| usize::try_from(length).ok().and_then(|length| after.get(..length)));
        let Some(payload) = payload else {
            envelope.rest = format!("item {place}: its header says {} bytes, {} follow", length.unwrap_or(0), after.len());
            break;
        };
        rest = &after[payload.len()..];
        rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        envelope.items.push(Item { headers, payload });
    }
    Ok(envelope)
}

/// Splits off the first line, without what ends it.
fn line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'\n', bytes) {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, &[]),
    }
}

fn object(bytes: &[u8]) -> Result<Map<String, JsonValue>, serde_json::Error> {
    serde_json::from_slice(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds<'a>(envelope: &'a Envelope<'_>) -> Vec<(&'a str, &'a str)> {
        envelope.items.iter().map(|item| (item.kind(), str::from_utf8(item.payload).unwrap())).collect()
    }

    #[test]
    fn items_end_where_their_header_or_their_line_says() {
        let envelope = b"{\"event_id\":\"9ec79c33ec9942ab8353589fcb2e04dc\"}\n{\"type\":\"attachment\",\"length\":10}\n\xef\xbb\xbfHello\r\n\n{\"type\":\"event\",\"length\":2}\n{}\n{\"type\":\"x\"}\nto the line's end\r\n{\"type\":\"empty\",\"length\":0}\n\n{\"type\":\"last\"}";
        let envelope = parse(envelope).unwrap();
        assert_eq!(text(&envelope.headers, "event_id"), "9ec79c33ec9942ab8353589fcb2e04dc");
        assert_eq!(
            kinds(&envelope),
            [("attachment", "\u{feff}Hello\r\n"), ("event", "{}"), ("x", "to the line's end\r"), ("empty", ""), ("last", "")]
        );
        assert_eq!(envelope.rest, "");
        assert_eq!(parse(b"{}").unwrap(), Envelope::default());
    }

    #[test]
    fn what_can_be_read_before_a_break_is_read() {
        let cut = parse(b"{}\n{\"type\":\"event\",\"length\":2}\n{}\n{\"type\":\"event\",\"length\":20}\n{}").unwrap();
        assert_eq!((kinds(&cut), cut.rest.as_str()), (vec![("event", "{}")], "item 1: its header says 20 bytes, 2 follow"));
        let odd = parse(b"{}\n[]\n{}").unwrap();
        assert!(odd.items.is_empty() && odd.rest.starts_with("item 0: its line of headers"), "{odd:?}");
        for wrong in [&b""[..], b"\n", b"[]\n", b"no\n{}", b"\xff"] {
            assert!(parse(wrong).is_err());
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_and_nothing_makes_it_panic(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..6), cut in 0_usize..300, noise in any::<[u8; 4]>()
        ) {
            let mut bytes = b"{\"a\":1}\n".to_vec();
            for payload in &payloads {
                bytes.extend_from_slice(format!("{{\"type\":\"t\",\"length\":{}}}\n", payload.len()).as_bytes());
                bytes.extend_from_slice(payload);
                bytes.push(b'\n');
            }
            let whole = parse(&bytes).unwrap();
            prop_assert_eq!(whole.items.iter().map(|item| item.payload.to_vec()).collect::<Vec<_>>(), payloads);
            bytes.truncate(cut);
            bytes.extend_from_slice(&noise);
            if let Ok(envelope) = parse(&bytes) {
                prop_assert!(envelope.items.len() <= MAX_ITEMS);
            }
        }
    }
}
