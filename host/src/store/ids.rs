//! Numbers that are given out once and never again, whatever crashes: a range of them is reserved on disk before its first is used.

use std::ops::Range;

use rusqlite::{OptionalExtension as _, params};

use super::{Database, StoreError};

/// Numbers reserved at a time, at least: one write to disk for so many.
const RANGE: u64 = 1024;

/// Gives out the numbers of one kind, ascending from 1. Only one of a kind may be in use at a time.
pub struct Ids {
    database: Database,
    kind: &'static str,
    range: Range<u64>,
}

impl Ids {
    /// Returns the numbers of `kind`, which lie in `database`'s table `id_ranges`; none below `least` is given out. Blocks.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub fn open(database: Database, kind: &'static str, least: u64) -> Result<Self, StoreError> {
        let mut ids = Self { database, kind, range: 0..0 };
        ids.range = ids.reserve(0, least)?;
        Ok(ids)
    }

    /// Makes sure that `count` numbers can be taken without asking the disk. Blocks.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written: there may be fewer then.
    pub fn ensure(&mut self, count: u64) -> Result<(), StoreError> {
        let left = self.range.end - self.range.start;
        if left < count {
            let more = self.reserve((count - left).max(RANGE), 0)?;
            // Nobody else reserves, so it goes on where the last one ended; else what is left of that is given up.
            self.range = if more.start == self.range.end { self.range.start..more.end } else { more };
        }
        Ok(())
    }

    /// Takes the next number; `None` if no more can be reserved.
    pub fn take(&mut self) -> Option<u64> {
        if self.range.is_empty() {
            self.ensure(1).ok()?;
        }
        self.range.next()
    }

    /// Gives what is reserved and unused back, so that numbers stay small; what cannot be given back is never used.
    pub fn give_back(&mut self) {
        let (kind, unused) = (self.kind, std::mem::take(&mut self.range));
        let _ = self.database.write_blocking(move |transaction| {
            let sql = "UPDATE id_ranges SET next = ?2 WHERE kind = ?1 AND next = ?3";
            transaction.execute(sql, params![kind, unused.start as i64, unused.end as i64])
        });
    }

    fn reserve(&self, count: u64, least: u64) -> Result<Range<u64>, StoreError> {
        let kind = self.kind;
        self.database.write_blocking(move |transaction| {
            let next = transaction.query_row("SELECT next FROM id_ranges WHERE kind = ?1", [kind], |row| row.get::<_, i64>(0));
            let start = next.optional()?.map_or(1, |next| next as u64).max(least).max(1);
            let sql = "INSERT INTO id_ranges VALUES (?1, ?2) ON CONFLICT (kind) DO UPDATE SET next = excluded.next";
            transaction.execute(sql, params![kind, (start + count) as i64])?;
            Ok(start..start + count)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Migration;

    const MIGRATIONS: &[Migration] = &["CREATE TABLE id_ranges (kind TEXT PRIMARY KEY, next INTEGER NOT NULL) STRICT"];

    #[test]
    fn no_number_is_given_out_twice_and_few_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let open = |least| Ids::open(Database::open(&path, MIGRATIONS).unwrap(), "pattern", least).unwrap();
        let mut ids = open(0);
        assert_eq!((ids.take(), ids.take()), (Some(1), Some(2)));
        // Killed: what was reserved is not used again.
        drop(ids);
        let mut ids = open(0);
        let next = ids.take().unwrap();
        assert_eq!(next, 1 + RANGE);
        ids.give_back();
        drop(ids);
        let mut ids = open(0);
        assert_eq!(ids.take(), Some(next + 1));
        ids.ensure(3 * RANGE).unwrap();
        assert_eq!(ids.take(), Some(next + 2));
        ids.give_back();
        // The table was lost, but blocks know greater ones.
        let mut ids = open(9_000);
        assert_eq!(ids.take(), Some(9_000));
    }
}
