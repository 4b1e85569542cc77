//! Finds the files that an input's patterns stand for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Input;
use super::permission;

/// Most folders that are walked through for one input.
const MAX_FOLDERS: usize = 20_000;
/// Most files that one input follows.
pub(super) const MAX_FILES: usize = 20_000;

/// What a look at the folders found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Files, each with the number of the first input that means it.
    pub(super) files: BTreeMap<PathBuf, usize>,
    /// Where those lead that are links, each with the path that was found.
    pub(super) links: Vec<(PathBuf, PathBuf)>,
    /// Folders in which more may appear.
    pub(super) folders: BTreeSet<PathBuf>,
    /// What could not be looked at, and why.
    pub(super) problems: BTreeMap<PathBuf, String>,
}

/// Looks for the files of all inputs.
pub(super) fn look(inputs: &[Arc<Input>]) -> Found {
    let mut found = Found::default();
    for (number, input) in inputs.iter().enumerate() {
        let mut walk = Walk { input, number, found: &mut found, folders: 0, files: 0 };
        for pattern in &input.patterns {
            if pattern.is_literal() {
                walk.found.folders.insert(pattern.base().to_owned());
                walk.file(pattern.text().to_owned());
            } else {
                walk.folder(pattern.base(), pattern.depth(), 0);
            }
        }
    }
    found
}

struct Walk<'a> {
    input: &'a Input,
    number: usize,
    found: &'a mut Found,
    folders: usize,
    files: usize,
}

impl Walk<'_> {
    fn file(&mut self, path: PathBuf) {
        if self.files == MAX_FILES {
            self.found.problems.insert(path.clone(), format!("more than {MAX_FILES} files match; the others are left aside"));
        }
        self.files += 1;
        if self.files > MAX_FILES {
            return;
        }
        // Behind a link the changes happen where it leads.
        if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_symlink())
            && let Ok(real) = fs::canonicalize(&path)
        {
            self.found.links.push((real, path.clone()));
        }
        self.found.files.entry(path).or_insert(self.number);
    }

    fn folder(&mut self, folder: &Path, depth: Option<usize>, level: usize) {
        self.folders += 1;
        // Links may lead in circles: as deep as any sane tree, and no further.
        if self.folders > MAX_FOLDERS || level > 32 {
            return;
        }
        self.found.folders.insert(folder.to_owned());
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.found.problems.insert(folder.to_owned(), permission::explain(folder));
                return;
            }
            Err(error) => {
                self.found.problems.insert(folder.to_owned(), error.to_string());
                return;
            }
        };
        let mut entries: Vec<_> = entries.filter_map(Result::ok).collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let Ok(kind) = entry.file_type() else { continue };
            let is_folder = kind.is_dir() || (kind.is_symlink() && fs::metadata(&path).is_ok_and(|metadata| metadata.is_dir()));
            if is_folder {
                // A link is followed when a name is asked for, not when anything below a folder is.
                let may_enter = match depth {
                    Some(depth) => level < depth,
                    None => !kind.is_symlink(),
                };
                if may_enter {
                    self.folder(&path, depth, level + 1);
                }
            } else if (kind.is_file() || kind.is_symlink()) && self.input.wants(&path) {
                self.file(path);
            }
        }
    }
}
