//! Follows one path through growth, rotation, truncation, absence and restarts.
//!
//! [`Tail::step`] looks once and returns what is to be stored; [`Tail::commit`] says that it was, [`Tail::rewind`] that it was not. The next
//! step may be taken before the last one is stored, but not be stored before it. No clock, no sleeping, no async: the loop around it is in
//! [`super::follow`].

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::tz::TimeZone;
use parking_lot::Mutex;
use watchfire_types::attributes::keys;
use watchfire_types::{LogBatch, Timestamp, Value};

use super::Input;
use super::chunk::Charset;
use super::permission;
use super::positions::{Identity, Positions};
use super::reader::{Mark, Reader, Waiting, identity};
use super::records::Making;
use super::rotation::{Around, Gap};
use super::siblings;
use super::status::{FileState, FileStatus};
use crate::inputs::formats::{Defaults, Detected};
use crate::inputs::{LineSource, RawLine};
use crate::logs::FileOffset;

/// How long a rotated file is still read: its writer may not have noticed yet, or finish what it began.
pub const LINGER: Duration = Duration::from_secs(30);

/// How long after a rotation the folder is looked through once more.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Most rotated files held open though they have been read.
const MAX_LINGERING: usize = 32;

/// What one look at a file gave.
#[derive(Debug)]
pub enum Step {
    /// Lines to store, or only a position. [`Tail::commit`] follows when they are durable.
    Batch(Box<Pending>),
    /// Nothing new.
    Idle,
}

/// Lines that are not stored yet.
#[derive(Debug)]
pub struct Pending {
    /// The records.
    pub batch: LogBatch,
    /// Lines for a parser component, instead of the records.
    pub raw: Vec<RawLine>,
    /// Positions of every open file of this path, to be stored with them; the file under the path itself comes last.
    pub offsets: Vec<FileOffset>,
    /// Bytes of the lines.
    pub bytes: u64,
    /// Lines that were longer than a line may be, or pieces of them.
    pub truncated: u64,
    mark: Mark,
    announces: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Main,
    Rotated(usize),
}

#[derive(Debug)]
struct Rotated {
    reader: Reader,
    until: Timestamp,
}

/// What [`Tail::new`] needs to know of the world.
#[derive(Clone, Debug)]
pub struct World {
    /// `host.name` of lines that name no host.
    pub host: Option<String>,
    /// Zone of times that name none.
    pub zone: TimeZone,
    /// What is known of all files.
    pub positions: Positions,
    /// A folder for files without a name.
    pub scratch: PathBuf,
}

/// A followed path.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    input: Arc<Input>,
    world: World,
    detected: Detected,
    charset: Charset,
    /// Positions of earlier runs that have not been found again yet.
    stored: Vec<FileOffset>,
    main: Option<Reader>,
    /// Where the path leads, if it is a link.
    real: PathBuf,
    /// When the file under the path was last written to.
    modified: Option<SystemTime>,
    rotated: Vec<Rotated>,
    /// Whether a file that has not been seen before is read from its beginning.
    from_beginning: bool,
    /// A position to store though there is no line: that of a file that is followed from its end.
    announce: bool,
    /// Since when there has been no file under the path.
    missing_since: Option<Timestamp>,
    /// Positions in files that are not open, to be stored with the next lines.
    noted: Mutex<Vec<FileOffset>>,
    /// Others than those that were read may have had the path between.
    gap: Option<Gap>,
    /// What a closed file was like: until that changes there is nothing to read.
    resting: Option<(Identity, u64, Option<SystemTime>)>,
    buffer: Vec<u8>,
    status: FileStatus,
    last_growth: Timestamp,
    /// The time since some moment, which no clock that is set can turn back.
    elapsed: Duration,
}

impl Tail {
    /// Returns a tail of `path` that goes on from `stored`, of which those of other paths are left aside. A file that is not among them is
    /// read `from_beginning` or from its end.
    #[must_use]
    pub fn new(path: PathBuf, input: Arc<Input>, world: World, stored: &[FileOffset], from_beginning: bool) -> Self {
        let name = path.to_string_lossy();
        let stored = stored.iter().filter(|offset| offset.path == name).cloned().collect();
        let mut detected = Detected::new(input.config.format.clone());
        detected.unnamed = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        // Of the file and not of each line: it is said once.
        detected.resource = vec![(keys::LOG_FILE_PATH.to_owned(), Value::Text(name.into_owned()))];
        detected.resource.extend(input.config.attributes.iter().map(|(key, value)| (key.clone(), Value::Text(value.clone()))));
        Self {
            status: FileStatus::new(&path),
            charset: Charset::new(input.config.encoding),
            real: path.clone(),
            path,
            input,
            world,
            detected,
            stored,
            main: None,
            modified: None,
            rotated: Vec::new(),
            from_beginning,
            announce: false,
            missing_since: None,
            noted: Mutex::default(),
            gap: None,
            resting: None,
            buffer: Vec::new(),
            last_growth: Timestamp::ZERO,
            elapsed: Duration::ZERO,
        }
    }

    /// Returns how it stands.
    #[must_use]
    pub fn status(&self) -> &FileStatus {
        &self.status
    }

    /// Returns the path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns where the path leads, if it is a link.
    #[must_use]
    pub fn real(&self) -> &Path {
        &self.real
    }

    /// Returns what a parser component is told of its lines.
    #[must_use]
    pub fn source(&self) -> LineSource {
        let service = self.input.config.service.clone().or_else(|| self.detected.unnamed.clone()).unwrap_or_default();
        let host = self.world.host.iter().map(|host| (keys::HOST_NAME.to_owned(), Value::Text(host.clone())));
        let resource = host.chain(self.detected.resource.iter().cloned()).collect();
        LineSource { name: self.path.to_string_lossy().into_owned(), service, resource }
    }

    /// Returns which input it belongs to.
    #[must_use]
    pub fn input(&self) -> &Input {
        &self.input
    }

    /// Returns whether it should be looked at again soon, even if nobody calls.
    #[must_use]
    pub fn is_lively(&self, now: Timestamp) -> bool {
        !self.rotated.is_empty() || self.missing_since.is_some() || now.since(self.last_growth) < Duration::from_secs(60)
    }

    /// Returns how long lines that may still grow are to be left alone; `None` if there are none.
    #[must_use]
    pub fn waits(&self, elapsed: Duration) -> Option<Duration> {
        let readers = self.rotated.iter().map(|rotated| &rotated.reader).chain(&self.main);
        let left = |waiting: Waiting| self.input.config.multiline.timeout.saturating_sub(elapsed.saturating_sub(waiting.since));
        readers.filter_map(|reader| reader.waiting).map(left).min()
    }

    /// Returns how many files it holds open.
    #[must_use]
    pub fn open_files(&self) -> usize {
        self.rotated.len() + usize::from(self.main.is_some())
    }

    /// Returns whether there is no file under the path any more, nor anything left to read of the one that was.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.main.is_none() && self.rotated.is_empty() && self.status.state == FileState::Missing
    }

    /// Closes the file until it changes, if all of it has been read.
    pub fn rest(&mut self) {
        let Some(main) = &self.main else { return };
        if !self.rotated.is_empty() || main.next != main.offset || main.waiting.is_some() || self.announce {
            return;
        }
        let (Ok(size), Ok(position)) = (main.size(), main.position(&self.path, main.offset)) else { return };
        if size != main.seen {
            // It has grown since: that would never be noticed.
            return;
        }
        // A half line is no reason to hold a file open.
        self.resting = Some((main.identity(), size, main.modified()));
        self.stored = vec![position];
        self.main = None;
    }

    /// Looks once. What fails is in the status, and is tried again at the next look. `elapsed` is the time since any moment, the same in all
    /// calls: lines that may grow wait by it, whatever the clock does.
    pub fn step(&mut self, now: Timestamp, elapsed: Duration) -> Step {
        self.elapsed = elapsed;
        match self.try_step(now) {
            Ok(step) => step,
            Err(error) => {
                self.failed(&error);
                Step::Idle
            }
        }
    }

    fn around(&self) -> Around<'_> {
        Around { noted: &self.noted, path: &self.path, real: &self.real, world: &self.world }
    }

    fn try_step(&mut self, now: Timestamp) -> io::Result<Step> {
        if self.main.is_none() {
            if self.is_unchanged() {
                return Ok(Step::Idle);
            }
            if let Err(error) = self.open(now) {
                // What is left of the file that was there is read nevertheless.
                if self.rotated.is_empty() {
                    return Err(error);
                }
                self.failed(&error);
            }
        }
        for index in 0..self.rotated.len() {
            let last = now >= self.rotated[index].until;
            if let Some(pending) = self.read(Source::Rotated(index), last, now)? {
                self.rotated[index].until = self.rotated[index].until.max(now.plus(LINGER));
                return Ok(Step::Batch(Box::new(pending)));
            }
            if self.rotated[index].reader.waiting.is_some() {
                // Its last lines come before those of the file after it.
                return Ok(Step::Idle);
            }
        }
        self.let_go(now);
        let Some(main) = &mut self.main else { return Ok(Step::Idle) };
        if main.was_truncated()? {
            tracing::info!(path = %self.path.display(), "a followed file was truncated; it is read from its beginning");
            let around = Around { noted: &self.noted, path: &self.path, real: &self.real, world: &self.world };
            let copy = around.copy_of(main);
            self.status.truncations += 1;
            main.seek(0)?;
            if let Some(copy) = copy {
                self.rotated.push(Rotated { reader: copy, until: now });
                return self.try_step(now);
            }
        }
        if let Some(pending) = self.read(Source::Main, false, now)? {
            return Ok(Step::Batch(Box::new(pending)));
        }
        // Only at its end is a file let go of for the one that took its name.
        if self.was_replaced(now)? {
            if let Some(reader) = self.main.take() {
                self.replace(reader, now);
            }
            return self.try_step(now);
        }
        if self.gap.and_then(|gap| gap.again).is_some_and(|again| now >= again) {
            let main = self.main.as_ref().map(Reader::identity);
            if self.find_between(main, None, now) {
                return self.try_step(now);
            }
        }
        if self.announce
            && let Some(main) = &mut self.main
        {
            let mark = main.advance(&self.path, main.next, false)?;
            self.announce = false;
            return self.pending(LogBatch::default(), Vec::new(), 0, mark, true).map(|pending| Step::Batch(Box::new(pending)));
        }
        self.note_following()?;
        Ok(Step::Idle)
    }

    /// Takes note that what [`Self::step`] returned is durable.
    pub fn commit(&mut self, pending: &Pending) {
        let wanted = (pending.mark.position.device, pending.mark.position.inode);
        let mut readers = self.rotated.iter_mut().map(|rotated| &mut rotated.reader).chain(&mut self.main);
        if let Some(reader) = readers.find(|reader| reader.identity() == wanted) {
            reader.commit(&pending.mark);
        }
        pending.offsets.iter().for_each(|offset| self.world.positions.note(offset));
        self.noted.get_mut().retain(|noted| !pending.offsets.contains(noted));
        if let Some(main) = &self.main {
            self.status.offset = main.offset;
        }
    }

    /// Takes note that something [`Self::step`] returned was not stored: everything since is read again.
    pub fn rewind(&mut self, pending: &Pending) {
        self.announce |= pending.announces;
        let readers = self.rotated.iter_mut().map(|rotated| &mut rotated.reader).chain(&mut self.main);
        for reader in readers {
            if let Err(error) = reader.rewind() {
                tracing::warn!(path = %self.path.display(), %error, "a followed file cannot be read again");
            }
        }
    }

    /// Closes rotated files whose time is over.
    fn let_go(&mut self, now: Timestamp) {
        let around = Around { noted: &self.noted, path: &self.path, real: &self.real, world: &self.world };
        self.rotated.retain(|rotated| {
            // What is not stored yet may have to be read again.
            let stays = now < rotated.until || rotated.reader.next != rotated.reader.offset;
            if !stays {
                around.note_copy(&rotated.reader);
                around.world.positions.release(rotated.reader.identity(), around.path);
            }
            stays
        });
    }

    /// Returns whether a file that was closed is as it was.
    fn is_unchanged(&self) -> bool {
        let Some(resting) = &self.resting else { return false };
        fs::metadata(&self.path).is_ok_and(|metadata| *resting == (identity(&metadata), metadata.len(), metadata.modified().ok()))
    }

    /// Lets go of a file that lost its path: the next one is opened, and those that had it between are looked for.
    fn replace(&mut self, reader: Reader, now: Timestamp) {
        self.status.rotations += 1;
        if let Some(modified) = reader.modified().or(self.modified) {
            self.gap = Some(Gap::with(self.gap, modified));
        }
        self.rotated.push(Rotated { reader, until: now.plus(LINGER) });
        self.from_beginning = true;
    }

    /// Lets go of rotated files that are too many, the oldest first. Whatever has not been read stays.
    fn let_go_of_surplus(&mut self) {
        let mut surplus = self.rotated.len().saturating_sub(MAX_LINGERING);
        let around = Around { noted: &self.noted, path: &self.path, real: &self.real, world: &self.world };
        self.rotated.retain(|Rotated { reader, .. }| {
            let is_read = reader.next == reader.offset && reader.size().is_ok_and(|size| size == reader.next);
            let goes = surplus > 0 && is_read;
            if goes {
                surplus -= 1;
                around.note_copy(reader);
                around.world.positions.release(reader.identity(), around.path);
            }
            !goes
        });
    }

    /// Finds files that had this name for a while between two looks, and takes them among those that are read: rotated ones that nobody knows,
    /// in the order in which they were written. `opened` is the one that has the name now. Returns whether
    /// there are any.
    fn find_between(&mut self, opened: Option<Identity>, again: Option<Timestamp>, now: Timestamp) -> bool {
        let Some(gap) = &mut self.gap else { return false };
        gap.again = again;
        let since = gap.since();
        let read = self.rotated.iter().map(|rotated| &rotated.reader).chain(&self.main);
        let between = self.around().written_since(since, opened, &read);
        let found = !between.is_empty();
        self.rotated.extend(between.into_iter().map(|reader| Rotated { reader, until: now.plus(LINGER) }));
        self.let_go_of_surplus();
        found
    }

    /// Opens the path, and finds what was left unread of the file that had its name before.
    fn open(&mut self, now: Timestamp) -> io::Result<()> {
        let opened = match Reader::open(&self.path) {
            // It is there but cannot be read: what is known about it holds until it can.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            opened => opened,
        };
        self.real = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let id = opened.as_ref().map_or((0, 0), Reader::identity);
        if opened.is_ok()
            && let Some(other) = self.world.positions.claim(id, &self.path)
        {
            self.status.detail = format!("it is read as {}", other.display());
            self.status.state = FileState::Following;
            return Ok(());
        }
        if let Ok(reader) = &opened
            && let Some(kind) = siblings::compressed(&reader.begin(8)?)
        {
            self.status.state = FileState::Skipped;
            self.status.detail = format!("it is {kind}: only files of lines are read");
            self.world.positions.release(id, &self.path);
            return Ok(());
        }
        let from_beginning = std::mem::replace(&mut self.from_beginning, true);
        self.resting = None;
        let mut resumed = None;
        let mut is_known = false;
        let mut rotated_at = Vec::new();
        for stored in std::mem::take(&mut self.stored) {
            is_known = true;
            let is_main = (stored.device, stored.inode) == id && opened.is_ok();
            let same = |reader: &Reader| reader.begins_as(stored.offset, stored.fingerprint).unwrap_or(false);
            if is_main && opened.as_ref().is_ok_and(same) {
                resumed = Some(stored.offset);
            } else if is_main {
                tracing::info!(path = %self.path.display(), "a followed file was truncated meanwhile; it is read from its beginning");
                self.status.truncations += 1;
                let copy = self.around().stored_copy(&stored);
                self.rotated.extend(copy.map(|reader| Rotated { reader, until: now }));
            } else if let Some((reader, modified)) = self.around().rotated(&stored) {
                let is_other = |reader: &Reader| self.world.positions.claim(reader.identity(), &self.path).is_some();
                if !reader.as_ref().is_some_and(is_other) {
                    rotated_at.extend(modified);
                    self.rotated.extend(reader.map(|reader| Rotated { reader, until: now.plus(LINGER) }));
                }
            }
        }
        if !rotated_at.is_empty() && resumed.is_none() {
            self.status.rotations += 1;
            self.gap = rotated_at.into_iter().fold(self.gap, |gap, modified| Some(Gap::with(gap, modified)));
        }
        // Others may have come after it and been rotated, too, while nobody looked. This is done when the file is open that has the path now:
        // a look before that would miss one that is rotated in the meantime.
        self.find_between(opened.is_ok().then_some(id), Some(now.plus(LOOK_AGAIN)), now);
        let mut reader = opened?;
        // Under another name it may have been read already.
        if resumed.is_none()
            && let Some(known) = self.world.positions.get(id)
            && known.offset > 0
            && reader.begins_as(known.offset, known.fingerprint)?
        {
            resumed = Some(known.offset);
        }
        // Stored though there is no line yet: what is written while the host is down is then read, whatever name it has by then.
        self.announce = resumed.is_none();
        let start = match resumed {
            Some(offset) => offset,
            None if is_known || from_beginning => 0,
            None => reader.size()?,
        };
        reader.seek(start)?;
        self.sniff(&reader)?;
        self.main = Some(reader);
        self.missing_since = None;
        self.last_growth = now;
        Ok(())
    }

    /// Finds out whether a file is in UTF-16, from the mark at its beginning, unless it is said what it is in.
    fn sniff(&mut self, reader: &Reader) -> io::Result<()> {
        if self.input.config.encoding.is_none() {
            let encoding = match reader.begin(2)?.as_slice() {
                b"\xff\xfe" => Some(encoding_rs::UTF_16LE),
                b"\xfe\xff" => Some(encoding_rs::UTF_16BE),
                _ => None,
            };
            self.charset = Charset::new(encoding);
        }
        Ok(())
    }

    fn read(&mut self, source: Source, last: bool, now: Timestamp) -> io::Result<Option<Pending>> {
        let reader = match source {
            Source::Main => self.main.as_mut(),
            Source::Rotated(index) => self.rotated.get_mut(index).map(|rotated| &mut rotated.reader),
        };
        let Some(reader) = reader else { return Ok(None) };
        let found = reader.read(last, self.charset.unit(), std::mem::take(&mut self.buffer))?;
        let config = &self.input.config;
        let making = Making {
            input: &self.input,
            charset: self.charset,
            detected: &mut self.detected,
            defaults: Defaults {
                service: config.service.as_deref(),
                host: self.world.host.as_deref(),
                now,
                zone: &self.world.zone,
            },
            inside_line: reader.is_inside_line(),
            waiting: reader.waiting,
            elapsed: self.elapsed,
            last,
        };
        let made = making.make(found)?;
        self.buffer = made.buffer;
        reader.waiting = made.waiting;
        let Some(end) = made.end else { return Ok(None) };
        let begin = reader.next;
        let mark = reader.advance(&self.path, end, made.inside_line)?;
        self.last_growth = now;
        self.status.lines += (made.batch.len() + made.raw.len()) as u64;
        self.note_following()?;
        // The position goes with these lines.
        let announces = source == Source::Main && std::mem::take(&mut self.announce);
        let mut pending = self.pending(made.batch, made.raw, end - begin, mark, announces)?;
        pending.truncated = made.truncated;
        Ok(Some(pending))
    }

    fn pending(&self, batch: LogBatch, raw: Vec<RawLine>, bytes: u64, mark: Mark, announces: bool) -> io::Result<Pending> {
        let mut offsets = self.noted.lock().clone();
        for reader in self.rotated.iter().map(|rotated| &rotated.reader).chain(&self.main) {
            offsets.push(reader.position(&self.path, reader.next)?);
        }
        Ok(Pending { batch, raw, offsets, bytes, truncated: 0, mark, announces })
    }

    /// Returns whether another file has the path now. A path without a file leaves the open one as it is for a while: its writer may go on.
    fn was_replaced(&mut self, now: Timestamp) -> io::Result<bool> {
        let Some(main) = &self.main else { return Ok(false) };
        match fs::metadata(&self.path) {
            Ok(metadata) => {
                self.missing_since = None;
                self.modified = metadata.modified().ok().or(self.modified);
                Ok(metadata.is_file() && identity(&metadata) != main.identity())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let since = *self.missing_since.get_or_insert(now);
                Ok(now.since(since) >= LINGER)
            }
            Err(error) => Err(error),
        }
    }

    fn note_following(&mut self) -> io::Result<()> {
        if let Some(main) = &self.main {
            let was = self.status.state;
            self.status.state = FileState::Following;
            self.status.offset = main.offset;
            self.status.size = main.size()?;
            self.status.detail.clear();
            if was == FileState::Missing || was == FileState::Denied || was == FileState::Failed {
                tracing::info!(path = %self.path.display(), "following a file that could not be read before");
            }
        }
        Ok(())
    }

    fn failed(&mut self, error: &io::Error) {
        let path = self.path.display();
        let (state, detail) = match error.kind() {
            io::ErrorKind::NotFound => (FileState::Missing, format!("{path} does not exist yet")),
            io::ErrorKind::PermissionDenied => (FileState::Denied, permission::explain(&self.path)),
            _ => (FileState::Failed, format!("cannot read {path}: {error}")),
        };
        // Said once, not at every look.
        if self.status.state != state {
            if state == FileState::Missing {
                tracing::info!(%path, "waiting for a file to follow: {detail}");
            } else {
                tracing::warn!(%path, "cannot follow a file: {detail}");
            }
        }
        self.missing_since = None;
        self.status.state = state;
        self.status.detail = detail;
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let readers = self.rotated.iter().map(|rotated| &rotated.reader).chain(&self.main);
        for reader in readers {
            self.world.positions.release(reader.identity(), &self.path);
        }
        if let Some((resting, _, _)) = self.resting {
            self.world.positions.release(resting, &self.path);
        }
    }
}
