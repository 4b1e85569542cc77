//! Drives a parser as the host does.

use std::collections::BTreeMap;

use super::FakeHost;
use crate::{Origin, Parser, Result, parse_lines, set_up};

/// A parser with a host of its own.
pub struct ParserTester<P> {
    host: FakeHost,
    parser: P,
}

/// What a line became.
#[derive(Clone, Debug, PartialEq)]
pub enum ParsedLine {
    /// A record.
    Record {
        /// When it happened, in nanoseconds since 1970; 0 when the parser does not say.
        time: u64,
        /// Severity number.
        severity: u8,
        /// Its message.
        body: String,
        /// Its attributes as text, by name.
        attributes: BTreeMap<String, String>,
    },
    /// It is left out.
    Dropped,
    /// It goes on with the line before.
    Continues,
    /// It is stored as it is.
    NotUnderstood,
}

impl<P: Parser> ParserTester<P> {
    /// Sets a parser up with its section of the configuration.
    ///
    /// # Errors
    /// What it says to that.
    #[expect(clippy::needless_pass_by_value, reason = "tests write `json!` there")]
    pub fn new(config: serde_json::Value) -> Result<Self> {
        let host = FakeHost::new().config(config.clone());
        let parser = host.run(|| set_up(&config.to_string(), P::init))?;
        Ok(Self { host, parser })
    }

    /// Returns what the parser makes of `lines`.
    ///
    /// # Errors
    /// What it says to that.
    pub fn parse(&mut self, lines: &[&str]) -> Result<Vec<ParsedLine>> {
        let mut offsets = vec![0];
        let mut bytes = Vec::new();
        for line in lines {
            bytes.extend_from_slice(line.as_bytes());
            offsets.push(bytes.len() as u32);
        }
        let origin = Origin { source: "/var/log/test.log", service: "test", now: 1_795_392_600_000_000_000 };
        let parsed = self.host.run(|| parse_lines(&mut self.parser, &origin, &offsets, &bytes))?;
        let text = |column: &crate::bindings::host::logs::TextColumn, row: usize| {
            String::from_utf8_lossy(&column.bytes[column.offsets[row] as usize..column.offsets[row + 1] as usize]).into_owned()
        };
        let mut record = 0;
        let line = |status: &u8| match *status {
            0 => {
                let row = record;
                record += 1;
                let columns = &parsed.attributes;
                let mine = (0..columns.row.len()).filter(|index| columns.row[*index] as usize == row);
                let attribute = |index: usize| (parsed.dict[columns.key[index] as usize].clone(), text(&columns.data, index));
                ParsedLine::Record {
                    time: parsed.time[row],
                    severity: parsed.severity[row],
                    body: text(&parsed.body, row),
                    attributes: mine.map(attribute).collect(),
                }
            }
            1 => ParsedLine::Dropped,
            2 => ParsedLine::Continues,
            _ => ParsedLine::NotUnderstood,
        };
        Ok(parsed.status.iter().map(line).collect())
    }
}
