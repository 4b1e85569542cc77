//! Rows for people: columns that line up, short times, levels as words.

use std::io::Write;

use jiff::tz::TimeZone;
use serde_json::Value;
use watchfire_types::Timestamp;

use crate::config::HumanDuration;

/// A table whose columns line up.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Returns a table with these column titles.
    pub(super) fn new(titles: &[&str]) -> Self {
        Self { rows: vec![titles.iter().map(|title| (*title).to_owned()).collect()] }
    }

    /// Appends a row.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        // A cell is one line of visible characters, whatever stands in it.
        let clean = |cell: String| cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.rows.push(cells.into_iter().map(clean).collect());
    }

    /// Returns whether it has titles only.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    /// Writes it; the last column is not padded.
    pub(super) fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let columns = self.rows[0].len();
        let widths: Vec<usize> =
            (0..columns).map(|column| self.rows.iter().map(|row| width(&row[column])).max().unwrap_or(0)).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, wide) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', wide + 2 - width(cell)));
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Returns the columns that `text` takes on a terminal: two for the wide characters of East Asia.
fn width(text: &str) -> usize {
    let wide = |c: char| matches!(u32::from(c), 0x1100..=0x115F | 0x2E80..=0xA4CF | 0xAC00..=0xD7A3 | 0xF900..=0xFAFF | 0xFE30..=0xFE6F | 0xFF00..=0xFF60 | 0x1F300..=0x1FAFF | 0x20000..=0x3FFFD);
    text.chars().map(|c| if wide(c) { 2 } else { 1 }).sum()
}

/// How times are shown: in a zone, and the shorter the nearer.
#[derive(Clone)]
pub(super) struct Times {
    pub(super) now: Timestamp,
    pub(super) zone: TimeZone,
}

impl Times {
    /// Returns the present time in the zone of this machine.
    pub(super) fn here() -> Self {
        Self { now: crate::clock::Clock::system().now(), zone: TimeZone::system() }
    }

    /// Returns `08:30:00` for today, `11-21 08:30` for this year, `2025-11-21` before that; `-` for none.
    pub(super) fn short(&self, value: &Value) -> String {
        let Some(time) = value.as_str().and_then(|text| text.parse::<Timestamp>().ok()).filter(|time| *time != Timestamp::ZERO)
        else {
            return "-".to_owned();
        };
        let (Some(then), Some(now)) = (self.zoned(time), self.zoned(self.now)) else { return time.to_string() };
        let format = match () {
            () if then.date() == now.date() => "%H:%M:%S",
            () if then.year() == now.year() => "%m-%d %H:%M",
            () => "%Y-%m-%d",
        };
        then.strftime(format).to_string()
    }

    /// Returns the time with all that a line of a log needs: `11-21 08:30:00.123`.
    pub(super) fn line(&self, value: &Value) -> String {
        let time = value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
        time.and_then(|time| self.zoned(time))
            .map_or_else(|| "-".to_owned(), |time| time.strftime("%m-%d %H:%M:%S%.3f").to_string())
    }

    fn zoned(&self, time: Timestamp) -> Option<jiff::Zoned> {
        Some(jiff::Timestamp::from_nanosecond(i128::from(time.as_nanos())).ok()?.to_zoned(self.zone.clone()))
    }
}

/// Returns a value as text: text as it is, `-` for nothing, lists and objects in one line.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.as_f64().filter(|_| number.is_f64()).map_or_else(|| number.to_string(), short_number),
        other => other.to_string(),
    }
}

/// Returns a value of a column of a query: times as everywhere, the rest as text.
pub(super) fn cell(column: &str, value: &Value, times: &Times) -> String {
    let is_time = value.as_str().is_some_and(|text| text.len() >= 20 && text.ends_with('Z') && text.parse::<Timestamp>().is_ok());
    if is_time && !column.is_empty() { times.line(value) } else { text(value) }
}

/// Returns a number with at most four digits after the point.
pub(super) fn short_number(number: f64) -> String {
    let text = format!("{number:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Returns labels, a map or a list of pairs, as `a=b c=d`.
pub(super) fn labels(value: &Value) -> String {
    let pairs: Vec<String> = match value {
        Value::Object(map) => map.iter().map(|(key, value)| format!("{key}={}", text(value))).collect(),
        Value::Array(pairs) => pairs.iter().map(|pair| format!("{}={}", text(&pair[0]), text(&pair[1]))).collect(),
        _ => Vec::new(),
    };
    if pairs.is_empty() { "-".to_owned() } else { pairs.join(" ") }
}

/// Returns bytes as `12.3 MB`.
pub(super) fn bytes(count: u64) -> String {
    let units = [("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    let fitting = units.iter().find(|(_, size)| count as f64 >= *size);
    fitting.map_or_else(|| format!("{count} B"), |(unit, size)| format!("{:.1} {unit}", count as f64 / size))
}

/// Returns `1234567` as `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns a length of time, to the second.
pub(super) fn seconds(count: u64) -> String {
    HumanDuration::from_secs(count).to_string()
}

/// Writes rows as one JSON object a line.
pub(super) fn json_lines(rows: &[Value], out: &mut dyn Write) -> std::io::Result<()> {
    rows.iter().try_for_each(|row| writeln!(out, "{row}"))
}

/// Returns the list at `key` of an answer.
pub(super) fn rows<'a>(answer: &'a Value, key: &str) -> &'a [Value] {
    answer[key].as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_line_up_with_wide_characters_and_without_control_characters() {
        let mut table = Table::new(&["NAME", "LEVEL", "WHAT"]);
        table.row(vec!["CPU使用率过高".into(), "WARNING".into(), "a\nb\x1b[31m".into()]);
        table.row(vec!["b".into(), "-".into(), String::new()]);
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r"
        NAME           LEVEL    WHAT
        CPU使用率过高  WARNING  a b [31m
        b              -
        ");
    }

    #[test]
    fn times_are_the_shorter_the_nearer() {
        let times = Times { now: "2026-11-22T12:00:00Z".parse().unwrap(), zone: TimeZone::UTC };
        let short = |text: &str| times.short(&json!(text));
        assert_eq!(short("2026-11-22T08:30:00.5Z"), "08:30:00");
        assert_eq!(short("2026-03-01T08:30:00Z"), "03-01 08:30");
        assert_eq!(short("2025-03-01T08:30:00Z"), "2025-03-01");
        assert_eq!((short("soon"), times.short(&Value::Null)), ("-".into(), "-".into()));
        assert_eq!(times.line(&json!("2026-11-22T08:30:00.5Z")), "11-22 08:30:00.500");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!((count(0), count(999), count(1_234_567)), ("0".into(), "999".into(), "1,234,567".into()));
        assert_eq!((bytes(999), bytes(12_345_678)), ("999 B".into(), "12.3 MB".into()));
        assert_eq!((text(&json!(0.123_456)), text(&json!(3.0)), text(&json!(7))), ("0.1235".into(), "3".into(), "7".into()));
    }
}
