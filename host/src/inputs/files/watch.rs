//! Tells followers that their files changed. Only a shortcut: without it they look by themselves, more slowly.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

/// Watches the folders of these files; `None` when the system cannot.
pub(super) fn start(files: &[(PathBuf, Arc<Notify>)]) -> Option<RecommendedWatcher> {
    // Folders and not files, because a file that is rotated takes its watch along.
    let mut wakes: HashMap<PathBuf, Vec<Arc<Notify>>> = HashMap::new();
    let mut folders = BTreeSet::new();
    for (path, wake) in files {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        // Behind a symbolic link the changes happen where it leads.
        let real = absolute.canonicalize().ok().filter(|real| *real != absolute);
        for path in [Some(absolute), real].into_iter().flatten() {
            folders.extend(path.parent().map(Path::to_owned));
            wakes.entry(path).or_default().push(Arc::clone(wake));
        }
    }
    let handler = move |event: notify::Result<notify::Event>| match event {
        Ok(event) if matches!(event.kind, EventKind::Access(_)) => {}
        Ok(event) if event.paths.is_empty() || event.need_rescan() => wakes.values().flatten().for_each(|wake| wake.notify_one()),
        Ok(event) => event.paths.iter().filter_map(|path| wakes.get(path)).flatten().for_each(|wake| wake.notify_one()),
        Err(error) => tracing::debug!(%error, "watching files failed once"),
    };
    let mut watcher = match notify::recommended_watcher(handler) {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::warn!(%error, "the system cannot tell of changed files; they are looked at every few seconds instead");
            return None;
        }
    };
    for folder in folders {
        if let Err(error) = watcher.watch(&folder, RecursiveMode::NonRecursive) {
            tracing::debug!(%error, folder = %folder.display(), "a folder cannot be watched; its files are looked at instead");
        }
    }
    Some(watcher)
}
