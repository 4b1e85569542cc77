//! Puts the parts of a bundle together, and files its content.

use serde::{Deserialize, Serialize};

use super::bundle::{self, Artifact};
use super::store::{self, NewBundle, Packed};
use super::{MAX_BUNDLE_BYTES, SourceMaps, count};
use crate::store::StoreError;
use crate::store::crash::crash_point;

/// Parts of one bundle.
const MAX_CHUNKS: usize = 65_536;
/// Longest release, in bytes; Sentry's is shorter.
const MAX_NAME_BYTES: usize = 500;

/// Which bundle is to be put together, of which parts.
#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Wanted {
    /// SHA-1 of the whole.
    pub checksum: String,
    /// SHA-1 of each part, in order.
    pub chunks: Vec<String>,
    /// The release.
    pub version: Option<String>,
    /// The distribution of the release.
    pub dist: Option<String>,
    /// Names of projects, of which the first is noted.
    pub projects: Vec<String>,
}

/// How that went, in the words of Sentry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Assembled {
    /// `ok`, `not_found` while parts are missing, or `error`.
    pub state: &'static str,
    /// Parts that are to be sent first.
    pub missing_chunks: Vec<String>,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Assembled {
    fn ok() -> Self {
        Self { state: "ok", missing_chunks: Vec::new(), detail: None }
    }

    fn refused(detail: String) -> Self {
        Self { state: "error", missing_chunks: Vec::new(), detail: Some(detail) }
    }
}

/// Returns the SHA-1 of `bytes`, by which Sentry names what it transports; nothing is trusted for it.
pub(super) fn sha1(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
    watchfire_types::log::hex(digest.as_ref())
}

/// Whether `text` is a SHA-1 as sentry-cli writes it.
pub(super) fn is_sha1(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl SourceMaps {
    /// Puts a bundle together, or says which parts are missing. When it answers `ok`, the files are on disk.
    ///
    /// # Errors
    /// The database's.
    pub async fn assemble(&self, wanted: Wanted) -> Result<Assembled, StoreError> {
        let outcome = self.try_assemble(wanted).await?;
        match outcome.state {
            "ok" => count(&self.0.meters.uploads, "ok", 1),
            "error" => {
                count(&self.0.meters.uploads, "refused", 1);
                tracing::warn!(reason = outcome.detail.as_deref(), "a bundle of source maps was refused");
            }
            _ => {}
        }
        Ok(outcome)
    }

    async fn try_assemble(&self, wanted: Wanted) -> Result<Assembled, StoreError> {
        if let Err(reason) = check(&wanted) {
            return Ok(Assembled::refused(reason));
        }
        let inner = &self.0;
        let _one_at_a_time = inner.assembling.acquire().await.map_err(|_| StoreError::Closed)?;
        let new = NewBundle {
            checksum: wanted.checksum,
            release: wanted.version.unwrap_or_default(),
            dist: wanted.dist.unwrap_or_default(),
            project: wanted.projects.into_iter().next().unwrap_or_default(),
            files: Vec::new(),
        };
        let (chunks, now) = (wanted.chunks, inner.clock.now());
        let look = {
            let chunks = chunks.clone();
            move |transaction: &rusqlite::Transaction<'_>| {
                let known = store::touch(transaction, &new, now)?.is_some();
                let missing = if known { Vec::new() } else { store::missing(transaction, &chunks)? };
                let bytes = if known || !missing.is_empty() { 0 } else { store::length(transaction, &chunks)? };
                Ok((new, known, missing, bytes))
            }
        };
        let (new, known, missing, bytes) = inner.database.write(look).await?;
        if known {
            return Ok(Assembled::ok());
        }
        if !missing.is_empty() {
            return Ok(Assembled { state: "not_found", missing_chunks: missing, detail: None });
        }
        if bytes > MAX_BUNDLE_BYTES {
            self.give_up(chunks).await?;
            let reason = format!("the bundle has {bytes} bytes, and {MAX_BUNDLE_BYTES} are allowed: upload it in parts");
            return Ok(Assembled::refused(reason));
        }
        let (database, most, parts) = (inner.database.clone(), inner.settings.max_bytes, chunks.clone());
        let unpack = move || {
            let bytes = database.read_blocking(|connection| store::joined(connection, &parts))?;
            Ok::<_, StoreError>(unpack(&bytes, new, most))
        };
        let unpacked = tokio::task::spawn_blocking(unpack).await.map_err(|_| StoreError::Closed)??;
        let bundle = match unpacked {
            Ok(bundle) => bundle,
            Err(reason) => {
                self.give_up(chunks).await?;
                return Ok(Assembled::refused(reason));
            }
        };
        let work = move |transaction: &rusqlite::Transaction<'_>| {
            store::add(transaction, &bundle, &chunks, now)?;
            let removed = store::remove_beyond(transaction, most)?;
            crash_point("source_maps.before_commit");
            Ok((removed, store::totals(transaction)?, bundle))
        };
        let (removed, totals, bundle) = inner.database.write(work).await?;
        crash_point("source_maps.after_commit");
        // What was not found before may be now.
        inner.cache.clear();
        self.set_totals(totals);
        count(&inner.meters.removed, "bytes", removed);
        tracing::info!(
            release = bundle.release,
            files = bundle.files.len(),
            removed,
            "source maps of release `{}` were uploaded",
            bundle.release
        );
        Ok(Assembled::ok())
    }

    /// Drops the parts of a bundle that is refused: sent again, they would be refused again.
    async fn give_up(&self, chunks: Vec<String>) -> Result<(), StoreError> {
        let work = move |transaction: &rusqlite::Transaction<'_>| {
            store::drop_chunks(transaction, &chunks)?;
            store::totals(transaction)
        };
        self.set_totals(self.0.database.write(work).await?);
        Ok(())
    }
}

fn check(wanted: &Wanted) -> Result<(), String> {
    let odd = std::iter::once(&wanted.checksum).chain(&wanted.chunks).find(|text| !is_sha1(text));
    if let Some(odd) = odd {
        return Err(format!("`{}` is no SHA-1 in 40 hexadecimal digits", odd.chars().take(60).collect::<String>()));
    }
    if wanted.chunks.is_empty() || wanted.chunks.len() > MAX_CHUNKS {
        return Err(format!("a bundle has 1 to {MAX_CHUNKS} chunks, this one {}", wanted.chunks.len()));
    }
    for (what, text) in [("version", &wanted.version), ("dist", &wanted.dist)] {
        if text.as_ref().is_some_and(|text| text.len() > MAX_NAME_BYTES) {
            return Err(format!("the {what} is longer than {MAX_NAME_BYTES} bytes"));
        }
    }
    Ok(())
}

/// Reads the bundle `bytes` into `new`; its files may take `most` bytes.
fn unpack(bytes: &[u8], mut new: NewBundle, most: u64) -> Result<NewBundle, String> {
    let found = sha1(bytes);
    if found != new.checksum {
        return Err(format!("the bundle's checksum is {found}, not {}: upload it again", new.checksum));
    }
    let mut stored = 0;
    let mut files = Vec::new();
    let head = bundle::read(bytes, |file: Artifact| {
        let packed = Packed::new(file).map_err(|error| format!("a file cannot be compressed: {error}"))?;
        stored += packed.stored_bytes();
        files.push(packed);
        if stored > most {
            return Err(format!("the bundle takes more than the {most} bytes of error_tracking.source_maps.max_bytes: raise it"));
        }
        Ok(())
    })?;
    if files.is_empty() {
        return Err("the bundle has neither a minified file nor a source map: is the folder the one that was built?".to_owned());
    }
    // What was asked for goes before what the bundle says of itself.
    let or = |asked: &mut String, said: String| {
        if asked.is_empty() {
            *asked = said;
        }
    };
    or(&mut new.release, head.release);
    or(&mut new.dist, head.dist);
    or(&mut new.project, head.project);
    new.files = files;
    Ok(new)
}
