//! Hits that a search cannot give out yet, because a block yet unread may hold newer ones. Bounded by bytes.

use std::collections::BTreeMap;

use watchfire_types::{LogBatch, LogRecord};

use super::files::BlockPlan;

/// Hits by event time and `seq`, as columns: a tenth of what records take.
#[derive(Debug, Default)]
pub(super) struct Held {
    places: BTreeMap<(u64, u64), (usize, usize)>,
    /// Rows of one block each; all `None` at the end are cut off.
    chunks: Vec<Option<Chunk>>,
    bytes: usize,
}

#[derive(Debug)]
struct Chunk {
    plan: BlockPlan,
    rows: LogBatch,
    bytes: usize,
    /// Rows that are still meant.
    live: usize,
}

impl Held {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the event time of the oldest hit.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.places.first_key_value().map(|((time, _), _)| *time)
    }

    /// Adds `rows` of `batch`, which were found by `plan`. What is held already is not added again.
    pub(super) fn add(&mut self, plan: &BlockPlan, batch: &LogBatch, mut rows: Vec<usize>) {
        rows.retain(|row| !self.places.contains_key(&(batch.time[*row], batch.seq[*row])));
        if rows.is_empty() {
            return;
        }
        let mut kept = LogBatch::default();
        kept.append(batch, rows);
        self.add_chunk(plan.clone(), kept);
    }

    /// Forgets the oldest hits beyond the newest `count`.
    pub(super) fn keep_newest(&mut self, count: usize) {
        while self.places.len() > count
            && let Some((_, (chunk, _))) = self.places.pop_first()
        {
            self.release(chunk);
        }
    }

    /// Takes the newest hits later than `time`, at most `count`; the newest first.
    pub(super) fn take_after(&mut self, time: Option<u64>, count: usize) -> Vec<LogRecord> {
        let mut records = Vec::new();
        while records.len() < count
            && let Some(entry) = self.places.last_entry()
            && time.is_none_or(|time| entry.key().0 > time)
        {
            let (chunk, row) = entry.remove();
            records.extend(self.chunks[chunk].as_ref().map(|chunk| chunk.rows.record(row)));
            self.release(chunk);
        }
        records
    }

    /// Gives up the oldest hits until at most `most` bytes are held, though never the newest event time. Returns what must be
    /// read again to find them: the same plans, up to the newest time given up.
    pub(super) fn shrink(&mut self, most: usize) -> Vec<BlockPlan> {
        let mut again: BTreeMap<(watchfire_types::Day, u64), BlockPlan> = BTreeMap::new();
        if self.bytes > most {
            self.rebuild();
        }
        while self.bytes > most
            && let Some(((newest, _), _)) = self.places.last_key_value()
            && let Some(((median, _), _)) = self.places.iter().nth(self.places.len() / 2)
            && let Some(cut) = if median < newest { Some(*median) } else { newest.checked_sub(1) }
            && self.oldest().is_some_and(|oldest| oldest <= cut)
        {
            let kept = self.places.split_off(&(cut + 1, 0));
            for ((time, _), (chunk, _)) in std::mem::replace(&mut self.places, kept) {
                if let Some(chunk) = &self.chunks[chunk] {
                    let plan = again.entry((chunk.plan.file.day, chunk.plan.first_seq)).or_insert_with(|| chunk.plan.clone());
                    // In order of time: the last one given up is the newest.
                    plan.max_time = time;
                }
                self.release(chunk);
            }
            self.rebuild();
        }
        again.into_values().collect()
    }

    fn add_chunk(&mut self, plan: BlockPlan, rows: LogBatch) {
        let bytes = rows.memory_bytes();
        self.bytes += bytes;
        let number = self.chunks.len();
        self.places.extend((0..rows.len()).map(|row| ((rows.time[row], rows.seq[row]), (number, row))));
        self.chunks.push(Some(Chunk { plan, live: rows.len(), rows, bytes }));
    }

    fn release(&mut self, number: usize) {
        let Some(chunk) = &mut self.chunks[number] else { return };
        chunk.live -= 1;
        if chunk.live == 0 {
            self.bytes -= chunk.bytes;
            self.chunks[number] = None;
            while self.chunks.last().is_some_and(Option::is_none) {
                self.chunks.pop();
            }
        }
    }

    /// Frees the rows that are no longer meant but share a chunk with one that is.
    fn rebuild(&mut self) {
        let mut live: Vec<Vec<usize>> = vec![Vec::new(); self.chunks.len()];
        for (chunk, row) in std::mem::take(&mut self.places).into_values() {
            live[chunk].push(row);
        }
        self.bytes = 0;
        for (chunk, rows) in std::mem::take(&mut self.chunks).into_iter().zip(live) {
            let Some(chunk) = chunk else { continue };
            if rows.len() == chunk.rows.len() {
                self.add_chunk(chunk.plan, chunk.rows);
            } else {
                let mut kept = LogBatch::default();
                kept.append(&chunk.rows, rows);
                self.add_chunk(chunk.plan, kept);
            }
        }
    }
}
