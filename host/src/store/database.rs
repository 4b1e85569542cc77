//! One SQLite file: a writer thread that owns the writing connection, and readers in short transactions.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

/// Readers kept open per file that is in use; more are opened under load and closed afterwards.
pub const IDLE_READERS: usize = 4;
/// Pages a reader remembers, in kibibytes: what it reads is blocks, once each.
const READER_CACHE_KIB: i64 = 256;
/// Writes that may wait for the writer thread before a caller waits to hand in its own.
const WRITE_QUEUE: usize = 256;
/// Page size of new files: blocks are tens of kilobytes, and fewer pages a block mean fewer steps to read one.
const PAGE_BYTES: i64 = 8192;
/// What the write-ahead log shrinks to after a checkpoint, in bytes.
const WAL_LIMIT_BYTES: i64 = 16 << 20;

/// A numbered schema change: SQL that is run once, in the order of the list.
pub type Migration = &'static str;

/// Why a database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite refused: disk full, file damaged, permission.
    #[error("cannot use database `{}`", .path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// SQLite's own words.
        #[source]
        source: rusqlite::Error,
    },
    /// The file was written by a newer version of the program.
    #[error("database `{}` has format {found}, this program knows up to {known}: use the newer program, or another data directory", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: usize,
        /// The newest one known here.
        known: usize,
    },
    /// A directory or file could not be made, locked or synced.
    #[error("cannot use `{}`", .path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// The system's own words.
        #[source]
        source: std::io::Error,
    },
    /// Another host uses the same data.
    #[error("another watchfire (pid {pid}) uses `{}`: stop it with `watchfire stop --data {}`, or choose another --data", .path.display(), .path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The process that holds it, or `?`.
        pid: String,
    },
    /// Stored bytes are not what was written.
    #[error("damaged data in {place}: {what}")]
    Damaged {
        /// File and position.
        place: String,
        /// What was found.
        what: String,
    },
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Returns whether the disk, or what we may use of it, is full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        match self {
            Self::Sqlite { source, .. } => source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
            Self::Io { source, .. } => matches!(source.kind(), StorageFull | QuotaExceeded),
            _ => false,
        }
    }
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// A SQLite file. Cheap to clone; the file closes, checkpointed, when the last clone goes.
#[derive(Clone)]
pub struct Database(Arc<Inner>);

struct Inner {
    writer: Mutex<Option<mpsc::Sender<Job>>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    readers: ReaderPool,
}

impl Database {
    /// Opens the file at `path`, makes it if it is missing, and brings it to the newest of `migrations`.
    ///
    /// # Errors
    /// [`StoreError::Newer`] if it knows more migrations than we do, [`StoreError::Sqlite`] otherwise.
    pub fn open(path: &Path, migrations: &[Migration]) -> Result<Self, StoreError> {
        let mut connection = open_writer(path, migrations)?;
        let (sender, mut jobs) = mpsc::channel::<Job>(WRITE_QUEUE);
        let name = path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let thread = std::thread::Builder::new()
            .name(format!("db-{name}"))
            .spawn(move || {
                while let Some(job) = jobs.blocking_recv() {
                    // Its transaction is rolled back while it unwinds; whoever waits for it is told that there is no answer.
                    if catch_unwind(AssertUnwindSafe(|| job(&mut connection))).is_err() {
                        tracing::error!("a write to the database panicked; nothing of it is stored");
                    }
                }
            })
            .map_err(|source| StoreError::Io { path: path.to_owned(), source })?;
        Ok(Self(Arc::new(Inner {
            writer: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
            readers: ReaderPool::new(path),
        })))
    }

    /// Returns the file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.readers.path()
    }

    /// Runs `work` in one immediate transaction on the writer thread, and returns once it is on disk (`synchronous=FULL`).
    /// If `work` fails nothing is written.
    ///
    /// # Errors
    /// What `work` or the commit says.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, result) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let outcome = in_transaction(connection, work);
            let _ = answer.send(outcome);
        });
        let writer = self.0.writer.lock().clone().ok_or(StoreError::Closed)?;
        writer.send(job).await.map_err(|_| StoreError::Closed)?;
        result.await.map_err(|_| StoreError::Closed)?.map_err(|source| self.error(source))
    }

    /// As [`Self::write`], on the calling thread: for threads of our own. Panics within an async task.
    ///
    /// # Errors
    /// What `work` or the commit says.
    pub fn write_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, result) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let _ = answer.send(in_transaction(connection, work));
        });
        let writer = self.0.writer.lock().clone().ok_or(StoreError::Closed)?;
        writer.blocking_send(job).map_err(|_| StoreError::Closed)?;
        result.blocking_recv().map_err(|_| StoreError::Closed)?.map_err(|source| self.error(source))
    }

    /// Runs `work` in a read transaction on the calling thread: for threads of our own and for `spawn_blocking`.
    ///
    /// # Errors
    /// What `work` says.
    pub fn read_blocking<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        self.0.readers.read(work)
    }

    /// Runs `work` in a read transaction off the async threads.
    ///
    /// # Errors
    /// What `work` says.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let database = self.clone();
        tokio::task::spawn_blocking(move || database.read_blocking(work)).await.map_err(|_| StoreError::Closed)?
    }

    /// Returns the bytes that the file and its write-ahead log take on disk.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        size_bytes(self.path())
    }

    /// Ends the writer thread once it has done what it was given, and closes the file. Blocks; later calls fail as closed.
    pub fn close(&self) {
        self.0.close();
    }

    fn error(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Sqlite { path: self.path().to_owned(), source }
    }
}

impl Inner {
    fn close(&self) {
        self.readers.keep(0);
        self.writer.lock().take();
        if let Some(thread) = self.thread.lock().take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

/// Reading connections to one file, kept open between uses.
#[derive(Debug)]
pub struct ReaderPool {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    /// How many of them stay open.
    limit: AtomicUsize,
}

impl ReaderPool {
    /// Returns a pool for the file at `path`; opens nothing yet.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), idle: Mutex::new(Vec::new()), limit: AtomicUsize::new(IDLE_READERS) }
    }

    /// Returns the file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` in a read transaction on the calling thread.
    ///
    /// # Errors
    /// What `work` says.
    pub fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let kept = self.idle.lock().pop();
        let run = || -> rusqlite::Result<T> {
            let connection = kept.map_or_else(|| open_reader(&self.path), Ok)?;
            connection.execute_batch("BEGIN")?;
            let result = work(&connection);
            connection.execute_batch("COMMIT")?;
            let mut idle = self.idle.lock();
            if idle.len() < self.limit.load(Ordering::Relaxed) {
                idle.push(connection);
            }
            result
        };
        run().map_err(|source| StoreError::Sqlite { path: self.path.clone(), source })
    }

    /// Keeps at most `limit` connections open between uses; each takes up to three file descriptors.
    pub fn keep(&self, limit: usize) {
        let mut idle = self.idle.lock();
        self.limit.store(limit, Ordering::Relaxed);
        idle.truncate(limit);
    }

    /// Returns how many connections are open and not in use.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.idle.lock().len()
    }
}

/// Returns the path of the write-ahead log of the database at `path`.
#[must_use]
pub fn wal_path(path: &Path) -> PathBuf {
    let mut wal = path.to_owned().into_os_string();
    wal.push("-wal");
    wal.into()
}

/// Returns the bytes that the database at `path` and its write-ahead log take on disk.
#[must_use]
pub fn size_bytes(path: &Path) -> u64 {
    file_bytes(path) + file_bytes(&wal_path(path))
}

fn file_bytes(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn in_transaction<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = work(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

/// Opens `path` for writing, as every file of ours is opened: WAL, fsync at each commit, migrations applied.
///
/// # Errors
/// As [`Database::open`].
pub fn open_writer(path: &Path, migrations: &[Migration]) -> Result<Connection, StoreError> {
    let error = |source| StoreError::Sqlite { path: path.to_owned(), source };
    let mut connection = Connection::open(path).map_err(error)?;
    let prepare = |connection: &mut Connection| -> rusqlite::Result<u32> {
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.pragma_update(None, "page_size", PAGE_BYTES)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", "ON")?;
        connection.pragma_update(None, "journal_size_limit", WAL_LIMIT_BYTES)?;
        connection.pragma_query_value(None, "user_version", |row| row.get(0))
    };
    let version = prepare(&mut connection).map_err(error)? as usize;
    if version > migrations.len() {
        return Err(StoreError::Newer { path: path.to_owned(), found: version, known: migrations.len() });
    }
    if version < migrations.len() {
        in_transaction(&mut connection, |transaction| {
            for migration in &migrations[version..] {
                transaction.execute_batch(migration)?;
            }
            transaction.pragma_update(None, "user_version", migrations.len() as u32)
        })
        .map_err(error)?;
    }
    Ok(connection)
}

/// Opens `path` for reading only.
///
/// # Errors
/// SQLite's own.
pub fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIGRATIONS: &[Migration] = &["CREATE TABLE t (x INTEGER UNIQUE) STRICT"];

    #[tokio::test]
    async fn a_failed_write_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("a.db"), MIGRATIONS).unwrap();
        let twice = database.write(|transaction| {
            transaction.execute("INSERT INTO t VALUES (1)", [])?;
            transaction.execute("INSERT INTO t VALUES (1)", [])
        });
        assert!(matches!(twice.await, Err(StoreError::Sqlite { .. })));
        database.write(|transaction| transaction.execute("INSERT INTO t VALUES (2)", [])).await.unwrap();
        let values: Vec<i64> = database
            .read(|connection| connection.prepare("SELECT x FROM t")?.query_map([], |row| row.get(0))?.collect())
            .await
            .unwrap();
        assert_eq!(values, [2]);
    }

    #[tokio::test]
    async fn a_write_that_panics_does_not_end_the_writer() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("a.db"), MIGRATIONS).unwrap();
        let broken = database.write(|transaction| -> rusqlite::Result<()> {
            transaction.execute("INSERT INTO t VALUES (1)", [])?;
            panic!("a bug in a write");
        });
        assert!(broken.await.is_err());
        assert_eq!(database.write(|transaction| transaction.execute("INSERT INTO t VALUES (1)", [])).await.unwrap(), 1);
    }

    #[test]
    fn a_pool_keeps_no_more_readers_than_it_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        drop(open_writer(&path, MIGRATIONS).unwrap());
        let pool = ReaderPool::new(&path);
        let nested = |_: &Connection| {
            pool.read(|_| pool.read(|_| Ok(())).map_err(|_| rusqlite::Error::InvalidQuery))
                .map_err(|_| rusqlite::Error::InvalidQuery)
        };
        pool.read(nested).unwrap();
        assert_eq!(pool.idle(), 3);
        pool.keep(1);
        assert_eq!(pool.idle(), 1);
        pool.read(nested).unwrap();
        assert_eq!(pool.idle(), 1);
    }

    #[test]
    fn a_newer_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        drop(Database::open(&path, &[MIGRATIONS[0], "CREATE TABLE u (y)"]).unwrap());
        assert!(matches!(Database::open(&path, MIGRATIONS), Err(StoreError::Newer { found: 2, known: 1, .. })));
    }
}
