//! Between the application and the exporter: records wait here, never the application.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::Thread;

use crate::record::Record;

/// Records that make the exporter get up before its time.
const WAKE_AT: usize = 512;

/// The queue. Putting a record in takes a lock that is only ever held for moving a few words, and never wakes a thread per record.
#[derive(Debug)]
pub(crate) struct Queue {
    records: Mutex<Vec<Record>>,
    bytes: AtomicUsize,
    max_records: usize,
    max_bytes: usize,
    closed: AtomicBool,
    exporter: OnceLock<Thread>,
    pub(crate) accepted: AtomicU64,
    pub(crate) dropped: AtomicU64,
}

impl Queue {
    pub(crate) fn new(max_records: usize, max_bytes: usize) -> Self {
        Self {
            records: Mutex::default(),
            bytes: AtomicUsize::new(0),
            max_records,
            max_bytes,
            closed: AtomicBool::new(false),
            exporter: OnceLock::new(),
            accepted: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// Says which thread takes records out.
    pub(crate) fn set_exporter(&self, thread: Thread) {
        // Fails only if there is one already.
        let _ = self.exporter.set(thread);
    }

    /// Puts a record in, or drops and counts it if there is no room.
    pub(crate) fn push(&self, record: Record) {
        let size = record.size();
        let full = self.bytes.load(Ordering::Relaxed).saturating_add(size) > self.max_bytes;
        let waiting = {
            let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
            if full || records.len() >= self.max_records || self.closed.load(Ordering::Relaxed) {
                drop(records);
                self.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            records.push(record);
            // Within the lock, so that `take` never subtracts what is not there yet.
            self.bytes.fetch_add(size, Ordering::Relaxed);
            records.len()
        };
        self.accepted.fetch_add(1, Ordering::Relaxed);
        if waiting == WAKE_AT {
            self.wake();
        }
    }

    /// Takes everything out, into `records`, which is empty: its room is used for what comes next.
    pub(crate) fn take(&self, records: &mut Vec<Record>) {
        let mut waiting = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        self.bytes.store(0, Ordering::Relaxed);
        std::mem::swap(&mut *waiting, records);
    }

    /// Returns how many records wait.
    pub(crate) fn len(&self) -> usize {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Takes nothing in any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Makes the exporter look at once.
    pub(crate) fn wake(&self) {
        if let Some(thread) = self.exporter.get() {
            thread.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fields, Level};

    fn record(body: &str) -> Record {
        Record::new(Level::Info, "test".into(), body.to_owned().into(), Fields::new())
    }

    #[test]
    fn what_has_no_room_is_dropped_and_counted() {
        let queue = Queue::new(2, 100_000);
        (0..5).for_each(|_| queue.push(record("a")));
        assert_eq!((queue.len(), queue.accepted.load(Ordering::Relaxed), queue.dropped.load(Ordering::Relaxed)), (2, 2, 3));
        let taken = || {
            let mut records = Vec::new();
            queue.take(&mut records);
            records.len()
        };
        assert_eq!(taken(), 2);
        queue.push(record(&"x".repeat(60_000)));
        queue.push(record(&"x".repeat(60_000)));
        assert_eq!(taken(), 1);
        queue.close();
        queue.push(record("a"));
        assert_eq!((queue.len(), queue.dropped.load(Ordering::Relaxed)), (0, 5));
    }
}
