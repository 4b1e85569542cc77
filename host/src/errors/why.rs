//! Why events are one issue: every part of an event, whether it counts, and why or why not.

use serde::Serialize;

use super::fingerprint::{Basis, FRAMES, Grouped, Grouping, group};
use super::hashes::IssueHash;
use super::rules::GroupingRules;
use super::stack::{Relation, StackTrace};
use super::types::ErrorEvent;

/// Most parts that are listed.
const MAX_COMPONENTS: usize = 300;

/// Why events are taken for one issue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Why {
    /// The issue.
    pub issue: String,
    /// What the fingerprint of its last event is made of.
    pub grouping: Grouping,
    /// All parts of its last kept event that were looked at, those that count for nothing included.
    pub components: Vec<Component>,
    /// What leads to this issue, and how it was found.
    pub hashes: Vec<IssueHash>,
    /// Issues that somebody merged into it.
    pub merged: Vec<super::types::MergedIssue>,
}

/// One part of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Component {
    /// `service`, `type`, `call`, `message` or `fingerprint`.
    pub kind: String,
    /// What it is, as it is compared.
    pub value: String,
    /// Whether it is a part of the fingerprint.
    pub contributes: bool,
    /// Why, or why not.
    pub reason: String,
}

/// Returns the parts of `event`, whose stack trace says `trace`.
#[must_use]
pub fn components(event: &ErrorEvent, trace: Option<&StackTrace>, rules: &GroupingRules) -> Vec<Component> {
    let Grouped { grouping, .. } = group(event, trace, rules);
    let replaced = grouping.basis == Basis::Fingerprint;
    let mut components = Vec::new();
    let mut push = |kind: &str, value: &str, contributes: bool, reason: &str| {
        let (contributes, reason) = match (contributes && replaced, kind) {
            (true, "type" | "call" | "source" | "message") => (false, "the fingerprint takes its place"),
            _ => (contributes, reason),
        };
        let (kind, value, reason) = (kind.to_owned(), value.to_owned(), reason.to_owned());
        components.push(Component { kind, value, contributes, reason });
    };
    push("service", &grouping.service, true, "errors of two services are never one");
    for part in &grouping.fingerprint {
        push("fingerprint", part, true, &format!("asked for by {}", grouping.asked_by));
    }
    let exceptions = trace.map_or(&[][..], |trace| &trace.exceptions);
    for class in &grouping.types {
        let of_class = exceptions.iter().find(|exception| super::fingerprint::class(&exception.kind) == *class);
        push("type", class, true, role(of_class.and_then(|exception| exception.relation)));
    }
    for exception in exceptions {
        let class = super::fingerprint::class(&exception.kind);
        if !class.is_empty() && !grouping.types.contains(&class) {
            push("type", &class, false, "it only carries another one");
        }
    }
    let all = || exceptions.iter().rev().flat_map(|exception| &exception.frames);
    let is_known = |frame: &super::stack::Frame| !(frame.module.is_empty() && frame.function.is_empty());
    let has_own = all().any(|frame| frame.in_app && is_known(frame));
    let mut taken: Vec<&super::stack::Frame> = Vec::new();
    for frame in all().filter(|frame| is_known(frame)) {
        let value = frame.to_string();
        let (contributes, reason) = if has_own && !frame.in_app {
            (false, "a call of a library")
        } else if taken.iter().any(|call: &&super::stack::Frame| call.is_same_call(frame)) {
            (false, "it repeats a call before")
        } else if taken.len() == FRAMES {
            (false, "it is further out than the five nearest calls")
        } else {
            taken.push(frame);
            (
                true,
                if has_own { "one of the application's five nearest calls" } else { "no call is the application's, so all count" },
            )
        };
        push("call", &value, contributes, reason);
        if contributes && taken.len() == 1 && !frame.source.is_empty() {
            push("source", &frame.source, true, "the line of the nearest call: a function may fail in several ways");
        }
    }
    if grouping.basis == Basis::StackTrace && !grouping.template.is_empty() {
        push("message", &grouping.template, true, "class or calls say too little");
    } else if grouping.basis == Basis::StackTrace {
        let said = super::template::parametrise(&event.message);
        if !said.is_empty() {
            push("message", &said, false, "calls say it better; it only helps to find an issue whose outer callers have changed");
        }
    } else {
        push("message", &grouping.template, true, "there is no stack trace");
    }
    components.truncate(MAX_COMPONENTS);
    components
}

/// Says what an exception is to the one that was reported.
fn role(relation: Option<Relation>) -> &'static str {
    match relation {
        None => "the class of an exception",
        Some(Relation::Cause) => "the class of the cause of the one above",
        Some(Relation::Handled) => "the class of what was being handled as the one above came about",
        Some(Relation::Member) => "the class of one of a group",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use watchfire_types::attributes::keys;
    use watchfire_types::log::RecordHead;
    use watchfire_types::{LogBatch, ValueRef};

    use super::*;

    fn event(trace: &str) -> ErrorEvent {
        let mut batch = LogBatch::default();
        batch.push(&RecordHead::default(), ValueRef::Text("x"));
        batch.attribute(keys::EXCEPTION_STACKTRACE, ValueRef::Text(trace));
        ErrorEvent::of(&batch, 0).unwrap()
    }

    fn python(frames: &[(&str, &str)]) -> String {
        let calls: String =
            frames.iter().flat_map(|(file, function)| ["  File \"", *file, "\", line 1, in ", *function, "\n"]).collect();
        format!("Traceback (most recent call last):\n{calls}ValueError: bad order 5\n")
    }

    #[test]
    fn every_part_says_whether_it_counts() {
        let event = event(&python(&[
            ("/app/a.py", "main"),
            ("/x/site-packages/lib.py", "call"),
            ("/app/b.py", "walk"),
            ("/app/b.py", "walk"),
        ]));
        let rules = GroupingRules::default();
        let shown: Vec<String> = components(&event, event.trace(&rules).as_ref(), &rules)
            .iter()
            .map(|part| format!("{} {} {}: {}", if part.contributes { "+" } else { "-" }, part.kind, part.value, part.reason))
            .collect();
        insta::assert_snapshot!(shown.join("\n"), @r"
        + service : errors of two services are never one
        + type ValueError: the class of an exception
        + call b in walk: one of the application's five nearest calls
        - call b in walk: it repeats a call before
        - call lib in call: a call of a library
        + call a in main: one of the application's five nearest calls
        - message bad order <number>: calls say it better; it only helps to find an issue whose outer callers have changed
        ");
    }

    proptest! {
        #[test]
        fn what_counts_is_what_the_fingerprint_is_made_of(frames in proptest::collection::vec(("[ab]", "[fg]", any::<bool>()), 0..12)) {
            let frames: Vec<(String, String)> = frames.into_iter()
                .map(|(file, function, own)| (format!("/{}/{file}.py", if own { "app" } else { "site-packages" }), function)).collect();
            let frames: Vec<(&str, &str)> = frames.iter().map(|(file, function)| (file.as_str(), function.as_str())).collect();
            let event = event(&python(&frames));
            let rules = GroupingRules::default();
            let trace = event.trace(&rules);
            let grouping = group(&event, trace.as_ref(), &rules).grouping;
            let parts = components(&event, trace.as_ref(), &rules);
            let counting = |kind: &str| parts.iter().filter(|part| part.contributes && part.kind == kind).map(|part| part.value.clone()).collect::<Vec<_>>();
            prop_assert_eq!(counting("call"), grouping.frames);
            prop_assert_eq!(counting("type"), grouping.types);
        }
    }
}
