//! Lines that come from elsewhere than a file: they become records in the same ways, but cannot be read again.

use std::time::Duration;

use jiff::tz::TimeZone;
use watchfire_types::attributes::keys;
use watchfire_types::{LogBatch, Timestamp, Value};

use super::chunk::Charset;
use super::reader::{Lines, Waiting, lines_of};
use super::records::{Made, Making};
use super::{BadInput, Input};
use crate::config::FileInput;
use crate::inputs::formats::{Defaults, Detected, Format};
use crate::inputs::{LineSource, RawLine};

/// A stream of bytes with lines in it.
#[derive(Debug)]
pub struct LineStream {
    name: &'static str,
    input: Input,
    detected: Detected,
    charset: Charset,
    /// `host.name` of lines that name no host.
    host: Option<String>,
    /// Zone of times that name none.
    zone: TimeZone,
    /// What has not become records yet.
    bytes: Vec<u8>,
    /// How many bytes there were before.
    start: u64,
    inside_line: bool,
    waiting: Option<Waiting>,
}

/// Lines that became records, or that a component is to read.
#[derive(Debug, Default)]
pub struct Taken {
    /// The records.
    pub batch: LogBatch,
    /// Lines for the parser component that the format names, instead of the records.
    pub raw: Vec<RawLine>,
    /// Bytes of the lines.
    pub bytes: u64,
}

impl LineStream {
    /// Returns a stream called `name`, which is the service of lines for which nobody names one. `config` has no paths.
    ///
    /// # Errors
    /// [`BadInput`] if a pattern is wrong; the configuration has checked them before.
    pub fn new(name: &'static str, config: FileInput, host: Option<String>, zone: TimeZone) -> Result<Self, BadInput> {
        let mut detected = Detected::new(config.format.clone());
        detected.unnamed = Some(name.to_owned());
        detected.resource = config.attributes.iter().map(|(key, value)| (key.clone(), Value::Text(value.clone()))).collect();
        let charset = Charset::new(config.encoding);
        let input = Input::new(config)?;
        let (bytes, waiting) = (Vec::new(), None);
        Ok(Self { name, input, detected, charset, host, zone, bytes, start: 0, inside_line: false, waiting })
    }

    /// Returns the parser component that reads its lines, and what it is told of them.
    #[must_use]
    pub fn parser(&self) -> Option<(String, LineSource)> {
        let Format::Parser(parser) = &self.input.config.format else { return None };
        let host = self.host.iter().map(|host| (keys::HOST_NAME.to_owned(), Value::Text(host.clone())));
        let resource = host.chain(self.detected.resource.iter().cloned()).collect();
        let service = self.input.config.service.clone().unwrap_or_else(|| self.name.to_owned());
        Some((parser.clone(), LineSource { name: self.name.to_owned(), service, resource }))
    }

    /// Adds bytes that have come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns how long lines that may still grow are to be left alone; `None` if there are none.
    #[must_use]
    pub fn waits(&self, elapsed: Duration) -> Option<Duration> {
        let timeout = self.input.config.multiline.timeout;
        self.waiting.map(|waiting| timeout.saturating_sub(elapsed.saturating_sub(waiting.since)))
    }

    /// Makes records of the lines that have come, but for those that may still grow; with `last`, of everything. `elapsed` is the time
    /// since any moment, the same in all calls. To be called until it returns `None`.
    pub fn take(&mut self, now: Timestamp, elapsed: Duration, last: bool) -> Option<Taken> {
        let split = lines_of(&self.bytes, self.inside_line, last, self.charset.unit());
        let found = Lines { bytes: self.bytes.clone(), lines: split.lines, start: self.start, is_all: split.is_all };
        let service = self.input.config.service.as_deref();
        let making = Making {
            input: &self.input,
            charset: self.charset,
            detected: &mut self.detected,
            defaults: Defaults { service, host: self.host.as_deref(), now, zone: &self.zone },
            inside_line: self.inside_line,
            waiting: self.waiting,
            elapsed,
            last,
        };
        let made = making.make(found).unwrap_or_else(|error| {
            tracing::error!(%error, "lines of a stream cannot be read");
            Made { end: Some(self.start + self.bytes.len() as u64), ..Made::default() }
        });
        self.waiting = made.waiting;
        let bytes = made.end? - self.start;
        self.inside_line = made.inside_line;
        self.start += bytes;
        self.bytes.drain(..bytes as usize);
        Some(Taken { batch: made.batch, raw: made.raw, bytes })
    }
}
