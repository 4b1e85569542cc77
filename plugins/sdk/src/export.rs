//! From a type of the author's to a component.

use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// Returns the plugin that `make` makes of its section of the configuration; a wrong key is named.
#[doc(hidden)]
pub fn set_up<C: DeserializeOwned, T>(config_json: &str, make: impl FnOnce(C) -> Result<T>) -> Result<T> {
    let mut json = serde_json::Deserializer::from_str(config_json);
    let config = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        // A `.` stands for the section itself: the message names the key then.
        let path = if path == "." { "config".to_owned() } else { format!("config.{path}") };
        let message = error.inner().to_string();
        // Lines and columns are those of text that the operator has never seen.
        let message = message.split(" at line ").next().unwrap_or(&message);
        Error::configuration(format!("{path}: {message}"))
    })?;
    make(config)
}

/// Makes a component of a type that implements [`Channel`](crate::Channel). To be used once, at the top of the crate.
#[macro_export]
macro_rules! export_channel {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "the exports of a component are C functions")]
        const _: () = {
            $crate::__described!($plugin, $crate::Channel);

            impl $crate::bindings::channel::Guest for Component {
                fn plan(
                    notification: $crate::Notification,
                    progress: ::std::option::Option<::std::vec::Vec<u8>>,
                    now: u64,
                ) -> $crate::Result<$crate::Step> {
                    with(|plugin| $crate::Channel::plan(plugin, &notification, progress.as_deref(), now))
                }

                fn next(
                    notification: $crate::Notification,
                    state: ::std::vec::Vec<u8>,
                    exchanges: ::std::vec::Vec<$crate::Exchange>,
                    now: u64,
                ) -> $crate::Result<$crate::Step> {
                    with(|plugin| $crate::Channel::next(plugin, &notification, &state, &exchanges, now))
                }
            }

    $crate::bindings::described::export_described!(Component with_types_in $crate::bindings::described);
    $crate::bindings::channel::export_delivering!(Component with_types_in $crate::bindings::channel);
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn() = || {
            fn is_a_channel<T: $crate::Channel>() {}
            is_a_channel::<$plugin>();
        };
    };
}

/// Makes a component of a type that implements [`Analyzer`](crate::Analyzer). To be used once, at the top of the crate.
#[macro_export]
macro_rules! export_analyzer {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "the exports of a component are C functions")]
        const _: () = {
            $crate::__described!($plugin, $crate::Analyzer);

            impl $crate::bindings::analyzer::Guest for Component {
                fn analyze(batch: $crate::bindings::host::logs::LogBatch) -> $crate::Result<$crate::Analysis> {
                    with(|plugin| $crate::Analyzer::analyze(plugin, &$crate::Batch::new(batch)))
                }

                fn tick(now: u64, watermark: u64) -> $crate::Result<$crate::Analysis> {
                    with(|plugin| $crate::Analyzer::tick(plugin, now, watermark))
                }

                fn save() -> $crate::Result<::std::vec::Vec<u8>> {
                    with(|plugin| $crate::Analyzer::save(plugin))
                }

                fn restore(from_version: u32, data: ::std::vec::Vec<u8>) -> $crate::Result<()> {
                    with(|plugin| $crate::Analyzer::restore(plugin, from_version, &data))
                }
            }

    $crate::bindings::described::export_described!(Component with_types_in $crate::bindings::described);
    $crate::bindings::analyzer::export_analyzing!(Component with_types_in $crate::bindings::analyzer);
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn() = || {
            fn is_an_analyzer<T: $crate::Analyzer>() {}
            is_an_analyzer::<$plugin>();
        };
    };
}

/// Makes a component of a type that implements [`Parser`](crate::Parser). To be used once, at the top of the crate.
#[macro_export]
macro_rules! export_parser {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "the exports of a component are C functions")]
        const _: () = {
            $crate::__described!($plugin, $crate::Parser);

            impl $crate::bindings::parser::Guest for Component {
                fn parse(
                    source: ::std::string::String,
                    hint: ::std::string::String,
                    lines: $crate::bindings::parser::BytesColumn,
                    now: u64,
                ) -> $crate::Result<$crate::bindings::parser::Parsed> {
                    let origin = $crate::Origin { source: &source, service: &hint, now };
                    with(|plugin| $crate::parse_lines(plugin, &origin, &lines.offsets, &lines.bytes))
                }
            }

    $crate::bindings::described::export_described!(Component with_types_in $crate::bindings::described);
    $crate::bindings::parser::export_parsing!(Component with_types_in $crate::bindings::parser);
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn() = || {
            fn is_a_parser<T: $crate::Parser>() {}
            is_a_parser::<$plugin>();
        };
    };
}

/// What all kinds of components have in common: the one plugin of this store, and what it says of itself.
#[doc(hidden)]
#[macro_export]
macro_rules! __described {
    ($plugin:ty, $kind:path) => {
        struct Component;

        ::std::thread_local! {
            static PLUGIN: ::std::cell::RefCell<::std::option::Option<$plugin>> = const { ::std::cell::RefCell::new(None) };
        }

        fn with<T>(call: impl FnOnce(&mut $plugin) -> $crate::Result<T>) -> $crate::Result<T> {
            PLUGIN.with_borrow_mut(|plugin| match plugin {
                Some(plugin) => call(plugin),
                None => Err($crate::Error::internal("the host has not set this plugin up")),
            })
        }

        impl $crate::bindings::described::Guest for Component {
            fn describe() -> $crate::Descriptor {
                <$plugin as $kind>::descriptor()
            }

            fn init(config_json: ::std::string::String) -> $crate::Result<()> {
                let plugin = $crate::set_up(&config_json, <$plugin as $kind>::init)?;
                PLUGIN.set(Some(plugin));
                Ok(())
            }

            fn self_test() -> $crate::Result<::std::string::String> {
                with(|plugin| <$plugin as $kind>::self_test(plugin))
            }
        }
    };
}
