//! Analyzers: what records mean.

use serde::de::DeserializeOwned;

pub use crate::bindings::analyzer::Analysis;
pub use crate::bindings::host::logs::{Finding, MetricSample};
use crate::{Batch, Descriptor, Result, Row};

/// Reads log records and says what it finds. One lives as long as all is well; what it must not forget it saves.
pub trait Analyzer: Sized {
    /// Its section of the configuration.
    type Config: DeserializeOwned;

    /// Says what it is, and which records it wants.
    fn descriptor() -> Descriptor;

    /// Makes one from its section, which has passed the schema.
    ///
    /// # Errors
    /// If the section makes no sense: [`Error::configuration`](crate::Error::configuration) with the key.
    fn init(config: Self::Config) -> Result<Self>;

    /// Looks at records, each once, in the order of their positions. Their times may be out of order.
    ///
    /// # Errors
    /// If it cannot; the host then gives it the same records again, in smaller batches.
    fn analyze(&mut self, batch: &Batch) -> Result<Analysis>;

    /// Is told that time has passed: `now` is the host's clock, and no record from before `watermark` is expected, bar late ones. Both in
    /// nanoseconds since 1970.
    ///
    /// # Errors
    /// If it cannot.
    fn tick(&mut self, now: u64, watermark: u64) -> Result<Analysis> {
        let _ = (now, watermark);
        Ok(Analysis::default())
    }

    /// Returns what [`Self::restore`] needs to go on from here. Stored together with the findings so far.
    ///
    /// # Errors
    /// If it cannot.
    fn save(&mut self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    /// Goes on from what [`Self::save`] of a plugin whose descriptor said `from_version` returned. Called before the first batch.
    ///
    /// # Errors
    /// If it cannot; it then begins with nothing.
    fn restore(&mut self, from_version: u32, data: &[u8]) -> Result<()> {
        let _ = (from_version, data);
        Ok(())
    }

    /// Says what a person should read after "test this plugin".
    ///
    /// # Errors
    /// What keeps it from working.
    fn self_test(&mut self) -> Result<String> {
        Ok("its configuration is good".to_owned())
    }
}

impl Default for Analysis {
    /// Nothing was found.
    fn default() -> Self {
        Self { findings: Vec::new(), metrics: Vec::new(), extra: Vec::new() }
    }
}

impl Analysis {
    /// Adds a finding.
    pub fn find(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Adds a sample of a metric.
    pub fn measure(&mut self, sample: MetricSample) {
        self.metrics.push(sample);
    }
}

impl FromIterator<Finding> for Analysis {
    fn from_iter<T: IntoIterator<Item = Finding>>(findings: T) -> Self {
        Self { findings: findings.into_iter().collect(), ..Self::default() }
    }
}

/// Most positions that a finding keeps of the records it is about.
const MAX_SAMPLES: usize = 16;

impl Finding {
    /// Returns a finding of `rule`, about nothing yet. Its key is the rule: see [`Self::key`].
    pub fn new(rule: impl Into<String>, severity: u8, title: impl Into<String>) -> Self {
        let rule = rule.into();
        Self {
            dedupe_key: rule.clone(),
            rule,
            severity,
            title: title.into(),
            message: String::new(),
            score: 1.0,
            count: 1,
            first_seq: 0,
            last_seq: 0,
            first_time: 0,
            last_time: 0,
            sample_seqs: Vec::new(),
            labels: Vec::new(),
            extra: Vec::new(),
        }
    }

    /// Says more than the title.
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// Sets the key: findings with equal keys are one that goes on.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.dedupe_key = key.into();
        self
    }

    /// Says how sure the analyzer is, from 0 to 1.
    pub fn score(mut self, score: f64) -> Self {
        self.score = if score.is_finite() { score.clamp(0.0, 1.0) } else { 0.0 };
        self
    }

    /// Says how often it happened.
    pub fn count(mut self, count: u64) -> Self {
        self.count = count;
        self
    }

    /// Says that it is about `row`, too.
    pub fn about(self, row: &Row<'_>) -> Self {
        self.at(row.seq(), row.time())
    }

    /// Says that it is about the record at position `seq` with event time `time`, too.
    pub fn at(mut self, seq: u64, time: u64) -> Self {
        let first = self.first_seq == 0;
        self.first_seq = if first { seq } else { self.first_seq.min(seq) };
        self.last_seq = self.last_seq.max(seq);
        self.first_time = if first { time } else { self.first_time.min(time) };
        self.last_time = self.last_time.max(time);
        if self.sample_seqs.len() < MAX_SAMPLES && !self.sample_seqs.contains(&seq) {
            self.sample_seqs.push(seq);
        }
        self
    }

    /// Adds a label, by which alerts are routed and grouped.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((name.into(), value.into()));
        self
    }
}

impl MetricSample {
    /// Returns a value as it is now.
    pub fn gauge(name: impl Into<String>, value: f64) -> Self {
        Self::new(name, 0, value)
    }

    /// Returns what a counter grew by.
    pub fn counter(name: impl Into<String>, delta: f64) -> Self {
        Self::new(name, 1, delta)
    }

    /// Returns one observation of a distribution.
    pub fn observation(name: impl Into<String>, value: f64) -> Self {
        Self::new(name, 2, value)
    }

    fn new(name: impl Into<String>, kind: u8, value: f64) -> Self {
        Self { name: name.into(), kind, value, labels: Vec::new(), at: None }
    }

    /// Adds a label.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((name.into(), value.into()));
        self
    }

    /// Sets its time, in nanoseconds since 1970; without, it is that of the call.
    pub fn at(mut self, time: u64) -> Self {
        self.at = Some(time);
        self
    }
}
