//! The example of the specification, what `create-config` writes, and the published JSON Schema.

use serde_json::{Map, Value};

use super::raw::RawConfig;
use super::shape::Shape;

/// The specification's example, byte for byte.
pub const SPECIFIED: &str = include_str!("../../../examples/config/monitoring_config.json");

/// Returns the specification's example with all other keys and their defaults, as pretty JSON.
#[must_use]
pub fn full() -> String {
    let mut example: Value = serde_json::from_str(SPECIFIED).expect("a test reads it");
    let mut defaults = serde_json::to_value(RawConfig::default()).expect("every key is text and every value JSON");
    // `format` says what `structured_format` says, and that stands in the example.
    fill_in(&mut example, &defaults);
    for channel in ["email", "webhook"] {
        let section = &mut defaults["alerting"]["notifications"][channel];
        *section = match channel {
            "email" => serde_json::json!({ "tls": "starttls", "send_resolved": true }),
            _ => serde_json::json!({ "headers": {}, "body": "auto", "send_resolved": true }),
        };
    }
    fill_in(&mut example, &defaults);
    let mut ordered = Map::new();
    for key in ["server", "storage", "inputs", "redaction"] {
        ordered.insert(key.to_owned(), example[key].take());
    }
    let rest = example.as_object_mut().map(std::mem::take).unwrap_or_default();
    ordered.extend(rest.into_iter().filter(|(_, section)| !section.is_null()));
    let mut text = serde_json::to_string_pretty(&ordered).expect("JSON can be written");
    text.push('\n');
    text
}

/// Adds to `value` what only `defaults` has.
fn fill_in(value: &mut Value, defaults: &Value) {
    let (Some(map), Some(defaults)) = (value.as_object_mut(), defaults.as_object()) else { return };
    for (key, default) in defaults {
        match map.get_mut(key) {
            Some(known) => fill_in(known, default),
            None => drop(map.insert(key.clone(), default.clone())),
        }
    }
}

/// Returns the JSON Schema of the configuration file.
#[must_use]
pub fn schema() -> Value {
    let mut schema = Shape::of::<RawConfig>().schema().clone();
    schema["title"] = "watchfire configuration".into();
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls `visit` with the path and schema of every key.
    fn each_key(schema: &Value, at: &str, visit: &mut impl FnMut(&str, &Value)) {
        for (key, node) in schema["properties"].as_object().into_iter().flatten() {
            visit(&format!("{at}.{key}"), node);
        }
        for (name, node) in schema["$defs"].as_object().into_iter().flatten() {
            each_key(node, name, visit);
        }
    }

    #[test]
    fn every_key_is_documented_with_its_default() {
        let mut count = 0;
        each_key(&schema(), "", &mut |path, node| {
            count += 1;
            let text = node["description"].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{path} is not documented");
            let is_section = path.starts_with('.') || path.ends_with(".notifications");
            let says = ["Default: ", "Required", "at least one", "Either this or"].iter().any(|word| text.contains(word));
            assert!(is_section || says, "{path} does not say its default: {text}");
        });
        assert!(count > 70, "{count} keys");
    }

    #[test]
    fn the_published_schema_and_the_shape_checker_agree_on_the_examples() {
        for text in [SPECIFIED, &full()] {
            let mut value: Value = serde_json::from_str(text).unwrap();
            let before = value.clone();
            let mut misfits = Vec::new();
            Shape::of::<RawConfig>().clean(&mut value, "", &mut misfits);
            assert_eq!(misfits, []);
            assert_eq!(value, before, "nothing is taken out or rewritten");
        }
    }

    #[test]
    fn the_full_example_holds_every_key_that_has_a_default() {
        let full: Value = serde_json::from_str(&full()).unwrap();
        for (section, keys) in serde_json::to_value(RawConfig::default()).unwrap().as_object().unwrap() {
            for key in keys.as_object().unwrap().keys() {
                assert!(full[section].get(key).is_some(), "{section}.{key}");
            }
        }
        assert_eq!(full["alerting"]["notifications"]["email"]["tls"], "starttls");
    }
}
