//! Cases for the engine, and the makers of rules and data that other tests use too.

use parking_lot::Mutex;
use watchfire_types::{MetricKind, SeriesKey};

use super::*;
use crate::alerts::event_windows::EventWindows;
use crate::alerts::events::testing::{any_finding, finding};
use crate::alerts::events::{EventFilter, FINDINGS};
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

pub(crate) fn event_rule(name: &str, window_seconds: u64, filter: EventFilter, group_by: &[&str]) -> Rule {
    let group_by = group_by.iter().map(|key| (*key).to_owned()).collect();
    Rule {
        condition: Condition::Events { filter, group_by },
        comparison: Comparison::GreaterOrEqual,
        window: Duration::from_secs(window_seconds),
        ..metric_rule(name, "", 1.0)
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
    /// Of the last finding.
    position: u64,
}

impl Bench {
    fn new(rule: Rule) -> Self {
        let rules = vec![rule];
        let mut windows = Windows::new(&rules, &factory(), 0);
        windows.logs.ready = true;
        windows.events.set_ready(FINDINGS);
        Self { rules, samples: TestSamples::default(), windows, known: Known::new(), position: 0 }
    }

    fn at(&mut self, second: u64) -> Evaluation {
        self.windows.advance(seconds(second));
        let options = Options { stale_after: Duration::from_secs(60), started: seconds(0) };
        let data = Data {
            samples: &self.samples,
            windows: &self.windows,
            sources: &[FINDINGS],
            analyzers: &|| vec!["ssh-brute-force".to_owned()],
        };
        let evaluation = evaluate(&self.rules, data, &self.known, options, seconds(second));
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

impl Bench {
    fn findings(&mut self, keys: &[(&str, u64)]) {
        self.position += keys.len() as u64;
        let first = self.position - keys.len() as u64 + 1;
        let events = (first..).zip(keys).map(|(position, (key, at))| (finding(key, position, seconds(*at)), seconds(*at)));
        let events: Vec<_> = events.collect();
        let now = events.last().unwrap().1;
        self.windows.events.observe(FINDINGS, &events, now);
    }
}

#[test]
fn each_dedupe_key_is_an_alert_of_its_own_until_its_last_finding_has_left_the_window() {
    let mut bench = Bench::new(event_rule("ssh", 60, any_finding(), &[]));
    bench.findings(&[("10.0.0.1", 100), ("10.0.0.2", 100)]);
    let evaluation = bench.at(100);
    assert_eq!(evaluation.transitions.len(), 2);
    assert_eq!(evaluation.next_deadline, Some(seconds(161)));
    bench.findings(&[("10.0.0.1", 130)]);
    assert_eq!(bench.states(160), "");
    let evaluation = bench.at(161);
    assert_eq!(evaluation.transitions[0].labels["key"], "10.0.0.2");
    assert_eq!(bench.at(190).transitions, []);
    assert_eq!(bench.at(191).transitions[0].labels["key"], "10.0.0.1");
    assert!(bench.known.is_empty());
}

#[test]
fn an_alert_has_the_findings_labels_and_its_words_and_the_rules_labels_win() {
    let labels = vec![("team".into(), "ops".into()), ("ip".into(), "hidden".into()), ("key".into(), "mine".into())];
    let mut bench = Bench::new(Rule { labels, ..event_rule("ssh", 60, any_finding(), &[]) });
    bench.findings(&[("10.0.0.1", 100), ("10.0.0.2", 100)]);
    let evaluation = bench.at(100);
    assert_eq!(evaluation.transitions.len(), 2, "told apart though they look alike");
    let (labels, annotations) = (&evaluation.transitions[0].labels, &evaluation.transitions[0].annotations);
    insta::assert_snapshot!(format!("{labels:?}"), @r#"{"alertname": "ssh", "analyzer": "ssh", "ip": "hidden", "key": "mine", "team": "ops"}"#);
    assert!(annotations["summary"].starts_with("attack from 10.0.0."), "{annotations:?}");
    assert!(annotations["description"].starts_with("finding "), "{annotations:?}");
}

#[test]
fn an_alert_stays_the_same_when_its_findings_say_something_else() {
    let mut bench = Bench::new(event_rule("ssh", 60, any_finding(), &[]));
    bench.findings(&[("10.0.0.1", 100)]);
    let print = bench.at(100).transitions[0].fingerprint.clone();
    let mut other = finding("10.0.0.1", 9, seconds(130));
    other.labels.insert("user".into(), "root".into());
    other.title = "now as root".into();
    bench.windows.events.observe(FINDINGS, &[(other, seconds(130))], seconds(130));
    assert_eq!(bench.at(130).transitions, []);
    assert_eq!(bench.known[&print].labels.get("user"), None);
    assert_eq!(bench.known[&print].newest.as_ref().unwrap().title, "now as root");
    // Another host, which has only the newest finding, finds the same alert.
    bench.windows.events = EventWindows::new(&bench.rules);
    bench.windows.events.set_ready(FINDINGS);
    bench.findings(&[("10.0.0.1", 130)]);
    assert_eq!(bench.at(131).transitions, []);
}

#[test]
fn findings_can_be_counted_by_a_label_of_theirs() {
    let mut bench = Bench::new(Rule { threshold: 2.0, ..event_rule("ssh", 60, any_finding(), &["rule", "ip"]) });
    bench.findings(&[("10.0.0.1", 100), ("10.0.0.2", 100), ("10.0.0.1", 101)]);
    let evaluation = bench.at(101);
    let labels = &evaluation.transitions[0].labels;
    insta::assert_snapshot!(format!("{labels:?}"), @r#"{"alertname": "ssh", "ip": "10.0.0.1", "rule": "brute_force"}"#);
    assert_eq!((evaluation.transitions.len(), evaluation.transitions[0].value), (1, Some(2.0)));
}

#[test]
fn a_rule_whose_analyzer_is_not_there_says_so_until_it_finds_something() {
    let filter = |name: &str| EventFilter::Finding { analyzer: Some(name.into()), rule: None, level: None, labels: Vec::new() };
    let mut bench = Bench::new(event_rule("known", 60, filter("ssh-brute-force"), &[]));
    assert_eq!(bench.at(100).failures, []);
    bench = Bench::new(event_rule("slip", 60, filter("ssh-bruteforce"), &[]));
    insta::assert_snapshot!(bench.at(100).failures[0].problem, @"no finding from `ssh-bruteforce` has been seen, and no analyzer of this name is there; did you mean `ssh-brute-force`?");
    bench = Bench::new(event_rule("gone", 60, filter("ssh"), &[]));
    assert_eq!(bench.at(100).failures.len(), 1);
    bench.findings(&[("10.0.0.1", 100)]);
    assert_eq!(bench.at(100).failures, []);
    let issues = EventFilter::NewIssue { service: None, level: None, regressions: true };
    bench = Bench::new(event_rule("issues", 60, issues, &[]));
    insta::assert_snapshot!(bench.at(100).failures[0].problem, @"nothing here makes the issues that this rule counts");
}

#[test]
fn a_rule_with_too_many_keys_says_so() {
    let mut bench = Bench::new(event_rule("ssh", 60, any_finding(), &[]));
    let keys: Vec<String> = (0..=MAX_GROUPS).map(|key| format!("k{key}")).collect();
    bench.findings(&keys.iter().map(|key| (key.as_str(), 100)).collect::<Vec<_>>());
    let evaluation = bench.at(100);
    assert_eq!(evaluation.transitions.len(), MAX_GROUPS);
    insta::assert_snapshot!(evaluation.failures[0].problem, @"more than 1000 groups within the window: what belongs to further ones raises no alert");
    assert_eq!(bench.windows.events.take_dropped(), 1);
    assert_eq!(bench.at(200).failures, []);
}
