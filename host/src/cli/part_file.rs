//! A file under a name of its own until it is whole; goes away if that never happens.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

pub(super) struct PartFile {
    path: PathBuf,
    pub(super) writer: BufWriter<File>,
}

impl PartFile {
    pub(super) fn create(output: &Path) -> std::io::Result<Self> {
        let mut name = output.file_name().unwrap_or_default().to_owned();
        name.push(format!(".part-{}", std::process::id()));
        let path = output.with_file_name(name);
        let writer = BufWriter::with_capacity(1 << 16, File::create(&path)?);
        Ok(Self { path, writer })
    }

    /// Gives the file its name and returns its size.
    pub(super) fn finish(mut self, output: &Path) -> std::io::Result<u64> {
        self.writer.flush()?;
        self.writer.get_ref().sync_all()?;
        let size = self.writer.get_ref().metadata()?.len();
        fs::rename(&self.path, output)?;
        Ok(size)
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        // Gone already if it was finished.
        let _ = fs::remove_file(&self.path);
    }
}
