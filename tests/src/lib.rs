//! The harness of the whole-host tests: hosts in this process and outside it, and what talks to them.
//!
//! - [`TestHost`]: everything in this process, on port 0, with its own folder and a clock that only the test moves.
//! - [`Installation`] and [`Process`]: the real binary, for commands, signals and `kill -9`.
//! - [`WebhookReceiver`], [`HttpsReceiver`], [`SmtpServer`]: what notifications go to; [`Wire`] listens in between.
//! - [`PluginRoom`]: the host's plugins without the rest of it.
//! - [`otel`]: unmodified OpenTelemetry SDKs; [`senders`]: unmodified syslog daemons.
//! - [`Client`] asks the host; [`eventually`] asks again until the answer is there.
//!
//! Cases are in `it/`. They never sleep: they wait for something, with a bound.

mod background;
mod binary;
mod client;
mod clients;
pub mod example;
mod fixtures;
mod host;
mod https;
mod installation;
mod lines;
pub mod otel;
pub mod payload;
mod plugin_room;
mod process;
mod python_server;
pub mod senders;
mod smtp;
mod test_host;
mod wait;
mod webhook;
mod wire;

pub use client::{Answer, Client, EventStream, StreamedRecord};
pub use clients::{output, run_node, run_python, run_python_tests};
pub use fixtures::{error_burst_rule, merge, minimal_configuration, webhook_receiver};
pub use https::HttpsReceiver;
pub use installation::{Finished, Installation};
pub use lines::Lines;
pub use plugin_room::{MemoryKv, PluginRoom, analyzer_input, plugin, plugin_notification};
pub use process::Process;
pub use smtp::{Mail, SmtpServer};
pub use test_host::TestHost;
pub use wait::eventually;
pub use webhook::{Delivery, Reply, WebhookReceiver};
pub use wire::Wire;
