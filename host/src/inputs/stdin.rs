//! Standard input as an input: `app | watchfire start --stdin`. Each line is read as those of [`super::ndjson`] are.
//!
//! What was read cannot be read again, so it is handed over even while the host stops, and the writer waits while the store is busy:
//! nothing is read ahead but what fits into a small queue.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use super::LogSink;
use super::ndjson::{self, Defaults, MAX_LINE_BYTES};
use crate::clock::Clock;
use crate::config::StdinInput;
use crate::store::IngestError;
use crate::telemetry::SelfMetrics;

/// How long to gather lines, so that a chatty program does not cause a commit for each.
const GATHER: Duration = Duration::from_millis(20);

/// A batch is handed over when it has this many bytes.
const BATCH_BYTES: usize = 1 << 20;

/// Pieces that wait to be taken, each of as many lines as were there at once and at most [`PIECE_BYTES`].
const QUEUE: usize = 16;
const PIECE_BYTES: usize = 64 << 10;

/// How long a stopping host tries to store what was read.
const LAST_TRIES: Duration = Duration::from_secs(5);

/// Whole lines as they are read by a thread. Cheap to clone; whoever holds the lock takes them.
#[derive(Clone, Debug)]
pub struct Lines(Arc<Mutex<mpsc::Receiver<Vec<u8>>>>);

impl Lines {
    /// Returns those of standard input. It is read by one thread for as long as the process runs, across reloads.
    #[must_use]
    pub fn of_standard_input() -> Self {
        static LINES: OnceLock<Lines> = OnceLock::new();
        LINES.get_or_init(|| Self::read(std::io::stdin())).clone()
    }

    /// Returns those of `source`.
    #[must_use]
    pub fn read(source: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        // A thread of its own, since reading standard input cannot be interrupted.
        let thread = std::thread::Builder::new().name("stdin".to_owned()).spawn(move || pump(source, &sender));
        if let Err(error) = thread {
            tracing::error!(%error, "standard input is not read: no thread can be started");
        }
        Self(Arc::new(Mutex::new(receiver)))
    }
}

/// Passes on whole lines until the end, or until nobody takes them.
fn pump(source: impl Read, sender: &mpsc::Sender<Vec<u8>>) {
    let mut source = BufReader::with_capacity(PIECE_BYTES, source);
    let mut piece = Vec::new();
    loop {
        // One line, or a part of one that is too long to be taken anyway.
        let most = (2 * MAX_LINE_BYTES) as u64;
        let read = source.by_ref().take(most).read_until(b'\n', &mut piece);
        if let Err(error) = &read {
            tracing::error!(%error, "standard input cannot be read any further");
        }
        let is_end = matches!(read, Ok(0) | Err(_));
        // More lines that are there already go along.
        let is_due = piece.len() >= PIECE_BYTES || memchr::memchr(b'\n', source.buffer()).is_none();
        if !piece.is_empty() && (is_end || is_due) && sender.blocking_send(std::mem::take(&mut piece)).is_err() {
            return;
        }
        if is_end {
            return;
        }
    }
}

/// Stores lines until their end or `shutdown`.
pub async fn follow(
    input: StdinInput,
    lines: Lines,
    sink: Arc<dyn LogSink>,
    clock: Clock,
    self_metrics: SelfMetrics,
    shutdown: CancellationToken,
) {
    let reader = Reader { input, sink, clock, self_metrics, shutdown };
    let mut lines = lines.0.lock().await;
    loop {
        let first = tokio::select! {
            first = lines.recv() => first,
            () = reader.shutdown.cancelled() => lines.try_recv().ok(),
        };
        let Some(mut batch) = first else { break };
        while batch.len() < BATCH_BYTES {
            match tokio::time::timeout(GATHER, lines.recv()).await {
                Ok(Some(more)) => batch.extend(more),
                _ => break,
            }
        }
        reader.store(batch).await;
    }
    if !reader.shutdown.is_cancelled() {
        tracing::info!("standard input has ended; the host goes on");
    }
}

struct Reader {
    input: StdinInput,
    sink: Arc<dyn LogSink>,
    clock: Clock,
    self_metrics: SelfMetrics,
    shutdown: CancellationToken,
}

impl Reader {
    /// Stores lines, for as long as it takes; a stopping host tries for a few seconds only.
    async fn store(&self, bytes: Vec<u8>) {
        let length = bytes.len() as u64;
        let host = sysinfo::System::host_name().ok();
        let service = self.input.service.as_deref();
        let zone = TimeZone::system();
        let defaults = Defaults { service, host: host.as_deref(), now: self.clock.now(), zone: &zone };
        let Ok((batch, answer, _)) = ndjson::decode_lines(&bytes, &defaults, Some("stdin"), usize::MAX) else { return };
        let mut rejected = answer.rejected;
        if let Some(first) = answer.errors.first() {
            tracing::debug!(reason = %first.reason, "lines of standard input were refused");
        }
        let mut accepted = 0;
        let mut given_up = None;
        while !batch.is_empty() {
            let error = match self.sink.ingest(batch.clone(), Vec::new()).await {
                Ok(taken) => {
                    accepted = taken.accepted;
                    rejected += taken.rejected;
                    break;
                }
                Err(error) => error,
            };
            if self.shutdown.is_cancelled() {
                let until = *given_up.get_or_insert_with(|| tokio::time::Instant::now() + LAST_TRIES);
                if tokio::time::Instant::now() >= until {
                    tracing::error!(%error, lines = batch.len(), "the host stops, and lines of standard input could not be stored");
                    break;
                }
            }
            let wait = match error {
                IngestError::Busy { retry_after, .. } => retry_after,
                IngestError::Store(_) => Duration::from_secs(1),
            };
            tokio::time::sleep(wait.clamp(Duration::from_millis(50), Duration::from_secs(1))).await;
        }
        let labels = [("input", "stdin")];
        self.self_metrics.counter("watchfire_input_records_total", &labels).add(accepted);
        self.self_metrics.counter("watchfire_input_bytes_total", &labels).add(length);
        if rejected > 0 {
            let labels = [("input", "stdin"), ("reason", "invalid_record")];
            self.self_metrics.counter("watchfire_input_rejected_total", &labels).add(rejected);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::inputs::testing::Host;

    fn run(host: &Host, text: &'static str, shutdown: &CancellationToken) -> impl Future<Output = ()> + use<> {
        let input = StdinInput { service: Some("app".to_owned()) };
        let lines = Lines::read(text.as_bytes());
        follow(input, lines, Arc::new(host.memory.clone()), Clock::system(), host.self_metrics.clone(), shutdown.clone())
    }

    #[tokio::test]
    async fn every_line_is_stored_the_last_without_its_end_too() {
        let host = Host::new(1 << 20);
        run(&host, "plain\n{\"message\":\"json\",\"level\":\"warn\"}\n\n{broken\nlast", &CancellationToken::new()).await;
        let bodies: Vec<_> = host.records().iter().map(|record| record.body.as_text().unwrap().to_owned()).collect();
        assert_eq!(bodies, ["plain", "json", "last"]);
        assert_eq!(host.records()[0].resource[0].1, "app".into());
        assert_eq!(host.count("watchfire_input_rejected_total", &[("input", "stdin"), ("reason", "invalid_record")]), 1);
    }

    #[tokio::test]
    async fn a_busy_store_is_waited_for() {
        let host = Host::new(1 << 20);
        host.busy(Some(Duration::from_millis(10)));
        let task = tokio::spawn(run(&host, "patient\n", &CancellationToken::new()));
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert!(host.records().is_empty());
        host.busy(None);
        task.await.unwrap();
        assert_eq!(host.records().len(), 1);
    }
}
