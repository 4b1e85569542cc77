//! Tells of files that changed and of names that appeared. Only a shortcut: without it the files are looked at, more slowly.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::event::{ModifyKind, RenameMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Most names that wait to be looked at; beyond, everything is.
const MAX_NAMES: usize = 10_000;

/// What happened since somebody last asked.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Files that changed.
    pub(super) changed: HashSet<PathBuf>,
    /// Names that appeared, or were given to another file.
    pub(super) appeared: HashSet<PathBuf>,
    /// Whether there was more than can be told.
    pub(super) everything: bool,
}

#[derive(Default)]
struct Shared {
    news: Mutex<News>,
    bell: Notify,
}

/// Watches folders.
pub(super) struct Watch {
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
    shared: Arc<Shared>,
}

impl Watch {
    pub(super) fn new() -> Self {
        let shared = Arc::new(Shared::default());
        let heard = Arc::clone(&shared);
        let watcher = match notify::recommended_watcher(move |event| heard.hear(event)) {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                tracing::warn!(%error, "the system cannot tell of changed files; they are looked at every few seconds instead");
                None
            }
        };
        Self { watcher, folders: BTreeSet::new(), shared }
    }

    /// Watches these folders and no others. Folders and not files, because a file that is rotated takes its watch along.
    pub(super) fn set(&mut self, wanted: BTreeSet<PathBuf>) {
        let Some(watcher) = &mut self.watcher else { return };
        for folder in self.folders.difference(&wanted) {
            let _ = watcher.unwatch(folder);
        }
        let mut watched = BTreeSet::new();
        for folder in wanted {
            if self.folders.contains(&folder) {
                watched.insert(folder);
                continue;
            }
            match watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    watched.insert(folder);
                }
                Err(error) => {
                    tracing::debug!(%error, folder = %folder.display(), "a folder cannot be watched; its files are looked at instead");
                }
            }
        }
        self.folders = watched;
    }

    /// Waits until something happens.
    pub(super) async fn rings(&self) {
        self.shared.bell.notified().await;
    }

    /// Returns what has happened.
    pub(super) fn take(&self) -> News {
        std::mem::take(&mut *self.shared.news.lock())
    }
}

impl Shared {
    fn hear(&self, event: notify::Result<notify::Event>) {
        let event = match event {
            Ok(event) if matches!(event.kind, EventKind::Access(_)) => return,
            Ok(event) => event,
            Err(error) => {
                tracing::debug!(%error, "watching files failed once");
                return;
            }
        };
        let mut news = self.news.lock();
        news.everything |= event.paths.is_empty() || event.need_rescan();
        let appears = match event.kind {
            EventKind::Create(_) | EventKind::Remove(_) => true,
            EventKind::Modify(ModifyKind::Name(mode)) => mode != RenameMode::From || event.paths.len() > 1,
            _ => false,
        };
        for path in event.paths {
            if news.changed.len() + news.appeared.len() >= MAX_NAMES {
                news.everything = true;
                break;
            }
            if appears {
                news.appeared.insert(path.clone());
            }
            news.changed.insert(path);
        }
        drop(news);
        self.bell.notify_one();
    }
}

/// Returns the folder of a path.
pub(super) fn folder_of(path: &Path) -> Option<PathBuf> {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).map(Path::to_owned)
}
