//! Standard input as an input: `app | watchfire start --stdin`. Its lines are read as those of followed files are.
//!
//! What was read cannot be read again, so it is handed over even while the host stops, and the writer waits while the store is busy:
//! nothing is read ahead but what fits into a small queue.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use super::files::stream::{LineStream, Taken};
use super::ndjson::MAX_LINE_BYTES;
use super::{LineParser, LineSource, LogSink};
use crate::clock::Clock;
use crate::config::FileInput;
use crate::store::IngestError;
use crate::telemetry::SelfMetrics;

/// The input's name.
const INPUT: &str = "stdin";

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

/// What reading standard input needs.
#[derive(Clone)]
pub struct Reading {
    /// Takes the records.
    pub sink: Arc<dyn LogSink>,
    /// The parser components.
    pub parsers: Arc<dyn LineParser>,
    /// The clock.
    pub clock: Clock,
    /// The host's own metrics.
    pub self_metrics: SelfMetrics,
    /// Ends it.
    pub shutdown: CancellationToken,
}

enum Next {
    Bytes(Vec<u8>),
    /// Lines that may grow have had time to.
    Due,
    End,
}

/// Stores lines until their end or `shutdown`. `input` says how they are read, as it does for files.
pub async fn follow(input: FileInput, lines: Lines, reading: Reading) {
    let stream = LineStream::new(INPUT, input, sysinfo::System::host_name().ok(), TimeZone::system());
    let mut stream = match stream {
        Ok(stream) => stream,
        Err(error) => {
            tracing::error!(%error, "standard input is not read");
            return;
        }
    };
    let began = Instant::now();
    let mut lines = lines.0.lock().await;
    loop {
        let due = stream.waits(began.elapsed());
        let next = tokio::select! {
            next = lines.recv() => next.map_or(Next::End, Next::Bytes),
            () = reading.shutdown.cancelled() => lines.try_recv().map_or(Next::End, Next::Bytes),
            () = tokio::time::sleep(due.unwrap_or_default()), if due.is_some() => Next::Due,
        };
        let is_end = matches!(next, Next::End);
        if let Next::Bytes(bytes) = next {
            let mut length = bytes.len();
            stream.push(&bytes);
            while length < BATCH_BYTES {
                let Ok(Some(more)) = tokio::time::timeout(GATHER, lines.recv()).await else { break };
                length += more.len();
                stream.push(&more);
            }
        }
        while let Some(taken) = stream.take(reading.clock.now(), began.elapsed(), is_end) {
            reading.store(taken, stream.parser()).await;
        }
        if is_end {
            break;
        }
    }
    if !reading.shutdown.is_cancelled() {
        tracing::info!("standard input has ended; the host goes on");
    }
}

impl Reading {
    /// Stores lines, for as long as it takes; a stopping host tries for a few seconds only.
    async fn store(&self, taken: Taken, parser: Option<(String, LineSource)>) {
        let mut batch = taken.batch;
        if let Some((name, source)) = parser {
            batch = self.parsers.parse(&name, &source, taken.raw, self.clock.now()).await;
        }
        let (mut accepted, mut rejected) = (0, 0);
        let mut given_up = None;
        while !batch.is_empty() {
            let error = match self.sink.ingest(batch.clone(), Vec::new()).await {
                Ok(taken) => {
                    (accepted, rejected) = (taken.accepted, taken.rejected);
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
        let labels = [("input", INPUT)];
        self.self_metrics.counter("watchfire_input_records_total", &labels).add(accepted);
        self.self_metrics.counter("watchfire_input_bytes_total", &labels).add(taken.bytes);
        if rejected > 0 {
            let labels = [("input", INPUT), ("reason", "invalid_record")];
            self.self_metrics.counter("watchfire_input_rejected_total", &labels).add(rejected);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::inputs::formats::Format;
    use crate::inputs::testing::{Host, Shouting};

    fn reading(host: &Host) -> Reading {
        Reading {
            sink: Arc::new(host.memory.clone()),
            parsers: Arc::new(Shouting),
            clock: Clock::system(),
            self_metrics: host.self_metrics.clone(),
            shutdown: CancellationToken::new(),
        }
    }

    fn run(host: &Host, text: &'static str, input: FileInput) -> impl Future<Output = ()> + use<> {
        let lines = Lines::read(text.as_bytes());
        let input = FileInput { service: Some("app".to_owned()), ..input };
        follow(input, lines, reading(host))
    }

    fn bodies(host: &Host) -> Vec<String> {
        host.records().iter().map(|record| record.body.as_text().unwrap().to_owned()).collect()
    }

    #[tokio::test]
    async fn every_line_is_stored_the_last_without_its_end_too() {
        let host = Host::new(1 << 20);
        run(&host, "plain\n{\"message\":\"json\",\"level\":\"warn\"}\n\n{broken\nlast", FileInput::default()).await;
        assert_eq!(bodies(&host), ["plain", "json", "{broken", "last"]);
        assert_eq!(host.records()[0].resource[0].1, "app".into());
        assert_eq!(host.records()[1].severity_number, 13);
    }

    #[tokio::test]
    async fn a_stack_trace_is_one_record_and_its_format_may_be_that_of_a_component() {
        let host = Host::new(1 << 20);
        let text = "ERROR failed\nTraceback (most recent call last):\n  File \"a.py\", line 1, in f\nKeyError: 1\nINFO next\n";
        run(&host, text, FileInput::default()).await;
        let (trace, next) = text.trim_end().rsplit_once('\n').unwrap();
        assert_eq!(bodies(&host), [trace, next]);

        let host = Host::new(1 << 20);
        run(&host, "a\nb\n", FileInput { format: Format::Parser("shouting".to_owned()), ..FileInput::default() }).await;
        assert_eq!(bodies(&host), ["A", "B"]);
    }

    #[tokio::test]
    async fn a_stack_trace_that_may_grow_waits_a_moment_and_not_for_the_end() {
        let host = Host::new(1 << 20);
        let (read, mut write) = std::io::pipe().unwrap();
        let task = tokio::spawn(follow(FileInput::default(), Lines::read(read), reading(&host)));
        std::io::Write::write_all(&mut write, b"Traceback (most recent call last):\n  File \"a.py\", line 1, in f\n").unwrap();
        while host.records().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(host.records().len(), 1);
        drop(write);
        task.await.unwrap();
    }

    #[tokio::test]
    async fn a_busy_store_is_waited_for() {
        let host = Host::new(1 << 20);
        host.busy(Some(Duration::from_millis(10)));
        let task = tokio::spawn(run(&host, "patient\n", FileInput::default()));
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert!(host.records().is_empty());
        host.busy(None);
        task.await.unwrap();
        assert_eq!(host.records().len(), 1);
    }
}
