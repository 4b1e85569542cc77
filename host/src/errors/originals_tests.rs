use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Knows one file, by its debug id or by its release.
struct One;

impl Originals for One {
    fn is_empty(&self) -> bool {
        false
    }

    fn find(&self, build: &Build<'_>, call: &Call<'_>) -> Found {
        if build.debug_id != "id-1" && !(build.release == "shop@1" && call.file.ends_with("app.min.js")) {
            return Found::NoMap("no source map with this debug id has been uploaded".to_owned());
        }
        if call.line != 1 {
            return Found::Unknown;
        }
        Found::Original(Arc::new(Original {
            function: if call.function == "?" { String::new() } else { format!("original_{}", call.function) },
            file: "src/cart.ts".to_owned(),
            path: "https://shop.example/src/cart.ts".to_owned(),
            line: 12,
            column: 3,
            context: Some(Context { before: vec!["a".into()], line: "  pay(cart);".into(), after: vec!["b".into()] }),
            in_app: true,
            map: "id-1".to_owned(),
        }))
    }
}

fn event(debug_id: &str) -> String {
    json!({"platform": "javascript", "release": "shop@2", "debug_meta": {"images": [
        {"type": "sourcemap", "code_file": "https://shop.example/static/app.js", "debug_id": debug_id}, {"type": "elf"}, 1]},
        "exception": {"values": [{"type": "TypeError", "stacktrace": {"frames": [
            {"filename": "node:internal/timers", "function": "run", "lineno": 1, "colno": 1},
            {"filename": "https://shop.example/static/app.js", "function": "t", "lineno": 1, "colno": 512, "in_app": true, "context_line": "minified"}]}}]}})
    .to_string()
}

#[test]
fn a_call_is_shown_as_it_was_written_and_what_was_sent_is_kept() {
    let (changed, used) = of_event(&event("id-1"), "", &One).unwrap();
    assert_eq!(used, SourceMapUse { resolved: 1, missing: Vec::new() });
    let event: JsonValue = serde_json::from_str(&changed.unwrap()).unwrap();
    let frames = &event["exception"]["values"][0]["stacktrace"]["frames"];
    assert_eq!(frames[0]["function"], "run");
    let frame = &frames[1];
    assert_eq!(
        (&frame["function"], &frame["filename"], &frame["lineno"], &frame["context_line"], &frame["source_map"]),
        (&json!("original_t"), &json!("src/cart.ts"), &json!(12), &json!("  pay(cart);"), &json!("id-1"))
    );
    assert_eq!(
        frame["raw"],
        json!({"function": "t", "filename": "https://shop.example/static/app.js", "lineno": 1, "colno": 512, "in_app": true})
    );
}

#[test]
fn a_file_without_a_map_is_told_of() {
    let (changed, used) = of_event(&event("id-2"), "", &One).unwrap();
    assert_eq!((changed, used.resolved), (None, 0));
    assert_eq!((used.missing[0].file.as_str(), used.missing[0].debug_id.as_str()), ("https://shop.example/static/app.js", "id-2"));
    let (_, used) = of_event(&event("id-2"), "", &NoOriginals).unwrap();
    assert_eq!(used.missing[0].reason, "no source map has been uploaded");
    // What nobody has minified lacks nothing.
    let plain = json!({"platform": "node", "exception": {"values": [{"stacktrace": {"frames": [{"filename": "/app/a.js", "lineno": 3, "colno": 9}]}}]}});
    assert_eq!(of_event(&plain.to_string(), "shop@9", &One), None);
    assert_eq!(of_event(r#"{"platform":"python"}"#, "", &One), None);
}

#[test]
fn a_trace_as_text_is_resolved_by_its_release() {
    let text = "TypeError: x\n    at t (https://shop.example/app.min.js:1:512)\n    at https://shop.example/app.min.js:1:9\n    at async next (node:internal/x:1:2)\n";
    let (changed, used) = of_text(text, "shop@1", &One).unwrap();
    assert_eq!(used.resolved, 2);
    assert_eq!(
        changed.unwrap(),
        "TypeError: x\n    at original_t (src/cart.ts:12:3)\n    at original_ (src/cart.ts:12:3)\n    at async next (node:internal/x:1:2)\n"
    );
    let (changed, _) = of_text("t@https://shop.example/app.min.js:1:512", "shop@1", &One).unwrap();
    assert_eq!(changed.unwrap(), "original_t@src/cart.ts:12:3");
    let (changed, used) = of_text(text, "shop@2", &One).unwrap();
    assert_eq!((changed, used.missing.len()), (None, 1));
    assert_eq!(of_text(text, "", &One), None);
}

proptest! {
    #[test]
    fn odd_events_and_texts_stay_as_they_are(value in "[\\[\\]{}\",:a-z0-9 ]{0,30}", text in "[a-z@:() .js0-9\né]{0,80}") {
        if let Ok(value) = serde_json::from_str::<JsonValue>(&value) {
            let odd = json!({"platform": "node", "debug_meta": {"images": value}, "exception": {"values": [{"stacktrace": {"frames": [
                value, {"filename": value, "lineno": value, "colno": value}, {"filename": "a.min.js", "lineno": 1, "colno": value, "function": value}]}}]}});
            let _ = of_event(&odd.to_string(), "shop@1", &One);
        }
        let _ = of_text(&text, "shop@1", &One);
    }
}
