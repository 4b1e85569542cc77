//! The file of a closed day, written anew: without what has expired, and without the room that merging has left free.
//!
//! The new file is made under a temporary name, closed, synced, and only then given the name of the day's next edition; the old one is
//! deleted later. A crash at any moment leaves one of the two whole, and the next start deletes the other.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Row, Transaction};
use watchfire_types::{Day, LogBatch};

use super::block::{self, Columns};
use super::files::{DayFile, Files, MIGRATIONS, remove_database};
use super::filter_parts;
use super::patterns;
use super::writer::EncodedBlock;
use crate::store::StoreError;
use crate::store::crash::crash_point;
use crate::store::database::open_writer;
use crate::store::directory::sync_directory;

/// A file is written anew for its free room alone if that is so many bytes and a quarter of it.
const LEAST_FREE_BYTES: u64 = 1 << 20;
/// What must stay free beside a file that is written anew.
const SPARE_BYTES: u64 = 64 << 20;
/// Blocks are copied in transactions of about this many bytes.
const TRANSACTION_BYTES: usize = 4 << 20;

/// What came of it.
#[derive(Debug)]
pub(super) struct Rewritten {
    /// The file that is not used any more.
    pub(super) old: PathBuf,
    pub(super) expired: u64,
    pub(super) bytes_before: u64,
    pub(super) bytes: u64,
}

/// Writes `file`, of a closed day, anew without the records of the services in `expired`. Returns nothing if it is well as it is.
pub(super) fn rewrite(
    files: &Files,
    file: &DayFile,
    expired: &BTreeSet<String>,
    damaged: &mut dyn FnMut(StoreError),
) -> Result<Option<Rewritten>, StoreError> {
    if !file.may_hold_any(expired)? && !has_room(file)? {
        return Ok(None);
    }
    let old = file.readers.path();
    let bytes_before = file.size_bytes();
    let (unfinished, path) = files.next_edition(file.day);
    // Both files are there for a while. A disk that this would fill has the room for something more urgent.
    let free = rustix::fs::statvfs(files.folder()).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    if free < bytes_before + SPARE_BYTES {
        return Err(StoreError::Io { path, source: std::io::ErrorKind::StorageFull.into() });
    }
    remove_database(&unfinished)?;
    let count = match copy(file, &unfinished, expired, damaged) {
        Ok(count) => count,
        Err(error) => {
            // Half a file is of no use to anybody, least of all on a full disk.
            let _ = remove_database(&unfinished);
            return Err(error);
        }
    };
    let io = |source| StoreError::Io { path: path.clone(), source };
    File::open(&unfinished).and_then(|file| file.sync_all()).map_err(io)?;
    crash_point("logs.before_rewrite_rename");
    std::fs::rename(&unfinished, &path).map_err(io)?;
    sync_directory(files.folder())?;
    crash_point("logs.after_rewrite_rename");
    file.replaced(&path);
    Ok(Some(Rewritten { old, expired: count, bytes_before, bytes: file.size_bytes() }))
}

fn has_room(file: &DayFile) -> Result<bool, StoreError> {
    let used = file.readers.read(DayFile::used_bytes)?;
    let free = file.size_bytes().saturating_sub(used);
    Ok(free >= LEAST_FREE_BYTES && free * 4 >= file.size_bytes())
}

/// Copies what has not expired to a new database at `path` and closes it; returns how many records have.
fn copy(file: &DayFile, path: &Path, expired: &BTreeSet<String>, damaged: &mut dyn FnMut(StoreError)) -> Result<u64, StoreError> {
    let mut target = open_writer(path, MIGRATIONS)?;
    let at_target = |source| StoreError::Sqlite { path: path.to_owned(), source };
    let infos = file.readers.read(|connection| {
        let transaction = target.transaction()?;
        // The sequence goes on from here, even if the last records are among those that have expired.
        let next_seq = DayFile::next_seq(connection)?.unwrap_or(1);
        transaction.execute("INSERT INTO start VALUES (?1)", [next_seq as i64])?;
        copy_offsets(connection, &transaction)?;
        // Templates of ids that only expired records had are few, and go with the file.
        patterns::table::carry(connection, &transaction, Day(0), patterns::table::ALL)?;
        transaction.commit()?;
        DayFile::infos(connection)
    })?;
    let mut count = 0;
    let mut left = infos.as_slice();
    while !left.is_empty() {
        crash_point("logs.during_rewrite");
        let transaction = target.transaction().map_err(at_target)?;
        let mut bytes = 0;
        while bytes < TRANSACTION_BYTES
            && let Some((info, rest)) = left.split_first()
        {
            left = rest;
            bytes += info.bytes as usize;
            // A snapshot of its own for each: a closed file has no other writer.
            count +=
                file.readers.read(|connection| copy_block(file, connection, info.first_seq, expired, &transaction, damaged))?;
        }
        transaction.commit().map_err(at_target)?;
    }
    target.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").map_err(at_target)?;
    target.close().map_err(|(_, source)| at_target(source))?;
    Ok(count)
}

fn copy_offsets(connection: &Connection, target: &Transaction<'_>) -> rusqlite::Result<()> {
    for (offset, updated_at) in DayFile::offsets(connection)? {
        super::writer::insert_offset(target, &offset, updated_at)?;
    }
    Ok(())
}

/// Copies one block, without the records of `expired` services; returns how many those are.
fn copy_block(
    file: &DayFile,
    connection: &Connection,
    first_seq: u64,
    expired: &BTreeSet<String>,
    target: &Transaction<'_>,
    damaged: &mut dyn FnMut(StoreError),
) -> rusqlite::Result<u64> {
    connection.prepare_cached("SELECT * FROM blocks WHERE first_seq = ?1")?.query_row([first_seq as i64], |row| {
        let data = row.get_ref("data")?.as_blob()?;
        let batch = match without(data, first_seq, expired) {
            Ok(None) => return copy_row(connection, first_seq, row, target).map(|()| 0),
            Ok(Some(batch)) => batch,
            Err(error) => {
                damaged(file.damage(first_seq, error));
                return copy_row(connection, first_seq, row, target).map(|()| 0);
            }
        };
        let rows = row.get::<_, i64>("rows")? as u64;
        if let (Some(first), Some(last)) = (batch.seq.first().copied(), batch.seq.last().copied()) {
            let block = EncodedBlock::new(&batch, first, last, row.get("level")?);
            // What replaces another is read back first.
            if block::decode(block.data(), first, Columns::ALL).as_ref() != Ok(&batch) {
                tracing::error!(first_seq, "a log block written anew does not read back equal; the old one is kept");
                return copy_row(connection, first_seq, row, target).map(|()| 0);
            }
            block.insert(target, 0, row.get::<_, i64>("created_at")? as u64)?;
        }
        Ok(rows - batch.len() as u64)
    })
}

/// Returns the records of a block without those of `expired` services, or nothing if it holds none of those.
fn without(data: &[u8], first_seq: u64, expired: &BTreeSet<String>) -> Result<Option<LogBatch>, block::BlockError> {
    let stays = |batch: &LogBatch, row: usize| !expired.contains(batch.service(row));
    let head = block::decode(data, first_seq, Columns::HEAD)?;
    if (0..head.len()).all(|row| stays(&head, row)) {
        return Ok(None);
    }
    let all = block::decode(data, first_seq, Columns::ALL)?;
    let mut kept = LogBatch::default();
    kept.append(&all, (0..all.len()).filter(|row| stays(&all, *row)));
    Ok(Some(kept))
}

/// Copies a block as it is, with its summary and its filter.
fn copy_row(connection: &Connection, first_seq: u64, row: &Row<'_>, target: &Transaction<'_>) -> rusqlite::Result<()> {
    let columns = row.as_ref().column_count();
    let places: Vec<String> = (1..=columns).map(|place| format!("?{place}")).collect();
    let values = (0..columns).map(|column| row.get::<_, rusqlite::types::Value>(column)).collect::<rusqlite::Result<Vec<_>>>()?;
    target
        .prepare_cached(&format!("INSERT INTO blocks VALUES ({})", places.join(", ")))?
        .execute(rusqlite::params_from_iter(values))?;
    filter_parts::copy(connection, first_seq, row.get_ref("filter")?.as_blob()?, target)?;
    if DayFile::has_summaries(connection)? {
        let mut select = connection.prepare_cached("SELECT data FROM summaries WHERE first_seq = ?1")?;
        let mut summaries = select.query([first_seq as i64])?;
        if let Some(summary) = summaries.next()? {
            let summary = summary.get_ref(0)?.as_blob()?;
            target.prepare_cached("INSERT INTO summaries VALUES (?1, ?2)")?.execute((first_seq as i64, summary))?;
        }
    }
    Ok(())
}
