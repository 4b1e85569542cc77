//! Reads one source of events into the windows: what is new, and after a start what was seen before.
//!
//! What lies beyond the stored cursor has had no effect yet: it arrives when it is read, however long the host was down. What lies
//! before it arrived when it was stored, or at the moment noted then. So after a restart the windows are what they were.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::warn;
use watchfire_types::Timestamp;

use super::cursors::{Arrivals, Moment, Progress, Saved};
use super::events::{Event, EventSource};
use super::windows::Windows;
use crate::clock::Clock;
use crate::store::StoreError;

/// Events read at a time, and how many times before rules are evaluated in between.
const READ_EVENTS: usize = 1_024;
const READ_BATCHES: usize = 16;
/// An event that is read so much later than it was stored counts from when it was read.
const PROMPT: Duration = Duration::from_secs(2);
/// Progress that changes no alert is stored after this time.
pub const SAVE_INTERVAL: Duration = Duration::from_secs(5);

/// Where one source stands.
pub struct EventReader {
    name: &'static str,
    source: Arc<dyn EventSource>,
    stored: watch::Receiver<u64>,
    /// What `state.db` has; `None` if it has nothing yet.
    saved: Option<u64>,
    saved_at: Timestamp,
    /// The last event that has been seen by this host or the one before it; `None` before the first read.
    seen: Option<u64>,
    /// Where the source is read next; `None` before the first read and after a change of rules.
    next: Option<u64>,
    /// What had been stored when reading began: when it is reached, the windows are complete.
    complete_at: u64,
    arrivals: Vec<Arrivals>,
    unsaved: Vec<Arrivals>,
    /// Whether the stored arrivals are about events of a source that is gone.
    replaced: bool,
    problem: Option<String>,
}

impl EventReader {
    /// Returns a reader of `source` that goes on where `saved` says.
    #[must_use]
    pub fn new(name: &'static str, source: Arc<dyn EventSource>, saved: Saved, now: Timestamp) -> Self {
        let mut reader = Self {
            name,
            stored: source.stored(),
            source,
            saved: saved.position,
            saved_at: saved.at,
            seen: None,
            next: None,
            complete_at: 0,
            arrivals: saved.arrivals,
            unsaved: Vec::new(),
            replaced: false,
            problem: None,
        };
        reader.step_back(saved.at, now);
        reader
    }

    /// Returns the source's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Reads from the beginning of the longest window again: rules have changed.
    pub fn begin_again(&mut self) {
        self.next = None;
    }

    /// Counts what is new; returns whether there is more. May block on disk.
    pub fn read(&mut self, windows: &Mutex<Windows>, clock: &Clock) -> bool {
        match self.read_up_to(windows, clock) {
            Ok(backlog) => {
                self.problem = None;
                backlog
            }
            Err(failed) => {
                let text = failed.to_string();
                if self.problem.as_ref() != Some(&text) {
                    let source = self.name;
                    warn!(source, reason = %text, "rules over {source} wait: they cannot be read");
                    self.problem = Some(text);
                }
                false
            }
        }
    }

    /// Takes note that the clock stepped back from `before` to `now`, if so: what has been seen is as old as it was.
    pub fn step_back(&mut self, before: Timestamp, now: Timestamp) {
        self.saved_at = self.saved_at.min(now);
        if let Some(last) = self.seen.or(self.saved).filter(|_| now < before) {
            let step = Arrivals { first: 0, last, moment: Moment::Earlier(before.since(now)), latest: before };
            self.arrivals.push(step);
            self.unsaved.push(step);
        }
    }

    /// Returns what is to be stored with the next transaction, if anything: only what has been evaluated has had its effect.
    #[must_use]
    pub fn progress(&self, windows: &Windows) -> Option<Progress> {
        let changed = self.saved != self.seen || !self.unsaved.is_empty();
        self.state(windows).filter(|_| changed)
    }

    /// Returns the same for a transaction that there is anyway, whether or not anything is new but the time.
    #[must_use]
    pub fn state(&self, windows: &Windows) -> Option<Progress> {
        let position = self.seen?;
        let evaluated = windows.events.longest(self.name).is_none() || windows.events.is_ready(self.name);
        let progress = || Progress { source: self.name, position, arrivals: self.unsaved.clone(), replaced: self.replaced };
        evaluated.then(progress)
    }

    /// Returns when progress is to be stored though no alert changes.
    #[must_use]
    pub fn save_at(&self) -> Timestamp {
        if self.saved.is_some() { self.saved_at.plus(SAVE_INTERVAL) } else { Timestamp::ZERO }
    }

    /// Takes note that `progress` was stored at `now`.
    pub fn saved(&mut self, progress: &Progress, now: Timestamp) {
        self.saved = Some(progress.position);
        self.saved_at = now;
        self.replaced = false;
        self.unsaved.drain(..progress.arrivals.len().min(self.unsaved.len()));
    }

    fn read_up_to(&mut self, windows: &Mutex<Windows>, clock: &Clock) -> Result<bool, StoreError> {
        let stored = *self.stored.borrow_and_update();
        let longest = windows.lock().events.longest(self.name);
        let mut seen = self.seen_so_far(stored, longest, clock.now())?;
        self.seen = Some(seen);
        let Some(longest) = longest else {
            // Nobody looks: a rule that comes later sees what its window reaches back to.
            self.seen = Some(seen.max(stored));
            self.next = None;
            return Ok(false);
        };
        let mut next = if let Some(next) = self.next {
            next
        } else {
            self.complete_at = stored;
            self.beginning(seen, clock.now().minus(longest))?
        };
        let mut batches = 0;
        while next < stored && batches < READ_BATCHES {
            let events = self.source.events_after(next, READ_EVENTS)?;
            let Some(last) = events.last().map(|event| event.position) else { break };
            let now = clock.now();
            let arrived = self.arrive(events, seen, now);
            windows.lock().events.observe(self.name, &arrived, now);
            (next, seen) = (last, seen.max(last));
            (self.next, self.seen) = (Some(next), Some(seen));
            batches += 1;
        }
        self.next = Some(next);
        // Stopping short for want of events means that retention took them.
        let backlog = next < stored && batches == READ_BATCHES;
        if next >= self.complete_at || !backlog {
            windows.lock().events.set_ready(self.name);
        }
        Ok(backlog)
    }

    /// Returns the last event that has had its effect, which is known from the first read on.
    fn seen_so_far(&mut self, stored: u64, longest: Option<Duration>, now: Timestamp) -> Result<u64, StoreError> {
        Ok(match (self.seen, self.saved, longest) {
            (Some(seen), ..) => seen,
            (None, Some(saved), _) if saved > stored => {
                let source = self.name;
                warn!(source, saved, stored, "the {source} were replaced by others: rules look at what comes from now on");
                self.arrivals.clear();
                self.replaced = true;
                stored
            }
            (None, Some(saved), _) => saved,
            // The very first start: what is there has told nobody.
            (None, None, Some(longest)) => self.source.position_at(now.minus(longest))?,
            (None, None, None) => stored,
        })
    }

    /// Returns the position after which everything lies that counts, having arrived since `since` or not yet.
    fn beginning(&self, seen: u64, since: Timestamp) -> Result<u64, StoreError> {
        // What the clock was ahead only makes events older: those are in any case among the later ones.
        let late = |noted: &&Arrivals| matches!(noted.moment, Moment::At(at) if at > since);
        let noted = self.arrivals.iter().filter(late).map(|noted| noted.first.saturating_sub(1)).min();
        let position = self.source.position_at(since)?.min(seen);
        Ok(noted.map_or(position, |noted| noted.min(position)))
    }

    /// Returns each of `events` with its arrival, and notes those that cannot be told from when they were stored.
    fn arrive(&mut self, events: Vec<Event>, seen: u64, now: Timestamp) -> Vec<(Event, Timestamp)> {
        let mut goes_on = false;
        let arrive = |event: Event| {
            let known = if event.position > seen { now } else { self.arrival_of(&event) };
            let arrival = known.min(now);
            // What lies ahead was stored before the clock stepped back while nobody looked.
            let noted = known > now || (event.position > seen && (now.since(event.at) >= PROMPT || event.at > now));
            if noted {
                self.note(&event, arrival, goes_on);
            }
            goes_on = noted;
            (event, arrival)
        };
        events.into_iter().map(arrive).collect()
    }

    fn arrival_of(&self, event: &Event) -> Timestamp {
        let noted = self.arrivals.iter().filter(|noted| (noted.first..=noted.last).contains(&event.position));
        noted.fold(event.at, |arrival, noted| noted.moment.apply(arrival))
    }

    /// Notes that `event` arrived at `at`, with the last ones noted if it `goes_on` from there.
    fn note(&mut self, event: &Event, at: Timestamp, goes_on: bool) {
        let (moment, latest) = (Moment::At(at), at.max(event.at));
        for list in [&mut self.arrivals, &mut self.unsaved] {
            match list.last_mut().filter(|last| goes_on && last.moment == moment) {
                Some(last) => (last.last, last.latest) = (event.position, last.latest.max(latest)),
                None => list.push(Arrivals { first: event.position, last: event.position, moment, latest }),
            }
        }
    }
}

#[cfg(test)]
#[path = "event_reader_tests.rs"]
mod tests;
