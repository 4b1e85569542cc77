//! Chromium, in which tests open pages.

use std::path::PathBuf;

use crate::{is_ci, loudly};

/// Names under which distributions have it.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Returns where it lies; `None` if it cannot be had, which has been said then.
///
/// # Panics
/// Under CI, where nothing may be skipped.
#[must_use]
pub fn path() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).flat_map(|folder| NAMES.map(|name| folder.join(name))).find(|path| path.is_file());
    if found.is_none() {
        let said = "there is no Chromium: a page that sends errors from a browser is not tested (Debian, Ubuntu: apt-get install chromium)";
        assert!(!is_ci(), "{said}");
        loudly(said);
    }
    found
}
