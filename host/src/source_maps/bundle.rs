//! An artifact bundle, as sentry-cli writes it: a zip archive with a manifest that says what each file is.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::zip;

/// Files of one bundle.
const MAX_FILES: usize = 20_000;
/// Longest manifest, in bytes.
const MAX_MANIFEST_BYTES: u64 = 16 << 20;
/// Longest file of a bundle, in bytes.
pub const MAX_FILE_BYTES: u64 = 64 << 20;
/// All files of a bundle, in bytes.
pub const MAX_TOTAL_BYTES: u64 = 1 << 30;
/// Longest address, release and so on, in bytes.
const MAX_TEXT_BYTES: usize = 2_000;

const MANIFEST: &str = "manifest.json";

/// What a file is. Others than these are not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What runs.
    Minified,
    /// What leads from it to what was written.
    SourceMap,
}

/// One file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Under which address it runs: `~/static/app.min.js`.
    pub url: String,
    /// What it is.
    pub kind: Kind,
    /// 32 hexadecimal digits; empty if it has none.
    pub debug_id: String,
    /// Where its source map is, as its headers say; empty if they do not.
    pub source_map: String,
    /// Its content.
    pub content: Vec<u8>,
}

/// What a bundle says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The release; empty if none is named.
    pub release: String,
    /// The distribution; empty if none is named.
    pub dist: String,
    /// The project's name at the uploader's.
    pub project: String,
    /// Files that are neither minified nor a source map.
    pub skipped: usize,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Manifest {
    files: BTreeMap<String, ManifestFile>,
    release: Option<String>,
    dist: Option<String>,
    project: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ManifestFile {
    #[serde(rename = "type")]
    kind: Option<String>,
    url: Option<String>,
    headers: BTreeMap<String, String>,
}

/// Reads `bundle` and hands each of its files to `each`, so that one at a time is in memory.
///
/// # Errors
/// What is wrong with it, or what `each` says.
pub fn read(bundle: &[u8], mut each: impl FnMut(Artifact) -> Result<(), String>) -> Result<Head, String> {
    let entries = zip::entries(bundle)?;
    if entries.len() > MAX_FILES {
        return Err(format!("the bundle has {} files, and {MAX_FILES} are allowed: upload it in parts", entries.len()));
    }
    let total: u64 = entries.iter().map(|entry| entry.bytes).sum();
    if total > MAX_TOTAL_BYTES {
        return Err(format!("the bundle has {total} bytes unpacked, and {MAX_TOTAL_BYTES} are allowed: upload it in parts"));
    }
    let mut by_name: BTreeMap<&str, &zip::Entry<'_>> = BTreeMap::new();
    for entry in &entries {
        if by_name.insert(entry.name, entry).is_some() {
            return Err(format!("the bundle has two files `{}`", entry.name));
        }
    }
    let manifest =
        by_name.get(MANIFEST).ok_or("the bundle has no `manifest.json`: upload it with `sentry-cli sourcemaps upload`")?;
    let manifest: Manifest = serde_json::from_slice(&manifest.read(MAX_MANIFEST_BYTES)?)
        .map_err(|error| format!("the bundle's `manifest.json` cannot be read: {error}"))?;
    let mut head = Head {
        release: text("release", manifest.release)?,
        dist: text("dist", manifest.dist)?,
        project: text("project", manifest.project)?,
        skipped: 0,
    };
    for (path, file) in manifest.files {
        let kind = match file.kind.as_deref() {
            Some("minified_source") => Kind::Minified,
            Some("source_map") => Kind::SourceMap,
            _ => {
                head.skipped += 1;
                continue;
            }
        };
        let entry = by_name.get(path.as_str()).ok_or_else(|| format!("the manifest names `{path}`, which is not in the bundle"))?;
        let header = |names: [&str; 2]| {
            let found = file.headers.iter().find(|(key, _)| names.iter().any(|name| key.eq_ignore_ascii_case(name)));
            found.map(|(_, value)| value.clone())
        };
        let debug_id = header(["debug-id", "debugid"]).unwrap_or_default();
        let debug_id = if debug_id.is_empty() {
            debug_id
        } else {
            debug_id_of(&debug_id).ok_or_else(|| format!("`{path}` has the debug id `{debug_id}`, which is none"))?
        };
        let source_map = text("source map", header(["sourcemap", "x-sourcemap"]))?;
        let url = text("url", file.url)?;
        each(Artifact { url, kind, debug_id, source_map, content: entry.read(MAX_FILE_BYTES)? })?;
    }
    Ok(head)
}

fn text(what: &str, value: Option<String>) -> Result<String, String> {
    let value = value.unwrap_or_default();
    if value.len() > MAX_TEXT_BYTES {
        return Err(format!("the bundle's {what} has {} bytes, and {MAX_TEXT_BYTES} are allowed", value.len()));
    }
    Ok(value)
}

/// Returns a debug id as 32 lower-case digits; `None` if it is none.
#[must_use]
pub fn debug_id_of(text: &str) -> Option<String> {
    let digits: String = text.trim().chars().filter(|c| *c != '-').flat_map(char::to_lowercase).collect();
    (digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(digits)
}

/// Returns 32 digits as debug ids are written.
#[must_use]
pub fn written(digits: &str) -> String {
    match digits.as_bytes() {
        bytes if bytes.len() == 32 && digits.is_ascii() => {
            let [a, b, c, d, e] = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
            format!("{a}-{b}-{c}-{d}-{e}")
        }
        _ => digits.to_owned(),
    }
}

#[cfg(test)]
#[path = "bundle_tests.rs"]
pub(super) mod tests;
