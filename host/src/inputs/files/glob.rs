//! Patterns of paths: `*` and `?` within a name, `**` for any number of folders, `[abc]`, `{a,b}`.

use std::path::{Component, Path, PathBuf};

use regex::Regex;

/// A pattern that stands for files.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: PathBuf,
    /// The folder below which everything that matches lies.
    base: PathBuf,
    /// Most folders below `base` that a file may lie in; `None` for any number.
    depth: Option<usize>,
    matcher: Option<Regex>,
}

/// Why a pattern is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is no pattern of files: {problem}")]
pub struct BadPattern {
    pattern: String,
    problem: &'static str,
}

impl Pattern {
    /// Reads a pattern. One without special characters stands for the file of that name.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn new(path: &Path) -> Result<Self, BadPattern> {
        let text = path.to_string_lossy();
        if !is_special(&text) || path.exists() {
            let base = path.parent().map(Path::to_owned).unwrap_or_default();
            return Ok(Self { text: path.to_owned(), base, depth: Some(0), matcher: None });
        }
        let matcher = regex(&text).map_err(|problem| BadPattern { pattern: text.to_string(), problem })?;
        let mut base = PathBuf::new();
        let mut names = path.components().peekable();
        while let Some(name) = names.next_if(|name| !is_special(&name.as_os_str().to_string_lossy())) {
            base.push(name);
        }
        let rest: Vec<Component<'_>> = names.collect();
        let depth =
            (!rest.iter().any(|name| name.as_os_str().to_string_lossy().contains("**"))).then(|| rest.len().saturating_sub(1));
        Ok(Self { text: path.to_owned(), base, depth, matcher: Some(matcher) })
    }

    /// Returns whether it is a path and nothing else.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        self.matcher.is_none()
    }

    /// Returns it as written.
    #[must_use]
    pub fn text(&self) -> &Path {
        &self.text
    }

    /// Returns the folder below which everything that matches lies.
    #[must_use]
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// Returns how many folders below its base a file may lie in.
    #[must_use]
    pub fn depth(&self) -> Option<usize> {
        self.depth
    }

    /// Returns whether it stands for `path`.
    #[must_use]
    pub fn matches(&self, path: &Path) -> bool {
        match &self.matcher {
            Some(matcher) => matcher.is_match(&path.to_string_lossy()),
            None => path == self.text,
        }
    }
}

/// An exclusion: a pattern of whole paths, or without a slash, of names.
#[derive(Clone, Debug)]
pub struct Exclude {
    matcher: Regex,
    whole: bool,
}

impl Exclude {
    /// Reads an exclusion.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn new(text: &str) -> Result<Self, BadPattern> {
        let matcher = regex(text).map_err(|problem| BadPattern { pattern: text.to_owned(), problem })?;
        Ok(Self { matcher, whole: text.contains('/') })
    }

    /// Returns whether it means `path`.
    #[must_use]
    pub fn matches(&self, path: &Path) -> bool {
        if self.whole {
            return self.matcher.is_match(&path.to_string_lossy());
        }
        path.file_name().is_some_and(|name| self.matcher.is_match(&name.to_string_lossy()))
    }
}

fn is_special(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

/// Translates a pattern.
fn regex(pattern: &str) -> Result<Regex, &'static str> {
    let mut regex = String::from("(?s)^");
    let mut chars = pattern.chars().peekable();
    let mut braces = 0;
    while let Some(char) = chars.next() {
        match char {
            '*' if chars.next_if_eq(&'*').is_some() => {
                // `**/` may stand for no folder at all.
                let folder = chars.next_if_eq(&'/').is_some();
                regex.push_str(if folder { "(?:[^/]+/)*" } else { ".*" });
            }
            '*' => regex.push_str("[^/]*"),
            '?' => regex.push_str("[^/]"),
            '[' => {
                regex.push('[');
                if chars.next_if(|next| matches!(next, '!' | '^')).is_some() {
                    regex.push('^');
                }
                let mut closed = false;
                let mut first = true;
                for char in chars.by_ref() {
                    if char == ']' && !first {
                        closed = true;
                        break;
                    }
                    first = false;
                    if matches!(char, '\\' | '[' | ']' | '&' | '~') {
                        regex.push('\\');
                    }
                    regex.push(char);
                }
                if !closed {
                    return Err("a `[` has no `]`");
                }
                regex.push(']');
            }
            '{' => {
                braces += 1;
                regex.push_str("(?:");
            }
            '}' if braces > 0 => {
                braces -= 1;
                regex.push(')');
            }
            ',' if braces > 0 => regex.push('|'),
            '\\' => regex.push_str(&regex::escape(&chars.next().map(String::from).unwrap_or_default())),
            char => regex.push_str(&regex::escape(&char.to_string())),
        }
    }
    if braces > 0 {
        return Err("a `{` has no `}`");
    }
    regex.push('$');
    Regex::new(&regex).map_err(|_| "it cannot be read")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Pattern::new(Path::new(pattern)).unwrap().matches(Path::new(path))
    }

    #[test]
    fn patterns_mean_what_shells_mean() {
        for (pattern, yes, no) in [
            ("/var/log/*.log", "/var/log/a.log", "/var/log/a/b.log"),
            ("/var/log/**/*.log", "/var/log/a.log", "/var/log/a.log.1"),
            ("/var/log/**/*.log", "/var/log/a/b/c.log", "/var/lag/a.log"),
            ("/var/log/**", "/var/log/a/b", "/var/lo"),
            ("/l/app-?.log", "/l/app-1.log", "/l/app-12.log"),
            ("/l/app-[0-9].log", "/l/app-1.log", "/l/app-x.log"),
            ("/l/[!a]*", "/l/b", "/l/a"),
            ("/l/{nginx,apache}/*.log", "/l/apache/x.log", "/l/caddy/x.log"),
            ("/l/a+b.log*", "/l/a+b.log.1", "/l/aab.log"),
            ("/l/plain.log", "/l/plain.log", "/l/plainxlog"),
        ] {
            assert!(matches(pattern, yes), "{pattern} {yes}");
            assert!(!matches(pattern, no), "{pattern} {no}");
        }
        assert!(Pattern::new(Path::new("/l/[a")).is_err());
        assert!(Pattern::new(Path::new("/l/{a")).is_err());
    }

    #[test]
    fn the_base_is_what_has_nothing_special() {
        let pattern = |text: &str| Pattern::new(Path::new(text)).unwrap();
        let shown = |text: &str| {
            let pattern = pattern(text);
            format!("{} {:?} {}", pattern.base().display(), pattern.depth(), pattern.is_literal())
        };
        assert_eq!(shown("/var/log/*/a-*.log"), "/var/log Some(1) false");
        assert_eq!(shown("/var/log/**/*.log"), "/var/log None false");
        assert_eq!(shown("/var/log/syslog"), "/var/log Some(0) true");
    }

    #[test]
    fn an_exclusion_without_a_slash_means_names() {
        let exclude = |text: &str, path: &str| Exclude::new(text).unwrap().matches(Path::new(path));
        assert!(exclude("*.gz", "/a/b/c.gz"));
        assert!(!exclude("*.gz", "/a/b.gz/c"));
        assert!(exclude("/a/**/debug*", "/a/b/debug.log"));
    }
}
