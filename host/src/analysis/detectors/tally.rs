//! Says when what has been read is judged. Pure: time is that of arrival, so that a replay judges as the first time.
//!
//! While the log is behind, time is told by the arrival of its records; at its end, by the clock. Where it leaps, nobody watched:
//! the host was off, or the machine slept.

use std::time::Duration;

use rustc_hash::FxHashMap;
use watchfire_anomalies::window::WINDOW_SECONDS;
use watchfire_anomalies::{Engine, Observed, Window};

use super::types::{Head, Heads};

/// How long after its end a window is judged: what takes longer to arrive is late.
pub const GRACE_SECONDS: u64 = 30;
/// Time that leaps by more than this while the host runs was slept through.
const LEAP: Duration = Duration::from_secs(600);
/// And by more than this when it starts: it was off.
const LEAP_AT_START: Duration = Duration::from_secs(120);

/// Records of one source, pattern, level and window.
type Group = (u32, u64, u8, Window);

/// Time, and what has been read since the last judgement.
#[derive(Clone, Debug)]
pub struct Tally {
    interval: u64,
    /// Nanoseconds since 1970: no record that arrived later has been counted.
    pub time: u64,
    /// Seconds since 1970: when windows were judged last; a multiple of the interval, and the grace.
    pub judged_at: u64,
    /// The host has just started.
    starting: bool,
}

impl Tally {
    /// Returns a tally that goes on at `time`, having judged at `judged_at`.
    #[must_use]
    pub fn new(interval: Duration, time: u64, judged_at: u64) -> Self {
        Self { interval: interval.as_secs().max(1), time, judged_at, starting: true }
    }

    /// Returns the moment at or before `time`, in nanoseconds, at which windows are judged, in seconds.
    #[must_use]
    pub fn moment(interval: Duration, time: u64) -> u64 {
        let (interval, seconds) = (interval.as_secs().max(1), time / 1_000_000_000);
        seconds.saturating_sub(GRACE_SECONDS) / interval * interval + GRACE_SECONDS
    }

    /// Returns when windows are judged next, in seconds since 1970.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.judged_at + self.interval
    }

    /// Returns whether windows are to be judged before anything that arrived later than now is counted.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.time / 1_000_000_000 >= self.next()
    }

    /// Returns the last window that is judged now, and notes that it is.
    pub fn judge(&mut self) -> Window {
        self.judged_at = Self::moment(Duration::from_secs(self.interval), self.time);
        Window(((self.judged_at - GRACE_SECONDS.min(self.judged_at)) / WINDOW_SECONDS).saturating_sub(1))
    }

    /// Lets time go on to `time`; returns from when to when nobody watched, in seconds, if it leaps.
    pub fn pass(&mut self, time: u64) -> Option<(u64, u64)> {
        if time <= self.time {
            return None;
        }
        let leap = if std::mem::take(&mut self.starting) { LEAP_AT_START } else { LEAP };
        let before = std::mem::replace(&mut self.time, time);
        let leapt = u128::from(time - before) > leap.as_nanos();
        leapt.then_some((before / 1_000_000_000, time / 1_000_000_000))
    }

    /// Counts records from place `from` of `heads` on, until windows are to be judged. `now` is the clock: nothing arrived later.
    /// Returns the place that follows.
    pub fn count(&mut self, engine: &mut Engine, heads: &Heads, from: usize, now: u64) -> usize {
        let mut groups: FxHashMap<Group, (u32, u64, u64)> = FxHashMap::default();
        let mut next = from;
        for head in &heads.rows[from..] {
            let arrived = head.arrived.min(now);
            if let Some((start, end)) = self.pass(arrived) {
                engine.unwatched(start, end);
            }
            if self.is_due() {
                break;
            }
            let group = groups.entry(group(head)).or_insert((0, head.seq, head.seq));
            *group = (group.0.saturating_add(1), group.1, head.seq);
            next += 1;
        }
        // A replay must meet them in the same order.
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_unstable_by_key(|(_, (_, first, _))| *first);
        for ((source, pattern, severity, window), (count, first, last)) in groups {
            let source = heads.sources.get(source as usize).map_or("", String::as_str);
            engine.observe(&Observed { source, pattern, severity, window, count, seqs: (first, last) });
        }
        next
    }
}

fn group(head: &Head) -> Group {
    (head.source, head.pattern, head.severity, Window::of_nanos(head.time))
}

#[cfg(test)]
mod tests {
    use watchfire_anomalies::Settings;

    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const INTERVAL: Duration = Duration::from_secs(300);

    fn heads(arrivals: &[u64]) -> Heads {
        let row = |(seq, arrived): (usize, &u64)| Head {
            seq: seq as u64 + 1,
            time: arrived * SECOND,
            arrived: arrived * SECOND,
            severity: 9,
            source: 0,
            pattern: 0,
        };
        Heads { rows: arrivals.iter().enumerate().map(row).collect(), sources: vec!["api".into()], last: None }
    }

    #[test]
    fn windows_are_judged_before_what_arrived_later_is_counted() {
        let mut tally = Tally::new(INTERVAL, 3_000 * SECOND, 2_730);
        assert_eq!(tally.next(), 3_030);
        let mut engine = Engine::new(Settings::default(), Window(8));
        let heads = heads(&[3_001, 3_029, 3_030, 3_031]);
        assert_eq!(tally.count(&mut engine, &heads, 0, u64::MAX), 2);
        assert!(tally.is_due());
        assert_eq!((tally.judge(), tally.judged_at), (Window(9), 3_030));
        assert_eq!(tally.count(&mut engine, &heads, 2, u64::MAX), 4);
    }

    #[test]
    fn a_leap_of_time_was_not_watched() {
        let mut tally = Tally::new(INTERVAL, 3_000 * SECOND, 2_730);
        assert_eq!(tally.pass(3_060 * SECOND), None, "a short restart");
        assert_eq!(tally.pass(3_500 * SECOND), None);
        assert_eq!(tally.pass(3_400 * SECOND), None, "backwards");
        assert_eq!(tally.pass(4_500 * SECOND), Some((3_500, 4_500)));
        let mut off = Tally::new(INTERVAL, 3_000 * SECOND, 2_730);
        assert_eq!(off.pass(3_200 * SECOND), Some((3_000, 3_200)));
    }

    #[test]
    fn an_hour_between_judgements_judges_twelve_windows() {
        let hour = Duration::from_secs(3_600);
        let mut tally = Tally::new(hour, 7_300 * SECOND, 3_630);
        assert_eq!((tally.is_due(), tally.judge(), tally.next()), (true, Window(23), 10_830));
    }
}
