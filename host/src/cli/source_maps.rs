//! `errors source-maps`, and what `errors show` says of source maps.

use std::io::Write as _;

use serde_json::{Value, json};

use super::args::SourceMapsAction;
use super::client::Client;
use super::output::{Output, say};
use super::table::{Table, Times, count, json_lines, rows, text};
use super::{Answer, Exit};

const SOURCE_MAPS: &str = "api/v1/source-maps";
/// Calls of one event of which the minified ones are shown.
const MAX_CALLS: usize = 20;

pub(super) async fn act(action: &SourceMapsAction, client: &Client, json: bool, out: &mut Output<'_>) -> Answer {
    match action {
        SourceMapsAction::List { release } => list(release.as_deref(), client, json, out).await,
        SourceMapsAction::Remove { ids, release } => remove(ids, release.as_deref(), client, json, out).await,
    }
}

async fn ask(release: Option<&str>, client: &Client) -> Result<Value, super::client::ClientError> {
    let query: Vec<_> = release.iter().map(|release| ("release", (*release).to_owned())).collect();
    client.get(SOURCE_MAPS, &query).await
}

async fn list(release: Option<&str>, client: &Client, json: bool, out: &mut Output<'_>) -> Answer {
    let answer = ask(release, client).await?;
    let bundles = rows(&answer, "bundles");
    if json {
        json_lines(bundles, out)?;
        return Ok(Exit::Done);
    }
    if bundles.is_empty() {
        say("no source maps: `sentry-cli sourcemaps upload` sends them");
        return Ok(Exit::Done);
    }
    let times = Times::here();
    let mut table = Table::new(&["ID", "RELEASE", "DIST", "FILES", "BYTES", "UPLOADED", "LAST USED", "DEBUG IDS"]);
    for bundle in bundles {
        let number = |key: &str| bundle[key].as_u64().map_or_else(|| text(&bundle[key]), count);
        let ids = rows(bundle, "debug_ids");
        let others = if ids.len() > 1 { format!(" and {} more", ids.len() - 1) } else { String::new() };
        table.row(vec![
            text(&bundle["id"]),
            text(&bundle["release"]),
            text(&bundle["dist"]),
            number("files"),
            number("bytes"),
            times.short(&bundle["uploaded_at"]),
            times.short(&bundle["last_used"]),
            ids.first().map_or_else(|| "-".to_owned(), |id| format!("{}{others}", text(id))),
        ]);
    }
    table.write(out)?;
    Ok(Exit::Done)
}

async fn remove(ids: &[String], release: Option<&str>, client: &Client, json: bool, out: &mut Output<'_>) -> Answer {
    let ids = match release {
        Some(release) => {
            let answer = ask(Some(release), client).await?;
            rows(&answer, "bundles").iter().map(|bundle| text(&bundle["id"])).collect()
        }
        None => ids.to_vec(),
    };
    for id in &ids {
        client.delete(SOURCE_MAPS, id).await?;
        if json {
            writeln!(out, "{}", json!({"removed": id}))?;
        } else {
            say(format_args!("source maps {id} are deleted"));
        }
    }
    if ids.is_empty() {
        say(format_args!("there are no source maps of release {}", release.unwrap_or("-")));
        return Ok(Exit::Failed);
    }
    Ok(Exit::Done)
}

/// Says which calls of `event` are shown as they were written, and for which files there is no map.
pub(super) fn note(event: &Value, out: &mut Output<'_>) -> std::io::Result<()> {
    let used = &event["source_maps"];
    let plain = |value: &Value| text(value).replace(char::is_control, " ");
    if let Some(resolved) = used["resolved"].as_u64().filter(|resolved| *resolved > 0) {
        writeln!(out, "  resolved by source maps: {} calls", count(resolved))?;
    }
    let exceptions = rows(&event["details"]["exception"], "values").iter().rev();
    let frames = exceptions.flat_map(|exception| rows(&exception["stacktrace"], "frames").iter().rev());
    for frame in frames.filter(|frame| frame["raw"].is_object()).take(MAX_CALLS) {
        let raw = &frame["raw"];
        let of = |call: &Value, file: &str| {
            format!("{} ({}:{}:{})", plain(&call["function"]), plain(&call[file]), plain(&call["lineno"]), plain(&call["colno"]))
        };
        let sent = if raw["filename"].is_string() { "filename" } else { "abs_path" };
        writeln!(out, "    {}  was  {}", of(frame, "filename"), of(raw, sent))?;
        if let Some(line) = frame["context_line"].as_str().map(str::trim).filter(|line| !line.is_empty()) {
            writeln!(out, "      {}", line.replace(char::is_control, " "))?;
        }
    }
    for missing in rows(used, "missing") {
        let id = missing["debug_id"].as_str().map_or_else(String::new, |id| format!(" (debug id {id})"));
        writeln!(out, "  no source map for {}{id}: {}", plain(&missing["file"]), plain(&missing["reason"]))?;
    }
    Ok(())
}
