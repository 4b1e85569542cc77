//! The SQL of source maps: bundles, their files, each content once, and parts that are on their way.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde::Serialize;
use watchfire_types::Timestamp;

use super::bundle::{Artifact, Kind, written};
use crate::store::Migration;
use crate::store::columns::{nanos, time};

/// The tables.
pub(super) const MIGRATIONS: &[Migration] = &[include_str!("../../migrations/source_maps/0001_source_maps.sql")];

/// Debug ids and addresses of one bundle that are listed.
const MAX_LISTED: usize = 100;

/// A bundle of minified files and their source maps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct BundleView {
    /// Its id.
    pub id: String,
    /// The release; empty if none was named: then it is found by debug ids alone.
    pub release: String,
    /// The distribution of the release; empty if none was named.
    pub dist: String,
    /// The project, as the uploader named it; it means nothing to the host.
    pub project: String,
    /// Minified files and source maps.
    pub files: u64,
    /// Bytes of these, unpacked.
    pub bytes: u64,
    /// Debug ids of its source maps, at most a hundred.
    pub debug_ids: Vec<String>,
    /// Addresses of its minified files, at most a hundred.
    pub urls: Vec<String>,
    /// When it was uploaded.
    pub uploaded_at: Timestamp,
    /// When an event was resolved with it last; when it was uploaded, if none was.
    pub last_used: Timestamp,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) bundles: u64,
    pub(super) files: u64,
    /// Bytes of contents and chunks, as they are stored.
    pub(super) bytes: u64,
}

/// One file on its way to the table.
pub(super) struct Packed {
    url: String,
    is_map: bool,
    debug_id: String,
    source_map: String,
    sha256: Vec<u8>,
    bytes: u64,
    data: Vec<u8>,
}

impl Packed {
    /// Returns `artifact` as it is stored.
    ///
    /// # Errors
    /// If it cannot be compressed.
    pub(super) fn new(artifact: Artifact) -> std::io::Result<Self> {
        use sha2::Digest as _;
        let data = zstd::bulk::compress(&artifact.content, 3)?;
        Ok(Self {
            url: artifact.url,
            is_map: artifact.kind == Kind::SourceMap,
            debug_id: artifact.debug_id,
            source_map: artifact.source_map,
            sha256: sha2::Sha256::digest(&artifact.content).to_vec(),
            bytes: artifact.content.len() as u64,
            data,
        })
    }

    pub(super) fn stored_bytes(&self) -> u64 {
        self.data.len() as u64
    }
}

/// A bundle on its way to the table.
pub(super) struct NewBundle {
    pub(super) checksum: String,
    pub(super) release: String,
    pub(super) dist: String,
    pub(super) project: String,
    pub(super) files: Vec<Packed>,
}

/// A file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FoundFile {
    pub(super) bundle: i64,
    pub(super) url: String,
    pub(super) debug_id: String,
    pub(super) source_map: String,
    pub(super) sha256: Vec<u8>,
    pub(super) bytes: u64,
}

pub(super) fn totals(connection: &Connection) -> rusqlite::Result<Totals> {
    let sql = "SELECT (SELECT count(*) FROM bundles), (SELECT count(*) FROM files),
        (SELECT coalesce(sum(stored), 0) FROM contents) + (SELECT coalesce(sum(bytes), 0) FROM chunks)";
    connection
        .query_row(sql, [], |row| Ok(Totals { bundles: unsigned(row, 0)?, files: unsigned(row, 1)?, bytes: unsigned(row, 2)? }))
}

/// Returns the id of the bundle, if it has been uploaded already, and notes that somebody wants it.
pub(super) fn touch(transaction: &Transaction<'_>, of: &NewBundle, now: Timestamp) -> rusqlite::Result<Option<i64>> {
    // Where nobody asks for a release, the bundle's own was noted.
    let sql = "UPDATE bundles SET used_at = max(used_at, ?4)
        WHERE checksum = ?1 AND (?2 = '' OR release = ?2) AND (?3 = '' OR dist = ?3) RETURNING id";
    transaction.query_row(sql, params![of.checksum, of.release, of.dist, nanos(now)], |row| row.get(0)).optional()
}

/// Returns which of `chunks` are not there.
pub(super) fn missing(connection: &Connection, chunks: &[String]) -> rusqlite::Result<Vec<String>> {
    let mut find = connection.prepare("SELECT 1 FROM chunks WHERE sha1 = ?1")?;
    let mut missing = Vec::new();
    for chunk in chunks {
        if !find.exists([chunk])? {
            missing.push(chunk.clone());
        }
    }
    Ok(missing)
}

/// Returns how long `chunks` are together.
pub(super) fn length(connection: &Connection, chunks: &[String]) -> rusqlite::Result<u64> {
    let mut find = connection.prepare("SELECT bytes FROM chunks WHERE sha1 = ?1")?;
    chunks.iter().try_fold(0, |sum, chunk| Ok(sum + find.query_row([chunk], |row| unsigned(row, 0))?))
}

/// Returns `chunks` put together.
pub(super) fn joined(connection: &Connection, chunks: &[String]) -> rusqlite::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut find = connection.prepare("SELECT data FROM chunks WHERE sha1 = ?1")?;
    for chunk in chunks {
        find.query_row([chunk], |row| {
            bytes.extend_from_slice(row.get_ref(0)?.as_blob()?);
            Ok(())
        })?;
    }
    Ok(bytes)
}

pub(super) fn add_chunks(transaction: &Transaction<'_>, chunks: &[(String, Vec<u8>)], now: Timestamp) -> rusqlite::Result<()> {
    let sql = "INSERT INTO chunks (sha1, at, bytes, data) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET at = excluded.at";
    let mut insert = transaction.prepare(sql)?;
    for (sha1, data) in chunks {
        insert.execute(params![sha1, nanos(now), data.len() as i64, data])?;
    }
    Ok(())
}

pub(super) fn drop_chunks(transaction: &Transaction<'_>, chunks: &[String]) -> rusqlite::Result<()> {
    let mut delete = transaction.prepare("DELETE FROM chunks WHERE sha1 = ?1")?;
    chunks.iter().try_for_each(|chunk| delete.execute([chunk]).map(|_| ()))
}

/// Drops chunks of before `time`, and the oldest of what is more than `most` bytes; returns how many went.
pub(super) fn collect_chunks(transaction: &Transaction<'_>, time: Timestamp, most: u64) -> rusqlite::Result<u64> {
    let mut dropped = transaction.execute("DELETE FROM chunks WHERE at < ?1", [nanos(time)])?;
    let sql = "DELETE FROM chunks WHERE sha1 IN (
        SELECT sha1 FROM (SELECT sha1, sum(bytes) OVER (ORDER BY at DESC, sha1) AS upto FROM chunks) WHERE upto > ?1)";
    dropped += transaction.execute(sql, [most.min(i64::MAX as u64) as i64])?;
    Ok(dropped as u64)
}

/// Stores `bundle`, whose chunks go.
pub(super) fn add(transaction: &Transaction<'_>, bundle: &NewBundle, chunks: &[String], now: Timestamp) -> rusqlite::Result<()> {
    let sql = "INSERT INTO bundles (checksum, release, dist, project, uploaded_at, used_at) VALUES (?1, ?2, ?3, ?4, ?5, ?5)
        ON CONFLICT DO UPDATE SET uploaded_at = excluded.uploaded_at, used_at = excluded.used_at RETURNING id";
    let of = params![bundle.checksum, bundle.release, bundle.dist, bundle.project, nanos(now)];
    let id: i64 = transaction.query_row(sql, of, |row| row.get(0))?;
    transaction.execute("DELETE FROM files WHERE bundle = ?1", [id])?;
    let sql = "INSERT INTO contents (sha256, bytes, stored, data) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
    let mut content = transaction.prepare(sql)?;
    let sql = "INSERT INTO files (bundle, url, is_map, debug_id, source_map, content, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let mut insert = transaction.prepare(sql)?;
    for file in &bundle.files {
        content.execute(params![file.sha256, file.bytes as i64, file.data.len() as i64, file.data])?;
        insert.execute(params![id, file.url, file.is_map, file.debug_id, file.source_map, file.sha256, file.bytes as i64])?;
    }
    drop_chunks(transaction, chunks)
}

/// Deletes a bundle; returns whether there was one.
pub(super) fn remove(transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<bool> {
    let mut contents = transaction.prepare("SELECT DISTINCT content FROM files WHERE bundle = ?1")?;
    let contents: Vec<Vec<u8>> = contents.query_map([id], |row| row.get(0))?.collect::<Result<_, _>>()?;
    transaction.execute("DELETE FROM files WHERE bundle = ?1", [id])?;
    let sql = "DELETE FROM contents WHERE sha256 = ?1 AND NOT EXISTS (SELECT 1 FROM files WHERE content = ?1)";
    let mut delete = transaction.prepare(sql)?;
    for content in contents {
        delete.execute([content])?;
    }
    Ok(transaction.execute("DELETE FROM bundles WHERE id = ?1", [id])? > 0)
}

/// Deletes bundles that were used last before `time`; returns how many.
pub(super) fn remove_unused(transaction: &Transaction<'_>, time: Timestamp) -> rusqlite::Result<u64> {
    let mut find = transaction.prepare("SELECT id FROM bundles WHERE used_at < ?1")?;
    let unused: Vec<i64> = find.query_map([nanos(time)], |row| row.get(0))?.collect::<Result<_, _>>()?;
    unused.iter().try_for_each(|id| remove(transaction, *id).map(|_| ()))?;
    Ok(unused.len() as u64)
}

/// Deletes the bundles that were not used for longest until no more than `most` bytes are left; the one uploaded last stays.
pub(super) fn remove_beyond(transaction: &Transaction<'_>, most: u64) -> rusqlite::Result<u64> {
    let mut removed = 0;
    let sql = "SELECT id FROM bundles WHERE id <> (SELECT id FROM bundles ORDER BY uploaded_at DESC, id DESC LIMIT 1)
        ORDER BY used_at, id LIMIT 1";
    while totals(transaction)?.bytes > most {
        let Some(id) = transaction.query_row(sql, [], |row| row.get(0)).optional()? else { break };
        remove(transaction, id)?;
        removed += 1;
    }
    Ok(removed)
}

/// Notes that bundles were used.
pub(super) fn used(transaction: &Transaction<'_>, bundles: &[i64], now: Timestamp) -> rusqlite::Result<()> {
    let mut update = transaction.prepare("UPDATE bundles SET used_at = max(used_at, ?2) WHERE id = ?1")?;
    bundles.iter().try_for_each(|id| update.execute(params![id, nanos(now)]).map(|_| ()))
}

/// Returns the bundles, of `release` if one is named, those uploaded last first.
pub(super) fn list(connection: &Connection, release: Option<&str>, limit: usize) -> rusqlite::Result<Vec<BundleView>> {
    let sql =
        "SELECT b.id, release, dist, project, uploaded_at, used_at, count(f.bundle) AS files, coalesce(sum(f.bytes), 0) AS bytes
        FROM bundles b LEFT JOIN files f ON f.bundle = b.id WHERE ?1 IS NULL OR release = ?1
        GROUP BY b.id ORDER BY uploaded_at DESC, b.id DESC LIMIT ?2";
    let mut bundles = connection.prepare(sql)?;
    let view = |row: &rusqlite::Row<'_>| {
        Ok(BundleView {
            id: row.get::<_, i64>("id")?.to_string(),
            release: row.get("release")?,
            dist: row.get("dist")?,
            project: row.get("project")?,
            files: unsigned(row, "files")?,
            bytes: unsigned(row, "bytes")?,
            debug_ids: Vec::new(),
            urls: Vec::new(),
            uploaded_at: time(row, "uploaded_at")?,
            last_used: time(row, "used_at")?,
        })
    };
    let mut views: Vec<BundleView> = bundles.query_map(params![release, limit as i64], view)?.collect::<Result<_, _>>()?;
    let mut ids = connection
        .prepare("SELECT DISTINCT debug_id FROM files WHERE bundle = ?1 AND is_map AND debug_id <> '' ORDER BY 1 LIMIT ?2")?;
    let mut urls = connection.prepare("SELECT DISTINCT url FROM files WHERE bundle = ?1 AND NOT is_map ORDER BY 1 LIMIT ?2")?;
    for view in &mut views {
        let of = params![view.id.parse::<i64>().unwrap_or(0), MAX_LISTED as i64];
        view.debug_ids = ids.query_map(of, |row| Ok(written(row.get_ref(0)?.as_str()?)))?.collect::<Result<_, _>>()?;
        view.urls = urls.query_map(of, |row| row.get(0))?.collect::<Result<_, _>>()?;
    }
    Ok(views)
}

/// Returns the file of `debug_id` that was uploaded last.
pub(super) fn by_debug_id(connection: &Connection, debug_id: &str, is_map: bool) -> rusqlite::Result<Option<FoundFile>> {
    let sql = "SELECT bundle, url, debug_id, source_map, content, f.bytes FROM files f JOIN bundles b ON b.id = f.bundle
        WHERE debug_id = ?1 AND is_map = ?2 AND debug_id <> '' ORDER BY uploaded_at DESC, b.id DESC LIMIT 1";
    connection.query_row(sql, params![debug_id, is_map], found).optional()
}

/// Returns the file of `release` at one of `urls`: of this `dist` before one of none, then of the first address that one has.
pub(super) fn by_url(
    connection: &Connection,
    release: &str,
    dist: &str,
    urls: &[String],
    is_map: bool,
) -> rusqlite::Result<Option<FoundFile>> {
    let sql = "SELECT bundle, url, debug_id, source_map, content, f.bytes FROM files f JOIN bundles b ON b.id = f.bundle
        WHERE url = ?1 AND is_map = ?2 AND release = ?3 AND dist IN (?4, '') ORDER BY dist = ?4 DESC, uploaded_at DESC, b.id DESC LIMIT 1";
    let mut find = connection.prepare(sql)?;
    for url in urls {
        let file = find.query_row(params![url, is_map, release, dist], found).optional()?;
        if file.is_some() {
            return Ok(file);
        }
    }
    Ok(None)
}

fn found(row: &rusqlite::Row<'_>) -> rusqlite::Result<FoundFile> {
    Ok(FoundFile {
        bundle: row.get(0)?,
        url: row.get(1)?,
        debug_id: row.get(2)?,
        source_map: row.get(3)?,
        sha256: row.get(4)?,
        bytes: unsigned(row, 5)?,
    })
}

/// Reads a number that is never negative.
fn unsigned(row: &rusqlite::Row<'_>, column: impl rusqlite::RowIndex) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.max(0) as u64)
}

/// Returns whether there are files of `release`.
pub(super) fn has_release(connection: &Connection, release: &str) -> rusqlite::Result<bool> {
    connection.prepare("SELECT 1 FROM bundles WHERE release = ?1")?.exists([release])
}

/// Returns a content as it is stored.
pub(super) fn content(connection: &Connection, sha256: &[u8]) -> rusqlite::Result<Option<Vec<u8>>> {
    connection.query_row("SELECT data FROM contents WHERE sha256 = ?1", [sha256], |row| row.get(0)).optional()
}
