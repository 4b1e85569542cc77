//! `search` and `tail`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use serde_json::Value;
use watchfire_types::Severity;

use super::args::{SearchArgs, TailArgs};
use super::client::{Client, ClientError, Query};
use super::output::{Output, say, visible};
use super::table::{Times, json_lines, rows, text};
use super::{Answer, Exit};

/// Waiting time before a broken tail is taken up again: doubled each time up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

pub(super) async fn search(args: &SearchArgs, out: &mut Output<'_>) -> Answer {
    let mut query = args.filter.query();
    query.extend(args.time.query());
    query.push(("limit", args.limit.to_string()));
    let answer = Client::new(&args.host)?.get("api/v1/logs", &query).await?;
    let records = rows(&answer, "records");
    if args.json {
        json_lines(records, out)?;
    } else {
        let times = Times::here();
        records.iter().try_for_each(|record| writeln!(out, "{}", line(record, &times)))?;
    }
    out.flush()?;
    if records.is_empty() {
        say("nothing found");
    }
    if answer["truncated"] == true {
        say(format_args!("there is more: raise --limit above {}, or narrow the time with --since and --until", args.limit));
    }
    if let Some(hint) = answer["hint"].as_str() {
        say(format_args!("hint: {hint}"));
    }
    Ok(Exit::Done)
}

/// Returns a record as one line: time, level, service, body, attributes. Further lines of the body follow; an attribute of
/// several lines, such as a stack trace, is only counted, since `--json` shows it.
fn line(record: &Value, times: &Times) -> String {
    let level = match record["severity_text"].as_str().filter(|text| !text.is_empty()) {
        Some(text) => text.to_uppercase(),
        None => Severity(record["severity_number"].as_u64().unwrap_or_default() as u8).name().to_owned(),
    };
    let service = record["resource"]["service.name"].as_str().unwrap_or("-");
    let body = text(&record["body"]);
    let (first, rest) = body.split_once('\n').map_or((body.as_str(), None), |(first, rest)| (first, Some(rest)));
    let mut line = format!("{} {level:<5} {service}: {first}", times.line(&record["timestamp"]));
    for (key, value) in record["attributes"].as_object().into_iter().flatten() {
        let value = text(value);
        let _ = match value.trim_end().lines().count() {
            0 | 1 => write!(line, "  {key}={}", value.trim_end()),
            _ if body.contains(value.trim_end()) => Ok(()),
            lines => write!(line, "  {key}=({lines} lines)"),
        };
    }
    if let Some(rest) = rest {
        line.push('\n');
        line.push_str(rest.trim_end());
    }
    // A stack trace keeps its lines; nothing else of a log may steer the terminal.
    visible(&line).replace('\n', "\n    ")
}

pub(super) async fn tail(args: &TailArgs, out: &mut Output<'_>) -> Answer {
    let client = Client::new(&args.host)?;
    let query = args.filter.query();
    let mut follower =
        Follower { client: &client, query: &query, json: args.json, seen: None, times: Times::here(), connected: false };
    tokio::select! {
        answer = follower.follow(out) => answer,
        _ = tokio::signal::ctrl_c() => Ok(Exit::Done),
    }
}

/// Follows the log across broken connections.
struct Follower<'a> {
    client: &'a Client,
    query: Query<'a>,
    json: bool,
    /// The last event shown.
    seen: Option<String>,
    times: Times,
    /// Whether the host has answered since the connection last broke.
    connected: bool,
}

impl Follower<'_> {
    async fn follow(&mut self, out: &mut Output<'_>) -> Answer {
        self.connect(out).await.or_else(|error| if self.connected { Ok(()) } else { Err(error) })?;
        let mut wait = FIRST_WAIT;
        loop {
            say("the connection broke off; trying again");
            tokio::time::sleep(wait).await;
            self.connected = false;
            let result = self.connect(out).await;
            wait = if self.connected { FIRST_WAIT } else { (wait * 2).min(LONGEST_WAIT) };
            if let Err(error) = result
                && !can_be_tried_again(&error)
            {
                return Err(error);
            }
        }
    }

    /// Shows what arrives until the connection ends.
    async fn connect(&mut self, out: &mut Output<'_>) -> anyhow::Result<()> {
        let mut lines = self.client.lines("api/v1/logs/tail", self.query, "text/event-stream", self.seen.as_deref()).await?;
        self.connected = true;
        let mut event = Event::default();
        while let Some(line) = lines.next().await? {
            if let Some((id, data)) = event.take(&line) {
                self.show(&data, out)?;
                self.seen = id.or(self.seen.take());
            }
        }
        Ok(())
    }

    fn show(&mut self, data: &str, out: &mut Output<'_>) -> std::io::Result<()> {
        if self.json {
            writeln!(out, "{data}")?;
        } else if let Ok(record) = serde_json::from_str(data) {
            writeln!(out, "{}", line(&record, &self.times))?;
        }
        out.flush()
    }
}

fn can_be_tried_again(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::Refused { status, .. }) => *status >= 500,
        Some(_) => true,
        None => false,
    }
}

/// A server-sent event, as far as it has arrived. Source: the HTML standard, "Interpreting an event stream".
#[derive(Default)]
struct Event {
    id: Option<String>,
    kind: String,
    data: Vec<String>,
}

impl Event {
    /// Takes a line; returns id and data of an event that is now whole. Events of another type than ours are left out.
    fn take(&mut self, line: &str) -> Option<(Option<String>, String)> {
        if line.is_empty() {
            let event = std::mem::take(self);
            let is_record = matches!(event.kind.as_str(), "" | "message" | "log" | "record") && !event.data.is_empty();
            return is_record.then(|| (event.id, event.data.join("\n")));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match field {
            "id" => self.id = Some(value),
            "event" => self.kind = value,
            "data" => self.data.push(value),
            _ => {}
        }
        None
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
        let record = json!({"timestamp": "2026-11-22T08:30:00Z", "severity_number": 17, "body": "boom\x1b[2J\n  at main", "resource": {"service.name": "api"}, "attributes": {"user": 7, "stack": "a\nb\n", "same": "boom\u{1b}[2J\n  at main"}});
        insta::assert_snapshot!(line(&record, &times), @r"
        11-22 08:30:00.000 ERROR api: boom�[2J  user=7  stack=(2 lines)
              at main
        ");
    }

    #[test]
    fn events_are_put_together_from_lines() {
        let mut event = Event::default();
        let lines = [": hello", "id: 5", "data: {\"a\":", "data:1}", "", "event: gap", "data: x", "", "data: y", ""];
        let events: Vec<_> = lines.iter().filter_map(|line| event.take(line)).collect();
        assert_eq!(events, [(Some("5".to_owned()), "{\"a\":\n1}".to_owned()), (None, "y".to_owned())]);
    }
}
