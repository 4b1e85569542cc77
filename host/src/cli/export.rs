//! `export`: streams what the host keeps to a file, which appears under its name only when it is whole.

mod write;

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::args::{ExportArgs, ExportFormat, Kind};
use super::client::{Client, ClientError};
use super::output::{Output, progress, progress_done, say};
use super::part_file::PartFile;
use super::report::AskedWrongly;
use super::search::{download, zone};
use super::table::{bytes, count};
use super::{Answer, Exit};
use write::Export;

const ALL: [Kind; 4] = [Kind::Logs, Kind::Metrics, Kind::Errors, Kind::Alerts];

/// How often the progress is shown.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

pub(super) async fn export(args: &ExportArgs, out: &mut Output<'_>) -> Answer {
    let client = Client::new(&args.host)?;
    if args.query.is_some() && args.what != [Kind::Logs] {
        return Err(AskedWrongly("--query says which log records are meant: add `--what logs`".into()).into());
    }
    if args.format == ExportFormat::Parquet {
        if args.what != [Kind::Logs] || args.output.as_os_str() == "-" {
            return Err(AskedWrongly(
                "Parquet holds one kind of rows in one file: add `--what logs`, and name the file with --output".into(),
            )
            .into());
        }
        let mut query = filter(args);
        query.push(("format", "parquet".to_owned()));
        let size = download(&client, "api/v1/export/logs", &query, &args.output).await?;
        say(format_args!("exported logs to {} ({})", args.output.display(), bytes(size)));
        return Ok(Exit::Done);
    }
    if args.output.as_os_str() == "-" {
        let rows = stream(&client, args, out).await?;
        say(format_args!("exported {} rows", count(rows)));
        return Ok(Exit::Done);
    }
    let path = args.output.display();
    let mut file = PartFile::create(&args.output).with_context(|| format!("cannot write `{path}`"))?;
    let rows = stream(&client, args, &mut file.writer).await?;
    let size = file.finish(&args.output).with_context(|| format!("cannot write `{path}`"))?;
    say(format_args!("exported {} rows to {path} ({})", count(rows), bytes(size)));
    Ok(Exit::Done)
}

/// Returns which rows are meant.
fn filter(args: &ExportArgs) -> Vec<(&'static str, String)> {
    let mut query = args.time.query();
    if let Some(text) = &args.query {
        query.extend([("q", text.clone()), ("zone", zone())]);
    }
    query
}

/// Writes all rows to `out` and returns their number.
async fn stream(client: &Client, args: &ExportArgs, out: &mut dyn Write) -> anyhow::Result<u64> {
    let kinds: &[Kind] = if args.what.is_empty() { &ALL } else { &args.what };
    let mut export = Export::new(out, args.format, kinds.len() > 1)?;
    let mut shown = Instant::now();
    for kind in kinds {
        let path = format!("api/v1/export/{}", write::name(*kind));
        let mut lines = match client.lines(&path, &filter(args), "application/x-ndjson", None).await {
            // Not every host keeps everything; only what was asked for by name must be there.
            Err(ClientError::Refused { status: 404, message, .. }) if args.what.is_empty() => {
                say(format_args!("left out {}: {message}", write::name(*kind)));
                continue;
            }
            lines => lines?,
        };
        export.begin(*kind)?;
        while let Some(line) = lines.next().await? {
            if line.is_empty() {
                continue;
            }
            export.row(&line).with_context(|| format!("a row of {} is not JSON", write::name(*kind)))?;
            if shown.elapsed() >= PROGRESS_EVERY {
                shown = Instant::now();
                progress(format_args!("{} rows", count(export.rows())));
            }
        }
        export.end()?;
    }
    progress_done();
    export.finish()
}
