//! From file, environment and command line to a checked configuration.
//!
//! Command line over environment over file over default. The layers are laid over each other as JSON, each compared with the
//! JSON Schema of [`RawConfig`] on the way, so that one run tells everything that is wrong anywhere.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};

use super::Config;
use super::check::{self, Checked};
use super::environment::{Environment, variable_for};
use super::error::{ConfigErrors, Problem};
use super::raw::RawConfig;
use super::shape::{Misfit, Shape};
use crate::nearest::did_you_mean;

/// What the command line says over everything else.
#[derive(Clone, Debug, Default)]
pub struct CliOverrides {
    /// `--data`.
    pub data_dir: Option<PathBuf>,
    /// `--listen`.
    pub listen: Option<String>,
    /// `--log-level`.
    pub log_level: Option<String>,
}

impl Config {
    /// Reads the file at `path`, if one is named, lays environment and command line over it, and checks the result.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(path: Option<&Path>, environment: &Environment, overrides: &CliOverrides) -> Result<Self, ConfigErrors> {
        let mut layers = Layers::new(path);
        if let Some(path) = path {
            layers.read_file(path)?;
        }
        layers.apply_environment(environment);
        layers.apply_overrides(overrides);
        layers.finish(environment)
    }
}

/// The layers laid over each other so far.
struct Layers {
    shape: Shape,
    file: String,
    tree: Value,
    /// Which keys another layer than the file has set, and what that was.
    origins: BTreeMap<String, String>,
    problems: Vec<Problem>,
}

impl Layers {
    fn new(path: Option<&Path>) -> Self {
        Self {
            shape: Shape::of::<RawConfig>(),
            file: path.map_or_else(|| "configuration".to_owned(), |path| path.display().to_string()),
            tree: Value::Object(Map::new()),
            origins: BTreeMap::new(),
            problems: Vec::new(),
        }
    }

    fn read_file(&mut self, path: &Path) -> Result<(), ConfigErrors> {
        let fail = |reason| ConfigErrors(vec![Problem { origin: path.display().to_string(), path: String::new(), reason }]);
        let text = std::fs::read_to_string(path).map_err(|error| fail(format!("cannot read the file: {error}")))?;
        let is_toml = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
        self.tree = if is_toml { parse_toml(&text) } else { parse_json(&text) }.map_err(fail)?;
        let mut misfits = Vec::new();
        self.shape.clean(&mut self.tree, "", &mut misfits);
        let origin = self.file.clone();
        self.note(&origin, misfits);
        Ok(())
    }

    fn note(&mut self, origin: &str, misfits: Vec<Misfit>) {
        self.problems.extend(misfits.into_iter().map(|(path, reason)| Problem { origin: origin.to_owned(), path, reason }));
    }

    fn apply_environment(&mut self, environment: &Environment) {
        for (name, keys, text) in environment.settings() {
            if self.shape.has(&keys) {
                let value = self.shape.value_of_text(&keys, text);
                self.set(name, &keys, value);
            } else {
                let known: Vec<String> = self.shape.paths().iter().map(|path| variable_for(path)).collect();
                let hint = did_you_mean(name, known.iter().map(String::as_str));
                let reason = format!("there is no key `{}`{hint}", keys.join("."));
                self.note(name, vec![(String::new(), reason)]);
            }
        }
    }

    fn apply_overrides(&mut self, overrides: &CliOverrides) {
        let data_dir = overrides.data_dir.as_ref().map(|path| path.display().to_string());
        let options = [
            ("--data", "storage.data_dir", &data_dir),
            ("--listen", "server.listen", &overrides.listen),
            ("--log-level", "logging.level", &overrides.log_level),
        ];
        for (option, path, value) in options {
            if let Some(text) = value {
                let keys: Vec<String> = path.split('.').map(str::to_owned).collect();
                self.set(option, &keys, text.as_str().into());
            }
        }
    }

    /// Sets the key at `keys` to `value`, if that fits there.
    fn set(&mut self, origin: &str, keys: &[String], mut value: Value) {
        let mut misfits = Vec::new();
        let fits = self.shape.clean_at(keys, &mut value, &mut misfits);
        self.note(origin, misfits);
        if let (true, Some((last, parents))) = (fits, keys.split_last()) {
            let parent = parents.iter().fold(&mut self.tree, |node, key| {
                if !node[key].is_object() {
                    node[key] = Value::Object(Map::new());
                }
                &mut node[key]
            });
            if let Some(parent) = parent.as_object_mut() {
                // A value from a higher layer stands for its `_file` twin of a lower one, and the other way round.
                parent.shift_remove(&format!("{last}_file"));
                parent.shift_remove(last.strip_suffix("_file").unwrap_or_default());
                parent.insert(last.clone(), value);
            }
            self.origins.insert(keys.join("."), origin.to_owned());
        }
    }

    fn finish(mut self, environment: &Environment) -> Result<Config, ConfigErrors> {
        let raw: RawConfig = match serde_path_to_error::deserialize(&self.tree) {
            Ok(raw) => raw,
            Err(error) => {
                // Only what the schema cannot say gets here.
                let path = error.path().to_string();
                self.note(&self.file.clone(), vec![(path, error.inner().to_string())]);
                return Err(ConfigErrors(self.problems));
            }
        };
        let Checked { config, faults } = check::check(raw, environment);
        for (path, reason) in faults {
            if !self.problems.iter().any(|problem| covers(&problem.path, &path)) {
                let origin = self.origins.get(&path).unwrap_or(&self.file).clone();
                self.problems.push(Problem { origin, path, reason });
            }
        }
        if self.problems.is_empty() { Ok(config) } else { Err(ConfigErrors(self.problems)) }
    }
}

/// Returns whether a problem of shape at `known` explains one of meaning at `path`: the same key, or one around it.
fn covers(known: &str, path: &str) -> bool {
    !known.is_empty() && path.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

fn parse_json(text: &str) -> Result<Value, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    serde_json::from_str(text).map(|Strict(value)| value).map_err(|error| format!("not valid JSON: {error}"))
}

/// JSON in which no key stands twice: of two, one would be lost without a word. (TOML refuses that by itself.)
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Value;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
                let mut list = Vec::new();
                while let Some(Strict(item)) = items.next_element()? {
                    list.push(item);
                }
                Ok(list.into())
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
                let mut map = Map::new();
                while let Some((key, Strict(value))) = entries.next_entry::<String, Strict>()? {
                    if map.contains_key(&key) {
                        return Err(de::Error::custom(format_args!("key `{key}` stands twice")));
                    }
                    map.insert(key, value);
                }
                Ok(map.into())
            }
        }
        deserializer.deserialize_any(Visitor).map(Self)
    }
}

fn parse_toml(text: &str) -> Result<Value, String> {
    toml::from_str::<Value>(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        let before = &text.as_bytes()[..start];
        let line = memchr::memchr_iter(b'\n', before).count() + 1;
        let column = start - memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1) + 1;
        // The error's own text shows the line itself, which may hold a secret.
        format!("not valid TOML: {} at line {line} column {column}", error.message())
    })
}

#[cfg(test)]
mod tests;
