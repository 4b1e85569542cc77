//! What a log record says around its error: its breadcrumbs and its other attributes, in the shape that a Sentry event has them.

use serde_json::{Map, Value as JsonValue, json};
use watchfire_types::attributes::keys;
use watchfire_types::{LogBatch, ValueRef};

use super::stack::cut;
use super::types::Details;

/// Breadcrumbs that are kept, the last ones, and bytes of the texts of each.
const MAX_CRUMBS: usize = 100;
const MAX_CRUMB_BYTES: usize = 1_000;
/// Other attributes that are kept, and bytes of each: the log has all of them.
const MAX_ATTRIBUTES: usize = 64;
const MAX_ATTRIBUTE_BYTES: usize = 1_000;
/// What of an attribute's text is looked at as breadcrumbs, in bytes.
const MAX_READ_BYTES: usize = 256 << 10;

/// What an event tells elsewhere.
const TOLD: [&str; 7] = [
    keys::EXCEPTION_TYPE,
    keys::EXCEPTION_MESSAGE,
    keys::EXCEPTION_STACKTRACE,
    keys::SENTRY_EVENT_ID,
    keys::SENTRY_PROJECT,
    keys::USER_HASH,
    keys::BREADCRUMBS,
];
/// What is looked at of a breadcrumb.
const OF_CRUMB: [&str; 4] = ["type", "level", "category", "message"];

/// Returns what row `row` of `batch` says around its error; `None` if it says nothing.
pub(super) fn details(batch: &LogBatch, row: usize) -> Option<Details> {
    let crumbs = match batch.find_attribute(row, keys::BREADCRUMBS) {
        Some(ValueRef::Text(json) | ValueRef::Json(json)) => crumbs(json),
        _ => Vec::new(),
    };
    let told = |key: &str| TOLD.contains(&key);
    let extra: Map<String, JsonValue> = batch
        .attributes(row)
        .filter(|(key, _)| !told(key))
        .take(MAX_ATTRIBUTES)
        .map(|(key, value)| (cut(key, MAX_ATTRIBUTE_BYTES).to_owned(), shown(value)))
        .collect();
    let mut details = Map::new();
    if !crumbs.is_empty() {
        details.insert("breadcrumbs".to_owned(), json!({ "values": crumbs }));
    }
    if !extra.is_empty() {
        details.insert("extra".to_owned(), extra.into());
    }
    if details.is_empty() { None } else { Details::new(&JsonValue::from(details).to_string()) }
}

/// Returns a value as JSON; what is long, as the beginning of its text.
fn shown(value: ValueRef<'_>) -> JsonValue {
    match value {
        ValueRef::Text(text) => cut(text, MAX_ATTRIBUTE_BYTES).into(),
        ValueRef::Json(json) if json.len() > MAX_ATTRIBUTE_BYTES => cut(json, MAX_ATTRIBUTE_BYTES).into(),
        ValueRef::Bytes(bytes) => format!("{} bytes", bytes.len()).into(),
        other => other.to_json(),
    }
}

/// Reads a list of breadcrumbs, the oldest first, as the clients of watchfire write them. What is something else is none.
fn crumbs(json: &str) -> Vec<JsonValue> {
    if json.len() > MAX_READ_BYTES {
        return Vec::new();
    }
    let Ok(JsonValue::Array(mut list)) = serde_json::from_str(json) else { return Vec::new() };
    list.retain(JsonValue::is_object);
    list.drain(..list.len().saturating_sub(MAX_CRUMBS));
    for crumb in list.iter_mut().filter_map(JsonValue::as_object_mut) {
        crumb.retain(|key, value| match value {
            JsonValue::String(text) if OF_CRUMB.contains(&key.as_str()) || key == "timestamp" => {
                text.truncate(cut(text, MAX_CRUMB_BYTES).len());
                true
            }
            JsonValue::Number(_) => key == "timestamp",
            JsonValue::Object(data) => {
                key == "data" && data.len() <= 32 && JsonValue::from(data.clone()).to_string().len() <= MAX_CRUMB_BYTES
            }
            _ => false,
        });
    }
    list
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use watchfire_types::log::RecordHead;

    use super::*;

    fn told(attributes: &[(&str, ValueRef<'_>)]) -> Option<JsonValue> {
        let mut batch = LogBatch::default();
        batch.push(&RecordHead::default(), ValueRef::Text("it failed"));
        for (key, value) in attributes {
            batch.attribute(key, *value);
        }
        details(&batch, 0).map(|details| serde_json::from_str(details.text()).unwrap())
    }

    #[test]
    fn breadcrumbs_and_attributes_go_along_with_an_error() {
        let crumbs = r#"[5, {"timestamp": 1.5, "level": "info", "category": "shop", "message": "put into the cart", "data": {"n": 1}, "odd": [1]}]"#;
        let details = told(&[
            (keys::EXCEPTION_TYPE, ValueRef::Text("ValueError")),
            (keys::BREADCRUMBS, ValueRef::Text(crumbs)),
            ("product.id", ValueRef::Int(7)),
            ("query", ValueRef::Json(r#"{"a":[1]}"#)),
        ]);
        let crumb =
            json!({"timestamp": 1.5, "level": "info", "category": "shop", "message": "put into the cart", "data": {"n": 1}});
        assert_eq!(details, Some(json!({"breadcrumbs": {"values": [crumb]}, "extra": {"product.id": 7, "query": {"a": [1]}}})));
        assert_eq!(told(&[(keys::EXCEPTION_TYPE, ValueRef::Text("ValueError"))]), None);
    }

    #[test]
    fn what_is_much_is_cut() {
        let crumb = json!({"message": "x".repeat(5_000)});
        let many = JsonValue::from(vec![crumb; 150]).to_string();
        assert!(many.len() > MAX_READ_BYTES && super::crumbs(&many).is_empty());
        let crumbs = super::crumbs(&JsonValue::from(vec![json!({"message": "x".repeat(1_500)}); 150]).to_string());
        assert_eq!((crumbs.len(), crumbs[0]["message"].as_str().map(str::len)), (MAX_CRUMBS, Some(MAX_CRUMB_BYTES)));
        let long = "é".repeat(5_000);
        let details = told(&[("a", ValueRef::Text(&long))]).unwrap();
        assert_eq!(details["extra"]["a"].as_str().map(str::len), Some(MAX_ATTRIBUTE_BYTES));
    }

    proptest! {
        #[test]
        fn no_breadcrumbs_make_it_panic_or_write_what_is_no_json(text in "[\\[\\]{}\",:a-zé0-9 ]{0,80}", message in ".{0,60}") {
            let _ = told(&[(keys::BREADCRUMBS, ValueRef::Text(&text))]);
            let list = json!([{"message": message}]).to_string();
            prop_assert_eq!(&super::crumbs(&list)[0]["message"], &JsonValue::from(message));
        }
    }
}
