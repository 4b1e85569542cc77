//! OTLP from bytes to columns and points, and over HTTP.

mod grpc;
mod http;
mod json;
mod logs;
mod metrics;
