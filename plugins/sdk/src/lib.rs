//! For authors of watchfire's plugins.
//!
//! A plugin is a WebAssembly component: a **channel**, which turns notifications into HTTP requests, an **analyzer**, which reads log
//! records and says what it finds, or a **parser**, which makes records of lines. Write one as a crate of type `cdylib`, implement
//! [`Channel`], [`Analyzer`] or [`Parser`], name it in [`export_channel!`], [`export_analyzer!`] or [`export_parser!`], and build it with
//! `cargo build --target wasm32-wasip2 --release`.
//!
//! ```
//! use serde::Deserialize;
//! use watchfire_plugin::{Analysis, Analyzer, Batch, Columns, Descriptor, Finding, Result, Subscription, severity};
//!
//! struct Panics {
//!     config: Config,
//! }
//!
//! #[derive(Deserialize)]
//! #[serde(default, deny_unknown_fields)]
//! struct Config {
//!     word: String,
//! }
//!
//! impl Default for Config {
//!     fn default() -> Self {
//!         Self { word: "panic".to_owned() }
//!     }
//! }
//!
//! impl Analyzer for Panics {
//!     type Config = Config;
//!
//!     fn descriptor() -> Descriptor {
//!         Descriptor::new("panics", "0.1.0", "Finds records that hold a word")
//!             .config_schema(r#"{"type": "object", "properties": {"word": {"type": "string"}}}"#)
//!             .subscription(Subscription::to(Columns::BODY))
//!     }
//!
//!     fn init(config: Config) -> Result<Self> {
//!         Ok(Self { config })
//!     }
//!
//!     fn analyze(&mut self, batch: &Batch) -> Result<Analysis> {
//!         let found = batch.rows().filter(|row| row.body().contains(&self.config.word));
//!         Ok(found.map(|row| Finding::new("panic", severity::ERROR, "a panic").key(row.service()).about(&row)).collect())
//!     }
//! }
//!
//! watchfire_plugin::export_analyzer!(Panics);
//! # fn main() {
//! use watchfire_plugin::testing::{AnalyzerTester, Record};
//!
//! let mut tester = AnalyzerTester::<Panics>::new(serde_json::json!({})).unwrap();
//! let analysis = tester.analyze([Record::new("all is well"), Record::new("a panic!").service("shop")]).unwrap();
//! assert_eq!(analysis.findings[0].dedupe_key, "shop");
//! # }
//! ```
//!
//! What a plugin may use of the host is in [`log`], [`metrics`], [`kv`], [`secrets`] and [`kernels`]: each module used is a capability that
//! the component asks for, and the operator grants. A plugin has no network, no files, and no clock but the times it is given.
//!
//! Built for anything but WebAssembly, all of it works too: the host is then the one in [`testing`], so that `cargo test` tests a plugin.

#![warn(missing_docs)]

mod analyzer;
#[doc(hidden)]
pub mod bindings;
mod channel;
mod descriptor;
mod error;
mod export;
mod imports;
pub mod kernels;
pub mod kv;
pub mod log;
pub mod metrics;
mod parser;
mod rows;
pub mod secrets;
pub mod severity;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use analyzer::{Analysis, Analyzer, Finding, MetricSample};
pub use bindings::host::alerting::Alert;
pub use bindings::host::common::PluginError as Error;
pub use channel::{Channel, Exchange, Failure, Notification, Outcome, Reply, Request, Requests, Step, code};
pub use descriptor::{Columns, Descriptor, Limits, Subscription};
#[doc(hidden)]
pub use export::set_up;
#[doc(hidden)]
pub use parser::parse as parse_lines;
pub use parser::{Origin, Parser, Record as ParsedRecord, Records};
pub use rows::{Attributes, Batch, Row, Rows, Value, ValueKind};

/// Label names and values.
pub type Labels = Vec<(String, String)>;

/// What a plugin answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;
