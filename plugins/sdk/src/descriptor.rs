//! What a plugin says of itself.

pub use crate::bindings::described::{Descriptor, Limits, Subscription};

impl Descriptor {
    /// Returns what every plugin says: its name, its version (`env!("CARGO_PKG_VERSION")`), and what it does, in one line.
    pub fn new(name: impl Into<String>, version: impl Into<String>, summary: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            summary: summary.into(),
            config_schema: r#"{"type": "object"}"#.to_owned(),
            outbound: Vec::new(),
            outbound_from_config: Vec::new(),
            methods: Vec::new(),
            secret_bindings: Vec::new(),
            limits: None,
            state_version: 0,
            subscription: None,
            extra: Vec::new(),
        }
    }

    /// Says by which JSON Schema the host checks the plugin's section; `"x-secret": true` marks a property whose value the plugin never
    /// sees.
    pub fn config_schema(mut self, schema: impl Into<String>) -> Self {
        self.config_schema = schema.into();
        self
    }

    /// Asks to reach `https://host[:port]`, or `https://*.example.com` for every name below one.
    pub fn outbound(mut self, pattern: impl Into<String>) -> Self {
        self.outbound.push(pattern.into());
        self
    }

    /// Asks to reach the URL that stands at `pointer` (a JSON pointer such as `/url`) in the plugin's section: services that people host
    /// themselves.
    pub fn outbound_from_config(mut self, pointer: impl Into<String>) -> Self {
        self.outbound_from_config.push(pointer.into());
        self
    }

    /// Says which HTTP methods its requests use. Unless said, GET and POST.
    pub fn methods(mut self, methods: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.methods = methods.into_iter().map(Into::into).collect();
        self
    }

    /// Names a secret and where alone it may go: an outbound pattern, or a JSON pointer to a URL in the plugin's section. To be repeated
    /// for a secret that goes to several places.
    pub fn secret(mut self, name: impl Into<String>, goes_to: impl Into<String>) -> Self {
        self.secret_bindings.push((name.into(), goes_to.into()));
        self
    }

    /// Says what the service of a channel accepts.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Says of which version the bytes are that [`Analyzer::save`](crate::Analyzer::save) returns.
    pub fn state_version(mut self, version: u32) -> Self {
        self.state_version = version;
        self
    }

    /// Says which records an analyzer wants.
    pub fn subscription(mut self, subscription: Subscription) -> Self {
        self.subscription = Some(subscription);
        self
    }
}

impl Default for Limits {
    /// No limit, one request at a time.
    fn default() -> Self {
        Self { max_alerts: 0, max_body_bytes: 0, per_minute: 0, concurrency: 0 }
    }
}

/// Columns of records, beside position, time, severity and service, which are always there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Columns(u32);

impl Columns {
    /// No more.
    pub const NONE: Self = Self(0);
    /// Bodies.
    pub const BODY: Self = Self(1);
    /// Attributes.
    pub const ATTRIBUTES: Self = Self(1 << 1);
    /// The pattern that a record belongs to.
    pub const PATTERN: Self = Self(1 << 2);
    /// Attributes of what produced the record, such as `host.name`.
    pub const RESOURCES: Self = Self(1 << 3);
    /// Trace and span.
    pub const TRACE: Self = Self(1 << 4);
    /// When records were observed.
    pub const OBSERVED: Self = Self(1 << 5);

    /// Returns whether all of `other` is in it.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
}

impl std::ops::BitOr for Columns {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Subscription {
    /// Returns a subscription to all records, with `columns`. The cheapest record is the one not sent: narrow it down with the rest.
    pub fn to(columns: Columns) -> Self {
        Self {
            min_severity: 0,
            sources: Vec::new(),
            any_substring: Vec::new(),
            any_regex: Vec::new(),
            columns: columns.0,
            max_batch: 0,
            max_delay_ms: 0,
            tick_interval_ms: 0,
            extra: Vec::new(),
        }
    }

    /// Only records of this severity number or more.
    pub fn min_severity(mut self, severity: u8) -> Self {
        self.min_severity = severity;
        self
    }

    /// Only records of these services.
    pub fn sources(mut self, services: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.sources = services.into_iter().map(Into::into).collect();
        self
    }

    /// Only records whose body holds one of these, in this case, or matches one of [`Self::any_regex`].
    pub fn any_substring(mut self, texts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.any_substring = texts.into_iter().map(Into::into).collect();
        self
    }

    /// Only records whose body matches one of these, or holds one of [`Self::any_substring`].
    pub fn any_regex(mut self, patterns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.any_regex = patterns.into_iter().map(Into::into).collect();
        self
    }

    /// At most this many records a call, which wait for each other at most this long. The host has limits of its own.
    pub fn batches(mut self, max_records: u32, max_delay: std::time::Duration) -> Self {
        self.max_batch = max_records;
        self.max_delay_ms = u32::try_from(max_delay.as_millis()).unwrap_or(u32::MAX);
        self
    }

    /// Calls [`Analyzer::tick`](crate::Analyzer::tick) this often.
    pub fn tick_every(mut self, interval: std::time::Duration) -> Self {
        self.tick_interval_ms = u32::try_from(interval.as_millis()).unwrap_or(u32::MAX);
        self
    }
}
