//! The host that tests see.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::placeholders::Placeholders;
use crate::Batch;
use crate::bindings::host::kv::KvError;

/// Most bytes of keys and values that a plugin may keep, as in the real host.
const QUOTA_BYTES: usize = 16 << 20;
/// Longest key.
const MAX_KEY_BYTES: usize = 512;

/// A host for tests. Clones are the same host.
#[derive(Clone, Default)]
pub struct FakeHost(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    now: u64,
    lines: Vec<Line>,
    series: BTreeMap<String, f64>,
    kept: Values,
    /// What the call under way has changed.
    pending: BTreeMap<String, Option<Kept>>,
    config: serde_json::Value,
    secrets: Placeholders,
    batch: Option<Batch>,
}

/// A value and when it expires.
type Kept = (Vec<u8>, Option<u64>);
type Values = BTreeMap<String, Kept>;

/// A line that a plugin wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// OpenTelemetry severity number.
    pub severity: u8,
    /// What it said.
    pub text: String,
    /// Its fields.
    pub fields: crate::Labels,
}

thread_local! {
    static CURRENT: RefCell<Vec<FakeHost>> = RefCell::new(vec![FakeHost::default()]);
}

fn current() -> FakeHost {
    CURRENT.with_borrow(|stack| stack.last().cloned().unwrap_or_default())
}

/// Makes a host the current one until it is dropped, also when the plugin panics.
struct Entered;

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.with_borrow_mut(Vec::pop);
    }
}

impl FakeHost {
    /// Returns a host that has nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives it the value of secret `name`, which may go to `hosts` (`https://host[:port]`).
    pub fn secret(self, name: &str, value: &str, hosts: &[&str]) -> Self {
        self.0.borrow_mut().secrets.add(name, value, hosts.iter().map(|host| (*host).to_owned()).collect());
        self
    }

    /// Sets the plugin's section of the configuration.
    pub fn config(self, config: serde_json::Value) -> Self {
        self.0.borrow_mut().config = config;
        self
    }

    /// Runs `call` with this as its host. What it keeps in `kv` counts.
    pub fn run<T>(&self, call: impl FnOnce() -> T) -> T {
        let answer = self.enter(call);
        self.settle(true);
        answer
    }

    /// Sets the time of the next calls.
    pub fn set_now(&self, now: u64) {
        self.0.borrow_mut().now = now;
    }

    /// Returns the lines that were written.
    pub fn lines(&self) -> Vec<Line> {
        self.0.borrow().lines.clone()
    }

    /// Returns the series that were made: `name{label="value"}` and the value.
    pub fn series(&self) -> BTreeMap<String, f64> {
        self.0.borrow().series.clone()
    }

    /// Returns what is kept in `kv`.
    pub fn kept(&self) -> BTreeMap<String, Vec<u8>> {
        self.0.borrow().kept.iter().map(|(key, (value, _))| (key.clone(), value.clone())).collect()
    }

    pub(super) fn enter<T>(&self, call: impl FnOnce() -> T) -> T {
        CURRENT.with_borrow_mut(|stack| stack.push(self.clone()));
        let _entered = Entered;
        call()
    }

    /// Keeps what the last call has changed in `kv`, or forgets it.
    pub(super) fn settle(&self, keep: bool) {
        let mut state = self.0.borrow_mut();
        let pending = std::mem::take(&mut state.pending);
        for (key, value) in pending.into_iter().filter(|_| keep) {
            match value {
                Some(value) => state.kept.insert(key, value),
                None => state.kept.remove(&key),
            };
        }
    }

    pub(super) fn with_secrets<T>(&self, look: impl FnOnce(&mut Placeholders) -> T) -> T {
        look(&mut self.0.borrow_mut().secrets)
    }

    pub(super) fn set_config(&self, config: serde_json::Value) {
        self.0.borrow_mut().config = config;
    }

    pub(super) fn set_batch(&self, batch: Option<Batch>) {
        self.0.borrow_mut().batch = batch;
    }
}

impl State {
    fn value(&self, key: &str) -> Option<&Kept> {
        let value = match self.pending.get(key) {
            Some(value) => value.as_ref(),
            None => self.kept.get(key),
        };
        value.filter(|(_, expires_at)| expires_at.is_none_or(|at| at > self.now))
    }

    fn set(&mut self, key: &str, value: Vec<u8>, ttl_ms: Option<u64>) -> Result<(), KvError> {
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            return Err(KvError::Other(format!("a key has 1 to {MAX_KEY_BYTES} bytes")));
        }
        let others = self.all().filter(|(other, _)| *other != key);
        let bytes: usize = others.map(|(key, (value, _))| key.len() + value.len()).sum();
        if bytes + key.len() + value.len() > QUOTA_BYTES {
            return Err(KvError::Quota);
        }
        let expires_at = ttl_ms.map(|ttl| self.now.saturating_add(ttl.saturating_mul(1_000_000)));
        self.pending.insert(key.to_owned(), Some((value, expires_at)));
        Ok(())
    }

    fn all(&self) -> impl Iterator<Item = (&str, &Kept)> {
        let kept = self.kept.iter().filter(|(key, _)| !self.pending.contains_key(*key));
        let pending = self.pending.iter().filter_map(|(key, value)| Some((key, value.as_ref()?)));
        kept.chain(pending).map(|(key, value)| (key.as_str(), value))
    }

    fn series(&mut self, name: &str, labels: &[(String, String)]) -> &mut f64 {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.series.entry(format!("{name}{labels}")).or_default()
    }
}

/// `logging` of the interface.
pub(crate) mod logging {
    use super::{Line, current};

    pub(crate) fn log(severity: u8, message: &str, fields: &[(String, String)]) {
        current().0.borrow_mut().lines.push(Line { severity, text: message.to_owned(), fields: fields.to_vec() });
    }
}

/// `metrics` of the interface.
pub(crate) mod metrics {
    use super::current;

    pub(crate) fn counter_add(name: &str, delta: f64, labels: &[(String, String)]) {
        *current().0.borrow_mut().series(name, labels) += delta;
    }

    pub(crate) fn gauge_set(name: &str, value: f64, labels: &[(String, String)]) {
        *current().0.borrow_mut().series(name, labels) = value;
    }

    pub(crate) fn histogram_record(name: &str, value: f64, labels: &[(String, String)]) {
        *current().0.borrow_mut().series(&format!("{name}_count"), labels) += 1.0;
        *current().0.borrow_mut().series(&format!("{name}_sum"), labels) += value;
    }
}

/// `kv` of the interface.
#[expect(clippy::unnecessary_wraps, reason = "the signatures are the interface's")]
pub(crate) mod kv {
    use super::{KvError, current};

    pub(crate) fn get(key: &str) -> Result<Option<Vec<u8>>, KvError> {
        Ok(current().0.borrow().value(key).map(|(value, _)| value.clone()))
    }

    pub(crate) fn get_many(keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, KvError> {
        keys.iter().map(|key| get(key)).collect()
    }

    pub(crate) fn set(key: &str, value: &[u8], ttl_ms: Option<u64>) -> Result<(), KvError> {
        current().0.borrow_mut().set(key, value.to_vec(), ttl_ms)
    }

    pub(crate) fn delete(key: &str) -> Result<bool, KvError> {
        let host = current();
        let mut state = host.0.borrow_mut();
        let was_there = state.value(key).is_some();
        state.pending.insert(key.to_owned(), None);
        Ok(was_there)
    }

    pub(crate) fn increment(key: &str, delta: i64, ttl_ms: Option<u64>) -> Result<i64, KvError> {
        let host = current();
        let mut state = host.0.borrow_mut();
        let number = match state.value(key) {
            None => 0,
            Some((value, _)) => str::from_utf8(value).ok().and_then(|text| text.parse::<i64>().ok()).ok_or(KvError::Conflict)?,
        };
        let sum = number.checked_add(delta).ok_or(KvError::Conflict)?;
        state.set(key, sum.to_string().into_bytes(), ttl_ms)?;
        Ok(sum)
    }

    pub(crate) fn keys(prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, KvError> {
        let host = current();
        let state = host.0.borrow();
        let living = state.all().filter(|(_, (_, expires_at))| expires_at.is_none_or(|at| at > state.now));
        let wanted = living.filter(|(key, _)| key.starts_with(prefix) && after.is_none_or(|after| *key > after));
        let mut keys: Vec<String> = wanted.map(|(key, _)| key.to_owned()).collect();
        keys.sort_unstable();
        keys.truncate(limit as usize);
        Ok(keys)
    }
}

/// `secrets` of the interface.
pub(crate) mod secrets {
    use super::current;
    use crate::Error;

    pub(crate) fn placeholder(name: &str, encoding: &str) -> Option<String> {
        current().with_secrets(|secrets| secrets.placeholder(name, encoding))
    }

    pub(crate) fn basic(user: &str, secret: &str) -> Option<String> {
        current().with_secrets(|secrets| secrets.basic(user, secret))
    }

    pub(crate) fn sign(algorithm: &str, key: &[u8], message: &[u8]) -> Result<Vec<u8>, Error> {
        current().with_secrets(|secrets| secrets.sign(algorithm, key, message)).map_err(Error::input)
    }
}

/// `kernels` of the interface.
pub(crate) mod kernels {
    use regex::bytes::RegexSet as Compiled;

    use super::current;
    use crate::{Error, Row};

    /// A set of patterns.
    pub(crate) struct RegexSet(Compiled);

    impl RegexSet {
        pub(crate) fn compile(patterns: &[String]) -> Result<Self, Error> {
            if patterns.len() > 256 {
                return Err(Error::input(format!("a set has at most 256 patterns, not {}", patterns.len())));
            }
            Compiled::new(patterns).map(Self).map_err(|error| Error::input(error.to_string()))
        }

        pub(crate) fn match_body(&self) -> Result<Vec<u64>, Error> {
            self.pairs(|row| Some(row.body_bytes()))
        }

        pub(crate) fn match_attribute(&self, key: &str) -> Result<Vec<u64>, Error> {
            self.pairs(|row| row.attribute(key).map(|value| value.text.as_bytes()))
        }

        fn pairs(&self, text: impl for<'a> Fn(Row<'a>) -> Option<&'a [u8]>) -> Result<Vec<u64>, Error> {
            let host = current();
            let state = host.0.borrow();
            let Some(batch) = &state.batch else { return Err(Error::input("there is a batch only within `analyze`")) };
            let found = batch.rows().filter_map(|row| Some((row.index(), text(row)?)));
            let pairs =
                found.flat_map(|(row, text)| self.0.matches(text).into_iter().map(move |pattern| (row << 16 | pattern) as u64));
            Ok(pairs.collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{kv, log, metrics};

    #[test]
    fn what_a_plugin_does_to_the_host_can_be_seen() {
        let host = FakeHost::new();
        host.run(|| {
            crate::warn!("{} is odd", 3);
            log::write(9, "with fields", &[("user".to_owned(), "ann".to_owned())]);
            metrics::add("seen_total", 2.0, &[("kind", "a")]);
            metrics::record("took", 0.5, &[]);
        });
        assert_eq!(host.lines().iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["3 is odd", "with fields"]);
        let series: Vec<String> = host.series().iter().map(|(name, value)| format!("{name} {value}")).collect();
        assert_eq!(series, ["seen_total{kind=\"a\"} 2", "took_count 1", "took_sum 0.5"]);
    }

    #[test]
    fn kept_values_are_seen_at_once_expire_and_count_only_if_the_call_succeeds() {
        let host = FakeHost::new();
        host.run(|| {
            assert_eq!(kv::increment("n", 2, None), Ok(2));
            kv::set("b", b"x", Some(Duration::from_secs(1))).unwrap();
            assert_eq!(kv::get("b").unwrap().as_deref(), Some(&b"x"[..]));
            assert!(kv::increment("b", 1, None).is_err());
            assert_eq!(kv::keys("", None, 10).unwrap(), ["b", "n"]);
            assert!(kv::set("big", &vec![0; QUOTA_BYTES], None).is_err());
        });
        host.set_now(2_000_000_000);
        assert_eq!(host.run(|| kv::keys("", Some("a"), 10)).unwrap(), ["n"]);
        host.enter(|| kv::delete("n")).unwrap();
        host.settle(false);
        assert_eq!(host.kept()["n"], b"2");
    }

    #[test]
    fn hosts_of_one_thread_do_not_meet() {
        let (one, two) = (FakeHost::new(), FakeHost::new());
        one.run(|| two.run(|| crate::info!("to the second")));
        assert_eq!((one.lines().len(), two.lines().len()), (0, 1));
    }
}
