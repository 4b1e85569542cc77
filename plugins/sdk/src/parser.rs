//! Parsers: lines in a format that the host does not know.

use std::collections::HashMap;

use serde::de::DeserializeOwned;

use crate::bindings::host::logs::{AttributeColumns, TextColumn};
use crate::bindings::parser::Parsed;
use crate::{Descriptor, Result};

/// Reads lines. One lives as long as all is well; it must not rely on seeing every line of a file, nor on their order between calls.
pub trait Parser: Sized {
    /// Its section of the configuration.
    type Config: DeserializeOwned;

    /// Says what it is.
    fn descriptor() -> Descriptor;

    /// Makes one from its section, which has passed the schema.
    ///
    /// # Errors
    /// If the section makes no sense: [`Error::configuration`](crate::Error::configuration) with the key.
    fn init(config: Self::Config) -> Result<Self>;

    /// Says what a line is, by exactly one of the methods of `out`. A line for which it calls none is one that it does not understand.
    ///
    /// # Errors
    /// If it cannot go on; the host then stores all lines of this call as they are.
    fn line(&mut self, line: &str, of: &Origin<'_>, out: &mut Records) -> Result<()>;

    /// Says what a person should read after "test this plugin".
    ///
    /// # Errors
    /// What keeps it from working.
    fn self_test(&mut self) -> Result<String> {
        Ok("its configuration is good".to_owned())
    }
}

/// Where lines come from.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Path of the file, or name of the input.
    pub source: &'a str,
    /// The service that the host takes them for.
    pub service: &'a str,
    /// The host's clock, in nanoseconds since 1970.
    pub now: u64,
}

const RECORD: u8 = 0;
const DROPPED: u8 = 1;
const CONTINUES: u8 = 2;
const RAW: u8 = 3;

/// What the lines of a call are.
#[derive(Debug)]
pub struct Records {
    parsed: Parsed,
    words: HashMap<String, u32>,
    has_ids: bool,
}

impl Default for Records {
    fn default() -> Self {
        let empty = || TextColumn { offsets: vec![0], bytes: Vec::new() };
        Self {
            parsed: Parsed {
                status: Vec::new(),
                time: Vec::new(),
                severity: Vec::new(),
                body: empty(),
                attributes: AttributeColumns { row: Vec::new(), key: Vec::new(), kind: Vec::new(), data: empty() },
                trace: Vec::new(),
                span: Vec::new(),
                dict: Vec::new(),
            },
            words: HashMap::new(),
            has_ids: false,
        }
    }
}

impl Records {
    /// Says that the line is a record with this body. What else is known of it is added to what this returns.
    pub fn record(&mut self, body: &str) -> Record<'_> {
        self.parsed.status.push(RECORD);
        self.parsed.time.push(0);
        self.parsed.severity.push(0);
        push(&mut self.parsed.body, body);
        if self.has_ids {
            self.parsed.trace.extend([0; 16]);
            self.parsed.span.extend([0; 8]);
        }
        Record(self)
    }

    /// Says that the line is to be left out.
    pub fn drop_line(&mut self) {
        self.parsed.status.push(DROPPED);
    }

    /// Says that the line goes on with the one before, as the lines of a stack trace do.
    pub fn continues(&mut self) {
        self.parsed.status.push(CONTINUES);
    }

    /// Says that the line is not understood: the host stores it as it is.
    pub fn not_understood(&mut self) {
        self.parsed.status.push(RAW);
    }

    /// Returns how many lines something has been said of.
    pub fn lines(&self) -> usize {
        self.parsed.status.len()
    }

    /// Returns the columns, for lines of which so many there are.
    #[doc(hidden)]
    pub fn finish(mut self, lines: usize) -> Parsed {
        self.parsed.status.resize(lines, RAW);
        self.parsed
    }

    fn word(&mut self, word: &str) -> u32 {
        if let Some(index) = self.words.get(word) {
            return *index;
        }
        let index = self.parsed.dict.len() as u32;
        self.parsed.dict.push(word.to_owned());
        self.words.insert(word.to_owned(), index);
        index
    }
}

fn push(column: &mut TextColumn, text: &str) {
    column.bytes.extend_from_slice(text.as_bytes());
    column.offsets.push(column.bytes.len() as u32);
}

/// The record that a line is.
#[derive(Debug)]
pub struct Record<'a>(&'a mut Records);

impl Record<'_> {
    /// Sets when it happened, in nanoseconds since 1970. Without, it is the time at which the line was read.
    pub fn time(self, nanos: u64) -> Self {
        if let Some(time) = self.0.parsed.time.last_mut() {
            *time = nanos;
        }
        self
    }

    /// Sets its severity number: see [`crate::severity`].
    pub fn severity(self, severity: u8) -> Self {
        if let Some(last) = self.0.parsed.severity.last_mut() {
            *last = severity;
        }
        self
    }

    /// Sets the ids of trace and span.
    pub fn ids(self, trace: [u8; 16], span: [u8; 8]) -> Self {
        let records = self.0.parsed.time.len();
        if !self.0.has_ids {
            self.0.has_ids = true;
            self.0.parsed.trace = vec![0; records * 16];
            self.0.parsed.span = vec![0; records * 8];
        }
        self.0.parsed.trace[(records - 1) * 16..].copy_from_slice(&trace);
        self.0.parsed.span[(records - 1) * 8..].copy_from_slice(&span);
        self
    }

    /// Adds a text attribute. `service.name` and `host.name` say what produced the record.
    pub fn text(self, key: &str, value: &str) -> Self {
        self.value(key, 1, value)
    }

    /// Adds a boolean attribute.
    pub fn boolean(self, key: &str, value: bool) -> Self {
        self.value(key, 2, if value { "true" } else { "false" })
    }

    /// Adds an integer attribute.
    pub fn integer(self, key: &str, value: i64) -> Self {
        self.value(key, 3, &value.to_string())
    }

    /// Adds a float attribute.
    pub fn float(self, key: &str, value: f64) -> Self {
        self.value(key, 4, &value.to_string())
    }

    /// Adds an array or a map, as JSON.
    pub fn json(self, key: &str, json: &str) -> Self {
        self.value(key, 6, json)
    }

    fn value(self, key: &str, kind: u8, text: &str) -> Self {
        let key = self.0.word(key);
        let row = self.0.parsed.time.len() as u32 - 1;
        let attributes = &mut self.0.parsed.attributes;
        attributes.row.push(row);
        attributes.key.push(key);
        attributes.kind.push(kind);
        push(&mut attributes.data, text);
        self
    }
}

/// Lets a parser read lines as the host hands them over.
#[doc(hidden)]
pub fn parse<P: Parser>(parser: &mut P, origin: &Origin<'_>, offsets: &[u32], bytes: &[u8]) -> Result<Parsed> {
    let mut out = Records::default();
    let count = offsets.len().saturating_sub(1);
    for index in 0..count {
        let line = bytes.get(offsets[index] as usize..offsets[index + 1] as usize).unwrap_or_default();
        match str::from_utf8(line) {
            Ok(line) => parser.line(line, origin, &mut out)?,
            Err(_) => out.not_understood(),
        }
        // Of each line something has been said, and nothing twice.
        while out.parsed.status.len() <= index {
            out.not_understood();
        }
        if out.parsed.status.len() > index + 1 {
            return Err(crate::Error::internal(format!("line {index} was said to be two things")));
        }
    }
    Ok(out.finish(count))
}
