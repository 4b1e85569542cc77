//! What is printed: a title and lines of name and value.

use std::fmt::Display;

/// The figures of one mode.
pub(crate) struct Report {
    title: String,
    lines: Vec<(String, String)>,
}

impl Report {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), lines: Vec::new() }
    }

    /// Adds a line.
    pub(crate) fn line(mut self, name: &str, value: impl Display) -> Self {
        self.lines.push((name.to_owned(), value.to_string()));
        self
    }

    /// Prints everything to standard output.
    #[expect(clippy::print_stdout, reason = "printing is what this program is for")]
    pub(crate) fn print(&self) {
        println!("\n## {}", self.title);
        let width = self.lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, value) in &self.lines {
            println!("{name:width$}  {value}");
        }
    }
}

/// Returns `number` with commas between thousands.
pub(crate) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group).into_owned()).collect();
    groups.join(",")
}

/// Returns bytes as megabytes (10^6).
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    #[test]
    fn thousands_are_parted() {
        assert_eq!([0.0, 999.0, 1000.0, 1_234_567.0].map(super::thousands), ["0", "999", "1,000", "1,234,567"]);
    }
}
