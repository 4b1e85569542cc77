//! Answers the error engine: finds the map of a file, reads it once, and asks it.

use std::sync::Arc;

use super::cache::{Key, Slot};
use super::map::{self, ReadMap};
use super::store::{self, FoundFile};
use super::{SourceMaps, bundle, count, urls};
use crate::errors::originals::{Build, Call, Found, Originals};
use crate::store::StoreError;

/// Longest content that is unpacked, in bytes: what was taken in is not longer.
const MAX_CONTENT_BYTES: usize = bundle::MAX_FILE_BYTES as usize;
/// Longest address that is looked for, in bytes.
const MAX_FILE_NAME_BYTES: usize = 2_000;

impl Originals for SourceMaps {
    fn is_empty(&self) -> bool {
        self.0.totals.lock().bundles == 0
    }

    fn find(&self, build: &Build<'_>, call: &Call<'_>) -> Found {
        let found = self.look_up(build, call);
        let outcome = match &found {
            Found::Original(_) => "resolved",
            Found::Unknown => "unknown",
            Found::NoMap(_) => "no_map",
        };
        count(&self.0.meters.calls, outcome, 1);
        found
    }
}

impl SourceMaps {
    fn look_up(&self, build: &Build<'_>, call: &Call<'_>) -> Found {
        if self.is_empty() {
            return Found::NoMap("no source map has been uploaded".to_owned());
        }
        if call.file.len() > MAX_FILE_NAME_BYTES {
            return Found::NoMap("its address is too long".to_owned());
        }
        let mut reason: Option<Arc<str>> = None;
        for key in keys(build, call) {
            match self.slot(&key) {
                Ok(Slot::Map(map, bundles)) => {
                    self.0.used.lock().extend(bundles);
                    return map.original(call).map_or(Found::Unknown, Found::Original);
                }
                Ok(Slot::None(why)) => reason = reason.or(Some(why)),
                Err(error) => {
                    self.note(Some(&error));
                    return Found::NoMap("source maps cannot be read at present; the host's log says why".to_owned());
                }
            }
        }
        let nothing = "the event names no release, and the file has no debug id: `sentry-cli sourcemaps inject` gives it one";
        Found::NoMap(reason.map_or_else(|| nothing.to_owned(), |reason| reason.to_string()))
    }

    /// Returns the map of `key`, which is read if it is not in memory.
    fn slot(&self, key: &Key) -> Result<Slot, StoreError> {
        let generation = match self.0.cache.get(key) {
            Ok(slot) => return Ok(slot),
            Err(generation) => generation,
        };
        let slot = match self.read(key)? {
            Ok((map, bundles)) => Slot::Map(Arc::new(map), bundles),
            Err(reason) => Slot::None(reason.into()),
        };
        self.0.cache.put(key.clone(), slot.clone(), generation);
        Ok(slot)
    }

    /// Reads the map of `key`; or says why there is none.
    fn read(&self, key: &Key) -> Result<Result<(ReadMap, Vec<i64>), String>, StoreError> {
        let (minified, source_map, name) = match key {
            Key::DebugId(id) => {
                let of = |is_map| self.0.database.read_blocking(|connection| store::by_debug_id(connection, id, is_map));
                (of(false)?, of(true)?, bundle::written(id))
            }
            Key::File { release, dist, file } => match self.of_release(release, dist, file)? {
                Ok((minified, source_map)) => {
                    let name = source_map.as_ref().or(minified.as_ref()).map_or_else(String::new, |file| file.url.clone());
                    (minified, source_map, name)
                }
                Err(reason) => return Ok(Err(reason)),
            },
        };
        let bundles = minified.iter().chain(&source_map).map(|file| file.bundle).collect();
        let content = match &minified {
            Some(file) => self.content(file)?,
            None => None,
        };
        let json = match &source_map {
            Some(file) => self.content(file)?,
            None => match content.as_deref().and_then(map::reference).and_then(map::inline) {
                Some(Ok(json)) => Some(json),
                Some(Err(reason)) => return Ok(Err(reason)),
                None => None,
            },
        };
        let Some(json) = json else {
            return Ok(Err(match (key, minified) {
                (_, Some(file)) => format!("`{}` has been uploaded without its source map", file.url),
                (Key::DebugId(_), None) => "no source map with this debug id has been uploaded".to_owned(),
                (Key::File { release, .. }, None) => format!("release `{release}` has no source map of it"),
            }));
        };
        Ok(match ReadMap::read(&json, content, &name) {
            Ok(map) => Ok((map, bundles)),
            Err(reason) => Err(format!("its source map cannot be read: {reason}")),
        })
    }

    /// Finds the minified file and the map of `file` in `release`.
    #[expect(clippy::type_complexity, reason = "a pair of files, or why there is none")]
    fn of_release(
        &self,
        release: &str,
        dist: &str,
        file: &str,
    ) -> Result<Result<(Option<FoundFile>, Option<FoundFile>), String>, StoreError> {
        let candidates = urls::candidates(file);
        let database = &self.0.database;
        let minified = database.read_blocking(|connection| store::by_url(connection, release, dist, &candidates, false))?;
        let Some(found) = minified else {
            // The map alone may have been uploaded.
            let maps: Vec<String> = candidates.iter().map(|url| format!("{url}.map")).collect();
            let (source_map, has_release) = database.read_blocking(|connection| {
                Ok((store::by_url(connection, release, dist, &maps, true)?, store::has_release(connection, release)?))
            })?;
            return Ok(match source_map {
                Some(source_map) => Ok((None, Some(source_map))),
                None if has_release => Err(format!("release `{release}` has no source map of it")),
                None => Err(format!("nothing of release `{release}` has been uploaded")),
            });
        };
        let reference = if found.source_map.is_empty() {
            let content = self.content(&found)?.unwrap_or_default();
            map::reference(&content).filter(|reference| !reference.starts_with("data:")).map(str::to_owned)
        } else {
            Some(found.source_map.clone())
        };
        let mut source_map = None;
        if let Some(reference) = reference {
            let addresses = urls::candidates(&urls::join(&found.url, &reference));
            source_map = database.read_blocking(|connection| store::by_url(connection, release, dist, &addresses, true))?;
        }
        if source_map.is_none() && !found.debug_id.is_empty() {
            source_map = database.read_blocking(|connection| store::by_debug_id(connection, &found.debug_id, true))?;
        }
        Ok(Ok((Some(found), source_map)))
    }

    fn content(&self, file: &FoundFile) -> Result<Option<Vec<u8>>, StoreError> {
        let packed = self.0.database.read_blocking(|connection| store::content(connection, &file.sha256))?;
        let most = (file.bytes as usize).min(MAX_CONTENT_BYTES);
        // It was packed here; if the file is damaged, the map is one that is not there.
        Ok(packed.and_then(|packed| zstd::bulk::decompress(&packed, most).ok()))
    }
}

/// Returns what is looked for, the surest first.
fn keys(build: &Build<'_>, call: &Call<'_>) -> Vec<Key> {
    let by_id = bundle::debug_id_of(build.debug_id).map(Key::DebugId);
    let by_file = (!build.release.is_empty()).then(|| Key::File {
        release: build.release.to_owned(),
        dist: build.dist.to_owned(),
        file: call.file.to_owned(),
    });
    by_id.into_iter().chain(by_file).collect()
}
