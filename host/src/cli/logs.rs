//! Log records as people read them: what `search`, `context` and `tail` share.

use std::fmt::Write as _;

use serde_json::Value;
use watchfire_types::Severity;

use super::output::visible;
use super::style::Style;
use super::table::{Times, text};

/// How records are shown.
#[derive(Clone)]
pub(super) struct Lines {
    times: Times,
    style: Style,
    /// Whether each line begins with the record's `seq`.
    with_seq: bool,
}

impl Lines {
    pub(super) fn new(with_seq: bool) -> Self {
        Self { times: Times::here(), style: Style::of_stdout(), with_seq }
    }

    pub(super) fn times(&self) -> &Times {
        &self.times
    }

    pub(super) fn style(&self) -> Style {
        self.style
    }

    /// Returns a record as one line: time, level, service, body, attributes. Further lines of the body follow; an attribute of
    /// several lines, such as a stack trace, is only counted, since `--json` shows it.
    pub(super) fn line(&self, record: &Value) -> String {
        let severity = Severity(record["severity_number"].as_u64().unwrap_or_default() as u8);
        let level = match record["severity_text"].as_str().filter(|text| !text.is_empty()) {
            Some(text) => text.to_uppercase(),
            None => severity.name().to_owned(),
        };
        let service = visible(record["resource"]["service.name"].as_str().unwrap_or("-"));
        let body = text(&record["body"]);
        let (first, rest) = body.split_once('\n').map_or((body.as_str(), None), |(first, rest)| (first, Some(rest)));
        let mut line =
            if self.with_seq { format!("{:>8} ", visible(record["seq"].as_str().unwrap_or("-"))) } else { String::new() };
        let level = format!("{:<5}", visible(&level));
        let time = self.style.dim(&self.times.line(&record["timestamp"]));
        let _ = write!(line, "{time} {} {}: {}", self.style.level(severity, &level), self.style.strong(&service), visible(first));
        for (key, value) in record["attributes"].as_object().into_iter().flatten() {
            let value = text(value);
            let shown = match value.trim_end().lines().count() {
                0 | 1 => format!("  {key}={}", value.trim_end()),
                _ if body.contains(value.trim_end()) => continue,
                lines => format!("  {key}=({lines} lines)"),
            };
            line.push_str(&self.style.dim(&visible(&shown)));
        }
        if let Some(rest) = rest {
            line.push('\n');
            line.push_str(&visible(rest.trim_end()));
        }
        // A stack trace keeps its lines; nothing else of a log may steer the terminal.
        line.replace('\n', "\n    ")
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_is_a_line_that_cannot_steer_the_terminal() {
        let times = Times { now: "2026-11-22T12:00:00Z".parse().unwrap(), zone: TimeZone::UTC };
        let lines = Lines { times, style: Style::default(), with_seq: false };
        let record = json!({"seq": "7", "timestamp": "2026-11-22T08:30:00Z", "severity_number": 17, "body": "boom\x1b[2J\n  at main", "resource": {"service.name": "api"}, "attributes": {"user": 7, "stack": "a\nb\n", "same": "boom\u{1b}[2J\n  at main"}});
        insta::assert_snapshot!(lines.line(&record), @r"
        11-22 08:30:00.000 ERROR api: boom�[2J  user=7  stack=(2 lines)
              at main
        ");
        assert!(Lines { with_seq: true, ..lines }.line(&record).starts_with("       7 11-22 "));
    }
}
