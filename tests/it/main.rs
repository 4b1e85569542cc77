//! Whole-host cases, by what they are about.

mod alerts;
mod analysis_findings;
mod channel_dingtalk;
mod channel_secrets;
mod commands;
mod concurrency;
mod configuration;
mod crash_analysis;
mod crash_delivery;
mod crash_files;
mod crash_ingest;
mod crash_metrics;
mod daemon;
mod documentation;
mod guard;
mod ingest;
mod metrics;
mod otlp;
mod plugin_hostile;
mod plugin_lifecycle;
mod reload;
mod search;
mod status;
mod stream;
mod tail;
mod tls;
