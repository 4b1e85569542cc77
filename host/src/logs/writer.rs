//! The write path: an encoder thread makes blocks of what `intake` has gathered, a writer thread commits them, a third one checkpoints.
//!
//! Encoding one group goes on while the group before it is committed; what arrives meanwhile becomes the next group.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use watchfire_types::log::service_of;
use watchfire_types::{Day, LogBatch, Timestamp};

use super::block;
use super::engine::{self, PATIENT_ROUNDS, SMALL_BLOCKS};
use super::files::{DayFile, Files, MIGRATIONS, stored_time};
use super::filter_parts;
use super::intake::Gathered;
use super::outlines::{Outline, Outlines};
use super::patterns;
use super::patterns::table::{MAX_CARRIED, Unsaved};
use super::recent::Recent;
use super::summary;
use super::tokens::TokenFilter;
use super::types::FileOffset;
use crate::clock::Clock;
use crate::store::crash::crash_point;
use crate::store::database::{open_writer, wal_path};
use crate::store::directory::sync_directory;
use crate::store::{IngestError, StoreError};
use crate::telemetry::{Counter, Gauge};

/// Most rows of a block that is written by a commit.
const MAX_ROWS: usize = 65_536;
/// Blocks of fewer rows have no token filter.
const MIN_INDEXED_ROWS: usize = 4_096;
/// zstd level of small blocks, which are soon merged: speed matters, size hardly.
const SMALL_LEVEL: i32 = 1;
/// zstd level of merged blocks.
const MERGED_LEVEL: i32 = 3;
/// Blocks of fewer rows are not packed: they are merged again, and a column that short has little to gain.
const MIN_PACKED_ROWS: usize = 1_024;
/// What a transaction writes beside its blocks, in bytes: whole pages of tree and index, however little changes in each.
const COMMIT_BYTES: u64 = 6 * 8192;
/// The write-ahead log is copied into the file when it has grown by this many bytes.
const CHECKPOINT_BYTES: u64 = 8 << 20;
/// Beyond this the checkpoint makes writers wait for the moment it takes to finish.
const WAL_STOP_BYTES: u64 = 48 << 20;

/// What a probe asks room for, in bytes.
const PROBE_BYTES: i64 = 256 << 10;
/// The offset in a file that is gone is remembered for this long after it was last read.
const OFFSET_RETENTION: Duration = Duration::from_secs(14 * 86_400);

/// What the writer thread is asked to do.
pub(super) enum Job {
    /// Store these blocks and answer whoever waits for them.
    Commit(Box<Group>),
    /// Replace blocks of the current file by the one made of them.
    Merge(Merge),
    /// Delete the oldest blocks of the current file until about `bytes` are free.
    Trim { bytes: u64, answer: oneshot::Sender<u64> },
    /// Start a new file if the day has changed.
    Roll,
    /// Write and take back, to see whether commits work again.
    Probe { answer: oneshot::Sender<()> },
    #[cfg(test)]
    Test(Box<dyn FnOnce(&mut Connection) + Send>),
}

/// Blocks that are committed together.
pub(super) struct Group {
    blocks: Vec<EncodedBlock>,
    /// All records of the blocks, in order of their `seq`s, for those who read the log as it comes.
    records: LogBatch,
    rows: u64,
    offsets: Vec<FileOffset>,
    answers: Vec<(oneshot::Sender<Result<(), IngestError>>, OwnedSemaphorePermit)>,
    patterns: patterns::Changes,
}

/// Blocks of one file, and the one they become.
pub(super) struct Merge {
    pub(super) day: Day,
    pub(super) old: Vec<u64>,
    pub(super) block: EncodedBlock,
    pub(super) answer: std::sync::mpsc::Sender<bool>,
}

/// A block ready to be stored. Its `seq`s are relative to the group's first until the writer assigns that.
pub(super) struct EncodedBlock {
    first_seq: u64,
    last_seq: u64,
    day: Day,
    level: u32,
    rows: u64,
    min_time: u64,
    max_time: u64,
    max_observed: u64,
    severities: u32,
    services: String,
    raw_bytes: u64,
    filter: Vec<u8>,
    summary: Option<Vec<u8>>,
    data: Vec<u8>,
}

impl EncodedBlock {
    /// Encodes `batch`, all of one event day, whose `seq`s lie between `first_seq` and `last_seq`.
    pub(super) fn new(batch: &LogBatch, first_seq: u64, last_seq: u64, level: u32) -> Self {
        let mut services: Vec<&str> = batch.resources.iter().map(|resource| service_of(resource).unwrap_or("")).collect();
        services.sort_unstable();
        services.dedup();
        let max_time = batch.time.iter().copied().max().unwrap_or(0);
        Self {
            first_seq,
            last_seq,
            day: watchfire_types::Timestamp::from_nanos(max_time).day(),
            level,
            rows: batch.len() as u64,
            min_time: batch.time.iter().copied().min().unwrap_or(0),
            max_time,
            max_observed: batch.observed.iter().copied().max().unwrap_or(0),
            severities: batch.severity.iter().fold(0, |bits, severity| bits | 1 << (severity & 31)),
            services: serde_json::to_string(&services).unwrap_or_default(),
            raw_bytes: (batch.body.data.bytes.len() + batch.attribute_value.data.bytes.len()) as u64,
            // Words of a small block are not worth indexing: it is merged again soon, and read quickly.
            filter: if level == 0 || batch.len() < MIN_INDEXED_ROWS {
                Vec::new()
            } else {
                TokenFilter::build(batch).as_bytes().to_vec()
            },
            summary: summary::encode(batch),
            data: match level {
                0 => block::encode(batch, SMALL_LEVEL),
                _ if batch.len() < MIN_PACKED_ROWS => block::encode(batch, MERGED_LEVEL),
                _ => block::pack(batch, MERGED_LEVEL),
            },
        }
    }

    /// Adds what is known of the block without reading it.
    fn outline(&self, base: u64, outlines: &mut Outlines) {
        let stored = |nanos| stored_time(nanos) as u64;
        let outline = Outline {
            last_seq: base + self.last_seq,
            day: self.day,
            rows: self.rows,
            min_time: stored(self.min_time),
            max_time: stored(self.max_time),
            max_observed: stored(self.max_observed),
            severities: self.severities,
            services: None,
        };
        outlines.insert(base + self.first_seq, outline, &self.services);
    }

    pub(super) fn data(&self) -> &[u8] {
        &self.data
    }

    pub(super) fn insert(&self, transaction: &Transaction<'_>, base: u64, created_at: u64) -> rusqlite::Result<()> {
        let first_seq = (base + self.first_seq) as i64;
        let filter = filter_parts::insert(transaction, first_seq as u64, &self.filter)?;
        transaction
            .prepare_cached("INSERT INTO blocks VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)")?
            .execute(rusqlite::params![
                first_seq,
                (base + self.last_seq) as i64,
                self.day.0,
                self.level,
                self.rows as i64,
                stored_time(self.min_time),
                stored_time(self.max_time),
                stored_time(self.max_observed),
                self.severities,
                self.services,
                self.raw_bytes as i64,
                stored_time(created_at),
                &*filter,
                self.data,
            ])?;
        if let Some(summary) = &self.summary {
            transaction.prepare_cached("INSERT INTO summaries VALUES (?1, ?2)")?.execute((first_seq, summary))?;
        }
        Ok(())
    }
}

/// Replaces blocks `old` of `file` by `block` in one transaction.
pub(super) fn apply_merge(
    connection: &mut Connection,
    file: &DayFile,
    old: &[u64],
    block: &EncodedBlock,
    now: u64,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut deleted = 0;
    for first_seq in old {
        deleted += transaction.prepare_cached("DELETE FROM blocks WHERE first_seq = ?1")?.execute([*first_seq as i64])?;
    }
    // Retention may have trimmed some of them since they were read: then they must not come back.
    if deleted == old.len() {
        block.insert(&transaction, 0, now)?;
        crash_point("logs.before_merge_commit");
        transaction.commit()?;
        file.changed(old, |outlines| block.outline(0, outlines));
        crash_point("logs.after_merge_commit");
    }
    Ok(())
}

/// Encodes what has been gathered and hands it to the writer. Ends when nothing more can come.
pub(super) fn run_encoder(gathered: &Receiver<Gathered>, jobs: &SyncSender<Job>) {
    while let Ok(gathered) = gathered.recv() {
        if jobs.send(Job::Commit(Box::new(encode_group(gathered)))).is_err() {
            return;
        }
    }
}

fn encode_group(gathered: Gathered) -> Group {
    let Gathered { batch: merged, offsets, answers, patterns } = gathered;
    let mut blocks = Vec::new();
    match engine::rows_by_day(&merged) {
        None if merged.len() <= MAX_ROWS => {
            if !merged.is_empty() {
                blocks.push(EncodedBlock::new(&merged, 0, merged.len() as u64 - 1, 0));
            }
        }
        days => {
            let all = || vec![(0..merged.len()).collect()];
            let days: Vec<Vec<usize>> = days.map_or_else(all, |days| days.into_values().collect());
            blocks.extend(days.iter().flat_map(|rows| rows.chunks(MAX_ROWS)).map(|rows| encode_rows(&merged, rows)));
        }
    }
    Group { rows: merged.len() as u64, records: merged, blocks, offsets, answers, patterns }
}

fn encode_rows(batch: &LogBatch, rows: &[usize]) -> EncodedBlock {
    let mut part = LogBatch::default();
    part.append(batch, rows.iter().copied());
    part.seq = rows.iter().map(|row| *row as u64).collect();
    EncodedBlock::new(&part, part.seq[0], part.seq[part.len() - 1], 0)
}

/// What the writer tells others.
pub(super) struct WriterShared {
    pub(super) files: Arc<Files>,
    pub(super) clock: Clock,
    pub(super) committed: watch::Sender<u64>,
    pub(super) records: Counter,
    pub(super) commits: Counter,
    pub(super) wal_bytes: Gauge,
    /// Why commits fail at present.
    pub(super) failure: Mutex<Option<String>>,
    /// Whether the last one failed because the disk is full.
    pub(super) disk_full: AtomicBool,
    pub(super) wake_compactor: SyncSender<()>,
    pub(super) wake_checkpointer: SyncSender<()>,
    /// Blocks written since the compactor last looked.
    pub(super) small_blocks: AtomicUsize,
    pub(super) unsynced_bytes: AtomicU64,
    /// Services whose records are kept for less time than others.
    pub(super) service_retention: Mutex<BTreeMap<String, Duration>>,
    /// The records of the last commits.
    pub(super) recent: Recent,
    pub(super) closing: AtomicBool,
    pub(super) patterns: Arc<patterns::Shared>,
    /// Patterns that were used within this time are carried into a new day's file.
    pub(super) retention: Duration,
}

impl WriterShared {
    /// Tells the compactor and the checkpointer to end.
    pub(super) fn stop(&self) {
        self.closing.store(true, Ordering::SeqCst);
        let _ = self.wake_compactor.try_send(());
        let _ = self.wake_checkpointer.try_send(());
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }
}

/// Owns the writing connection of the current day's file.
pub(super) struct Writer {
    shared: Arc<WriterShared>,
    connection: Connection,
    file: Arc<DayFile>,
    day: Day,
    next_seq: u64,
    /// What no transaction has stored yet of patterns.
    unsaved: Unsaved,
    /// Looks at the clock, a minute apart, that found it days ahead of `day`.
    rounds_ahead: u32,
}

impl Writer {
    /// Opens the current day's file; the sequence goes on where the newest file ends.
    pub(super) fn open(shared: Arc<WriterShared>) -> Result<Self, StoreError> {
        let today = shared.clock.now().day();
        let newest = shared.files.newest();
        // A clock that was set back must not make an older file current.
        let day = newest.as_ref().map_or(today, |file| file.day.max(today));
        let mut next_seq = 1;
        let mut offsets = Vec::new();
        let mut previous = None;
        for file in shared.files.all().iter().rev() {
            // Opening for writing recovers the log of a crash and migrates.
            let connection = open_writer(&file.readers.path(), MIGRATIONS)?;
            let read = DayFile::next_seq(&connection).and_then(|seq| Ok((seq, DayFile::offsets(&connection)?)));
            let (seq, known) = read.map_err(|source| StoreError::Sqlite { path: file.readers.path(), source })?;
            // A file that a crash or a full disk left without its first transaction knows nothing: the one before it does.
            if let Some(seq) = seq {
                (next_seq, offsets) = (seq, known);
                previous = Some(connection);
                break;
            }
        }
        let begin = Beginning { next_seq, offsets: carried(offsets, shared.clock.now()), previous: previous.as_ref() };
        let (file, connection) = open_day(&shared, day, &begin)?;
        let merges = patterns::table::merges(&connection);
        *shared.patterns.merges.write() = merges.map_err(|source| StoreError::Sqlite { path: file.readers.path(), source })?;
        shared.committed.send_replace(next_seq - 1);
        if day > today {
            tracing::warn!(%day, %today, "the newest log file is of a day to come: either it was begun with a wrong clock, or the clock is wrong now");
        }
        Ok(Self { shared, connection, file, day, next_seq, unsaved: Unsaved::default(), rounds_ahead: 0 })
    }

    /// Does `jobs` until all their senders are gone.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            match job {
                Job::Commit(group) => self.commit(*group),
                Job::Merge(merge) => {
                    let now = self.shared.clock.now().as_nanos();
                    // A merge planned before the day changed is planned anew for the closed file.
                    let done = merge.day == self.day
                        && apply_merge(&mut self.connection, &self.file, &merge.old, &merge.block, now)
                            .inspect_err(|error| tracing::warn!(%error, "cannot merge log blocks; it is tried again"))
                            .is_ok();
                    self.written(merge.block.data.len() as u64);
                    let _ = merge.answer.send(done);
                }
                Job::Trim { bytes, answer } => {
                    self.shared.recent.forget();
                    let freed = trim(&mut self.connection, &self.file, bytes, self.next_seq).unwrap_or(0);
                    let _ = answer.send(freed);
                }
                Job::Probe { answer } => {
                    let result = self.roll().and_then(|()| self.probe());
                    let _ = self.settle(result);
                    let _ = answer.send(());
                }
                #[cfg(test)]
                Job::Test(work) => work(&mut self.connection),
                Job::Roll => {
                    self.shared.recent.forget_old();
                    // Records of a service may have expired.
                    let _ = self.shared.wake_compactor.try_send(());
                    self.look_at_clock();
                    if let Err(error) = self.roll() {
                        tracing::error!(%error, "cannot start the day's log file; it is tried again");
                    }
                }
            }
        }
    }

    fn commit(&mut self, mut group: Group) {
        self.unsaved.add(&mut group.patterns);
        let result = self.roll().and_then(|()| {
            self.store(&mut group).map_err(|source| StoreError::Sqlite { path: self.shared.files.path(self.day), source })
        });
        let result = self.settle(result);
        self.shared.patterns.is_full.store(self.unsaved.is_full(), Ordering::Relaxed);
        for (answer, permit) in group.answers {
            let busy = |reason: &String| IngestError::Busy { reason: reason.clone(), retry_after: Duration::from_secs(5) };
            let _ = answer.send(result.as_ref().map_err(busy).copied());
            drop(permit);
        }
    }

    /// Remembers whether commits work, and says when that changes.
    fn settle(&self, result: Result<(), StoreError>) -> Result<(), String> {
        self.shared.disk_full.store(result.as_ref().is_err_and(StoreError::is_disk_full), Ordering::Relaxed);
        let result = result.map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            format!("{error}{cause}")
        });
        let failure = result.as_ref().err().cloned();
        let changed = std::mem::replace(&mut *self.shared.failure.lock(), failure.clone()) != failure;
        match &failure {
            Some(error) if changed => tracing::error!(%error, "cannot store logs: senders are told to try again"),
            None if changed => tracing::info!("logs are stored again"),
            _ => {}
        }
        result
    }

    /// Writes a block and takes it back in one transaction, which asks of the disk what a commit asks.
    fn probe(&mut self) -> Result<(), StoreError> {
        let next_seq = self.next_seq as i64;
        let work = |connection: &mut Connection| -> rusqlite::Result<()> {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute(
                "INSERT INTO blocks VALUES (?1, ?1, 0, 0, 0, 0, 0, 0, 0, '[]', 0, 0, zeroblob(0), zeroblob(?2))",
                [next_seq, PROBE_BYTES],
            )?;
            transaction.execute("DELETE FROM blocks WHERE first_seq = ?1", [next_seq])?;
            transaction.commit()
        };
        work(&mut self.connection).map_err(|source| StoreError::Sqlite { path: self.shared.files.path(self.day), source })
    }

    fn store(&mut self, group: &mut Group) -> rusqlite::Result<()> {
        let now = self.shared.clock.now().as_nanos();
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for block in &group.blocks {
            block.insert(&transaction, self.next_seq, now)?;
        }
        group.offsets.iter().try_for_each(|file| insert_offset(&transaction, file, now))?;
        if !self.unsaved.is_empty() {
            self.unsaved.write(&transaction, self.day)?;
            crash_point("logs.patterns_written");
        }
        crash_point("logs.before_commit");
        transaction.commit()?;
        self.file.changed(&[], |outlines| group.blocks.iter().for_each(|block| block.outline(self.next_seq, outlines)));
        crash_point("logs.after_commit");
        self.shared.patterns.committed(&mut self.unsaved);
        self.shared.recent.add(std::mem::take(&mut group.records), self.next_seq);
        self.next_seq += group.rows;
        self.shared.records.add(group.rows);
        self.shared.commits.inc();
        if group.rows > 0 {
            self.shared.committed.send_replace(self.next_seq - 1);
        }
        let before = self.shared.small_blocks.fetch_add(group.blocks.len(), Ordering::Relaxed);
        // The first one starts the compactor's minute; a full bell has been rung already.
        if before == 0 || before + group.blocks.len() >= SMALL_BLOCKS {
            let _ = self.shared.wake_compactor.try_send(());
        }
        self.written(group.blocks.iter().map(|block| block.data.len() as u64).sum());
        Ok(())
    }

    fn written(&self, bytes: u64) {
        let bytes = bytes + COMMIT_BYTES;
        if self.shared.unsynced_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes >= CHECKPOINT_BYTES {
            self.shared.unsynced_bytes.store(0, Ordering::Relaxed);
            let _ = self.shared.wake_checkpointer.try_send(());
        }
    }

    fn look_at_clock(&mut self) {
        let today = self.shared.clock.now().day();
        if today <= self.day.next() {
            self.rounds_ahead = 0;
            return;
        }
        if self.rounds_ahead == 0 {
            tracing::warn!(day = %self.day, %today, "the clock has gone days ahead: if it stays there, a new log file begins in ten minutes");
        }
        self.rounds_ahead += 1;
    }

    /// Starts a new file when the day has changed: offsets are copied forward, its directory entry is durable before any
    /// record in it is acknowledged.
    fn roll(&mut self) -> Result<(), StoreError> {
        let now = self.shared.clock.now();
        let today = now.day();
        // A clock that is days ahead may be wrong, and a file of a day to come would stay the current one until then.
        if today <= self.day || (today > self.day.next() && self.rounds_ahead < PATIENT_ROUNDS) {
            return Ok(());
        }
        self.rounds_ahead = 0;
        let path = self.shared.files.path(self.day);
        let offsets = DayFile::offsets(&self.connection).map_err(|source| StoreError::Sqlite { path, source })?;
        let begin = Beginning { next_seq: self.next_seq, offsets: carried(offsets, now), previous: Some(&self.connection) };
        (self.file, self.connection) = open_day(&self.shared, today, &begin)?;
        self.day = today;
        let _ = self.shared.wake_compactor.try_send(());
        Ok(())
    }
}

/// What a new day's file begins with.
struct Beginning<'a> {
    next_seq: u64,
    offsets: Vec<(FileOffset, u64)>,
    /// The file before it, of which patterns in use are copied.
    previous: Option<&'a Connection>,
}

fn open_day(shared: &WriterShared, day: Day, begin: &Beginning<'_>) -> Result<(Arc<DayFile>, Connection), StoreError> {
    let files = &shared.files;
    let path = files.path(day);
    let mut connection = open_writer(&path, MIGRATIONS)?;
    let prepare = |connection: &mut Connection| -> rusqlite::Result<()> {
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let started: i64 = transaction.query_row("SELECT count(*) FROM start", [], |row| row.get(0))?;
        if started == 0 {
            transaction.execute("INSERT INTO start VALUES (?1)", [begin.next_seq as i64])?;
            begin.offsets.iter().try_for_each(|(file, updated_at)| insert_offset(&transaction, file, *updated_at))?;
            if let Some(previous) = begin.previous {
                patterns::table::carry(previous, &transaction, day.start().minus(shared.retention).day(), MAX_CARRIED)?;
            }
        }
        crash_point("logs.before_roll_commit");
        transaction.commit()
    };
    prepare(&mut connection).map_err(|source| StoreError::Sqlite { path, source })?;
    // Always: that the file is there does not say that whoever made it got as far as this.
    sync_directory(files.folder())?;
    shared.patterns.day.store(day.0, Ordering::Relaxed);
    Ok((files.add(day), connection))
}

pub(super) fn insert_offset(transaction: &Transaction<'_>, file: &FileOffset, updated_at: u64) -> rusqlite::Result<()> {
    transaction.prepare_cached("INSERT OR REPLACE INTO file_offsets VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute(
        rusqlite::params![
            file.path,
            file.device as i64,
            file.inode as i64,
            file.offset as i64,
            file.fingerprint as i64,
            stored_time(updated_at),
            file.cursor,
        ],
    )?;
    Ok(())
}

/// Returns the offsets that the next day needs: not those of files that were not read for long and are gone.
fn carried(mut offsets: Vec<(FileOffset, u64)>, now: Timestamp) -> Vec<(FileOffset, u64)> {
    offsets.retain_mut(|(file, updated_at)| {
        if *updated_at == 0 {
            // Stored before times were: its time begins now.
            *updated_at = now.as_nanos();
        }
        // What has a cursor is not on any disk that could be looked at, and there is one row of it.
        !file.cursor.is_empty() || now.since(Timestamp::from_nanos(*updated_at)) <= OFFSET_RETENTION || may_exist(file)
    });
    offsets
}

/// Returns whether the file is there, under its own name or, rotated, under another beside it. What cannot be looked at may be.
fn may_exist(file: &FileOffset) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let is_it = |metadata: std::fs::Metadata| metadata.dev() == file.device && metadata.ino() == file.inode;
    let path = std::path::Path::new(&file.path);
    if std::fs::metadata(path).is_ok_and(is_it) {
        return true;
    }
    match path.parent().map(std::fs::read_dir) {
        Some(Ok(mut entries)) => entries.any(|entry| entry.and_then(|entry| entry.metadata()).is_ok_and(is_it)),
        Some(Err(error)) => error.kind() != std::io::ErrorKind::NotFound,
        None => false,
    }
}

/// Deletes the oldest blocks that together hold at least `bytes`; their pages are used again. Returns the bytes freed.
/// The file remembers `next_seq`, which its blocks may no longer tell.
fn trim(connection: &mut Connection, file: &DayFile, bytes: u64, next_seq: u64) -> rusqlite::Result<u64> {
    let (mut freed, mut removed) = (0, Vec::new());
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for info in DayFile::infos(&transaction)? {
        if freed >= bytes {
            break;
        }
        freed += info.bytes;
        removed.push(info.first_seq);
        transaction.execute("DELETE FROM blocks WHERE first_seq = ?1", [info.first_seq as i64])?;
    }
    transaction.execute("UPDATE start SET next_seq = ?1", [next_seq as i64])?;
    transaction.commit()?;
    file.changed(&removed, |_| ());
    Ok(freed)
}

/// Copies the write-ahead log into the file when the writer says that it has grown. Ends when the log closes.
pub(super) fn run_checkpointer(shared: &Arc<WriterShared>, wake: &Receiver<()>) {
    let mut open: Option<(Day, Connection)> = None;
    while wake.recv().is_ok() && !shared.is_closing() {
        let Some(file) = shared.files.newest() else { continue };
        if open.as_ref().is_none_or(|(day, _)| *day != file.day) {
            open = Connection::open(file.readers.path()).ok().map(|connection| (file.day, connection));
        }
        let Some((_, connection)) = &open else { continue };
        let _ = connection.busy_timeout(Duration::from_secs(10));
        let wal = wal_path(&file.readers.path());
        let bytes = || std::fs::metadata(&wal).map_or(0, |metadata| metadata.len());
        // The first pass copies beside the writer; only when the log has grown far does a second one make it wait, shortly.
        let _ = connection.execute_batch("PRAGMA wal_checkpoint(PASSIVE)");
        if bytes() > WAL_STOP_BYTES {
            let _ = connection.execute_batch("PRAGMA wal_checkpoint(RESTART)");
        }
        shared.wal_bytes.set(bytes() as f64);
    }
}
