//! What container runtimes put around each line: CRI (`time stdout F text`) and Docker (`{"log":"text\n","stream":"stdout","time":"…"}`).

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use watchfire_types::Timestamp;

use super::times::{self, Around};

/// Which of its outputs a program wrote to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Not known.
    #[default]
    None,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// Returns its name; empty when it is not known.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    fn of(name: &str) -> Option<Self> {
        match name {
            "stdout" => Some(Self::Stdout),
            "stderr" => Some(Self::Stderr),
            _ => None,
        }
    }
}

/// A line without its envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwrapped<'a> {
    /// When it was written.
    pub time: Timestamp,
    /// Where to.
    pub stream: Stream,
    /// Whether the line goes on in the next one of this stream.
    pub partial: bool,
    /// What the program wrote.
    pub text: Cow<'a, str>,
}

/// Reads a line as containerd and CRI-O write it to `/var/log/pods`.
///
/// Source: Kubernetes, `pkg/kubelet/cri-api`, and `kuberuntime/logs/logs.go`: time, stream, tags apart by `:`, text.
#[must_use]
pub fn cri<'a>(line: &'a str, around: &mut Around<'_>) -> Option<Unwrapped<'a>> {
    // The quickest no: the year's dash.
    if line.as_bytes().get(4) != Some(&b'-') {
        return None;
    }
    // And the name of the stream after the first blank.
    let blank = memchr::memchr(b' ', &line.as_bytes()[..line.len().min(48)])?;
    if !line.as_bytes()[blank..].starts_with(b" std") {
        return None;
    }
    let (time, length) = times::head(line, around)?;
    let rest = line[length..].strip_prefix(" std")?;
    let (stream, rest) = if let Some(rest) = rest.strip_prefix("out ") {
        (Stream::Stdout, rest)
    } else {
        (Stream::Stderr, rest.strip_prefix("err ")?)
    };
    let (tags, text) = rest.split_once(' ').unwrap_or((rest, ""));
    let partial = match tags.split(':').next() {
        Some("P") => true,
        Some("F") => false,
        _ => return None,
    };
    Some(Unwrapped { time, stream, partial, text: Cow::Borrowed(text) })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Docker<'a> {
    #[serde(borrow)]
    log: &'a RawValue,
    #[serde(borrow, default)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    /// Labels and variables of the container, when Docker is told to write them.
    #[serde(borrow, default)]
    #[expect(dead_code, reason = "known, so that a line that has it is known to be Docker's")]
    attrs: Option<&'a RawValue>,
}

/// Reads a line of Docker's `json-file` driver. A text without a line break at its end goes on in the next one.
#[must_use]
pub fn docker<'a>(line: &'a str, around: &mut Around<'_>) -> Option<Unwrapped<'a>> {
    if !line.starts_with("{\"log\":\"") {
        return None;
    }
    let docker: Docker<'a> = serde_json::from_str(line).ok()?;
    let time = times::whole(&docker.time, around)?;
    let stream = Stream::of(&docker.stream)?;
    // Most texts have no escape but the one for the line break at their end, and stay where they are.
    let raw = docker.log.get().strip_prefix('"')?.strip_suffix('"')?;
    if let Some(text) = raw.strip_suffix("\\n").filter(|text| memchr::memchr(b'\\', text.as_bytes()).is_none()) {
        return Some(Unwrapped { time, stream, partial: false, text: Cow::Borrowed(text) });
    }
    let mut text: String = serde_json::from_str(docker.log.get()).ok()?;
    let partial = !text.ends_with('\n');
    text.truncate(text.trim_end_matches(['\n', '\r']).len());
    Some(Unwrapped { time, stream, partial, text: Cow::Owned(text) })
}
