//! Traces in JSON, of which only the number is known.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::scalars::List;
use crate::inputs::otlp::DecodeError;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Request {
    resource_spans: List<ResourceSpans>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ResourceSpans {
    scope_spans: List<ScopeSpans>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ScopeSpans {
    spans: List<IgnoredAny>,
}

/// Returns the number of spans in an `ExportTraceServiceRequest`.
///
/// # Errors
/// [`DecodeError::Json`] with the path of what is wrong.
pub fn count_spans(bytes: &[u8], budget: usize) -> Result<u64, DecodeError> {
    let request: Request = super::read(bytes, budget)?;
    Ok(request.resource_spans.0.iter().flat_map(|spans| &spans.scope_spans.0).map(|spans| spans.spans.0.len() as u64).sum())
}
