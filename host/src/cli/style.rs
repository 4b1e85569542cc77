//! Colour for people at a terminal. It never says what the words do not say too.

use std::io::IsTerminal as _;

use watchfire_types::Severity;

/// Whether and how text is coloured.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Style {
    coloured: bool,
}

impl Style {
    /// Returns colour for a terminal that wants it (see no-color.org), and none for anything else.
    pub(super) fn of_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self { coloured: std::io::stdout().is_terminal() && !refused && !is_dumb }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Returns `text` in the colour of a level.
    pub(super) fn level(self, severity: Severity, text: &str) -> String {
        let code = match severity.0 {
            17.. => "1;31",
            13..=16 => "33",
            9..=12 => "32",
            1..=8 => "2",
            0 => return text.to_owned(),
        };
        self.paint(code, text)
    }

    /// Returns `text` as what matters less.
    pub(super) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// Returns `text` as what matters more.
    pub(super) fn strong(self, text: &str) -> String {
        self.paint("1", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_terminal_there_is_no_colour() {
        let plain = Style::default();
        assert_eq!((plain.level(Severity::ERROR, "ERROR"), plain.dim("a")), ("ERROR".into(), "a".into()));
        let coloured = Style { coloured: true };
        assert_eq!(coloured.level(Severity::ERROR, "ERROR"), "\x1b[1;31mERROR\x1b[0m");
    }
}
