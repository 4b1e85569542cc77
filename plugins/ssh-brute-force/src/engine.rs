//! Counts failures by where they come from and whom they are about, and says when that is too many.

use std::collections::BTreeMap;

use crate::origin::{Network, Origin};
use crate::parse::{Event, Kind, Method};

/// Most origins and users that are remembered. Those silent for longest go first.
pub const MAX_ORIGINS: usize = 50_000;
/// See [`MAX_ORIGINS`].
pub const MAX_USERS: usize = 10_000;
/// Connections of one origin that are told apart.
const MAX_CONNECTIONS: usize = 16;
/// Records that a detection names.
const MAX_SAMPLES: usize = 8;
/// Most failures that are kept one by one before it is too many; also the most that a setting may ask for.
pub const MAX_FAILURES: usize = 100;
/// Most users of one origin, or origins of one user, that are told apart; also the most that a setting may ask for.
pub const MAX_DISTINCT: usize = 64;

/// When it is too many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Failures from one origin within the window.
    pub threshold: usize,
    /// Nanoseconds that failures count for.
    pub window: u64,
    /// Failures of one user within the window,
    pub user_threshold: usize,
    /// if they come from so many origins.
    pub user_addresses: usize,
    /// Users that one origin tries within the window.
    pub spray_users: usize,
    /// Failures within the window after which a success is alarming.
    pub success_after: u64,
    /// Whether failures with keys count.
    pub count_keys: bool,
    /// Whose failures are not looked at.
    pub ignore: Vec<Network>,
}

/// Which record an event was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source<'a> {
    /// Its position.
    pub seq: u64,
    /// Its event time.
    pub time: u64,
    /// The machine that was logged into, if known.
    pub machine: &'a str,
}

/// Something worth a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detection {
    /// What.
    pub rule: Rule,
    /// From where; `None` if from many places.
    pub origin: Option<Origin>,
    /// Whom it is about; empty if many.
    pub user: String,
    /// The machine that was logged into last, if known.
    pub machine: String,
    /// Failures so far.
    pub failures: u64,
    /// Different users of one origin, or origins of one user, as far as they are told apart.
    pub distinct: usize,
    /// Event times of the first and the last failure.
    pub times: (u64, u64),
    /// Positions of some of the records, and of the first and the last.
    pub samples: Vec<u64>,
    /// See above.
    pub seqs: (u64, u64),
}

/// What was detected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// One origin fails again and again.
    BruteForce,
    /// One origin tries many users.
    PasswordSpraying,
    /// Many origins try one user.
    Distributed,
    /// Somebody who had failed often has got in.
    SuccessAfterFailures,
}

/// Failures that belong together: no two of them are further apart than the window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Episode {
    /// Times and positions of failures within the window, sorted, until they are too many.
    pub(crate) recent: Vec<(u64, u64)>,
    /// Failures, once they were too many; 0 before.
    pub(crate) total: u64,
    /// Failures at which it is said again.
    pub(crate) next_report: u64,
    /// Failures that were said last.
    pub(crate) reported: u64,
    pub(crate) times: (u64, u64),
    pub(crate) seqs: (u64, u64),
    pub(crate) samples: Vec<u64>,
}

/// Names seen within the window, as hashes with the time when last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Distinct(pub(crate) Vec<(u64, u64)>);

/// What is known of an origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) last: u64,
    pub(crate) failures: Episode,
    pub(crate) users: Distinct,
    /// Failures at which trying many users is said again; 0 before it was said.
    pub(crate) next_spray_report: u64,
    /// Ports of the last connections, and whether a failure was counted for each on suspicion only.
    pub(crate) connections: Vec<(u16, bool)>,
    /// Failures by what the server says, by what PAM says, and the greater of both: they speak of the same.
    pub(crate) by_server: u64,
    pub(crate) by_pam: u64,
    /// Users, as hashes, that got in after failures.
    pub(crate) entered: Vec<u64>,
    pub(crate) machine: String,
}

/// What is known of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Victim {
    pub(crate) last: u64,
    pub(crate) failures: Episode,
    pub(crate) origins: Distinct,
    pub(crate) machine: String,
}

/// All that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    pub(crate) settings: Settings,
    pub(crate) origins: BTreeMap<Origin, Known>,
    pub(crate) users: BTreeMap<String, Victim>,
}

impl Engine {
    /// Returns one that knows nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, origins: BTreeMap::new(), users: BTreeMap::new() }
    }

    /// Returns how many origins and users it remembers.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        (self.origins.len(), self.users.len())
    }

    /// Takes note of an event.
    pub fn observe(&mut self, event: &Event<'_>, source: Source<'_>, found: &mut Vec<Detection>) {
        if self.settings.ignore.iter().any(|network| network.holds(&event.origin)) {
            return;
        }
        match event.kind {
            Kind::Accepted(Method::Guessable) => self.entered(event, source, found),
            // Who has the key has not guessed it; and every client begins with nothing.
            Kind::Accepted(_) | Kind::Failed(Method::None) => {}
            Kind::Failed(Method::Key) if !self.settings.count_keys => {}
            Kind::Failed(_) | Kind::Suspect | Kind::Pam => self.failed(event, source, found),
        }
    }

    fn failed(&mut self, event: &Event<'_>, source: Source<'_>, found: &mut Vec<Detection>) {
        let Settings { window, threshold, spray_users, .. } = self.settings;
        let known = self.origins.entry(event.origin.clone()).or_default();
        if known.last.saturating_add(window) < source.time {
            // Silent for so long: what comes now has nothing to do with what was.
            let ended = known.failures.end();
            found.extend(ended.map(|failures| of_origin(Rule::BruteForce, &event.origin, known, failures)));
            *known = Known::default();
        }
        known.last = known.last.max(source.time);
        machine(&mut known.machine, event, source);
        let new = known.count(event);
        if new > 0 {
            let is_new_user = !event.user.is_empty() && known.users.see(hash(event.user), source.time, window);
            let failures = known.failures.add(new, source, window, |recent| recent >= threshold);
            found.extend(failures.map(|failures| of_origin(Rule::BruteForce, &event.origin, known, failures)));
            let (users, failures) = (known.users.0.len(), known.failures.count());
            let first_time = known.next_spray_report == 0 && is_new_user && users >= spray_users;
            if first_time || (known.next_spray_report > 0 && failures >= known.next_spray_report) {
                known.next_spray_report = (failures + 1).next_power_of_two();
                found.push(of_origin(Rule::PasswordSpraying, &event.origin, known, failures));
            }
            if !event.user.is_empty() {
                self.victim(event, source, new, found);
            }
        }
        if self.origins.len() > MAX_ORIGINS {
            forget_oldest(&mut self.origins, MAX_ORIGINS, |known| known.last);
        }
    }

    fn victim(&mut self, event: &Event<'_>, source: Source<'_>, new: u64, found: &mut Vec<Detection>) {
        let Settings { window, user_threshold, user_addresses, .. } = self.settings;
        if !self.users.contains_key(event.user) {
            self.users.insert(event.user.to_owned(), Victim::default());
        }
        let Some(victim) = self.users.get_mut(event.user) else { return };
        if victim.last.saturating_add(window) < source.time {
            let ended = victim.failures.end();
            found.extend(ended.map(|failures| of_user(event.user, victim, failures)));
            *victim = Victim::default();
        }
        victim.last = victim.last.max(source.time);
        machine(&mut victim.machine, event, source);
        victim.origins.see(hash(&event.origin.to_string()), source.time, window);
        let origins = victim.origins.0.len();
        let failures = victim.failures.add(new, source, window, |recent| recent >= user_threshold && origins >= user_addresses);
        found.extend(failures.map(|failures| of_user(event.user, victim, failures)));
        if self.users.len() > MAX_USERS {
            forget_oldest(&mut self.users, MAX_USERS, |victim| victim.last);
        }
    }

    fn entered(&mut self, event: &Event<'_>, source: Source<'_>, found: &mut Vec<Detection>) {
        let Settings { window, success_after, .. } = self.settings;
        let Some(known) = self.origins.get_mut(&event.origin) else { return };
        let failures = known.failures.count_at(source.time, window);
        // Of an attack from many places, this is one.
        let attacked = self.users.get(event.user).is_some_and(|victim| {
            victim.failures.total > 0 && victim.last.saturating_add(window) >= source.time && victim.failures.times.0 <= source.time
        });
        if failures < success_after && !(attacked && failures > 0) {
            return;
        }
        let user = hash(event.user);
        if known.entered.contains(&user) {
            return;
        }
        if known.entered.len() < MAX_DISTINCT {
            known.entered.push(user);
        }
        machine(&mut known.machine, event, source);
        let mut detection = of_origin(Rule::SuccessAfterFailures, &event.origin, known, failures);
        event.user.clone_into(&mut detection.user);
        detection.times.1 = detection.times.1.max(source.time);
        detection.seqs.1 = detection.seqs.1.max(source.seq);
        // The login itself before all others.
        detection.samples.insert(0, source.seq);
        detection.samples.truncate(MAX_SAMPLES);
        found.push(detection);
    }

    /// Forgets who has been silent for the whole window before `watermark`, and says how often they failed in the end.
    pub fn expire(&mut self, watermark: u64) -> Vec<Detection> {
        let window = self.settings.window;
        let mut found = Vec::new();
        self.origins.retain(|origin, known| {
            let over = known.last.saturating_add(window) < watermark;
            if over && let Some(failures) = known.failures.end() {
                found.push(of_origin(Rule::BruteForce, origin, known, failures));
            }
            !over
        });
        self.users.retain(|user, victim| {
            let over = victim.last.saturating_add(window) < watermark;
            if over && let Some(failures) = victim.failures.end() {
                found.push(of_user(user, victim, failures));
            }
            !over
        });
        found
    }
}

impl Known {
    /// Returns how many failures `event` adds: one login leaves several lines behind.
    fn count(&mut self, event: &Event<'_>) -> u64 {
        let before = self.by_server.max(self.by_pam);
        match event.kind {
            Kind::Pam => self.by_pam += event.times,
            Kind::Suspect => {
                let known = event.port.is_some_and(|port| self.connections.iter().any(|(other, _)| *other == port));
                if !known {
                    self.remember(event.port, true);
                    self.by_server += 1;
                }
            }
            _ => {
                let connection = event.port.and_then(|port| self.connections.iter_mut().find(|(other, _)| *other == port));
                match connection {
                    // It was counted when it was only suspected.
                    Some((_, suspected @ true)) => {
                        *suspected = false;
                        self.by_server += event.times.saturating_sub(1);
                    }
                    Some(_) => self.by_server += event.times,
                    None => {
                        self.remember(event.port, false);
                        self.by_server += event.times;
                    }
                }
            }
        }
        self.by_server.max(self.by_pam) - before
    }

    fn remember(&mut self, port: Option<u16>, suspected: bool) {
        let Some(port) = port else { return };
        if self.connections.len() == MAX_CONNECTIONS {
            self.connections.remove(0);
        }
        self.connections.push((port, suspected));
    }
}

impl Episode {
    /// Returns how many failures there were.
    fn count(&self) -> u64 {
        if self.total > 0 { self.total } else { self.recent.len() as u64 }
    }

    /// Returns how many failures there were within the window before `time`.
    fn count_at(&self, time: u64, window: u64) -> u64 {
        if self.total > 0 {
            let near = self.times.0 <= time && time <= self.times.1.saturating_add(window);
            return if near { self.total } else { 0 };
        }
        self.recent.iter().filter(|(at, _)| *at <= time && time <= at.saturating_add(window)).count() as u64
    }

    /// Adds `new` failures; returns how many there are if that is to be said. `too_many` is asked with those within the window.
    fn add(&mut self, new: u64, source: Source<'_>, window: u64, too_many: impl Fn(usize) -> bool) -> Option<u64> {
        if self.total > 0 {
            self.total += new;
            self.times = (self.times.0.min(source.time), self.times.1.max(source.time));
            self.seqs = (self.seqs.0.min(source.seq), self.seqs.1.max(source.seq));
            // The first half stays, the second follows.
            match self.samples.len() {
                MAX_SAMPLES => self.samples[MAX_SAMPLES / 2 + (self.total % (MAX_SAMPLES as u64 / 2)) as usize] = source.seq,
                _ => self.samples.push(source.seq),
            }
            let due = self.total >= self.next_report;
            return due.then(|| self.report());
        }
        let place = self.recent.partition_point(|other| *other <= (source.time, source.seq));
        let many = usize::try_from(new).unwrap_or(usize::MAX).min(MAX_FAILURES);
        self.recent.splice(place..place, std::iter::repeat_n((source.time, source.seq), many));
        let latest = self.recent.last().map_or(0, |(time, _)| *time);
        self.recent.retain(|(time, _)| time.saturating_add(window) >= latest);
        let excess = self.recent.len().saturating_sub(MAX_FAILURES);
        if !too_many(self.recent.len()) {
            self.recent.drain(..excess);
            return None;
        }
        self.total = self.recent.len() as u64 + (new - many as u64);
        self.times = (self.recent[0].0, latest);
        let mut seqs: Vec<u64> = self.recent.drain(..).map(|(_, seq)| seq).collect();
        seqs.sort_unstable();
        seqs.dedup();
        self.seqs = (seqs[0], seqs[seqs.len() - 1]);
        seqs.truncate(MAX_SAMPLES);
        self.samples = seqs;
        Some(self.report())
    }

    fn report(&mut self) -> u64 {
        self.next_report = (self.total + 1).next_power_of_two();
        self.reported = self.total;
        self.total
    }

    /// Returns how many failures there were in the end, if fewer were said.
    fn end(&mut self) -> Option<u64> {
        (self.total > self.reported).then(|| self.report())
    }
}

impl Distinct {
    /// Takes note of a name; returns whether it is new within the window.
    fn see(&mut self, name: u64, time: u64, window: u64) -> bool {
        if let Some((_, last)) = self.0.iter_mut().find(|(other, _)| *other == name) {
            *last = time.max(*last);
            return false;
        }
        let latest = self.0.iter().map(|(_, last)| *last).max().unwrap_or(0).max(time);
        self.0.retain(|(_, last)| last.saturating_add(window) >= latest);
        if self.0.len() == MAX_DISTINCT || time.saturating_add(window) < latest {
            return false;
        }
        self.0.push((name, time));
        true
    }
}

fn machine(known: &mut String, event: &Event<'_>, source: Source<'_>) {
    let machine = if source.machine.is_empty() { event.machine } else { source.machine };
    let machine = &machine[..machine.floor_char_boundary(255)];
    if !machine.is_empty() && known != machine {
        machine.clone_into(known);
    }
}

fn of_origin(rule: Rule, origin: &Origin, known: &Known, failures: u64) -> Detection {
    let user = String::new();
    detection(rule, Some(origin.clone()), user, &known.machine, &known.failures, failures, known.users.0.len())
}

fn of_user(user: &str, victim: &Victim, failures: u64) -> Detection {
    let origins = victim.origins.0.len();
    detection(Rule::Distributed, None, user.to_owned(), &victim.machine, &victim.failures, failures, origins)
}

fn detection(
    rule: Rule,
    origin: Option<Origin>,
    user: String,
    machine: &str,
    episode: &Episode,
    failures: u64,
    distinct: usize,
) -> Detection {
    let mut detection = Detection {
        rule,
        origin,
        user,
        machine: machine.to_owned(),
        failures,
        distinct,
        times: episode.times,
        samples: episode.samples.clone(),
        seqs: episode.seqs,
    };
    // Before it is too many for its own rule, an episode has its failures one by one.
    if let (Some((first, _)), Some((last, _))) = (episode.recent.first(), episode.recent.last()) {
        let seqs = episode.recent.iter().map(|(_, seq)| *seq);
        detection.times = (*first, *last);
        detection.seqs = (seqs.clone().min().unwrap_or(0), seqs.clone().max().unwrap_or(0));
        detection.samples = seqs.take(MAX_SAMPLES).collect();
        detection.samples.dedup();
    }
    detection
}

/// Forgets a tenth more than it must, so that it need not be done for each newcomer.
fn forget_oldest<K: Ord, V>(known: &mut BTreeMap<K, V>, most: usize, last: impl Fn(&V) -> u64) {
    let mut times: Vec<u64> = known.values().map(&last).collect();
    let excess = (known.len() - most + most / 10).min(times.len());
    let (_, limit, _) = times.select_nth_unstable(excess - 1);
    let limit = *limit;
    let mut left = excess;
    known.retain(|_, value| {
        let goes = left > 0 && last(value) <= limit;
        left -= usize::from(goes);
        !goes
    });
}

/// The FNV-1a hash: the same in every version, because it is saved.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) const SECOND: u64 = 1_000_000_000;
    const START: u64 = 1_767_225_600 * SECOND;

    pub(crate) fn settings() -> Settings {
        Settings {
            threshold: 5,
            window: 600 * SECOND,
            user_threshold: 10,
            user_addresses: 3,
            spray_users: 10,
            success_after: 5,
            count_keys: false,
            ignore: Vec::new(),
        }
    }

    pub(crate) fn event<'a>(kind: Kind, user: &'a str, origin: &str, port: u16) -> Event<'a> {
        Event { kind, user, origin: Origin::read(origin).unwrap(), port: (port > 0).then_some(port), times: 1, machine: "web1" }
    }

    const FAILED: Kind = Kind::Failed(Method::Guessable);
    const ACCEPTED: Kind = Kind::Accepted(Method::Guessable);

    /// Plays events at seconds after the start, and draws what is found.
    fn play(engine: &mut Engine, events: &[(u64, Event<'_>)]) -> Vec<String> {
        let mut found = Vec::new();
        for ((second, event), seq) in events.iter().zip(1..) {
            engine.observe(event, Source { seq, time: START + second * SECOND, machine: "" }, &mut found);
        }
        found.iter().map(draw).collect()
    }

    pub(crate) fn draw(found: &Detection) -> String {
        let origin = found.origin.as_ref().map(ToString::to_string).unwrap_or_default();
        format!("{:?} {origin} {} x{} of {}", found.rule, found.user, found.failures, found.distinct).replace("  ", " ")
    }

    fn failures(count: u64, step: u64) -> Vec<(u64, Event<'static>)> {
        (0..count).map(|number| (number * step, event(FAILED, "root", "203.0.113.7", 1000 + number as u16))).collect()
    }

    #[test]
    fn five_failures_within_ten_minutes_are_too_many_and_then_powers_of_two_are_said() {
        assert_eq!(play(&mut Engine::new(settings()), &failures(4, 1)), [""; 0]);
        assert_eq!(play(&mut Engine::new(settings()), &failures(5, 150)), ["BruteForce 203.0.113.7 x5 of 1"]);
        assert_eq!(play(&mut Engine::new(settings()), &failures(5, 151)), [""; 0]);
        let counts = play(&mut Engine::new(settings()), &failures(40, 1));
        let expected = [5, 8, 16, 32].map(|count| format!("BruteForce 203.0.113.7 x{count} of 1"));
        assert_eq!(counts, expected);
    }

    #[test]
    fn what_was_not_said_is_said_in_the_end() {
        let mut engine = Engine::new(settings());
        play(&mut engine, &failures(30, 1));
        assert_eq!(engine.expire(START + 600 * SECOND), []);
        let last = engine.expire(START + 700 * SECOND);
        assert_eq!(last.iter().map(draw).collect::<Vec<_>>(), ["BruteForce 203.0.113.7 x30 of 1"]);
        assert_eq!((last[0].seqs, last[0].times), ((1, 30), (START, START + 29 * SECOND)));
        assert_eq!(engine.size(), (0, 0));
    }

    #[test]
    fn silence_ends_an_episode_and_the_next_begins_from_nothing() {
        let mut events = failures(6, 1);
        events.extend(failures(4, 1).into_iter().map(|(second, event)| (second + 1000, event)));
        events.push((1005, event(FAILED, "root", "203.0.113.7", 9)));
        let found = play(&mut Engine::new(settings()), &events);
        let expected = [5, 6, 5].map(|count| format!("BruteForce 203.0.113.7 x{count} of 1"));
        assert_eq!(found, expected);
    }

    #[test]
    fn one_login_that_leaves_many_lines_counts_once() {
        let origin = "203.0.113.7";
        let lines = |port: u16| {
            [(Kind::Suspect, port), (Kind::Pam, 0), (FAILED, port), (Kind::Suspect, port)]
                .map(|(kind, port)| (u64::from(port), event(kind, "root", origin, port)))
        };
        let four: Vec<_> = (1..5).flat_map(lines).collect();
        assert_eq!(play(&mut Engine::new(settings()), &four), [""; 0]);
        let five: Vec<_> = (1..6).flat_map(lines).collect();
        assert_eq!(play(&mut Engine::new(settings()), &five), ["BruteForce 203.0.113.7 x5 of 1"]);
        let only_pam: Vec<_> = (1..6).map(|second| (second, event(Kind::Pam, "root", origin, 0))).collect();
        assert_eq!(play(&mut Engine::new(settings()), &only_pam), ["BruteForce 203.0.113.7 x5 of 1"]);
    }

    #[test]
    fn a_folded_line_counts_as_often_as_it_says() {
        let mut folded = event(FAILED, "root", "203.0.113.7", 1);
        folded.times = 1_000_000;
        assert_eq!(play(&mut Engine::new(settings()), &[(0, folded)]), ["BruteForce 203.0.113.7 x1000000 of 1"]);
    }

    #[test]
    fn keys_that_do_not_fit_count_only_if_asked_for() {
        let keys: Vec<_> = (0..9).map(|number| (number, event(Kind::Failed(Method::Key), "ann", "203.0.113.7", 5))).collect();
        assert_eq!(play(&mut Engine::new(settings()), &keys), [""; 0]);
        assert!(!play(&mut Engine::new(Settings { count_keys: true, ..settings() }), &keys).is_empty());
    }

    #[test]
    fn a_success_after_many_failures_is_said_once_a_user() {
        let mut events = failures(5, 1);
        events.extend([(10, event(ACCEPTED, "root", "203.0.113.7", 77)), (11, event(ACCEPTED, "root", "203.0.113.7", 78))]);
        events.push((12, event(ACCEPTED, "root", "198.51.100.1", 77)));
        let found = play(&mut Engine::new(settings()), &events);
        assert_eq!(found, ["BruteForce 203.0.113.7 x5 of 1", "SuccessAfterFailures 203.0.113.7 root x5 of 1"]);
        let mut few = failures(4, 1);
        few.push((5, event(ACCEPTED, "root", "203.0.113.7", 77)));
        assert_eq!(play(&mut Engine::new(settings()), &few), [""; 0], "somebody who mistyped");
        let mut late = failures(5, 1);
        late.push((1000, event(ACCEPTED, "root", "203.0.113.7", 77)));
        assert_eq!(play(&mut Engine::new(settings()), &late).len(), 1, "long after");
        let mut key = failures(5, 1);
        key.push((6, event(Kind::Accepted(Method::Key), "root", "203.0.113.7", 77)));
        assert_eq!(play(&mut Engine::new(settings()), &key).len(), 1, "a key is not guessed");
    }

    #[test]
    fn one_origin_that_tries_many_users_sprays() {
        let users: Vec<String> = (0..20).map(|number| format!("user{number}")).collect();
        let events: Vec<_> = users.iter().zip(0..).map(|(user, second)| (second, event(FAILED, user, "203.0.113.7", 3))).collect();
        let found = play(&mut Engine::new(settings()), &events);
        assert_eq!(
            found,
            [
                "BruteForce 203.0.113.7 x5 of 5",
                "BruteForce 203.0.113.7 x8 of 8",
                "PasswordSpraying 203.0.113.7 x10 of 10",
                "BruteForce 203.0.113.7 x16 of 16",
                "PasswordSpraying 203.0.113.7 x16 of 16",
            ]
        );
    }

    #[test]
    fn many_origins_that_try_one_user_are_one_attack_and_its_success_is_said() {
        let origins: Vec<String> = (1..13).map(|number| format!("203.0.113.{number}")).collect();
        let mut events: Vec<_> =
            origins.iter().zip(0..).map(|(origin, second)| (second, event(FAILED, "root", origin, 3))).collect();
        events.push((20, event(ACCEPTED, "root", "203.0.113.5", 4)));
        events.push((20, event(ACCEPTED, "root", "198.51.100.5", 4)));
        let found = play(&mut Engine::new(settings()), &events);
        assert_eq!(found, ["Distributed root x10 of 10", "SuccessAfterFailures 203.0.113.5 root x1 of 1"]);
        let two: Vec<_> = (0..8).map(|number| (number, event(FAILED, "root", &origins[number as usize % 2], 3))).collect();
        assert!(!play(&mut Engine::new(settings()), &two).iter().any(|found| found.starts_with("Distributed")));
    }

    #[test]
    fn whom_the_operator_trusts_is_not_looked_at() {
        let ignore = vec![Network::read("203.0.113.0/24").unwrap()];
        assert_eq!(play(&mut Engine::new(Settings { ignore, ..settings() }), &failures(50, 1)), [""; 0]);
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_go_first() {
        let mut engine = Engine::new(settings());
        let mut found = Vec::new();
        for number in 0..120_000_u64 {
            let origin = Origin::V4(number as u32);
            let user = format!("u{number}");
            let event = Event { kind: FAILED, user: &user, origin, port: None, times: 1, machine: "" };
            engine.observe(&event, Source { seq: number + 1, time: START + number, machine: "" }, &mut found);
        }
        let (origins, users) = engine.size();
        assert!(origins <= MAX_ORIGINS && users <= MAX_USERS, "{origins} {users}");
        assert!(engine.origins.contains_key(&Origin::V4(119_999)) && !engine.origins.contains_key(&Origin::V4(0)));
    }

    /// Events of few origins and users within a window, in any order.
    pub(crate) fn storm() -> impl Strategy<Value = Vec<(u64, u8, u8, u8, u16)>> {
        proptest::collection::vec((0_u64..500, 0_u8..4, 0_u8..4, 0_u8..6, 1_u16..6), 0..60)
    }

    pub(crate) fn of(origin: u8, user: u8, kind: u8, port: u16) -> Event<'static> {
        let origins = ["203.0.113.7", "198.51.100.1", "2001:db8::1", "evil.example"];
        let users = ["root", "admin", "ann", ""];
        let kinds = [FAILED, FAILED, FAILED, Kind::Suspect, Kind::Pam, FAILED];
        event(kinds[kind as usize], users[user as usize], origins[origin as usize], port)
    }

    proptest! {
        #[test]
        fn the_order_within_a_window_does_not_matter(events in storm(), seed in any::<u64>()) {
            let run = |events: &[(u64, u8, u8, u8, u16)]| {
                let mut engine = Engine::new(settings());
                let mut found = Vec::new();
                for ((second, origin, user, kind, port), seq) in events.iter().zip(1..) {
                    let source = Source { seq, time: START + second * SECOND, machine: "" };
                    engine.observe(&of(*origin, *user, *kind, *port), source, &mut found);
                }
                found.extend(engine.expire(u64::MAX));
                // How many there were in the end, for each origin.
                let mut most: BTreeMap<Option<Origin>, u64> = BTreeMap::new();
                for found in found.into_iter().filter(|found| found.rule == Rule::BruteForce) {
                    let failures = most.entry(found.origin).or_default();
                    *failures = found.failures.max(*failures);
                }
                most
            };
            let mut shuffled = events.clone();
            let mut random = seed;
            for index in (1..shuffled.len()).rev() {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                shuffled.swap(index, (random >> 33) as usize % (index + 1));
            }
            prop_assert_eq!(run(&events), run(&shuffled));
        }
    }
}
