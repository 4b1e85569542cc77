//! What a sender sees, in both encodings.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::Response;
use proptest::prelude::*;
use prost::Message;
use serde_json::json;
use watchfire_types::Timestamp;

use crate::inputs::testing::Host;

const JSON: (&str, &str) = ("content-type", "application/json");
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

/// `logproto.PushRequest`, as its definition says.
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
    #[prost(uint64, tag = "3")]
    hash: u64,
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

fn entry(line: &str, metadata: &[(&str, &str)]) -> Entry {
    let metadata = metadata.iter().map(|(name, value)| Pair { name: (*name).into(), value: (*value).into() }).collect();
    Entry { timestamp: Some(Time { seconds: 1_795_392_000, nanos: 5 }), line: line.into(), metadata }
}

fn compressed(streams: Vec<Stream>) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(&PushRequest { streams }.encode_to_vec()).unwrap()
}

async fn told(response: Response<Body>) -> (u16, String) {
    let status = response.status().as_u16();
    (status, String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap())
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

#[tokio::test]
async fn both_encodings_give_the_same_records() {
    let host = Host::new(1 << 20);
    let push = json!({"streams": [
        {"stream": {"app": "shop", "host": "web-1", "level": "warn"}, "values": [
            ["1795392000000000005", "slow"],
            ["1795392000000000005", "paid\n", {"trace_id": TRACE, "user": "7", "detected_level": "error"}],
        ]},
        {"stream": {"service_name": "api", "job": "x"}, "values": [["1795392000000000005", "level=debug naïve \"x\""]]},
    ]});
    assert_eq!(told(host.post("/loki/api/v1/push", &[JSON], push.to_string().into_bytes()).await).await, (204, String::new()));
    let streams = vec![
        Stream {
            labels: r#"{app="shop", host="web-1", level="warn"}"#.into(),
            entries: vec![entry("slow", &[]), entry("paid\n", &[("trace_id", TRACE), ("user", "7"), ("detected_level", "error")])],
            hash: 3,
        },
        Stream { labels: r#"{service_name="api",job="x"}"#.into(), entries: vec![entry("level=debug naïve \"x\"", &[])], hash: 0 },
    ];
    assert_eq!(told(host.post("/loki/api/v1/push", &[PROTOBUF], compressed(streams)).await).await, (204, String::new()));
    let records = host.records();
    assert_eq!(records[..3], records[3..]);
    let record = serde_json::to_value(&records[1]).unwrap();
    let expected = json!({
        "timestamp": "2026-11-23T00:00:00.000000005Z", "observed_timestamp": "2026-11-23T00:10:00Z", "severity_number": 17,
        "severity_text": "error", "body": "paid", "trace_id": TRACE, "attributes": {"user": "7", "detected_level": "error"},
        "resource": {"service.name": "shop", "host.name": "web-1", "app": "shop", "host": "web-1", "level": "warn"},
    });
    assert_eq!(record, expected);
    assert_eq!(records.iter().map(|record| record.severity_number).collect::<Vec<_>>(), [13, 17, 5, 13, 17, 5]);
    let api = serde_json::to_value(&records[2]).unwrap();
    assert_eq!(api["resource"], json!({"service.name": "api", "job": "x"}));
}

#[tokio::test]
async fn lines_that_cannot_be_taken_are_refused_with_a_text_and_the_others_are_stored() {
    let host = Host::new(1 << 20);
    let push = json!({"streams": [{"stream": {}, "values": [["soon", "x"], ["1795392000000000005", "y"], [1_795_392_000_000_000_005_u64, "z"]]}]});
    let (status, text) = told(host.post("/loki/api/v1/push", &[JSON], push.to_string().into_bytes()).await).await;
    assert_eq!(
        (status, text.as_str()),
        (400, "1 of 3 lines were refused, the others are stored: the time of a line is not a text of nanoseconds since 1970\n")
    );
    let streams = vec![
        Stream { labels: "app=shop".into(), entries: vec![entry("a", &[]), entry("b", &[])], hash: 0 },
        Stream { labels: "{}".into(), entries: vec![entry("c", &[]), Entry { line: "d".into(), ..Entry::default() }], hash: 0 },
    ];
    let (status, text) = told(host.post("/loki/api/v1/push", &[PROTOBUF], compressed(streams)).await).await;
    assert_eq!(
        (status, text.as_str()),
        (400, "3 of 4 lines were refused, the others are stored: labels app=shop: expected `{` at byte 0\n")
    );
    let bodies: Vec<_> = host.records().iter().map(|record| record.body.as_text().unwrap().to_owned()).collect();
    assert_eq!(bodies, ["y", "z", "c"]);
    assert_eq!(host.count("watchfire_input_rejected_total", &[("input", "loki"), ("reason", "invalid_record")]), 4);
}

#[tokio::test]
async fn what_is_no_push_request_is_refused_and_a_busy_store_says_when_to_come_again() {
    let host = Host::new(20_000);
    for (header, body) in
        [(JSON, b"{".to_vec()), (JSON, b"{\"streams\":[{\"values\":[[\"1\"]]}]}".to_vec()), (PROTOBUF, b"\xff\xff\xff".to_vec())]
    {
        assert_eq!(host.post("/loki/api/v1/push", &[header], body).await.status(), 400);
    }
    let bomb = snap::raw::Encoder::new().compress_vec(&vec![0; 1_000_000]).unwrap();
    assert_eq!(host.post("/loki/api/v1/push", &[PROTOBUF], bomb).await.status(), 413);
    host.busy(Some(Duration::from_millis(1500)));
    let push = json!({"streams": [{"stream": {"app": "shop"}, "values": [["1795392000000000005", "y"]]}]});
    let response = host.post("/loki/api/v1/push", &[JSON], push.to_string().into_bytes()).await;
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &"2".parse().unwrap()));
    assert!(told(response).await.1.starts_with("the store is busy"));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, labels: String, line: String) {
        let now = Timestamp::from_seconds(1_795_392_600);
        let _ = super::decode_json(&bytes, now, 1 << 20);
        let _ = super::decode_protobuf(&bytes, now, 1 << 20);
        let streams = vec![Stream { labels, entries: vec![entry(&line, &[]); 3], hash: 0 }];
        let (batch, refused) = super::decode_protobuf(&PushRequest { streams }.encode_to_vec(), now, 1 << 20).unwrap();
        prop_assert_eq!(batch.len() as u64 + refused, 3);
        let push = json!({"streams": [{"stream": {"app": line}, "values": [["5", line], ["6", line]]}]}).to_string();
        let (batch, refused) = super::decode_json(push.as_bytes(), now, 1 << 20).unwrap();
        prop_assert_eq!((batch.len(), refused), (2, 0));
        prop_assert_eq!(batch.body.get(1), watchfire_types::ValueRef::Text(line.strip_suffix('\n').unwrap_or(&line)));
    }
}
