//! Reads the body of a request: bounded, decompressed, and decoded off the async threads when it is large.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use futures::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::InputState;
use crate::http::ApiError;

/// Bodies up to this size are decoded where they are; a hand-over to another thread costs about as much.
const INLINE_BYTES: usize = 16 << 10;

/// The same for a compressed body, which may grow a thousandfold.
const INLINE_COMPRESSED_BYTES: usize = 1 << 10;

/// Largest zstd window, as a power of two: 8 MiB, what RFC 8878 (3.1.1.1.2) recommends to support.
const ZSTD_WINDOW_LOG: u32 = 23;

/// What brotli reads at a time.
const BROTLI_BUFFER_BYTES: usize = 4096;

/// A sender of whose body nothing comes for this long has gone.
const STALL: Duration = Duration::from_secs(60);

/// A whole body must come within this: who trickles it in holds memory that others need.
const WHOLE: Duration = Duration::from_secs(300);

/// What all requests together may use, and how long each may take.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// KiB of raw bodies in memory.
    kibibytes: Arc<Semaphore>,
    /// Large bodies being decompressed and decoded at the same time.
    decoders: Arc<Semaphore>,
    /// The wait for the next piece of a body.
    stall: Duration,
    /// The wait for all of it.
    whole: Duration,
}

impl Limits {
    pub(super) fn new(max_request_bytes: usize) -> Self {
        let kibibytes = (max_request_bytes.max(64 << 20) / 1024).saturating_mul(4).min(Semaphore::MAX_PERMITS);
        let decoders = std::thread::available_parallelism().map_or(2, usize::from) + 1;
        Self {
            kibibytes: Arc::new(Semaphore::new(kibibytes)),
            decoders: Arc::new(Semaphore::new(decoders)),
            stall: STALL,
            whole: WHOLE,
        }
    }
}

/// `Content-Encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As it is.
    Identity,
    /// `gzip`, of one or more members.
    Gzip,
    /// `deflate`: zlib, as HTTP means it.
    Deflate,
    /// `br`.
    Brotli,
    /// `zstd`.
    Zstd,
    /// `snappy`: one block with its length before it and no frames, as Prometheus and Loki mean it.
    Snappy,
}

/// Why a body cannot be decompressed.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Larger than the limit, after decompression.
    #[error("the body is larger than {limit} bytes; send less at a time, or raise `server.max_request_bytes`")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// Not what `Content-Encoding` says.
    #[error("the body is not what its Content-Encoding says: {0}")]
    Damaged(#[from] io::Error),
}

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge { .. } => Self::too_large(error.to_string()),
            BodyError::Damaged(_) => Self::bad_request(error.to_string()),
        }
    }
}

impl Compression {
    /// Returns the compression that the request names.
    ///
    /// # Errors
    /// 415 when it is not one of these.
    pub fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let value = headers.get(header::CONTENT_ENCODING).map_or(Ok(""), |value| value.to_str()).unwrap_or("?");
        match value.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "deflate" => Ok(Self::Deflate),
            "br" => Ok(Self::Brotli),
            "zstd" => Ok(Self::Zstd),
            "snappy" => Ok(Self::Snappy),
            other => Err(ApiError::unsupported(format!(
                "Content-Encoding `{}` is not read here; use gzip, deflate, br, zstd, snappy or none",
                other.chars().take(40).collect::<String>()
            ))),
        }
    }

    /// Decompresses `bytes` into at most `limit` bytes; more is never held in memory.
    ///
    /// # Errors
    /// See [`BodyError`].
    pub fn decompress(self, bytes: &[u8], limit: usize) -> Result<Vec<u8>, BodyError> {
        match self {
            Self::Identity if bytes.len() > limit => Err(BodyError::TooLarge { limit }),
            Self::Identity => Ok(bytes.to_vec()),
            Self::Gzip => read_at_most(flate2::bufread::MultiGzDecoder::new(bytes), bytes.len(), limit),
            Self::Deflate => read_at_most(flate2::bufread::ZlibDecoder::new(bytes), bytes.len(), limit),
            Self::Brotli => {
                // Its window is 16 MiB at most, and it is made with the body.
                read_at_most(brotli_decompressor::Decompressor::new(bytes, BROTLI_BUFFER_BYTES), bytes.len(), limit)
            }
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                read_at_most(decoder, bytes.len(), limit)
            }
            Self::Snappy => {
                let damaged = |error: snap::Error| BodyError::Damaged(io::Error::new(io::ErrorKind::InvalidData, error));
                // It says how much it will be, and the decoder takes no more than that.
                if snap::raw::decompress_len(bytes).map_err(damaged)? > limit {
                    return Err(BodyError::TooLarge { limit });
                }
                snap::raw::Decoder::new().decompress_vec(bytes).map_err(damaged)
            }
        }
    }
}

fn read_at_most(reader: impl Read, compressed: usize, limit: usize) -> Result<Vec<u8>, BodyError> {
    let mut bytes = Vec::with_capacity(compressed.saturating_mul(4).min(limit));
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(most).read_to_end(&mut bytes)?;
    if bytes.len() > limit { Err(BodyError::TooLarge { limit }) } else { Ok(bytes) }
}

/// Reads and decompresses the body and returns what `decode` makes of it.
///
/// # Errors
/// 413 when it is too large, 415 for an unknown compression, 400 when it is damaged or cut off, 408 when it does not come in time,
/// 503 when too many are being read.
pub(super) async fn read<T: Send + 'static>(
    state: &InputState,
    input: &'static str,
    headers: &HeaderMap,
    body: Body,
    decode: impl FnOnce(&[u8]) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let compression = Compression::of(headers)?;
    read_opened(state, input, headers, body, |_| Ok((compression, 0)), decode).await
}

/// As [`read`], for a body that says itself how it is compressed: `open` looks at all of it and returns that, and where what is
/// compressed begins.
///
/// # Errors
/// As [`read`], and those of `open`.
pub(super) async fn read_opened<T: Send + 'static>(
    state: &InputState,
    input: &'static str,
    headers: &HeaderMap,
    body: Body,
    open: impl FnOnce(&[u8]) -> Result<(Compression, usize), ApiError>,
    decode: impl FnOnce(&[u8]) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let limit = state.max_request_bytes;
    let (raw, _held) = collect(state, headers, body).await?;
    let (compression, start) = open(&raw)?;
    let bytes_read = state.self_metrics.counter("watchfire_input_bytes_total", &[("input", input)]);
    let raw_length = raw.len();
    let work = move || {
        if compression == Compression::Identity {
            bytes_read.add((raw.len() - start) as u64);
            return Ok(decode(&raw[start..]));
        }
        let bytes = compression.decompress(&raw[start..], limit)?;
        drop(raw);
        bytes_read.add(bytes.len() as u64);
        Ok(decode(&bytes))
    };
    let inline = if compression == Compression::Identity { INLINE_BYTES } else { INLINE_COMPRESSED_BYTES };
    if raw_length <= inline {
        return work();
    }
    let permit = Arc::clone(&state.limits.decoders).acquire_owned().await;
    let done = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work()
    });
    done.await.unwrap_or_else(|error| Err(ApiError::internal(&error)))
}

/// Returns the raw body, and what holds its place among all bodies in memory.
async fn collect(state: &InputState, headers: &HeaderMap, body: Body) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), ApiError> {
    let limit = state.max_request_bytes;
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(BodyError::TooLarge { limit }.into());
    }
    // What a sender announces is not yet there: room is made as the bytes come.
    let mut bytes = Vec::with_capacity(announced.unwrap_or(0).min(1 << 20));
    let mut held: Option<OwnedSemaphorePermit> = None;
    let mut room = 0;
    let mut stream = body.into_data_stream();
    let end = Instant::now() + state.limits.whole;
    loop {
        let Ok(next) = timeout_at(end.min(Instant::now() + state.limits.stall), stream.next()).await else {
            return Err(ApiError::timeout(format!("the body did not come in time; {} bytes of it did", bytes.len())));
        };
        let Some(chunk) = next else { break };
        let chunk = chunk.map_err(|error| ApiError::bad_request(format!("the body could not be read to its end: {error}")))?;
        if bytes.len() + chunk.len() > limit {
            return Err(BodyError::TooLarge { limit }.into());
        }
        while bytes.len() + chunk.len() > room {
            const STEP_KIBIBYTES: u32 = 64;
            // Never waited for: requests that wait for each other's room would wait for ever.
            let more = Arc::clone(&state.limits.kibibytes)
                .try_acquire_many_owned(STEP_KIBIBYTES)
                .map_err(|_| ApiError::busy("too many requests are being read at the same time", Duration::from_secs(1)))?;
            match &mut held {
                Some(held) => held.merge(more),
                None => held = Some(more),
            }
            room += STEP_KIBIBYTES as usize * 1024;
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok((bytes, held))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Takes nothing.
    struct Nothing;

    impl crate::inputs::LogSink for Nothing {
        fn ingest(
            &self,
            _batch: watchfire_types::LogBatch,
            _offsets: Vec<crate::logs::FileOffset>,
        ) -> futures::future::BoxFuture<'_, Result<crate::store::Accepted, crate::store::IngestError>> {
            Box::pin(async { Ok(crate::store::Accepted::default()) })
        }

        fn file_offsets(&self) -> Result<Vec<crate::logs::FileOffset>, crate::store::StoreError> {
            Ok(Vec::new())
        }
    }

    impl crate::inputs::MetricSink for Nothing {
        fn ingest(
            &self,
            _batch: watchfire_types::MetricBatch,
        ) -> futures::future::BoxFuture<'_, Result<crate::store::Accepted, crate::store::IngestError>> {
            Box::pin(async { Ok(crate::store::Accepted::default()) })
        }
    }

    /// Returns what has come of `body`, or the status of the refusal.
    async fn collected(stall: Duration, whole: Duration, body: Body) -> Result<Vec<u8>, u16> {
        let clock = crate::clock::Clock::manual(watchfire_types::Timestamp::ZERO);
        let mut state = InputState::new(Nothing, Nothing, 1000, crate::telemetry::SelfMetrics::default(), clock);
        (state.limits.stall, state.limits.whole) = (stall, whole);
        let free = state.limits.kibibytes.available_permits();
        let result = collect(&state, &HeaderMap::new(), body).await.map(|(bytes, _)| bytes);
        assert_eq!(state.limits.kibibytes.available_permits(), free, "what was held is given back");
        result.map_err(|error| error.status().as_u16())
    }

    fn pieces(count: usize) -> impl futures::Stream<Item = io::Result<&'static str>> {
        futures::stream::iter((0..count).map(|_| Ok("piece ")))
    }

    #[tokio::test]
    async fn a_body_that_stops_coming_is_given_up() {
        let (soon, long) = (Duration::from_millis(20), Duration::from_secs(3600));
        let stuck = || Body::from_stream(pieces(2).chain(futures::stream::pending()));
        assert_eq!(collected(soon, long, stuck()).await, Err(408));
        assert_eq!(collected(long, soon, stuck()).await, Err(408));
        assert_eq!(collected(long, long, Body::from_stream(pieces(2))).await, Ok(b"piece piece ".to_vec()));
    }

    #[tokio::test]
    async fn a_body_that_trickles_in_is_given_up_at_last() {
        let (long, whole) = (Duration::from_secs(3600), Duration::from_millis(20));
        // Each piece gives way to the timer, and none of them is the last.
        let trickle = futures::stream::unfold((), |()| async {
            tokio::task::yield_now().await;
            Some((io::Result::Ok(""), ()))
        });
        assert_eq!(collected(long, whole, Body::from_stream(trickle)).await, Err(408));
    }

    #[test]
    fn a_gzip_bomb_stops_at_the_limit() {
        let bomb = gzip(&vec![0; 50 << 20]);
        assert!(bomb.len() < 100_000);
        assert!(matches!(Compression::Gzip.decompress(&bomb, 1 << 20), Err(BodyError::TooLarge { .. })));
    }

    #[test]
    fn every_compression_reads_back() {
        let text = b"the same text again and again ".repeat(100);
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        zlib.write_all(&text).unwrap();
        let members = [gzip(&text[..1000]), gzip(&text[1000..])].concat();
        for (compression, bytes) in [
            (Compression::Identity, text.clone()),
            (Compression::Gzip, members),
            (Compression::Deflate, zlib.finish().unwrap()),
            (Compression::Zstd, zstd::stream::encode_all(&text[..], 3).unwrap()),
        ] {
            assert_eq!(compression.decompress(&bytes, text.len()).unwrap(), text, "{compression:?}");
            assert!(compression.decompress(&bytes, text.len() - 1).is_err(), "{compression:?}");
        }
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let mut bytes = gzip(b"hello");
        bytes.truncate(bytes.len() - 4);
        for compression in [Compression::Gzip, Compression::Deflate, Compression::Zstd] {
            assert!(matches!(compression.decompress(&bytes, 1000), Err(BodyError::Damaged(_))), "{compression:?}");
        }
    }
}
