//! `search` and `context`.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Map, Value};

use super::args::{ContextArgs, SearchArgs};
use super::client::{Client, ClientError};
use super::logs::Lines;
use super::output::{Output, progress, progress_done, say};
use super::part_file::PartFile;
use super::report::AskedWrongly;
use super::table::{Table, bytes, cell, count, rows};
use super::{Answer, Exit};

pub(super) async fn search(args: &SearchArgs, out: &mut Output<'_>) -> Answer {
    if args.complete {
        return complete(args, out).await;
    }
    if let Some(path) = &args.output {
        return to_file(args, path).await;
    }
    let mut query = args.filter.query();
    query.extend(args.time.query());
    query.extend(args.limit.map(|limit| ("limit", limit.to_string())));
    query.extend(args.timeout.iter().map(|timeout| ("timeout", timeout.clone())));
    query.push(("zone", zone()));
    let client = Client::new(&args.host)?;
    let mut answer = client.lines("api/v1/logs/query", &query, "application/x-ndjson", None).await?;
    let lines = Lines::new(args.seq);
    let mut shown = Shown { args, lines: &lines, columns: Vec::new(), table: None, rows: 0 };
    let mut end = None;
    while let Some(line) = answer.next().await? {
        let mut part: Map<String, Value> = serde_json::from_str(&line).context("the host's answer is no JSON")?;
        if let Some(error) = part.get("error") {
            let message = error["message"].as_str().unwrap_or_default().to_owned();
            return Err(ClientError::Refused { status: 400, message, retry_after: None }.into());
        }
        if let Some(record) = part.get("record") {
            shown.record(record, out)?;
            if let Some(around) = args.context {
                show_context(&client, &record["seq"], around, out, &lines).await?;
            }
            // Found records are shown at once, however long the search goes on.
            out.flush()?;
        }
        shown.part(&mut part, out)?;
        end = part.remove("end").or(end);
    }
    let end = end.context("the host's answer broke off before its end")?;
    if let Some(table) = &shown.table {
        table.write(out)?;
    }
    out.flush()?;
    say_end(&end, shown.rows);
    Ok(Exit::Done)
}

/// Says what the answer itself does not show.
fn say_end(end: &Value, rows: u64) {
    if rows == 0 {
        say("nothing found");
    }
    match end["partial"].as_str() {
        Some("timeout") => say(format_args!(
            "this is not all: the time was up after {} records; raise --timeout, or narrow the time with --since and --until",
            count(end["records_read"].as_u64().unwrap_or_default())
        )),
        Some(_) => say("this is not all: the search was cancelled"),
        None if end["truncated"] == true => {
            say(format_args!("there is more: raise --limit above {rows}, or narrow the time with --since and --until"));
        }
        None => {}
    }
    if let Some(hint) = end["hint"].as_str() {
        say(format_args!("hint: {hint}"));
    }
}

/// What has been shown so far.
struct Shown<'a> {
    args: &'a SearchArgs,
    lines: &'a Lines,
    columns: Vec<String>,
    /// Rows that must line up wait until all are there.
    table: Option<Table>,
    rows: u64,
}

impl Shown<'_> {
    fn record(&mut self, record: &Value, out: &mut Output<'_>) -> std::io::Result<()> {
        self.rows += 1;
        if self.args.json {
            writeln!(out, "{record}")
        } else if self.args.context.is_none() {
            writeln!(out, "{}", self.lines.line(record))
        } else {
            if self.rows > 1 {
                writeln!(out, "--")?;
            }
            Ok(())
        }
    }

    fn part(&mut self, part: &mut Map<String, Value>, out: &mut Output<'_>) -> std::io::Result<()> {
        if let Some(columns) = part.remove("columns") {
            self.columns =
                columns.as_array().into_iter().flatten().map(|name| name.as_str().unwrap_or_default().to_owned()).collect();
            let titles: Vec<&str> = self.columns.iter().map(String::as_str).collect();
            self.table = (!self.args.json).then(|| Table::new(&titles));
        }
        let Some(Value::Array(row)) = part.remove("row") else { return Ok(()) };
        self.rows += 1;
        match &mut self.table {
            Some(table) => {
                table.row(self.columns.iter().zip(&row).map(|(name, value)| cell(name, value, self.lines.times())).collect());
                Ok(())
            }
            None => writeln!(out, "{}", Value::Object(self.columns.iter().cloned().zip(row).collect())),
        }
    }
}

/// Returns the zone of this machine as the host understands it.
pub(super) fn zone() -> String {
    let zone = jiff::tz::TimeZone::system();
    let offset = || jiff::Timestamp::now().to_zoned(zone.clone()).strftime("%:z").to_string();
    zone.iana_name().map_or_else(offset, str::to_owned)
}

/// Prints what may stand at the end of the query, one suggestion a line with the query up to it: for the shell.
async fn complete(args: &SearchArgs, out: &mut Output<'_>) -> Answer {
    let text = args.filter.text.join(" ");
    let answer = Client::new(&args.host)?.get("api/v1/logs/complete", &[("q", text.clone())]).await?;
    let from = answer["from"].as_u64().unwrap_or_default() as usize;
    let kept = text.get(..from).unwrap_or_default();
    for item in rows(&answer, "items") {
        if args.json {
            writeln!(out, "{item}")?;
        } else {
            writeln!(out, "{kept}{}", super::output::visible(item["text"].as_str().unwrap_or_default()))?;
        }
    }
    Ok(Exit::Done)
}

/// Writes what is found to a file, whose ending says in which format.
async fn to_file(args: &SearchArgs, path: &Path) -> Answer {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_lowercase();
    let format = match ending.as_str() {
        "ndjson" | "jsonl" | "json" => "ndjson",
        "csv" => "csv",
        "parquet" => "parquet",
        _ => {
            let message = format!("`{}`: the ending says the format: .ndjson, .csv or .parquet", path.display());
            return Err(AskedWrongly(message).into());
        }
    };
    let mut query = args.filter.query();
    if let Some(limit) = args.limit {
        let text = args.filter.text.join(" ");
        query.retain(|(name, _)| *name != "q");
        query.push(("q", format!("{text} | limit {limit}")));
    }
    query.extend(args.time.query());
    query.extend(args.timeout.iter().map(|timeout| ("timeout", timeout.clone())));
    query.push(("zone", zone()));
    query.push(("format", format.to_owned()));
    let client = Client::new(&args.host)?;
    let size = download(&client, "api/v1/export/logs", &query, path).await?;
    say(format_args!("wrote {} ({})", path.display(), bytes(size)));
    Ok(Exit::Done)
}

/// Writes an answer to the file at `path`, which appears when it is whole; returns its size.
pub(super) async fn download(client: &Client, from: &str, query: super::client::Query<'_>, path: &Path) -> anyhow::Result<u64> {
    let cannot = || format!("cannot write `{}`", path.display());
    let mut answer = client.chunks(from, query).await?;
    let mut file = PartFile::create(path).with_context(cannot)?;
    let mut written = 0;
    while let Some(chunk) = answer.next().await? {
        file.writer.write_all(&chunk).with_context(cannot)?;
        written += chunk.len() as u64;
        progress(format_args!("{}", bytes(written)));
    }
    progress_done();
    file.finish(path).with_context(cannot)
}

pub(super) async fn context(args: &ContextArgs, out: &mut Output<'_>) -> Answer {
    let client = Client::new(&args.host)?;
    let query = [
        ("seq", args.seq.to_string()),
        ("before", args.before.to_string()),
        ("after", args.after.to_string()),
        ("same", args.same.clone()),
    ];
    let answer = client.get("api/v1/logs/context", &query).await?;
    let lines = Lines::new(false);
    for (index, record) in rows(&answer, "records").iter().enumerate() {
        if args.json {
            writeln!(out, "{record}")?;
        } else {
            marked(record, answer["at"].as_u64() == Some(index as u64), out, &lines)?;
        }
    }
    Ok(Exit::Done)
}

async fn show_context(client: &Client, seq: &Value, around: u64, out: &mut Output<'_>, lines: &Lines) -> anyhow::Result<()> {
    let seq = seq.as_str().unwrap_or_default().to_owned();
    let around = around.to_string();
    let answer = client.get("api/v1/logs/context", &[("seq", seq), ("before", around.clone()), ("after", around)]).await?;
    for (index, record) in rows(&answer, "records").iter().enumerate() {
        marked(record, answer["at"].as_u64() == Some(index as u64), out, lines)?;
    }
    Ok(())
}

/// Writes a record; the one that is meant has a `>` before it.
fn marked(record: &Value, is_meant: bool, out: &mut Output<'_>, lines: &Lines) -> std::io::Result<()> {
    let mark = if is_meant { lines.style().strong(">") } else { " ".to_owned() };
    writeln!(out, "{mark} {}", lines.line(record).replace('\n', "\n  "))
}
