//! Cases for the engine, and the makers of rules and data that other tests use too.

use parking_lot::Mutex;
use watchfire_types::{MetricKind, SeriesKey};

use super::*;
use crate::alerts::log_windows::testing::{errors, factory};
use crate::alerts::types::{RecordFilter, RuleOrigin};
use crate::nearest::nearest;

pub(crate) fn seconds(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

pub(crate) fn metric_rule(name: &str, metric: &str, threshold: f64) -> Rule {
    Rule {
        name: name.into(),
        condition: Condition::Metric { name: metric.into(), labels: Vec::new(), aggregate: Aggregate::Last },
        comparison: Comparison::Greater,
        threshold,
        window: Duration::from_secs(300),
        hold_for: Duration::ZERO,
        keep_firing_for: Duration::ZERO,
        level: Level::Warning,
        cooldown: None,
        receiver: None,
        no_data: NoData::Keep,
        labels: Vec::new(),
        annotations: Vec::new(),
        origin: RuleOrigin::File,
    }
}

pub(crate) fn log_rule(name: &str, window_seconds: u64, threshold: f64, group_by: &[&str]) -> Rule {
    let group_by = group_by.iter().map(|key| (*key).to_owned()).collect();
    Rule {
        condition: Condition::LogCount { filter: RecordFilter::default(), group_by },
        comparison: Comparison::GreaterOrEqual,
        window: Duration::from_secs(window_seconds),
        ..metric_rule(name, "", threshold)
    }
}

/// Samples that a test sets.
#[derive(Default)]
pub(crate) struct TestSamples(pub(crate) Mutex<Vec<SeriesData>>);

impl TestSamples {
    pub(crate) fn set(&self, name: &str, device: &str, samples: &[(u64, f64)]) {
        let series = SeriesKey::new(name, [("device".to_owned(), device.to_owned())]);
        let samples = samples.iter().map(|(at, value)| Sample { timestamp: seconds(*at), value: *value }).collect();
        let mut all = self.0.lock();
        all.retain(|data| data.series != series);
        all.push(SeriesData { series, kind: MetricKind::Gauge, unit: String::new(), samples });
    }
}

impl SampleSource for TestSamples {
    fn recent(&self, name: &str, labels: &[(String, String)], since: Timestamp) -> Vec<SeriesData> {
        let wanted = |data: &&SeriesData| data.series.name == name && labels.iter().all(|pair| data.series.labels.contains(pair));
        let cut = |data: &SeriesData| {
            let samples = data.samples.iter().filter(|sample| sample.timestamp >= since).copied().collect();
            SeriesData { samples, ..data.clone() }
        };
        self.0.lock().iter().filter(wanted).map(cut).collect()
    }

    fn nearest_name(&self, name: &str) -> Option<String> {
        nearest(name, self.0.lock().iter().map(|data| data.series.name.as_str())).map(str::to_owned)
    }
}

/// A rule, its data and what is known, driven by a test.
struct Bench {
    rules: Vec<Rule>,
    samples: TestSamples,
    windows: Windows,
    known: Known,
}

impl Bench {
    fn new(rule: Rule) -> Self {
        let rules = vec![rule];
        let mut windows = Windows::new(&rules, &factory(), 0);
        windows.logs.ready = true;
        Self { rules, samples: TestSamples::default(), windows, known: Known::new() }
    }

    fn at(&mut self, second: u64) -> Evaluation {
        self.windows.advance(seconds(second));
        let options = Options { stale_after: Duration::from_secs(60), started: seconds(0) };
        let evaluation = evaluate(&self.rules, &self.samples, &self.windows, &self.known, options, seconds(second));
        self.known = evaluation.alerts.clone();
        evaluation
    }

    fn states(&mut self, second: u64) -> String {
        let evaluation = self.at(second);
        let text = |transition: &Transition| {
            let device = transition.labels.get("device").or(transition.labels.get("service.name"));
            format!("{}{}", device.map(|device| format!("{device} ")).unwrap_or_default(), transition.to.name())
        };
        evaluation.transitions.iter().map(text).collect::<Vec<_>>().join(", ")
    }
}

#[test]
fn each_series_is_an_alert_of_its_own() {
    let mut bench = Bench::new(metric_rule("disk", "disk", 80.0));
    bench.samples.set("disk", "sda", &[(10, 90.0)]);
    bench.samples.set("disk", "sdb", &[(10, 70.0)]);
    assert_eq!(bench.states(10), "sda firing");
    bench.samples.set("disk", "sda", &[(20, 10.0)]);
    bench.samples.set("disk", "sdb", &[(20, 95.0)]);
    let mut changes: Vec<_> = bench.at(20).transitions.iter().map(|change| change.to.name()).collect();
    changes.sort_unstable();
    assert_eq!(changes, ["firing", "inactive"]);
}

#[test]
fn pending_fires_at_its_deadline() {
    let mut bench = Bench::new(Rule { hold_for: Duration::from_secs(30), ..metric_rule("disk", "disk", 80.0) });
    bench.samples.set("disk", "sda", &[(10, 90.0)]);
    let evaluation = bench.at(10);
    assert_eq!(evaluation.next_deadline, Some(seconds(40)));
    assert_eq!(bench.states(39), "");
    assert_eq!(bench.states(40), "sda firing");
}

#[test]
fn a_stale_sample_is_no_data() {
    let rule = Rule { window: Duration::from_secs(10), ..metric_rule("disk", "disk", 80.0) };
    for (no_data, expected) in [(NoData::Keep, ""), (NoData::Ok, "sda inactive"), (NoData::Alert, "")] {
        let mut bench = Bench::new(Rule { no_data, ..rule.clone() });
        bench.samples.set("disk", "sda", &[(10, 90.0)]);
        assert_eq!(bench.states(10), "sda firing");
        assert_eq!(bench.states(65), "", "still fresh: {no_data:?}");
        assert_eq!(bench.states(71), expected, "{no_data:?}");
    }
}

#[test]
fn a_metric_that_never_came_alerts_if_asked_to() {
    let mut bench = Bench::new(Rule { no_data: NoData::Alert, ..metric_rule("disk", "disc", 80.0) });
    bench.samples.set("disk", "sda", &[(10, 10.0)]);
    let evaluation = bench.at(10);
    assert_eq!(evaluation.transitions.len(), 1);
    assert_eq!(evaluation.failures[0].problem.to_string(), "no metric is called `disc`; did you mean `disk`?");
}

#[test]
fn a_broken_rule_leaves_the_others_alone() {
    let mut bench = Bench::new(metric_rule("disk", "disk", 80.0));
    bench.rules.insert(0, metric_rule("typo", "disc", 80.0));
    bench.samples.set("disk", "sda", &[(10, 90.0)]);
    let evaluation = bench.at(10);
    assert_eq!((evaluation.transitions.len(), evaluation.failures.len()), (1, 1));
}

#[test]
fn aggregates_look_at_the_window() {
    let samples: Vec<Sample> =
        [(0, 10.0), (10, 30.0), (20, 5.0), (30, 15.0)].map(|(at, value)| Sample { timestamp: seconds(at), value }).to_vec();
    let all = [Aggregate::Last, Aggregate::Avg, Aggregate::Min, Aggregate::Max, Aggregate::Increase];
    assert_eq!(all.map(|aggregate| reduce(aggregate, &samples).unwrap() as u64), [15, 15, 5, 30, 35]);
    assert!((reduce(Aggregate::Rate, &samples).unwrap() - 35.0 / 30.0).abs() < 1e-9);
    assert_eq!(reduce(Aggregate::Increase, &samples[..1]), None);
}

#[test]
fn a_burst_of_lines_fires_and_resolves_when_it_has_left_the_window() {
    let mut bench = Bench::new(log_rule("burst", 60, 3.0, &["service.name"]));
    bench.windows.logs.observe(&errors("api", &[100, 100, 101]), seconds(101));
    bench.windows.logs.observe(&errors("web", &[100]), seconds(101));
    let evaluation = bench.at(101);
    assert_eq!(evaluation.next_deadline, Some(seconds(161)));
    assert_eq!(evaluation.transitions[0].labels["service.name"], "api");
    assert_eq!(bench.states(160), "");
    assert_eq!(bench.states(161), "api inactive");
}

#[test]
fn nothing_resolves_before_the_windows_are_rebuilt() {
    let mut bench = Bench::new(log_rule("burst", 60, 1.0, &[]));
    bench.windows.logs.observe(&errors("api", &[100]), seconds(100));
    assert_eq!(bench.states(100), "firing");
    bench.windows = Windows::new(&bench.rules, &factory(), 0);
    assert_eq!(bench.states(110), "");
    bench.windows.logs.ready = true;
    assert_eq!(bench.states(111), "inactive");
}

#[test]
fn too_few_records_alert_only_after_a_whole_window() {
    let mut bench = Bench::new(Rule { comparison: Comparison::Less, ..log_rule("silence", 60, 1.0, &[]) });
    let evaluation = bench.at(10);
    assert_eq!((evaluation.transitions.len(), evaluation.next_deadline), (0, Some(seconds(60))));
    assert_eq!(bench.states(60), "firing");
    bench.windows.logs.observe(&errors("api", &[70]), seconds(70));
    let evaluation = bench.at(70);
    assert_eq!(evaluation.transitions[0].to, AlertState::Inactive);
    assert_eq!(evaluation.next_deadline, Some(seconds(131)));
    assert_eq!(bench.states(131), "firing");
}

#[test]
fn the_alerts_of_a_removed_rule_resolve() {
    let mut bench = Bench::new(metric_rule("disk", "disk", 80.0));
    bench.samples.set("disk", "sda", &[(10, 90.0)]);
    assert_eq!(bench.states(10), "sda firing");
    bench.rules.clear();
    assert_eq!(bench.states(11), "sda inactive");
    assert_eq!(bench.states(12), "");
}

#[test]
fn keep_firing_for_counts_from_the_last_look_that_held() {
    let mut bench = Bench::new(Rule { keep_firing_for: Duration::from_secs(60), ..metric_rule("disk", "disk", 80.0) });
    bench.samples.set("disk", "sda", &[(10, 90.0)]);
    assert_eq!(bench.states(10), "sda firing");
    assert_eq!(bench.states(50), "");
    bench.samples.set("disk", "sda", &[(55, 10.0)]);
    let evaluation = bench.at(55);
    assert_eq!(evaluation.touched.len(), 1);
    assert_eq!(evaluation.next_deadline, Some(seconds(115)));
    assert_eq!(bench.states(114), "");
    assert_eq!(bench.states(115), "sda inactive");
}
