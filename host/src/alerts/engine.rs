//! Decides: from rules, data and what was known to what is now. Sees no SQL, HTTP, files or clock.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use watchfire_types::{Sample, Timestamp};

use super::annotations;
use super::counting::MAX_GROUPS;
use super::event_windows::Newest;
use super::identity::{Labels, fingerprint, labels_of};
use super::types::{Aggregate, AlertState, Comparison, Condition, Level, NoData, Observation, Rule};
use super::windows::{RuleGroup, Windows};
use crate::metrics::SeriesData;
use crate::nearest::did_you_mean;

/// Most alerts that one rule makes; further series are left out and reported.
pub const MAX_ALERTS_PER_RULE: usize = 10_000;

/// Where metric rules get their samples.
pub trait SampleSource: Send + Sync {
    /// Returns the series of metric `name` (either spelling) whose labels include `labels`, with recent samples from `since` on.
    fn recent(&self, name: &str, labels: &[(String, String)], since: Timestamp) -> Vec<SeriesData>;
    /// Returns the known metric name that is nearest to `name`; `name` itself if it is known.
    fn nearest_name(&self, name: &str) -> Option<String>;
}

/// What rules look at.
#[derive(Clone, Copy)]
pub struct Data<'a> {
    /// For rules over metrics.
    pub samples: &'a dyn SampleSource,
    /// For rules that count.
    pub windows: &'a Windows,
    /// Sources of events that there are.
    pub sources: &'a [&'static str],
    /// Names of the analyzers that there are.
    pub analyzers: &'a dyn Fn() -> Vec<String>,
}

/// One alert that is pending or firing.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Its identity.
    pub fingerprint: String,
    /// Name of its rule.
    pub rule: String,
    /// What the fingerprint is made of.
    pub labels: Labels,
    /// Pending or firing.
    pub state: AlertState,
    /// Whether the condition held when last seen.
    pub holding: bool,
    /// Value when last seen.
    pub value: Option<f64>,
    /// The newest event that it is about, if it is about events and one of them was seen since the start.
    pub newest: Option<Arc<Newest>>,
}

/// The alerts that are pending or firing, by fingerprint.
pub type Known = BTreeMap<String, Alert>;

/// A change of state, to be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// Which alert.
    pub fingerprint: String,
    /// Name of its rule.
    pub rule: String,
    /// Its labels.
    pub labels: Labels,
    /// Annotations, filled in.
    pub annotations: BTreeMap<String, String>,
    /// How serious it is.
    pub level: Level,
    /// The rule's condition in words.
    pub condition: String,
    /// What the value was compared with.
    pub threshold: f64,
    /// Before.
    pub from: AlertState,
    /// After.
    pub to: AlertState,
    /// The value that made it so.
    pub value: Option<f64>,
    /// Why, in words.
    pub reason: String,
}

/// Why a rule, or a part of it, could not be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleProblem {
    /// Nothing of this name has ever been seen.
    #[error("no metric is called `{name}`{}", nearest.as_ref().map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default())]
    UnknownMetric {
        /// As the rule writes it.
        name: String,
        /// The nearest known name.
        nearest: Option<String>,
    },
    /// The metric is there, but no series with these labels has a sample in the window.
    #[error("metric `{name}` has no recent sample with these labels")]
    NoSamples {
        /// As the rule writes it.
        name: String,
    },
    /// Labels of the rule hide what tells its series apart.
    #[error("two series make the same alert: labels of the rule replace a label of the series")]
    SameAlert,
    /// The configuration no longer has the receiver of a rule made through the API.
    #[error("receiver `{receiver}` is no longer in the configuration, so this rule tells nobody")]
    NoReceiver {
        /// As the rule writes it.
        receiver: String,
    },
    /// No analyzer of this name is there, and none has found anything lately.
    #[error("no finding from `{name}` has been seen, and no analyzer of this name is there{hint}")]
    UnknownAnalyzer {
        /// As the rule writes it.
        name: String,
        /// The nearest name, as a question.
        hint: String,
    },
    /// Nothing here makes what the rule counts.
    #[error("nothing here makes the {source_name} that this rule counts")]
    NoSource {
        /// Of findings, or of issues.
        source_name: &'static str,
    },
    /// More groups than one rule may count.
    #[error("more than {MAX_GROUPS} groups within the window: what belongs to further ones raises no alert")]
    TooManyGroups,
    /// More series than one rule may have alerts.
    #[error("more than {MAX_ALERTS_PER_RULE} series: only the first ones are watched")]
    TooMany,
}

/// A rule that could not be evaluated, wholly or in part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its name.
    pub rule: String,
    /// What is wrong.
    pub problem: RuleProblem,
}

/// What an evaluation found. Nothing of it holds before it is stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// The alerts as they are now.
    pub alerts: Known,
    /// What changed.
    pub transitions: Vec<Transition>,
    /// Firing alerts whose condition began or ceased to hold without a change of state, and when it last held (`None`: it does now).
    pub touched: Vec<(String, Option<Timestamp>)>,
    /// What could not be evaluated.
    pub failures: Vec<Failure>,
    /// The next moment at which time alone changes something.
    pub next_deadline: Option<Timestamp>,
}

/// What evaluation needs to know beside rules and data.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// A newest sample older than this (and than the window) is no data.
    pub stale_after: Duration,
    /// Since when records have been counted: "fewer than" rules wait for a whole window.
    pub started: Timestamp,
}

/// What one rule sees of one series or group.
struct Seen {
    fingerprint: String,
    labels: Labels,
    observation: Observation,
    value: Option<f64>,
    flips_at: Option<Timestamp>,
    newest: Option<Arc<Newest>>,
}

impl Seen {
    fn new(labels: Labels, observation: Observation, value: Option<f64>) -> Self {
        Self { fingerprint: fingerprint(&labels), labels, observation, value, flips_at: None, newest: None }
    }
}

/// Evaluates `rules` at `now`. One broken rule never silences the rest: failures come back beside transitions.
#[must_use]
pub fn evaluate(rules: &[Rule], data: Data<'_>, known: &Known, options: Options, now: Timestamp) -> Evaluation {
    let mut by_rule: HashMap<&str, Vec<&Alert>> = HashMap::new();
    for alert in known.values() {
        by_rule.entry(&alert.rule).or_default().push(alert);
    }
    let mut evaluation = Evaluation::default();
    for rule in rules {
        let current = by_rule.remove(rule.name.as_str()).unwrap_or_default();
        let problems = data.problems(rule);
        evaluation.failures.extend(problems.into_iter().map(|problem| Failure { rule: rule.name.clone(), problem }));
        let mut seen = match &rule.condition {
            Condition::Metric { name, labels, aggregate } => {
                let (seen, problem) = look_at_metric(rule, name, labels, *aggregate, data.samples, options, now);
                evaluation.failures.extend(problem.map(|problem| Failure { rule: rule.name.clone(), problem }));
                seen
            }
            Condition::LogCount { .. } | Condition::Events { .. } => {
                let Some(groups) = data.windows.groups(rule) else {
                    // Counts are not complete yet: leave everything as it is.
                    evaluation.alerts.extend(current.into_iter().map(|alert| (alert.fingerprint.clone(), alert.clone())));
                    continue;
                };
                look_at_counts(rule, groups, options, now)
            }
        };
        if seen.len() > MAX_ALERTS_PER_RULE {
            seen.truncate(MAX_ALERTS_PER_RULE);
            evaluation.failures.push(Failure { rule: rule.name.clone(), problem: RuleProblem::TooMany });
        }
        judge(rule, seen, &current, &mut evaluation, now);
    }
    for alert in by_rule.into_values().flatten() {
        evaluation.transitions.push(Transition {
            fingerprint: alert.fingerprint.clone(),
            rule: alert.rule.clone(),
            labels: alert.labels.clone(),
            annotations: BTreeMap::new(),
            level: Level::default(),
            condition: String::new(),
            threshold: 0.0,
            from: alert.state,
            to: AlertState::Inactive,
            value: alert.value,
            reason: "the rule was removed".to_owned(),
        });
    }
    evaluation.transitions.sort_by(|left, right| left.fingerprint.cmp(&right.fingerprint));
    evaluation
}

impl Data<'_> {
    /// Returns what keeps a rule over events from seeing any.
    fn problems(&self, rule: &Rule) -> Vec<RuleProblem> {
        let Condition::Events { filter, .. } = &rule.condition else { return Vec::new() };
        if !self.sources.contains(&filter.source()) {
            return vec![RuleProblem::NoSource { source_name: filter.source() }];
        }
        let unknown = self.windows.events.unmet(&rule.name).and_then(|name| {
            let analyzers = (self.analyzers)();
            let hint = || did_you_mean(name, analyzers.iter().map(String::as_str));
            (!analyzers.iter().any(|known| known == name))
                .then(|| RuleProblem::UnknownAnalyzer { name: name.to_owned(), hint: hint() })
        });
        let full = self.windows.events.is_full(&rule.name).then_some(RuleProblem::TooManyGroups);
        unknown.into_iter().chain(full).collect()
    }
}

/// Steps every alert of one rule, those that were not seen included.
fn judge(rule: &Rule, seen: Vec<Seen>, current: &[&Alert], evaluation: &mut Evaluation, now: Timestamp) {
    let before: HashMap<&str, &Alert> = current.iter().map(|alert| (alert.fingerprint.as_str(), *alert)).collect();
    let mut done: BTreeMap<String, Seen> = BTreeMap::new();
    let mut clash = false;
    for one in seen {
        let print = one.fingerprint.clone();
        match done.get(&print) {
            // Of two that cannot be told apart, the one that holds counts.
            Some(first) => {
                clash = true;
                if first.observation != Observation::Holds {
                    done.insert(print, one);
                }
            }
            None => {
                done.insert(print, one);
            }
        }
    }
    if clash {
        evaluation.failures.push(Failure { rule: rule.name.clone(), problem: RuleProblem::SameAlert });
    }
    for alert in current {
        if !done.contains_key(&alert.fingerprint) {
            let (observation, value) = match rule.condition {
                Condition::Metric { .. } => (no_data(rule), None),
                Condition::LogCount { .. } | Condition::Events { .. } => (compare(rule, 0.0), Some(0.0)),
            };
            let fingerprint = alert.fingerprint.clone();
            let unseen = Seen { fingerprint, ..Seen::new(alert.labels.clone(), observation, value) };
            done.insert(alert.fingerprint.clone(), unseen);
        }
    }
    for (print, mut one) in done {
        let old = before.get(print.as_str());
        if let Some(old) = old {
            // Labels that are no part of its identity stay what they were when it began.
            one.labels.clone_from(&old.labels);
            one.newest = one.newest.or_else(|| old.newest.clone());
        }
        let from = old.map_or(AlertState::Inactive, |alert| alert.state);
        let mut to = from.step(one.observation, rule.hold_for, rule.keep_firing_for, now);
        let holding = one.observation == Observation::Holds;
        // An alert that had held until this look ceases to hold now, not when it was last stored.
        if let (AlertState::Firing { since, .. }, Some(old)) = (from, old)
            && old.holding
            && one.observation == Observation::Fine
        {
            let from = AlertState::Firing { since, held: now };
            to = from.step(one.observation, rule.hold_for, rule.keep_firing_for, now);
        }
        if !to.same_kind(from) {
            evaluation.transitions.push(Transition {
                fingerprint: print.clone(),
                rule: rule.name.clone(),
                annotations: annotations::render(rule, &one.labels, one.value, one.newest.as_deref()),
                labels: one.labels.clone(),
                level: rule.level,
                condition: rule.describe(),
                threshold: rule.threshold,
                from,
                to,
                value: one.value,
                reason: reason(rule, &one),
            });
        } else if let (AlertState::Firing { held, .. }, Some(old)) = (to, old)
            && one.observation != Observation::Gap
            && old.holding != holding
        {
            evaluation.touched.push((print.clone(), (!holding).then_some(held)));
        }
        let deadline = match to {
            AlertState::Pending { since } => Some(since.plus(rule.hold_for)),
            AlertState::Firing { held, .. } if !holding && one.observation == Observation::Fine => {
                Some(held.plus(rule.keep_firing_for))
            }
            _ => None,
        };
        let deadlines = [evaluation.next_deadline, deadline, one.flips_at];
        evaluation.next_deadline = deadlines.into_iter().flatten().filter(|deadline| *deadline > now).min();
        if to != AlertState::Inactive {
            let holding = if one.observation == Observation::Gap { old.is_some_and(|old| old.holding) } else { holding };
            let value = one.value.or(old.and_then(|old| old.value));
            let alert = Alert {
                fingerprint: print.clone(),
                rule: rule.name.clone(),
                labels: one.labels,
                state: to,
                holding,
                value,
                newest: one.newest,
            };
            evaluation.alerts.insert(print, alert);
        }
    }
}

fn look_at_counts(rule: &Rule, groups: Vec<RuleGroup<'_>>, options: Options, now: Timestamp) -> Vec<Seen> {
    let young = now.since(options.started) < rule.window;
    let seen = groups.into_iter().map(|group| {
        let holds = compare(rule, group.count as f64);
        // "Fewer than" holds on an empty log: it says something only after a whole window of listening.
        let too_early = young && matches!(rule.comparison, Comparison::Less | Comparison::LessOrEqual);
        let observation = if too_early && holds == Observation::Holds { Observation::Gap } else { holds };
        let mut labels = labels_of(rule, group.labels.iter().copied());
        let mut print = fingerprint(&labels);
        if let Some(newest) = group.newest {
            // What tells events apart does so whatever else they and the rule have for labels.
            let own = group.labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            print = fingerprint(&labels.clone().into_iter().chain(own).collect::<Labels>());
            newest.labels.iter().for_each(|(name, value)| {
                labels.entry(name.clone()).or_insert_with(|| value.clone());
            });
        }
        Seen {
            fingerprint: print,
            labels,
            observation,
            value: Some(group.count as f64),
            flips_at: if too_early { Some(options.started.plus(rule.window)) } else { group.flips_at },
            newest: group.newest.cloned(),
        }
    });
    seen.collect()
}

fn look_at_metric(
    rule: &Rule,
    name: &str,
    labels: &[(String, String)],
    aggregate: Aggregate,
    samples: &dyn SampleSource,
    options: Options,
    now: Timestamp,
) -> (Vec<Seen>, Option<RuleProblem>) {
    let lookback = if aggregate == Aggregate::Last { rule.window.max(options.stale_after) } else { rule.window };
    let since = now.minus(lookback);
    let mut seen = Vec::new();
    for data in samples.recent(name, labels, since) {
        let fresh: Vec<Sample> =
            data.samples.into_iter().filter(|sample| sample.timestamp > since && sample.value.is_finite()).collect();
        let value = reduce(aggregate, &fresh);
        let labels = labels_of(rule, data.series.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        seen.push(Seen::new(labels, value.map_or_else(|| no_data(rule), |value| compare(rule, value)), value));
    }
    if seen.iter().any(|one| one.value.is_some()) {
        return (seen, None);
    }
    let problem = match samples.nearest_name(name) {
        Some(known) if watchfire_types::metric::normalized_name(&known) == watchfire_types::metric::normalized_name(name) => {
            RuleProblem::NoSamples { name: name.to_owned() }
        }
        nearest => RuleProblem::UnknownMetric { name: name.to_owned(), nearest },
    };
    if seen.is_empty() && rule.no_data == NoData::Alert {
        let labels = labels_of(rule, labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        seen.push(Seen::new(labels, Observation::Holds, None));
    }
    (seen, Some(problem))
}

fn compare(rule: &Rule, value: f64) -> Observation {
    if rule.comparison.holds(value, rule.threshold) { Observation::Holds } else { Observation::Fine }
}

fn no_data(rule: &Rule) -> Observation {
    match rule.no_data {
        NoData::Keep => Observation::Gap,
        NoData::Ok => Observation::Fine,
        NoData::Alert => Observation::Holds,
    }
}

fn reason(rule: &Rule, seen: &Seen) -> String {
    match seen.value {
        Some(value) => format!("{}: the value is {}", rule.describe(), annotations::number(value)),
        None => format!("{}: no data", rule.describe()),
    }
}

/// Reduces samples, oldest first, to one value; `None` if they are too few.
fn reduce(aggregate: Aggregate, samples: &[Sample]) -> Option<f64> {
    let values = || samples.iter().map(|sample| sample.value);
    let (first, last) = (samples.first()?, samples.last()?);
    let increase = || -> Option<f64> {
        let pairs = samples.windows(2);
        // After a reset a counter starts from zero: what it shows then is what was added.
        let step = |pair: &[Sample]| if pair[1].value < pair[0].value { pair[1].value } else { pair[1].value - pair[0].value };
        (samples.len() > 1).then(|| pairs.map(step).sum())
    };
    match aggregate {
        Aggregate::Last => Some(last.value),
        Aggregate::Avg => Some(values().sum::<f64>() / samples.len() as f64),
        Aggregate::Min => values().reduce(f64::min),
        Aggregate::Max => values().reduce(f64::max),
        Aggregate::Increase => increase(),
        Aggregate::Rate => {
            let seconds = last.timestamp.since(first.timestamp).as_secs_f64();
            increase().filter(|_| seconds > 0.0).map(|increase| increase / seconds)
        }
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
pub(crate) mod testing;
