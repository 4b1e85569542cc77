//! The plugin room: finds components, looks at them, grants, runs and watches over them. The only module that names the runtime.
//!
//! `load` says what a component is, [`plugin`] calls into one that may run, `guest` is what it sees of the host, [`supervise`] counts
//! and waits, `room` knows all of them, [`api`] speaks HTTP.

pub mod api;
mod bindings;
mod cache;
mod columns;
mod engine;
mod grants;
mod guest;
mod instance;
mod kernels;
pub mod kv;
mod load;
pub mod log;
pub mod origin;
mod parsed;
pub mod parsers;
pub mod plugin;
mod room;
pub mod secrets;
mod series;
mod store;
pub mod supervise;
mod threads;
pub mod types;

/// Types as they cross the boundary. Plain data.
pub mod wire {
    pub use super::bindings::alerting::Alert;
    pub use super::bindings::analyzer::exports::watchfire::plugin::analyzer::Analysis;
    pub use super::bindings::channel::exports::watchfire::plugin::channel::{
        Batch, Exchange, Failure, Notification, Outcome, Reply, Request, Step,
    };
    pub use super::bindings::logs::{AttributeColumns, Finding, LogBatch, MetricSample, TextColumn};
    pub use super::bindings::parser::exports::watchfire::plugin::parser::{BytesColumn, Parsed};
}

pub use cache::compile_file;
pub use columns::{ATTRIBUTES, BODY, OBSERVED, PATTERN, RESOURCES, TRACE, wire_batch};
pub use log::LOG_TARGET;
pub use parsers::{ParsedBatch, ParserLine, Parsers};
pub use plugin::{AnalyzerInput, AnalyzerInstance, ChannelSession, EgressPolicy, Plugin};
pub use room::{PluginView, Plugins};
pub use threads::give_way;
pub use types::{
    CallError, Capability, ChannelLimits, Compiler, Descriptor, Kind, OnFailure, PluginConfig, PluginState, PluginsConfig,
    Subscription,
};
