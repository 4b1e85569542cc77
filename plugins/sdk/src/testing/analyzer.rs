//! Drives an analyzer as the host does.

use super::batch::START;
use super::{BatchBuilder, FakeHost, Record};
use crate::bindings::described::Subscription;
use crate::{Analysis, Analyzer, Columns, Error, Result, set_up};

/// An analyzer with a host of its own.
pub struct AnalyzerTester<A> {
    host: FakeHost,
    config: String,
    analyzer: A,
    subscription: Subscription,
    next_seq: u64,
    now: u64,
}

impl<A: Analyzer> AnalyzerTester<A> {
    /// Sets an analyzer up with its section of the configuration.
    ///
    /// # Errors
    /// What it says to that.
    #[expect(clippy::needless_pass_by_value, reason = "tests write `json!` there")]
    pub fn new(config: serde_json::Value) -> Result<Self> {
        let host = FakeHost::new().config(config.clone());
        let config = config.to_string();
        let analyzer = host.run(|| set_up(&config, A::init))?;
        let subscription = A::descriptor().subscription.unwrap_or_else(|| Subscription::to(Columns::NONE));
        Ok(Self { host, config, analyzer, subscription, next_seq: 1, now: START })
    }

    /// Returns its host.
    pub fn host(&self) -> &FakeHost {
        &self.host
    }

    /// Returns the analyzer itself.
    pub fn analyzer(&mut self) -> &mut A {
        &mut self.analyzer
    }

    /// Shows it those of `records` that it subscribes to, with the columns that it asked for. Positions and times go on from call to
    /// call.
    ///
    /// # Errors
    /// What it says to that.
    pub fn analyze(&mut self, records: impl IntoIterator<Item = impl Into<Record>>) -> Result<Analysis> {
        let all = BatchBuilder::new().first(self.next_seq, self.now).columns(Columns::from_bits(self.subscription.columns));
        let mut wanted = Vec::new();
        let (mut seq, mut time) = (self.next_seq, self.now);
        for record in records {
            let record: Record = record.into();
            let (at, stamp) = (record.position().unwrap_or(seq), record.stamp().unwrap_or(time));
            (seq, time) = (at + 1, stamp + 1_000_000_000);
            self.now = self.now.max(stamp);
            if wants(&self.subscription, &record)? {
                wanted.push(record.seq(at).time(stamp));
            }
        }
        self.next_seq = self.next_seq.max(seq);
        let batch = all.records(wanted).now(self.now).watermark(self.now).build();
        self.host.set_now(self.now);
        self.host.set_batch(Some(batch.clone()));
        let result = self.host.enter(|| self.analyzer.analyze(&batch));
        self.host.set_batch(None);
        self.host.settle(result.is_ok());
        result
    }

    /// Lets `seconds` pass and ticks.
    ///
    /// # Errors
    /// What it says to that.
    pub fn tick(&mut self, seconds: u64) -> Result<Analysis> {
        self.now += seconds * 1_000_000_000;
        self.host.set_now(self.now);
        let result = self.host.enter(|| self.analyzer.tick(self.now, self.now));
        self.host.settle(result.is_ok());
        result
    }

    /// Saves, and goes on with a new analyzer that restores: what the host does when it starts anew. Returns what was saved.
    ///
    /// # Errors
    /// What it says to that.
    pub fn restart(&mut self) -> Result<Vec<u8>> {
        let state = self.host.run(|| self.analyzer.save())?;
        self.analyzer = self.host.run(|| set_up(&self.config, A::init))?;
        let version = A::descriptor().state_version;
        self.host.run(|| self.analyzer.restore(version, &state))?;
        Ok(state)
    }
}

/// Returns whether the host would send `record`.
fn wants(subscription: &Subscription, record: &Record) -> Result<bool> {
    if record.severity_number() < subscription.min_severity
        || !(subscription.sources.is_empty() || subscription.sources.iter().any(|source| source == record.source()))
    {
        return Ok(false);
    }
    if subscription.any_substring.is_empty() && subscription.any_regex.is_empty() {
        return Ok(true);
    }
    let patterns = regex::RegexSet::new(&subscription.any_regex).map_err(|error| Error::internal(error.to_string()))?;
    let holds = subscription.any_substring.iter().any(|text| record.text().contains(text.as_str()));
    Ok(holds || patterns.is_match(record.text()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::RegexSet;
    use crate::{Batch, Descriptor, Finding, Row, kv};

    struct Counter {
        digits: RegexSet,
        seen: u8,
    }

    #[derive(serde::Deserialize)]
    #[serde(default, deny_unknown_fields)]
    #[derive(Default)]
    struct Config {
        start: u8,
    }

    impl Analyzer for Counter {
        type Config = Config;

        fn descriptor() -> Descriptor {
            let wanted = Subscription::to(Columns::BODY).min_severity(9).any_substring(["user"]);
            Descriptor::new("counter", "1", "counts").subscription(wanted)
        }

        fn init(config: Config) -> Result<Self> {
            Ok(Self { digits: RegexSet::new(["user", r"\d"])?, seen: config.start })
        }

        fn analyze(&mut self, batch: &Batch) -> Result<Analysis> {
            self.seen += batch.len() as u8;
            kv::increment("seen", batch.len() as i64, None)?;
            let rows: Vec<Row<'_>> = batch.rows().collect();
            let matches = self.digits.match_body()?;
            let digits = matches.into_iter().filter(|found| found.pattern == 1);
            Ok(digits.map(|found| Finding::new("digit", 9, "a digit").about(&rows[found.row])).collect())
        }

        fn save(&mut self) -> Result<Vec<u8>> {
            Ok(vec![self.seen])
        }

        fn restore(&mut self, _: u32, data: &[u8]) -> Result<()> {
            self.seen = data[0];
            Ok(())
        }
    }

    #[test]
    fn an_analyzer_gets_what_it_asked_for_and_survives_a_restart() {
        let mut tester = AnalyzerTester::<Counter>::new(serde_json::json!({})).unwrap();
        let records = [Record::new("user 1"), Record::new("other 2"), Record::new("user").severity(5), Record::new("user x")];
        let analysis = tester.analyze(records).unwrap();
        assert_eq!(analysis.findings.iter().map(|finding| finding.first_seq).collect::<Vec<_>>(), [1]);
        assert_eq!((tester.restart().unwrap(), tester.host().kept()["seen"].as_slice()), (vec![2], &b"2"[..]));
        assert_eq!(tester.analyze(["user 9"]).unwrap().findings[0].first_seq, 5);
        assert_eq!(tester.analyzer().seen, 3);
    }

    #[test]
    fn a_wrong_key_is_named() {
        let wrong = |config| AnalyzerTester::<Counter>::new(config).err().unwrap().message;
        assert_eq!(wrong(serde_json::json!({"start": "x"})), "config.start: invalid type: string \"x\", expected u8");
        assert_eq!(wrong(serde_json::json!({"strat": 1})), "config.strat: unknown field `strat`, expected `start`");
    }
}
