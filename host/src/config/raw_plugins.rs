//! `plugins` as written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::duration::HumanDuration;
use super::raw::RawSecret;
use crate::plugins::{Capability, OnFailure, PluginConfig};

/// WebAssembly components: where they lie, and what each may do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawPlugins {
    /// Folders searched beside `plugins` in the data directory. Default: none.
    pub directories: Vec<PathBuf>,
    /// What each may do, by the name that it is to have here. A component that is only found is listed and not run. Default: none.
    pub components: BTreeMap<String, RawPlugin>,
}

/// What one plugin may do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawPlugin {
    /// File of the component: a path, or the name of a file in one of the folders. Default: the plugin's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// Whether it runs. Default: true.
    pub enabled: bool,
    /// Capabilities that it asks for and gets: `metrics`, `kv`, `secrets`. Those that do no harm need not be named. Default: none.
    pub capabilities: Vec<Capability>,
    /// Where it may send: `https://host[:port]`, or `https://*.example.com` for every name below one. Default: nowhere.
    pub outbound: Vec<String>,
    /// Whether the names in `outbound` may stand for addresses of this machine or its network. Default: false.
    pub private_addresses: bool,
    /// Its own section, as its schema wants it. Default: empty.
    pub config: Map<String, Value>,
    /// Its secrets by name, as text or `${NAME}`: the component itself never sees them. Default: none.
    pub secrets: BTreeMap<String, RawSecret>,
    /// Files that hold secrets, by their names. Default: none.
    pub secret_files: BTreeMap<String, PathBuf>,
    /// What happens when an analyzer fails again and again: `hold` waits, `skip` leaves out what it fails on. Default: `skip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    /// Most bytes of memory. Default: 67108864 (64 MiB).
    pub memory_bytes: u64,
    /// Longest call. Default: 2 seconds.
    pub timeout: HumanDuration,
}

impl Default for RawPlugin {
    fn default() -> Self {
        let plugin = PluginConfig::new("");
        Self {
            component: None,
            enabled: plugin.enabled,
            capabilities: Vec::new(),
            outbound: Vec::new(),
            private_addresses: plugin.private_addresses,
            config: Map::new(),
            secrets: BTreeMap::new(),
            secret_files: BTreeMap::new(),
            on_failure: None,
            memory_bytes: plugin.memory_bytes as u64,
            timeout: HumanDuration(plugin.timeout),
        }
    }
}
