//! The day files: the one that is written, and the closed ones before it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rusqlite::Connection;
use watchfire_types::{Day, Timestamp};

use super::store::{self, Damage, DayState, MIGRATIONS};
use super::types::{DayInfo, MetricInfo};
use crate::store::database::{open_reader, open_writer};
use crate::store::{Database, StoreError};
use crate::telemetry::{Counter, SelfMetrics};

/// A file that is no longer written to.
#[derive(Debug)]
pub struct ClosedDay {
    /// Least and greatest event time; `None` if there is nothing, or if it cannot be read.
    pub bounds: Option<(Timestamp, Timestamp)>,
    /// The names in it.
    pub names: Vec<MetricInfo>,
}

/// All day files.
pub struct Days {
    directory: PathBuf,
    current: RwLock<(Day, Database)>,
    closed: Mutex<BTreeMap<Day, Arc<ClosedDay>>>,
    damaged: Counter,
}

impl Days {
    /// Opens the files in `directory`: settles what a crash left, and makes the file of `today` if it is missing.
    ///
    /// # Errors
    /// [`StoreError`] if today's file cannot be used. One of before that cannot is reported and left alone.
    pub fn open(directory: PathBuf, today: Day, self_metrics: &SelfMetrics) -> Result<Self, StoreError> {
        let damaged = self_metrics.counter("watchfire_metrics_damaged_total", &[]);
        let mut closed = BTreeMap::new();
        for day in store::list_days(&directory)?.into_iter().filter(|day| *day != today) {
            let path = store::day_path(&directory, day);
            let found = inspect(&path).unwrap_or_else(|error| {
                damaged.inc();
                tracing::error!(file = %path.display(), detail = %chain(&error), "a day of metrics cannot be read");
                (ClosedDay { bounds: None, names: Vec::new() }, Damage::new())
            });
            report(&damaged, day, &found.1);
            closed.insert(day, Arc::new(found.0));
        }
        let current = open_day(&directory, today)?;
        Ok(Self { directory, current: RwLock::new((today, current)), closed: Mutex::new(closed), damaged })
    }

    /// Returns the day that is written, and its file.
    pub fn current(&self) -> (Day, Database) {
        self.current.read().clone()
    }

    /// Opens the file of `day` for writing, beside the present one.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be made.
    pub fn prepare(&self, day: Day) -> Result<Database, StoreError> {
        open_day(&self.directory, day)
    }

    /// Makes `database` the file of the present day and closes the one before it. Blocks.
    pub fn switch(&self, day: Day, database: Database) {
        let (old_day, old) = self.current();
        let found = old.read_blocking(|connection| Ok((store::day_state(connection)?, store::names(connection)?)));
        let closed = match found {
            Ok((state, names)) => ClosedDay { bounds: state.bounds, names },
            // Without bounds it would never be read: better read too often.
            Err(_) => ClosedDay { bounds: Some((Timestamp::ZERO, Timestamp::MAX)), names: Vec::new() },
        };
        let mut all = self.closed.lock();
        all.remove(&day);
        all.insert(old_day, Arc::new(closed));
        *self.current.write() = (day, database);
        drop(all);
        old.close();
    }

    /// Returns the days in order, with the range of event time each may hold.
    pub fn bounds(&self) -> Vec<(Day, Option<(Timestamp, Timestamp)>)> {
        let mut days: Vec<_> = self.closed.lock().iter().map(|(day, closed)| (*day, closed.bounds)).collect();
        let (today, database) = self.current();
        let bounds = database.read_blocking(store::day_state).map_or(Some((Timestamp::ZERO, Timestamp::MAX)), |state| state.bounds);
        days.push((today, bounds));
        days.sort_unstable_by_key(|(day, _)| *day);
        days
    }

    /// Returns the names of closed days, oldest day first.
    pub fn closed(&self) -> Vec<(Day, Arc<ClosedDay>)> {
        self.closed.lock().iter().map(|(day, closed)| (*day, Arc::clone(closed))).collect()
    }

    /// Reads from the file of `day`; `None` if it has been dropped meanwhile or cannot be read, which is reported. Blocks.
    pub fn read<T>(&self, day: Day, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Option<T> {
        let (today, database) = self.current();
        let path = store::day_path(&self.directory, day);
        let result = if day == today {
            database.read_blocking(work)
        } else {
            let in_transaction = |connection: Connection| -> rusqlite::Result<T> {
                connection.execute_batch("BEGIN")?;
                work(&connection)
            };
            open_reader(&path).and_then(in_transaction).map_err(|source| StoreError::Sqlite { path: path.clone(), source })
        };
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                if path.exists() {
                    self.damaged.inc();
                    tracing::error!(file = %path.display(), detail = %chain(&error), "a day of metrics cannot be read");
                }
                None
            }
        }
    }

    /// Counts and reports what was left out of `day`.
    pub fn report(&self, day: Day, damage: &[String]) {
        report(&self.damaged, day, damage);
    }

    /// Returns all files with their sizes, oldest first.
    pub fn sizes(&self) -> Vec<DayInfo> {
        let mut days: Vec<Day> = self.closed.lock().keys().copied().collect();
        days.push(self.current().0);
        days.sort_unstable();
        let size = |day: Day| DayInfo { day, bytes: file_bytes(&store::day_path(&self.directory, day)) };
        days.into_iter().map(size).collect()
    }

    /// Deletes the oldest closed day; `None` if there is only the present one.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn drop_oldest(&self) -> Result<Option<Day>, StoreError> {
        let oldest = self.closed.lock().keys().next().copied();
        oldest.map(|day| self.drop_day(day).map(|()| day)).transpose()
    }

    /// Deletes the closed day that ended before `oldest`; returns it. Several at once are left: the clock may be wrong, and the
    /// janitor drops them when it has stayed so.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn drop_before(&self, oldest: Timestamp) -> Result<Vec<Day>, StoreError> {
        let ended: Vec<Day> = self.closed.lock().keys().copied().filter(|day| day.next().start() <= oldest).collect();
        if ended.len() > 1 {
            return Ok(Vec::new());
        }
        ended.into_iter().map(|day| self.drop_day(day).map(|()| day)).collect()
    }

    fn drop_day(&self, day: Day) -> Result<(), StoreError> {
        let path = store::day_path(&self.directory, day);
        // The log first: one left behind would be applied to a later file of that name.
        for path in [with_suffix(&path, "-wal"), with_suffix(&path, "-shm"), path] {
            match std::fs::remove_file(&path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => return Err(StoreError::Io { path, source }),
                _ => {}
            }
        }
        self.closed.lock().remove(&day);
        Ok(())
    }
}

fn open_day(directory: &std::path::Path, day: Day) -> Result<Database, StoreError> {
    let path = store::day_path(directory, day);
    let database = Database::open(&path, MIGRATIONS)?;
    // Always: that the file is there does not say that whoever made it got as far as this.
    crate::store::directory::sync_directory(directory)?;
    Ok(database)
}

/// Looks into a file of before, and puts in order what a crash left.
fn inspect(path: &std::path::Path) -> Result<(ClosedDay, Damage), StoreError> {
    let error = |source| StoreError::Sqlite { path: path.to_owned(), source };
    let read = |connection: &Connection| -> rusqlite::Result<(DayState, ClosedDay)> {
        let state = store::day_state(connection)?;
        Ok((state, ClosedDay { bounds: state.bounds, names: store::names(connection)? }))
    };
    let version = |connection: &Connection| connection.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0));
    let reader = open_reader(path).map_err(error)?;
    if !with_suffix(path, "-wal").exists() && version(&reader).map_err(error)? as usize == MIGRATIONS.len() {
        let (state, closed) = read(&reader).map_err(error)?;
        if state.batches == 0 {
            return Ok((closed, Damage::new()));
        }
    }
    drop(reader);
    let mut writer = open_writer(path, MIGRATIONS)?;
    let settle = |writer: &mut Connection| -> rusqlite::Result<(ClosedDay, Damage)> {
        let transaction = writer.transaction()?;
        let damage = if store::day_state(&transaction)?.batches > 0 { store::settle(&transaction)? } else { Damage::new() };
        let (_, closed) = read(&transaction)?;
        transaction.commit()?;
        Ok((closed, damage))
    };
    settle(&mut writer).map_err(error)
}

fn report(damaged: &Counter, day: Day, damage: &[String]) {
    damaged.add(damage.len() as u64);
    for what in damage {
        tracing::error!(%day, "stored metrics are damaged and were left out: {what}");
    }
}

/// Returns an error with its causes, as one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn with_suffix(path: &std::path::Path, suffix: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(suffix);
    PathBuf::from(name)
}

fn file_bytes(path: &std::path::Path) -> u64 {
    let bytes = |path: &std::path::Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    bytes(path) + bytes(&with_suffix(path, "-wal"))
}
