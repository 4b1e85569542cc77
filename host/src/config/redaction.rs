//! `redaction`, as written and as checked.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use watchfire_redact::{Action, Custom, Redactor, Rule, Settings, SettingsError};

use super::check::Checker;
use crate::nearest::did_you_mean;

/// Secrets and personal data are taken out of log records before they are stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawRedaction {
    /// Whether anything is redacted. Default: true.
    pub enabled: bool,
    /// By rule, what is done with what it finds: `off`, `mask`, `hash` or `remove`. Default: `mask` for `secret`, `authorization`, `url_password`, `private_key`, `cloud_key`, `jwt`, `card`, `iban`, `ssn` and `cn_id`; `off` for `cn_mobile`, `email`, `ip`, `mac`, `imei`, `uuid` and `user_path`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<String, RedactionAction>,
    /// Rules of your own. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub custom: Vec<RawCustomRule>,
    /// Attributes that are left as they are, by name; `body` is the body. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
}

/// A redaction rule of your own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name", "pattern"]))]
pub struct RawCustomRule {
    /// Its name: letters, digits, `-` and `_`. Required.
    pub name: String,
    /// Regular expression; a group `(?P<secret>…)` in it is what is redacted, else the whole match is. Required.
    pub pattern: String,
    /// What is done with what it finds. Default: `mask`.
    pub action: RedactionAction,
}

/// What is done with what a rule finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RedactionAction {
    /// Nothing.
    Off,
    /// `[redacted:RULE]` in its place.
    #[default]
    Mask,
    /// `[RULE:…]` in its place, the same for the same value.
    Hash,
    /// It is taken out.
    Remove,
}

impl From<RedactionAction> for Action {
    fn from(action: RedactionAction) -> Self {
        match action {
            RedactionAction::Off => Self::Off,
            RedactionAction::Mask => Self::Mask,
            RedactionAction::Hash => Self::Hash,
            RedactionAction::Remove => Self::Remove,
        }
    }
}

impl Default for RawRedaction {
    fn default() -> Self {
        Self { enabled: true, rules: BTreeMap::new(), custom: Vec::new(), except: Vec::new() }
    }
}

/// Returns what is redacted, without its key; `None` for nothing.
pub(super) fn check(checker: &mut Checker<'_>, raw: RawRedaction) -> Option<Settings> {
    let mut settings = Settings { except: raw.except, ..Settings::default() };
    for (name, action) in raw.rules {
        match name.parse::<Rule>() {
            Ok(rule) => drop(settings.rules.insert(rule, action.into())),
            Err(error) => {
                let hint = did_you_mean(&name, Rule::ALL.iter().map(|rule| rule.name()));
                checker.fault(format!("redaction.rules.{name}"), format!("{error}{hint}"));
            }
        }
    }
    let custom = raw.custom.into_iter();
    settings.custom = custom.map(|rule| Custom { name: rule.name, pattern: rule.pattern, action: rule.action.into() }).collect();
    match Redactor::new(settings.clone()) {
        Ok(_) => {}
        Err(error) => {
            let (index, key) = match &error {
                SettingsError::Name { index, .. } | SettingsError::Twice { index, .. } => (index, "name"),
                SettingsError::Pattern { index, .. } | SettingsError::Empty { index } => (index, "pattern"),
            };
            checker.fault(format!("redaction.custom[{index}].{key}"), error.to_string());
        }
    }
    raw.enabled.then_some(settings)
}
