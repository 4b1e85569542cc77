//! What a component is to the rest of the host. Nothing here names the runtime.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use watchfire_types::Timestamp;

/// What a component is for: the interface that it exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Delivers notifications.
    Channel,
    /// Reads the log and finds things.
    Analyzer,
    /// Turns lines into records.
    Parser,
}

impl Kind {
    /// Returns its name, as in the interface.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Channel => "channel",
            Self::Analyzer => "analyzer",
            Self::Parser => "parser",
        }
    }
}

/// Something of the host that a component may import, one interface each.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Capability {
    /// Lines in the host's own log, at a limited rate.
    Logging,
    /// Its own section of the configuration.
    Config,
    /// Series named `watchfire_plugin_…`.
    Metrics,
    /// Bytes that the host keeps for it.
    Kv,
    /// Placeholders for secrets, and signatures made with them.
    Secrets,
    /// Searches over the batch that it has been given.
    Kernels,
}

impl Capability {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Logging, Self::Config, Self::Metrics, Self::Kv, Self::Secrets, Self::Kernels];

    /// Returns its name, as in the interface.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Logging => "logging",
            Self::Config => "config",
            Self::Metrics => "metrics",
            Self::Kv => "kv",
            Self::Secrets => "secrets",
            Self::Kernels => "kernels",
        }
    }

    /// Returns whether it is granted without being named: it shows the component nothing but what it was given, and keeps nothing.
    #[must_use]
    pub const fn is_harmless(self) -> bool {
        matches!(self, Self::Logging | Self::Config | Self::Kernels)
    }
}

/// The capabilities that a component has.
pub type Capabilities = BTreeSet<Capability>;

/// Which records an analyzer wants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Subscription {
    /// Least severity number; 0 for all.
    pub min_severity: u8,
    /// `service.name`s; empty for all.
    pub sources: Vec<String>,
    /// Any of these must be in the body, in this case; empty for all.
    pub any_substring: Vec<String>,
    /// Any of these must match the body; empty for all. With `any_substring`, either will do.
    pub any_regex: Vec<String>,
    /// Bit 0 body, 1 attributes, 2 pattern, 3 resources, 4 trace and span, 5 observed.
    pub columns: u32,
    /// Most records a call.
    pub max_batch: u32,
    /// How long a record may wait for others, in milliseconds.
    pub max_delay_ms: u32,
    /// How often `tick` is called, in milliseconds; 0 never.
    pub tick_interval_ms: u32,
}

/// What a service accepts of a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ChannelLimits {
    /// Most alerts a notification; 0 for no limit.
    pub max_alerts: u32,
    /// Most bytes of a request's body; 0 for the host's own limit.
    pub max_body_bytes: u32,
    /// Most requests a minute; 0 for no limit.
    pub per_minute: u32,
    /// Most requests at once; 0 for one.
    pub concurrency: u32,
}

/// What a component says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Descriptor {
    /// A suggestion: the operator's key is the plugin's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it does, in one line.
    pub summary: String,
    /// JSON Schema of its configuration.
    #[schema(value_type = Object)]
    pub config_schema: Value,
    /// `scheme://host:port` patterns that it asks to reach.
    pub outbound: Vec<String>,
    /// JSON pointers into its configuration whose URLs it asks to reach.
    pub outbound_from_config: Vec<String>,
    /// HTTP methods that it uses.
    pub methods: Vec<String>,
    /// Names of secrets, and the pattern or JSON pointer of where each goes.
    pub secret_bindings: Vec<(String, String)>,
    /// What its service accepts, if it is a channel.
    pub limits: Option<ChannelLimits>,
    /// Version of what it saves.
    pub state_version: u32,
    /// Which records it wants, if it is an analyzer.
    pub subscription: Option<Subscription>,
}

/// What the host does when an analyzer fails for good, or a channel traps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// The cursor waits; a notification is tried again. The default of channels.
    Hold,
    /// What it failed on is left out, and said. The default of analyzers.
    Skip,
}

/// What the operator says of one plugin.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginConfig {
    /// File of the component: a path, or the name of a file in one of the folders, with or without `.wasm`.
    pub component: String,
    /// Whether it runs.
    pub enabled: bool,
    /// Capabilities granted beside the harmless ones.
    pub capabilities: Capabilities,
    /// `scheme://host[:port]` patterns it may reach; `https://*.example.com` for all names below one.
    pub outbound: Vec<String>,
    /// Whether those names may stand for addresses of this machine or its network.
    pub private_addresses: bool,
    /// Its own section.
    pub config: Value,
    /// Values of its secrets, by name.
    pub secrets: Vec<(String, crate::config::Secret)>,
    /// What happens when it fails.
    pub on_failure: Option<OnFailure>,
    /// Most bytes of memory.
    pub memory_bytes: usize,
    /// Longest call.
    pub timeout: Duration,
}

impl PluginConfig {
    /// Returns the settings of a plugin of which nothing is said but where it lies.
    #[must_use]
    pub fn new(component: impl Into<String>) -> Self {
        Self {
            component: component.into(),
            enabled: true,
            capabilities: Capabilities::new(),
            outbound: Vec::new(),
            private_addresses: false,
            config: Value::Object(serde_json::Map::new()),
            secrets: Vec::new(),
            on_failure: None,
            memory_bytes: 64 << 20,
            timeout: Duration::from_secs(2),
        }
    }
}

/// Who compiles components to native code.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Compiler {
    /// This process.
    #[default]
    Here,
    /// A process of its own, at low priority: `<program> compile-component IN OUT`.
    Child(PathBuf),
}

/// `plugins`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PluginsConfig {
    /// Folders searched beside `plugins` in the data directory.
    pub directories: Vec<PathBuf>,
    /// What the operator says, by the plugins' names.
    pub components: std::collections::BTreeMap<String, PluginConfig>,
    /// Who compiles.
    pub compiler: Compiler,
}

/// Why a call into a component failed. It cost this call and the component's memory, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It ran too long.
    #[error("`{function}` ran longer than {limit:?}")]
    Deadline {
        /// What was called.
        function: &'static str,
        /// How long it might.
        limit: Duration,
    },
    /// It trapped: a panic, memory or stack beyond its limit, an exit.
    #[error("`{function}` trapped: {message}")]
    Trap {
        /// What was called.
        function: &'static str,
        /// What the runtime and the component's standard error say.
        message: String,
    },
    /// What it returned cannot be used.
    #[error("`{function}` returned what cannot be used: {problem}")]
    Malformed {
        /// What was called.
        function: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// It said no.
    #[error("{message}")]
    Refused {
        /// 1 configuration, 2 input, 3 refused, 4 quota, 5 internal.
        code: u16,
        /// In its own words.
        message: String,
    },
    /// It failed lately and is not called before then.
    #[error("it failed lately and is called again at {until}")]
    Backoff {
        /// When it is tried again.
        until: Timestamp,
    },
    /// It cannot run.
    #[error("{problem}")]
    Unavailable {
        /// Why, and what to do.
        problem: String,
    },
}

impl CallError {
    /// Returns a short word for counting.
    #[must_use]
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Deadline { .. } => "deadline",
            Self::Trap { .. } => "trap",
            Self::Malformed { .. } => "malformed",
            Self::Refused { .. } => "refused",
            Self::Backoff { .. } => "backoff",
            Self::Unavailable { .. } => "unavailable",
        }
    }

    /// Returns whether the component's store is no longer usable.
    #[must_use]
    pub const fn poisons(&self) -> bool {
        matches!(self, Self::Deadline { .. } | Self::Trap { .. } | Self::Malformed { .. })
    }
}

/// Where a plugin stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PluginState {
    /// It runs, or would if it were called.
    Ready,
    /// It is being compiled or looked at.
    Loading,
    /// It failed lately and waits.
    Waiting,
    /// Nobody has granted what it asks for.
    NotGranted,
    /// The operator has switched it off.
    Disabled,
    /// It cannot run.
    Failed,
}

impl PluginState {
    /// Returns its name as shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Loading => "loading",
            Self::Waiting => "waiting",
            Self::NotGranted => "not_granted",
            Self::Disabled => "disabled",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for PluginState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name().replace('_', " "))
    }
}
