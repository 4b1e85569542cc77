//! `export`: streams what the host keeps to a file, which appears under its name only when it is whole.

mod write;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::args::{ExportArgs, Kind};
use super::client::{Client, ClientError};
use super::output::{Output, progress, progress_done, say};
use super::table::{bytes, count};
use super::{Answer, Exit};
use write::Export;

const ALL: [Kind; 4] = [Kind::Logs, Kind::Metrics, Kind::Errors, Kind::Alerts];

/// How often the progress is shown.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

pub(super) async fn export(args: &ExportArgs, out: &mut Output<'_>) -> Answer {
    let client = Client::new(&args.host)?;
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

/// Writes all rows to `out` and returns their number.
async fn stream(client: &Client, args: &ExportArgs, out: &mut dyn Write) -> anyhow::Result<u64> {
    let kinds: &[Kind] = if args.what.is_empty() { &ALL } else { &args.what };
    let mut export = Export::new(out, args.format, kinds.len() > 1)?;
    let mut shown = Instant::now();
    for kind in kinds {
        let path = format!("api/v1/export/{}", write::name(*kind));
        let mut lines = match client.lines(&path, &args.time.query(), "application/x-ndjson", None).await {
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

/// A file under a name of its own until it is whole; goes away if that never happens.
struct PartFile {
    path: PathBuf,
    writer: BufWriter<File>,
}

impl PartFile {
    fn create(output: &Path) -> std::io::Result<Self> {
        let mut name = output.file_name().unwrap_or_default().to_owned();
        name.push(format!(".part-{}", std::process::id()));
        let path = output.with_file_name(name);
        let writer = BufWriter::with_capacity(1 << 16, File::create(&path)?);
        Ok(Self { path, writer })
    }

    /// Gives the file its name and returns its size.
    fn finish(mut self, output: &Path) -> std::io::Result<u64> {
        self.writer.flush()?;
        self.writer.get_ref().sync_all()?;
        let size = self.writer.get_ref().metadata()?.len();
        fs::rename(&self.path, output)?;
        Ok(size)
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        // Gone already if it was finished.
        let _ = fs::remove_file(&self.path);
    }
}
