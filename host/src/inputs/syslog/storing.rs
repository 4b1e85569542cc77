//! Hands messages to the log engine, and waits as long as it is busy.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::records::Records;
use super::status::Watch;
use crate::clock::Clock;
use crate::inputs::LogSink;
use crate::store::IngestError;

/// Most messages in one batch: enough for one commit to carry two hundred thousand a second, and read in two milliseconds.
pub(super) const MAX_MESSAGES: usize = 8192;

/// How long to wait between two tries while the store is busy or broken.
const WAIT: std::ops::RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_secs(5);

/// How long the store is tried after the host has been told to stop.
const PATIENCE: Duration = Duration::from_secs(3);

/// What one listener needs to store messages. Cheap to clone.
#[derive(Clone)]
pub(super) struct Store {
    pub(super) sink: Arc<dyn LogSink>,
    pub(super) clock: Clock,
    pub(super) watch: Arc<Watch>,
    pub(super) shutdown: CancellationToken,
}

/// A message as it was read: from whom, and whether something is missing.
#[derive(Clone, Copy)]
pub(super) struct Raw<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) peer: IpAddr,
    pub(super) is_cut: bool,
}

impl Store {
    /// Stores `messages`, however long that takes. Returns whether they are stored: not if the host stops before.
    ///
    /// They are read anew for each try, which is rare, so that no copy of the batch has to be made each time.
    pub(super) async fn store<'a, I: Iterator<Item = Raw<'a>>>(&self, records: &mut Records, messages: impl Fn() -> I) -> bool {
        let mut give_up = None;
        loop {
            records.begin(self.clock.now());
            for message in messages() {
                records.push(message.bytes, message.peer, message.is_cut);
            }
            let built = records.finish();
            if built.batch.is_empty() {
                return true;
            }
            let (unparsed, truncated) = Watch::counts(&built);
            let error = match self.sink.ingest(built.batch, Vec::new()).await {
                Ok(accepted) => {
                    self.watch.stored(&accepted, unparsed, truncated);
                    return true;
                }
                Err(error) => error,
            };
            tracing::debug!(listener = %self.watch.listen, %error, "the store did not take syslog messages; they wait");
            self.watch.busy(error.to_string());
            let wait = match error {
                IngestError::Busy { retry_after, .. } => retry_after.clamp(*WAIT.start(), *WAIT.end()),
                IngestError::Store(_) => *WAIT.end(),
            };
            if self.shutdown.is_cancelled() {
                let give_up = *give_up.get_or_insert_with(|| tokio::time::Instant::now() + PATIENCE);
                if tokio::time::Instant::now() >= give_up {
                    return false;
                }
                tokio::time::sleep(*WAIT.start()).await;
            } else {
                tokio::select! {
                    () = self.shutdown.cancelled() => {}
                    () = tokio::time::sleep(wait) => {}
                }
            }
        }
    }
}
