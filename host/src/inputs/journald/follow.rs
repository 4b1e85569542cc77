//! Follows this machine's journal through `journalctl`, which knows every version of the journal's files.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio_util::sync::CancellationToken;

use super::export::{ExportError, Parser};
use super::{Gathered, Gatherer, JournalState, JournalStatus};
use crate::clock::Clock;
use crate::config::JournaldInput;
use crate::inputs::LogSink;
use crate::logs::FileOffset;
use crate::store::IngestError;
use crate::store::crash::crash_point;
use crate::telemetry::SelfMetrics;

/// How long to gather entries, so that a busy journal does not cause a commit for each.
const GATHER: Duration = Duration::from_millis(20);

/// How long to wait before what failed is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// Most bytes of what journalctl says on standard error that are kept.
const MAX_COMPLAINT_BYTES: usize = 1000;

/// Follows the journal until `shutdown`, from where an earlier run has stored that it got to.
pub async fn follow(
    input: JournaldInput,
    sink: Arc<dyn LogSink>,
    status: JournalStatus,
    clock: Clock,
    self_metrics: SelfMetrics,
    shutdown: CancellationToken,
) {
    status.set(JournalState::Following, "it is being opened");
    let follower = Follower { input, sink, status, clock, self_metrics, shutdown };
    let mut cursor = None;
    loop {
        let failed = match follower.run(&mut cursor).await {
            Ok(()) => return,
            Err(failed) => failed,
        };
        tracing::warn!("the journal is not followed at present: {failed}");
        follower.status.set(JournalState::Failed, failed.to_string());
        if follower.stopped_within(RETRY).await {
            return;
        }
    }
}

struct Follower {
    input: JournaldInput,
    sink: Arc<dyn LogSink>,
    status: JournalStatus,
    clock: Clock,
    self_metrics: SelfMetrics,
    shutdown: CancellationToken,
}

/// Why the journal cannot be followed.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error("journalctl cannot be started: {0}")]
    Start(std::io::Error),
    #[error("journalctl cannot be read: {0}")]
    Read(std::io::Error),
    #[error("journalctl has ended: {0}")]
    Ended(String),
    #[error("what journalctl writes cannot be read: {0}")]
    Export(#[from] ExportError),
    #[error("how far it was read cannot be looked up: {0}")]
    Store(String),
}

impl Follower {
    /// Follows until shutdown or a failure. `cursor` is where to go on; it is looked up if it is not known.
    async fn run(&self, cursor: &mut Option<String>) -> Result<(), FollowError> {
        if cursor.is_none() {
            *cursor = self.stored().await?;
        }
        if cursor.is_none() && !self.input.from_beginning {
            *cursor = self.newest().await?;
            // Stored at once: what is written while the host is down must not be missed.
            if let Some(end) = &*cursor {
                let nothing = Gathered { cursor: Some(end.clone()), ..Gathered::default() };
                if !self.store(nothing).await {
                    return Ok(());
                }
            }
        }
        let mut command = self.journalctl();
        // Without `--merge`, following is about the present boot only: what was written before a reboot and not read would be lost.
        command.args(["--follow", "--no-tail", "--merge"]);
        if self.input.directory.is_none()
            && let Ok(machine) = std::fs::read_to_string("/etc/machine-id")
        {
            // `--merge` takes in what other machines have sent here, too, which is not asked for.
            command.arg(format!("_MACHINE_ID={}", machine.trim()));
        }
        if let Some(cursor) = &*cursor {
            command.arg(format!("--after-cursor={cursor}"));
        }
        command.args(self.input.units.iter().map(|unit| format!("--unit={unit}")));
        let mut child = command.spawn().map_err(FollowError::Start)?;
        let complaint = child.stderr.take().map(|stderr| tokio::spawn(complaint(stderr, self.status.clone())));
        self.status.set(JournalState::Following, "");
        let result = self.read(&mut child, cursor).await;
        // Fails only if it has ended already.
        let _ = child.start_kill();
        let ended = child.wait().await;
        match result {
            Ok(true) => Ok(()),
            Ok(false) => {
                let said = match complaint {
                    Some(task) => task.await.unwrap_or_default(),
                    None => String::new(),
                };
                let ended = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                Err(FollowError::Ended(if said.is_empty() { ended } else { said }))
            }
            Err(error) => Err(error),
        }
    }

    /// Stores what comes; returns whether it ends because the host does.
    async fn read(&self, child: &mut Child, cursor: &mut Option<String>) -> Result<bool, FollowError> {
        let Some(mut stdout) = child.stdout.take() else { return Ok(false) };
        let mut gatherer = Gatherer::new();
        let mut chunk = vec![0; 64 << 10];
        loop {
            let read = async {
                if gatherer.is_empty() {
                    return Some(stdout.read(&mut chunk).await);
                }
                tokio::time::timeout(GATHER, stdout.read(&mut chunk)).await.ok()
            };
            let read = tokio::select! {
                read = read => read.transpose().map_err(FollowError::Read)?,
                () = self.shutdown.cancelled() => return Ok(true),
            };
            if let Some(count @ 1..) = read {
                gatherer.feed(&chunk[..count]);
            }
            loop {
                let is_full = gatherer.gather(self.clock.now())?;
                // Nothing came for a while, or nothing will.
                let is_due = matches!(read, None | Some(0)) && !gatherer.is_empty();
                if is_full || is_due {
                    let gathered = gatherer.take();
                    let reached = gathered.cursor.clone();
                    if !self.store(gathered).await {
                        return Ok(true);
                    }
                    *cursor = reached.or_else(|| cursor.take());
                }
                if !is_full {
                    break;
                }
            }
            if read == Some(0) {
                return Ok(false);
            }
        }
    }

    /// Stores entries and the cursor of the last one, for as long as it takes; returns `false` if the host ends before.
    async fn store(&self, gathered: Gathered) -> bool {
        let Gathered { batch, bytes, cursor, .. } = gathered;
        let offsets: Vec<FileOffset> = cursor.map(|cursor| self.offset(cursor)).into_iter().collect();
        let records = batch.len() as u64;
        loop {
            // Kept, because journalctl has said it and says it only once.
            let error = match self.sink.ingest(batch.clone(), offsets.clone()).await {
                Ok(accepted) => {
                    crash_point("journald.after_commit");
                    self.count(records.saturating_sub(accepted.rejected), accepted.rejected, bytes as u64);
                    return true;
                }
                Err(error) => error,
            };
            tracing::debug!(%error, "the store did not take entries of the journal");
            self.status.set(JournalState::Waiting, format!("its entries wait in the journal: {error}"));
            let wait = match error {
                IngestError::Busy { retry_after, .. } => retry_after.max(Duration::from_millis(50)),
                IngestError::Store(_) => RETRY,
            };
            if self.stopped_within(wait).await {
                return false;
            }
        }
    }

    fn count(&self, accepted: u64, rejected: u64, bytes: u64) {
        let input = [("input", "journald")];
        self.self_metrics.counter("watchfire_input_records_total", &input).add(accepted);
        self.self_metrics.counter("watchfire_input_bytes_total", &input).add(bytes);
        if rejected > 0 {
            let labels = [("input", "journald"), ("reason", "invalid_record")];
            self.self_metrics.counter("watchfire_input_rejected_total", &labels).add(rejected);
        }
        self.status.stored(accepted);
    }

    /// Waits; returns whether the host ends meanwhile.
    async fn stopped_within(&self, wait: Duration) -> bool {
        tokio::time::timeout(wait, self.shutdown.cancelled()).await.is_ok()
    }

    fn journalctl(&self) -> Command {
        let mut command = Command::new("journalctl");
        command.args(["--output=export", "--no-pager"]).env("LC_ALL", "C");
        if let Some(directory) = &self.input.directory {
            command.arg("--directory").arg(directory);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// The name under which the cursor is stored: another directory is another journal.
    fn name(&self) -> String {
        self.input.directory.as_ref().map_or_else(|| "journald".to_owned(), |path| format!("journald:{}", path.display()))
    }

    fn offset(&self, cursor: String) -> FileOffset {
        FileOffset { path: self.name(), cursor, ..FileOffset::default() }
    }

    async fn stored(&self) -> Result<Option<String>, FollowError> {
        let sink = Arc::clone(&self.sink);
        let offsets = tokio::task::spawn_blocking(move || sink.file_offsets()).await;
        let offsets = offsets.map_err(|error| FollowError::Store(error.to_string()))?;
        let offsets = offsets.map_err(|error| FollowError::Store(error.to_string()))?;
        let name = self.name();
        Ok(offsets.into_iter().find(|offset| offset.path == name && !offset.cursor.is_empty()).map(|offset| offset.cursor))
    }

    /// Returns the cursor of the newest entry, if there is one.
    async fn newest(&self) -> Result<Option<String>, FollowError> {
        let output = self.journalctl().arg("--lines=1").output().await.map_err(FollowError::Start)?;
        let mut parser = Parser::default();
        parser.feed(&output.stdout);
        Ok(parser.end()?.and_then(|entry| entry.text("__CURSOR").map(str::to_owned)))
    }
}

/// Reads what journalctl has to say; returns the last of it.
async fn complaint(stderr: ChildStderr, status: JournalStatus) -> String {
    let mut lines = BufReader::new(stderr.take(1 << 20)).lines();
    let mut last = String::new();
    while let Ok(Some(line)) = lines.next_line().await {
        if line.contains("not seeing messages from other users") {
            status.hint("this user sees its own entries only: add it to the group systemd-journal");
        }
        if !line.trim().is_empty() {
            last = line.chars().take(MAX_COMPLAINT_BYTES).collect();
        }
    }
    last
}
