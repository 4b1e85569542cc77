//! The law of events: whatever is interrupted and however the clock jumps, each is told of once.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rusqlite::Connection;

use super::*;
use crate::alerts::cursors;
use crate::alerts::engine::testing::{TestSamples, event_rule};
use crate::alerts::engine::{Data, Known, Options, evaluate};
use crate::alerts::events::FINDINGS;
use crate::alerts::events::testing::{TestEvents, any_finding};
use crate::alerts::log_windows::testing::factory;
use crate::alerts::store::MIGRATIONS;
use crate::alerts::types::{AlertState, Rule};

const WINDOW: u64 = 60;
/// A bucket of a second, and what an event may be late without a note.
const SLACK: u64 = 4;
const KEYS: [&str; 3] = ["a", "b", "c"];

/// What one process has in memory.
struct Process {
    windows: Mutex<Windows>,
    reader: EventReader,
    known: Known,
    last_now: Timestamp,
}

/// A source, what is on disk, a process, and what ought to be.
struct World {
    rules: Vec<Rule>,
    source: TestEvents,
    now: Timestamp,
    connection: Connection,
    /// The alerts as they are stored.
    stored: Known,
    process: Process,
    /// Each event's key and when it arrived, if it has.
    events: Vec<(&'static str, Option<Timestamp>)>,
    /// When they had arrived as far as the disk knows.
    arrived: Vec<Option<Timestamp>>,
}

impl World {
    fn new() -> Self {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(&MIGRATIONS.concat()).unwrap();
        let rules = vec![event_rule("ssh", WINDOW, any_finding(), &[])];
        let (source, now) = (TestEvents::new(), Timestamp::from_seconds(1_000_000));
        let process = Self::process(&rules, &source, &connection, &Known::new(), now);
        Self { rules, source, now, connection, stored: Known::new(), process, events: Vec::new(), arrived: Vec::new() }
    }

    fn process(rules: &[Rule], source: &TestEvents, connection: &Connection, stored: &Known, now: Timestamp) -> Process {
        let saved = cursors::load(connection, FINDINGS, now).unwrap();
        Process {
            windows: Mutex::new(Windows::new(rules, &factory(), 0)),
            reader: EventReader::new(FINDINGS, Arc::new(source.clone()), saved, now),
            known: stored.clone(),
            last_now: now,
        }
    }

    /// The process dies and another one begins. What had no effect yet is yet to arrive.
    fn restart(&mut self) {
        let saved = cursors::load(&self.connection, FINDINGS, self.now).unwrap();
        let arrived = self.arrived.iter().copied().chain(std::iter::repeat(None));
        self.events.iter_mut().zip(arrived).for_each(|(event, arrived)| event.1 = arrived);
        self.grow_old(saved.at.since(self.now));
        self.process = Self::process(&self.rules, &self.source, &self.connection, &self.stored, self.now);
    }

    /// The clock was seen to step back by `step`: what has arrived is as old as it was.
    fn grow_old(&mut self, step: Duration) {
        self.events.iter_mut().filter_map(|event| event.1.as_mut()).for_each(|arrival| *arrival = arrival.minus(step));
    }

    fn found(&mut self, key: usize) {
        self.source.push(KEYS[key], self.now);
        self.events.push((KEYS[key], None));
    }

    fn firing(known: &Known) -> BTreeSet<&str> {
        let firing = known.values().filter(|alert| matches!(alert.state, AlertState::Firing { .. }));
        firing.map(|alert| alert.labels["key"].as_str()).collect()
    }

    /// What the runner does in one round; `commit` tells whether its transaction gets through.
    fn tick(&mut self, commit: bool) -> Result<(), TestCaseError> {
        self.grow_old(self.process.last_now.since(self.now));
        let process = &mut self.process;
        if self.now < process.last_now {
            let step = process.last_now.since(self.now);
            process.windows.lock().events.shift_back(step);
            process.reader.step_back(process.last_now, self.now);
        }
        process.last_now = self.now;
        while process.reader.read(&process.windows, &Clock::manual(self.now)) {}
        let mut windows = process.windows.lock();
        windows.advance(self.now);
        let (samples, analyzers) = (TestSamples::default(), Vec::new);
        let data = Data { samples: &samples, windows: &windows, sources: &[FINDINGS], analyzers: &analyzers };
        let options = Options { stale_after: Duration::ZERO, started: Timestamp::ZERO };
        let evaluation = evaluate(&self.rules, data, &process.known, options, self.now);
        let mut fresh: BTreeMap<&str, usize> = BTreeMap::new();
        for (key, arrival) in &mut self.events {
            if arrival.is_none() {
                *fresh.entry(*key).or_default() += 1;
            }
            arrival.get_or_insert(self.now);
        }
        let due = process.reader.progress(&windows).is_some() && process.reader.save_at() <= self.now;
        let save = !evaluation.transitions.is_empty() || due;
        let progress = process.reader.state(&windows);
        if !commit {
            drop(windows);
            self.restart();
            return Ok(());
        }
        let (before, after) = (Self::firing(&self.stored), Self::firing(&evaluation.alerts));
        for key in after.difference(&before) {
            prop_assert!(fresh.contains_key(key), "`{key}` fires though nothing new was found");
        }
        for key in fresh.keys() {
            prop_assert!(after.contains(key), "`{key}` was found, and nobody is told");
        }
        for key in before.difference(&after) {
            let last = self.events.iter().filter(|event| event.0 == *key).filter_map(|event| event.1).max().unwrap();
            prop_assert!(self.now.since(last).as_secs() + SLACK >= WINDOW, "`{key}` is over too soon");
        }
        for key in &after {
            let last = self.events.iter().filter(|event| event.0 == *key).filter_map(|event| event.1).max().unwrap();
            prop_assert!(self.now.since(last).as_secs() <= WINDOW + SLACK, "`{key}` goes on too long");
        }
        if save {
            let progress = progress.into_iter().inspect(|progress| cursors::save(&self.connection, progress, self.now).unwrap());
            progress.for_each(|progress| process.reader.saved(&progress, self.now));
            self.stored = evaluation.alerts.clone();
            self.arrived = self.events.iter().map(|event| event.1).collect();
        }
        drop(windows);
        process.known = evaluation.alerts;
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Op {
    Found(usize),
    Tick,
    /// The process dies before its commit.
    TickInterrupted,
    Restart,
    Advance(u64),
    StepBack(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let one = prop_oneof![
        4 => (0..KEYS.len()).prop_map(Op::Found),
        5 => Just(Op::Tick),
        1 => Just(Op::TickInterrupted),
        1 => Just(Op::Restart),
        4 => prop_oneof![Just(0_u64), Just(1), Just(7), Just(30), Just(59), Just(100), Just(100_000)].prop_map(Op::Advance),
        1 => prop_oneof![Just(1_u64), Just(20), Just(90), Just(5_000)].prop_map(Op::StepBack),
    ];
    proptest::collection::vec(one, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn each_finding_leads_to_one_firing_per_key_and_window_whatever_is_interrupted(script in ops()) {
        let mut world = World::new();
        // The very first start.
        world.tick(true)?;
        for op in script {
            match op {
                Op::Found(key) => world.found(key),
                Op::Tick => world.tick(true)?,
                Op::TickInterrupted => world.tick(false)?,
                Op::Restart => world.restart(),
                Op::Advance(seconds) => world.now = world.now.plus(Duration::from_secs(seconds)),
                Op::StepBack(seconds) => {
                    world.now = world.now.minus(Duration::from_secs(seconds));
                    world.tick(true)?;
                }
            }
        }
        world.tick(true)?;
        world.now = world.now.plus(Duration::from_secs(WINDOW + SLACK));
        world.tick(true)?;
        prop_assert!(world.stored.is_empty());
        world.restart();
        world.tick(true)?;
        prop_assert!(world.stored.is_empty(), "told twice");
    }
}
