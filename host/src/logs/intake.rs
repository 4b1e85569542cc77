//! What happens between the queue and the block: batches that arrive together become one, which passes the stages that may change
//! records before anybody sees them, stored or live.
//!
//! It has a thread of its own, so that one group is looked at while the one before it is encoded and the one before that committed.

use std::sync::mpsc::SyncSender;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use watchfire_types::LogBatch;

use super::patterns;
use super::types::FileOffset;
use crate::store::IngestError;

/// A commit gathers at most this many bytes of records; a larger batch is committed alone.
const MAX_GROUP_BYTES: usize = 8 << 20;

/// A batch on its way to disk.
pub(super) struct Pending {
    pub(super) batch: LogBatch,
    pub(super) offsets: Vec<FileOffset>,
    pub(super) answer: oneshot::Sender<Result<(), IngestError>>,
    /// Its share of the queue, given back when it is answered.
    pub(super) permit: OwnedSemaphorePermit,
}

/// Batches that are committed together.
pub(super) struct Gathered {
    pub(super) batch: LogBatch,
    pub(super) offsets: Vec<FileOffset>,
    pub(super) answers: Vec<(oneshot::Sender<Result<(), IngestError>>, OwnedSemaphorePermit)>,
    /// What the transaction that stores them must store of their patterns.
    pub(super) patterns: patterns::Changes,
}

/// What every record passes, in this order. Whatever is to be taken out of records is taken out before patterns are learnt from them.
pub(super) struct Stages {
    /// Gives each record the id of its pattern; `None` where the store is used without.
    pub(super) patterns: Option<patterns::Stage>,
}

impl Stages {
    fn run(&mut self, gathered: &mut Gathered) {
        if let Some(stage) = &mut self.patterns {
            gathered.patterns = stage.run(&mut gathered.batch);
        }
    }
}

/// Gathers what has arrived, leads it through the stages, hands it to the encoder. Ends when the queue closes.
pub(super) fn run(mut queue: mpsc::Receiver<Pending>, encoder: &SyncSender<Gathered>, mut stages: Stages) {
    while let Some(first) = queue.blocking_recv() {
        let mut bytes = first.batch.memory_bytes();
        let mut pending = vec![first];
        while bytes < MAX_GROUP_BYTES
            && let Ok(next) = queue.try_recv()
        {
            bytes += next.batch.memory_bytes();
            pending.push(next);
        }
        let mut gathered = gather(pending);
        stages.run(&mut gathered);
        if encoder.send(gathered).is_err() {
            break;
        }
    }
    if let Some(stage) = &mut stages.patterns {
        stage.close();
    }
}

fn gather(mut pending: Vec<Pending>) -> Gathered {
    let batch = if pending.len() == 1 {
        std::mem::take(&mut pending[0].batch)
    } else {
        let mut merged = LogBatch::default();
        for one in &pending {
            merged.append_all(&one.batch);
        }
        merged
    };
    Gathered {
        batch,
        offsets: pending.iter_mut().flat_map(|one| std::mem::take(&mut one.offsets)).collect(),
        answers: pending.into_iter().map(|one| (one.answer, one.permit)).collect(),
        patterns: patterns::Changes::default(),
    }
}
