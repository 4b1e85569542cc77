//! Takes secrets out of an event by the names beside them, and cuts what is too long or too deep.
//!
//! The redaction of the log looks at every text as well; what it cannot see is done here: a list of pairs, as headers are sent, a query
//! string, cookies.

use serde_json::Value as JsonValue;
use watchfire_redact::is_secret_name;

/// What stands where something was.
const REDACTED: &str = "[redacted:secret]";
/// Nesting that is kept, counted from the event.
const MAX_DEPTH: usize = 12;
/// Bytes kept of one text.
const MAX_TEXT_BYTES: usize = 16 << 10;
/// Entries kept of one list or object.
const MAX_ENTRIES: usize = 500;

/// Cuts `value`, and, if `secrets` are to go, replaces what a name says is one.
pub(super) fn clean(value: &mut JsonValue, secrets: bool) {
    walk(value, secrets, 0);
}

fn walk(value: &mut JsonValue, secrets: bool, depth: usize) {
    match value {
        JsonValue::String(text) => {
            shorten(text, MAX_TEXT_BYTES);
            if secrets
                && text.contains('=')
                && text.contains("://")
                && let Some(query) = text.find('?')
            {
                let clean = without_secrets(&text[query + 1..]);
                text.truncate(query + 1);
                text.push_str(&clean);
            }
        }
        JsonValue::Array(_) | JsonValue::Object(_) if depth >= MAX_DEPTH => *value = JsonValue::String("…".to_owned()),
        JsonValue::Array(list) => {
            list.truncate(MAX_ENTRIES);
            if secrets && let [JsonValue::String(name), of] = list.as_mut_slice() {
                // One of a list of pairs.
                hide(name, of);
            }
            for entry in list {
                walk(entry, secrets, depth + 1);
            }
        }
        JsonValue::Object(map) => {
            if map.len() > MAX_ENTRIES {
                let rest: Vec<String> = map.keys().skip(MAX_ENTRIES).cloned().collect();
                for key in rest {
                    map.remove(&key);
                }
            }
            for (name, of) in map {
                if secrets {
                    hide(name, of);
                }
                walk(of, secrets, depth + 1);
            }
        }
        _ => {}
    }
}

/// Replaces the value of `name` as far as it is a secret.
fn hide(name: &str, value: &mut JsonValue) {
    let is_one = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    match value {
        JsonValue::String(query) if is_one(&["query_string", "query", "http.query"]) => *query = without_secrets(query),
        cookies if is_one(&["cookies", "cookie", "set-cookie"]) => hide_all(cookies),
        _ if is_secret_name(name) => match value {
            JsonValue::Null | JsonValue::Bool(_) => {}
            // A list of secrets, or a structure named so: each text of it.
            JsonValue::Array(_) | JsonValue::Object(_) => hide_all(value),
            JsonValue::String(text) if text.is_empty() || text.starts_with("[redacted") || text == "[Filtered]" => {}
            _ => *value = REDACTED.into(),
        },
        _ => {}
    }
}

/// Replaces every value below `value`; names stay.
fn hide_all(value: &mut JsonValue) {
    match value {
        JsonValue::Object(map) => map.values_mut().for_each(hide_all),
        // The names of a list of pairs stay as well.
        JsonValue::Array(list) => list.iter_mut().for_each(|entry| match entry.as_array_mut().map(Vec::as_mut_slice) {
            Some([JsonValue::String(_), of]) => hide_all(of),
            _ => hide_all(entry),
        }),
        JsonValue::Null => {}
        JsonValue::String(text) if text.is_empty() => {}
        _ => *value = REDACTED.into(),
    }
}

/// Returns a query string without the values of secret names.
fn without_secrets(query: &str) -> String {
    let pair = |pair: &str| match pair.split_once('=') {
        Some((name, value)) if !value.is_empty() && is_secret_name(name) => format!("{name}={REDACTED}"),
        _ => pair.to_owned(),
    };
    query.split('&').map(pair).collect::<Vec<_>>().join("&")
}

/// Cuts `text` to at most `most` bytes and says that it did.
pub(super) fn shorten(text: &mut String, most: usize) {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_name_calls_a_secret_goes_wherever_it_stands() {
        let mut event = json!({
            "request": {
                "url": "https://shop.example/pay?token=abc&page=2",
                "query_string": "password=hunter2&page=2",
                "cookies": {"sid": "1234", "theme": "dark"},
                "headers": [["Authorization", "Bearer x"], ["Accept", "*/*"], ["Cookie", "sid=1234"]],
                "data": {"password": "hunter2", "amount": 5, "card": {"api_key": ["a", "b"]}}
            },
            "extra": {"db_password": "p", "password_reset": true, "keep": "this"},
            "breadcrumbs": {"values": [{"data": {"x-api-key": 17, "secret": null}}]}
        });
        clean(&mut event, true);
        assert_eq!(
            event,
            json!({
                "request": {
                    "url": "https://shop.example/pay?token=[redacted:secret]&page=2",
                    "query_string": "password=[redacted:secret]&page=2",
                    "cookies": {"sid": "[redacted:secret]", "theme": "[redacted:secret]"},
                    "headers": [["Authorization", "[redacted:secret]"], ["Accept", "*/*"], ["Cookie", "[redacted:secret]"]],
                    "data": {"password": "[redacted:secret]", "amount": 5, "card": {"api_key": ["[redacted:secret]", "[redacted:secret]"]}}
                },
                "extra": {"db_password": "[redacted:secret]", "password_reset": true, "keep": "this"},
                "breadcrumbs": {"values": [{"data": {"x-api-key": "[redacted:secret]", "secret": null}}]}
            })
        );
        let once = event.clone();
        clean(&mut event, true);
        assert_eq!(event, once, "again changes nothing");
    }

    #[test]
    fn what_is_long_or_deep_is_cut() {
        let mut deep = json!("end");
        for _ in 0..100 {
            deep = json!([deep]);
        }
        let mut event = json!({"text": "é".repeat(20_000), "deep": deep, "list": vec![0; 1000], "password": "kept"});
        clean(&mut event, false);
        assert!(event["text"].as_str().unwrap().len() <= MAX_TEXT_BYTES + 3);
        assert_eq!(event["list"].as_array().unwrap().len(), MAX_ENTRIES);
        assert_eq!(event["password"], "kept");
        assert!(event.to_string().len() < 60_000);
    }
}
