//! OTLP in JSON. The derived serde of `opentelemetry-proto` does not read all that the specification allows (an unknown field in
//! an `AnyValue`, `NaN`, `null`, a number as text), so these are shapes of our own, private and only as large as what is kept.
//!
//! Source: OpenTelemetry protocol specification, "JSON Protobuf Encoding": ids in hexadecimal, enums as integers, lowerCamelCase
//! names only, unknown fields ignored, 64-bit integers as text or number.

mod any;
mod logs;
mod metrics;
mod scalars;
mod traces;

use serde::Deserialize;

use super::DecodeError;

pub use logs::decode as logs;
pub use metrics::decode as metrics;
pub use traces::count_spans;

/// Reads `T` from JSON. Nothing at all counts as an empty object, as it does in protobuf.
fn read<'a, T: Deserialize<'a> + Default>(bytes: &'a [u8], budget: usize) -> Result<T, DecodeError> {
    if bytes.is_empty() {
        return Ok(T::default());
    }
    // Serde would take an array for the fields in their order.
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err(DecodeError::Json { path: ".".to_owned(), message: "expected an object".to_owned() });
    }
    // An object costs some hundred bytes in memory and as few as three on the wire, so they are counted before they are read.
    if memchr::memchr_iter(b'{', bytes).count() > budget / 64 {
        return Err(super::OverBudget { budget }.into());
    }
    // The path of an error costs time to follow, so it is looked for only when there is one.
    serde_json::from_slice(bytes).or_else(|_| {
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let value = serde_path_to_error::deserialize(&mut json)
            .map_err(|error| DecodeError::Json { path: error.path().to_string(), message: error.inner().to_string() })?;
        json.end().map_err(|error| DecodeError::Json { path: ".".to_owned(), message: error.to_string() })?;
        Ok(value)
    })
}
