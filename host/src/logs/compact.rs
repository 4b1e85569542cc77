//! Merges small blocks into large ones, beside ingest and search: reading and encoding happen here, the writer only swaps.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use watchfire_types::{Day, LogBatch};

use super::block::{self, Columns};
use super::engine::{BlockInfo, plan_merge};
use super::files::{DayFile, MIGRATIONS, ignore_vanished, remove_database};
use super::rewrite;
use super::writer::{EncodedBlock, Job, Merge, WriterShared, apply_merge};
use crate::store::StoreError;
use crate::store::database::open_writer;
use crate::telemetry::Counter;

/// Rounds of merging begin at least this far apart: under load a round then finds some hundred small blocks, and makes a full
/// block of them at once instead of merging every record two or three times.
const PACE: Duration = Duration::from_millis(500);
/// Searches are waited for before each merge, at most this long: who searches without end must not keep blocks small for ever.
const COURTESY: Duration = Duration::from_secs(5);
/// A file that has been written anew is deleted after this time. A crash before that is made good at the next start.
const STALE_FOR: Duration = Duration::from_secs(30);
/// How often that is looked at.
const COURTESY_STEP: Duration = Duration::from_millis(10);
/// Whoever else wants a processor gets it nine times of ten.
const NICENESS: i32 = 10;
/// Small blocks that are fewer than a merge needs wait at most this long.
const PATIENCE: Duration = Duration::from_secs(61);

pub(super) struct Compactor {
    pub(super) shared: Arc<WriterShared>,
    pub(super) jobs: SyncSender<Job>,
    pub(super) merges: Counter,
    pub(super) damaged: Counter,
    /// Blocks that cannot be read: reported once, left where they are.
    pub(super) skipped: HashSet<(Day, u64)>,
    /// Closed days that need nothing more, each with the services that had expired by then.
    pub(super) finished: HashMap<Day, BTreeSet<String>>,
    pub(super) rewrites: Counter,
    pub(super) expired: Counter,
    /// Files that have been written anew under another name, and when: whoever began to read them may open them once more.
    pub(super) stale: Vec<(PathBuf, Instant)>,
}

impl Compactor {
    /// Merges whenever the writer rings, and a minute after that. Ends when the log closes.
    pub(super) fn run(mut self, wake: &Receiver<()>) {
        // On Linux this is the thread's own; if it is refused, merging is only less polite.
        let _ = rustix::process::setpriority_process(None, NICENESS);
        let mut waiting = true;
        let mut began = Instant::now();
        loop {
            let patience = if waiting { PATIENCE } else { Duration::from_secs(86_400) };
            let rung = wake.recv_timeout(patience);
            if rung == Err(RecvTimeoutError::Disconnected) || self.shared.is_closing() {
                return;
            }
            if self.pace(began, wake) {
                return;
            }
            began = Instant::now();
            waiting = self.shared.small_blocks.swap(0, Ordering::Relaxed) > 0;
            self.remove_stale();
            for file in self.shared.files.all() {
                let is_current = self.shared.files.newest().is_none_or(|newest| newest.day == file.day);
                let expired = if is_current { BTreeSet::new() } else { self.expired_by(file.day) };
                if !is_current && self.finished.get(&file.day) == Some(&expired) {
                    continue;
                }
                while !self.shared.is_closing() {
                    self.give_way();
                    match self.merge_once(&file, is_current) {
                        Ok(true) => self.merges.inc(),
                        Ok(false) => {
                            if !is_current {
                                self.close(&file, expired);
                            }
                            break;
                        }
                        Err(error) => {
                            tracing::warn!(%error, "cannot merge log blocks; it is tried again");
                            break;
                        }
                    }
                }
            }
        }
    }

    /// Waits until the next round may begin; returns whether the log closes.
    fn pace(&self, began: Instant, wake: &Receiver<()>) -> bool {
        while let Some(left) = PACE.checked_sub(began.elapsed()) {
            if wake.recv_timeout(left) == Err(RecvTimeoutError::Disconnected) || self.shared.is_closing() {
                return true;
            }
        }
        false
    }

    /// Returns the services whose records have expired that arrived on `day`.
    fn expired_by(&self, day: Day) -> BTreeSet<String> {
        let age = self.shared.clock.now().since(day.next().start());
        let retention = self.shared.service_retention.lock();
        retention.iter().filter(|(_, kept)| age > **kept).map(|(service, _)| service.clone()).collect()
    }

    /// Writes the file of a closed day anew if that is worth while: then nothing is left to do in it.
    fn close(&mut self, file: &Arc<DayFile>, expired: BTreeSet<String>) {
        let mut damaged = |error: StoreError| {
            self.damaged.inc();
            tracing::error!(%error, "a log block cannot be read; it is kept as it is");
        };
        match rewrite::rewrite(&self.shared.files, file, &expired, &mut damaged) {
            Ok(Some(done)) => {
                self.rewrites.inc();
                self.expired.add(done.expired);
                tracing::info!(
                    day = %file.day,
                    records = done.expired,
                    "wrote the logs of {} anew: {} bytes, before {}; {} expired records are gone",
                    file.day,
                    done.bytes,
                    done.bytes_before,
                    done.expired
                );
                self.stale.push((done.old, Instant::now()));
                self.finished.insert(file.day, expired);
            }
            Ok(None) => drop(self.finished.insert(file.day, expired)),
            // Of a full disk `status` tells.
            Err(error) if error.is_disk_full() => tracing::debug!(%error, day = %file.day, "no room to write a closed day anew"),
            Err(error) => tracing::warn!(%error, day = %file.day, "cannot write the logs of a closed day anew; it is tried again"),
        }
    }

    /// Deletes files that nobody begins to read any more.
    fn remove_stale(&mut self) {
        self.stale.retain(|(path, at)| {
            at.elapsed() < STALE_FOR || remove_database(path).inspect_err(|error| tracing::warn!(%error, "tried again")).is_err()
        });
    }

    /// Waits until nobody searches.
    fn give_way(&self) {
        let began = Instant::now();
        while self.shared.files.is_searched() && began.elapsed() < COURTESY && !self.shared.is_closing() {
            std::thread::sleep(COURTESY_STEP);
        }
    }

    /// Does one merge in `file`; returns whether there was one to do.
    fn merge_once(&mut self, file: &Arc<DayFile>, is_current: bool) -> Result<bool, StoreError> {
        let now = self.shared.clock.now();
        let Some(mut infos) = ignore_vanished(file.readers.read(DayFile::infos))? else { return Ok(false) };
        infos.retain(|info| !self.skipped.contains(&(file.day, info.first_seq)));
        let Some(taken) = plan_merge(&infos, now) else { return Ok(false) };
        let taken: Vec<&BlockInfo> = taken.iter().map(|position| &infos[*position]).collect();
        let Some(merged) = self.read_merged(file, &taken)? else { return Ok(true) };
        let (first, last) = (merged.seq[0], merged.seq[merged.len() - 1]);
        let block = EncodedBlock::new(&merged, first, last, taken[0].level + 1);
        // What replaces others is read back first.
        if block::decode(block.data(), first, Columns::ALL).as_ref() != Ok(&merged) {
            tracing::error!(first_seq = first, "a merged log block does not read back equal; the small ones are kept");
            self.skipped.extend(taken.iter().map(|info| (file.day, info.first_seq)));
            return Ok(true);
        }
        let old: Vec<u64> = taken.iter().map(|info| info.first_seq).collect();
        if is_current { Ok(self.swap_by_writer(file.day, old, block)) } else { swap_here(file, &old, &block, now.as_nanos()) }
    }

    fn swap_by_writer(&self, day: Day, old: Vec<u64>, block: EncodedBlock) -> bool {
        let (answer, done) = std::sync::mpsc::channel();
        self.jobs.send(Job::Merge(Merge { day, old, block, answer })).is_ok() && done.recv().unwrap_or(false)
    }

    /// Returns the records of all `taken` blocks, or nothing if one is damaged and now skipped.
    fn read_merged(&mut self, file: &Arc<DayFile>, taken: &[&BlockInfo]) -> Result<Option<LogBatch>, StoreError> {
        let mut merged = LogBatch::default();
        let mut damage = None;
        file.readers.read(|connection: &Connection| {
            let mut statement = connection.prepare_cached("SELECT data FROM blocks WHERE first_seq = ?1")?;
            for info in taken {
                let mut rows = statement.query([info.first_seq as i64])?;
                let Some(row) = rows.next()? else { continue };
                match block::decode(row.get_ref(0)?.as_blob()?, info.first_seq, Columns::ALL) {
                    Ok(batch) => merged.append_all(&batch),
                    Err(error) => damage = Some((info.first_seq, error)),
                }
            }
            Ok(())
        })?;
        if let Some((first_seq, error)) = damage {
            self.damaged.inc();
            self.skipped.insert((file.day, first_seq));
            tracing::error!(error = %file.damage(first_seq, error), "a log block cannot be read; it is skipped, the rest is read");
            return Ok(None);
        }
        Ok((!merged.is_empty()).then_some(merged))
    }
}

/// Swaps in a closed file, which has no writer of its own.
fn swap_here(file: &DayFile, old: &[u64], block: &EncodedBlock, now: u64) -> Result<bool, StoreError> {
    let path = file.readers.path();
    let mut connection = open_writer(&path, MIGRATIONS)?;
    apply_merge(&mut connection, file, old, block, now).map_err(|source| StoreError::Sqlite { path, source })?;
    Ok(true)
}
