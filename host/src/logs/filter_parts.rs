//! Token filters of large blocks, cut in parts: a search for a word reads the part that says something of it, a few kilobytes of some
//! hundred.
//!
//! `blocks.filter` holds such a filter's head instead: a mark and how many buckets it has. A program that does not know this takes the head
//! for a filter that rules nothing out.

use std::borrow::Cow;
use std::cell::Cell;

use rusqlite::{Connection, Transaction};

use super::tokens::{self, TokenFilter, Words};

/// Buckets in a part: four parts fill a page.
const PART_BUCKETS: usize = 62;
const PART_BYTES: usize = PART_BUCKETS * tokens::BUCKET_BYTES;
/// Most parts of a filter, as the ids of parts have it.
const MAX_PARTS: u64 = 4096;
/// Greatest first `seq` of a block whose filter is cut: its parts still have ids.
const MAX_FIRST_SEQ: u64 = i64::MAX as u64 / MAX_PARTS - 1;
/// What a head begins with. Its nine bytes are neither whole buckets nor those and a mark behind them.
const MARK: u8 = b'P';
const HEAD_BYTES: usize = 9;

/// Stores `filter` of the block that begins at `first_seq`; returns what `blocks.filter` is to hold.
pub(super) fn insert<'a>(transaction: &Transaction<'_>, first_seq: u64, filter: &'a [u8]) -> rusqlite::Result<Cow<'a, [u8]>> {
    let buckets = filter.len() / tokens::BUCKET_BYTES;
    let parts = filter[..buckets * tokens::BUCKET_BYTES].chunks(PART_BYTES);
    let pays = parts.len() > 2 && parts.len() as u64 <= MAX_PARTS && first_seq <= MAX_FIRST_SEQ;
    if !pays || !TokenFilter::from_bytes(filter).has_traces() {
        return Ok(Cow::Borrowed(filter));
    }
    let mut statement = transaction.prepare_cached("INSERT INTO filter_parts VALUES (?1, ?2)")?;
    for (part, bytes) in parts.enumerate() {
        statement.execute(((first_seq * MAX_PARTS) as i64 + part as i64, bytes))?;
    }
    let mut head = vec![MARK];
    head.extend((buckets as u64).to_le_bytes());
    Ok(Cow::Owned(head))
}

/// Copies the parts of a filter to another file.
pub(super) fn copy(from: &Connection, first_seq: u64, stored: &[u8], target: &Transaction<'_>) -> rusqlite::Result<()> {
    if buckets_of(stored).is_none() {
        return Ok(());
    }
    let first = (first_seq * MAX_PARTS) as i64;
    let mut select = from.prepare_cached("SELECT id, data FROM filter_parts WHERE id >= ?1 AND id < ?2")?;
    let mut rows = select.query((first, first + MAX_PARTS as i64))?;
    let mut insert = target.prepare_cached("INSERT INTO filter_parts VALUES (?1, ?2)")?;
    while let Some(row) = rows.next()? {
        insert.execute((row.get::<_, i64>(0)?, row.get_ref(1)?.as_blob()?))?;
    }
    Ok(())
}

fn buckets_of(stored: &[u8]) -> Option<u64> {
    let (mark, buckets) = stored.split_first()?;
    let buckets = (stored.len() == HEAD_BYTES && *mark == MARK).then(|| buckets.first_chunk())??;
    Some(u64::from_le_bytes(*buckets)).filter(|buckets| (1..=MAX_PARTS * PART_BUCKETS as u64).contains(buckets))
}

/// A filter as it lies in a file.
pub(super) struct StoredFilter<'a> {
    connection: &'a Connection,
    first_seq: u64,
    stored: &'a [u8],
    failed: Cell<Option<rusqlite::Error>>,
}

impl<'a> StoredFilter<'a> {
    pub(super) fn new(connection: &'a Connection, first_seq: u64, stored: &'a [u8]) -> Self {
        Self { connection, first_seq, stored, failed: Cell::new(None) }
    }

    /// Returns what `ask` finds out.
    pub(super) fn ask(self, ask: impl FnOnce(&dyn Words) -> bool) -> rusqlite::Result<bool> {
        let answer = match buckets_of(self.stored) {
            Some(_) => ask(&self),
            None => ask(&TokenFilter::from_bytes(self.stored)),
        };
        self.failed.take().map_or(Ok(answer), Err)
    }

    fn look(&self, word: u64) -> rusqlite::Result<bool> {
        let Some(buckets) = buckets_of(self.stored) else { return Ok(true) };
        let bucket = tokens::bucket_of(word, buckets as usize);
        let id = (self.first_seq * MAX_PARTS) as i64 + (bucket / PART_BUCKETS) as i64;
        let mut statement = self.connection.prepare_cached("SELECT data FROM filter_parts WHERE id = ?1")?;
        let mut rows = statement.query([id])?;
        // Without the part nothing is known.
        let Some(row) = rows.next()? else { return Ok(true) };
        let start = bucket % PART_BUCKETS * tokens::BUCKET_BYTES;
        let bytes = row.get_ref(0)?.as_blob()?.get(start..start + tokens::BUCKET_BYTES);
        Ok(bytes.is_none_or(|bytes| tokens::is_in_bucket(word, bytes)))
    }
}

impl Words for StoredFilter<'_> {
    fn may_contain(&self, word: u64) -> bool {
        self.look(word).unwrap_or_else(|error| {
            self.failed.set(Some(error));
            true
        })
    }

    fn has_traces(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::TransactionBehavior;
    use watchfire_types::log::RecordHead;
    use watchfire_types::{LogBatch, ValueRef};

    use super::*;
    use crate::logs::files::MIGRATIONS;
    use crate::store::database::open_writer;

    fn filter(rows: usize) -> TokenFilter<'static> {
        let mut batch = LogBatch::default();
        (0..rows).for_each(|row| batch.push(&RecordHead::default(), ValueRef::Text(&format!("request req_{row}"))));
        TokenFilter::build(&batch)
    }

    fn insert_block(connection: &mut Connection, first_seq: u64, filter: &[u8]) -> Vec<u8> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        let stored = insert(&transaction, first_seq, filter).unwrap().into_owned();
        transaction
            .execute("INSERT INTO blocks VALUES (?1, ?1, 0, 1, 1, 0, 0, 0, 0, '', 0, 0, ?2, x'')", (first_seq as i64, &stored))
            .unwrap();
        transaction.commit().unwrap();
        stored
    }

    fn count(connection: &Connection) -> i64 {
        connection.query_row("SELECT count(*) FROM filter_parts", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_filter_in_parts_says_what_the_whole_one_says() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = open_writer(&folder.path().join("a.db"), MIGRATIONS).unwrap();
        let whole = filter(20_000);
        let stored = insert_block(&mut connection, 77, whole.as_bytes());
        assert_eq!(stored.len(), HEAD_BYTES);
        // Whoever does not know parts rules nothing out.
        assert!(TokenFilter::from_bytes(&stored).may_contain(1) && !TokenFilter::from_bytes(&stored).has_traces());
        for number in 0..40_000 {
            let word = tokens::hash_word(&format!("req_{number}")).unwrap();
            let answer = StoredFilter::new(&connection, 77, &stored).ask(|words| words.has_traces() && words.may_contain(word));
            assert_eq!(answer.unwrap(), whole.may_contain(word), "{number}");
        }
    }

    #[test]
    fn parts_go_with_their_block_and_come_with_its_copy() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = open_writer(&folder.path().join("a.db"), MIGRATIONS).unwrap();
        let stored = insert_block(&mut connection, 5, filter(9_000).as_bytes());
        let parts = count(&connection);
        insert_block(&mut connection, 6, filter(9_000).as_bytes());
        assert_eq!(count(&connection), 2 * parts);

        let mut other = open_writer(&folder.path().join("b.db"), MIGRATIONS).unwrap();
        let transaction = other.transaction().unwrap();
        copy(&connection, 5, &stored, &transaction).unwrap();
        transaction.commit().unwrap();
        assert_eq!(count(&other), parts);
        let missing = tokens::hash_word("missing").unwrap();
        assert!(!StoredFilter::new(&other, 5, &stored).ask(|words| words.may_contain(missing)).unwrap());

        connection.execute("DELETE FROM blocks WHERE first_seq = 5", []).unwrap();
        assert_eq!(count(&connection), parts);
    }

    #[test]
    fn a_small_filter_stays_whole_and_a_missing_part_rules_nothing_out() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = open_writer(&folder.path().join("a.db"), MIGRATIONS).unwrap();
        let small = filter(100);
        assert_eq!(insert_block(&mut connection, 1, small.as_bytes()), small.as_bytes());
        let stored = insert_block(&mut connection, 2, filter(9_000).as_bytes());
        connection.execute("DELETE FROM filter_parts", []).unwrap();
        assert!(StoredFilter::new(&connection, 2, &stored).ask(|words| words.may_contain(42)).unwrap());
    }
}
