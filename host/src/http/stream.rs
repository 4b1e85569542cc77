//! Answers that are made while they are sent.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde::Serialize;
use tokio::sync::{Semaphore, mpsc};

use super::ApiError;
use crate::store::StoreError;

/// Streams of one process at once. Each holds a thread at its reader's pace, of the 512 that every read of a database shares.
static PLACES: Semaphore = Semaphore::const_new(32);
/// What a reader is told who comes when all places are taken.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Chunks that may wait for a slow reader; the producer then waits too.
const CHUNKS: usize = 8;
/// A chunk is sent when it has this many bytes.
const CHUNK_BYTES: usize = 64 << 10;

/// Takes rows on a thread of its own and turns them into lines of JSON.
#[derive(Debug)]
pub struct Lines {
    chunk: Vec<u8>,
    sender: mpsc::Sender<Bytes>,
}

impl Lines {
    /// Adds a line. Returns `false` when nobody reads any more: the producer then stops.
    pub fn push(&mut self, row: &impl Serialize) -> bool {
        if serde_json::to_writer(&mut self.chunk, row).is_ok() {
            self.chunk.push(b'\n');
        }
        self.chunk.len() < CHUNK_BYTES || self.flush()
    }

    /// Sends what has been added. Returns `false` when nobody reads any more.
    pub fn flush(&mut self) -> bool {
        self.chunk.is_empty() || self.sender.blocking_send(std::mem::take(&mut self.chunk).into()).is_ok()
    }
}

/// Bytes as they are, for what writes a format of its own.
impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() < CHUNK_BYTES || Self::flush(self) {
            Ok(bytes.len())
        } else {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        // Chunks are sent when they are full, and at the end: many small ones would only cost.
        Ok(())
    }
}

/// Answers newline-delimited JSON, made by `produce` on a blocking thread at the reader's pace; 503 while 32 others are being made.
/// If it fails the connection is broken off, so that a reader never takes half an answer for a whole one. A reader that stalls
/// loses its connection (see [`super::Connections`]), which ends `produce` too.
pub fn ndjson(produce: impl FnOnce(&mut Lines) -> Result<(), StoreError> + Send + 'static) -> Response {
    within(&PLACES, "application/x-ndjson", produce)
}

/// As [`ndjson`], of another type.
pub fn of_type(kind: &'static str, produce: impl FnOnce(&mut Lines) -> Result<(), StoreError> + Send + 'static) -> Response {
    within(&PLACES, kind, produce)
}

fn within(
    places: &'static Semaphore,
    kind: &'static str,
    produce: impl FnOnce(&mut Lines) -> Result<(), StoreError> + Send + 'static,
) -> Response {
    let Ok(place) = places.try_acquire() else {
        return ApiError::busy("too many exports and streamed searches run at the same time", RETRY_AFTER).into_response();
    };
    let (sender, receiver) = mpsc::channel(CHUNKS);
    let work = tokio::task::spawn_blocking(move || {
        let _place = place;
        let mut lines = Lines { chunk: Vec::new(), sender };
        let result = produce(&mut lines);
        lines.flush();
        result
    });
    let body = stream::unfold((receiver, Some(work)), |(mut receiver, work)| async move {
        if let Some(chunk) = receiver.recv().await {
            return Some((Ok(chunk), (receiver, work)));
        }
        let error = match work?.await {
            Ok(Ok(())) => return None,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::error!(%error, "a streamed answer broke off");
        Some((Err(std::io::Error::other(error)), (receiver, None)))
    });
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(body)).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use axum::http::StatusCode;

    use super::*;

    #[tokio::test]
    async fn a_stream_too_many_is_told_to_come_again() {
        let places: &'static Semaphore = Box::leak(Box::new(Semaphore::new(1)));
        // More than the channel holds, so that it waits for its reader.
        let lines = |lines: &mut Lines| {
            let _ = (0..20).all(|_| lines.push(&"x".repeat(CHUNK_BYTES)));
            Ok(())
        };
        let first = within(places, "application/x-ndjson", lines);
        let busy = within(places, "application/x-ndjson", lines);
        assert_eq!((busy.status(), &busy.headers()[header::RETRY_AFTER]), (StatusCode::SERVICE_UNAVAILABLE, &"5".parse().unwrap()));
        let body = to_bytes(first.into_body(), usize::MAX).await.unwrap();
        assert_eq!(body.len(), 20 * (CHUNK_BYTES + 3));

        // Who goes away gives the place back too.
        drop(within(places, "application/x-ndjson", lines));
        let place = places.acquire().await.unwrap();
        drop(place);
        assert_eq!(within(places, "application/x-ndjson", lines).status(), StatusCode::OK);
    }
}
