//! The interface in Rust, generated from `wit/v0.1`.
//!
//! What a component imports stands in one module; each interface that it exports has one of its own, so that a component exports only
//! what it is. What is imported and not used does not end up in the component.

#![allow(missing_docs, unreachable_pub, unsafe_code, clippy::all, clippy::pedantic, reason = "generated")]

/// What the host offers, and the types that everything shares.
pub mod host {
    wit_bindgen::generate!({
        path: "../../wit/v0.1",
        inline: "
            package watchfire:authors;
            world host {
                import watchfire:plugin/logging@0.1.0;
                import watchfire:plugin/config@0.1.0;
                import watchfire:plugin/metrics@0.1.0;
                import watchfire:plugin/kv@0.1.0;
                import watchfire:plugin/kernels@0.1.0;
                import watchfire:plugin/secrets@0.1.0;
                import watchfire:plugin/alerting@0.1.0;
                import watchfire:plugin/logs@0.1.0;
            }
        ",
        world: "watchfire:authors/host",
        additional_derives: [PartialEq],
        generate_unused_types: true,
        generate_all,
    });
    pub use watchfire::plugin::*;
}

/// What every plugin exports.
pub mod described {
    wit_bindgen::generate!({
        path: "../../wit/v0.1",
        inline: "package watchfire:authors; world described { export watchfire:plugin/plugin@0.1.0; }",
        world: "watchfire:authors/described",
        with: { "watchfire:plugin/common@0.1.0": crate::bindings::host::common },
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "export_described",
        default_bindings_module: "watchfire_plugin::bindings::described",
    });
    pub use exports::watchfire::plugin::plugin::*;
}

/// What a channel exports.
pub mod channel {
    wit_bindgen::generate!({
        path: "../../wit/v0.1",
        inline: "package watchfire:authors; world delivering { export watchfire:plugin/channel@0.1.0; }",
        world: "watchfire:authors/delivering",
        with: {
            "watchfire:plugin/common@0.1.0": crate::bindings::host::common,
            "watchfire:plugin/alerting@0.1.0": crate::bindings::host::alerting,
        },
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "export_delivering",
        default_bindings_module: "watchfire_plugin::bindings::channel",
    });
    pub use exports::watchfire::plugin::channel::*;
}

/// What an analyzer exports.
pub mod analyzer {
    wit_bindgen::generate!({
        path: "../../wit/v0.1",
        inline: "package watchfire:authors; world analyzing { export watchfire:plugin/analyzer@0.1.0; }",
        world: "watchfire:authors/analyzing",
        with: {
            "watchfire:plugin/common@0.1.0": crate::bindings::host::common,
            "watchfire:plugin/logs@0.1.0": crate::bindings::host::logs,
        },
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "export_analyzing",
        default_bindings_module: "watchfire_plugin::bindings::analyzer",
    });
    pub use exports::watchfire::plugin::analyzer::*;
}

/// What a parser exports.
pub mod parser {
    wit_bindgen::generate!({
        path: "../../wit/v0.1",
        inline: "package watchfire:authors; world parsing { export watchfire:plugin/parser@0.1.0; }",
        world: "watchfire:authors/parsing",
        with: {
            "watchfire:plugin/common@0.1.0": crate::bindings::host::common,
            "watchfire:plugin/logs@0.1.0": crate::bindings::host::logs,
        },
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "export_parsing",
        default_bindings_module: "watchfire_plugin::bindings::parser",
    });
    pub use exports::watchfire::plugin::parser::*;
}
