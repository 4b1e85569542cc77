//! The alert engine: rules over metrics, logs and what others find, their states, and who is told.
//!
//! [`windows`] count, [`engine`] decides, [`pipeline`] decides who is told, [`store`] remembers ([`upkeep`] keeps it bounded), [`runtime`] looks at the right moments, [`api`] speaks HTTP.

pub mod annotations;
pub mod api;
pub mod counting;
pub mod cursors;
pub mod engine;
pub mod event_reader;
pub mod event_windows;
pub mod events;
pub mod identity;
pub mod log_windows;
pub mod pipeline;
pub mod query;
pub mod runtime;
pub mod store;
pub mod types;
pub mod upkeep;
pub mod view;
pub mod windows;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tracing::warn;
use watchfire_types::Timestamp;

use crate::clock::Clock;
use crate::config::{Alerting, RawRule};
use crate::delivery::outbox::Outbox;
use crate::metrics::{Metrics, SeriesData};
use crate::store::{Database, StoreError};
use crate::telemetry::{Counter, Gauge, SelfMetrics};
use engine::{Evaluation, Failure, Known, RuleProblem, SampleSource};
use log_windows::MatcherFactory;
use pipeline::{Target, Timing};
use store::Policy;
use types::{AlertState, Rule, RuleOrigin};
use windows::Windows;

/// What the engine needs of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `alerting`.
    pub alerting: Alerting,
    /// `performance.collection_interval`: a sample older than two of them is no data.
    pub collection_interval: Duration,
    /// What links in notifications begin with.
    pub external_url: String,
}

impl Settings {
    fn policy(&self, rules: &[Rule]) -> Policy {
        let alerting = &self.alerting;
        let target = |receiver: &crate::delivery::types::Receiver| Target {
            name: receiver.name.clone(),
            send_resolved: receiver.send_resolved,
        };
        Policy {
            targets: alerting.receivers.iter().map(target).collect(),
            timing: Timing {
                group_wait: alerting.group_wait,
                group_interval: alerting.group_interval,
                repeat_interval: alerting.repeat_interval,
            },
            cooldown: alerting.cooldown,
            rules: rules.iter().map(|rule| (rule.name.clone(), (rule.cooldown, rule.receiver.clone()))).collect::<HashMap<_, _>>(),
            delivery_timeout: alerting.delivery_timeout,
            external_url: self.external_url.clone(),
            max_alerts: alerting.max_alerts,
        }
    }
}

/// The alert engine's handle. Cheap to clone.
#[derive(Clone)]
pub struct Alerts(Arc<Inner>);

struct Inner {
    database: Database,
    outbox: Outbox,
    settings: Settings,
    clock: Clock,
    meters: Meters,
    factory: MatcherFactory,
    rules: watch::Sender<Arc<Vec<Rule>>>,
    live: RwLock<Live>,
    /// Shared with the thread that counts and evaluates: both may take long, and are kept off the threads that serve requests.
    windows: Arc<Mutex<Windows>>,
}

/// What the last evaluation found, for whoever asks.
#[derive(Clone, Debug, Default)]
struct Live {
    alerts: Arc<Known>,
    failures: Vec<Failure>,
    evaluated_at: Option<Timestamp>,
}

impl Alerts {
    /// Opens the engine on `database`, which has the tables of [`store::MIGRATIONS`] and is shared with `outbox`.
    ///
    /// # Errors
    /// The database's.
    pub async fn open(
        database: Database,
        outbox: Outbox,
        settings: Settings,
        clock: Clock,
        self_metrics: &SelfMetrics,
        factory: MatcherFactory,
    ) -> Result<Self, StoreError> {
        let now = clock.now();
        let (stored, known) =
            database.read(move |connection| Ok((store::rules(connection)?, store::load(connection, now)?))).await?;
        let mut rules = settings.alerting.rules.clone();
        for (name, body) in stored {
            match stored_rule(&body, &settings.alerting) {
                Ok(rule) if rules.iter().any(|known| known.name == rule.name) => {
                    warn!(
                        rule = name,
                        "rule `{name}` made through the API is not used: the configuration has one of the same name"
                    );
                }
                Ok(rule) => rules.push(rule),
                Err(problems) => {
                    let problem = problems.join("; ");
                    warn!(rule = name, problem, "rule `{name}` made through the API is not used: {problem}");
                }
            }
        }
        let names = settings.alerting.receiver_names();
        for rule in &rules {
            if let Some(receiver) = rule.receiver.as_ref().filter(|receiver| !names.contains(receiver)) {
                let rule = &rule.name;
                warn!(rule, receiver, "rule `{rule}` tells nobody: receiver `{receiver}` is no longer in the configuration");
            }
        }
        let live = Live { alerts: Arc::new(known), ..Live::default() };
        Ok(Self(Arc::new(Inner {
            database,
            outbox,
            settings,
            clock,
            meters: Meters::new(self_metrics),
            factory,
            rules: watch::Sender::new(Arc::new(rules)),
            live: RwLock::new(live),
            windows: Arc::default(),
        })))
    }

    /// Returns all rules: starter, file, API.
    #[must_use]
    pub fn rules(&self) -> Arc<Vec<Rule>> {
        Arc::clone(&self.0.rules.borrow())
    }

    /// Returns at most `limit` alerts: those that fire first, each the newest first. Blocks on disk.
    ///
    /// # Errors
    /// The database's.
    pub fn list(&self, limit: u32) -> Result<Vec<view::AlertView>, StoreError> {
        self.0.database.read_blocking(|connection| query::alerts(connection, None, limit))
    }

    /// Returns name, level and time of each firing alert, for the health summary.
    #[must_use]
    pub fn firing(&self) -> Vec<Firing> {
        let rules = self.rules();
        let live = self.0.live.read();
        let firing = live.alerts.values().filter_map(|alert| match alert.state {
            AlertState::Firing { since, .. } => {
                let level = rules.iter().find(|rule| rule.name == alert.rule).map(|rule| rule.level).unwrap_or_default();
                Some(Firing { rule: alert.rule.clone(), level, since })
            }
            _ => None,
        });
        firing.collect()
    }

    /// Returns what is wrong with rules: what the last evaluation found, and those whose receiver is gone.
    #[must_use]
    pub fn failures(&self) -> Vec<Failure> {
        let mut failures = self.0.live.read().failures.clone();
        let untold = |rule: &Rule| Some(Failure { rule: rule.name.clone(), problem: self.receiver_gone(rule)? });
        failures.extend(self.rules().iter().filter_map(untold));
        failures
    }

    /// A receiver that is only switched off is somebody's wish and no failure.
    fn receiver_gone(&self, rule: &Rule) -> Option<RuleProblem> {
        let receiver = rule.receiver.clone()?;
        let gone = !self.0.settings.alerting.receiver_names().contains(&receiver);
        gone.then_some(RuleProblem::NoReceiver { receiver })
    }

    /// Returns when rules were last evaluated.
    #[must_use]
    pub fn evaluated_at(&self) -> Option<Timestamp> {
        self.0.live.read().evaluated_at
    }

    fn publish(&self, alerts: Arc<Known>, failures: Vec<Failure>, now: Timestamp) {
        *self.0.live.write() = Live { alerts, failures, evaluated_at: Some(now) };
    }
}

/// Reads a rule made through the API. That its receiver is gone from the configuration does not make it wrong: it tells nobody.
fn stored_rule(body: &str, alerting: &Alerting) -> Result<Rule, Vec<String>> {
    let json = serde_json::from_str(body).map_err(|error| vec![error.to_string()])?;
    let rule = RawRule::from_json(json)?;
    let mut receivers = alerting.receiver_names();
    receivers.extend(rule.receiver.clone());
    rule.check(&receivers, RuleOrigin::Api)
}

/// A firing alert in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firing {
    /// Name of its rule.
    pub rule: String,
    /// How serious it is.
    pub level: types::Level,
    /// Since when it fires.
    pub since: Timestamp,
}

/// The engine's own series.
struct Meters {
    evaluations: Counter,
    duration: Gauge,
    pending: Gauge,
    firing: Gauge,
    failing: Gauge,
    dropped: Counter,
}

impl Meters {
    fn new(metrics: &SelfMetrics) -> Self {
        Self {
            evaluations: metrics.counter("watchfire_rule_evaluations_total", &[]),
            duration: metrics.gauge("watchfire_rule_evaluation_duration_seconds", &[]),
            pending: metrics.gauge("watchfire_alerts", &[("state", "pending")]),
            firing: metrics.gauge("watchfire_alerts", &[("state", "firing")]),
            failing: metrics.gauge("watchfire_rules_failing", &[]),
            dropped: metrics.counter("watchfire_rule_records_dropped_total", &[("reason", "too_many_groups")]),
        }
    }

    fn evaluated(&self, evaluation: &Evaluation, dropped: u64, took: Duration) {
        let firing = evaluation.alerts.values().filter(|alert| matches!(alert.state, AlertState::Firing { .. })).count();
        self.evaluations.inc();
        self.duration.set(took.as_secs_f64());
        self.firing.set(firing as f64);
        self.pending.set((evaluation.alerts.len() - firing) as f64);
        self.failing.set(evaluation.failures.len() as f64);
        self.dropped.add(dropped);
    }
}

impl SampleSource for Metrics {
    fn recent(&self, name: &str, labels: &[(String, String)], since: Timestamp) -> Vec<SeriesData> {
        Self::recent(self, name, labels, since)
    }

    fn nearest_name(&self, name: &str) -> Option<String> {
        Self::nearest_name(self, name)
    }
}
