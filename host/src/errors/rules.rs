//! What users say about grouping: whose calls are whose, and which errors are grouped by something else.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::stack::StackTrace;
use super::types::ErrorEvent;

/// `error_tracking`'s rules of grouping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupingRules {
    /// Modules and files of the application.
    pub include: Vec<String>,
    /// Modules and files that are not the application's.
    pub exclude: Vec<String>,
    /// The first that fits holds.
    pub rules: Vec<FingerprintRule>,
}

/// Groups errors by something else. All that is given must fit, with `*` for any text, in any case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FingerprintRule {
    /// The class of the exception, or of one of its causes. Default: any.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// What it said. Default: any.
    pub message: Option<String>,
    /// `service.name`. Default: any.
    pub service: Option<String>,
    /// The module of one of its calls. Default: any.
    pub module: Option<String>,
    /// The function of one of its calls. Default: any.
    pub function: Option<String>,
    /// What these errors are grouped by: texts, with `{{ default }}` for what the host finds, and `{{ type }}`, `{{ message }}`,
    /// `{{ service }}`, `{{ function }}`, `{{ module }}`, `{{ transaction }}`, `{{ level }}` for what the error says. Required.
    pub fingerprint: Vec<String>,
}

/// What may stand between `{{` and `}}`.
const NAMES: [&str; 8] = ["default", "type", "message", "service", "function", "module", "transaction", "level"];

/// What stands for what the host finds by itself.
pub const DEFAULT: &str = "{{ default }}";

impl GroupingRules {
    /// Returns whether a call of `module`, or in `file`, is the application's; `None` if no rule says.
    #[must_use]
    pub fn in_app(&self, module: &str, file: &str) -> Option<bool> {
        let names = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, module) || matches(pattern, file));
        if names(&self.include) {
            return Some(true);
        }
        names(&self.exclude).then_some(false)
    }

    /// Returns the first rule that fits, and its place.
    #[must_use]
    pub fn find(&self, event: &ErrorEvent, trace: Option<&StackTrace>) -> Option<(usize, &FingerprintRule)> {
        self.rules.iter().enumerate().find(|(_, rule)| rule.fits(event, trace))
    }
}

impl FingerprintRule {
    fn fits(&self, event: &ErrorEvent, trace: Option<&StackTrace>) -> bool {
        let exceptions = trace.map_or(&[][..], |trace| &trace.exceptions);
        let mut frames = exceptions.iter().flat_map(|exception| &exception.frames);
        let is = |pattern: &Option<String>, mut found: &mut dyn FnMut(&str) -> bool| pattern.as_deref().is_none_or(&mut found);
        is(&self.kind, &mut |pattern| {
            matches(pattern, &event.kind) || exceptions.iter().any(|exception| matches(pattern, &exception.kind))
        }) && is(&self.message, &mut |pattern| {
            let said = if event.message.is_empty() { &event.body } else { &event.message };
            matches(pattern, said)
        }) && is(&self.service, &mut |pattern| matches(pattern, &event.service))
            && is(&self.module, &mut |pattern| frames.clone().any(|frame| matches(pattern, &frame.module)))
            && is(&self.function, &mut |pattern| frames.any(|frame| matches(pattern, &frame.function)))
    }

    /// Returns what is wrong with a rule as somebody has written it, each with the key that it is about.
    #[must_use]
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if [&self.kind, &self.message, &self.service, &self.module, &self.function].iter().all(|pattern| pattern.is_none()) {
            problems.push(("", "expected at least one of `type`, `message`, `service`, `module`, `function`".to_owned()));
        }
        if self.fingerprint.iter().all(|part| part.trim().is_empty()) {
            problems.push((".fingerprint", "expected at least one text".to_owned()));
        }
        let parts = self.fingerprint.iter().filter_map(|part| Self::check_part(part).err());
        problems.extend(parts.map(|reason| (".fingerprint", reason)));
        problems
    }

    /// Checks one part of a fingerprint.
    fn check_part(part: &str) -> Result<(), String> {
        let mut rest = part;
        while let Some((_, after)) = rest.split_once("{{") {
            let Some((name, after)) = after.split_once("}}") else { return Err(format!("`{part}`: a `{{{{` is never closed")) };
            if !NAMES.contains(&name.trim()) {
                let hint = crate::nearest::suggestion(name.trim(), NAMES.iter().copied());
                return Err(format!("`{part}`: there is no `{}`{hint}", name.trim()));
            }
            rest = after;
        }
        Ok(())
    }
}

/// Returns `parts` with what they name filled in; [`DEFAULT`] stays, and is written in one way.
#[must_use]
pub fn expand(parts: &[String], event: &ErrorEvent, trace: Option<&StackTrace>) -> Vec<String> {
    let top =
        trace.and_then(|trace| trace.exceptions.iter().rev().flat_map(|exception| &exception.frames).find(|frame| frame.in_app));
    let fill = |name: &str| match name {
        "type" => event.kind.clone(),
        "message" => event.message.clone(),
        "service" => event.service.clone(),
        "function" => top.map_or_else(String::new, |frame| frame.function.clone()),
        "module" => top.map_or_else(String::new, |frame| frame.module.clone()),
        "transaction" => event.transaction.clone(),
        "level" => event.severity().name().to_owned(),
        // What nobody knows stays as it is written.
        other => format!("{{{{ {other} }}}}"),
    };
    parts
        .iter()
        .map(|part| {
            let (mut text, mut rest) = (String::new(), part.as_str());
            while let Some((before, after)) = rest.split_once("{{") {
                let Some((name, after)) = after.split_once("}}") else { break };
                text.push_str(before);
                text.push_str(&fill(name.trim()));
                rest = after;
            }
            text.push_str(rest);
            super::stack::cut(&text, 500).to_owned()
        })
        .collect()
}

/// Returns whether `text` is what `pattern` says, in any case; `*` stands for any text.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_lowercase(), text.to_lowercase());
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or("");
    for part in parts {
        // The earliest place leaves most for the rest.
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_are_whole_and_know_any_text() {
        for (pattern, text, fits) in [
            ("ValueError", "valueerror", true),
            ("*Error", "TimeoutError", true),
            ("shop.*", "shop.orders", true),
            ("shop.*", "workshop.orders", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b", "ab", true),
            ("ab*b", "ab", false),
            ("*", "", true),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn a_part_names_only_what_there_is() {
        assert_eq!(FingerprintRule::check_part("{{ default }} and {{type}}"), Ok(()));
        assert!(FingerprintRule::check_part("{{ typ }}").unwrap_err().contains("did you mean `type`?"));
        assert!(FingerprintRule::check_part("{{ type").is_err());
    }

    proptest! {
        #[test]
        fn a_text_fits_itself_and_what_it_begins_and_ends_with(text in "[a-z*]{0,12}", cut in 0_usize..12) {
            prop_assert!(matches(&text, &text.replace('*', "x")));
            let plain = text.replace('*', "");
            let cut = cut.min(plain.len());
            let pattern = format!("{}*{}", &plain[..cut], &plain[cut..]);
            prop_assert!(matches(&pattern, &plain));
        }
    }
}
