//! Reads zip archives within bounds: names and sizes first, then one file at a time.
//!
//! Source: PKWARE's APPNOTE 6.3.10, sections 4.3 and 4.4. What sentry-cli writes has no encryption and no zip64.

use std::io::Read as _;

/// Ends of a directory may stand so far before the end of the archive: a comment has a 16-bit length.
const MAX_COMMENT_BYTES: usize = 0xFFFF;
const END_BYTES: usize = 22;
const ENTRY_BYTES: usize = 46;
const LOCAL_BYTES: usize = 30;
/// zstd windows that are accepted, as a power of two.
const ZSTD_WINDOW_LOG: u32 = 23;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;
const ZSTD: u16 = 93;

/// One file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// Its path: relative, and never out of the archive.
    pub(super) name: &'a str,
    /// How long it says that it is.
    pub(super) bytes: u64,
    method: u16,
    crc: u32,
    packed: &'a [u8],
}

/// Returns the files of `archive`, which may have something in front of it, in the order of its directory.
///
/// # Errors
/// What is wrong with it.
pub(super) fn entries(archive: &[u8]) -> Result<Vec<Entry<'_>>, String> {
    let (end, count, size, offset) = end_of_directory(archive)?;
    let start = end.checked_sub(size).ok_or("the archive's directory is longer than the archive")?;
    // Whatever was written in front of the archive moves all offsets.
    let moved = start.checked_sub(offset).ok_or("the archive's directory does not lie where the archive says")?;
    let mut rest = &archive[start..end];
    let mut entries = Vec::with_capacity(count.min(rest.len() / ENTRY_BYTES));
    for _ in 0..count {
        let (entry, after) = entry(archive, rest, moved)?;
        entries.extend(entry);
        rest = after;
    }
    Ok(entries)
}

/// Returns where the directory ends, how many files it lists, how long it is and where it says that it begins.
fn end_of_directory(archive: &[u8]) -> Result<(usize, usize, usize, usize), String> {
    let from = archive.len().saturating_sub(END_BYTES + MAX_COMMENT_BYTES);
    let found = memchr::memmem::rfind(&archive[from..], b"PK\x05\x06").map(|at| from + at);
    let end = found.filter(|at| archive.len() - at >= END_BYTES).ok_or("it is no zip archive, or its end is missing")?;
    let record = &archive[end..];
    let (count, size, offset) = (u16_at(record, 10), u32_at(record, 12), u32_at(record, 16));
    if u16_at(record, 4) != 0 || u16_at(record, 6) != 0 || u16_at(record, 8) != count {
        return Err("it is one part of a split archive".to_owned());
    }
    if count == u16::MAX || size == u32::MAX || offset == u32::MAX {
        return Err("it is a zip64 archive: upload fewer files at a time".to_owned());
    }
    Ok((end, usize::from(count), size as usize, offset as usize))
}

/// Reads the first entry of a directory; `None` if it is a folder. Returns what follows it, too.
fn entry<'a>(archive: &'a [u8], directory: &'a [u8], moved: usize) -> Result<(Option<Entry<'a>>, &'a [u8]), String> {
    if directory.len() < ENTRY_BYTES || !directory.starts_with(b"PK\x01\x02") {
        return Err("the archive's directory is damaged".to_owned());
    }
    let (name, extra, comment) = (u16_at(directory, 28), u16_at(directory, 30), u16_at(directory, 32));
    let whole = ENTRY_BYTES + usize::from(name) + usize::from(extra) + usize::from(comment);
    let after = directory.get(whole..).ok_or("the archive's directory is damaged")?;
    let name = &directory[ENTRY_BYTES..ENTRY_BYTES + usize::from(name)];
    let name = std::str::from_utf8(name).map_err(|_| "a file's name in the archive is not UTF-8".to_owned())?;
    check_path(name)?;
    if name.ends_with('/') {
        return Ok((None, after));
    }
    if u16_at(directory, 8) & 1 != 0 {
        return Err(format!("`{}` in the archive is encrypted", shown(name)));
    }
    let damaged = || format!("`{}` does not lie in the archive where its directory says", shown(name));
    let (packed_bytes, at) = (u32_at(directory, 20) as usize, moved + u32_at(directory, 42) as usize);
    let local =
        archive.get(at..).filter(|local| local.len() >= LOCAL_BYTES && local.starts_with(b"PK\x03\x04")).ok_or_else(damaged)?;
    let begin = LOCAL_BYTES + usize::from(u16_at(local, 26)) + usize::from(u16_at(local, 28));
    let packed = begin.checked_add(packed_bytes).and_then(|end| local.get(begin..end)).ok_or_else(damaged)?;
    let (method, crc, bytes) = (u16_at(directory, 10), u32_at(directory, 16), u64::from(u32_at(directory, 24)));
    Ok((Some(Entry { name, bytes, method, crc, packed }), after))
}

/// Refuses what leads out of the archive.
fn check_path(name: &str) -> Result<(), String> {
    let leads_out = name.starts_with('/') || name.contains('\\') || name.contains('\0') || name.split('/').any(|part| part == "..");
    if leads_out || name.is_empty() {
        return Err(format!("`{}` in the archive is no path within it", shown(name)));
    }
    Ok(())
}

impl Entry<'_> {
    /// Returns the file's content.
    ///
    /// # Errors
    /// If it is longer than `most` or than it says, or damaged, or packed in a way that is not read here.
    pub(super) fn read(&self, most: u64) -> Result<Vec<u8>, String> {
        let name = shown(self.name);
        if self.bytes > most {
            return Err(format!("`{name}` has {} bytes, and {most} are allowed", self.bytes));
        }
        // It may say what it likes: no more than that is unpacked, and room is only made for what comes.
        let mut content = Vec::with_capacity(self.bytes.min(self.packed.len() as u64 * 8) as usize);
        let limit = self.bytes + 1;
        let read = match self.method {
            STORED => self.packed.take(limit).read_to_end(&mut content),
            DEFLATED => flate2::bufread::DeflateDecoder::new(self.packed).take(limit).read_to_end(&mut content),
            ZSTD => zstd::stream::read::Decoder::with_buffer(self.packed).and_then(|mut decoder| {
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                decoder.take(limit).read_to_end(&mut content)
            }),
            other => return Err(format!("`{name}` is packed by method {other}; stored, deflate and zstd are read here")),
        };
        read.map_err(|error| format!("`{name}` cannot be unpacked: {error}"))?;
        if content.len() as u64 != self.bytes {
            let longer = if content.len() as u64 > self.bytes { "longer" } else { "shorter" };
            return Err(format!("`{name}` is {longer} than the {} bytes that the archive says", self.bytes));
        }
        if crc32fast::hash(&content) != self.crc {
            return Err(format!("`{name}` is damaged: its checksum is another one"));
        }
        Ok(content)
    }
}

/// Returns a name as a message may show it.
fn shown(name: &str) -> String {
    name.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
