//! Error events as they were, in one file per UTC day.
//!
//! **Invariant**: events are stored before they are counted, and each file says up to which log record: what is read a second time
//! after a crash is counted and not stored again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use watchfire_types::Day;

use super::engine::thin;
use super::types::ErrorEvent;
use crate::store::columns::to_json;
use crate::store::crash::crash_point;
use crate::store::database::{open_reader, open_writer, wal_path};
use crate::store::directory::sync_directory;
use crate::store::{Database, Migration, StoreError};

const MIGRATIONS: &[Migration] = &[include_str!("../../migrations/errors/0001_errors.sql")];

/// From this length on an event is compressed, in bytes.
const PACK_BYTES: usize = 512;
/// From this length on it is compressed quickly rather than well, in bytes.
const LONG_BYTES: usize = 4 << 10;
/// Longest event that is read back, in bytes: what was written is far below.
const MAX_EVENT_BYTES: usize = 1 << 20;

/// An event on its way to the file.
#[derive(Clone, Debug)]
pub struct Body {
    issue: String,
    seq: u64,
    packed: bool,
    data: Vec<u8>,
}

impl Body {
    /// Returns `event` of `issue` as it is stored.
    ///
    /// # Errors
    /// If JSON cannot say it.
    pub fn new(issue: &str, seq: u64, event: &ErrorEvent) -> rusqlite::Result<Self> {
        let json = to_json(event)?.into_bytes();
        // A storm of long events must not cost more to keep than to count.
        let level = if json.len() >= LONG_BYTES { 1 } else { 3 };
        let small = (json.len() >= PACK_BYTES).then(|| zstd::bulk::compress(&json, level).ok()).flatten();
        let packed = small.is_some();
        Ok(Self { issue: issue.to_owned(), seq, packed, data: small.unwrap_or(json) })
    }
}

/// All day files.
pub struct Bodies {
    folder: PathBuf,
    state: Mutex<State>,
}

struct State {
    days: BTreeSet<Day>,
    /// The file that is written, the newest one; `None` before the first event.
    current: Option<(Day, Database)>,
    /// The events of all log records up to here are stored.
    applied: u64,
    /// How many events there are, about.
    kept: u64,
}

impl Bodies {
    /// Opens the files in `folder`. Blocks.
    ///
    /// # Errors
    /// [`StoreError`] if the newest cannot be used.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let error = |source| StoreError::Io { path: folder.to_owned(), source };
        let mut days = BTreeSet::new();
        for entry in std::fs::read_dir(folder).map_err(error)? {
            let name = entry.map_err(error)?.file_name();
            days.extend(name.to_string_lossy().strip_suffix(".db").and_then(|name| name.parse::<Day>().ok()));
        }
        let mut state = State { days, current: None, applied: 0, kept: 0 };
        if let Some(newest) = state.days.last().copied() {
            let database = Database::open(&folder.join(format!("{newest}.db")), MIGRATIONS)?;
            state.applied = database.read_blocking(applied)?;
            state.current = Some((newest, database));
        }
        let bodies = Self { folder: folder.to_owned(), state: Mutex::new(state) };
        let kept =
            bodies.each_day(|connection| connection.query_row("SELECT count(*) FROM events", [], |row| row.get::<_, i64>(0)));
        bodies.state.lock().kept = kept.iter().map(|(_, count)| *count as u64).sum();
        Ok(bodies)
    }

    fn path(&self, day: Day) -> PathBuf {
        self.folder.join(format!("{day}.db"))
    }

    /// Returns about how many events are kept.
    pub fn kept(&self) -> u64 {
        self.state.lock().kept
    }

    /// Stores the events of the log up to record `through`, in the file of `day` or of a later one that is there. What is stored
    /// already is left out.
    ///
    /// # Errors
    /// The database's: then nothing is stored.
    pub async fn append(&self, day: Day, mut bodies: Vec<Body>, through: u64) -> Result<(), StoreError> {
        let applied = self.state.lock().applied;
        if through <= applied {
            return Ok(());
        }
        bodies.retain(|body| body.seq > applied);
        let (count, database) = (bodies.len() as u64, self.writer(day, applied).await?);
        let stored = database.write(move |transaction| {
            insert(transaction, &bodies)?;
            transaction.execute("INSERT OR REPLACE INTO applied VALUES (1, ?1)", [through as i64])?;
            crash_point("errors.before_commit");
            Ok(())
        });
        stored.await?;
        let mut state = self.state.lock();
        state.applied = through;
        state.kept += count;
        Ok(())
    }

    /// Returns the file to write to.
    async fn writer(&self, day: Day, applied: u64) -> Result<Database, StoreError> {
        let current = self.state.lock().current.clone();
        if let Some((newest, database)) = &current
            && *newest >= day
        {
            return Ok(database.clone());
        }
        let path = self.path(day);
        let folder = self.folder.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let database = Database::open(&path, MIGRATIONS)?;
            sync_directory(&folder)?;
            Ok::<_, StoreError>(database)
        });
        let database = opened.await.map_err(|_| StoreError::Closed)??;
        // It says so from its beginning, for the case that the one before it is dropped.
        database
            .write(move |transaction| transaction.execute("INSERT OR REPLACE INTO applied VALUES (1, ?1)", [applied as i64]))
            .await?;
        let old = {
            let mut state = self.state.lock();
            state.days.insert(day);
            state.current.replace((day, database.clone()))
        };
        if let Some((_, old)) = old {
            let _ = tokio::task::spawn_blocking(move || old.close()).await;
        }
        Ok(database)
    }

    /// Forgets up to where the log was read: it has begun anew.
    ///
    /// # Errors
    /// The database's.
    pub async fn begin_anew(&self) -> Result<(), StoreError> {
        let current = self.state.lock().current.clone();
        if let Some((_, database)) = current {
            database.write(|transaction| transaction.execute("UPDATE applied SET seq = 0", [])).await?;
        }
        self.state.lock().applied = 0;
        Ok(())
    }

    /// Returns the newest `limit` events of `issues`, the newest first. Blocks.
    pub fn newest(&self, issues: &[String], limit: usize) -> Vec<ErrorEvent> {
        let Ok(issues) = to_json(&issues) else { return Vec::new() };
        let days: Vec<Day> = self.state.lock().days.iter().rev().copied().collect();
        let mut events = Vec::new();
        for day in days {
            let left = limit - events.len();
            if left == 0 {
                break;
            }
            events.extend(self.read_day(day, |connection| of_issues(connection, &issues, left)).unwrap_or_default());
        }
        events
    }

    /// Drops repeats until at most `most` events are left. Returns how many were dropped. Blocks.
    ///
    /// # Errors
    /// The database's.
    pub fn thin(&self, most: u64) -> Result<u64, StoreError> {
        let list = |connection: &Connection| {
            let mut statement = connection.prepare("SELECT issue, position FROM events ORDER BY position")?;
            statement
                .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        let days = self.each_day(list);
        let (mut issues, mut places) = (Vec::new(), Vec::new());
        for (day, events) in days {
            for (issue, position) in events {
                issues.push(issue);
                places.push((day, position));
            }
        }
        let dropped = thin(&issues, usize::try_from(most).unwrap_or(usize::MAX));
        let places: Vec<(Day, i64)> = dropped.iter().map(|index| places[*index]).collect();
        for of_day in places.chunk_by(|left, right| left.0 == right.0) {
            self.delete(of_day)?;
        }
        self.state.lock().kept = (issues.len() - dropped.len()) as u64;
        Ok(dropped.len() as u64)
    }

    /// Deletes events of one day. A connection of its own waits for the one that writes.
    fn delete(&self, events: &[(Day, i64)]) -> Result<(), StoreError> {
        let Some((day, _)) = events.first() else { return Ok(()) };
        let path = self.path(*day);
        if !path.exists() {
            return Ok(());
        }
        let mut connection = open_writer(&path, MIGRATIONS)?;
        let delete = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            for (_, position) in events {
                transaction.prepare_cached("DELETE FROM events WHERE position = ?1")?.execute([position])?;
            }
            transaction.commit()
        };
        delete(&mut connection).map_err(|source| StoreError::Sqlite { path, source })
    }

    /// Drops the files of days before `day`; the one that is written stays. Returns how many. Blocks.
    pub fn drop_before(&self, day: Day) -> usize {
        let mut state = self.state.lock();
        let current = state.current.as_ref().map(|(day, _)| *day);
        let old: Vec<Day> = state.days.iter().copied().filter(|old| *old < day && Some(*old) != current).collect();
        let mut dropped = 0;
        for day in old {
            let path = self.path(day);
            let mut shm = path.clone().into_os_string();
            shm.push("-shm");
            let removed =
                [path.clone(), wal_path(&path), shm.into()].iter().try_for_each(|path| match std::fs::remove_file(path) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                    _ => Ok(()),
                });
            match removed {
                Ok(()) => {
                    state.days.remove(&day);
                    dropped += 1;
                }
                Err(error) => tracing::error!(%error, file = %path.display(), "cannot drop the error events of {day}"),
            }
        }
        dropped
    }

    /// Closes the file that is written. Blocks.
    pub fn close(&self) {
        if let Some((_, database)) = &self.state.lock().current {
            database.close();
        }
    }

    /// Reads every file that can be read, the oldest first.
    fn each_day<T>(&self, work: impl Fn(&Connection) -> rusqlite::Result<T>) -> Vec<(Day, T)> {
        let days: Vec<Day> = self.state.lock().days.iter().copied().collect();
        days.into_iter().filter_map(|day| Some((day, self.read_day(day, &work)?))).collect()
    }

    /// Reads the file of `day`; `None` if it has been dropped meanwhile or cannot be read, which is reported.
    fn read_day<T>(&self, day: Day, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Option<T> {
        let current = self.state.lock().current.clone().filter(|(current, _)| *current == day);
        let path = self.path(day);
        let result = match current {
            Some((_, database)) => database.read_blocking(work),
            None => open_reader(&path)
                .and_then(|connection| work(&connection))
                .map_err(|source| StoreError::Sqlite { path: path.clone(), source }),
        };
        result
            .inspect_err(|error| {
                if path.exists() {
                    tracing::error!(error = error as &dyn std::error::Error, "the error events of {day} cannot be read");
                }
            })
            .ok()
    }
}

fn applied(connection: &Connection) -> rusqlite::Result<u64> {
    let seq: Option<i64> = connection.query_row("SELECT seq FROM applied", [], |row| row.get(0)).optional()?;
    Ok(seq.unwrap_or(0) as u64)
}

fn insert(transaction: &Transaction<'_>, bodies: &[Body]) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached("INSERT INTO events (issue, seq, packed, data) VALUES (?1, ?2, ?3, ?4)")?;
    for body in bodies {
        statement.execute(params![body.issue, body.seq as i64, body.packed, body.data])?;
    }
    Ok(())
}

fn of_issues(connection: &Connection, issues: &str, limit: usize) -> rusqlite::Result<Vec<ErrorEvent>> {
    let mut statement = connection.prepare_cached(
        "SELECT packed, data FROM events WHERE issue IN (SELECT value FROM json_each(?1)) ORDER BY position DESC LIMIT ?2",
    )?;
    let rows = statement.query_map(params![issues, limit as i64], |row| Ok((row.get::<_, bool>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
    let event = |(packed, data): (bool, Vec<u8>)| {
        let json = if packed { zstd::bulk::decompress(&data, MAX_EVENT_BYTES).ok()? } else { data };
        serde_json::from_slice(&json).ok()
    };
    rows.map(|row| row.map(event)).filter_map(Result::transpose).collect()
}
