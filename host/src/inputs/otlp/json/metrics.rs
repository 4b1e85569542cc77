//! Metrics in JSON: read into the same objects as protobuf, because one mapping of points to series is enough.

use opentelemetry_proto::tonic::common::v1::KeyValue as ProtoKeyValue;
use opentelemetry_proto::tonic::metrics::v1 as proto;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets as ProtoBuckets;
use serde::Deserialize;

use super::any::KeyValue;
use super::scalars::{Bool, F64, I64, List, Small, Text, U64};
use crate::inputs::otlp::DecodeError;
use crate::inputs::otlp::metrics::{Decoded, Points};

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Request<'a> {
    resource_metrics: List<ResourceMetrics<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct ResourceMetrics<'a> {
    resource: Option<Resource<'a>>,
    scope_metrics: List<ScopeMetrics<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
struct Resource<'a> {
    attributes: List<KeyValue<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
struct ScopeMetrics<'a> {
    metrics: List<Metric<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Metric<'a> {
    name: Text<'a>,
    unit: Text<'a>,
    gauge: Option<Data<Number<'a>>>,
    sum: Option<Data<Number<'a>>>,
    histogram: Option<Data<Histogram<'a>>>,
    exponential_histogram: Option<Data<Exponential<'a>>>,
    summary: Option<Data<Summary<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", bound(deserialize = "T: Deserialize<'de> + Default"))]
#[expect(clippy::struct_field_names, reason = "the names of the protocol")]
struct Data<T> {
    data_points: List<T>,
    aggregation_temporality: Small,
    is_monotonic: Bool,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Number<'a> {
    attributes: List<KeyValue<'a>>,
    start_time_unix_nano: U64,
    time_unix_nano: U64,
    as_double: Option<F64>,
    as_int: Option<I64>,
    flags: Small,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Histogram<'a> {
    attributes: List<KeyValue<'a>>,
    start_time_unix_nano: U64,
    time_unix_nano: U64,
    count: U64,
    sum: Option<F64>,
    bucket_counts: List<U64>,
    explicit_bounds: List<F64>,
    flags: Small,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Exponential<'a> {
    attributes: List<KeyValue<'a>>,
    start_time_unix_nano: U64,
    time_unix_nano: U64,
    count: U64,
    sum: Option<F64>,
    scale: Small,
    zero_count: U64,
    zero_threshold: F64,
    positive: Option<Buckets>,
    negative: Option<Buckets>,
    flags: Small,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Buckets {
    offset: Small,
    bucket_counts: List<U64>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Summary<'a> {
    attributes: List<KeyValue<'a>>,
    start_time_unix_nano: U64,
    time_unix_nano: U64,
    count: U64,
    sum: F64,
    quantile_values: List<Quantile>,
    flags: Small,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Quantile {
    quantile: F64,
    value: F64,
}

/// Reads an `ExportMetricsServiceRequest` into points.
///
/// # Errors
/// [`DecodeError::Json`] with the path of what is wrong, [`DecodeError::OverBudget`] when it says too much.
pub fn decode(bytes: &[u8], budget: usize) -> Result<Decoded, DecodeError> {
    let request: Request<'_> = super::read(bytes, budget)?;
    let mut points = Points::new(budget);
    for resource in request.resource_metrics.0 {
        points.resource(pairs(resource.resource.unwrap_or_default().attributes));
        for metric in resource.scope_metrics.0.into_iter().flat_map(|scope| scope.metrics.0) {
            add(&mut points, metric)?;
        }
    }
    Ok(points.finish())
}

fn add(points: &mut Points, metric: Metric<'_>) -> Result<(), DecodeError> {
    let (name, unit) = (&*metric.name.0, &*metric.unit.0);
    for point in metric.gauge.unwrap_or_default().data_points.0 {
        points.gauge(name, unit, point.into())?;
    }
    if let Some(sum) = metric.sum {
        for point in sum.data_points.0 {
            points.sum(name, unit, point.into(), sum.aggregation_temporality.0 as i32, sum.is_monotonic.0)?;
        }
    }
    if let Some(histogram) = metric.histogram {
        for point in histogram.data_points.0 {
            points.histogram(name, unit, point.into(), histogram.aggregation_temporality.0 as i32)?;
        }
    }
    if let Some(histogram) = metric.exponential_histogram {
        for point in histogram.data_points.0 {
            points.exponential(name, unit, point.into(), histogram.aggregation_temporality.0 as i32)?;
        }
    }
    for point in metric.summary.unwrap_or_default().data_points.0 {
        points.summary(name, unit, point.into())?;
    }
    Ok(())
}

fn pairs(attributes: List<KeyValue<'_>>) -> Vec<ProtoKeyValue> {
    attributes.0.into_iter().map(Into::into).collect()
}

fn counts(list: List<U64>) -> Vec<u64> {
    list.0.into_iter().map(|count| count.0).collect()
}

impl From<Number<'_>> for proto::NumberDataPoint {
    fn from(point: Number<'_>) -> Self {
        use proto::number_data_point::Value;
        let double = point.as_double.map(|number| Value::AsDouble(number.0));
        Self {
            attributes: pairs(point.attributes),
            start_time_unix_nano: point.start_time_unix_nano.0,
            time_unix_nano: point.time_unix_nano.0,
            flags: point.flags.0 as u32,
            value: double.or(point.as_int.map(|number| Value::AsInt(number.0))),
            ..Self::default()
        }
    }
}

impl From<Histogram<'_>> for proto::HistogramDataPoint {
    fn from(point: Histogram<'_>) -> Self {
        Self {
            attributes: pairs(point.attributes),
            start_time_unix_nano: point.start_time_unix_nano.0,
            time_unix_nano: point.time_unix_nano.0,
            count: point.count.0,
            sum: point.sum.map(|sum| sum.0),
            bucket_counts: counts(point.bucket_counts),
            explicit_bounds: point.explicit_bounds.0.into_iter().map(|bound| bound.0).collect(),
            flags: point.flags.0 as u32,
            ..Self::default()
        }
    }
}

impl From<Exponential<'_>> for proto::ExponentialHistogramDataPoint {
    fn from(point: Exponential<'_>) -> Self {
        let buckets =
            |buckets: Buckets| ProtoBuckets { offset: buckets.offset.0 as i32, bucket_counts: counts(buckets.bucket_counts) };
        Self {
            attributes: pairs(point.attributes),
            start_time_unix_nano: point.start_time_unix_nano.0,
            time_unix_nano: point.time_unix_nano.0,
            count: point.count.0,
            sum: point.sum.map(|sum| sum.0),
            scale: point.scale.0 as i32,
            zero_count: point.zero_count.0,
            zero_threshold: point.zero_threshold.0,
            positive: point.positive.map(buckets),
            negative: point.negative.map(buckets),
            flags: point.flags.0 as u32,
            ..Self::default()
        }
    }
}

impl From<Summary<'_>> for proto::SummaryDataPoint {
    fn from(point: Summary<'_>) -> Self {
        let quantile =
            |value: Quantile| proto::summary_data_point::ValueAtQuantile { quantile: value.quantile.0, value: value.value.0 };
        Self {
            attributes: pairs(point.attributes),
            start_time_unix_nano: point.start_time_unix_nano.0,
            time_unix_nano: point.time_unix_nano.0,
            count: point.count.0,
            sum: point.sum.0,
            quantile_values: point.quantile_values.0.into_iter().map(quantile).collect(),
            flags: point.flags.0 as u32,
        }
    }
}
