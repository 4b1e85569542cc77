//! Prometheus's text exposition format, version 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use watchfire_types::metric::normalized_name;
use watchfire_types::{MetricKind, SeriesKey};

use crate::telemetry::catalogue;

/// `Content-Type` of the answer.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// One series with its present value.
#[derive(Clone, Debug, PartialEq)]
pub struct Exposed {
    /// Name and labels, as they came.
    pub key: SeriesKey,
    /// What its values mean.
    pub kind: MetricKind,
    /// UCUM unit; may be empty.
    pub unit: String,
    /// The value.
    pub value: f64,
}

struct Family {
    kind: MetricKind,
    help: String,
    /// By what orders them, then name and labels as written: one line each.
    lines: BTreeMap<(String, OrderedLe, String, String), f64>,
}

/// Orders buckets by their bound, and `_sum` and `_count` after them.
struct OrderedLe(f64, u8);

impl PartialEq for OrderedLe {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for OrderedLe {}

impl PartialOrd for OrderedLe {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for OrderedLe {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0).then(self.1.cmp(&other.1))
    }
}

/// Returns `series` in the text format. Names are normalised; where two series become one by that, the first of the list stands;
/// a series whose name belongs to a family of another kind is left out, because the format cannot say it.
#[must_use]
pub fn render(series: &[Exposed]) -> String {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for exposed in series {
        let name = metric_name(&exposed.key.name);
        let (base, part) = split(&name, exposed.kind);
        let family = families.entry(base.to_owned()).or_insert_with(|| Family {
            kind: exposed.kind,
            help: help(&exposed.key.name, base, &exposed.unit),
            lines: BTreeMap::new(),
        });
        if family.kind != exposed.kind {
            continue;
        }
        let special = match exposed.kind {
            MetricKind::Histogram => "le",
            MetricKind::Summary => "quantile",
            _ => "",
        };
        let bound = exposed.key.label(special).and_then(|bound| bound.parse().ok());
        let order = OrderedLe(bound.unwrap_or(f64::INFINITY), part);
        let group = labels(&exposed.key, special, false);
        family.lines.entry((group, order, name.clone(), labels(&exposed.key, special, true))).or_insert(exposed.value);
    }
    let mut text = String::new();
    for (base, family) in families {
        let kind = match family.kind {
            MetricKind::Gauge => "gauge",
            MetricKind::Counter => "counter",
            MetricKind::Histogram => "histogram",
            MetricKind::Summary => "summary",
        };
        // Writing to a `String` cannot fail.
        let _ = if family.help.is_empty() { Ok(()) } else { writeln!(text, "# HELP {base} {}", family.help) };
        let _ = writeln!(text, "# TYPE {base} {kind}");
        for ((_, _, name, labels), value) in family.lines {
            let _ = writeln!(text, "{name}{labels} {}", number(value));
        }
    }
    text
}

/// Returns the family a series belongs to, and where it stands within one group of it.
fn split(name: &str, kind: MetricKind) -> (&str, u8) {
    if matches!(kind, MetricKind::Histogram | MetricKind::Summary) {
        for (suffix, part) in [("_bucket", 0), ("_sum", 1), ("_count", 2)] {
            if let Some(base) = name.strip_suffix(suffix)
                && !base.is_empty()
                && (suffix != "_bucket" || kind == MetricKind::Histogram)
            {
                return (base, part);
            }
        }
    }
    (name, 0)
}

fn metric_name(name: &str) -> String {
    let name = normalized_name(name);
    if name.starts_with(|first: char| first.is_ascii_digit()) { format!("_{name}") } else { name }
}

fn label_name(name: &str) -> String {
    metric_name(name).replace(':', "_")
}

/// Returns the labels in braces, without `special` unless `with_special`; of two that are spelled alike after normalising, the
/// values are joined by `;`, as Prometheus does for OpenTelemetry attributes.
fn labels(key: &SeriesKey, special: &str, with_special: bool) -> String {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in key.labels.iter().filter(|(name, _)| with_special || name != special) {
        all.entry(label_name(name))
            .and_modify(|joined| {
                joined.push(';');
                joined.push_str(value);
            })
            .or_insert_with(|| value.clone());
    }
    let list: Vec<String> = all.into_iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(&value, true))).collect();
    if list.is_empty() { String::new() } else { format!("{{{}}}", list.join(",")) }
}

fn escaped(text: &str, quotes: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if quotes { text.replace('"', "\\\"") } else { text }
}

fn help(original: &str, base: &str, unit: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    // Of a histogram or summary the base: its suffixes are the same in every spelling.
    let stem = original.get(..base.len()).filter(|_| !base.starts_with('_')).unwrap_or(original);
    match catalogue::find(original) {
        Some(entry) => parts.push(entry.help.to_owned()),
        None if stem != base => parts.push(format!("Stored as {stem}.")),
        None => {}
    }
    if !unit.is_empty() && unit != "1" {
        parts.push(format!("Unit: {unit}."));
    }
    escaped(&parts.join(" "), false)
}

fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exposed(name: &str, labels: &[(&str, &str)], kind: MetricKind, unit: &str, value: f64) -> Exposed {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Exposed { key: SeriesKey::new(name, labels), kind, unit: unit.to_owned(), value }
    }

    #[test]
    fn histograms_are_one_family_and_labels_are_escaped() {
        use MetricKind::{Counter, Gauge, Histogram};
        let text = render(&[
            exposed("http.duration_count", &[("route", "/a")], Histogram, "ms", 7.0),
            exposed("http.duration_bucket", &[("route", "/a"), ("le", "+Inf")], Histogram, "ms", 7.0),
            exposed("http.duration_bucket", &[("route", "/a"), ("le", "100")], Histogram, "ms", 6.0),
            exposed("http.duration_bucket", &[("route", "/a"), ("le", "5")], Histogram, "ms", 2.0),
            exposed("http.duration_sum", &[("route", "/a")], Histogram, "ms", 431.5),
            exposed("http.duration_bucket", &[("route", "/"), ("le", "+Inf")], Histogram, "ms", 1.0),
            exposed("system.cpu_percent", &[], Gauge, "%", f64::NAN),
            exposed("system_cpu_percent", &[], Gauge, "%", 12.0),
            exposed("1.odd", &[("path", "C:\\x \"y\"\nz"), ("a.b", "1"), ("a_b", "2")], Counter, "", f64::INFINITY),
            exposed("http.duration", &[], Gauge, "", 3.0),
        ]);
        insta::assert_snapshot!(text, @r#"
        # HELP _1_odd Stored as 1.odd.
        # TYPE _1_odd counter
        _1_odd{a_b="1;2",path="C:\\x \"y\"\nz"} +Inf
        # HELP http_duration Stored as http.duration. Unit: ms.
        # TYPE http_duration histogram
        http_duration_bucket{le="+Inf",route="/"} 1
        http_duration_bucket{le="5",route="/a"} 2
        http_duration_bucket{le="100",route="/a"} 6
        http_duration_bucket{le="+Inf",route="/a"} 7
        http_duration_sum{route="/a"} 431.5
        http_duration_count{route="/a"} 7
        # HELP system_cpu_percent Share of all cores in use, 0 to 100. Unit: %.
        # TYPE system_cpu_percent gauge
        system_cpu_percent NaN
        "#);
    }
}
