//! What is said of something unusual.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use watchfire_anomalies::{Anomaly, Detector, Direction, Window};
use watchfire_types::Timestamp;

use super::store::StoredAnomaly;
use super::types::{AnomalyView, SearchLink, Told};
use crate::analysis::types::NewFinding;

/// Longest text from the log in a title or message, in bytes.
const MAX_QUOTED: usize = 300;

/// Returns the first moment of a window.
#[must_use]
pub fn start(window: Window) -> Timestamp {
    Timestamp::from_seconds(window.start_seconds())
}

fn end(window: Window) -> Timestamp {
    Timestamp::from_seconds(window.end_seconds())
}

/// Returns a number with no more digits than matter.
fn short(number: f64) -> String {
    if number.abs() >= 10.0 || number.fract().abs() < 1e-9 { format!("{number:.0}") } else { format!("{number:.2}") }
}

fn quoted(text: &str) -> String {
    let cut = text.get(..text.floor_char_boundary(MAX_QUOTED)).unwrap_or(text);
    cut.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Returns a source's name for a sentence.
fn named(source: &str) -> String {
    if source.is_empty() { "records without a source".to_owned() } else { format!("`{}`", quoted(source)) }
}

/// Returns what is unusual, in a few words.
#[must_use]
pub fn title(anomaly: &Anomaly, source: &str, template: &str) -> String {
    let (source, evidence) = (named(source), &anomaly.evidence);
    let seen = short(evidence.actual);
    match (anomaly.detector, anomaly.series.key.as_pattern()) {
        (Detector::NewPattern, _) if template.is_empty() => format!("{source}: a pattern never seen before"),
        (Detector::NewPattern, _) => format!("{source}: never seen before: {}", quoted(template)),
        (Detector::FormatChanged, _) => format!("{source}: the format has changed, {seen} new patterns in an hour"),
        (Detector::Silence, _) => format!("{source} has fallen silent: no record for {seen} minutes"),
        (Detector::Burst, _) => format!("{source}: a burst of {seen} records in 5 minutes"),
        (Detector::ErrorRatio, _) => format!("{source}: {:.1} % of the records are errors", evidence.actual * 100.0),
        (Detector::Rate, pattern) => {
            let what = pattern.map_or_else(|| "records".to_owned(), |pattern| format!("records of pattern {pattern}"));
            let way = if anomaly.direction == Direction::Up { "more" } else { "fewer" };
            format!("{source}: {way} {what} than usual, {seen} in 15 minutes")
        }
    }
}

/// Returns what was to be expected, what was seen, and how sure that is.
#[must_use]
pub fn message(anomaly: &Anomaly, template: &str, line: &str) -> String {
    let evidence = &anomaly.evidence;
    let mut text = format!("since {}", start(anomaly.since));
    // Writing to a `String` cannot fail.
    if let Some(expected) = &evidence.expected {
        let scale = |number: f64| {
            if anomaly.detector == Detector::ErrorRatio { format!("{:.2} %", number * 100.0) } else { short(number) }
        };
        let (low, high, seen) = (scale(expected.low), scale(expected.high), scale(evidence.actual));
        let _ = write!(text, "; expected {low} to {high} {}, seen {seen}", evidence.unit);
    } else {
        let _ = write!(text, "; seen {} {}", short(evidence.actual), evidence.unit);
    }
    if let Some(p) = evidence.p {
        let _ = write!(text, "; p = {p:.1e}");
    }
    if !evidence.method.is_empty() {
        let _ = write!(text, " ({})", evidence.method);
    }
    if !evidence.history.is_empty() {
        let _ = write!(text, "; compared with {}, {} samples", evidence.history, evidence.samples);
    }
    if !anomaly.patterns.is_empty() {
        let patterns: Vec<String> = anomaly.patterns.iter().map(u64::to_string).collect();
        let _ = write!(text, "; patterns {}", patterns.join(", "));
    }
    if !template.is_empty() {
        let _ = write!(text, "; pattern: {}", quoted(template));
    }
    if !line.is_empty() {
        let _ = write!(text, "; for example: {}", quoted(line));
    }
    text
}

/// Returns the search for the records.
#[must_use]
pub fn search(anomaly: &Anomaly, source: &str) -> SearchLink {
    let mut parts = Vec::new();
    if let Some(pattern) = anomaly.series.key.as_pattern() {
        parts.push(format!("pattern:{pattern}"));
    }
    if !source.is_empty() {
        let plain = source.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'));
        parts.push(if plain { format!("service:{source}") } else { format!("service:{}", serde_json::Value::from(source)) });
    }
    if anomaly.detector == Detector::ErrorRatio {
        parts.push("level>=error".to_owned());
    }
    // Of silence, what came before it.
    let since = if anomaly.detector == Detector::Silence { anomaly.since.back(12) } else { anomaly.since };
    SearchLink { q: parts.join(" "), since: start(since), until: end(anomaly.last) }
}

/// Returns the finding that tells of it.
#[must_use]
pub fn finding(told: &Told) -> NewFinding {
    let anomaly = &told.entry.anomaly;
    let mut labels = BTreeMap::from([
        ("service".to_owned(), told.source.clone()),
        ("direction".to_owned(), anomaly.direction.name().to_owned()),
        ("anomaly".to_owned(), told.entry.id.to_string()),
    ]);
    labels.extend(anomaly.series.key.as_pattern().map(|pattern| ("pattern".to_owned(), pattern.to_string())));
    let (first, last) = anomaly.seqs;
    NewFinding {
        rule: anomaly.detector.name().to_owned(),
        severity: anomaly.severity,
        title: title(anomaly, &told.source, &told.template),
        message: message(anomaly, &told.template, &told.line),
        dedupe_key: told.entry.id.to_string(),
        score: anomaly.evidence.score(),
        count: anomaly.count.max(1),
        first_seq: first,
        last_seq: last,
        first_time: start(anomaly.since),
        last_time: end(anomaly.last),
        sample_seqs: [last].into_iter().filter(|seq| *seq > 0).collect(),
        labels,
    }
}

/// Returns an anomaly as people see it.
#[must_use]
pub fn view(stored: StoredAnomaly) -> AnomalyView {
    let StoredAnomaly { entry, source, template, line, muted } = stored;
    let anomaly = entry.anomaly;
    AnomalyView {
        id: entry.id.to_string(),
        detector: anomaly.detector,
        direction: anomaly.direction.name().to_owned(),
        pattern: anomaly.series.key.as_pattern().map(|pattern| pattern.to_string()),
        patterns: anomaly.patterns.iter().map(u64::to_string).collect(),
        severity_number: anomaly.severity,
        title: title(&anomaly, &source, &template),
        message: message(&anomaly, &template, &line),
        since: start(anomaly.since),
        until: entry.until.map(start),
        score: anomaly.evidence.score(),
        count: anomaly.count,
        last_seq: (anomaly.seqs.1 > 0).then(|| anomaly.seqs.1.to_string()),
        search: search(&anomaly, &source),
        ignored: muted,
        evidence: anomaly.evidence,
        template,
        line,
        source,
    }
}

#[cfg(test)]
mod tests {
    use watchfire_anomalies::{Evidence, Expected, Key, Series};

    use super::*;

    #[test]
    fn what_is_said_has_expectation_and_evidence() {
        let anomaly = Anomaly {
            detector: Detector::Rate,
            direction: Direction::Up,
            series: Series { source: 1, key: Key(42) },
            since: Window(6_000_000),
            last: Window(6_000_002),
            severity: 17,
            evidence: Evidence {
                expected: Some(Expected { mean: 100.0, low: 80.0, high: 140.0 }),
                actual: 452.0,
                unit: "records in 15 minutes".into(),
                samples: 75,
                history: "the same hour of the last 3 weeks".into(),
                method: "negative binomial tail, mean 100.0".into(),
                p: Some(3.4e-12),
            },
            seqs: (0, 99),
            count: 452,
            patterns: Vec::new(),
        };
        assert_eq!(title(&anomaly, "api", ""), "`api`: more records of pattern 42 than usual, 452 in 15 minutes");
        assert_eq!(
            message(&anomaly, "cannot reach <*>", "cannot reach db\n7"),
            "since 2027-01-15T08:00:00Z; expected 80 to 140 records in 15 minutes, seen 452; p = 3.4e-12 (negative binomial tail, mean \
             100.0); compared with the same hour of the last 3 weeks, 75 samples; pattern: cannot reach <*>; for example: cannot reach db 7"
        );
        let link = search(&anomaly, "my shop");
        assert_eq!((link.q.as_str(), link.since), (r#"pattern:42 service:"my shop""#, Timestamp::from_seconds(1_800_000_000)));
    }
}
