//! What a child process prints, line by line, as it comes.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::wait::eventually_blocking;

/// Lines that a thread reads; kept, so that a failing test can show them.
#[derive(Clone, Debug, Default)]
pub struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    /// Starts to read `source` until its end.
    pub fn read(source: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let kept = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(source).lines().map_while(Result::ok) {
                kept.0.lock().push(line);
            }
        });
        lines
    }

    /// Returns all lines so far.
    pub fn all(&self) -> Vec<String> {
        self.0.lock().clone()
    }

    /// Waits for the first line that `wanted` takes.
    pub fn wait_for<T>(&self, what: &str, wanted: impl Fn(&str) -> Option<T>) -> T {
        eventually_blocking(what, || self.0.lock().iter().find_map(|line| wanted(line)))
    }
}
