//! Follows one path through growth, rotation, truncation, absence and restarts.
//!
//! [`Tail::step`] looks once and returns what is to be stored; [`Tail::commit`] says that it was. Until then nothing moves on, so a
//! refused batch is read again. No clock, no sleeping, no async: the loop around it is in [`super`].

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;
use watchfire_types::attributes::keys;
use watchfire_types::{LogBatch, Severity, Timestamp, ValueRef};

use super::permission;
use super::reader::{Reader, identity};
use super::status::{FileState, FileStatus};
use crate::config::FileInput;
use crate::inputs::builder::BatchBuilder;
use crate::inputs::ndjson::{self, Defaults, LineRefused};
use crate::inputs::syslog_prefix;
use crate::logs::FileOffset;

/// How long a rotated file is still read: its writer may not have noticed yet, or finish what it began.
pub const LINGER: Duration = Duration::from_secs(30);

/// Most rotated files read at a time.
const MAX_LINGERING: usize = 8;

/// Bytes that must be equal before a file counts as the copy of a truncated one.
const MIN_COPY_BYTES: u64 = 64;

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
    /// Positions of every open file of this path, to be stored with them; the file under the path itself comes last.
    pub offsets: Vec<FileOffset>,
    /// Bytes of the lines.
    pub bytes: u64,
    source: Source,
    position: FileOffset,
    inside_line: bool,
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

/// A followed path.
#[derive(Debug)]
pub struct Tail {
    input: FileInput,
    host: Option<String>,
    zone: TimeZone,
    /// Positions of earlier runs that have not been found again yet.
    stored: Vec<FileOffset>,
    main: Option<Reader>,
    rotated: Vec<Rotated>,
    /// Whether the path has been looked at, so that a file that appears now is new.
    looked: bool,
    /// A position to store though there is no line: that of a file that is followed from its end.
    announce: bool,
    /// Where the lines ended of which the last were left, since more of a stack trace may come, and whether nothing did.
    waiting: Option<(u64, bool)>,
    status: FileStatus,
    last_growth: Timestamp,
}

impl Tail {
    /// Returns a tail of `input` that goes on from `stored`, of which those of other paths are left aside.
    #[must_use]
    pub fn new(input: FileInput, host: Option<String>, zone: TimeZone, stored: &[FileOffset]) -> Self {
        let path = input.path.to_string_lossy();
        let stored = stored.iter().filter(|offset| offset.path == path).cloned().collect();
        Self {
            status: FileStatus::new(&input.path),
            input,
            host,
            zone,
            stored,
            main: None,
            rotated: Vec::new(),
            looked: false,
            announce: false,
            waiting: None,
            last_growth: Timestamp::ZERO,
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
        &self.input.path
    }

    /// Returns whether it should be looked at again soon, even if nobody calls.
    #[must_use]
    pub fn is_lively(&self, now: Timestamp) -> bool {
        !self.rotated.is_empty() || now.since(self.last_growth) < Duration::from_secs(60)
    }

    /// Looks once. What fails is in the status, and is tried again at the next look.
    pub fn step(&mut self, now: Timestamp) -> Step {
        match self.try_step(now) {
            Ok(step) => step,
            Err(error) => {
                self.failed(&error);
                Step::Idle
            }
        }
    }

    fn try_step(&mut self, now: Timestamp) -> io::Result<Step> {
        if self.main.is_none() {
            self.open(now)?;
        }
        for index in 0..self.rotated.len() {
            let last = now >= self.rotated[index].until;
            if let Some(pending) = self.read(Source::Rotated(index), last, now)? {
                self.rotated[index].until = self.rotated[index].until.max(now.plus(LINGER));
                return Ok(Step::Batch(Box::new(pending)));
            }
        }
        self.rotated.retain(|rotated| now < rotated.until);
        let Some(main) = &mut self.main else { return Ok(Step::Idle) };
        if main.was_truncated()? {
            tracing::info!(path = %self.input.path.display(), "a followed file was truncated; it is read from its beginning");
            let (offset, fingerprint) = (main.offset, main.position(&self.input.path, main.offset)?.fingerprint);
            main.seek(0)?;
            if let Some(copy) = self.find_copy(offset, fingerprint) {
                self.rotated.push(Rotated { reader: copy, until: now });
                return self.try_step(now);
            }
        }
        if let Some(pending) = self.read(Source::Main, false, now)? {
            return Ok(Step::Batch(Box::new(pending)));
        }
        // Only at its end is a file let go of for the one that took its name.
        if self.was_replaced()? {
            if let Some(reader) = self.main.take() {
                self.rotated.push(Rotated { reader, until: now.plus(LINGER) });
                let surplus = self.rotated.len().saturating_sub(MAX_LINGERING);
                self.rotated.drain(..surplus);
            }
            return self.try_step(now);
        }
        if self.announce
            && let Some(main) = &self.main
        {
            let position = main.position(&self.input.path, main.offset)?;
            let pending = self.pending(LogBatch::default(), 0, Source::Main, position, false)?;
            return Ok(Step::Batch(Box::new(pending)));
        }
        self.note_following()?;
        self.waiting = self.waiting.map(|(end, _)| (end, true));
        Ok(Step::Idle)
    }

    /// Takes note that what [`Self::step`] returned is durable.
    pub fn commit(&mut self, pending: &Pending) {
        let reader = match pending.source {
            Source::Main => self.main.as_mut(),
            Source::Rotated(index) => self.rotated.get_mut(index).map(|rotated| &mut rotated.reader),
        };
        if let Some(reader) = reader {
            reader.commit(&pending.position, pending.inside_line);
        }
        self.announce = false;
    }

    /// Opens the path, and finds what was left unread of the file that had its name before.
    fn open(&mut self, now: Timestamp) -> io::Result<()> {
        let opened = match Reader::open(&self.input.path) {
            // It is there but cannot be read: what is known about it holds until it can.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            opened => opened,
        };
        let first_look = !std::mem::replace(&mut self.looked, true);
        let (device, inode) = opened.as_ref().map_or((0, 0), |reader| (reader.device, reader.inode));
        let mut resumed = None;
        let mut is_known = false;
        for stored in std::mem::take(&mut self.stored) {
            is_known = true;
            let is_main = stored.device == device && stored.inode == inode && opened.is_ok();
            let same = |reader: &Reader| reader.begins_as(stored.offset, stored.fingerprint).unwrap_or(false);
            if is_main && opened.as_ref().is_ok_and(same) {
                resumed = Some(stored.offset);
            } else if is_main {
                tracing::info!(path = %self.input.path.display(), "a followed file was truncated meanwhile; it is read from its beginning");
                let copy = self.find_copy(stored.offset, stored.fingerprint);
                self.rotated.extend(copy.map(|reader| Rotated { reader, until: now }));
            } else if let Some(mut reader) = self.find_inode(stored.device, stored.inode)
                && same(&reader)
            {
                reader.seek(stored.offset)?;
                self.rotated.push(Rotated { reader, until: now.plus(LINGER) });
            }
        }
        let mut reader = opened?;
        let start = match resumed {
            Some(offset) => offset,
            None if is_known || !first_look || self.input.from_beginning => 0,
            None => {
                // Stored though there is no line yet: what is written while the host is down is then read.
                self.announce = true;
                reader.size()?
            }
        };
        reader.seek(start)?;
        self.main = Some(reader);
        self.last_growth = now;
        Ok(())
    }

    fn read(&mut self, source: Source, last: bool, now: Timestamp) -> io::Result<Option<Pending>> {
        let reader = match source {
            Source::Main => self.main.as_ref(),
            Source::Rotated(index) => self.rotated.get(index).map(|rotated| &rotated.reader),
        };
        let Some(reader) = reader else { return Ok(None) };
        let mut chunk = reader.read(last)?;
        let is_error =
            |line: &str| !line.starts_with('{') && syslog_prefix::parse(line, now, &self.zone).severity >= Severity::ERROR;
        chunk.join(is_error);
        // Its other lines are waited for until there has been a look at which nothing came; then it is taken as it is.
        if chunk.is_open() && source == Source::Main && self.waiting != Some((chunk.end, true)) {
            self.waiting = Some((chunk.end, false));
            self.last_growth = now;
            chunk.leave_last();
        }
        if chunk.is_empty() {
            return Ok(None);
        }
        let position = reader.position(&self.input.path, chunk.end)?;
        let bytes = chunk.end - reader.offset;
        let mut builder = BatchBuilder::new(usize::MAX);
        let path = self.input.path.to_string_lossy();
        let defaults = Defaults { service: self.input.service.as_deref(), host: self.host.as_deref(), now, zone: &self.zone };
        let stem = self.input.path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        chunk
            .for_each(|text, truncated, continued| {
                push_line(&mut builder, text, continued, &defaults, stem.as_deref())?;
                builder.attribute(keys::LOG_FILE_PATH, ValueRef::Text(&path));
                if truncated {
                    builder.attribute("truncated", ValueRef::Bool(true));
                }
                Ok(())
            })
            .map_err(|error: crate::inputs::builder::OverBudget| io::Error::other(error))?;
        self.last_growth = now;
        self.note_following()?;
        self.pending(builder.finish(), bytes, source, position, chunk.inside_line).map(Some)
    }

    fn pending(&self, batch: LogBatch, bytes: u64, source: Source, position: FileOffset, inside_line: bool) -> io::Result<Pending> {
        let mut offsets = Vec::with_capacity(self.rotated.len() + 1);
        let readers = self.rotated.iter().enumerate().map(|(index, rotated)| (Source::Rotated(index), &rotated.reader));
        for (of, reader) in readers.chain(self.main.iter().map(|reader| (Source::Main, reader))) {
            offsets.push(if of == source { position.clone() } else { reader.position(&self.input.path, reader.offset)? });
        }
        Ok(Pending { batch, offsets, bytes, source, position, inside_line })
    }

    /// Returns whether another file has the path now. A path without a file leaves the open one as it is: its writer may go on.
    fn was_replaced(&self) -> io::Result<bool> {
        let Some(main) = &self.main else { return Ok(false) };
        match fs::metadata(&self.input.path) {
            Ok(metadata) => Ok(metadata.is_file() && identity(&metadata) != (main.device, main.inode)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Finds a file that was rotated, beside its old name.
    fn find_inode(&self, device: u64, inode: u64) -> Option<Reader> {
        let path = self.siblings().find(|path| fs::metadata(path).is_ok_and(|metadata| identity(&metadata) == (device, inode)))?;
        // Between the look and the opening it may have moved on again.
        Reader::open(&path).ok().filter(|reader| (reader.device, reader.inode) == (device, inode))
    }

    /// Finds the copy that was made of a file before it was truncated, with lines that had not been read.
    fn find_copy(&self, offset: u64, fingerprint: u64) -> Option<Reader> {
        if offset < MIN_COPY_BYTES {
            return None;
        }
        self.siblings().find_map(|path| {
            let mut reader = Reader::open(&path).ok()?;
            let is_copy = reader.begins_as(offset, fingerprint).ok()? && reader.size().ok()? > offset;
            is_copy.then(|| reader.seek(offset).ok())??;
            Some(reader)
        })
    }

    /// Returns files in the same folder whose names begin with the name of this one.
    fn siblings(&self) -> impl Iterator<Item = PathBuf> + use<'_> {
        let name = self.input.path.file_name().unwrap_or_default();
        let folder = self.input.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path()).filter(move |path| {
            path.file_name().is_some_and(|other| other != name && other.as_encoded_bytes().starts_with(name.as_encoded_bytes()))
        })
    }

    fn note_following(&mut self) -> io::Result<()> {
        if let Some(main) = &self.main {
            let was = self.status.state;
            self.status = FileStatus {
                state: FileState::Following,
                offset: main.offset,
                size: main.size()?,
                detail: String::new(),
                ..self.status.clone()
            };
            if was == FileState::Missing || was == FileState::Denied || was == FileState::Failed {
                tracing::info!(path = %self.input.path.display(), "following a file that could not be read before");
            }
        }
        Ok(())
    }

    fn failed(&mut self, error: &io::Error) {
        let path = self.input.path.display();
        let (state, detail) = match error.kind() {
            io::ErrorKind::NotFound => (FileState::Missing, format!("{path} does not exist yet")),
            io::ErrorKind::PermissionDenied => (FileState::Denied, permission::explain(&self.input.path)),
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
        self.status.state = state;
        self.status.detail = detail;
    }
}

/// Appends one line as a record.
fn push_line(
    builder: &mut BatchBuilder,
    text: &str,
    continued: bool,
    defaults: &Defaults<'_>,
    stem: Option<&str>,
) -> Result<(), crate::inputs::builder::OverBudget> {
    let named = Defaults { service: defaults.service.or(stem), ..*defaults };
    if continued {
        return ndjson::push_plain(builder, text, &named);
    }
    if text.starts_with('{') && text.ends_with('}') {
        match ndjson::push_json(builder, text, &named) {
            Ok(()) => return Ok(()),
            Err(LineRefused::OverBudget(error)) => return Err(error),
            // Not JSON after all, or with a time that cannot be read: a line of a file is never refused.
            Err(LineRefused::Reason(_)) => {}
        }
    }
    ndjson::push_text(builder, text, defaults, stem)
}
