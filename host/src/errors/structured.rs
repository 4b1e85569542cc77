//! A Sentry event in the log, as the error engine understands it.
//!
//! Calls get the names that the parsers of stack traces as text give them, so that an error that one program logs and another one
//! reports by an SDK is one issue.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::Value as JsonValue;

use super::rules::GroupingRules;
use super::stack::{Exception, Frame, Relation, StackTrace, cut, python, structured};

/// Bytes of a trace as text.
const MAX_TEXT_BYTES: usize = 32 << 10;
/// Exceptions and frames that are looked at, whatever is sent.
const MAX_EXCEPTIONS: usize = 50;
const MAX_FRAMES: usize = 500;

/// What is looked at of an event. What has another shape than it should counts as not there.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct SentryEvent<'a> {
    #[serde(borrow, deserialize_with = "text")]
    platform: Cow<'a, str>,
    #[serde(borrow, deserialize_with = "text")]
    pub(super) transaction: Cow<'a, str>,
    #[serde(borrow)]
    exception: Values<'a>,
    #[serde(deserialize_with = "tags")]
    pub(super) tags: BTreeMap<String, String>,
    #[serde(deserialize_with = "texts")]
    pub(super) fingerprint: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Values<'a> {
    #[serde(borrow)]
    values: Vec<RawException<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawException<'a> {
    #[serde(borrow, rename = "type", deserialize_with = "text")]
    kind: Cow<'a, str>,
    #[serde(borrow, deserialize_with = "text")]
    value: Cow<'a, str>,
    #[serde(borrow, deserialize_with = "text")]
    module: Cow<'a, str>,
    #[serde(borrow)]
    mechanism: Option<Mechanism<'a>>,
    #[serde(borrow)]
    stacktrace: Option<RawStack<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Mechanism<'a> {
    #[serde(deserialize_with = "truth")]
    synthetic: Option<bool>,
    /// By which attribute of the other one this exception was found.
    #[serde(borrow, deserialize_with = "text")]
    source: Cow<'a, str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawStack<'a> {
    #[serde(borrow)]
    frames: Vec<RawFrame<'a>>,
}

/// One call as an SDK writes it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawFrame<'a> {
    #[serde(borrow, deserialize_with = "text")]
    filename: Cow<'a, str>,
    #[serde(borrow, deserialize_with = "text")]
    abs_path: Cow<'a, str>,
    #[serde(borrow, deserialize_with = "text")]
    module: Cow<'a, str>,
    #[serde(borrow, deserialize_with = "text")]
    function: Cow<'a, str>,
    #[serde(borrow, deserialize_with = "text")]
    context_line: Cow<'a, str>,
    #[serde(borrow, deserialize_with = "text")]
    platform: Cow<'a, str>,
    #[serde(deserialize_with = "number")]
    lineno: u64,
    #[serde(deserialize_with = "truth")]
    in_app: Option<bool>,
}

/// A text without an escape is borrowed; what is none is empty.
fn text<'de: 'a, 'a, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Cow<'a, str>, D::Error> {
    struct Visitor;
    impl<'de> serde::de::Visitor<'de> for Visitor {
        type Value = Cow<'de, str>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a text")
        }
        fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
            Ok(Cow::Borrowed(text))
        }
        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Cow::Owned(text.to_owned()))
        }
        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok(Cow::Borrowed(""))
        }
        fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
            Ok(Cow::Owned(number.to_string()))
        }
        fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
            Ok(Cow::Owned(number.to_string()))
        }
        fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
            Ok(Cow::Owned(number.to_string()))
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Cow::Borrowed(""))
        }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            while list.next_element::<serde::de::IgnoredAny>()?.is_some() {}
            Ok(Cow::Borrowed(""))
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            while map.next_entry::<serde::de::IgnoredAny, serde::de::IgnoredAny>()?.is_some() {}
            Ok(Cow::Borrowed(""))
        }
    }
    deserializer.deserialize_any(Visitor)
}

fn number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(JsonValue::deserialize(deserializer)?.as_u64().unwrap_or(0))
}

fn truth<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    Ok(JsonValue::deserialize(deserializer)?.as_bool())
}

fn texts<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let value = JsonValue::deserialize(deserializer)?;
    Ok(value.as_array().into_iter().flatten().filter_map(|part| part.as_str().map(str::to_owned)).take(32).collect())
}

fn tags<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let value = JsonValue::deserialize(deserializer)?;
    let tag = |(key, value): (&String, &JsonValue)| Some((key.clone(), value.as_str()?.to_owned()));
    Ok(value.as_object().into_iter().flatten().filter_map(tag).take(64).collect())
}

impl<'a> SentryEvent<'a> {
    /// Reads what [`crate::inputs::sentry`] has stored; `None` if it is something else.
    #[must_use]
    pub fn read(json: &'a str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    /// Returns its exceptions with their calls; `None` if there is none.
    #[must_use]
    pub fn trace(&self, rules: &GroupingRules) -> Option<StackTrace> {
        let values = &self.exception.values;
        let exceptions: Vec<Exception> = (0..values.len())
            .rev()
            .take(MAX_EXCEPTIONS)
            .map(|index| {
                let exception = &values[index];
                let frames = exception.stacktrace.iter().flat_map(|stack| stack.frames.iter().rev().take(MAX_FRAMES));
                Exception {
                    kind: cut(&self.class(exception), 300).to_owned(),
                    message: cut(&exception.value, 1_000).to_owned(),
                    frames: frames.filter_map(|frame| self.frame(frame, rules)).collect(),
                    relation: self.relation(index),
                }
            })
            .collect();
        (!exceptions.is_empty()).then_some(StackTrace { exceptions })
    }

    fn kind<'b>(exception: &'b RawException<'_>) -> &'b str {
        let is_made_up = exception.mechanism.as_ref().is_some_and(|mechanism| mechanism.synthetic == Some(true));
        if is_made_up { "" } else { &exception.kind }
    }

    /// Returns what the exception at `index` is to the one after it, if the SDK tells, or the line that raised that one.
    fn relation(&self, index: usize) -> Option<Relation> {
        let (exception, other) = (self.exception.values.get(index)?, self.exception.values.get(index + 1)?);
        let source = exception.mechanism.as_ref().map_or("", |mechanism| &mechanism.source);
        match source {
            "__cause__" | "cause" | "InnerException" => Some(Relation::Cause),
            "__context__" => Some(Relation::Handled),
            // `exceptions[0]`, `errors[0]`, `InnerExceptions[0]`.
            source if source.ends_with(']') => Some(Relation::Member),
            // Of chains without a group, Python's SDK says nothing; but it sends the line.
            _ if self.platform == "python" => {
                let raised = other.stacktrace.as_ref()?.frames.last()?;
                python::names_a_cause(&raised.context_line).then_some(Relation::Cause)
            }
            _ => None,
        }
    }

    /// Returns the class with its module, as Python and Java print it.
    fn class(&self, exception: &RawException<'_>) -> String {
        qualified(&self.platform, &exception.module, Self::kind(exception))
    }

    fn frame(&self, frame: &RawFrame<'_>, rules: &GroupingRules) -> Option<Frame> {
        let platform = if frame.platform.is_empty() { &self.platform } else { &frame.platform };
        let file = if frame.abs_path.is_empty() { &frame.filename } else { &frame.abs_path };
        let call = structured::Call { file, module: &frame.module, function: &frame.function, context: &frame.context_line };
        let mut read = structured::frame(platform, &call)?;
        // The rules of the user, then what the SDK knows of libraries, then what the names say: many SDKs call everything else the
        // application's own, the language included.
        let said = rules.in_app(&read.module, file).or_else(|| rules.in_app(&frame.module, &frame.filename));
        read.in_app = said.unwrap_or(match frame.in_app {
            Some(false) => false,
            Some(true) => read.in_app || structured::may_overrule(platform, file),
            None => read.in_app,
        });
        Some(read)
    }

    /// Returns the trace as a text such as the language itself prints.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let is_python = self.platform == "python";
        // Python tells the root cause first, everybody else last.
        let mut exceptions: Vec<(usize, &RawException<'_>)> = self.exception.values.iter().enumerate().collect();
        if !is_python {
            exceptions.reverse();
        }
        for (place, (index, exception)) in exceptions.into_iter().enumerate() {
            if text.len() > MAX_TEXT_BYTES {
                break;
            }
            // Writing to a `String` cannot fail.
            let frames = exception.stacktrace.as_ref().map_or(&[][..], |stack| &stack.frames);
            let said = match (self.class(exception).as_str(), exception.value.trim()) {
                ("", value) => value.to_owned(),
                (kind, "") => kind.to_owned(),
                (kind, value) => format!("{kind}: {value}"),
            };
            if is_python {
                if let Some(before) = place.checked_sub(1) {
                    let _ = writeln!(text, "\n{}\n", python::between(self.relation(before)));
                }
                if !frames.is_empty() {
                    text.push_str("Traceback (most recent call last):\n");
                }
                for frame in frames {
                    let file = if frame.abs_path.is_empty() { &frame.filename } else { &frame.abs_path };
                    let _ = writeln!(text, "  File \"{file}\", line {}, in {}", frame.lineno, frame.function);
                    if !frame.context_line.trim().is_empty() {
                        let _ = writeln!(text, "    {}", frame.context_line.trim());
                    }
                }
                let _ = writeln!(text, "{said}");
            } else {
                let is = match self.relation(index) {
                    _ if place == 0 => "",
                    Some(Relation::Handled) => "While handling: ",
                    Some(Relation::Member) => "One of the group: ",
                    Some(Relation::Cause) | None => "Caused by: ",
                };
                let _ = writeln!(text, "{is}{said}");
                for frame in frames.iter().rev() {
                    let file = if frame.filename.is_empty() { &frame.abs_path } else { &frame.filename };
                    let name = match (frame.module.as_ref(), frame.function.as_ref()) {
                        ("", function) => function.to_owned(),
                        (module, function)
                            if function.starts_with(module) || self.platform == "javascript" || self.platform == "node" =>
                        {
                            function.to_owned()
                        }
                        (module, function) => format!("{module}.{function}"),
                    };
                    let _ =
                        writeln!(text, "    at {} ({file}:{})", if name.is_empty() { "<anonymous>" } else { &name }, frame.lineno);
                }
            }
        }
        if text.len() > MAX_TEXT_BYTES {
            text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
        }
        text.truncate(text.trim_end().len());
        text
    }

    /// Returns whether there is a call in it.
    #[must_use]
    pub fn has_calls(&self) -> bool {
        self.exception.values.iter().any(|exception| exception.stacktrace.as_ref().is_some_and(|stack| !stack.frames.is_empty()))
    }
}

/// Returns the name of a class as programs of `platform` print it.
#[must_use]
pub fn qualified(platform: &str, module: &str, kind: &str) -> String {
    let module = module.trim();
    let joins = matches!(platform, "python" | "java" | "kotlin") && !module.is_empty() && !kind.is_empty();
    let is_plain = matches!(module, "builtins" | "__main__" | "exceptions") || kind.contains('.');
    if joins && !is_plain { format!("{module}.{kind}") } else { kind.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::errors::stack;

    fn frames(trace: &StackTrace) -> Vec<String> {
        let frames = trace.exceptions.iter().flat_map(|exception| &exception.frames);
        frames.map(|frame| format!("{frame}{}", if frame.in_app { "" } else { " (library)" })).collect()
    }

    #[test]
    fn a_call_has_the_name_that_it_has_in_a_trace_as_text() {
        let event = json!({"platform": "python", "exception": {"values": [{"type": "KeyError", "value": "'a'", "stacktrace": {"frames": [
            {"abs_path": "/app/shop/api.py", "filename": "shop/api.py", "module": "shop.api", "function": "handle", "lineno": 3, "in_app": true, "context_line": "    charge(o)"},
            {"abs_path": "/usr/lib/python3/dist-packages/x/y.py", "module": "x.y", "function": "call", "lineno": 9},
            {"abs_path": "/app/shop/orders.py", "module": "shop.orders", "function": "charge", "lineno": 12, "in_app": true}]}}]}})
        .to_string();
        let event = SentryEvent::read(&event).unwrap();
        let trace = event.trace(&GroupingRules::default()).unwrap();
        assert_eq!(frames(&trace), ["orders in charge", "y in call (library)", "api in handle"]);
        assert_eq!(stack::parse(&event.text()).unwrap(), trace, "what is written as text reads back as the same");
        insta::assert_snapshot!(event.text(), @r#"
        Traceback (most recent call last):
          File "/app/shop/api.py", line 3, in handle
            charge(o)
          File "/usr/lib/python3/dist-packages/x/y.py", line 9, in call
          File "/app/shop/orders.py", line 12, in charge
        KeyError: 'a'
        "#);
    }

    #[test]
    fn every_platform_has_its_names() {
        let one = |platform: &str, frame: JsonValue| {
            let event = json!({"platform": platform, "exception": {"values": [{"type": "E", "stacktrace": {"frames": [frame]}}]}})
                .to_string();
            frames(&SentryEvent::read(&event).unwrap().trace(&GroupingRules::default()).unwrap()).join("; ")
        };
        let cases = [
            ("node", json!({"filename": "/app/src/cart.js", "function": "Object.pay", "in_app": true}), "cart in pay"),
            (
                "node",
                json!({"filename": "/app/node_modules/express/lib/router.js", "function": "next", "in_app": false}),
                "router in next (library)",
            ),
            (
                "javascript",
                json!({"filename": "https://shop.example/static/main.3f2a1b9c.js", "function": "t", "context_line": "  pay(cart);"}),
                "main in pay(cart);",
            ),
            (
                "java",
                json!({"module": "com.shop.Orders$1", "function": "lambda$run$0", "filename": "Orders.java"}),
                "com.shop.Orders in lambda$run",
            ),
            ("java", json!({"module": "java.util.ArrayList", "function": "get"}), "java.util.ArrayList in get (library)"),
            ("native", json!({"function": "shop::orders::charge::{{closure}}"}), "shop::orders in charge"),
            ("native", json!({"function": "core::panicking::panic"}), "core::panicking in panic (library)"),
            ("go", json!({"module": "shop/orders", "function": "(*Service).Charge.func1"}), "shop/orders in (*Service).Charge"),
            ("csharp", json!({"module": "Shop.Orders", "function": "Charge", "in_app": true}), "Shop.Orders in Charge"),
            ("ruby", json!({"filename": "app/models/order.rb", "function": "charge", "in_app": true}), "order in charge"),
            (
                "php",
                json!({"filename": "/app/src/Order.php", "function": "Shop\\Order::charge", "in_app": false}),
                "Order in Shop\\Order::charge (library)",
            ),
        ];
        for (platform, frame, expected) in cases {
            assert_eq!(one(platform, frame.clone()), expected, "{platform} {frame}");
        }
    }

    #[test]
    fn a_chain_as_text_says_how_its_exceptions_are_related_as_far_as_the_sdk_does() {
        let text = |platform: &str, mechanism: JsonValue, raised: &str| {
            let frames = json!({"frames": [{"filename": "a.py", "function": "f", "lineno": 1, "context_line": raised}]});
            let event = json!({"platform": platform, "exception": {"values": [
                {"type": "KeyError", "value": "1", "mechanism": mechanism, "stacktrace": {"frames": [{"filename": "a.py", "function": "g", "lineno": 2}]}},
                {"type": "OrderError", "value": "2", "mechanism": {"type": "generic"}, "stacktrace": frames}]}});
            let json = event.to_string();
            let event = SentryEvent::read(&json).unwrap();
            let relation = event.trace(&GroupingRules::default()).unwrap().exceptions[1].relation;
            // What is written reads back equal.
            if platform == "python" && relation != Some(Relation::Member) {
                let read = stack::parse(&event.text()).unwrap();
                assert_eq!(read.exceptions[1].relation, relation, "{}", event.text());
            }
            event.text()
        };
        let chained = |source: &str| json!({"type": "chained", "source": source, "exception_id": 1, "parent_id": 0});
        let raise = "raise OrderError(1)";
        for (mechanism, raised, between) in [
            (chained("__cause__"), raise, "The above exception was the direct cause of the following exception:"),
            (chained("__context__"), raise, "During handling of the above exception, another exception occurred:"),
            (chained("exceptions[0]"), raise, "The above exception is one of a group:"),
            // Of chains without a group, Python's SDK says nothing of its own.
            (
                json!({"type": "generic"}),
                "raise OrderError(1) from error",
                "The above exception was the direct cause of the following exception:",
            ),
            (json!({"type": "generic"}), raise, "The above exception came before the following one:"),
        ] {
            let text = text("python", mechanism, raised);
            assert!(text.contains(&format!("KeyError: 1\n\n{between}\n\nTraceback")), "{text}");
        }
        for (mechanism, line) in [
            (chained("cause"), "Caused by: KeyError: 1"),
            (chained("errors[1]"), "One of the group: KeyError: 1"),
            (JsonValue::Null, "Caused by: KeyError: 1"),
        ] {
            let text = text("node", mechanism, raise);
            assert!(text.starts_with("OrderError: 2\n") && text.contains(&format!("\n{line}\n")), "{text}");
        }
    }

    #[test]
    fn users_say_whose_a_call_is() {
        let rules =
            GroupingRules { include: vec!["*vendored*".into()], exclude: vec!["shop.generated.*".into()], rules: Vec::new() };
        let event = json!({"platform": "python", "exception": {"values": [{"type": "E", "stacktrace": {"frames": [
            {"abs_path": "/x/site-packages/vendored/a.py", "function": "f", "in_app": false},
            {"abs_path": "/x/shop/generated/b.py", "module": "shop.generated.b", "function": "g", "in_app": true}]}}]}})
        .to_string();
        assert_eq!(frames(&SentryEvent::read(&event).unwrap().trace(&rules).unwrap()), ["b in g (library)", "a in f"]);
    }

    proptest! {
        #[test]
        fn odd_shapes_are_read_as_far_as_they_go(value in "[\\[\\]{}\",:a-z0-9 ]{0,40}") {
            if let Ok(value) = serde_json::from_str::<JsonValue>(&value) {
                let event = json!({"platform": value, "tags": value, "fingerprint": value, "exception": {"values": [{"type": value, "value": value,
                    "stacktrace": {"frames": [{"filename": value, "function": value, "lineno": value, "in_app": value}]}}]}}).to_string();
                let event = SentryEvent::read(&event).unwrap();
                let _ = (event.trace(&GroupingRules::default()), event.text());
            }
        }
    }
}
