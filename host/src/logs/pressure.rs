//! What is still taken in while the disk fills up: least important records go first, everything is counted and said, and it ends by
//! itself when there is room again.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use watchfire_types::LogBatch;

use crate::telemetry::{Counter, Gauge, SelfMetrics};

/// How long what was seen of the disk is believed while records come in: at full speed some 50 MB are written meanwhile.
const BELIEVED: Duration = Duration::from_millis(200);
/// A stage ends only when there is a quarter more room than where it began, so that it does not come and go.
const MARGIN: (u64, u64) = (5, 4);
/// Share of `storage.max_bytes` from which on the present day alone is too much, in percent, and where that ends.
const TODAY_PERCENT: (u64, u64) = (90, 80);
/// Severity below which records are debugging or tracing, and below which they tell of nothing wrong.
const INFO: u8 = 9;
const WARN: u8 = 13;
/// When a sender who is refused should come again.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// How much is taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Everything.
    #[default]
    All,
    /// All but debug and trace.
    NoDebug,
    /// Warnings and worse.
    NoInfo,
    /// Nothing: senders are told to come again, and files wait.
    Nothing,
}

/// Free bytes below which a stage begins; 0 for never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// [`Stage::NoDebug`]; counts as at most a tenth of the file system.
    pub shed_debug: u64,
    /// [`Stage::NoInfo`]; counts as at most a twentieth.
    pub shed_info: u64,
    /// [`Stage::Nothing`]; counts as at most a hundredth.
    pub refuse: u64,
}

/// What is known of the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that we may still use of the file system.
    pub free: u64,
    /// Bytes of the whole file system.
    pub size: u64,
    /// Bytes of the present day's logs, which no retention can drop.
    pub today: u64,
    /// Most bytes of all telemetry.
    pub most: u64,
}

impl Thresholds {
    /// Returns the stage after `now`, given the `room` there is.
    #[must_use]
    pub fn next(self, now: Stage, room: &Room) -> Stage {
        let (up, down) = (self.stage(room.free, room), self.stage(room.free / MARGIN.0 * MARGIN.1, room));
        let by_disk = up.max(now.min(down));
        let share = |percent: u64| room.most / 100 * percent;
        let is_much = room.today > share(TODAY_PERCENT.0) || (now >= Stage::NoDebug && room.today > share(TODAY_PERCENT.1));
        // Of the day's own records the oldest go, as of others' days: nothing is refused for the sake of the bound.
        if is_much { by_disk.max(Stage::NoDebug) } else { by_disk }
    }

    fn stage(self, free: u64, room: &Room) -> Stage {
        let bounds =
            [(Stage::Nothing, self.refuse, 100), (Stage::NoInfo, self.shed_info, 20), (Stage::NoDebug, self.shed_debug, 10)];
        let begun = |(_, bytes, part): &(Stage, u64, u64)| free < (*bytes).min(room.size / part);
        bounds.iter().find(|bound| begun(bound)).map_or(Stage::All, |(stage, ..)| *stage)
    }
}

impl Stage {
    /// Returns what is not taken in, for people; empty if everything is.
    #[must_use]
    pub fn sheds(self) -> &'static str {
        match self {
            Self::All => "",
            Self::NoDebug => "debug and trace records are not stored",
            Self::NoInfo => "only warnings and worse are stored",
            Self::Nothing => "no records are stored, senders are told to try again and files wait",
        }
    }

    fn from_number(number: u8) -> Self {
        match number {
            0 => Self::All,
            1 => Self::NoDebug,
            2 => Self::NoInfo,
            _ => Self::Nothing,
        }
    }

    /// Returns whether records of this severity are left out. One without a severity counts as informational.
    fn leaves_out(self, severity: u8) -> bool {
        let severity = if severity == 0 { INFO } else { severity };
        match self {
            Self::All | Self::Nothing => false,
            Self::NoDebug => severity < INFO,
            Self::NoInfo => severity < WARN,
        }
    }
}

/// Watches the room on the disk.
pub(super) struct Pressure {
    path: PathBuf,
    thresholds: Thresholds,
    most: u64,
    today: AtomicU64,
    stage: AtomicU8,
    last: Mutex<Option<(Instant, Room)>>,
    state: Gauge,
    shed: [Counter; 4],
}

impl Pressure {
    pub(super) fn new(path: &Path, thresholds: Thresholds, most: u64, metrics: &SelfMetrics) -> Self {
        let shed = |level| metrics.counter("watchfire_log_records_shed_total", &[("level", level)]);
        Self {
            path: path.to_owned(),
            thresholds,
            most,
            today: AtomicU64::new(0),
            stage: AtomicU8::new(0),
            last: Mutex::new(None),
            state: metrics.gauge("watchfire_storage_state", &[]),
            shed: ["unset", "trace", "debug", "info"].map(shed),
        }
    }

    /// Looks at the disk, if it has not been looked at just now; returns how much is taken in.
    pub(super) fn stage(&self) -> Stage {
        let is_due = self.last.try_lock().is_some_and(|last| last.is_none_or(|(when, _)| when.elapsed() >= BELIEVED));
        if is_due { self.look() } else { Stage::from_number(self.stage.load(Ordering::Relaxed)) }
    }

    /// Says how many bytes the present day takes.
    pub(super) fn set_today(&self, bytes: u64) {
        self.today.store(bytes, Ordering::Relaxed);
    }

    /// Looks at the disk.
    pub(super) fn look(&self) -> Stage {
        let mut last = self.last.lock();
        // A system that does not tell is one with room.
        let (free, size) = rustix::fs::statvfs(&self.path).map_or((u64::MAX, u64::MAX), |disk| {
            (disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize))
        });
        let room = Room { free, size, today: self.today.load(Ordering::Relaxed), most: self.most };
        *last = Some((Instant::now(), room));
        let before = Stage::from_number(self.stage.load(Ordering::Relaxed));
        let stage = self.thresholds.next(before, &room);
        self.stage.store(stage as u8, Ordering::Relaxed);
        self.state.set(f64::from(stage as u8));
        drop(last);
        if stage != before {
            self.tell(before, stage, &room);
        }
        stage
    }

    /// Returns the stage and why it is that, if it is not [`Stage::All`].
    pub(super) fn trouble(&self) -> Option<(Stage, String)> {
        let stage = Stage::from_number(self.stage.load(Ordering::Relaxed));
        let room = self.last.lock().map(|(_, room)| room)?;
        (stage != Stage::All).then(|| (stage, format!("{}: {}", self.why(&room), stage.sheds())))
    }

    /// Takes the records out of `batch` that are not stored at present; returns which rows they were.
    pub(super) fn shed(&self, batch: &mut LogBatch, stage: Stage) -> Vec<u32> {
        let leaves_out = |row: &usize| stage.leaves_out(batch.severity[*row]);
        let shed: Vec<u32> = (0..batch.len()).filter(leaves_out).map(|row| row as u32).collect();
        if !shed.is_empty() {
            for row in &shed {
                let severity = batch.severity[*row as usize];
                self.shed[usize::from(severity.div_ceil(4).min(3))].inc();
            }
            let mut kept = LogBatch::default();
            kept.append(batch, (0..batch.len()).filter(|row| !leaves_out(row)));
            *batch = kept;
        }
        shed
    }

    /// Returns why records are refused, and when to come again.
    pub(super) fn refusal(&self) -> (String, Duration) {
        let room = self.last.lock().map(|(_, room)| room);
        (room.map_or_else(|| "the disk is almost full".to_owned(), |room| self.why(&room)), RETRY_AFTER)
    }

    fn why(&self, room: &Room) -> String {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        if self.thresholds.next(Stage::All, &Room { today: 0, ..*room }) == Stage::All
            && room.today > 0
            && room.today > room.most / 100 * TODAY_PERCENT.1
        {
            return format!(
                "the logs of today alone take {:.1} of the {:.1} MB of storage.max_bytes",
                megabytes(room.today),
                megabytes(room.most)
            );
        }
        format!("the disk is almost full, {:.1} of {:.1} MB are free", megabytes(room.free), megabytes(room.size))
    }

    fn tell(&self, before: Stage, stage: Stage, room: &Room) {
        let why = self.why(room);
        match stage {
            Stage::All => tracing::info!("there is room on the disk again: all log records are stored"),
            Stage::Nothing => tracing::error!("{why}: {}", stage.sheds()),
            _ if stage > before => tracing::warn!("{why}: {}", stage.sheds()),
            _ => tracing::info!("{why}, which is better than before: {}", stage.sheds()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const THRESHOLDS: Thresholds = Thresholds { shed_debug: 400, shed_info: 200, refuse: 40 };

    fn room(free: u64) -> Room {
        Room { free, size: 1_000_000, today: 0, most: 1_000 }
    }

    #[test]
    fn stages_come_with_less_room_and_go_with_clearly_more() {
        let mut stage = Stage::All;
        let seen = [1_000, 399, 300, 199, 39, 45, 51, 240, 260, 450, 510, 399].map(|free| {
            stage = THRESHOLDS.next(stage, &room(free));
            stage
        });
        use Stage::{All, NoDebug, NoInfo, Nothing};
        let expected = [All, NoDebug, NoDebug, NoInfo, Nothing, Nothing, NoInfo, NoInfo, NoDebug, NoDebug, All, NoDebug];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_day_that_fills_the_bound_alone_sheds_debug_and_no_more() {
        let today = |today| Room { today, ..room(1_000) };
        assert_eq!(THRESHOLDS.next(Stage::All, &today(901)), Stage::NoDebug);
        assert_eq!(THRESHOLDS.next(Stage::NoDebug, &today(850)), Stage::NoDebug);
        assert_eq!(THRESHOLDS.next(Stage::NoDebug, &today(790)), Stage::All);
        assert_eq!(THRESHOLDS.next(Stage::All, &today(2_000)), Stage::NoDebug);
    }

    #[test]
    fn thresholds_of_zero_never_begin_and_large_ones_leave_a_small_disk_usable() {
        let never = Thresholds { shed_debug: 0, shed_info: 0, refuse: 0 };
        assert_eq!(never.next(Stage::All, &room(0)), Stage::All);
        let large = Thresholds { shed_debug: 1 << 30, shed_info: 1 << 29, refuse: 1 << 28 };
        let small = |free| Room { size: 1_000, ..room(free) };
        assert_eq!(large.next(Stage::All, &small(101)), Stage::All);
        assert_eq!(large.next(Stage::All, &small(99)), Stage::NoDebug);
        assert_eq!(large.next(Stage::All, &small(9)), Stage::Nothing);
    }

    #[test]
    fn what_is_shed_is_counted_by_level_and_the_rest_stays() {
        let metrics = SelfMetrics::default();
        let pressure = Pressure::new(Path::new("/"), THRESHOLDS, 0, &metrics);
        let mut batch = LogBatch::default();
        for severity in [0, 1, 5, 9, 13, 17] {
            let head = watchfire_types::log::RecordHead { severity: watchfire_types::Severity(severity), ..Default::default() };
            batch.push(&head, watchfire_types::ValueRef::Null);
        }
        assert_eq!(pressure.shed(&mut batch, Stage::NoDebug), [1, 2]);
        assert_eq!(batch.severity, [0, 9, 13, 17]);
        assert_eq!(pressure.shed(&mut batch, Stage::NoInfo), [0, 1]);
        assert_eq!(batch.severity, [13, 17]);
        assert_eq!(pressure.shed.each_ref().map(Counter::get), [1, 1, 1, 1]);
    }

    proptest! {
        #[test]
        fn the_stage_is_never_milder_than_the_room_asks_and_more_room_never_makes_it_worse(
            before in 0_u8..4, free in 0_u64..1_000, more in 0_u64..1_000,
        ) {
            let before = Stage::from_number(before);
            let after = THRESHOLDS.next(before, &room(free));
            prop_assert!(after >= THRESHOLDS.next(Stage::All, &room(free)));
            prop_assert!(THRESHOLDS.next(before, &room(free + more)) <= after);
            prop_assert_eq!(THRESHOLDS.next(after, &room(free)), after);
            prop_assert_eq!(THRESHOLDS.next(before, &room(100_000)), Stage::All);
        }
    }
}
