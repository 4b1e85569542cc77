//! Checks what a component returned: what cannot be right is dropped and counted, what is too long is cut.

use std::collections::BTreeMap;

use watchfire_types::Timestamp;

use super::types::{NewFinding, OWN_PREFIX};
use crate::plugins::wire;

/// Most findings, and most samples of series, of one call.
pub const MAX_FINDINGS: usize = 1_000;
pub const MAX_SAMPLES: usize = 1_000;
/// Longest texts, in bytes.
const MAX_RULE_BYTES: usize = 128;
const MAX_TITLE_BYTES: usize = 256;
const MAX_MESSAGE_BYTES: usize = 4 << 10;
const MAX_KEY_BYTES: usize = 512;
const MAX_LABEL_NAME_BYTES: usize = 128;
const MAX_LABEL_VALUE_BYTES: usize = 1 << 10;
/// Most bytes of all labels of one finding.
const MAX_LABEL_BYTES: usize = 4 << 10;
/// Most labels, and most positions of records, of one finding.
const MAX_LABELS: usize = 32;
const MAX_SAMPLE_SEQS: usize = 32;
/// OpenTelemetry's greatest severity number.
const MAX_SEVERITY: u8 = 24;

/// Labels that the host sets itself.
const OWN_LABELS: [&str; 8] = ["alertname", "dedupe_key", "level", "plugin", "receiver", "rule", "severity", "source"];

/// What can be used of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Admitted {
    /// What was found.
    pub findings: Vec<NewFinding>,
    /// Points of the plugin's own series.
    pub samples: Vec<Sample>,
    /// Findings, samples, labels and positions that were dropped.
    pub malformed: u64,
}

/// A point of one of the plugin's own series.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Name, without the prefix.
    pub name: String,
    /// What the value means.
    pub kind: SampleKind,
    /// The value.
    pub value: f64,
    /// Labels.
    pub labels: Vec<(String, String)>,
}

/// What the value of a sample means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleKind {
    /// A value that goes up and down.
    Gauge,
    /// What is added to a counter.
    Counter,
    /// One observation of a distribution.
    Observation,
}

/// Returns what can be used of `analysis`. The component has seen records of positions in `seen`, and may name no others.
#[must_use]
pub fn admit(analysis: wire::Analysis, seen: std::ops::RangeInclusive<u64>) -> Admitted {
    let mut admitted = Admitted::default();
    let excess = |count: usize, most: usize| count.saturating_sub(most) as u64;
    admitted.malformed += excess(analysis.findings.len(), MAX_FINDINGS) + excess(analysis.metrics.len(), MAX_SAMPLES);
    for finding in analysis.findings.into_iter().take(MAX_FINDINGS) {
        match checked(finding, &seen, &mut admitted.malformed) {
            Some(finding) => admitted.findings.push(finding),
            None => admitted.malformed += 1,
        }
    }
    for sample in analysis.metrics.into_iter().take(MAX_SAMPLES) {
        let kind = match sample.kind {
            0 => Some(SampleKind::Gauge),
            1 => Some(SampleKind::Counter),
            2 => Some(SampleKind::Observation),
            _ => None,
        };
        match kind.filter(|_| sample.value.is_finite()) {
            Some(kind) => admitted.samples.push(Sample { name: sample.name, kind, value: sample.value, labels: sample.labels }),
            None => admitted.malformed += 1,
        }
    }
    admitted
}

fn checked(finding: wire::Finding, seen: &std::ops::RangeInclusive<u64>, malformed: &mut u64) -> Option<NewFinding> {
    let rule = cut(finding.rule.trim().to_owned(), MAX_RULE_BYTES);
    if rule.is_empty() || rule.starts_with(OWN_PREFIX) {
        return None;
    }
    let mut known = |seq: u64| {
        let known = seq == 0 || seen.contains(&seq);
        *malformed += u64::from(!known);
        if known { seq } else { 0 }
    };
    let (first_seq, last_seq) = (known(finding.first_seq), known(finding.last_seq));
    let sample_seqs: Vec<u64> =
        finding.sample_seqs.into_iter().take(MAX_SAMPLE_SEQS).map(&mut known).filter(|seq| *seq > 0).collect();
    let in_order = first_seq <= last_seq || last_seq == 0;
    *malformed += u64::from(!in_order);
    let labels = labels(finding.labels, malformed);
    let title = cut(finding.title, MAX_TITLE_BYTES);
    Some(NewFinding {
        title: if title.trim().is_empty() { rule.clone() } else { title },
        rule,
        severity: finding.severity.min(MAX_SEVERITY),
        message: cut(finding.message, MAX_MESSAGE_BYTES),
        dedupe_key: cut(finding.dedupe_key, MAX_KEY_BYTES),
        score: if finding.score.is_finite() { finding.score.clamp(0.0, 1.0) } else { 0.0 },
        count: finding.count,
        first_seq: if in_order { first_seq } else { 0 },
        last_seq: if in_order { last_seq } else { 0 },
        first_time: Timestamp::from_nanos(finding.first_time).min(Timestamp::MAX),
        last_time: Timestamp::from_nanos(finding.last_time).min(Timestamp::MAX),
        sample_seqs,
        labels,
    })
}

fn labels(given: Vec<(String, String)>, malformed: &mut u64) -> BTreeMap<String, String> {
    let (mut labels, mut bytes) = (BTreeMap::new(), 0);
    for (name, value) in given {
        let value = cut(value, MAX_LABEL_VALUE_BYTES);
        let ours = OWN_LABELS.contains(&name.as_str()) || name.starts_with("__") || name.starts_with("watchfire");
        let usable = !name.is_empty() && name.len() <= MAX_LABEL_NAME_BYTES && !name.chars().any(char::is_control);
        let fits = labels.len() < MAX_LABELS && bytes + name.len() + value.len() <= MAX_LABEL_BYTES;
        if ours || !usable || !fits || labels.contains_key(&name) {
            *malformed += 1;
            continue;
        }
        bytes += name.len() + value.len();
        labels.insert(name, value);
    }
    labels
}

/// Returns at most `bytes` bytes of `text`.
#[must_use]
pub fn cut(mut text: String, bytes: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn finding(rule: &str) -> wire::Finding {
        wire::Finding {
            rule: rule.to_owned(),
            severity: 13,
            title: "title".to_owned(),
            message: "message".to_owned(),
            dedupe_key: "key".to_owned(),
            score: 0.5,
            count: 3,
            first_seq: 5,
            last_seq: 7,
            first_time: 1,
            last_time: 2,
            sample_seqs: vec![5, 6],
            labels: vec![("ip".to_owned(), "10.0.0.1".to_owned())],
            extra: Vec::new(),
        }
    }

    fn analysis(findings: Vec<wire::Finding>) -> wire::Analysis {
        wire::Analysis { findings, metrics: Vec::new(), extra: Vec::new() }
    }

    #[test]
    fn a_well_formed_finding_is_taken_as_it_is() {
        let admitted = admit(analysis(vec![finding("burst")]), 1..=10);
        let taken = &admitted.findings[0];
        assert_eq!((taken.rule.as_str(), taken.severity, taken.count, taken.first_seq, taken.last_seq), ("burst", 13, 3, 5, 7));
        assert_eq!((&taken.sample_seqs[..], &taken.labels["ip"][..]), (&[5, 6][..], "10.0.0.1"));
        assert_eq!(admitted.malformed, 0);
    }

    #[test]
    fn what_cannot_be_right_is_dropped_and_counted() {
        let with = |change: fn(&mut wire::Finding)| {
            let mut finding = finding("burst");
            change(&mut finding);
            let mut admitted = admit(analysis(vec![finding]), 4..=10);
            (admitted.findings.pop().unwrap_or_default(), admitted.malformed)
        };
        assert_eq!(with(|finding| finding.rule = " ".to_owned()), (NewFinding::default(), 1));
        assert_eq!(with(|finding| finding.rule = "watchfire.records_missed".to_owned()), (NewFinding::default(), 1));
        let (taken, malformed) = with(|finding| finding.sample_seqs = vec![3, 4, 11, u64::MAX]);
        assert_eq!((taken.sample_seqs, malformed), (vec![4], 3));
        let (taken, malformed) = with(|finding| finding.first_seq = 8);
        assert_eq!((taken.first_seq, taken.last_seq, malformed), (0, 0, 1));
        let (taken, malformed) = with(|finding| finding.last_seq = 11);
        assert_eq!((taken.first_seq, taken.last_seq, malformed), (5, 0, 1));
        let score = |change| format!("{:?}", with(change).0.score);
        assert_eq!(score(|finding| finding.score = f64::NAN), "0.0");
        assert_eq!(score(|finding| finding.score = 7.0), "1.0");
        assert_eq!(with(|finding| finding.severity = 255).0.severity, 24);
        assert_eq!(with(|finding| finding.last_time = u64::MAX).0.last_time, Timestamp::MAX);
        assert_eq!(with(|finding| finding.title = String::new()).0.title, "burst");
        let (taken, malformed) = with(|finding| {
            let name = |name: &str| (name.to_owned(), "x".to_owned());
            finding.labels = ["alertname", "__a", "", "ip", "ip", "a\nb"].map(name).to_vec();
        });
        assert_eq!((taken.labels.into_keys().collect::<Vec<_>>(), malformed), (vec!["ip".to_owned()], 5));
    }

    #[test]
    fn too_much_is_cut() {
        let mut long = finding(&"ü".repeat(1_000));
        long.message = "m".repeat(100_000);
        long.dedupe_key = "k".repeat(100_000);
        long.labels = (0..100).map(|number| (format!("l{number}"), "v".repeat(100))).collect();
        long.sample_seqs = vec![5; 10_000];
        let metric = wire::MetricSample { name: "x".to_owned(), kind: 0, value: 1.0, labels: Vec::new(), at: None };
        let strange = wire::MetricSample { kind: 9, ..metric.clone() };
        let metrics = [vec![strange], vec![metric; MAX_SAMPLES + 1]].concat();
        let admitted = admit(wire::Analysis { findings: vec![long; MAX_FINDINGS + 5], metrics, extra: Vec::new() }, 1..=10);
        let taken = &admitted.findings[0];
        assert_eq!(
            (taken.rule.len(), taken.message.len(), taken.dedupe_key.len(), taken.labels.len(), taken.sample_seqs.len()),
            (128, 4_096, 512, 32, 32)
        );
        let mut wide = finding("wide");
        wide.labels = (0..10).map(|number| (format!("l{number}"), "v".repeat(10_000))).collect();
        let taken = admit(analysis(vec![wide]), 1..=10).findings.remove(0);
        assert_eq!((taken.labels.len(), taken.labels["l0"].len()), (3, 1_024));
        assert_eq!((admitted.findings.len(), admitted.samples.len()), (1_000, 999));
        assert_eq!(admitted.malformed, 5 + 2 + 1 + 68 * 1_000);
    }
}
