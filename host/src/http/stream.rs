//! Answers that are made while they are sent.

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::store::StoreError;

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

/// Answers newline-delimited JSON, made by `produce` on a blocking thread at the reader's pace.
/// If it fails the connection is broken off, so that a reader never takes half an answer for a whole one.
pub fn ndjson(produce: impl FnOnce(&mut Lines) -> Result<(), StoreError> + Send + 'static) -> Response {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    let work = tokio::task::spawn_blocking(move || {
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
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(body)).into_response()
}
