//! What the log engine decides: which records are taken, how they are split into blocks, which blocks become one.

use std::collections::BTreeMap;
use std::time::Duration;

use watchfire_types::{Day, LogBatch, Timestamp};

/// Event times further ahead than this are refused: two days, as decided for all engines.
pub const MAX_AHEAD: Duration = Duration::from_secs(2 * 86_400);
/// A clock that goes days ahead at once is believed when it has been ahead for this many looks, a minute apart.
pub const PATIENT_ROUNDS: u32 = 10;
/// This many small blocks are merged as soon as they are there.
pub const SMALL_BLOCKS: usize = 16;
/// Merged blocks of one level that become one of the next.
const FAN_OUT: usize = 8;
/// Small blocks are merged after this time, however few.
const MERGE_AFTER: Duration = Duration::from_secs(60);
/// A merge moves at most this many stored bytes in its transaction.
const MAX_MERGE_BYTES: u64 = 4 << 20;
/// A block of this many stored bytes is left as it is.
const FULL_BLOCK_BYTES: u64 = 2 << 20;
/// Most rows of a block: bounds the memory of whoever decodes it.
const MAX_BLOCK_ROWS: u64 = 65_536;
/// Most bytes of bodies and attributes in a block before compression.
const MAX_BLOCK_RAW_BYTES: u64 = 16 << 20;

/// Why a record was refused.
pub const TOO_OLD: &str = "older than the retention of logs";
/// Why a record was refused.
pub const TOO_NEW: &str = "more than two days ahead of the host's clock";

/// Why a record was refused.
pub const SHED: &str = "not stored while there is little room on the disk";

/// Fills in times that are not given: event time from the observed one, observed time from the arrival.
pub fn fill_times(batch: &mut LogBatch, now: Timestamp) {
    for (time, observed) in batch.time.iter_mut().zip(&mut batch.observed) {
        if *observed == 0 {
            *observed = now.as_nanos();
        }
        if *time == 0 {
            *time = *observed;
        }
    }
}

/// Returns how many records are too old and too far ahead.
#[must_use]
pub fn count_refused(batch: &LogBatch, now: Timestamp, retention: Duration) -> (usize, usize) {
    let (oldest, newest) = (now.minus(retention).as_nanos(), now.plus(MAX_AHEAD).as_nanos());
    let mut refused = (0, 0);
    for time in &batch.time {
        refused.0 += usize::from(*time < oldest);
        refused.1 += usize::from(*time > newest);
    }
    refused
}

/// Returns which records [`count_refused`] counts, and why each of them.
#[must_use]
pub fn refused_rows(batch: &LogBatch, now: Timestamp, retention: Duration) -> Vec<(u32, &'static str)> {
    let (oldest, newest) = (now.minus(retention).as_nanos(), now.plus(MAX_AHEAD).as_nanos());
    let reason = |time: u64| if time < oldest { Some(TOO_OLD) } else { (time > newest).then_some(TOO_NEW) };
    let rows = batch.time.iter().enumerate();
    rows.filter_map(|(row, time)| Some((row as u32, reason(*time)?))).collect()
}

/// Returns which rows `rows` were before the rows `removed` were taken out. Both are ascending.
#[must_use]
pub fn original_rows(rows: &[u32], removed: &[(u32, &'static str)]) -> Vec<u32> {
    let mut before = 0;
    let original = |row: &u32| {
        while removed.get(before).is_some_and(|(gone, _)| *gone <= row + before as u32) {
            before += 1;
        }
        row + before as u32
    };
    rows.iter().map(original).collect()
}

/// Returns `batch` without the records that [`count_refused`] counts.
#[must_use]
pub fn without_refused(batch: &LogBatch, now: Timestamp, retention: Duration) -> LogBatch {
    let taken = now.minus(retention).as_nanos()..=now.plus(MAX_AHEAD).as_nanos();
    let mut kept = LogBatch::default();
    kept.append(batch, (0..batch.len()).filter(|row| taken.contains(&batch.time[*row])));
    kept
}

/// Returns the rows of each event day, or `None` when there is only one day.
#[must_use]
pub fn rows_by_day(batch: &LogBatch) -> Option<BTreeMap<Day, Vec<usize>>> {
    let day = |time: &u64| Timestamp::from_nanos(*time).day();
    let first = day(batch.time.first()?);
    if batch.time.iter().all(|time| day(time) == first) {
        return None;
    }
    let mut days: BTreeMap<Day, Vec<usize>> = BTreeMap::new();
    for (row, time) in batch.time.iter().enumerate() {
        days.entry(day(time)).or_default().push(row);
    }
    Some(days)
}

/// What is known of a stored block without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// Least `seq`.
    pub first_seq: u64,
    /// Greatest `seq`.
    pub last_seq: u64,
    /// Event day of its records.
    pub day: Day,
    /// How often it was merged.
    pub level: u32,
    /// Records.
    pub rows: u64,
    /// Stored bytes.
    pub bytes: u64,
    /// Bytes of bodies and attributes before compression.
    pub raw_bytes: u64,
    /// When it was written.
    pub created_at: Timestamp,
}

/// Returns the blocks that should become one next, as positions in `blocks` (all of one file, ascending), or `None` if all is well.
///
/// Blocks of one event day and one level are merged when there are enough of them, small ones also when the oldest is a minute
/// old. Under load a merge takes all small blocks that fit, so that a backlog shrinks faster than it grows. When there is nothing to
/// merge, a full block that was never merged is alone in being rewritten.
#[must_use]
pub fn plan_merge(blocks: &[BlockInfo], now: Timestamp) -> Option<Vec<usize>> {
    let mut groups: BTreeMap<(u32, Day), Vec<usize>> = BTreeMap::new();
    for (position, block) in blocks.iter().enumerate() {
        if !block.is_full() {
            groups.entry((block.level, block.day)).or_default().push(position);
        }
    }
    let merge = groups.into_iter().find_map(|((level, _), group)| {
        let enough = if level == 0 { SMALL_BLOCKS } else { FAN_OUT };
        let late = level == 0 && now.since(blocks[group[0]].created_at) >= MERGE_AFTER;
        let taken = fitting(blocks, &group);
        let ready = group.len() >= enough || late || taken.len() < group.len();
        (ready && taken.len() >= 2).then_some(taken)
    });
    // What was committed as a full block has nothing to be merged with, but is neither small nor indexed yet.
    let rewrite = || blocks.iter().position(|block| block.level == 0 && block.is_full()).map(|position| vec![position]);
    merge.or_else(rewrite)
}

impl BlockInfo {
    fn is_full(&self) -> bool {
        self.bytes >= FULL_BLOCK_BYTES || self.rows * 2 > MAX_BLOCK_ROWS || self.raw_bytes * 2 > MAX_BLOCK_RAW_BYTES
    }
}

/// Returns the longest beginning of `group` that makes one block within bounds.
fn fitting(blocks: &[BlockInfo], group: &[usize]) -> Vec<usize> {
    let (mut bytes, mut rows, mut raw) = (0, 0, 0);
    let fits = |position: &&usize| {
        let block = &blocks[**position];
        bytes += block.bytes;
        rows += block.rows;
        raw += block.raw_bytes;
        bytes <= MAX_MERGE_BYTES && rows <= MAX_BLOCK_ROWS && raw <= MAX_BLOCK_RAW_BYTES
    };
    group.iter().take_while(fits).copied().collect()
}

#[cfg(test)]
mod tests {
    use watchfire_types::ValueRef;
    use watchfire_types::log::RecordHead;

    use super::*;

    fn batch(times: &[u64]) -> LogBatch {
        let mut batch = LogBatch::default();
        for time in times {
            batch.push(&RecordHead { timestamp: Timestamp::from_seconds(*time), ..RecordHead::default() }, ValueRef::Null);
        }
        batch
    }

    fn block(first_seq: u64, level: u32, bytes: u64) -> BlockInfo {
        let created_at = Timestamp::from_seconds(1_000);
        BlockInfo { first_seq, last_seq: first_seq, day: Day(1), level, rows: 10, bytes, raw_bytes: bytes, created_at }
    }

    #[test]
    fn only_times_outside_the_retention_are_refused() {
        let now = Timestamp::from_seconds(10_000_000);
        let retention = Duration::from_secs(100);
        let batch = batch(&[9_999_899, 9_999_900, 10_172_800, 10_172_801]);
        assert_eq!(count_refused(&batch, now, retention), (1, 1));
        assert_eq!(without_refused(&batch, now, retention).len(), 2);
    }

    #[test]
    fn rows_are_found_again_among_those_that_were_taken_out() {
        assert_eq!(original_rows(&[0, 1, 2], &[(0, ""), (2, ""), (3, "")]), [1, 4, 5]);
        assert_eq!(original_rows(&[1], &[]), [1]);
        assert_eq!(original_rows(&[], &[(0, "")]), [] as [u32; 0]);
    }

    #[test]
    fn a_missing_time_is_the_arrival() {
        let mut batch = batch(&[0, 7]);
        fill_times(&mut batch, Timestamp::from_nanos(9));
        assert_eq!((batch.time, batch.observed), (vec![9, 7_000_000_000], vec![9, 9]));
    }

    #[test]
    fn late_records_lie_in_blocks_of_their_own_day() {
        assert_eq!(rows_by_day(&batch(&[1, 2])), None);
        let days = rows_by_day(&batch(&[86_400, 5, 86_401])).unwrap();
        assert_eq!(days.into_values().collect::<Vec<_>>(), [vec![1], vec![0, 2]]);
    }

    #[test]
    fn merging_waits_for_sixteen_blocks_or_a_minute() {
        let now = Timestamp::from_seconds(1_030);
        let blocks: Vec<_> = (0..16).map(|seq| block(seq, 0, 100)).collect();
        assert_eq!(plan_merge(&blocks, now).unwrap().len(), 16);
        assert_eq!(plan_merge(&blocks[..15], now), None);
        assert_eq!(plan_merge(&blocks[..2], Timestamp::from_seconds(1_060)).unwrap().len(), 2);
        assert_eq!(plan_merge(&blocks[..1], Timestamp::from_seconds(9_000)), None);
    }

    #[test]
    fn a_merge_moves_at_most_four_megabytes_and_leaves_full_blocks() {
        let now = Timestamp::from_seconds(1_000);
        let blocks: Vec<_> = (0..20).map(|seq| block(seq, 0, 1 << 20)).collect();
        assert_eq!(plan_merge(&blocks, now), Some(vec![0, 1, 2, 3]));
        let full: Vec<_> = (0..20).map(|seq| block(seq, 1, 3 << 20)).collect();
        assert_eq!(plan_merge(&full, now), None);
        let mut one = full;
        one[7].level = 0;
        assert_eq!(plan_merge(&one, now), Some(vec![7]));
    }
}
