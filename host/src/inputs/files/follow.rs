//! Gives every followed file its turn: few at a time, those that changed first, and none for too long.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Input;
use super::discover::{self, Found};
use super::positions::Positions;
use super::status::{FileState, FileStatus, FileStatuses};
use super::tail::{Pending, Step, Tail, World};
use super::watch::{self, Watch};
use crate::clock::Clock;
use crate::config::FileInput;
use crate::inputs::formats::Format;
use crate::inputs::{LineParser, LineSource, LogSink};
use crate::logs::FileOffset;
use crate::store::IngestError;
use crate::store::crash::crash_point;
use crate::telemetry::SelfMetrics;

/// How long to gather lines after the system tells of a change, so that a busy writer does not cause a commit per line.
const GATHER: Duration = Duration::from_millis(20);
/// How often a file that changed in the last minute is looked at when nobody tells of changes.
const POLL_LIVELY: Duration = Duration::from_secs(1);
/// The same for a quiet one; longer if there are many.
const POLL_QUIET: Duration = Duration::from_secs(10);
/// Files that may be looked at in a second because nothing was heard of them.
const LOOKS_PER_SECOND: usize = 100;
/// How often the folders are looked through, though the system tells of new files.
const RESCAN: Duration = Duration::from_secs(30);
/// How long new names are gathered before the folders are looked through.
const GATHER_NAMES: Duration = Duration::from_millis(100);
/// Files read at a time.
const MAX_RUNNING: usize = 4;
/// Batches that one file may store before others have their turn.
const TURN: usize = 16;
/// Files held open while nothing happens to them.
const MAX_OPEN: usize = 256;

/// Returns the time since the first call.
fn elapsed() -> Duration {
    static FIRST: OnceLock<std::time::Instant> = OnceLock::new();
    FIRST.get_or_init(std::time::Instant::now).elapsed()
}

/// What following files needs.
#[derive(Clone)]
pub struct Following {
    /// Takes the records.
    pub sink: Arc<dyn LogSink>,
    /// Shows how the files stand.
    pub statuses: FileStatuses,
    /// The clock.
    pub clock: Clock,
    /// The host's own metrics.
    pub self_metrics: SelfMetrics,
    /// The parser components.
    pub parsers: Arc<dyn LineParser>,
    /// A folder for files without a name, on a disk with room.
    pub scratch: PathBuf,
    /// Ends it.
    pub shutdown: CancellationToken,
}

/// Follows `inputs` until it is shut down. Positions of an earlier run are asked of the sink first.
pub async fn follow(inputs: Vec<FileInput>, following: Following) {
    let inputs: Vec<Input> = inputs.into_iter().filter_map(|input| compiled(input, &following.statuses)).collect();
    if inputs.is_empty() {
        return;
    }
    let Some(stored) = stored(&inputs, &following).await else { return };
    let world = World {
        host: sysinfo::System::host_name().ok(),
        zone: TimeZone::system(),
        positions: Positions::new(&stored),
        scratch: following.scratch.clone(),
    };
    let manager = Manager {
        following,
        inputs: inputs.into_iter().map(Arc::new).collect(),
        world,
        stored,
        tails: HashMap::new(),
        due: BTreeSet::new(),
        aliases: HashMap::new(),
        running: JoinSet::new(),
        watch: Watch::new(),
        problems: BTreeMap::new(),
        has_looked: false,
    };
    manager.run().await;
}

fn compiled(input: FileInput, statuses: &FileStatuses) -> Option<Input> {
    let path = input.paths.first().cloned().unwrap_or_default();
    Input::new(input)
        .map_err(|error| {
            tracing::error!(%error, path = %path.display(), "an input of files is not followed");
            statuses.set(FileStatus { state: FileState::Failed, detail: error.to_string(), ..FileStatus::new(&path) });
        })
        .ok()
}

async fn stored(inputs: &[Input], following: &Following) -> Option<Vec<FileOffset>> {
    let sink = Arc::clone(&following.sink);
    match tokio::task::spawn_blocking(move || sink.file_offsets()).await {
        Ok(Ok(stored)) => Some(stored),
        Ok(Err(error)) => {
            // Without positions every line would be read twice or not at all.
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "files are not followed: their stored positions cannot be read"
            );
            for path in inputs.iter().flat_map(|input| &input.config.paths) {
                let detail = "the stored positions cannot be read; the host's log says why".to_owned();
                following.statuses.set(FileStatus { state: FileState::Failed, detail, ..FileStatus::new(path) });
            }
            None
        }
        Err(_) => None,
    }
}

/// A followed file, at rest or in somebody's hands.
struct Slot {
    /// `None` while it is being read.
    tail: Option<Box<Tail>>,
    due: Instant,
    /// Whether it changed while it was being read.
    again: bool,
    open_files: usize,
}

struct Manager {
    following: Following,
    inputs: Arc<[Arc<Input>]>,
    world: World,
    stored: Vec<FileOffset>,
    tails: HashMap<PathBuf, Slot>,
    /// Files at rest, by when they are to be looked at.
    due: BTreeSet<(Instant, PathBuf)>,
    /// Where links lead, and which followed paths lead there.
    aliases: HashMap<PathBuf, Vec<PathBuf>>,
    running: JoinSet<Turn>,
    watch: Watch,
    problems: BTreeMap<PathBuf, String>,
    has_looked: bool,
}

/// What came of a turn.
struct Turn {
    path: PathBuf,
    /// `None` at shutdown, and if reading it failed in a way that nobody has thought of.
    tail: Option<Box<Tail>>,
    /// Whether there is more to read.
    more: bool,
}

impl Manager {
    async fn run(mut self) {
        let mut rescan = Instant::now();
        let shutdown = self.following.shutdown.clone();
        loop {
            if Instant::now() >= rescan {
                if !self.rescan().await {
                    return;
                }
                rescan = Instant::now() + RESCAN;
            }
            self.start_due();
            let next = self.due.first().map_or(rescan, |(due, _)| (*due).min(rescan));
            let full = self.running.len() >= MAX_RUNNING;
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(ended) = self.running.join_next() => self.ended(ended),
                () = self.watch.rings() => {
                    if self.hear() {
                        rescan = rescan.min(Instant::now() + GATHER_NAMES);
                    }
                }
                () = tokio::time::sleep_until(if full { rescan } else { next }) => {}
            }
        }
        // What is on its way into the store is waited for.
        while self.running.join_next().await.is_some() {}
    }

    /// Looks through the folders; `false` at shutdown.
    async fn rescan(&mut self) -> bool {
        let inputs = Arc::clone(&self.inputs);
        let looked = tokio::task::spawn_blocking(move || discover::look(&inputs)).await;
        let Ok(Found { files, links, mut folders, problems }) = looked else { return false };
        let now = Instant::now();
        for (path, number) in files {
            folders.extend(watch::folder_of(&path));
            if !self.tails.contains_key(&path) {
                self.add(path, number, now);
            }
        }
        self.aliases.clear();
        for (real, path) in links {
            folders.extend(watch::folder_of(&real));
            self.aliases.entry(real).or_default().push(path);
        }
        self.watch.set(folders);
        self.tell_problems(problems);
        self.has_looked = true;
        self.stored = Vec::new();
        let (files, behind) = self.following.statuses.totals();
        self.following.self_metrics.gauge("watchfire_input_files", &[]).set(files as f64);
        self.following.self_metrics.gauge("watchfire_input_file_behind_bytes", &[]).set(behind as f64);
        true
    }

    fn add(&mut self, path: PathBuf, number: usize, now: Instant) {
        let input = Arc::clone(&self.inputs[number]);
        // Of all files that were followed before a position is stored: one without is new, unless this input is.
        let is_new_input = !self.stored.iter().any(|stored| input.wants(Path::new(&stored.path)));
        let is_first = !self.has_looked && is_new_input;
        let from_beginning = input.config.from_beginning || !(is_first || input.names(&path) && !self.has_looked);
        let tail = Tail::new(path.clone(), input, self.world.clone(), &self.stored, from_beginning);
        self.following.statuses.set(tail.status().clone());
        self.due.insert((now, path.clone()));
        self.tails.insert(path, Slot { tail: Some(Box::new(tail)), due: now, again: false, open_files: 0 });
    }

    fn tell_problems(&mut self, problems: BTreeMap<PathBuf, String>) {
        for (path, detail) in &problems {
            if self.problems.get(path) != Some(detail) {
                tracing::warn!(path = %path.display(), "cannot look for files: {detail}");
                let status = FileStatus { state: FileState::Denied, detail: detail.clone(), ..FileStatus::new(path) };
                self.following.statuses.set(status);
            }
        }
        for path in self.problems.keys().filter(|path| !problems.contains_key(*path) && !self.tails.contains_key(*path)) {
            self.following.statuses.remove(path);
        }
        self.problems = problems;
    }

    /// Takes note of what the system tells; returns whether the folders are to be looked through.
    fn hear(&mut self) -> bool {
        let news = self.watch.take();
        let at = Instant::now() + GATHER;
        let mut rescan = news.everything;
        if news.everything {
            let all: Vec<PathBuf> = self.tails.keys().cloned().collect();
            all.into_iter().for_each(|path| self.wake(&path, at));
        }
        for path in news.changed {
            let links = self.aliases.get(&path).cloned().unwrap_or_default();
            links.iter().chain([&path]).for_each(|path| self.wake(path, at));
        }
        for path in news.appeared {
            // A folder may have appeared that holds some.
            let means = |input: &Arc<Input>| {
                input.wants(&path)
                    || input.patterns.iter().any(|pattern| path.starts_with(pattern.base()) && pattern.depth() != Some(0))
            };
            rescan |= !self.tails.contains_key(&path) && self.inputs.iter().any(means);
            // A file that was renamed gives its name away.
            if let Some(folder) = path.parent() {
                let beside: Vec<PathBuf> =
                    self.tails.keys().filter(|tail| tail.parent() == Some(folder)).take(64).cloned().collect();
                beside.iter().for_each(|path| self.wake(path, at));
            }
        }
        rescan
    }

    fn wake(&mut self, path: &Path, at: Instant) {
        let Some(slot) = self.tails.get_mut(path) else { return };
        if slot.tail.is_none() {
            slot.again = true;
        } else if slot.due > at {
            self.due.remove(&(slot.due, path.to_owned()));
            slot.due = at;
            self.due.insert((at, path.to_owned()));
        }
    }

    /// Starts a turn for the files that are due, a few at a time.
    fn start_due(&mut self) {
        let now = Instant::now();
        while self.running.len() < MAX_RUNNING
            && let Some((due, path)) = self.due.first().cloned()
            && due <= now
        {
            self.due.remove(&(due, path.clone()));
            let Some(slot) = self.tails.get_mut(&path) else { continue };
            let Some(tail) = slot.tail.take() else { continue };
            slot.again = false;
            let following = self.following.clone();
            self.running.spawn(async move {
                let turn = following.turn(tail).await;
                let (tail, more) = turn.map_or((None, false), |(tail, more)| (Some(tail), more));
                Turn { path, tail, more }
            });
        }
    }

    fn ended(&mut self, ended: Result<Turn, tokio::task::JoinError>) {
        let Turn { path, tail, more } = match ended {
            Ok(turn) => turn,
            Err(error) => {
                tracing::error!(%error, "following a file ended unexpectedly");
                return;
            }
        };
        let Some(mut tail) = tail else {
            // The next look through the folders finds it again, and its position is known.
            self.tails.remove(&path);
            return;
        };
        let now = Instant::now();
        if tail.is_gone() && !tail.input().names(&path) {
            self.tails.remove(&path);
            self.following.statuses.remove(&path);
            return;
        }
        let open: usize = self.tails.values().map(|slot| slot.open_files).sum();
        if open > MAX_OPEN && !more {
            tail.rest();
        }
        let time = self.following.clock.now();
        let quiet = POLL_QUIET.max(Duration::from_secs((self.tails.len() / LOOKS_PER_SECOND) as u64));
        let poll = if tail.is_lively(time) { POLL_LIVELY } else { quiet };
        let Some(slot) = self.tails.get_mut(&path) else { return };
        let wait = match (more, slot.again) {
            (true, _) => Duration::ZERO,
            (false, true) => GATHER,
            (false, false) => tail.waits(elapsed()).unwrap_or(poll).min(poll),
        };
        slot.open_files = tail.open_files();
        slot.due = now + wait;
        self.due.insert((slot.due, path));
        slot.tail = Some(tail);
    }
}

impl Following {
    /// Stores what there is, up to a bound, and says whether there is more; `None` at shutdown. While one batch is being stored, the next one is
    /// read.
    async fn turn(self, mut tail: Box<Tail>) -> Option<(Box<Tail>, bool)> {
        let parser = match &tail.input().config.format {
            Format::Parser(name) => Some((name.clone(), tail.source())),
            _ => None,
        };
        let mut flying: Option<Box<Pending>> = None;
        for round in 0.. {
            if self.shutdown.is_cancelled() {
                return None;
            }
            let now = self.clock.now();
            let last = round >= TURN;
            let reading = tokio::task::spawn_blocking(move || {
                // A turn ends when what was read has been stored.
                let step = if last { Step::Idle } else { tail.step(now, elapsed()) };
                (tail, step)
            });
            let (read, stored) = tokio::join!(reading, self.store(flying.as_deref_mut(), parser.as_ref()));
            let (back, step) = match read {
                Ok(read) => read,
                Err(error) => {
                    tracing::error!(%error, "reading a followed file ended unexpectedly; it is opened again");
                    return None;
                }
            };
            tail = back;
            if let Some(pending) = flying.take() {
                match stored {
                    Ok(()) => tail.commit(&pending),
                    Err(error) => {
                        tail.rewind(&pending);
                        self.wait_after(&error, &tail).await;
                        continue;
                    }
                }
            }
            match step {
                Step::Batch(pending) => flying = Some(pending),
                Step::Idle => {
                    self.statuses.set(tail.status().clone());
                    return Some((tail, last));
                }
            }
        }
        None
    }

    /// Stores lines with their positions.
    async fn store(&self, pending: Option<&mut Pending>, parser: Option<&(String, LineSource)>) -> Result<(), IngestError> {
        let Some(pending) = pending else { return Ok(()) };
        let mut batch = std::mem::take(&mut pending.batch);
        if let Some((name, source)) = parser {
            batch = self.parsers.parse(name, source, std::mem::take(&mut pending.raw), self.clock.now()).await;
        }
        let lines = batch.len() as u64;
        let accepted = self.sink.ingest(batch, pending.offsets.clone()).await?;
        crash_point("files.after_commit");
        self.count(lines.saturating_sub(accepted.rejected), accepted.rejected, pending);
        Ok(())
    }

    async fn wait_after(&self, error: &IngestError, tail: &Tail) {
        let wait = match error {
            IngestError::Busy { retry_after, .. } => *retry_after,
            IngestError::Store(_) => POLL_QUIET,
        };
        let detail = format!("its lines wait in the file: {error}");
        tracing::debug!(path = %tail.path().display(), %error, "the store did not take lines of a file");
        self.statuses.set(FileStatus { state: FileState::Busy, detail, ..tail.status().clone() });
        tokio::select! {
            () = self.shutdown.cancelled() => {}
            () = tokio::time::sleep(wait.max(Duration::from_millis(50))) => {}
        }
    }

    fn count(&self, accepted: u64, rejected: u64, pending: &Pending) {
        let input = [("input", "file")];
        self.self_metrics.counter("watchfire_input_records_total", &input).add(accepted);
        self.self_metrics.counter("watchfire_input_bytes_total", &input).add(pending.bytes);
        if rejected > 0 {
            let labels = [("input", "file"), ("reason", "invalid_record")];
            self.self_metrics.counter("watchfire_input_rejected_total", &labels).add(rejected);
        }
        if pending.truncated > 0 {
            self.self_metrics.counter("watchfire_input_truncated_lines_total", &[]).add(pending.truncated);
        }
    }
}
