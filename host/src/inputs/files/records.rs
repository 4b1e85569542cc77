//! From lines to records: what both files and streams do with them.

use std::io;
use std::time::Duration;

use watchfire_types::{LogBatch, Severity, ValueRef};

use super::Input;
use super::chunk::{Charset, Chunk, Opened};
use super::reader::{Lines, Waiting};
use crate::inputs::RawLine;
use crate::inputs::builder::{BatchBuilder, OverBudget};
use crate::inputs::formats::{self, Defaults, Detected, Format};

/// What is known when lines become records.
pub(super) struct Making<'a> {
    pub(super) input: &'a Input,
    pub(super) charset: Charset,
    pub(super) detected: &'a mut Detected,
    pub(super) defaults: Defaults<'a>,
    /// Whether the first byte lies inside a line that was too long.
    pub(super) inside_line: bool,
    /// Lines that were left to grow at the last look.
    pub(super) waiting: Option<Waiting>,
    /// The time since some moment, as `waiting` counts it.
    pub(super) elapsed: Duration,
    /// Whether nothing more can come.
    pub(super) last: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) batch: LogBatch,
    /// Lines for a parser component, instead of the records.
    pub(super) raw: Vec<RawLine>,
    /// Lines that were longer than a line may be, or pieces of them.
    pub(super) truncated: u64,
    /// Offset after the last line that is in it; `None` if there is none.
    pub(super) end: Option<u64>,
    /// Whether that lies inside a line that was too long.
    pub(super) inside_line: bool,
    pub(super) waiting: Option<Waiting>,
    /// To be used for the next ones.
    pub(super) buffer: Vec<u8>,
}

impl Making<'_> {
    /// Makes records of all lines but those that may still grow.
    pub(super) fn make(self, found: Lines) -> io::Result<Made> {
        let Self { input, charset, detected, defaults, inside_line, waiting, elapsed, last } = self;
        if found.lines.is_empty() {
            return Ok(Made { buffer: found.bytes, inside_line, ..Made::default() });
        }
        let (is_all, begin) = (found.is_all, found.start);
        let mut chunk = Chunk::new(found, charset, inside_line, |line| Some(Opened::new(line, detected.unwrap(line, &defaults)?)));
        chunk.join(&input.rules, &mut |line| detected.severity(line, &defaults) >= Severity::ERROR);
        // What may still grow is left until it has had time to; then it is taken as it is.
        let mut made = Made::default();
        let mut close_first = !is_all && chunk.open().is_some_and(|(start, _)| start == begin);
        if is_all && let Some((start, lines)) = chunk.open() {
            let known = waiting.filter(|waiting| (waiting.start, waiting.lines) == (start, lines));
            let waiting = known.unwrap_or(Waiting { start, lines, since: elapsed });
            close_first = last || elapsed.saturating_sub(waiting.since) >= input.config.multiline.timeout;
            made.waiting = (!close_first).then_some(waiting);
        }
        chunk.leave_open(close_first);
        if chunk.is_empty() {
            return Ok(Made { buffer: chunk.into_buffer(), inside_line, ..made });
        }
        let mut builder = BatchBuilder::new(usize::MAX);
        let is_component = matches!(input.config.format, Format::Parser(_));
        chunk
            .for_each(|line| {
                made.truncated += u64::from(line.truncated);
                if is_component {
                    made.raw.push(RawLine { text: line.text.to_owned(), given: line.given });
                    return Ok(());
                }
                if line.continued || line.truncated {
                    formats::push_plain(&mut builder, line.text, line.given, &defaults, detected)?;
                } else {
                    formats::parse_given(&mut builder, line.text, line.given, &defaults, detected)?;
                }
                if line.truncated {
                    builder.attribute("truncated", ValueRef::Bool(true));
                }
                Ok(())
            })
            .map_err(|error: OverBudget| io::Error::other(error))?;
        (made.end, made.inside_line) = (Some(chunk.end()), chunk.ends_inside_line());
        made.batch = builder.finish();
        made.buffer = chunk.into_buffer();
        Ok(made)
    }
}
