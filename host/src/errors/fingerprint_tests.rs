use watchfire_types::attributes::keys;
use watchfire_types::log::RecordHead;
use watchfire_types::{LogBatch, Severity, Value, ValueRef};

use super::*;
use crate::errors::originals::NoOriginals;

/// What an error tracker is sent: the body, and the attributes if there are any.
#[derive(Clone, Debug, Default)]
struct Sent {
    service: &'static str,
    body: String,
    kind: Option<String>,
    message: Option<String>,
    stacktrace: Option<String>,
}

impl Sent {
    fn line(body: impl Into<String>) -> Self {
        Self { service: "shop", body: body.into(), ..Self::default() }
    }

    fn exception(kind: &str, message: impl Into<String>, stacktrace: impl Into<String>) -> Self {
        let stacktrace = Some(stacktrace.into()).filter(|text: &String| !text.is_empty());
        Self { kind: Some(kind.into()), message: Some(message.into()), stacktrace, ..Self::line("request failed") }
    }

    fn grouped(&self) -> Grouped {
        let mut batch = LogBatch::default();
        let resource = batch.resource(vec![(keys::SERVICE_NAME.into(), Value::from(self.service))]);
        let head = RecordHead { severity: Severity::ERROR, resource, ..RecordHead::default() };
        batch.push(&head, ValueRef::Text(&self.body));
        for (key, text) in [
            (keys::EXCEPTION_TYPE, &self.kind),
            (keys::EXCEPTION_MESSAGE, &self.message),
            (keys::EXCEPTION_STACKTRACE, &self.stacktrace),
        ] {
            if let Some(text) = text {
                batch.attribute(key, ValueRef::Text(text));
            }
        }
        ErrorEvent::grouped(&batch, 0, &GroupingRules::default(), &NoOriginals).1
    }
}

/// Python as it prints a chain of `depth` callers above `charge`, at some line of some installation.
fn python(root: &str, callers: &[&str], line: u32, function: &str, exception: &str) -> String {
    let call = |function: &str, number: usize| {
        format!("  File \"{root}/shop/orders.py\", line {}, in {function}\n    {function}()\n", line + number as u32)
    };
    let outer: String = callers.iter().enumerate().map(|(number, caller)| call(caller, number)).collect();
    format!(
        "Traceback (most recent call last):\n  File \"/usr/lib/python3.12/runpy.py\", line {line}, in run\n    x\n{outer}{}{exception}\n",
        call(function, 9)
    )
}

fn java(message: &str, line: u32, method: &str, cause: Option<&str>) -> String {
    let cause = cause.map_or_else(String::new, |cause| {
        format!("Caused by: {cause}: timeout after {line} ms\n\tat com.shop.Db.open(Db.java:{line})\n\t... {line} more\n")
    });
    format!(
        "java.lang.IllegalStateException: {message}\n\tat com.shop.Orders.{method}(Orders.java:{line})\n\tat com.shop.Api$$Lambda${line}/0x0000000800c{line}.apply(Unknown Source)\n\tat com.shop.Api.lambda$pay${line}(Api.java:7)\n\tat java.base/java.lang.Thread.run(Thread.java:833)\n{cause}"
    )
}

fn javascript(root: &str, line: u32, hash: &str, function: &str) -> String {
    format!(
        "TypeError: Cannot read properties of undefined (reading 'id{line}')\n    at {function} ({root}/dist/cart.{hash}.js:{line}:15)\n    at async Object.handle ({root}/dist/api.js:{line}:3)\n    at Layer.handle ({root}/node_modules/express/lib/router/layer.js:95:5)\n    at process.processTicksAndRejections (node:internal/process/task_queues:95:5)\n"
    )
}

fn go(address: u32, line: u32, function: &str) -> String {
    format!(
        "panic: runtime error: index out of range [{line}] with length 3\n\ngoroutine {address} [running]:\nshop/orders.(*Service).{function}(0xc{address:09x}, 0x{line:x})\n\t/build/{line}/orders/service.go:{line} +0x{line:x}\nshop/orders.run.func{}()\n\t/build/orders/run.go:{line} +0x1\nmain.main()\n\t/build/main.go:{line} +0x1d\n",
        1 + address % 3
    )
}

fn rust(hash: u64, line: u32, function: &str) -> String {
    format!(
        "thread 'worker-{line}' panicked at src/orders.rs:{line}:5:\ncalled `Option::unwrap()` on a `None` value\nstack backtrace:\n   0: rust_begin_unwind\n             at /rustc/{hash:x}/library/std/src/panicking.rs:645:5\n   1: core::option::unwrap_failed\n   2: shop::orders::{function}::{{{{closure}}}}::h{hash:016x}\n             at ./src/orders.rs:{line}:5\n   3: shop::pool::Pool<T>::run::h{hash:016x}\n             at ./src/pool.rs:{line}:9\n   4: std::sys::backtrace::__rust_begin_short_backtrace\n"
    )
}

const DEEP: [&str; 6] = ["main", "serve", "dispatch", "handle", "checkout", "pay"];

/// Each inner list is one error, as it looks at different times, on different machines, in different builds.
fn corpus() -> Vec<Vec<Sent>> {
    let in_body = |text: String| Sent::line(format!("request failed\n{text}"));
    let value_error =
        |root, line, callers: &[&str]| python(root, callers, line, "charge", &format!("ValueError: bad amount {line}"));
    let mut errors = vec![
        // Line shifts, other folders, other outer callers; attributes or text.
        vec![
            in_body(value_error("/app", 10, &DEEP)),
            in_body(value_error("/srv/releases/20261122", 99, &DEEP)),
            in_body(value_error(
                "/app",
                10,
                &["worker", "loop", "handle", "checkout", "pay", "serve", "dispatch", "handle", "checkout", "pay"][3..],
            )),
            in_body(value_error("/app", 11, &["cli", "dispatch", "handle", "checkout", "pay"])),
            Sent::exception("ValueError", "bad amount 7", value_error("/app", 12, &DEEP)),
            Sent::exception("builtins.ValueError", "", value_error("C:\\shop", 13, &DEEP)),
        ],
        // Another class at the same place, another place of the same class.
        vec![
            in_body(python("/app", &DEEP, 10, "charge", "KeyError: 'a'")),
            in_body(python("/app", &DEEP, 20, "charge", "KeyError: 'b'")),
        ],
        vec![
            in_body(python("/app", &DEEP, 10, "refund", "ValueError: bad amount 1")),
            Sent::exception("ValueError", "x", python("/b", &DEEP, 1, "refund", "ValueError: x")),
        ],
        // A short stack and another one.
        vec![
            in_body(python("/app", &[], 5, "<module>", "ImportError: no a")),
            in_body(python("/opt", &[], 6, "<module>", "ImportError: no b")),
        ],
        // With a cause, and with another cause.
        vec![
            in_body(java("order 1", 10, "pay", Some("java.sql.SQLException"))),
            in_body(java("order 22", 30, "pay", Some("java.sql.SQLException"))),
        ],
        vec![
            in_body(java("order 1", 10, "pay", Some("java.io.IOException"))),
            in_body(java("order 3", 11, "pay", Some("java.io.IOException"))),
        ],
        vec![
            in_body(java("order 1", 10, "pay", None)),
            Sent::exception("java.lang.IllegalStateException", "order 9", java("order 9", 44, "pay", None)),
        ],
        vec![in_body(java("order 1", 10, "refund", None)), in_body(java("order 1", 19, "refund", None))],
        // Another build of the bundle, another machine.
        vec![
            in_body(javascript("/app", 10, "3f2a1b9c", "charge")),
            in_body(javascript("/home/ann/shop", 88, "99aa11bb", "charge")),
            Sent::exception(
                "TypeError",
                "Cannot read properties of undefined (reading 'x')",
                javascript("file:///srv", 5, "0a1b2c3d", "charge"),
            ),
        ],
        vec![in_body(javascript("/app", 10, "3f2a1b9c", "refund")), in_body(javascript("/app", 11, "3f2a1b9d", "refund"))],
        vec![
            in_body(go(1, 10, "Charge")),
            in_body(go(44, 33, "Charge")),
            Sent::exception("panic", "index out of range [9]", go(7, 8, "Charge")),
        ],
        vec![in_body(go(1, 10, "Refund")), in_body(go(2, 11, "Refund"))],
        vec![in_body(rust(0x0123_4567_89ab_cdef, 10, "charge")), in_body(rust(0xfeed_beef_dead_cafe, 77, "charge"))],
        vec![in_body(rust(0x0123_4567_89ab_cdef, 10, "refund")), in_body(rust(0x1, 12, "refund"))],
        // Without a stack trace: ids in messages.
        vec![
            Sent::exception("TimeoutError", "no answer from 10.0.0.1:5432 within 30s", ""),
            Sent::exception("TimeoutError", "no answer from 10.0.0.99:6432 within 5s", ""),
        ],
        vec![Sent::exception("TimeoutError", "queue 7 is full", ""), Sent::exception("TimeoutError", "queue 8 is full", "")],
        vec![
            Sent::exception("NotFound", "user 550e8400-e29b-41d4-a716-446655440000 at https://shop.example/u/1", ""),
            Sent::exception("NotFound", "user 123e4567-e89b-12d3-a456-426614174000 at https://shop.example/u/2", ""),
        ],
        vec![
            Sent::exception("NotFound", "file '/var/x/1' is missing", ""),
            Sent::exception("NotFound", "file '/var/y/2' is missing", ""),
        ],
        vec![Sent::exception("IOError", "cannot write: disk is full", "")],
        vec![Sent::exception("IOError", "cannot write: permission denied", "")],
    ];
    // The same errors of another service are other errors.
    let elsewhere = errors[0].iter().take(2).map(|sent| Sent { service: "billing", ..sent.clone() }).collect();
    errors.push(elsewhere);
    errors
}

#[test]
fn errors_are_told_apart_and_their_occurrences_are_found_together() {
    let labelled: Vec<(usize, String)> = corpus()
        .iter()
        .enumerate()
        .flat_map(|(label, sent)| sent.iter().map(move |sent| (label, sent.grouped().fingerprint)))
        .collect();
    let (mut right, mut wrong, mut missed) = (0, Vec::new(), Vec::new());
    for (index, (label, fingerprint)) in labelled.iter().enumerate() {
        for (other_label, other) in &labelled[index + 1..] {
            match (label == other_label, fingerprint == other) {
                (true, true) => right += 1,
                (false, true) => wrong.push((label, other_label)),
                (true, false) => missed.push(label),
                (false, false) => {}
            }
        }
    }
    let recall = f64::from(right) / (f64::from(right) + missed.len() as f64);
    assert!(wrong.is_empty(), "taken for one: {wrong:?}");
    assert!(recall >= 0.9, "recall {recall}, missed pairs of {missed:?}");
}

#[test]
fn a_grouping_explains_itself() {
    let with_trace = corpus()[4][0].grouped();
    assert_eq!(with_trace.culprit, "com.shop.Db in open");
    insta::assert_json_snapshot!(with_trace.grouping, @r#"
    {
      "version": "watchfire-g2",
      "basis": "stack_trace",
      "service": "shop",
      "types": [
        "java.lang.IllegalStateException",
        "java.sql.SQLException"
      ],
      "frames": [
        "com.shop.Db in open",
        "com.shop.Orders in pay",
        "com.shop.Api in apply",
        "com.shop.Api in lambda$pay"
      ],
      "template": ""
    }
    "#);
    let without = Sent::exception("TimeoutError", "queue 7 is full\nmore", "").grouped();
    assert_eq!(
        (without.title.as_str(), without.grouping.template.as_str()),
        ("TimeoutError: queue 7 is full", "queue <number> is full")
    );
    assert_eq!((without.grouping.basis, without.grouping.types.len()), (Basis::Message, 1));
    let unreadable = Sent { stacktrace: Some("#0 /a.php(3): f()".into()), ..Sent::line("job 7 failed") }.grouped();
    assert_eq!((unreadable.grouping.basis, unreadable.title.as_str()), (Basis::Body, "job 7 failed"));
}

#[test]
fn a_fingerprint_does_not_change_by_accident() {
    // These stand in databases: another value needs another version.
    let ids: Vec<String> = [0, 4, 8, 10, 12, 14].map(|index: usize| corpus()[index][0].grouped().id().to_owned()).into();
    insta::assert_snapshot!(ids.join(" "), @"b4e7ade551c8be1c 21d721e3d897dd97 74d0cff72bb5c8ef 1c3639f3f2479c8e aecc79d8d11844e1 9f7d543829f63577");
}

/// A trace of Python whose nearest call is `function`, with the line of its source.
fn raised(outer: &str, function: &str, source: &str, exception: &str) -> Sent {
    let (kind, message) = exception.split_once(": ").unwrap();
    let trace = format!(
        "Traceback (most recent call last):\n  File \"/app/api.py\", line 9, in {outer}\n    f()\n  File \"/app/orders.py\", line 7, in next\n    g()\n  File \"/app/orders.py\", line 8, in {function}\n    {source}\n{exception}\n"
    );
    Sent::exception(kind, message, trace)
}

#[test]
fn two_errors_of_one_function_are_told_apart_by_their_line_of_source() {
    let empty = raised("run", "check", "raise OrderError(f\"order {id} is empty\")", "OrderError: order 7 is empty").grouped();
    let nobody = raised("run", "check", "raise OrderError(f\"order {id} has no customer\")", "OrderError: order 7 has no customer")
        .grouped();
    assert_ne!(empty.fingerprint, nobody.fingerprint);
    assert_ne!(empty.secondary, nobody.secondary);
    // Where the line is not told, the message finds the issue.
    let without = raised("run", "check", "", "OrderError: order 8 is empty").grouped();
    assert_ne!(empty.fingerprint, without.fingerprint);
    assert_eq!(empty.secondary, without.secondary);
    assert_eq!(empty.grouping.frames[0], "orders in check: raise OrderError(f\"order {id} is empty\")");
}

#[test]
fn where_the_message_says_too_little_two_calls_find_the_issue_of_a_rewritten_caller() {
    let grouped = |outer, source| raised(outer, "price", source, "KeyError: 'p-9'").grouped();
    let (one, other) = (grouped("handle", "return PRICES[product]"), grouped("handle_all", "return PRICES[product]"));
    assert_ne!(one.fingerprint, other.fingerprint);
    assert_eq!(one.secondary, other.secondary);
    assert_ne!(one.secondary, grouped("handle", "return RATES[currency]").secondary);
}

#[test]
fn a_panic_is_told_by_its_message_and_what_it_counts_does_not_matter() {
    let panic = |message: &str| {
        let trace = format!(
            "panic: {message}\n\ngoroutine 1 [running]:\ngithub.com/acme/shop/price.Load(0x1)\n\t/src/price/load.go:77 +0x1d\nmain.main()\n\t/src/main.go:9 +0x1\n"
        );
        Sent { stacktrace: Some(trace), ..Sent::line("") }.grouped()
    };
    let (one, other) = (
        panic("runtime error: index out of range [3] with length 3"),
        panic("runtime error: index out of range [9] with length 2"),
    );
    assert_eq!(one.fingerprint, other.fingerprint);
    assert_ne!(one.fingerprint, panic("assignment to entry in nil map").fingerprint);
}

#[test]
fn what_the_way_of_grouping_before_made_of_an_event_is_looked_for() {
    // The ids that `watchfire-g1` gave, as they stand in databases.
    let ids: Vec<String> =
        [0, 4, 8, 10, 12, 14].map(|index: usize| corpus()[index][0].grouped().older[0].hash[..ID_DIGITS].to_owned()).into();
    let known = "0bc79d8f791fc9d3 85cb910e91c528ea c93eeddfecabd9a8 c8f793d50fba8af5 f67773e60078e378 735301e83357f667";
    assert_eq!(ids.join(" "), known);
}
