//! Batches that the host could not take yet: on disk if there is a folder for them, otherwise in memory.

use std::collections::VecDeque;

use super::spool::Spool;

/// An encoded request.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) body: Vec<u8>,
    /// Records in it.
    pub(crate) records: u64,
}

/// What waits, bounded in bytes; the oldest make room.
#[derive(Debug)]
pub(crate) struct Backlog {
    spool: Option<Spool>,
    memory: VecDeque<Batch>,
    bytes: usize,
    max_bytes: usize,
}

impl Backlog {
    pub(crate) fn new(spool: Option<Spool>, max_bytes: usize) -> Self {
        Self { spool, memory: VecDeque::new(), bytes: 0, max_bytes }
    }

    /// Puts a batch behind the others; returns how many records were lost to make room.
    pub(crate) fn push(&mut self, batch: Batch) -> u64 {
        // A disk that is full does not keep memory from helping out; order is kept: what is in memory stays behind.
        if self.memory.is_empty()
            && let Some(spool) = &mut self.spool
            && let Ok(dropped) = spool.push(&batch)
        {
            return dropped;
        }
        if batch.body.len() > self.max_bytes {
            return batch.records;
        }
        let mut dropped = 0;
        while self.bytes + batch.body.len() > self.max_bytes {
            let Some(oldest) = self.memory.pop_front() else { break };
            self.bytes -= oldest.body.len();
            dropped += oldest.records;
        }
        self.bytes += batch.body.len();
        self.memory.push_back(batch);
        dropped
    }

    /// Returns the oldest batch, and how many records were found damaged on the way.
    pub(crate) fn front(&mut self) -> (Option<Batch>, u64) {
        let (batch, lost) = self.spool.as_mut().map_or((None, 0), Spool::front);
        (batch.or_else(|| self.memory.front().cloned()), lost)
    }

    /// Removes the oldest batch.
    pub(crate) fn pop(&mut self) {
        match &mut self.spool {
            Some(spool) if !spool.is_empty() => spool.pop(),
            _ => self.bytes -= self.memory.pop_front().map_or(0, |batch| batch.body.len()),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.memory.is_empty() && self.spool.as_ref().is_none_or(Spool::is_empty)
    }

    /// Returns how many records wait.
    pub(crate) fn records(&self) -> u64 {
        self.in_memory() + self.spool.as_ref().map_or(0, Spool::records)
    }

    /// Returns how many records wait that the end of the process loses.
    pub(crate) fn in_memory(&self) -> u64 {
        self.memory.iter().map(|batch| batch.records).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_keeps_the_newest() {
        let mut backlog = Backlog::new(None, 10);
        let batch = |size| Batch { body: vec![0; size], records: 1 };
        let dropped: u64 = [4, 4, 4, 11].into_iter().map(|size| backlog.push(batch(size))).sum();
        assert_eq!((dropped, backlog.records()), (2, 2));
        backlog.pop();
        backlog.pop();
        backlog.pop();
        assert!(backlog.is_empty() && backlog.bytes == 0);
    }
}
