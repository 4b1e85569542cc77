//! `tail`: records as they arrive. A pause and a broken connection lose nothing: the host is asked for what came since.

use std::io::Write as _;
use std::time::Duration;

use super::args::TailArgs;
use super::client::{Client, ClientError, Query};
use super::keys::{Key, Keys};
use super::logs::Lines;
use super::output::{Output, say};
use super::search::zone;
use super::{Answer, Exit};

/// Waiting time before a broken tail is taken up again: doubled each time up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

pub(super) async fn tail(args: &TailArgs, out: &mut Output<'_>) -> Answer {
    let client = Client::new(&args.host)?;
    let mut query = args.filter.query();
    query.push(("zone", zone()));
    let keys = if args.json { Keys::none() } else { Keys::of_terminal() };
    if keys.are_there() {
        say("space pauses and goes on, q quits");
    }
    let mut follower =
        Follower { client: &client, query: &query, json: args.json, seen: None, lines: Lines::new(false), keys, connected: false };
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
    /// How far the log has been seen.
    seen: Option<String>,
    lines: Lines,
    keys: Keys,
    /// Whether the host has answered since the connection last broke.
    connected: bool,
}

/// Why a connection is left.
#[derive(Debug, PartialEq, Eq)]
enum Left {
    /// It broke off.
    Broken,
    /// Somebody wants a pause.
    Pause,
    /// Somebody has seen enough.
    Quit,
}

impl Follower<'_> {
    async fn follow(&mut self, out: &mut Output<'_>) -> Answer {
        let mut wait = FIRST_WAIT;
        let mut is_first = true;
        loop {
            self.connected = false;
            let left = match self.connect(out).await {
                Ok(left) => left,
                // A host that has answered before is worth waiting for.
                Err(error) if (self.connected || !is_first) && can_be_tried_again(&error) => Left::Broken,
                Err(error) => return Err(error),
            };
            is_first = false;
            match left {
                Left::Quit => return Ok(Exit::Done),
                Left::Pause => {
                    say("paused: nothing is lost; space goes on, q quits");
                    if self.pause().await == Left::Quit {
                        return Ok(Exit::Done);
                    }
                }
                Left::Broken => {
                    wait = if self.connected { FIRST_WAIT } else { (wait * 2).min(LONGEST_WAIT) };
                    say("the connection broke off; trying again");
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// Waits until somebody wants to go on or quit.
    async fn pause(&mut self) -> Left {
        match self.keys.next().await {
            Key::Pause => Left::Pause,
            Key::Quit => Left::Quit,
        }
    }

    /// Shows what arrives until the connection ends or a key is pressed.
    async fn connect(&mut self, out: &mut Output<'_>) -> anyhow::Result<Left> {
        let mut lines = self.client.lines("api/v1/logs/tail", self.query, "text/event-stream", self.seen.as_deref()).await?;
        self.connected = true;
        let mut event = Event::default();
        loop {
            let line = tokio::select! {
                key = self.keys.next() => return Ok(if key == Key::Quit { Left::Quit } else { Left::Pause }),
                line = lines.next() => line?,
            };
            let Some(line) = line else { return Ok(Left::Broken) };
            if let Some((id, data)) = event.take(&line) {
                if let Some(data) = data {
                    self.show(&data, out)?;
                }
                self.seen = id.or(self.seen.take());
            }
        }
    }

    fn show(&mut self, data: &str, out: &mut Output<'_>) -> std::io::Result<()> {
        if self.json {
            writeln!(out, "{data}")?;
        } else if let Ok(record) = serde_json::from_str(data) {
            writeln!(out, "{}", self.lines.line(&record))?;
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
    /// Takes a line; returns id and data of an event that is now whole: without data it says how far the log has been looked at. Events
    /// of another type than ours are left out.
    fn take(&mut self, line: &str) -> Option<(Option<String>, Option<String>)> {
        if line.is_empty() {
            let event = std::mem::take(self);
            let is_ours = matches!(event.kind.as_str(), "" | "message" | "log" | "record");
            let data = (!event.data.is_empty()).then(|| event.data.join("\n"));
            return (is_ours && (data.is_some() || event.id.is_some())).then_some((event.id, data));
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
    use super::*;

    #[test]
    fn events_are_put_together_from_lines() {
        let mut event = Event::default();
        let lines = [": hello", "id: 4", "", "id: 5", "data: {\"a\":", "data:1}", "", "event: gap", "data: x", "", "data: y", ""];
        let events: Vec<_> = lines.iter().filter_map(|line| event.take(line)).collect();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(events, [(text("4"), None), (text("5"), text("{\"a\":\n1}")), (None, text("y"))]);
    }
}
