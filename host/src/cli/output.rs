//! Standard output, whose end may be closed at any time, and standard error, which is for talk.

use std::io::{self, IsTerminal as _, Write};

/// Standard output was closed by who reads it, as `head` does: the command ends quietly.
#[derive(Debug, thiserror::Error)]
#[error("standard output was closed")]
pub(super) struct OutputClosed;

/// Where data go.
pub(super) struct Output<'a>(&'a mut dyn Write);

impl<'a> Output<'a> {
    /// Writes to `out`.
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self(out)
    }
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(closed)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(closed)
    }
}

/// Marks a broken pipe as one of standard output, so that it is told from one of the network.
fn closed(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::BrokenPipe { io::Error::other(OutputClosed) } else { error }
}

/// Returns whether `error` says that standard output was closed.
pub(super) fn is_closed(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inner.and_then(|inner| inner.downcast_ref::<OutputClosed>()).is_some()
    })
}

/// Returns `text` with everything replaced that could steer a terminal; lines and tabs stay.
pub(super) fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// Says a line to the person, on standard error. What the host says may repeat what stands in a log.
pub(super) fn say(text: impl std::fmt::Display) {
    // Nobody is left to be told that nobody can be told.
    let _ = writeln!(io::stderr(), "{}", visible(&text.to_string()));
}

/// Shows how far a long command is: a line that is written over, on a terminal only.
pub(super) fn progress(text: impl std::fmt::Display) {
    let mut stderr = io::stderr();
    if stderr.is_terminal() {
        let _ = write!(stderr, "\r\x1b[K{text}");
        let _ = stderr.flush();
    }
}

/// Ends the line that [`progress`] wrote.
pub(super) fn progress_done() {
    progress("");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_cannot_steer_the_terminal() {
        assert_eq!(visible("a\tb\nc\x1b]0;x\x07\u{9b}2J\r"), "a\tb\nc\u{fffd}]0;x\u{fffd}\u{fffd}2J\u{fffd}");
    }
}
