//! Formats of lines: found out by looking, kept while they fit, and never at the cost of the text.
//!
//! [`parse_line`] is all that an input needs. A line in no known format is a record whose message is the line.
//!
//! **Invariant**: no parser panics, allocates more than a few times its line, or takes more than linear time.

pub mod access;
pub mod ansi;
pub mod envelope;
pub mod headed;
pub mod json;
pub mod klog;
pub mod logfmt;
pub mod parsed;
pub mod servers;
#[cfg(test)]
mod tests;
pub mod times;

use std::borrow::Cow;

use watchfire_types::log::RecordHead;
use watchfire_types::{Attributes, Severity, Timestamp, Value, ValueRef};

pub use self::envelope::{Stream, Unwrapped};
pub use self::parsed::{Field, Parsed};
use self::times::{Around, OffsetCache};
use super::builder::{BatchBuilder, OverBudget};
pub use super::ndjson::Defaults;
use super::ndjson::{self, LineRefused};
use super::syslog_prefix;

/// Which of its outputs a container wrote to: OpenTelemetry's name for it.
pub const LOG_IOSTREAM: &str = "log.iostream";

/// The format of a source's lines, as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Found out line by line.
    #[default]
    Auto,
    /// The line is the message.
    Raw,
    /// A known one.
    Known(Kind),
    /// CRI's envelope around lines whose format is found out.
    Cri,
    /// Docker's envelope around lines whose format is found out.
    Docker,
    /// A parser component, by its name.
    Parser(String),
}

/// The formats that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// JSON lines.
    Json,
    /// logfmt.
    Logfmt,
    /// glog and klog.
    Klog,
    /// Common and combined access logs.
    Access,
    /// nginx's error log.
    NginxError,
    /// Apache's error log.
    ApacheError,
    /// PostgreSQL.
    Postgres,
    /// A syslog prefix.
    Syslog,
    /// Text with a time, a level, a logger at its beginning.
    Text,
}

impl Format {
    /// The names that the configuration knows, beside `parser:NAME`.
    pub const NAMES: [&str; 13] = [
        "auto",
        "raw",
        "text",
        "json",
        "logfmt",
        "syslog",
        "cri",
        "docker",
        "klog",
        "access",
        "nginx_error",
        "apache_error",
        "postgres",
    ];

    /// Returns the format of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "auto" => Self::Auto,
            "raw" => Self::Raw,
            "text" => Self::Known(Kind::Text),
            "json" => Self::Known(Kind::Json),
            "logfmt" => Self::Known(Kind::Logfmt),
            "syslog" => Self::Known(Kind::Syslog),
            "cri" => Self::Cri,
            "docker" => Self::Docker,
            "klog" => Self::Known(Kind::Klog),
            "access" => Self::Known(Kind::Access),
            "nginx_error" => Self::Known(Kind::NginxError),
            "apache_error" => Self::Known(Kind::ApacheError),
            "postgres" => Self::Known(Kind::Postgres),
            _ => Self::Parser(name.strip_prefix("parser:").filter(|name| !name.is_empty())?.to_owned()),
        })
    }
}

/// What is known of a source, and what its last line was like.
#[derive(Clone, Debug, Default)]
pub struct Detected {
    format: Format,
    /// What the last line was.
    current: Option<Kind>,
    keys: json::KnownKeys,
    cache: OffsetCache,
    /// `service.name` of lines for which nobody names one.
    pub unnamed: Option<String>,
    /// Attributes of the resource of every line, beside service and host.
    pub resource: Attributes,
}

/// What an envelope said of a line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given {
    /// When it was written; a time in the line itself comes first.
    pub time: Option<Timestamp>,
    /// Where to.
    pub stream: Stream,
}

impl Detected {
    /// Returns the state of a source whose lines are in `format`.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { format, ..Self::default() }
    }

    /// Returns the format as configured.
    #[must_use]
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// Takes a line out of what a container runtime puts around it, if it is in such an envelope.
    #[must_use]
    pub fn unwrap<'a>(&mut self, line: &'a str, defaults: &Defaults<'_>) -> Option<Unwrapped<'a>> {
        let mut around = Around { now: defaults.now, zone: defaults.zone, cache: &mut self.cache };
        match self.format {
            Format::Cri => envelope::cri(line, &mut around),
            Format::Docker => envelope::docker(line, &mut around),
            Format::Auto | Format::Parser(_) => match line.as_bytes().first()? {
                b'{' => envelope::docker(line, &mut around),
                b'0'..=b'9' => envelope::cri(line, &mut around),
                _ => None,
            },
            Format::Raw | Format::Known(_) => None,
        }
    }

    /// Returns the severity that a line shows, without taking it apart. For the decision what belongs to a stack trace.
    #[must_use]
    pub fn severity(&mut self, line: &str, defaults: &Defaults<'_>) -> Severity {
        self.parse(line, defaults).1.severity
    }

    fn parse<'a>(&mut self, line: &'a str, defaults: &Defaults<'_>) -> (Option<Kind>, Parsed<'a>) {
        let mut around = Around { now: defaults.now, zone: defaults.zone, cache: &mut self.cache };
        match self.format {
            Format::Raw => (None, Parsed::message(line)),
            Format::Known(kind) => match parse_as(kind, line, true, &mut self.keys, &mut around) {
                Some(parsed) => (Some(kind), parsed),
                None => (None, headed::plain(line)),
            },
            Format::Auto | Format::Cri | Format::Docker | Format::Parser(_) => {
                if let Some(kind) = self.current.filter(|kind| *kind != Kind::Text)
                    && let Some(parsed) = parse_as(kind, line, false, &mut self.keys, &mut around)
                {
                    return (Some(kind), parsed);
                }
                match detect(line, &mut self.keys, &mut around) {
                    Some((kind, parsed)) => {
                        self.current = Some(kind);
                        (Some(kind), parsed)
                    }
                    None => (None, headed::plain(line)),
                }
            }
        }
    }
}

fn parse_as<'a>(kind: Kind, line: &'a str, fixed: bool, keys: &mut json::KnownKeys, around: &mut Around<'_>) -> Option<Parsed<'a>> {
    match kind {
        Kind::Json => line.starts_with('{').then(|| json::parse(line, keys, around))?,
        Kind::Logfmt => logfmt::parse(line, fixed, around),
        Kind::Klog => klog::parse(line, around),
        Kind::Access => access::parse(line, around),
        Kind::NginxError => servers::nginx(line, around),
        Kind::ApacheError => servers::apache(line, around),
        Kind::Postgres => servers::postgres(line, around),
        Kind::Syslog => Some(syslog(line, around)),
        Kind::Text => headed::parse(line, around),
    }
}

/// Finds out what a line is. The first byte leaves few possibilities, and none of them reads far into what it is not.
fn detect<'a>(line: &'a str, keys: &mut json::KnownKeys, around: &mut Around<'_>) -> Option<(Kind, Parsed<'a>)> {
    let candidates: &[Kind] = match line.as_bytes().first()? {
        b'{' => &[Kind::Json],
        b'[' => &[Kind::ApacheError, Kind::Text],
        b'<' => &[Kind::Syslog],
        // The fourth byte of a date in nginx's log is no digit, as that of an address may be.
        b'0'..=b'9' if line.as_bytes().get(4) == Some(&b'/') => &[Kind::NginxError, Kind::Text, Kind::Access],
        b'0'..=b'9' if line.as_bytes().get(4) == Some(&b'-') && line.as_bytes().get(7) == Some(&b'-') => {
            &[Kind::Postgres, Kind::Text]
        }
        b'0'..=b'9' => &[Kind::Access, Kind::Text],
        b'I' | b'W' | b'E' | b'F' => &[Kind::Klog, Kind::Text, Kind::Logfmt, Kind::Access],
        _ => &[Kind::Text, Kind::Logfmt, Kind::Access],
    };
    candidates.iter().find_map(|kind| Some((*kind, parse_as(*kind, line, false, keys, around)?)))
}

/// Reads a line with a syslog priority.
fn syslog<'a>(line: &'a str, around: &mut Around<'_>) -> Parsed<'a> {
    let found = syslog_prefix::parse(line, around.now, around.zone);
    let mut parsed = Parsed::message(found.message);
    parsed.timestamp = found.timestamp;
    parsed.severity = found.severity;
    parsed.severity_text = Cow::Borrowed(found.severity_text);
    parsed.host = found.host.map(Cow::Borrowed);
    parsed.service = found.program.map(Cow::Borrowed);
    if let Some(id) = found.process_id {
        parsed.attribute("process.pid", Field::Int(id));
    }
    parsed
}

/// Appends a line as a record, whatever it is. `detected` belongs to the source that the line comes from.
///
/// # Errors
/// [`OverBudget`] when the batch has grown too large; the line is not in it then.
pub fn parse_line(
    builder: &mut BatchBuilder,
    line: &str,
    defaults: &Defaults<'_>,
    detected: &mut Detected,
) -> Result<(), OverBudget> {
    if let Some(unwrapped) = detected.unwrap(line, defaults) {
        let given = Given { time: Some(unwrapped.time), stream: unwrapped.stream };
        return parse_given(builder, &unwrapped.text, given, defaults, detected);
    }
    parse_given(builder, line, Given::default(), defaults, detected)
}

/// As [`parse_line`], for a line that has been taken out of its envelope. It may have several lines, of a stack trace.
///
/// # Errors
/// As [`parse_line`].
pub fn parse_given(
    builder: &mut BatchBuilder,
    line: &str,
    given: Given,
    defaults: &Defaults<'_>,
    detected: &mut Detected,
) -> Result<(), OverBudget> {
    let line = if detected.format == Format::Raw { Cow::Borrowed(line) } else { ansi::strip(line) };
    if line.starts_with('{') && detected.format != Format::Raw && line.contains("\"observed_timestamp\"") {
        // Perhaps a record as the API exports it.
        match ndjson::push_json(builder, &line, defaults) {
            Ok(()) => return Ok(()),
            Err(LineRefused::OverBudget(error)) => return Err(error),
            Err(LineRefused::Reason(_)) => {}
        }
    }
    let (kind, parsed) = detected.parse(&line, defaults);
    let names_itself = matches!(kind, Some(Kind::Json | Kind::Logfmt));
    push(builder, &parsed, names_itself, given, defaults, detected)
}

/// Appends a line in which nothing is to be recognised: a piece of one that was too long.
///
/// # Errors
/// As [`parse_line`].
pub fn push_plain(
    builder: &mut BatchBuilder,
    line: &str,
    given: Given,
    defaults: &Defaults<'_>,
    detected: &Detected,
) -> Result<(), OverBudget> {
    push(builder, &Parsed::message(line), false, given, defaults, detected)
}

/// Appends what was found in a line. A service that the line `names_itself` comes before the configured one.
fn push(
    builder: &mut BatchBuilder,
    parsed: &Parsed<'_>,
    names_itself: bool,
    given: Given,
    defaults: &Defaults<'_>,
    detected: &Detected,
) -> Result<(), OverBudget> {
    let own = parsed.service.as_deref().filter(|name| !name.is_empty());
    let service = if names_itself { own.or(defaults.service) } else { defaults.service.or(own) };
    let service = service.or(detected.unnamed.as_deref());
    let host = parsed.host.as_deref().or(defaults.host);
    let resource = if parsed.resource.is_empty() {
        builder.named_resource(service, host, &detected.resource)
    } else {
        let mut resource: Attributes =
            parsed.resource.iter().map(|(key, value)| (key.to_string(), value.as_ref().to_value())).collect();
        let named = [("service.name", service), ("host.name", host)].into_iter();
        resource.extend(named.filter_map(|(key, name)| Some((key.to_owned(), Value::from(name?)))));
        resource.extend(detected.resource.iter().cloned());
        builder.resource(resource)
    };
    let head = RecordHead {
        timestamp: parsed.timestamp.or(given.time).unwrap_or(defaults.now),
        observed: defaults.now,
        severity: parsed.severity,
        severity_text: &parsed.severity_text,
        resource,
        scope: &parsed.scope,
        trace_id: parsed.trace_id,
        span_id: parsed.span_id,
        ..RecordHead::default()
    };
    builder.push(&head, parsed.body.as_ref())?;
    for (key, value) in &parsed.attributes {
        builder.attribute(key, value.as_ref());
    }
    if given.stream != Stream::None {
        builder.attribute(LOG_IOSTREAM, ValueRef::Text(given.stream.name()));
    }
    Ok(())
}
