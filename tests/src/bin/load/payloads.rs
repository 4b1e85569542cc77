//! The same records in the words of other protocols.

use std::fmt::Write as _;

use prost::Message;
use serde_json::{Map, Value, json};
use watchfire_types::Timestamp;

use crate::corpus::{Attribute, Line};

/// A push request of Loki in JSON: a stream for each level, as its clients make them, and attributes as structured metadata.
pub(crate) fn loki_json(lines: Vec<Line>, now: Timestamp) -> Vec<u8> {
    let mut streams: Map<String, Value> = Map::new();
    for line in lines {
        let metadata: Map<String, Value> = line.attributes.into_iter().map(|(key, value)| (key, text(value).into())).collect();
        let entry = json!([now.as_nanos().to_string(), line.body, metadata]);
        if let Some(entries) = streams.entry(line.severity.1).or_insert_with(|| json!([])).as_array_mut() {
            entries.push(entry);
        }
    }
    let streams: Vec<Value> = streams
        .into_iter()
        .map(|(level, values)| json!({"stream": {"service_name": "shop", "level": level, "job": "load"}, "values": values}))
        .collect();
    json!({ "streams": streams }).to_string().into_bytes()
}

/// The same in protobuf with snappy, as Promtail and Alloy send it.
pub(crate) fn loki_snappy(lines: Vec<Line>, now: Timestamp) -> Vec<u8> {
    let mut streams: Vec<Stream> = Vec::new();
    for line in lines {
        let labels = format!("{{service_name=\"shop\", level=\"{}\", job=\"load\"}}", line.severity.1);
        let metadata = line.attributes.into_iter().map(|(name, value)| Pair { name, value: text(value) }).collect();
        let nanos = now.as_nanos();
        let time = Time { seconds: (nanos / 1_000_000_000) as i64, nanos: (nanos % 1_000_000_000) as i32 };
        let entry = Entry { timestamp: Some(time), line: line.body, metadata };
        match streams.iter_mut().find(|stream| stream.labels == labels) {
            Some(stream) => stream.entries.push(entry),
            None => streams.push(Stream { labels, entries: vec![entry] }),
        }
    }
    let bytes = PushRequest { streams }.encode_to_vec();
    snap::raw::Encoder::new().compress_vec(&bytes).expect("a request fits into snappy")
}

/// A bulk request of Elasticsearch, with the names of the Elastic Common Schema.
pub(crate) fn bulk(lines: Vec<Line>, now: Timestamp) -> Vec<u8> {
    let mut out = String::new();
    for line in lines {
        let mut document = Map::new();
        document.insert("@timestamp".into(), now.to_string().into());
        document.insert("message".into(), line.body.into());
        document.insert("log".into(), json!({"level": line.severity.1}));
        document.insert("service".into(), json!({"name": "shop"}));
        for (key, value) in line.attributes {
            let value = match value {
                Attribute::Text(text) => text.into(),
                Attribute::Int(number) => number.into(),
            };
            document.insert(key, value);
        }
        // Writing into a `String` cannot fail.
        let _ = writeln!(out, "{{\"create\":{{\"_index\":\"shop\"}}}}\n{}", Value::Object(document));
    }
    out.into_bytes()
}

fn text(value: Attribute) -> String {
    match value {
        Attribute::Text(text) => text,
        Attribute::Int(number) => number.to_string(),
    }
}

#[derive(Clone, PartialEq, Message)]
struct PushRequest {
    #[prost(message, repeated, tag = "1")]
    streams: Vec<Stream>,
}

#[derive(Clone, PartialEq, Message)]
struct Stream {
    #[prost(string, tag = "1")]
    labels: String,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(message, optional, tag = "1")]
    timestamp: Option<Time>,
    #[prost(string, tag = "2")]
    line: String,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<Pair>,
}

#[derive(Clone, PartialEq, Message)]
struct Time {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Pair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}
