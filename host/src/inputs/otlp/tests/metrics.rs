//! Which points become which series.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::*;
use opentelemetry_proto::tonic::resource::v1::Resource;
use proptest::prelude::*;
use prost::Message as _;
use watchfire_types::MetricKind;

use super::super::metrics::{Decoded, decode};

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn read(resource: &[(&str, &str)], metrics: Vec<Metric>) -> Decoded {
    let attributes = resource.iter().map(|(key, value)| attribute(key, value)).collect();
    let resource = Some(Resource { attributes, ..Resource::default() });
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let resource_metrics = vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }];
    decode(&ExportMetricsServiceRequest { resource_metrics }.encode_to_vec(), usize::MAX).unwrap()
}

fn metric(name: &str, data: Data) -> Metric {
    Metric { name: name.to_owned(), unit: "s".to_owned(), data: Some(data), ..Metric::default() }
}

fn number(value: Option<Value>) -> NumberDataPoint {
    NumberDataPoint { value, time_unix_nano: 5_000_000_000, ..NumberDataPoint::default() }
}

fn sum(temporality: AggregationTemporality, is_monotonic: bool, value: Value) -> Metric {
    let data_points = vec![number(Some(value))];
    metric("sum", Data::Sum(Sum { data_points, aggregation_temporality: temporality as i32, is_monotonic }))
}

fn show(decoded: &Decoded) -> String {
    let lines = decoded.points.iter().map(|point| format!("{} {}", point.series, point.value));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn sums_are_counters_gauges_or_deltas() {
    use AggregationTemporality::{Cumulative, Delta, Unspecified};
    let kind = |temporality, monotonic| {
        let decoded = read(&[], vec![sum(temporality, monotonic, Value::AsInt(3))]);
        decoded.points.first().map(|point| (point.kind, point.delta))
    };
    assert_eq!(kind(Cumulative, true), Some((MetricKind::Counter, false)));
    assert_eq!(kind(Delta, true), Some((MetricKind::Counter, true)));
    assert_eq!(kind(Cumulative, false), Some((MetricKind::Gauge, false)));
    assert_eq!(kind(Delta, false), Some((MetricKind::Gauge, true)));
    assert_eq!(kind(Unspecified, true), None);
    let decoded = read(&[], vec![sum(Unspecified, true, Value::AsInt(3))]);
    assert_eq!((decoded.rejected, decoded.reason.as_str()), (1, "`sum` does not say whether its values are cumulative or deltas"));
}

#[test]
fn labels_come_from_the_point_and_the_resource() {
    let mut point = number(Some(Value::AsDouble(0.5)));
    point.attributes = vec![attribute("host", "from the point"), attribute("path", "/")];
    let resource = [
        ("service.name", "api"),
        ("service.namespace", "shop"),
        ("service.instance.id", "i-1"),
        ("host.name", "web1"),
        ("telemetry.sdk.name", "opentelemetry"),
    ];
    let decoded = read(&resource, vec![metric("load", Data::Gauge(Gauge { data_points: vec![point.clone(), point] }))]);
    insta::assert_snapshot!(show(&decoded), @r#"
    target_info{host="web1",instance="i-1",service="api",service_namespace="shop",telemetry.sdk.name="opentelemetry"} 1
    load{host="from the point",instance="i-1",path="/",service="api",service_namespace="shop"} 0.5
    load{host="from the point",instance="i-1",path="/",service="api",service_namespace="shop"} 0.5
    "#);
    assert_eq!(decoded.points[1].unit, "s");
    assert_eq!(decoded.points[1].timestamp.as_millis(), 5_000);
}

#[test]
fn a_histogram_becomes_cumulative_buckets() {
    let point = HistogramDataPoint {
        count: 6,
        sum: Some(12.5),
        bucket_counts: vec![1, 2, 3],
        explicit_bounds: vec![0.005, 1.0],
        ..HistogramDataPoint::default()
    };
    let histogram = |point, temporality: AggregationTemporality| {
        metric("h", Data::Histogram(Histogram { data_points: vec![point], aggregation_temporality: temporality as i32 }))
    };
    let decoded = read(&[], vec![histogram(point.clone(), AggregationTemporality::Delta)]);
    insta::assert_snapshot!(show(&decoded), @r#"
    h_bucket{le="0.005"} 1
    h_bucket{le="1"} 3
    h_bucket{le="+Inf"} 6
    h_sum 12.5
    h_count 6
    "#);
    assert!(decoded.points.iter().all(|point| point.delta && point.kind == MetricKind::Histogram));

    let only_count = HistogramDataPoint { count: 2, ..HistogramDataPoint::default() };
    let unequal = HistogramDataPoint { bucket_counts: vec![1], explicit_bounds: vec![1.0], ..point.clone() };
    let unsorted = HistogramDataPoint { explicit_bounds: vec![1.0, f64::NAN], ..point };
    let cumulative = [only_count, unequal, unsorted].map(|point| histogram(point, AggregationTemporality::Cumulative));
    let decoded = read(&[], cumulative.to_vec());
    assert_eq!(show(&decoded), "h_bucket{le=\"+Inf\"} 2\nh_count 2");
    assert_eq!((decoded.rejected, decoded.reason.as_str()), (2, "histogram `h` has 1 bucket counts for 1 bounds"));
}

#[test]
fn an_exponential_histogram_becomes_the_same() {
    let buckets = |offset, counts: &[u64]| Some(Buckets { offset, bucket_counts: counts.to_vec() });
    let point = ExponentialHistogramDataPoint {
        count: 16,
        sum: Some(1.0),
        scale: 0,
        zero_count: 1,
        positive: buckets(-1, &[2, 0, 3, 0]),
        negative: buckets(1, &[4, 6]),
        zero_threshold: 0.25,
        ..ExponentialHistogramDataPoint::default()
    };
    let show_one = |point| {
        let temporality = AggregationTemporality::Cumulative as i32;
        let histogram = ExponentialHistogram { data_points: vec![point], aggregation_temporality: temporality };
        show(&read(&[], vec![metric("e", Data::ExponentialHistogram(histogram))]))
    };
    insta::assert_snapshot!(show_one(point.clone()), @r#"
    e_bucket{le="-4"} 6
    e_bucket{le="-2"} 10
    e_bucket{le="0.25"} 11
    e_bucket{le="1"} 13
    e_bucket{le="2"} 13
    e_bucket{le="4"} 16
    e_bucket{le="+Inf"} 16
    e_sum 1
    e_count 16
    "#);
    // A scale of 20 is merged down to 3: 1.5 lies between 2^(4/8) and 2^(5/8).
    let index = (1.5_f64.log2() * 20_f64.exp2()).floor() as i32;
    let fine = ExponentialHistogramDataPoint { scale: 20, positive: buckets(index, &[5]), negative: None, ..point };
    assert!(show_one(fine).contains(&format!("le=\"{}\"}} 6", (5.0_f64 / 8.0).exp2())));
}

#[test]
fn a_summary_becomes_quantiles() {
    let quantile_values = vec![summary_data_point::ValueAtQuantile { quantile: 0.99, value: 7.0 }];
    let point = SummaryDataPoint { count: 4, sum: 10.0, quantile_values, ..SummaryDataPoint::default() };
    let decoded = read(&[], vec![metric("q", Data::Summary(Summary { data_points: vec![point] }))]);
    assert_eq!(show(&decoded), "q{quantile=\"0.99\"} 7\nq_sum 10\nq_count 4");
    assert!(decoded.points.iter().all(|point| point.kind == MetricKind::Summary));
}

#[test]
fn points_without_a_value_are_skipped_if_they_say_so_and_refused_if_not() {
    let skipped = NumberDataPoint { flags: 1, ..number(None) };
    let decoded = read(&[], vec![metric("g", Data::Gauge(Gauge { data_points: vec![skipped, number(None)] }))]);
    assert!(decoded.points.is_empty());
    assert_eq!((decoded.rejected, decoded.reason.as_str()), (1, "a data point of `g` has no value"));
}

proptest! {
    #[test]
    fn any_exponential_histogram_has_bounds_and_counts_that_grow(
        scale in -20_i32..40, offset: i32, positive in proptest::collection::vec(0_u64..9, 0..40),
        negative in proptest::collection::vec(0_u64..9, 0..40), zero_count in 0_u64..9, zero_threshold in prop_oneof![Just(0.0), 0.0..2.0],
    ) {
        let buckets = |bucket_counts| Some(Buckets { offset, bucket_counts });
        let count = positive.iter().sum::<u64>() + negative.iter().sum::<u64>() + zero_count;
        let point = ExponentialHistogramDataPoint {
            count, scale, zero_count, positive: buckets(positive), negative: buckets(negative), zero_threshold, ..Default::default()
        };
        let histogram = ExponentialHistogram { data_points: vec![point], aggregation_temporality: 2 };
        let decoded = read(&[], vec![metric("e", Data::ExponentialHistogram(histogram))]);
        let buckets: Vec<(f64, f64)> = decoded.points.iter().filter(|point| point.series.name == "e_bucket")
            .map(|point| (point.series.label("le").unwrap().parse().unwrap(), point.value)).collect();
        prop_assert!(buckets.is_sorted_by(|left, right| left.0 < right.0 && left.1 <= right.1), "{buckets:?}");
        prop_assert_eq!(buckets.last().unwrap(), &(f64::INFINITY, count as f64));
    }
}
