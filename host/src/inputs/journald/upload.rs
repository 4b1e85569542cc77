//! `POST /upload`: what `systemd-journal-upload` sends, entry by entry, for as long as it likes. An entry that is sent again, because a
//! request was not answered, is stored once ([`super::seen`]).

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use futures::StreamExt as _;
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, timeout};
use watchfire_types::LogBatch;

use super::seen::Seen;
use super::{Gathered, Gatherer};
use crate::http::ApiError;
use crate::inputs::body::Compression;
use crate::inputs::{InputState, refused};
use crate::logs::FileOffset;
use crate::store::{Accepted, IngestError};

/// How this input is called in metrics.
const INPUT: &str = "journald_upload";

/// The type of a body in the export format.
const CONTENT_TYPE: &str = "application/vnd.fdo.journal";

/// How long to gather entries before they are stored.
const GATHER: Duration = Duration::from_millis(100);

/// A sender from which nothing comes for this long has gone: one that has no more entries ends its request.
const STALL: Duration = Duration::from_secs(600);

/// How long a busy store is waited for. The sender does not notice, as long as it is not answered.
const BUSY: Duration = Duration::from_secs(300);

/// Returns the path.
pub fn routes(state: InputState) -> Router {
    Router::new().route("/upload", post(upload)).with_state(state)
}

/// Takes entries of a journal, as `systemd-journal-upload` sends them. They are stored as they come; a request need not end.
#[utoipa::path(
    post, path = "/upload", tag = "ingest",
    request_body(content = String, content_type = "application/vnd.fdo.journal", description = "entries in the journal's export format"),
    responses(
        (status = 200, description = "all entries are durable"), (status = 400, description = "not the export format; what came before is durable"),
        (status = 415, description = "not `application/vnd.fdo.journal`"), (status = 503, description = "busy for five minutes"),
    ),
)]
pub(super) async fn upload(State(state): State<InputState>, headers: HeaderMap, body: Body) -> Response {
    match take(&state, &headers, body).await {
        Ok(entries) => (StatusCode::OK, format!("OK: {entries} entries are stored\n")).into_response(),
        Err(error) => {
            state.count_refusal(INPUT, &error);
            error.into_response()
        }
    }
}

async fn take(state: &InputState, headers: &HeaderMap, body: Body) -> Result<u64, ApiError> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    if content_type.split(';').next().unwrap_or("").trim() != CONTENT_TYPE {
        return Err(ApiError::unsupported(format!("Content-Type must be `{CONTENT_TYPE}`")));
    }
    if Compression::of(headers)? != Compression::Identity {
        return Err(ApiError::unsupported(
            "a journal is taken without compression: leave `Compression=` out of journal-upload.conf",
        ));
    }
    let malformed = |error: super::ExportError| ApiError::bad_request(format!("not the journal's export format: {error}"));
    let (mut gatherer, mut stored) = (Gatherer::new(), 0);
    let mut chunks = body.into_data_stream();
    loop {
        let wait = if gatherer.is_empty() { STALL } else { GATHER };
        let next = timeout(wait, chunks.next()).await;
        let is_idle = next.is_err();
        if is_idle && gatherer.is_empty() {
            return Err(ApiError::timeout(format!("no entry came for {} minutes; {stored} are stored", STALL.as_secs() / 60)));
        }
        let mut is_end = false;
        match next {
            Ok(Some(Ok(chunk))) => gatherer.feed(&chunk),
            Ok(Some(Err(error))) => {
                // The connection broke off: what came whole is stored, and the sender will begin with what it was not answered for.
                store(state, &mut gatherer, &mut stored).await?;
                return Err(ApiError::bad_request(format!("the body could not be read to its end: {error}")));
            }
            Ok(None) => is_end = true,
            Err(_) => {}
        }
        let gathered = loop {
            match gatherer.gather(state.clock.now()) {
                Ok(true) => store(state, &mut gatherer, &mut stored).await?,
                Ok(false) if is_end => break gatherer.end(state.clock.now()),
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        // What came before something that cannot be read is stored all the same.
        if is_end || is_idle || gathered.is_err() {
            store(state, &mut gatherer, &mut stored).await?;
        }
        gathered.map_err(malformed)?;
        if is_end {
            return Ok(stored);
        }
    }
}

/// Stores what has been gathered.
async fn store(state: &InputState, gatherer: &mut Gatherer, stored: &mut u64) -> Result<(), ApiError> {
    let gathered = gatherer.take();
    if gathered.batch.is_empty() {
        return Ok(());
    }
    // To its end, even if the sender goes away meanwhile: what is stored is remembered as stored.
    let commit = tokio::spawn(commit(state.clone(), gathered));
    *stored += commit.await.unwrap_or_else(|error| Err(ApiError::internal(&error)))?;
    Ok(())
}

/// Stores the entries that are not stored yet, and with them that they are. A store that is busy is waited for.
async fn commit(state: InputState, gathered: Gathered) -> Result<u64, ApiError> {
    let Gathered { batch, bytes, sequences, places, .. } = gathered;
    // In one order everywhere, so that two uploads never wait for each other.
    let mut order: Vec<usize> = (0..sequences.len()).collect();
    order.sort_by(|left, right| sequences[*left].cmp(&sequences[*right]));
    let mut known: Vec<Option<(OwnedMutexGuard<Option<Seen>>, Seen)>> = sequences.iter().map(|_| None).collect();
    for index in order {
        let Some(lock) = state.uploads.of(&sequences[index]) else { continue };
        let mut guard = lock.lock_owned().await;
        let seen = match guard.take() {
            Some(seen) => seen,
            None => look_up(&state, &sequences[index]).await?,
        };
        *guard = Some(seen.clone());
        known[index] = Some((guard, seen));
    }
    let mut is_new = |row: usize| {
        let (index, number) = places[row];
        let Some((_, seen)) = known.get_mut(index as usize).and_then(Option::as_mut) else { return true };
        let is_new = !seen.contains(number);
        seen.insert(number);
        is_new
    };
    let rows: Vec<usize> = (0..batch.len()).filter(|row| is_new(*row)).collect();
    let batch = if rows.len() == batch.len() {
        batch
    } else {
        let mut new = LogBatch::default();
        new.append(&batch, rows);
        new
    };
    let offset = |(sequence, seen): (&String, &Option<(_, Seen)>)| {
        Some(FileOffset { path: name_of(sequence), cursor: seen.as_ref()?.1.text(), ..FileOffset::default() })
    };
    let offsets: Vec<FileOffset> = sequences.iter().zip(&known).filter_map(offset).collect();
    let accepted = patiently(&state, batch, offsets).await?;
    for (mut guard, seen) in known.into_iter().flatten() {
        *guard = Some(seen);
    }
    state.count(INPUT, accepted.accepted, accepted.rejected);
    state.self_metrics.counter("watchfire_input_bytes_total", &[("input", INPUT)]).add(bytes as u64);
    Ok(accepted.accepted)
}

/// Hands over a batch again and again while the store is busy: nothing more is read from the sender meanwhile.
async fn patiently(state: &InputState, batch: LogBatch, offsets: Vec<FileOffset>) -> Result<Accepted, ApiError> {
    let deadline = Instant::now() + BUSY;
    loop {
        match state.logs.ingest(batch.clone(), offsets.clone()).await {
            Ok(accepted) => return Ok(accepted),
            Err(IngestError::Busy { retry_after, .. }) if Instant::now() < deadline => {
                tokio::time::sleep(retry_after.clamp(Duration::from_millis(50), Duration::from_secs(10))).await;
            }
            Err(error) => return Err(refused(error)),
        }
    }
}

/// The name under which it is stored what is stored of a sequence.
fn name_of(sequence: &str) -> String {
    format!("journal-upload:{sequence}")
}

async fn look_up(state: &InputState, sequence: &str) -> Result<Seen, ApiError> {
    let (logs, name) = (Arc::clone(&state.logs), name_of(sequence));
    let offsets = tokio::task::spawn_blocking(move || logs.file_offsets()).await.map_err(|error| ApiError::internal(&error))??;
    Ok(offsets.iter().find(|offset| offset.path == name).map(|offset| Seen::parse(&offset.cursor)).unwrap_or_default())
}

/// The documentation of this path.
#[derive(utoipa::OpenApi)]
#[openapi(paths(upload))]
pub struct ApiDoc;

#[cfg(test)]
mod tests {
    use axum::http::Response;
    use futures::stream;

    use super::*;
    use crate::inputs::testing::Host;

    const TYPE: (&str, &str) = ("content-type", CONTENT_TYPE);

    fn entries(sequence: char, numbers: impl IntoIterator<Item = u64>) -> String {
        let sequence = sequence.to_string().repeat(32);
        let entry = |number| format!("__CURSOR=s={sequence};i={number:x};b=0\nMESSAGE={sequence:.1}{number}\n\n");
        numbers.into_iter().map(entry).collect::<Vec<_>>().concat()
    }

    fn bodies(host: &Host) -> Vec<String> {
        host.records().iter().map(|record| record.body.as_text().unwrap().to_owned()).collect()
    }

    async fn told(response: Response<Body>) -> (u16, String) {
        let status = response.status().as_u16();
        (status, String::from_utf8(axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn an_entry_that_comes_again_is_stored_once() {
        let host = Host::new(1 << 20);
        let upload = async |text: String| told(host.post("/upload", &[TYPE], text.into_bytes()).await).await;
        assert_eq!(upload(entries('a', 1..4)).await, (200, "OK: 3 entries are stored\n".to_owned()));
        // Another uploader sends what lies between, and another machine the same numbers.
        assert_eq!(upload(entries('a', [2, 3, 5, 4]) + &entries('b', [1])).await.1, "OK: 3 entries are stored\n");
        assert_eq!(bodies(&host), ["a1", "a2", "a3", "a5", "a4", "b1"]);
        let stored = host.memory.0.lock().offsets.clone();
        assert_eq!(stored.iter().map(|offset| offset.cursor.as_str()).collect::<Vec<_>>(), ["1-5", "1"]);
    }

    #[tokio::test]
    async fn what_an_earlier_host_stored_is_known() {
        let host = Host::new(1 << 20);
        let path = name_of(&"a".repeat(32));
        host.memory.0.lock().offsets = vec![FileOffset { path, cursor: "1-a".to_owned(), ..FileOffset::default() }];
        told(host.post("/upload", &[TYPE], entries('a', 8..13).into_bytes()).await).await;
        assert_eq!(bodies(&host), ["a11", "a12"]);
    }

    #[tokio::test]
    async fn entries_are_stored_before_the_request_ends_and_a_busy_store_is_waited_for() {
        let host = Host::new(1 << 20);
        host.busy(Some(Duration::from_millis(10)));
        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<String, std::io::Error>>(1);
        let body = Body::from_stream(stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|item| (item, receiver))
        }));
        let request = axum::http::Request::post("/upload").header(TYPE.0, TYPE.1).body(body).unwrap();
        let router = routes(host.state.clone());
        let answer = tokio::spawn(tower::ServiceExt::oneshot(router, request));
        sender.send(Ok(entries('a', [1]))).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(bodies(&host).is_empty());
        host.busy(None);
        while bodies(&host).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Half an entry, then the end of the connection.
        sender.send(Ok(entries('a', [2]) + "MESSAGE=hal")).await.unwrap();
        sender.send(Err(std::io::Error::other("gone"))).await.unwrap();
        assert_eq!(answer.await.unwrap().unwrap().status(), 400);
        assert_eq!(bodies(&host), ["a1", "a2"]);
    }
}
