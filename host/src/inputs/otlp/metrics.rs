//! OTLP metrics: which points become which series.
//!
//! | OTLP | here |
//! |---|---|
//! | gauge; sum that is not monotonic | gauge |
//! | monotonic sum | counter |
//! | delta temporality of any of them | the same series with `delta` set |
//! | histogram | `NAME_bucket` with `le` (counts of all values up to it, `+Inf` last), `NAME_sum`, `NAME_count` |
//! | exponential histogram | the same, each bucket's upper bound as `le`; scales above [`MAX_SCALE`] are merged down to it |
//! | summary | `NAME` with `quantile`, `NAME_sum`, `NAME_count` |
//! | point without a recorded value | nothing; not an error |
//! | least and greatest value, exemplars, start times, scope | not kept |
//!
//! Names and units stay as they come. Labels are the point's attributes as text, and from the resource `service.name` as
//! `service`, `service.namespace` as `service_namespace`, `service.instance.id` as `instance`, `host.name` as `host`, where the
//! point has no attribute of that name. What else a resource says is one gauge `target_info` of value 1 with those labels too.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogramDataPoint, HistogramDataPoint, NumberDataPoint, SummaryDataPoint,
    exponential_histogram_data_point::Buckets, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use watchfire_types::{MetricBatch, MetricKind, MetricPoint, SeriesKey, Timestamp};

use super::wire::{Depth, Reader};
use super::{DecodeError, OverBudget, reference};

/// Finest exponential buckets that are kept: each bound is 2^(1/8), about 9 %, above the one before. A finer scale would make
/// new series whenever the sender coarsens it, which senders do as the range of their values grows.
pub const MAX_SCALE: i32 = 3;

/// Most buckets of one data point; SDKs send 160 at most.
const MAX_BUCKETS: usize = 1_000;

/// Most encoded bytes of one data point.
const MAX_POINT_BYTES: usize = 1 << 20;

/// Bit of a data point's flags that says "no value was recorded".
const NO_RECORDED_VALUE: u32 = 1;

/// What a request holds.
#[derive(Debug, Default, PartialEq)]
pub struct Decoded {
    /// All points.
    pub points: MetricBatch,
    /// Data points refused.
    pub rejected: u64,
    /// Why, for the first of them; empty if none.
    pub reason: String,
}

/// Reads an `ExportMetricsServiceRequest` into points.
///
/// # Errors
/// [`DecodeError`] when `bytes` are not such a message, or when it says too much.
pub fn decode(bytes: &[u8], budget: usize) -> Result<Decoded, DecodeError> {
    // Walked by hand down to the data points, so that millions of empty ones cost nothing before they are refused.
    let mut points = Points::new(budget);
    each(bytes, 1, |resource_metrics| {
        let mut resource = Resource::default();
        each(resource_metrics, 1, |bytes| Ok(resource.merge(bytes)?))?;
        points.resource(resource.attributes);
        each(resource_metrics, 2, |scope_metrics| each(scope_metrics, 2, |metric| read_metric(metric, &mut points)))
    })?;
    Ok(points.finish())
}

/// Calls `visit` with the content of each field `number` of a message.
fn each<'a>(bytes: &'a [u8], number: u32, mut visit: impl FnMut(&'a [u8]) -> Result<(), DecodeError>) -> Result<(), DecodeError> {
    let mut fields = Reader::new(bytes, Depth::TOP);
    while let Some(field) = fields.next()? {
        if field.number == number {
            visit(field.bytes()?)?;
        }
    }
    Ok(())
}

fn read_metric(bytes: &[u8], points: &mut Points) -> Result<(), DecodeError> {
    let (mut name, mut unit) = ("", "");
    let mut fields = Reader::new(bytes, Depth::TOP);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => name = field.text()?,
            3 => unit = field.text()?,
            _ => {}
        }
    }
    let mut fields = Reader::new(bytes, Depth::TOP);
    while let Some(field) = fields.next()? {
        if !matches!(field.number, 5 | 7 | 9 | 10 | 11) {
            continue;
        }
        let data = field.bytes()?;
        let (mut temporality, mut monotonic) = (0, false);
        let mut data_fields = Reader::new(data, Depth::TOP);
        while let Some(field) = data_fields.next()? {
            match field.number {
                2 => temporality = field.varint()? as i32,
                3 => monotonic = field.varint()? != 0,
                _ => {}
            }
        }
        each(data, 1, |point| {
            if point.len() > MAX_POINT_BYTES {
                points.reject(&format!("a data point of `{name}` is larger than {MAX_POINT_BYTES} bytes"));
                return Ok(());
            }
            match field.number {
                5 => points.gauge(name, unit, NumberDataPoint::decode(point)?)?,
                7 => points.sum(name, unit, NumberDataPoint::decode(point)?, temporality, monotonic)?,
                9 => points.histogram(name, unit, HistogramDataPoint::decode(point)?, temporality)?,
                10 => points.exponential(name, unit, ExponentialHistogramDataPoint::decode(point)?, temporality)?,
                _ => points.summary(name, unit, SummaryDataPoint::decode(point)?)?,
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Gathers points, resource by resource.
#[derive(Debug)]
pub(super) struct Points {
    decoded: Decoded,
    /// Labels that every point of the present resource gets.
    resource: Vec<(String, String)>,
    /// `target_info` of the present resource, until its first point shows that it is wanted.
    info: Option<SeriesKey>,
    bytes: usize,
    budget: usize,
}

/// What the series of one data point share.
struct Family<'a> {
    name: &'a str,
    unit: &'a str,
    labels: Vec<(String, String)>,
    kind: MetricKind,
    timestamp: u64,
    delta: bool,
}

impl Points {
    pub(super) fn new(budget: usize) -> Self {
        Self { decoded: Decoded::default(), resource: Vec::new(), info: None, bytes: 0, budget }
    }

    pub(super) fn finish(self) -> Decoded {
        self.decoded
    }

    /// Begins a resource.
    pub(super) fn resource(&mut self, attributes: Vec<KeyValue>) {
        let (mut labels, mut others) = (Vec::new(), Vec::new());
        for (key, value) in attributes.into_iter().map(label) {
            match &*key {
                "service.name" => labels.push(("service".to_owned(), value)),
                "service.namespace" => labels.push(("service_namespace".to_owned(), value)),
                "service.instance.id" => labels.push(("instance".to_owned(), value)),
                "host.name" => labels.push(("host".to_owned(), value)),
                _ => others.push((key, value)),
            }
        }
        self.info = (!others.is_empty()).then(|| SeriesKey::new("target_info", labels.iter().cloned().chain(others)));
        self.resource = labels;
    }

    pub(super) fn reject(&mut self, reason: &str) {
        self.decoded.rejected += 1;
        if self.decoded.reason.is_empty() {
            reason.clone_into(&mut self.decoded.reason);
        }
    }

    pub(super) fn gauge(&mut self, name: &str, unit: &str, point: NumberDataPoint) -> Result<(), OverBudget> {
        self.number(name, unit, point, MetricKind::Gauge, false)
    }

    pub(super) fn sum(
        &mut self,
        name: &str,
        unit: &str,
        point: NumberDataPoint,
        temporality: i32,
        monotonic: bool,
    ) -> Result<(), OverBudget> {
        let kind = if monotonic { MetricKind::Counter } else { MetricKind::Gauge };
        let Some(delta) = self.is_delta(name, temporality) else { return Ok(()) };
        self.number(name, unit, point, kind, delta)
    }

    fn number(&mut self, name: &str, unit: &str, point: NumberDataPoint, kind: MetricKind, delta: bool) -> Result<(), OverBudget> {
        let Some(family) = self.family(name, unit, point.attributes, kind, point.time_unix_nano, delta, point.flags) else {
            return Ok(());
        };
        match point.value {
            Some(number_data_point::Value::AsDouble(value)) => self.add(&family, "", None, value),
            Some(number_data_point::Value::AsInt(value)) => self.add(&family, "", None, value as f64),
            None => {
                self.reject(&format!("a data point of `{name}` has no value"));
                Ok(())
            }
        }
    }

    pub(super) fn histogram(
        &mut self,
        name: &str,
        unit: &str,
        point: HistogramDataPoint,
        temporality: i32,
    ) -> Result<(), OverBudget> {
        let Some(delta) = self.is_delta(name, temporality) else { return Ok(()) };
        let (counts, bounds) = (point.bucket_counts, point.explicit_bounds);
        let family = self.family(name, unit, point.attributes, MetricKind::Histogram, point.time_unix_nano, delta, point.flags);
        let Some(family) = family else { return Ok(()) };
        // Both may be missing: then only count and sum are known.
        if !(counts.len() == bounds.len() + 1 || counts.is_empty() && bounds.is_empty()) {
            let message = format!("histogram `{name}` has {} bucket counts for {} bounds", counts.len(), bounds.len());
            self.reject(&message);
            return Ok(());
        }
        if bounds.len() > MAX_BUCKETS || !bounds.is_sorted_by(|left, right| left < right) {
            self.reject(&format!("the bounds of histogram `{name}` do not increase, or are more than {MAX_BUCKETS}"));
            return Ok(());
        }
        let mut total = 0_u64;
        for (bound, count) in bounds.iter().zip(&counts) {
            total = total.saturating_add(*count);
            // A bound of +Inf says what the last line says.
            if *bound < f64::INFINITY {
                self.bucket(&family, *bound, total)?;
            }
        }
        self.rest_of_histogram(&family, point.count, point.sum)
    }

    pub(super) fn exponential(
        &mut self,
        name: &str,
        unit: &str,
        point: ExponentialHistogramDataPoint,
        temporality: i32,
    ) -> Result<(), OverBudget> {
        let Some(delta) = self.is_delta(name, temporality) else { return Ok(()) };
        let family = self.family(name, unit, point.attributes, MetricKind::Histogram, point.time_unix_nano, delta, point.flags);
        let Some(family) = family else { return Ok(()) };
        let side = |buckets: Option<Buckets>| merged(&buckets.unwrap_or_default(), point.scale);
        let (Some(positive), Some(negative)) = (side(point.positive), side(point.negative)) else {
            self.reject(&format!("exponential histogram `{name}` has more than {MAX_BUCKETS} buckets, or a scale out of range"));
            return Ok(());
        };
        let scale = point.scale.min(MAX_SCALE);
        // Bucket `index` holds values from base^index, exclusive, to base^(index + 1), inclusive; below zero it is a mirror.
        let power = |index: i64| (index as f64 * f64::from(-scale).exp2()).exp2();
        // `max` also makes NaN a zero.
        let threshold = point.zero_threshold.max(0.0);
        // Bounds meet at the ends of what a float can say, and lie inside the zero bucket if it is wide; what they count then
        // shows under the next one.
        let negative = negative.iter().rev().map(|(index, count)| {
            let bound = -power(*index);
            (bound, *count, bound < 0.0)
        });
        let positive = positive.iter().map(|(index, count)| {
            let bound = power(index + 1);
            (bound, *count, bound > threshold && bound < f64::INFINITY)
        });
        let mut total = 0_u64;
        let mut last = f64::NEG_INFINITY;
        for (bound, count, is_shown) in negative.chain([(threshold, point.zero_count, threshold < f64::INFINITY)]).chain(positive) {
            total = total.saturating_add(count);
            if is_shown && bound > last {
                self.bucket(&family, bound, total)?;
                last = bound;
            }
        }
        self.rest_of_histogram(&family, point.count, point.sum)
    }

    pub(super) fn summary(&mut self, name: &str, unit: &str, point: SummaryDataPoint) -> Result<(), OverBudget> {
        let family = self.family(name, unit, point.attributes, MetricKind::Summary, point.time_unix_nano, false, point.flags);
        let Some(family) = family else { return Ok(()) };
        for value in &point.quantile_values {
            self.add(&family, "", Some(("quantile", value.quantile)), value.value)?;
        }
        self.add(&family, "_sum", None, point.sum)?;
        self.add(&family, "_count", None, point.count as f64)
    }

    fn bucket(&mut self, family: &Family<'_>, bound: f64, count: u64) -> Result<(), OverBudget> {
        self.add(family, "_bucket", Some(("le", bound)), count as f64)
    }

    fn rest_of_histogram(&mut self, family: &Family<'_>, count: u64, sum: Option<f64>) -> Result<(), OverBudget> {
        self.bucket(family, f64::INFINITY, count)?;
        if let Some(sum) = sum {
            self.add(family, "_sum", None, sum)?;
        }
        self.add(family, "_count", None, count as f64)
    }

    fn is_delta(&mut self, name: &str, temporality: i32) -> Option<bool> {
        match AggregationTemporality::try_from(temporality) {
            Ok(AggregationTemporality::Cumulative) => Some(false),
            Ok(AggregationTemporality::Delta) => Some(true),
            _ => {
                self.reject(&format!("`{name}` does not say whether its values are cumulative or deltas"));
                None
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts that all kinds of points have")]
    fn family<'a>(
        &mut self,
        name: &'a str,
        unit: &'a str,
        attributes: Vec<KeyValue>,
        kind: MetricKind,
        timestamp: u64,
        delta: bool,
        flags: u32,
    ) -> Option<Family<'a>> {
        if flags & NO_RECORDED_VALUE != 0 {
            return None;
        }
        if name.is_empty() {
            self.reject("a metric has no name");
            return None;
        }
        // The point's own come first: `SeriesKey` keeps the first of two.
        let labels = attributes.into_iter().map(label).chain(self.resource.iter().cloned()).collect();
        Some(Family { name, unit, labels, kind, timestamp, delta })
    }

    fn add(&mut self, family: &Family<'_>, suffix: &str, extra: Option<(&str, f64)>, value: f64) -> Result<(), OverBudget> {
        if let Some(series) = self.info.take() {
            let info = MetricPoint {
                series,
                kind: MetricKind::Gauge,
                unit: String::new(),
                timestamp: Timestamp::from_nanos(family.timestamp),
                value: 1.0,
                delta: false,
            };
            self.push(info)?;
        }
        let extra = extra.map(|(name, bound)| (name.to_owned(), float_label(bound)));
        let labels = extra.into_iter().chain(family.labels.iter().cloned());
        self.push(MetricPoint {
            series: SeriesKey::new(&format!("{}{suffix}", family.name), labels),
            kind: family.kind,
            unit: family.unit.to_owned(),
            timestamp: Timestamp::from_nanos(family.timestamp),
            value,
            delta: family.delta,
        })
    }

    fn push(&mut self, point: MetricPoint) -> Result<(), OverBudget> {
        let labels: usize = point.series.labels.iter().map(|(name, value)| 48 + name.len() + value.len()).sum();
        self.bytes += 128 + point.series.name.len() + point.unit.len() + labels;
        if self.bytes > self.budget {
            return Err(OverBudget { budget: self.budget });
        }
        self.decoded.points.push(point);
        Ok(())
    }
}

/// Returns buckets that hold something, by index at no finer a scale than [`MAX_SCALE`]; `None` if there are too many.
fn merged(buckets: &Buckets, scale: i32) -> Option<Vec<(i64, u64)>> {
    if buckets.bucket_counts.len() > 100 * MAX_BUCKETS || !(-64..=64).contains(&scale) {
        return None;
    }
    let shift = (scale - MAX_SCALE).clamp(0, 63);
    let mut merged: Vec<(i64, u64)> = Vec::new();
    for (position, count) in buckets.bucket_counts.iter().enumerate() {
        let index = (i64::from(buckets.offset) + position as i64) >> shift;
        match merged.last_mut() {
            Some((last, total)) if *last == index => *total = total.saturating_add(*count),
            _ => merged.push((index, *count)),
        }
    }
    // Empty ones at either end say nothing; those between keep the bounds of one series together.
    while merged.last().is_some_and(|(_, count)| *count == 0) {
        merged.pop();
    }
    let first = merged.iter().position(|(_, count)| *count > 0).unwrap_or(0);
    merged.drain(..first);
    (merged.len() <= MAX_BUCKETS).then_some(merged)
}

fn label(pair: KeyValue) -> (String, String) {
    (pair.key, reference::value(pair.value).as_ref().display())
}

/// Returns a bound or a quantile as Prometheus writes it: the shortest decimal, `+Inf`.
fn float_label(value: f64) -> String {
    // Both zeros are one bound.
    if value == f64::INFINITY { "+Inf".to_owned() } else { (value + 0.0).to_string() }
}
