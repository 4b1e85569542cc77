//! The decoder that skips prost's objects gives what prost gives.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value::Value,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message as _;
use watchfire_types::LogBatch;

use super::super::reference::same;
use super::super::{DecodeError, logs_proto, reference};

pub(super) fn any_value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        any::<String>().prop_map(Value::StringValue),
        any::<bool>().prop_map(Value::BoolValue),
        any::<i64>().prop_map(Value::IntValue),
        prop_oneof![any::<f64>(), Just(f64::INFINITY), Just(-0.0)].prop_map(Value::DoubleValue),
        vec(any::<u8>(), 0..8).prop_map(Value::BytesValue),
    ];
    let leaf = option::of(leaf).prop_map(|value| AnyValue { value });
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|values| Value::ArrayValue(ArrayValue { values })),
            vec(key_value(inner), 0..4).prop_map(|values| Value::KvlistValue(KeyValueList { values })),
        ]
        .prop_map(|value| AnyValue { value: Some(value) })
    })
}

/// Few keys, so that they repeat.
fn key_value(value: impl Strategy<Value = AnyValue>) -> impl Strategy<Value = KeyValue> {
    ("[a-c]{0,2}", option::of(value)).prop_map(|(key, value)| KeyValue { key, value, ..KeyValue::default() })
}

fn id() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 16), vec(any::<u8>(), 8), vec(any::<u8>(), 0..3)]
}

prop_compose! {
    fn record()(
        time_unix_nano: u64, observed_time_unix_nano: u64, severity_number in prop_oneof![0..30, any::<i32>()],
        severity_text in "[A-Z]{0,5}", body in option::of(any_value()), attributes in vec(key_value(any_value()), 0..6),
        dropped_attributes_count: u32, flags: u32, trace_id in id(), span_id in id(), event_name in "[a-z.]{0,5}",
    ) -> LogRecord {
        LogRecord {
            time_unix_nano, observed_time_unix_nano, severity_number, severity_text, body, attributes,
            dropped_attributes_count, flags, trace_id, span_id, event_name,
        }
    }
}

prop_compose! {
    fn scope_logs()(
        scope in option::of(("[a-z]{0,4}", vec(key_value(any_value()), 0..2))), log_records in vec(record(), 0..5), schema_url: String,
    ) -> ScopeLogs {
        let scope = scope.map(|(name, attributes)| InstrumentationScope { name, attributes, ..InstrumentationScope::default() });
        ScopeLogs { scope, log_records, schema_url }
    }
}

prop_compose! {
    fn resource_logs()(
        attributes in option::of(vec(key_value(any_value()), 0..4)), scope_logs in vec(scope_logs(), 0..3), schema_url: String,
    ) -> ResourceLogs {
        let resource = attributes.map(|attributes| Resource { attributes, ..Resource::default() });
        ResourceLogs { resource, scope_logs, schema_url }
    }
}

pub(super) fn request() -> impl Strategy<Value = ExportLogsServiceRequest> {
    vec(resource_logs(), 0..4).prop_map(|resource_logs| ExportLogsServiceRequest { resource_logs })
}

fn decode(bytes: &[u8]) -> Result<LogBatch, DecodeError> {
    logs_proto::decode(bytes, usize::MAX)
}

/// A field of a message, for messages that prost would not write.
fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, &mut bytes);
    prost::encoding::encode_varint(content.len() as u64, &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

fn assert_equal(bytes: &[u8]) {
    assert!(same(&decode(bytes).unwrap(), &reference::decode(bytes).unwrap()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn both_decoders_agree_on_every_request(request in request()) {
        let bytes = request.encode_to_vec();
        prop_assert!(same(&decode(&bytes).unwrap(), &reference::decode(&bytes).unwrap()));
    }

    #[test]
    fn both_decoders_agree_on_damaged_requests(request in request(), position: prop::sample::Index, byte: u8, cut: bool) {
        let mut bytes = request.encode_to_vec();
        if !bytes.is_empty() {
            let position = position.index(bytes.len());
            if cut { bytes.truncate(position) } else { bytes[position] = byte }
        }
        // Prost also checks what is not kept, such as the schema's address, so it may refuse more.
        if let Ok(expected) = reference::decode(&bytes) {
            prop_assert!(same(&decode(&bytes).unwrap(), &expected));
        }
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes: Vec<u8>) {
        let expected = reference::decode(&bytes);
        match decode(&bytes) {
            Ok(batch) => if let Ok(expected) = expected { prop_assert!(same(&batch, &expected)) },
            Err(_) => prop_assert!(expected.is_err()),
        }
    }
}

#[test]
fn a_resource_after_its_records_and_fields_that_occur_twice_are_read_as_prost_reads_them() {
    let text = |text: &str| AnyValue { value: Some(Value::StringValue(text.to_owned())) };
    let pair = |key: &str| KeyValue { key: key.to_owned(), value: Some(text("v")), ..KeyValue::default() }.encode_to_vec();
    let array = |item: &str| AnyValue { value: Some(Value::ArrayValue(ArrayValue { values: vec![text(item)] })) }.encode_to_vec();
    let resource = |key: &str| field(1, &field(1, &pair(key)));
    for body in [
        [field(5, &array("a")), field(5, &array("b"))].concat(),
        [field(5, &array("a")), field(5, &text("x").encode_to_vec())].concat(),
        field(5, &[array("a"), text("x").encode_to_vec(), array("b")].concat()),
        field(5, &[array("a"), array("b")].concat()),
    ] {
        let record = [body, field(6, &[pair("k"), field(2, &array("more"))].concat())].concat();
        let scope_logs = [field(2, &record), field(1, &field(1, b"late")), field(1, &field(2, b"1.0"))].concat();
        assert_equal(&field(1, &[field(2, &scope_logs), resource("one"), resource("two"), resource("one")].concat()));
    }
}

#[test]
fn deep_nesting_is_refused_where_prost_refuses_it() {
    for depth in [10, 30, 46, 47, 48, 49, 50, 51, 100, 10_000] {
        let mut value = field(1, b"x");
        for _ in 0..depth {
            value = field(5, &field(1, &value));
        }
        let bytes = field(1, &field(2, &field(2, &field(5, &value))));
        match (decode(&bytes), reference::decode(&bytes)) {
            (Ok(own), Ok(prost)) => assert!(same(&own, &prost)),
            (own, prost) => assert_eq!(own.is_err(), prost.is_err(), "{depth}"),
        }
    }
}

#[test]
fn a_small_request_that_says_a_million_records_is_refused() {
    let records = field(2, &[]).repeat(1_000_000);
    let bytes = field(1, &field(2, &records));
    assert!(matches!(logs_proto::decode(&bytes, 10 << 20), Err(DecodeError::OverBudget(_))));
}
