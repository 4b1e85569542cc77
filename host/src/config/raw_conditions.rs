//! What a rule counts, as written: log records, error events, findings, new issues.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::raw::LogLevel;
use crate::alerts::events::EventFilter;
use crate::alerts::types::{ErrorFilter, RecordFilter};
use crate::logs::LogFilter;

/// Which log records a rule counts. All that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawLogCondition {
    /// Words, `"quoted phrases"` and conditions such as `duration>250`, as `watchfire search` takes them, without times and pipes. Default: any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Least level. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<LogLevel>,
    /// `service.name`, exactly. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Attributes and their values as text, exactly. Default: any.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// Which error events a rule counts. All that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawErrorCondition {
    /// `service.name`, exactly. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Class of the exception, exactly. Default: any.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Least level. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<LogLevel>,
    /// Words, `"quoted phrases"` and conditions such as `duration>250`, as `watchfire search` takes them, without times and pipes. Default: any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
}

/// Which findings a rule counts. All that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawFindingCondition {
    /// Name of the analyzer that found it. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub analyzer: Option<String>,
    /// The analyzer's own name for what it found. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Least level. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<LogLevel>,
    /// Labels of the finding, exactly. Default: any.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Which issues a rule tells of when they are new. All that is given must hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawIssueCondition {
    /// `service.name`, exactly. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Least level. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<LogLevel>,
    /// Whether resolved issues that come back count too. Default: true.
    pub regressions: bool,
}

impl Default for RawIssueCondition {
    fn default() -> Self {
        Self { service: None, level: None, regressions: true }
    }
}

impl From<RawLogCondition> for RecordFilter {
    fn from(raw: RawLogCondition) -> Self {
        let log = LogFilter {
            text: raw.text,
            level: raw.level.map(LogLevel::severity),
            services: raw.service.into_iter().collect(),
            attributes: raw.attributes.into_iter().collect(),
            ..LogFilter::default()
        };
        Self { log, errors: None }
    }
}

impl From<&LogFilter> for RawLogCondition {
    fn from(filter: &LogFilter) -> Self {
        Self {
            text: filter.text.clone(),
            level: filter.level.map(LogLevel::of),
            service: filter.services.first().cloned(),
            attributes: filter.attributes.iter().cloned().collect(),
        }
    }
}

impl From<RawErrorCondition> for RecordFilter {
    fn from(raw: RawErrorCondition) -> Self {
        let log = LogFilter {
            text: raw.text,
            level: raw.level.map(LogLevel::severity),
            services: raw.service.into_iter().collect(),
            ..LogFilter::default()
        };
        Self { log, errors: Some(ErrorFilter { kind: raw.kind }) }
    }
}

impl RawErrorCondition {
    /// Writes a filter as a file would.
    #[must_use]
    pub fn of(log: &LogFilter, errors: &ErrorFilter) -> Self {
        Self {
            service: log.services.first().cloned(),
            kind: errors.kind.clone(),
            level: log.level.map(LogLevel::of),
            text: log.text.clone(),
        }
    }
}

impl From<RawFindingCondition> for EventFilter {
    fn from(raw: RawFindingCondition) -> Self {
        Self::Finding {
            analyzer: raw.analyzer,
            rule: raw.rule,
            level: raw.level.map(LogLevel::severity),
            labels: raw.labels.into_iter().collect(),
        }
    }
}

impl From<RawIssueCondition> for EventFilter {
    fn from(raw: RawIssueCondition) -> Self {
        Self::NewIssue { service: raw.service, level: raw.level.map(LogLevel::severity), regressions: raw.regressions }
    }
}
