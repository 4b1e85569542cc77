//! `ingest`: standard input to the host, in batches.

use std::io::{BufRead, Write as _};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use tokio::sync::mpsc;

use super::args::IngestArgs;
use super::client::{Client, ClientError, Query};
use super::output::{Output, say};
use super::table::{count, rows, text};
use super::{Answer, Exit};

/// A batch is sent when it has this many lines or bytes, or has waited this long.
const BATCH_LINES: usize = 1000;
const BATCH_BYTES: usize = 1 << 20;
const BATCH_WAIT: Duration = Duration::from_millis(500);
/// How often a busy host is asked again for one batch before the command gives up.
const TRIES: u32 = 60;
/// Refused lines that are shown.
const SHOWN: u64 = 10;

pub(super) async fn ingest(args: &IngestArgs, out: &mut Output<'_>) -> Answer {
    let client = Client::new(&args.host)?;
    let query: Vec<_> = args.service.iter().map(|service| ("service", service.clone())).collect();
    let (sender, lines) = mpsc::channel(2 * BATCH_LINES);
    // A thread of its own, since reading standard input cannot be interrupted.
    std::thread::spawn(move || read_lines(std::io::stdin().lock(), &sender));
    let mut totals = Totals::default();
    let result = send_all(&client, &query, lines, &mut totals).await;
    writeln!(out, "{} accepted, {} rejected", totals.accepted, totals.rejected)?;
    result?;
    Ok(if totals.rejected == 0 { Exit::Done } else { Exit::Failed })
}

fn read_lines(mut input: impl BufRead, sender: &mpsc::Sender<std::io::Result<Vec<u8>>>) {
    loop {
        let mut line = Vec::new();
        let read = input.read_until(b'\n', &mut line);
        let is_end = matches!(read, Ok(0) | Err(_));
        if let Err(error) = read {
            let _ = sender.blocking_send(Err(error));
        } else if !is_end && sender.blocking_send(Ok(line)).is_err() {
            return;
        }
        if is_end {
            return;
        }
    }
}

#[derive(Default)]
struct Totals {
    /// Lines read, for the numbers of refused ones.
    lines: u64,
    accepted: u64,
    rejected: u64,
}

async fn send_all(
    client: &Client,
    query: Query<'_>,
    mut lines: mpsc::Receiver<std::io::Result<Vec<u8>>>,
    totals: &mut Totals,
) -> anyhow::Result<()> {
    loop {
        let batch = next_batch(&mut lines).await.context("cannot read standard input")?;
        if batch.is_empty() {
            return Ok(());
        }
        let first_line = totals.lines;
        totals.lines += batch.len() as u64;
        let answer = send(client, query, batch.concat()).await?;
        totals.accepted += answer["accepted"].as_u64().unwrap_or_default();
        for error in rows(&answer, "errors").iter().take(SHOWN.saturating_sub(totals.rejected) as usize) {
            let line = error["line"]
                .as_u64()
                .filter(|line| *line > 0)
                .map_or_else(|| "some line".to_owned(), |line| format!("line {}", first_line + line));
            say(format_args!("{line}: {}", text(&error["reason"])));
        }
        totals.rejected += answer["rejected"].as_u64().unwrap_or_default();
    }
}

/// Returns the next lines, each with its newline; none at the end.
async fn next_batch(lines: &mut mpsc::Receiver<std::io::Result<Vec<u8>>>) -> std::io::Result<Vec<Vec<u8>>> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    let Some(first) = lines.recv().await else { return Ok(batch) };
    let mut next = Some(first);
    let deadline = tokio::time::Instant::now() + BATCH_WAIT;
    while let Some(line) = next {
        let mut line = line?;
        if line.last() != Some(&b'\n') {
            line.push(b'\n');
        }
        bytes += line.len();
        batch.push(line);
        if batch.len() >= BATCH_LINES || bytes >= BATCH_BYTES {
            break;
        }
        next = tokio::time::timeout_at(deadline, lines.recv()).await.ok().flatten();
    }
    Ok(batch)
}

/// Sends a batch, and again as long as the host is busy.
async fn send(client: &Client, query: Query<'_>, body: Vec<u8>) -> Result<Value, ClientError> {
    for attempt in 1.. {
        match client.post("api/v1/logs", query, "application/x-ndjson", body.clone()).await {
            Err(ClientError::Refused { status: 429 | 503, retry_after, message }) if attempt < TRIES => {
                let wait = retry_after.unwrap_or(Duration::from_secs(1));
                say(format_args!("the host is busy ({message}): trying again in {} s", count(wait.as_secs())));
                tokio::time::sleep(wait).await;
            }
            result => return result,
        }
    }
    unreachable!("the last attempt returns")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host that is busy at first, then refuses every line that says `bad`.
    async fn busy_host() -> String {
        use axum::response::IntoResponse as _;
        let asked = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
        let take = move |body: String| async move {
            if asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 2 {
                let busy = crate::http::ApiError::busy("the queue is full", Duration::ZERO).into_response();
                return (busy.status(), [("retry-after", "0")], busy.into_body()).into_response();
            }
            let bad: Vec<usize> =
                (1..).zip(body.lines()).filter(|(_, line)| line.contains("bad")).map(|(number, _)| number).collect();
            let errors: Vec<Value> = bad.iter().map(|line| serde_json::json!({ "line": line, "reason": "too old" })).collect();
            let accepted = body.lines().count() - bad.len();
            axum::Json(serde_json::json!({ "accepted": accepted, "rejected": bad.len(), "errors": errors })).into_response()
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(
            async move { axum::serve(listener, axum::Router::new().route("/api/v1/logs", axum::routing::post(take))).await },
        );
        url
    }

    #[tokio::test]
    async fn a_busy_host_is_asked_again_and_refused_lines_are_counted() {
        let client = Client::new(&crate::cli::args::HostArgs { url: busy_host().await, token: None }).unwrap();
        let (sender, lines) = mpsc::channel(4096);
        let text = format!("{}bad\n", "good\n".repeat(1200));
        std::thread::spawn(move || read_lines(text.as_bytes(), &sender));
        let mut totals = Totals::default();
        send_all(&client, &[], lines, &mut totals).await.unwrap();
        assert_eq!((totals.lines, totals.accepted, totals.rejected), (1201, 1200, 1));
    }

    #[tokio::test]
    async fn lines_come_in_batches_with_their_ends() {
        let (sender, mut lines) = mpsc::channel(4096);
        let text = format!("{}last, without end", "a line\n".repeat(1500));
        std::thread::spawn(move || read_lines(text.as_bytes(), &sender));
        let mut sizes = Vec::new();
        loop {
            let batch = next_batch(&mut lines).await.unwrap();
            if batch.is_empty() {
                break;
            }
            assert!(batch.iter().all(|line| line.ends_with(b"\n")));
            sizes.push(batch.len());
        }
        assert_eq!(sizes, [1000, 501]);
    }
}
