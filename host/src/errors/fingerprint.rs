//! Which error events are the same error. Pure: an event goes in, what it is grouped by comes out.
//!
//! Version `watchfire-g1`. With a stack trace: the classes of the exceptions and the five calls of the application nearest to where
//! it came about. Without: the class and the message without its values; without a class and a message, the first line of the record.
//! The service is always part of it. What an SDK or a rule of the user asks for takes its place, or is added to it. To take two errors
//! for one is worse than to take one for two.
//!
//! With a stack trace there is a second hash, of the classes, the nearest call of the application (the two nearest, if the message says
//! little) and the message without its values: it finds the issue of an error whose outer callers have been rewritten.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use watchfire_types::log::hex;

use super::rules::{DEFAULT, GroupingRules, expand};
use super::stack::{Exception, Frame, StackTrace, cut};
use super::template::parametrise;
use super::types::ErrorEvent;

/// The way of grouping that is described here.
pub const VERSION: &str = "watchfire-g1";

/// Calls that tell errors apart: enough to know the place, few enough that a changed outer caller does not matter.
pub(super) const FRAMES: usize = 5;
/// Hexadecimal digits of the fingerprint that are an issue's id.
const ID_DIGITS: usize = 16;
/// Bytes of a title.
const TITLE_BYTES: usize = 200;

/// Exceptions that only carry another one.
const WRAPPERS: [&str; 6] = [
    "java.util.concurrent.ExecutionException",
    "java.util.concurrent.CompletionException",
    "java.lang.reflect.InvocationTargetException",
    "java.lang.reflect.UndeclaredThrowableException",
    "System.AggregateException",
    "System.Reflection.TargetInvocationException",
];

/// What an error event was grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Classes and calls.
    StackTrace,
    /// Class and message.
    Message,
    /// The record's first line.
    Body,
    /// What the SDK or a rule asks for.
    Fingerprint,
}

/// What went into a fingerprint, for whoever asks why two events are one issue, or are not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Grouping {
    /// The way of grouping.
    pub version: String,
    /// What counted.
    pub basis: Basis,
    /// `service.name`.
    pub service: String,
    /// Classes of the exceptions, the reported one first.
    pub types: Vec<String>,
    /// Calls, the one nearest to the error first. Empty if the basis is another.
    pub frames: Vec<String>,
    /// The message or the line, without its values. Empty if the basis is a stack trace.
    pub template: String,
    /// What was asked for, filled in; `{{ default }}` stands for all of the above. Empty if nothing was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fingerprint: Vec<String>,
    /// Who asked for it: `sdk`, or `rule 0` and so on, by its place in `error_tracking.fingerprint_rules`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub asked_by: String,
}

/// The hash of a way of grouping that is not the present one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OlderHash {
    /// The way of grouping.
    pub version: &'static str,
    /// What it made of the event.
    pub hash: String,
}

/// A way of grouping of the past: what it makes of an event is still looked for, for a while, so that its issues go on.
type OlderVersion = fn(&ErrorEvent, Option<&StackTrace>) -> OlderHash;

/// The ways of grouping of the past, the newest first. There has been no other yet.
const OLDER: [OlderVersion; 0] = [];

/// An error event with its place among the issues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grouped {
    /// Equal for events of one issue: 64 hexadecimal digits.
    pub fingerprint: String,
    /// What finds the issue if the fingerprint is new; empty if nothing may.
    pub secondary: String,
    /// What earlier ways of grouping make of it.
    pub older: Vec<OlderHash>,
    /// What went into it.
    pub grouping: Grouping,
    /// The reported exception and what it said.
    pub title: String,
    /// Where it came about; empty if that is not known.
    pub culprit: String,
}

impl Grouped {
    /// Returns the id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.fingerprint[..ID_DIGITS]
    }
}

/// Groups `event`, whose stack trace says `trace`.
#[must_use]
pub fn group(event: &ErrorEvent, trace: Option<&StackTrace>, rules: &GroupingRules) -> Grouped {
    let exceptions = trace.map_or(&[][..], |trace| &trace.exceptions[..]);
    let frames = calls(exceptions);
    let mut types = types(event, exceptions);
    let said = if event.message.trim().is_empty() { &event.body } else { &event.message };
    let (mut basis, template) = match (frames.is_empty(), types.is_empty() && event.message.trim().is_empty()) {
        (false, _) => (Basis::StackTrace, String::new()),
        (true, false) => (Basis::Message, parametrise(said)),
        (true, true) => (Basis::Body, parametrise(&event.body)),
    };
    if basis != Basis::StackTrace {
        types.truncate(1);
    }
    let (parts, asked_by) = match rules.find(event, trace) {
        Some((place, rule)) => (expand(&rule.fingerprint, event, trace), format!("rule {place}")),
        None if event.fingerprint.is_empty() => (Vec::new(), String::new()),
        None => (expand(&event.fingerprint, event, trace), "sdk".to_owned()),
    };
    // Who asks for what is found anyway asks for nothing.
    let is_custom = parts.iter().any(|part| part != DEFAULT);
    let (parts, asked_by) = if is_custom { (parts, asked_by) } else { (Vec::new(), String::new()) };
    if is_custom && !parts.iter().any(|part| part == DEFAULT) {
        basis = Basis::Fingerprint;
    }
    let secondary = match (basis, frames.first()) {
        (Basis::StackTrace, Some(top)) if top.in_app && !is_custom => secondary(event, &types, &frames),
        _ => String::new(),
    };
    let culprit = frames.first().map_or_else(String::new, ToString::to_string);
    let grouping = Grouping {
        version: VERSION.to_owned(),
        basis,
        service: event.service.clone(),
        types,
        frames: frames.into_iter().map(ToString::to_string).collect(),
        template,
        fingerprint: parts,
        asked_by,
    };
    let older = OLDER.iter().map(|version| version(event, trace)).collect();
    Grouped { fingerprint: fingerprint(&grouping), secondary, older, title: title(event, &grouping), culprit, grouping }
}

/// Returns the hash that does not look beyond the nearest call, or the two nearest where the message says too little; empty if there is
/// too little to go by.
fn secondary(event: &ErrorEvent, types: &[String], calls: &[&Frame]) -> String {
    let template = parametrise(&event.message);
    // A word or two say nothing of what went wrong: `'id'`, `timeout`.
    let says_something =
        template.split_whitespace().filter(|word| word.chars().filter(|c| c.is_alphabetic()).count() > 1).count() >= 3;
    let wanted = if says_something { 1 } else { 2 };
    let nearest: Vec<String> = calls.iter().take(wanted).map(ToString::to_string).collect();
    let are_known = calls.iter().take(wanted).all(|call| !call.module.is_empty() && !call.function.is_empty());
    if types.is_empty() || nearest.len() < wanted || !are_known {
        return String::new();
    }
    let lists = [types, &nearest, std::slice::from_ref(&template)];
    digest("secondary", &event.service, &lists)
}

/// Returns the calls that count: those of the application, the root cause's first; all, if none is the application's.
fn calls(exceptions: &[Exception]) -> Vec<&Frame> {
    let all = || exceptions.iter().rev().flat_map(|exception| &exception.frames);
    let known = |frame: &&Frame| !(frame.module.is_empty() && frame.function.is_empty());
    let has_own = all().any(|frame| frame.in_app && known(&frame));
    let mut calls: Vec<&Frame> = Vec::with_capacity(FRAMES);
    for frame in all().filter(known).filter(|frame| frame.in_app || !has_own) {
        // A recursion, of one function or of several, is as deep as its input: each call counts once.
        if !calls.contains(&frame) {
            calls.push(frame);
        }
        if calls.len() == FRAMES {
            break;
        }
    }
    calls
}

fn types(event: &ErrorEvent, exceptions: &[Exception]) -> Vec<String> {
    // The attribute, where there is one, says better than the text what was reported.
    let reported = Some(event.kind.as_str()).filter(|kind| !kind.is_empty());
    let reported = reported.or_else(|| exceptions.first().map(|exception| exception.kind.as_str()));
    let causes = exceptions.iter().skip(1).map(|exception| exception.kind.as_str());
    let mut types: Vec<String> = reported.into_iter().chain(causes).map(class).filter(|class| !class.is_empty()).collect();
    types.dedup();
    if types.iter().any(|class| !WRAPPERS.contains(&class.as_str())) {
        types.retain(|class| !WRAPPERS.contains(&class.as_str()));
    }
    types
}

/// Returns the name of a class as every source writes it: some say where `ValueError` comes from, or join an inner class by `$`.
pub(super) fn class(name: &str) -> String {
    let name = name.trim();
    let name = ["builtins.", "__main__.", "exceptions."].iter().find_map(|module| name.strip_prefix(module)).unwrap_or(name);
    cut(name, 300).replace('$', ".")
}

fn fingerprint(grouping: &Grouping) -> String {
    let template = std::slice::from_ref(&grouping.template);
    match grouping.basis {
        Basis::Fingerprint => digest(&grouping.version, &grouping.service, &[&grouping.fingerprint]),
        _ if !grouping.fingerprint.is_empty() => {
            digest(&grouping.version, &grouping.service, &[&grouping.types, &grouping.frames, template, &grouping.fingerprint])
        }
        _ => digest(&grouping.version, &grouping.service, &[&grouping.types, &grouping.frames, template]),
    }
}

/// Returns the hash of texts: 64 hexadecimal digits. Lengths are part of it, so that no two lists run into one.
fn digest(version: &str, service: &str, lists: &[&[String]]) -> String {
    let mut hash = Sha256::new();
    let mut part = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    };
    part(version);
    part(service);
    for (index, list) in lists.iter().enumerate() {
        // The message is one text, and was written without its number.
        if index != 2 {
            part(&list.len().to_string());
        }
        list.iter().for_each(|text| part(text));
    }
    let mut digest = hash.finalize().to_vec();
    // All zeros are written as nothing.
    digest[0] |= u8::from(digest.iter().all(|byte| *byte == 0));
    hex(&digest)
}

fn title(event: &ErrorEvent, grouping: &Grouping) -> String {
    let line = |text: &str| text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("").to_owned();
    let kind = if event.kind.is_empty() { grouping.types.first().cloned().unwrap_or_default() } else { event.kind.clone() };
    let said = Some(line(&event.message)).filter(|said| !said.is_empty()).unwrap_or_else(|| line(&event.body));
    let title = match (kind.is_empty(), said.is_empty()) {
        (false, false) => format!("{kind}: {said}"),
        (false, true) => kind,
        (true, _) => said,
    };
    cut(&title, TITLE_BYTES).to_owned()
}

#[cfg(test)]
#[path = "fingerprint_tests.rs"]
mod tests;
