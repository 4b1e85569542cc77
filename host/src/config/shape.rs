//! Compares a JSON value with the JSON Schema of a type, and says everything that does not fit, where a deserialiser stops at the first.
//!
//! It knows the part of JSON Schema that our configuration types make, and no more.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde_json::{Map, Value};

use super::duration::{self, HumanDuration};
use crate::nearest::{did_you_mean, nearest};

/// Words that other tools use for ours.
const SYNONYMS: [(&str, &str); 4] = [("WARN", "WARNING"), ("ERR", "ERROR"), ("FATAL", "CRITICAL"), ("CRIT", "CRITICAL")];

/// Where something does not fit, and what was expected.
pub(crate) type Misfit = (String, String);

/// The JSON Schema of a type.
#[derive(Debug)]
pub struct Shape(Value);

/// What a schema asks for.
enum Kind<'a> {
    Duration,
    Object(&'a Map<String, Value>),
    /// Any key; values of one kind.
    Map(&'a Value),
    List(&'a Value),
    Words(Vec<&'a str>),
    Text,
    Whole {
        least: i64,
        most: u64,
    },
    Number,
    Bool,
    Anything,
}

impl Shape {
    /// Returns the shape of `T`.
    #[must_use]
    pub fn of<T: JsonSchema>() -> Self {
        Self(schemars::schema_for!(T).into())
    }

    /// Returns the shape that a JSON Schema describes, as far as [`Shape`] knows JSON Schema.
    #[must_use]
    pub(crate) fn from_schema(schema: Value) -> Self {
        Self(schema)
    }

    /// Returns the JSON Schema itself.
    #[must_use]
    pub fn schema(&self) -> &Value {
        &self.0
    }

    /// Takes out of `value` all that does not fit, adding each to `misfits` with its path (which begins with `path`), and
    /// writes enumerated words as the type writes them. `null` means "not given".
    pub(crate) fn clean(&self, value: &mut Value, path: &str, misfits: &mut Vec<Misfit>) {
        if let Err(reason) = self.fit(value, &self.0, path, misfits) {
            misfits.push((path.to_owned(), reason));
            *value = Value::Object(Map::new());
        }
    }

    /// Does the same for the part of the type that lies at `keys`. Returns false, having said why, if `value` does not fit as a whole.
    pub(super) fn clean_at(&self, keys: &[String], value: &mut Value, misfits: &mut Vec<Misfit>) -> bool {
        let path = keys.join(".");
        let Some(node) = self.find(keys) else { return false };
        match self.fit(value, node, &path, misfits) {
            Ok(()) => true,
            Err(reason) => {
                misfits.push((path, reason));
                false
            }
        }
    }

    /// Turns the text of an environment variable into the JSON that the key at `keys` wants; as text if it is not that.
    pub(super) fn value_of_text(&self, keys: &[String], text: &str) -> Value {
        let Some(node) = self.find(keys) else { return text.into() };
        match self.kind(node) {
            Kind::Text | Kind::Words(_) | Kind::Duration => text.into(),
            Kind::List(_) if !text.trim_start().starts_with('[') => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                items.map(Value::from).collect::<Vec<_>>().into()
            }
            _ => serde_json::from_str(text.trim()).unwrap_or_else(|_| text.into()),
        }
    }

    /// Returns whether the type has a key at `keys`.
    pub(super) fn has(&self, keys: &[String]) -> bool {
        self.find(keys).is_some()
    }

    /// Returns the paths of all keys outside lists, in the order of the type.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect_paths(&self.0, "", &mut paths);
        paths
    }

    fn collect_paths(&self, node: &Value, path: &str, paths: &mut Vec<String>) {
        if let Kind::Object(properties) = self.kind(node) {
            for (key, node) in properties {
                let path = join(path, key);
                self.collect_paths(node, &path, paths);
                paths.push(path);
            }
        }
    }

    fn find(&self, keys: &[String]) -> Option<&Value> {
        keys.iter().try_fold(&self.0, |node, key| match self.kind(node) {
            Kind::Object(properties) => properties.get(key),
            _ => None,
        })
    }

    /// Follows references and leaves `null` aside.
    fn kind<'a>(&'a self, node: &'a Value) -> Kind<'a> {
        if let Some(name) = node["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/$defs/")) {
            return if name == duration::SCHEMA_NAME { Kind::Duration } else { self.kind(&self.0["$defs"][name]) };
        }
        if let Some(branch) = node["anyOf"].as_array().and_then(|branches| branches.iter().find(|branch| branch["type"] != "null"))
        {
            return self.kind(branch);
        }
        if let Some(words) = words(node) {
            return Kind::Words(words);
        }
        let of_type =
            |name: &str| node["type"] == name || node["type"].as_array().is_some_and(|names| names.iter().any(|n| n == name));
        if let Some(properties) = node["properties"].as_object() {
            Kind::Object(properties)
        } else if of_type("object") {
            Kind::Map(&node["additionalProperties"])
        } else if of_type("array") {
            Kind::List(&node["items"])
        } else if of_type("string") {
            Kind::Text
        } else if of_type("integer") {
            let most = node["maximum"].as_u64().or_else(|| (node["format"] == "uint32").then_some(u32::MAX.into()));
            Kind::Whole { least: node["minimum"].as_i64().unwrap_or(i64::MIN), most: most.unwrap_or(u64::MAX) }
        } else if of_type("number") {
            Kind::Number
        } else if of_type("boolean") {
            Kind::Bool
        } else {
            Kind::Anything
        }
    }

    /// Says what was expected if `value` as a whole does not fit; what does not fit inside it goes to `misfits`.
    fn fit(&self, value: &mut Value, node: &Value, path: &str, misfits: &mut Vec<Misfit>) -> Result<(), String> {
        let kind = self.kind(node);
        let expected = |what: &str, value: &Value| Err(format!("expected {what}, found {}", name_kind(value)));
        match (&kind, &mut *value) {
            (Kind::Anything, _)
            | (Kind::Text, Value::String(_))
            | (Kind::Bool, Value::Bool(_))
            | (Kind::Number, Value::Number(_)) => Ok(()),
            (Kind::Object(properties), Value::Object(map)) => {
                self.fit_keys(map, properties, path, misfits);
                Ok(())
            }
            (Kind::Map(node), Value::Object(map)) => {
                map.retain(|key, value| {
                    !value.is_null() && keep(self.fit(value, node, &join(path, key), misfits), || join(path, key), misfits)
                });
                Ok(())
            }
            (Kind::List(node), Value::Array(items)) => {
                for (index, item) in items.iter_mut().enumerate() {
                    let path = format!("{path}[{index}]");
                    let fits = self.fit(item, node, &path, misfits);
                    if !keep(fits, || path, misfits) {
                        // Something takes its place, so that what is said about later items counts right.
                        *item = if matches!(self.kind(node), Kind::Text) { "".into() } else { Value::Object(Map::new()) };
                    }
                }
                Ok(())
            }
            (Kind::Words(words), Value::String(word)) => fit_word(word, words),
            (Kind::Words(words), other) => expected(&format!("one of {}", quoted(words)), other),
            (Kind::Duration, Value::String(text)) => text.parse::<HumanDuration>().map(drop).map_err(|error| error.to_string()),
            (Kind::Duration, Value::Number(number)) => {
                number.to_string().parse::<HumanDuration>().map(drop).map_err(|error| error.to_string())
            }
            (Kind::Duration, other) => expected("a duration: whole seconds, or text such as `90s`, `5m`, `1h30m`", other),
            (Kind::Whole { least, most }, Value::Number(number)) => {
                let fits =
                    number.as_u64().is_some_and(|number| number <= *most && i64::try_from(number).is_ok_and(|n| n >= *least))
                        || number.as_i64().is_some_and(|number| number >= *least && number < 0);
                if fits { Ok(()) } else { Err(format!("expected {}, found {number}", whole(*least, *most))) }
            }
            (Kind::Whole { least, most }, other) => expected(&whole(*least, *most), other),
            (Kind::Object(_) | Kind::Map(_), other) => expected("an object", other),
            (Kind::List(_), other) => expected("a list", other),
            (Kind::Text, other) => expected("text", other),
            (Kind::Number, other) => expected("a number", other),
            (Kind::Bool, other) => expected("true or false", other),
        }
    }

    fn fit_keys(&self, map: &mut Map<String, Value>, properties: &Map<String, Value>, path: &str, misfits: &mut Vec<Misfit>) {
        map.retain(|key, value| {
            let path = join(path, key);
            let Some(node) = properties.get(key) else {
                misfits.push((path, self.unknown(key, properties)));
                return false;
            };
            !value.is_null() && keep(self.fit(value, node, &path, misfits), || path.clone(), misfits)
        });
    }

    /// Says that there is no such key here, and which one was probably meant: here, or of this very name elsewhere.
    fn unknown(&self, key: &str, properties: &Map<String, Value>) -> String {
        let mut text = "unknown key".to_owned();
        if let Some(name) = nearest(key, properties.keys().map(String::as_str)) {
            let _ = write!(text, "; did you mean `{name}`?");
        } else if let Some(path) = self.paths().iter().find(|path| path.rsplit('.').next() == Some(key)) {
            let _ = write!(text, "; did you mean `{path}`?");
        } else {
            let names: Vec<&str> = properties.keys().map(String::as_str).filter(|name| !name.starts_with('$')).collect();
            let _ = write!(text, "; expected one of {}", quoted(&names));
        }
        text
    }
}

/// Passes on whether something fits, and notes the reason if it does not.
fn keep(fits: Result<(), String>, path: impl FnOnce() -> String, misfits: &mut Vec<Misfit>) -> bool {
    match fits {
        Ok(()) => true,
        Err(reason) => {
            misfits.push((path(), reason));
            false
        }
    }
}

/// Returns the words of an enumeration: `enum`, or `oneOf` with a documented `const` each.
fn words(node: &Value) -> Option<Vec<&str>> {
    if let Some(words) = node["enum"].as_array() {
        return Some(words.iter().filter_map(Value::as_str).collect());
    }
    let branches = node["oneOf"].as_array()?;
    let words = branches.iter().flat_map(|branch| match branch["const"].as_str() {
        Some(word) => vec![word],
        None => words(branch).unwrap_or_default(),
    });
    Some(words.collect())
}

/// Takes `word` in any case, and the usual other names of levels.
fn fit_word(word: &mut String, words: &[&str]) -> Result<(), String> {
    let synonym = SYNONYMS.iter().find(|(other, _)| word.eq_ignore_ascii_case(other)).map(|(_, ours)| *ours);
    let same = |known: &&&str| known.eq_ignore_ascii_case(word) || synonym == Some(**known);
    if let Some(known) = words.iter().find(same) {
        (*known).clone_into(word);
        return Ok(());
    }
    Err(format!("expected one of {}, found `{word}`{}", quoted(words), did_you_mean(word, words.iter().copied())))
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

fn whole(least: i64, most: u64) -> String {
    match (least, most) {
        (0, u64::MAX) => "a whole number".to_owned(),
        (least, u64::MAX) => format!("a whole number of at least {least}"),
        (least, most) => format!("a whole number from {least} to {most}"),
    }
}

/// Names the kind of `value` and never the value: it might be a secret in the wrong place.
fn name_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
