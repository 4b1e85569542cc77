//! Lines of standard input and their patterns. Lines are read as they come and not kept: four bytes stay of each.

use std::io::{BufRead, Write as _};

use anyhow::Context as _;
use rustc_hash::FxHashMap;
use watchfire_patterns::{Miner, Settings};

use super::super::output::{Output, visible};
use super::super::table::Table;
use super::super::{Answer, Exit};

/// Most bytes of a line that are kept while it is read. The miner does not look further.
const MAX_LINE_BYTES: usize = 64 << 10;
/// Lines between two looks at what the miner has found.
const CHANGES_EVERY: usize = 4096;

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Id and template of each line.
    Ids,
    /// Patterns and their counts, for people.
    Table,
    /// The same, one JSON object a line.
    Json,
}

/// Mines `input`. As [`Shape::Ids`], prints the id and the template of each line; ids and templates are those after the last line, since only
/// then is known which patterns are one. Otherwise prints a table of patterns, the most frequent first.
pub(super) fn mine(mut input: impl BufRead, shape: Shape, out: &mut Output<'_>) -> Answer {
    let mut mined = Mined::new();
    read_lines(&mut input, |line| mined.line(line)).context("cannot read standard input")?;
    mined.finish();
    match shape {
        Shape::Ids => mined.write_ids(out)?,
        Shape::Table => mined.write_table(out)?,
        Shape::Json => mined.write_json(out)?,
    }
    Ok(Exit::Done)
}

/// Calls `each` with every line, without its end.
fn read_lines(input: &mut impl BufRead, mut each: impl FnMut(&[u8])) -> std::io::Result<()> {
    let mut begun: Vec<u8> = Vec::new();
    let mut in_line = false;
    loop {
        let buffer = match input.fill_buf() {
            Ok(buffer) => buffer,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let read = buffer.len();
        if read == 0 {
            if in_line {
                each(&begun);
            }
            return Ok(());
        }
        let mut rest = buffer;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let line = &rest[..end];
            if in_line {
                keep(&mut begun, line);
                each(&begun);
                begun.clear();
                in_line = false;
            } else {
                each(line);
            }
            rest = &rest[end + 1..];
        }
        if !rest.is_empty() {
            keep(&mut begun, rest);
            in_line = true;
        }
        input.consume(read);
    }
}

fn keep(begun: &mut Vec<u8>, part: &[u8]) {
    let room = MAX_LINE_BYTES.saturating_sub(begun.len());
    begun.extend_from_slice(&part[..part.len().min(room)]);
}

struct Mined {
    miner: Miner,
    last_id: u64,
    /// The id that each line was given. Ids count up from 1, one for a pattern: four bytes are enough for what fits in memory.
    lines: Vec<u32>,
    /// Templates of all patterns, also of those that the miner has forgotten since.
    templates: FxHashMap<u32, String>,
    merged: FxHashMap<u32, u32>,
}

impl Mined {
    fn new() -> Self {
        let miner = Miner::new(Settings::default());
        Self { miner, last_id: 0, lines: Vec::new(), templates: FxHashMap::default(), merged: FxHashMap::default() }
    }

    fn line(&mut self, line: &[u8]) {
        let last_id = &mut self.last_id;
        let id = self.miner.assign(line, &mut || {
            *last_id += 1;
            *last_id
        });
        self.lines.push(id as u32);
        if self.lines.len().is_multiple_of(CHANGES_EVERY) {
            self.take_changes();
        }
    }

    fn take_changes(&mut self) {
        let changes = self.miner.take_changes();
        self.templates.extend(changes.patterns.into_iter().map(|pattern| (pattern.id as u32, pattern.template)));
        for (from, into) in changes.merges {
            self.templates.remove(&(from as u32));
            self.merged.insert(from as u32, into as u32);
        }
    }

    fn finish(&mut self) {
        self.miner.settle();
        self.take_changes();
    }

    fn resolve(&self, mut id: u32) -> u32 {
        while let Some(&into) = self.merged.get(&id) {
            id = into;
        }
        id
    }

    fn template(&self, id: u32) -> &str {
        self.templates.get(&id).map_or("", String::as_str)
    }

    fn write_ids(&self, out: &mut Output<'_>) -> std::io::Result<()> {
        for id in &self.lines {
            let id = self.resolve(*id);
            writeln!(out, "{id}\t{}", visible(self.template(id)))?;
        }
        Ok(())
    }

    /// Returns id and count of each pattern, the most frequent first.
    fn counts(&self) -> Vec<(u32, u64)> {
        let mut counts: FxHashMap<u32, u64> = FxHashMap::default();
        for id in &self.lines {
            *counts.entry(self.resolve(*id)).or_default() += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_unstable_by_key(|(id, count)| (std::cmp::Reverse(*count), *id));
        counts
    }

    fn write_json(&self, out: &mut Output<'_>) -> std::io::Result<()> {
        for (id, count) in self.counts() {
            writeln!(out, "{}", serde_json::json!({"id": id.to_string(), "count": count, "template": self.template(id)}))?;
        }
        Ok(())
    }

    fn write_table(&self, out: &mut Output<'_>) -> std::io::Result<()> {
        let mut table = Table::new(&["COUNT", "SHARE", "ID", "PATTERN"]);
        for (id, count) in self.counts() {
            let share = format!("{:.1}%", count as f64 * 100.0 / self.lines.len() as f64);
            table.row(vec![count.to_string(), share, id.to_string(), self.template(id).to_owned()]);
        }
        table.write(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(input: &[u8], shape: Shape) -> String {
        let mut out = Vec::new();
        // A small buffer, so that lines are read in parts.
        let answer = mine(std::io::BufReader::with_capacity(7, input), shape, &mut Output::new(&mut out));
        assert!(matches!(answer, Ok(Exit::Done)));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_line_is_answered_with_what_is_known_at_the_end() {
        let lines = b"session opened for user alice now\n\nqueue is empty\nsession opened for user bob now";
        insta::assert_snapshot!(run(lines, Shape::Ids), @r"
        1	session opened for user <*> now
        2	
        3	queue is empty
        1	session opened for user <*> now
        ");
        insta::assert_snapshot!(run(lines, Shape::Table), @r"
        COUNT  SHARE  ID  PATTERN
        2      50.0%  1   session opened for user <*> now
        1      25.0%  2
        1      25.0%  3   queue is empty
        ");
        assert_eq!(
            run(lines, Shape::Json).lines().next(),
            Some(r#"{"id":"1","count":2,"template":"session opened for user <*> now"}"#)
        );
    }

    #[test]
    fn a_line_without_end_is_one_line() {
        let answer = run(&[&vec![b'x'; 1 << 20][..], b"\nshort\n"].concat(), Shape::Ids);
        assert_eq!(answer.lines().count(), 2);
        assert!(answer.len() < 100);
    }

    #[test]
    fn nothing_gives_nothing() {
        assert_eq!(run(b"", Shape::Ids), "");
        assert_eq!(run(b"", Shape::Table), "COUNT  SHARE  ID  PATTERN\n");
    }
}
