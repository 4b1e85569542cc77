//! All stored samples as NDJSON: day of arrival by day, series by series, each in order of time, so that memory stays bounded.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use watchfire_types::{MetricKind, Timestamp};

use super::{Metrics, SeriesData, Shared, query, store};

/// Lines are handed on in pieces of about this many bytes.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that may wait for a slow reader.
const PIECES: usize = 4;
/// Series whose names are read at once.
const PAGE_SERIES: usize = 256;

/// One line of an export.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ExportedSample {
    /// Metric name as it came.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// What the value means.
    pub kind: MetricKind,
    /// UCUM unit; may be empty.
    pub unit: String,
    /// When it was measured.
    pub timestamp: Timestamp,
    /// The value; what is not finite is `null`.
    pub value: Option<f64>,
}

impl Metrics {
    /// Returns all samples from `since` on and before `until` as NDJSON of [`ExportedSample`].
    pub fn export(&self, since: Timestamp, until: Timestamp) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
        let (sender, receiver) = mpsc::channel(PIECES);
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || {
            // Ends early when the reader has gone.
            let _ = query::last_before(until).map(|until| write_all(&shared, since, until, &sender));
        });
        futures::stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|piece| (piece, receiver)) })
    }
}

struct Gone;

type Pieces = mpsc::Sender<Result<Bytes, std::io::Error>>;

fn write_all(shared: &Shared, since: Timestamp, until: Timestamp, pieces: &Pieces) -> Result<(), Gone> {
    let mut piece = Vec::with_capacity(PIECE_BYTES + 1024);
    let today = shared.days.current().0;
    for (day, bounds) in shared.days.bounds() {
        // What is in memory only has no bounds yet.
        let overlaps = bounds.is_some_and(|(first, last)| first <= until && last >= since);
        if !overlaps && day < today {
            continue;
        }
        let mut after = 0;
        loop {
            let page = shared.days.read(day, |connection| store::series_after(connection, after, PAGE_SERIES));
            let Some(page) = page.filter(|page| !page.is_empty()) else { break };
            after = page.last().map_or(i64::MAX, |series| series.row);
            for series in page {
                write_series(&shared.day_samples(day, series, since, until), &mut piece, pieces)?;
            }
        }
    }
    send(&mut piece, pieces)
}

fn write_series(data: &SeriesData, piece: &mut Vec<u8>, pieces: &Pieces) -> Result<(), Gone> {
    let mut line = ExportedSample {
        name: data.series.name.clone(),
        labels: data.series.labels.iter().cloned().collect(),
        kind: data.kind,
        unit: data.unit.clone(),
        timestamp: Timestamp::ZERO,
        value: None,
    };
    for sample in &data.samples {
        line.timestamp = sample.timestamp;
        line.value = sample.value.is_finite().then_some(sample.value);
        serde_json::to_writer(&mut *piece, &line).expect("texts and numbers are JSON, and a vector takes all");
        piece.push(b'\n');
        if piece.len() >= PIECE_BYTES {
            send(piece, pieces)?;
        }
    }
    Ok(())
}

fn send(piece: &mut Vec<u8>, pieces: &Pieces) -> Result<(), Gone> {
    if piece.is_empty() {
        return Ok(());
    }
    let full = std::mem::replace(piece, Vec::with_capacity(PIECE_BYTES + 1024));
    pieces.blocking_send(Ok(Bytes::from(full))).map_err(|_| Gone)
}
