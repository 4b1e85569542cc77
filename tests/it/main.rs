//! Whole-host cases, by what they are about.

mod alerts;
mod commands;
mod concurrency;
mod configuration;
mod crash_delivery;
mod crash_files;
mod crash_ingest;
mod crash_metrics;
mod daemon;
mod documentation;
mod errors_crash;
mod errors_issues;
mod guard;
mod ingest;
mod metrics;
mod otlp;
mod reload;
mod search;
mod status;
mod stream;
mod tail;
mod tls;
