//! The files beside a followed one: those that it became when it was rotated.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// Returns the files beside `path` whose names rotation may have made of its name.
pub(super) fn of(path: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let name = path.file_name().unwrap_or_default().to_owned();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.path()).filter(move |other| other.file_name().is_some_and(|other| is_rotation(&name, other)))
}

/// Returns whether `other` is a name that rotation makes of `name`: `app.log.1`, `app.log-20261124`, `app-2026-11-24.log`, `app.1.log`,
/// `app.log.old`, and each of them with the ending of what compressed it.
fn is_rotation(name: &OsStr, other: &OsStr) -> bool {
    let (name, other) = (name.to_string_lossy(), other.to_string_lossy());
    if name == other {
        return false;
    }
    let other = [".gz", ".zst"].iter().find_map(|ending| other.strip_suffix(ending)).unwrap_or(&other);
    let is_mark = |mark: &str| {
        let mark = mark.strip_suffix(".log").unwrap_or(mark);
        mark.starts_with(['.', '-', '_', '~'])
            && (matches!(mark, ".old" | ".bak" | ".prev" | "-old" | "~")
                || mark.bytes().any(|byte| byte.is_ascii_digit())
                    && mark
                        .bytes()
                        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_' | b'T' | b'Z' | b'+' | b':')))
    };
    if let Some(mark) = other.strip_prefix(&*name) {
        // `app.log.gz` has no other mark.
        return mark.is_empty() || is_mark(mark);
    }
    // The mark may stand before the ending.
    let Some((stem, ending)) = name.rsplit_once('.') else { return false };
    let middle = other.strip_prefix(stem).and_then(|rest| rest.strip_suffix(ending)).and_then(|rest| rest.strip_suffix('.'));
    middle.is_some_and(is_mark)
}

/// What [`compressed`] says of two kinds that can be read.
pub(super) const GZIP: &str = "compressed by gzip";
pub(super) const ZSTD: &str = "compressed by zstd";

/// Returns what kind of file begins like this, if it is one that has no lines.
pub(super) fn compressed(head: &[u8]) -> Option<&'static str> {
    const KINDS: [(&[u8], &str); 10] = [
        (b"\x1f\x8b", GZIP),
        (b"\x28\xb5\x2f\xfd", ZSTD),
        (b"\xfd7zXZ\0", "compressed by xz"),
        (b"BZh", "compressed by bzip2"),
        (b"\x04\x22\x4d\x18", "compressed by lz4"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"\x7fELF", "a program"),
        (b"\x89PNG", "a picture"),
        (b"LPKSHHRH", "a systemd journal"),
        (b"SQLite f", "a database"),
    ];
    KINDS.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_rotation_makes() {
        let is = |name: &str, other: &str| is_rotation(OsStr::new(name), OsStr::new(other));
        for other in [
            "a.log.1",
            "a.log.12",
            "a.log-20261124",
            "a.log-20261124.1",
            "a.log.2026-11-24",
            "a.log.20261124-053720",
            "a.log.old",
            "a.log~",
            "a-2026-11-24.log",
            "a.1.log",
            "a.2026-11-24.0.log",
            "a_1.log",
            "a.log.1.gz",
            "a.log-20261124.zst",
            "a.log.gz",
        ] {
            assert!(is("a.log", other), "{other}");
        }
        for other in ["a.log", "a.log.lock", "a.log.gz.tmp", "ab.log", "a-errors.log", "a.log-errors", "b.log.1", "a.log.", "1.log"]
        {
            assert!(!is("a.log", other), "{other}");
        }
        assert!(is("syslog", "syslog.1") && !is("syslog", "syslog-ng") && is("0.log", "0.log.20261124-053720"));
    }
}
