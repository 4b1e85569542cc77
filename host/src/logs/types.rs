//! What is asked of the log.

use watchfire_types::{Severity, Timestamp};

/// Longest text of a filter, in bytes: each of its words is compiled, and a long one takes a thousand times its own memory.
pub const MAX_TEXT_BYTES: usize = 4096;

/// Which records are meant. All conditions must hold; the default means every record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFilter {
    /// A query without pipes: words, `"quoted phrases"` and conditions, in the language of [`super::query`].
    pub text: String,
    /// Least severity.
    pub level: Option<Severity>,
    /// `service.name`, exactly; several mean any of them.
    pub services: Vec<String>,
    /// Attribute (of the record, else of its resource) and its value as text, exactly.
    pub attributes: Vec<(String, String)>,
    /// Event time, inclusive.
    pub since: Option<Timestamp>,
    /// Event time, exclusive.
    pub until: Option<Timestamp>,
}

/// How far a tailed file, or another input that can be read again from where it was left, has been read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileOffset {
    /// Path under which it was opened; for what is no file a name of its own, without a slash.
    pub path: String,
    /// Device and inode: tell a rotated file from a new one of the same name.
    pub device: u64,
    /// See `device`.
    pub inode: u64,
    /// Bytes read and stored.
    pub offset: u64,
    /// Hash of the file's first bytes (at most 1,024, and at most `offset`): tells a reused inode or a truncated file.
    pub fingerprint: u64,
    /// What an input that is no file goes on from, in its own words: journald's cursor. Empty for a file.
    pub cursor: String,
}
