//! The day files of the log, and reading them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use rusqlite::{Connection, Row};
use watchfire_types::{Day, LogBatch, Timestamp};

use super::block::{self, Columns};
use super::engine::BlockInfo;
use super::matcher::Matcher;
use super::outlines::{Outline, Outlines};
use super::summary::{self, Summary, SummaryRow};
use super::types::FileOffset;
use crate::store::database::{IDLE_READERS, ReaderPool, size_bytes, wal_path};
use crate::store::{Migration, StoreError};

/// Schema of a day file.
pub(super) const MIGRATIONS: &[Migration] = &[
    include_str!("../../migrations/logs/0001_logs.sql"),
    include_str!("../../migrations/logs/0002_offset_age.sql"),
    include_str!("../../migrations/logs/0003_offset_cursor.sql"),
    include_str!("../../migrations/logs/0004_summaries.sql"),
    include_str!("../../migrations/logs/0005_patterns.sql"),
    include_str!("../../migrations/logs/0006_filter_parts.sql"),
];
/// Files of an older format have no summaries: one that is closed stays as it is until it is next written to.
const SUMMARIES_SINCE: i64 = 4;

/// Readers kept open of a file that is no longer written to: there are as many files as days of retention.
const CLOSED_READERS: usize = 1;

/// About how much a consumer gets at a time, in bytes, however few records that are.
const MAX_READ_BYTES: usize = 32 << 20;

/// Merging goes on when nobody has searched for this long.
const SEARCH_PAUSE: Duration = Duration::from_millis(50);

/// How many searches read blocks just now, and when one last did: merging gives way to them.
#[derive(Debug, Default)]
struct Searching {
    count: AtomicUsize,
    last: Mutex<Option<Instant>>,
}

impl Searching {
    fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        self.count.fetch_add(1, Ordering::Relaxed);
        let done = work();
        *self.last.lock() = Some(Instant::now());
        self.count.fetch_sub(1, Ordering::Relaxed);
        done
    }

    fn is_busy(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0 || self.last.lock().is_some_and(|last| last.elapsed() < SEARCH_PAUSE)
    }
}

/// All day files, oldest first.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    days: RwLock<BTreeMap<Day, Arc<DayFile>>>,
    searching: Arc<Searching>,
}

/// The records that arrived on one day.
#[derive(Debug)]
pub(super) struct DayFile {
    pub(super) day: Day,
    pub(super) readers: Readers,
    outlines: Mutex<Option<Outlines>>,
    searching: Arc<Searching>,
}

/// Reading connections to the file of a day, which may be written anew under another name.
#[derive(Debug)]
pub(super) struct Readers(RwLock<Arc<ReaderPool>>);

impl Readers {
    /// As [`ReaderPool::read`]. What is read stays the same, whatever becomes of the file meanwhile.
    pub(super) fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        self.pool().read(work)
    }

    pub(super) fn path(&self) -> PathBuf {
        self.pool().path().to_owned()
    }

    pub(super) fn keep(&self, limit: usize) {
        self.pool().keep(limit);
    }

    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        self.pool().idle()
    }

    fn pool(&self) -> Arc<ReaderPool> {
        Arc::clone(&self.0.read())
    }
}

/// What a consumer of the log that looks for few records says of them.
pub struct Skim<'a> {
    /// Which columns of a block tell its rows apart, of which only times, severities and dictionary are known; `None` if it cannot hold
    /// any. Other columns are not even decompressed before there is such a row.
    pub columns: &'a dyn Fn(&LogBatch) -> Option<Columns>,
    /// Which rows of a batch with those columns they are, in their order.
    pub rows: &'a dyn Fn(&LogBatch) -> Vec<usize>,
}

/// What such a consumer gets.
#[derive(Clone, Debug, Default)]
pub struct Skimmed {
    /// The records, in order of `seq`.
    pub batch: LogBatch,
    /// How many records were looked at.
    pub count: u64,
    /// The last of them; `None` if there was none.
    pub last: Option<u64>,
}

/// A block as a search plans it.
#[derive(Clone, Debug)]
pub(super) struct BlockPlan {
    pub(super) file: Arc<DayFile>,
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    pub(super) day: Day,
    pub(super) min_time: u64,
    pub(super) max_time: u64,
}

impl Files {
    /// Finds the day files in `folder`. Of a day that was written anew only the newest file counts; what a crash left of others goes.
    pub(super) fn find(folder: &Path) -> Result<Self, StoreError> {
        let error = |source| StoreError::Io { path: folder.to_owned(), source };
        let mut found: BTreeMap<Day, BTreeMap<u32, PathBuf>> = BTreeMap::new();
        for entry in std::fs::read_dir(folder).map_err(error)? {
            let path = entry.map_err(error)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if let Some((day, edition)) = name.strip_suffix(".db").and_then(day_and_edition) {
                found.entry(day).or_default().insert(edition, path);
            } else if name.contains(UNFINISHED) {
                std::fs::remove_file(&path).map_err(|source| StoreError::Io { path: path.clone(), source })?;
            }
        }
        let (mut days, searching) = (BTreeMap::new(), Arc::default());
        for (day, mut editions) in found {
            if let Some((_, path)) = editions.pop_last() {
                days.insert(day, Arc::new(DayFile::new(day, &path, &searching)));
            }
            editions.values().try_for_each(|path| remove_database(path))?;
        }
        Ok(Self { folder: folder.to_owned(), days: RwLock::new(days), searching })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the path of the file of `day`, or where it is to be made.
    pub(super) fn path(&self, day: Day) -> PathBuf {
        self.days.read().get(&day).map_or_else(|| self.folder.join(format!("{day}.db")), |file| file.readers.path())
    }

    /// Returns where the file of `day` is to be written anew, and the name that it then has.
    pub(super) fn next_edition(&self, day: Day) -> (PathBuf, PathBuf) {
        let edition = edition_of(&self.path(day)) + 1;
        let path = self.folder.join(format!("{day}.{edition}.db"));
        (self.folder.join(format!("{day}.{edition}{UNFINISHED}")), path)
    }

    /// Adds a file that has just been made.
    pub(super) fn add(&self, day: Day) -> Arc<DayFile> {
        let file = Arc::new(DayFile::new(day, &self.path(day), &self.searching));
        let mut days = self.days.write();
        days.values().for_each(|file| file.readers.keep(CLOSED_READERS));
        let file = Arc::clone(days.entry(day).or_insert(file));
        file.readers.keep(IDLE_READERS);
        file
    }

    /// Returns whether somebody searches, or has until a moment ago.
    pub(super) fn is_searched(&self) -> bool {
        self.searching.is_busy()
    }

    /// Returns all files, oldest first.
    pub(super) fn all(&self) -> Vec<Arc<DayFile>> {
        self.days.read().values().cloned().collect()
    }

    pub(super) fn newest(&self) -> Option<Arc<DayFile>> {
        self.days.read().values().next_back().cloned()
    }

    /// Deletes the file of `day`. Readers that hold it open finish undisturbed.
    pub(super) fn remove(&self, day: Day) -> Result<(), StoreError> {
        let Some(file) = self.days.write().remove(&day) else { return Ok(()) };
        file.readers.keep(0);
        // The oldest first: while a newer one is there, those before it do not count.
        for edition in 0..edition_of(&file.readers.path()) {
            let name = if edition == 0 { format!("{day}.db") } else { format!("{day}.{edition}.db") };
            remove_database(&self.folder.join(name))?;
        }
        remove_database(&file.readers.path())
    }

    /// Returns the blocks that may hold a match.
    pub(super) fn plan(&self, matcher: &Matcher) -> Result<Vec<BlockPlan>, StoreError> {
        let mut plans = Vec::new();
        self.visit(|file, first_seq, outline| {
            if matcher.may_match(&outline.to_match(first_seq)) {
                plans.push(BlockPlan {
                    file: Arc::clone(file),
                    first_seq,
                    last_seq: outline.last_seq,
                    day: outline.day,
                    min_time: outline.min_time,
                    max_time: outline.max_time,
                });
            }
        })?;
        Ok(plans)
    }

    /// Returns the least and greatest event time of all records, if there are any.
    pub(super) fn time_range(&self) -> Result<Option<(Timestamp, Timestamp)>, StoreError> {
        let mut range: Option<(u64, u64)> = None;
        self.visit(|_, _, outline| {
            let (least, greatest) = range.unwrap_or((u64::MAX, 0));
            range = Some((least.min(outline.min_time), greatest.max(outline.max_time)));
        })?;
        Ok(range.map(|(least, greatest)| (Timestamp::from_nanos(least), Timestamp::from_nanos(greatest))))
    }

    /// Returns the number of records stored.
    pub(super) fn count(&self) -> Result<u64, StoreError> {
        let mut count = 0;
        self.visit(|_, _, outline| count += outline.rows)?;
        Ok(count)
    }

    /// Returns the `seq` before the first block with a record that arrived at `moment` or later.
    pub(super) fn cursor_at(&self, moment: Timestamp) -> Result<Option<u64>, StoreError> {
        let moment = stored_time(moment.as_nanos()) as u64;
        let mut first: Option<u64> = None;
        self.visit(|_, first_seq, outline| {
            if outline.max_observed >= moment {
                first = Some(first.map_or(first_seq, |first| first.min(first_seq)));
            }
        })?;
        Ok(first.map(|seq| seq - 1))
    }

    /// Returns all `service.name`s, sorted.
    pub(super) fn services(&self) -> Result<Vec<String>, StoreError> {
        let mut lists: HashSet<Arc<[String]>> = HashSet::new();
        let mut long = Vec::new();
        self.visit(|file, first_seq, outline| match &outline.services {
            Some(list) if lists.contains(list) => {}
            Some(list) => drop(lists.insert(Arc::clone(list))),
            None => long.push((Arc::clone(file), first_seq, outline.last_seq)),
        })?;
        let mut services: BTreeSet<String> = lists.iter().flat_map(|list| list.iter().cloned()).collect();
        for (file, first_seq, last_seq) in long {
            services.extend(file.services_between(first_seq, last_seq)?);
        }
        Ok(services.into_iter().collect())
    }

    /// Calls `each` with every block.
    fn visit(&self, mut each: impl FnMut(&Arc<DayFile>, u64, &Outline)) -> Result<(), StoreError> {
        for file in self.all() {
            ignore_vanished(file.with_outlines(|outlines| {
                for (first_seq, outline) in outlines.blocks() {
                    each(&file, first_seq, outline);
                }
            }))?;
        }
        Ok(())
    }
}

/// Part of the name of a file that is being written anew.
const UNFINISHED: &str = ".db-new";

/// Reads `2026-03-01` and `2026-03-01.2`, the second time that a file was written anew.
fn day_and_edition(name: &str) -> Option<(Day, u32)> {
    match name.split_once('.') {
        None => Some((name.parse().ok()?, 0)),
        Some((day, edition)) => Some((day.parse().ok()?, edition.parse().ok()?)),
    }
}

fn edition_of(path: &Path) -> u32 {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    day_and_edition(&name).map_or(0, |(_, edition)| edition)
}

/// Deletes a database and what lies beside it, as far as it is there. Readers that hold it open finish undisturbed.
pub(super) fn remove_database(path: &Path) -> Result<(), StoreError> {
    let mut shm = path.to_owned().into_os_string();
    shm.push("-shm");
    for part in [path, &wal_path(path), Path::new(&shm)] {
        match std::fs::remove_file(part) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::Io { path: part.to_owned(), source });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Turns the error of a file that retention has just removed into nothing.
pub(super) fn ignore_vanished<T>(result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(StoreError::Sqlite { path, .. }) if !path.exists() => Ok(None),
        Err(error) => Err(error),
    }
}

impl DayFile {
    fn new(day: Day, path: &Path, searching: &Arc<Searching>) -> Self {
        let readers = Readers(RwLock::new(Arc::new(ReaderPool::new(path))));
        readers.keep(CLOSED_READERS);
        Self { day, readers, outlines: Mutex::new(None), searching: Arc::clone(searching) }
    }

    /// Runs `work` as [`ReaderPool::read`] does, for somebody who waits: merging lets it go first.
    pub(super) fn search<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        self.searching.during(|| self.readers.read(work))
    }

    pub(super) fn size_bytes(&self) -> u64 {
        size_bytes(&self.readers.path())
    }

    /// Reads from the file at `path` from now on, which has been written anew. Whoever reads just now goes on in the old one.
    pub(super) fn replaced(&self, path: &Path) {
        let pool = ReaderPool::new(path);
        pool.keep(CLOSED_READERS);
        let mut outlines = self.outlines.lock();
        *self.readers.0.write() = Arc::new(pool);
        *outlines = None;
    }

    /// Returns whether a record of one of these services may be there.
    pub(super) fn may_hold_any(&self, services: &BTreeSet<String>) -> Result<bool, StoreError> {
        let holds = |list: &Arc<[String]>| list.iter().any(|service| services.contains(service));
        let any = |outlines: &Outlines| outlines.blocks().any(|(_, outline)| outline.services.as_ref().is_none_or(holds));
        Ok(!services.is_empty() && self.with_outlines(any)?)
    }

    /// Returns the bytes of the pages that hold something.
    pub(super) fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
        let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        Ok(((number("page_count")? - number("freelist_count")?) * number("page_size")?) as u64)
    }

    /// Runs `work` on what is known of the blocks: read once, then kept up by [`Self::changed`].
    pub(super) fn with_outlines<T>(&self, work: impl FnOnce(&Outlines) -> T) -> Result<T, StoreError> {
        let mut outlines = self.outlines.lock();
        // Read under the lock: a commit is told of after it, so what is told twice is only what has been read already.
        let loaded = match outlines.take() {
            Some(loaded) => loaded,
            None => self.readers.read(Outlines::load)?,
        };
        Ok(work(outlines.insert(loaded)))
    }

    /// Tells of a commit: blocks `removed`, and one or more that `add` inserts. Of one file, commits and calls of this are in
    /// the same order.
    pub(super) fn changed(&self, removed: &[u64], add: impl FnOnce(&mut Outlines)) {
        if let Some(outlines) = &mut *self.outlines.lock() {
            for first_seq in removed {
                outlines.remove(*first_seq);
            }
            add(outlines);
        }
    }

    fn services_between(&self, first_seq: u64, last_seq: u64) -> Result<Vec<String>, StoreError> {
        let lists = ignore_vanished(self.readers.read(|connection| {
            connection
                .prepare_cached("SELECT services FROM blocks WHERE last_seq >= ?1 AND first_seq <= ?2")?
                .query_map((first_seq as i64, last_seq as i64), |row| row.get::<_, String>(0))?
                .collect::<rusqlite::Result<Vec<_>>>()
        }))?;
        let services = |list: String| serde_json::from_str::<Vec<String>>(&list).unwrap_or_default();
        Ok(lists.unwrap_or_default().into_iter().flat_map(services).collect())
    }

    /// Returns records after `cursor` in order of `seq`: about `limit` of them if so many are there, fewer if they are large. With
    /// `skim`, the others are counted and left out.
    pub(super) fn read_after(
        &self,
        cursor: u64,
        limit: usize,
        skim: Option<&Skim<'_>>,
        damaged: &mut dyn FnMut(StoreError),
    ) -> Result<Skimmed, StoreError> {
        self.readers.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT first_seq, data FROM blocks WHERE last_seq > ?1 ORDER BY first_seq")?;
            let mut rows = statement.query([cursor as i64])?;
            let mut blocks: Vec<LogBatch> = Vec::new();
            // Of every record, those left out included.
            let mut seqs: Vec<u64> = Vec::new();
            let mut bytes = 0;
            // Up to here every record has been seen: a later block may begin before an earlier one ends.
            let mut bound = u64::MAX;
            while let Some(row) = rows.next()? {
                let first_seq = row.get::<_, i64>(0)? as u64;
                if seqs.len() >= limit || bytes >= MAX_READ_BYTES {
                    let found = seqs.iter().filter(|seq| **seq < first_seq).count();
                    if found >= limit || (found > 0 && bytes >= MAX_READ_BYTES) {
                        bound = first_seq - 1;
                        break;
                    }
                }
                match skimmed(row.get_ref(1)?.as_blob()?, first_seq, skim) {
                    Ok((of_block, block)) => {
                        seqs.extend(of_block.into_iter().filter(|seq| *seq > cursor));
                        bytes += block.size_bytes();
                        blocks.push(block);
                    }
                    Err(error) => damaged(self.damage(first_seq, error)),
                }
            }
            seqs.retain(|seq| *seq <= bound);
            Ok(Skimmed { batch: in_order(&blocks, cursor, bound), count: seqs.len() as u64, last: seqs.iter().copied().max() })
        })
    }

    pub(super) fn has_summaries(connection: &Connection) -> rusqlite::Result<bool> {
        let format: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        Ok(format >= SUMMARIES_SINCE)
    }

    /// Calls `each` with what the blocks hold, by their summaries; a block without one is read.
    pub(super) fn summaries(
        &self,
        since: Timestamp,
        until: Timestamp,
        each: &mut dyn FnMut(&SummaryRow<'_>),
        damaged: &mut dyn FnMut(StoreError),
    ) -> Result<(), StoreError> {
        let (since, until) = (since.as_nanos(), until.as_nanos());
        let mut each = |row: &SummaryRow<'_>| {
            let begins = u128::from(row.minute) * 60_000_000_000;
            if begins >= u128::from(since) && begins < u128::from(until) {
                each(row);
            }
        };
        self.readers.read(|connection| {
            let sql = if Self::has_summaries(connection)? {
                "SELECT blocks.first_seq, summaries.data FROM blocks LEFT JOIN summaries USING (first_seq)
                 WHERE max_time >= ?1 AND min_time < ?2"
            } else {
                "SELECT first_seq, NULL FROM blocks WHERE max_time >= ?1 AND min_time < ?2"
            };
            let mut statement = connection.prepare_cached(sql)?;
            let mut read = connection.prepare_cached("SELECT data FROM blocks WHERE first_seq = ?1")?;
            let mut rows = statement.query((stored_time(since), stored_time(until)))?;
            while let Some(row) = rows.next()? {
                let first_seq = row.get::<_, i64>(0)?;
                if let Some(stored) = row.get_ref(1)?.as_blob_or_null()? {
                    match Summary::new(stored) {
                        Ok(summary) => {
                            summary.for_each(&mut each);
                            continue;
                        }
                        Err(error) => damaged(self.damage(first_seq as u64, error)),
                    }
                }
                // Not joined above: a block is read from disk when its row is reached, even if nobody looks at it.
                read.query_row([first_seq], |row| {
                    match block::decode(row.get_ref(0)?.as_blob()?, first_seq as u64, Columns::HEAD) {
                        Ok(head) => summary::count(&head, &mut each),
                        Err(error) => damaged(self.damage(first_seq as u64, error)),
                    }
                    Ok(())
                })?;
            }
            Ok(())
        })
    }

    pub(super) fn damage(&self, first_seq: u64, error: impl std::fmt::Display) -> StoreError {
        let place = format!("{}, block at seq {first_seq}", self.readers.path().display());
        StoreError::Damaged { place, what: error.to_string() }
    }

    /// Returns every block's outline, in order of `first_seq`.
    pub(super) fn infos(connection: &Connection) -> rusqlite::Result<Vec<BlockInfo>> {
        let info = |row: &Row<'_>| {
            Ok(BlockInfo {
                first_seq: row.get::<_, i64>(0)? as u64,
                last_seq: row.get::<_, i64>(1)? as u64,
                day: Day(row.get(2)?),
                level: row.get(3)?,
                rows: row.get::<_, i64>(4)? as u64,
                bytes: row.get::<_, i64>(5)? as u64,
                raw_bytes: row.get::<_, i64>(6)? as u64,
                created_at: Timestamp::from_nanos(row.get::<_, i64>(7)? as u64),
            })
        };
        connection
            .prepare_cached(
                "SELECT first_seq, last_seq, day, level, rows, length(data), raw_bytes, created_at FROM blocks ORDER BY first_seq",
            )?
            .query_map([], info)?
            .collect()
    }

    /// Returns the `seq` that follows the last one of this file; `None` if the file was never finished.
    pub(super) fn next_seq(connection: &Connection) -> rusqlite::Result<Option<u64>> {
        let last: Option<i64> = connection.query_row("SELECT max(last_seq) FROM blocks", [], |row| row.get(0))?;
        let start: Option<i64> = connection.query_row("SELECT max(next_seq) FROM start", [], |row| row.get(0))?;
        Ok(start.map(|start| (last.unwrap_or(0) as u64 + 1).max(start as u64)))
    }

    /// Returns the offsets of tailed files, each with the time when it was stored, in nanoseconds.
    pub(super) fn offsets(connection: &Connection) -> rusqlite::Result<Vec<(FileOffset, u64)>> {
        connection
            .prepare_cached("SELECT path, device, inode, offset, fingerprint, updated_at, cursor FROM file_offsets")?
            .query_map([], |row| {
                let file = FileOffset {
                    path: row.get(0)?,
                    device: row.get::<_, i64>(1)? as u64,
                    inode: row.get::<_, i64>(2)? as u64,
                    offset: row.get::<_, i64>(3)? as u64,
                    fingerprint: row.get::<_, i64>(4)? as u64,
                    cursor: row.get(6)?,
                };
                Ok((file, row.get::<_, i64>(5)? as u64))
            })?
            .collect()
    }
}

/// SQLite's integers are signed: a time beyond the year 2262 is kept as the last one that fits.
pub(super) fn stored_time(nanos: u64) -> i64 {
    i64::try_from(nanos).unwrap_or(i64::MAX)
}

/// Returns the seqs of all records of a block, and those records of it that are asked for.
fn skimmed(data: &[u8], first_seq: u64, skim: Option<&Skim<'_>>) -> Result<(Vec<u64>, LogBatch), block::BlockError> {
    let Some(skim) = skim else {
        let block = block::decode(data, first_seq, Columns::ALL)?;
        return Ok((block.seq.clone(), block));
    };
    let head = block::decode(data, first_seq, Columns::HEAD)?;
    let mut found = LogBatch::default();
    if let Some(columns) = (skim.columns)(&head) {
        let rows = (skim.rows)(&block::decode(data, first_seq, columns)?);
        if !rows.is_empty() {
            found.append(&block::decode(data, first_seq, Columns::ALL)?, rows);
        }
    }
    Ok((head.seq, found))
}

/// Returns the records of `blocks` with `cursor < seq <= bound`, in order of `seq`.
fn in_order(blocks: &[LogBatch], cursor: u64, bound: u64) -> LogBatch {
    let mut places: Vec<(u64, usize, usize)> = Vec::new();
    for (index, block) in blocks.iter().enumerate() {
        let rows = block.seq.iter().enumerate().filter(|(_, seq)| (cursor + 1..=bound).contains(seq));
        places.extend(rows.map(|(row, seq)| (*seq, index, row)));
    }
    places.sort_unstable();
    let mut batch = LogBatch::default();
    for run in places.chunk_by(|left, right| left.1 == right.1) {
        batch.append(&blocks[run[0].1], run.iter().map(|(_, _, row)| *row));
    }
    batch
}
