//! Checks the inputs of files.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::check::Checker;
use super::raw::{RawFileInput, RawMultiline, RawStdin};
use super::{FileInput, Multiline};
use crate::inputs::files::glob::{Exclude, Pattern};
use crate::inputs::formats::Format;
use crate::nearest::did_you_mean;

/// Returns the inputs as they can be run; what is wrong with them is the checker's.
pub(super) fn check(checker: &mut Checker<'_>, files: Vec<RawFileInput>) -> Vec<FileInput> {
    let mut seen: HashSet<PathBuf> = HashSet::new();
    files.into_iter().enumerate().map(|(index, file)| one(checker, &format!("inputs.files[{index}]"), file, &mut seen)).collect()
}

/// Returns how standard input is read.
pub(super) fn of_stdin(checker: &mut Checker<'_>, raw: RawStdin) -> FileInput {
    let at = "inputs.stdin";
    FileInput {
        service: raw.service,
        format: raw.format.as_deref().map_or(Format::Auto, |name| format(checker, &format!("{at}.format"), name)),
        multiline: raw.multiline.map_or_else(Multiline::default, |raw| multiline(checker, &format!("{at}.multiline"), raw)),
        ..FileInput::default()
    }
}

fn one(checker: &mut Checker<'_>, at: &str, raw: RawFileInput, seen: &mut HashSet<PathBuf>) -> FileInput {
    let mut paths = Vec::new();
    if raw.path.is_none() && raw.paths.is_empty() {
        checker.fault(format!("{at}.path"), "expected the path of a file");
    }
    let named = raw.path.into_iter().map(|path| (format!("{at}.path"), path));
    let more = raw.paths.into_iter().enumerate().map(|(index, path)| (format!("{at}.paths[{index}]"), path));
    for (key, path) in named.chain(more) {
        paths.extend(self::path(checker, &key, path, seen));
    }
    for (index, exclude) in raw.exclude.iter().enumerate() {
        if let Err(error) = Exclude::new(exclude) {
            checker.fault(format!("{at}.exclude[{index}]"), error.to_string());
        }
    }
    if raw.attributes.keys().any(String::is_empty) {
        checker.fault(format!("{at}.attributes"), "expected names that are not empty");
    }
    let format = raw.format.as_deref().map_or(Format::Auto, |name| format(checker, &format!("{at}.format"), name));
    let encoding = raw.encoding.and_then(|name| {
        let found = encoding_rs::Encoding::for_label(name.as_bytes());
        if found.is_none() {
            checker.fault(
                format!("{at}.encoding"),
                format!("expected a character encoding such as `gbk` or `utf-16le`, found `{name}`"),
            );
        }
        found
    });
    FileInput {
        paths,
        exclude: raw.exclude,
        service: raw.service,
        attributes: raw.attributes.into_iter().collect(),
        from_beginning: raw.from_beginning,
        format,
        encoding,
        multiline: raw.multiline.map_or_else(Multiline::default, |raw| multiline(checker, &format!("{at}.multiline"), raw)),
    }
}

fn path(checker: &mut Checker<'_>, key: &str, path: PathBuf, seen: &mut HashSet<PathBuf>) -> Option<PathBuf> {
    if path.as_os_str().is_empty() {
        checker.fault(key, "expected the path of a file");
        return None;
    }
    if !seen.insert(path.clone()) {
        checker.fault(key, format!("`{}` is named twice", path.display()));
    } else if path.is_dir() {
        let hint =
            if path == Path::new("/") { String::new() } else { format!(": `{}/*.log` means the logs in it", path.display()) };
        checker.fault(key, format!("expected a file, and `{}` is a folder{hint}", path.display()));
    }
    let absolute = std::path::absolute(&path).unwrap_or(path);
    if let Err(error) = Pattern::new(&absolute) {
        checker.fault(key, error.to_string());
        return None;
    }
    Some(absolute)
}

fn format(checker: &mut Checker<'_>, key: &str, name: &str) -> Format {
    Format::from_name(name).unwrap_or_else(|| {
        let hint = did_you_mean(name, Format::NAMES.iter().copied());
        let names = Format::NAMES.join("`, `");
        checker.fault(key, format!("no format is called `{name}`{hint}; there are `{names}`, and `parser:NAME` for a component"));
        Format::Auto
    })
}

fn multiline(checker: &mut Checker<'_>, at: &str, raw: RawMultiline) -> Multiline {
    for (key, pattern) in [("start", &raw.start), ("continue", &raw.continues)] {
        if let Some(pattern) = pattern
            && let Err(error) = regex::Regex::new(pattern)
        {
            let reason = error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            checker.fault(format!("{at}.{key}"), format!("`{pattern}` is no regular expression: {reason}"));
        }
    }
    if !(2..=100_000).contains(&raw.max_lines) {
        checker.fault(format!("{at}.max_lines"), format!("expected 2 to 100000 lines, found {}", raw.max_lines));
    }
    let has_patterns = raw.start.is_some() || raw.continues.is_some();
    let usual = if has_patterns { Multiline::PATTERN_TIMEOUT } else { Multiline::TRACE_TIMEOUT };
    Multiline {
        enabled: raw.enabled,
        start: raw.start,
        continues: raw.continues,
        timeout: raw.timeout.map_or(usual, |timeout| timeout.0),
        max_lines: raw.max_lines as usize,
    }
}
