//! The interface of plugins in Rust, generated from `wit/v0.1`. One module a world; what worlds share is shared.

#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated")]

/// The world of analyzers, and everything that worlds share.
pub mod analyzer {
    wasmtime::component::bindgen!({
        path: "../wit/v0.1",
        world: "analyzer-plugin",
        imports: { default: trappable },
        exports: { default: async },
        with: { "watchfire:plugin/kernels.regex-set": crate::plugins::kernels::CompiledSet },
    });
}

/// The world of channels.
pub mod channel {
    wasmtime::component::bindgen!({
        path: "../wit/v0.1",
        world: "channel-plugin",
        imports: { default: trappable },
        exports: { default: async },
        with: {
            "watchfire:plugin/common": super::analyzer::watchfire::plugin::common,
            "watchfire:plugin/logging": super::analyzer::watchfire::plugin::logging,
            "watchfire:plugin/config": super::analyzer::watchfire::plugin::config,
            "watchfire:plugin/metrics": super::analyzer::watchfire::plugin::metrics,
        },
    });
}

/// The world of parsers.
pub mod parser {
    wasmtime::component::bindgen!({
        path: "../wit/v0.1",
        world: "parser-plugin",
        imports: { default: trappable },
        exports: { default: async },
        with: {
            "watchfire:plugin/common": super::analyzer::watchfire::plugin::common,
            "watchfire:plugin/logging": super::analyzer::watchfire::plugin::logging,
            "watchfire:plugin/config": super::analyzer::watchfire::plugin::config,
            "watchfire:plugin/metrics": super::analyzer::watchfire::plugin::metrics,
            "watchfire:plugin/logs": super::analyzer::watchfire::plugin::logs,
        },
    });
}

pub use analyzer::watchfire::plugin::{common, config, kernels, kv, logging, logs, metrics};
pub use channel::watchfire::plugin::{alerting, secrets};
