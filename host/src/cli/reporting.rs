//! `report`: what happened, for people.

use std::io::Write as _;

use anyhow::Context as _;

use super::args::{ReportArgs, ReportFormat};
use super::client::Client;
use super::output::{Output, say};
use super::table::bytes;
use super::{Answer, Exit};

pub(super) async fn report(args: &ReportArgs, out: &mut Output<'_>) -> Answer {
    let format = match args.format {
        ReportFormat::Markdown => "markdown",
        ReportFormat::Html => "html",
        ReportFormat::Json => "json",
    };
    let query = [("hours", args.hours.to_string()), ("format", format.to_owned()), ("lang", args.lang.clone())];
    let text = Client::new(&args.host)?.get_text("api/v1/report", &query).await?;
    let Some(path) = args.output.as_ref().filter(|path| path.as_os_str() != "-") else {
        out.write_all(text.as_bytes())?;
        return Ok(Exit::Done);
    };
    // A file that is there is not left half written over.
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".part-{}", std::process::id()));
    let part = path.with_file_name(name);
    let written = std::fs::write(&part, &text).and_then(|()| std::fs::rename(&part, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    written.with_context(|| format!("cannot write `{}`", path.display()))?;
    say(format_args!("a report of {} hours is in {} ({})", args.hours, path.display(), bytes(text.len() as u64)));
    Ok(Exit::Done)
}
