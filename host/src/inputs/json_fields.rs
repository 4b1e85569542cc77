//! A JSON object as a list of its fields, which borrow from its text: what a line of NDJSON or a document of `_bulk` is read into.
//!
//! A `serde_json::Map` costs an allocation for each key and value, and a hash for each key; most fields need neither.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::Deserialize as _;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value as JsonValue;
use watchfire_types::ValueRef;

use super::object_record::Meaning;

/// Beyond this many fields an equal key is looked for by hash.
const MANY: usize = 64;

/// What is done with an object inside the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nested {
    /// It is kept as its JSON text; but `attributes` and `resource` are read.
    Text,
    /// Its fields become fields of the whole, their names joined by points, as Elasticsearch sees them.
    Flat,
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum FieldValue<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
    /// JSON text of an array or an object.
    Json(String),
    /// An object of [`Object::attributes`] or [`Object::resource`].
    Entries,
}

impl FieldValue<'_> {
    /// Returns it as a value; entries are none.
    pub(super) fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::Null | Self::Entries => ValueRef::Null,
            Self::Bool(value) => ValueRef::Bool(*value),
            Self::Int(value) => ValueRef::Int(*value),
            Self::Float(value) => ValueRef::Float(*value),
            Self::Text(text) => ValueRef::Text(text),
            Self::Json(json) => ValueRef::Json(json),
        }
    }

    /// Returns its text, if it is text.
    pub(super) fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field<'a> {
    pub(super) key: Cow<'a, str>,
    pub(super) value: FieldValue<'a>,
}

/// Fields in the order of their keys' first appearance, each key once: of two values the last is kept, as JavaScript keeps it.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) list: Vec<Field<'a>>,
    /// One bit for each key seen, of 64: most keys are new, and are not looked for.
    seen: u64,
}

impl<'a> Fields<'a> {
    fn clear(&mut self) {
        self.list.clear();
        self.seen = 0;
    }

    fn insert(&mut self, key: Cow<'a, str>, value: FieldValue<'a>) {
        let bytes = key.as_bytes();
        let (first, last) = (bytes.first().copied().unwrap_or(0), bytes.last().copied().unwrap_or(0));
        let mix = (bytes.len() as u32).wrapping_mul(7) ^ u32::from(first).wrapping_mul(31) ^ u32::from(last);
        let bit = 1_u64 << (mix & 63);
        let may_be_known = self.seen & bit != 0 && self.list.len() <= MANY;
        self.seen |= bit;
        match may_be_known.then(|| self.list.iter_mut().find(|field| field.key == key)).flatten() {
            Some(field) => field.value = value,
            None => self.list.push(Field { key, value }),
        }
    }

    /// Makes keys unique where [`Self::insert`] no longer did.
    fn finish(&mut self) {
        if self.list.len() <= MANY {
            return;
        }
        let mut places: HashMap<Cow<'a, str>, usize> = HashMap::with_capacity(self.list.len());
        let mut kept: Vec<Field<'a>> = Vec::with_capacity(self.list.len());
        for field in self.list.drain(..) {
            if let Some(place) = places.get(&field.key) {
                kept[*place].value = field.value;
            } else {
                places.insert(field.key.clone(), kept.len());
                kept.push(field);
            }
        }
        self.list = kept;
    }
}

/// An object, read. Used again and again, it allocates next to nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Object<'a> {
    /// All fields.
    pub(super) fields: Fields<'a>,
    /// Those of `attributes`, when that is an object.
    pub(super) attributes: Fields<'a>,
    /// Those of `resource`, when that is an object.
    pub(super) resource: Fields<'a>,
    /// The key at each place of the last object, and what it stood for: the next one mostly has the same there.
    pub(super) meanings: Vec<(String, Option<(Meaning, u8)>)>,
}

impl<'a> Object<'a> {
    /// Reads the object that `text` is.
    ///
    /// # Errors
    /// When it is not one, or something follows it.
    pub(super) fn read(&mut self, text: &'a str, nested: Nested) -> Result<(), serde_json::Error> {
        self.fields.clear();
        self.attributes.clear();
        self.resource.clear();
        let mut json = serde_json::Deserializer::from_str(text);
        json.deserialize_map(Top { object: self, nested })?;
        json.end()?;
        self.fields.finish();
        self.attributes.finish();
        self.resource.finish();
        Ok(())
    }
}

/// Reads the outermost object.
struct Top<'o, 'a> {
    object: &'o mut Object<'a>,
    nested: Nested,
}

impl<'a> Visitor<'a> for Top<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { object, nested } = self;
        while let Some(key) = map.next_key_seed(Key)? {
            let entries = match (nested, &*key) {
                (Nested::Text, "attributes") => Some(&mut object.attributes),
                (Nested::Text, "resource") => Some(&mut object.resource),
                _ => None,
            };
            let value = match (nested, entries) {
                (Nested::Flat, _) => {
                    map.next_value_seed(Flat { fields: &mut object.fields, key })?;
                    continue;
                }
                (_, Some(entries)) => {
                    entries.clear();
                    map.next_value_seed(Value { entries: Some(entries) })?
                }
                (_, None) => map.next_value_seed(Value { entries: None })?,
            };
            object.fields.insert(key, value);
        }
        Ok(())
    }
}

/// Reads a key, without a copy unless it has an escape.
struct Key;

impl<'a> DeserializeSeed<'a> for Key {
    type Value = Cow<'a, str>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Cow<'a, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'a> for Key {
    type Value = Cow<'a, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<Cow<'a, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cow<'a, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// Reads any value. An object goes into `entries`, if there are any, else it is kept as JSON text.
struct Value<'o, 'a> {
    entries: Option<&'o mut Fields<'a>>,
}

impl<'a> DeserializeSeed<'a> for Value<'_, 'a> {
    type Value = FieldValue<'a>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<FieldValue<'a>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Value<'_, 'a> {
    type Value = FieldValue<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<FieldValue<'a>, E> {
        Ok(FieldValue::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<FieldValue<'a>, E> {
        Ok(FieldValue::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<FieldValue<'a>, E> {
        Ok(FieldValue::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<FieldValue<'a>, E> {
        Ok(i64::try_from(value).map_or(FieldValue::Float(value as f64), FieldValue::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<FieldValue<'a>, E> {
        Ok(FieldValue::Float(value))
    }

    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<FieldValue<'a>, E> {
        Ok(FieldValue::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<FieldValue<'a>, E> {
        Ok(FieldValue::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'a>>(self, seq: A) -> Result<FieldValue<'a>, A::Error> {
        Ok(FieldValue::Json(JsonValue::deserialize(SeqAccessDeserializer::new(seq))?.to_string()))
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<FieldValue<'a>, A::Error> {
        let Some(entries) = self.entries else {
            return Ok(FieldValue::Json(JsonValue::deserialize(MapAccessDeserializer::new(map))?.to_string()));
        };
        while let Some(key) = map.next_key_seed(Key)? {
            let value = map.next_value_seed(Value { entries: None })?;
            entries.insert(key, value);
        }
        Ok(FieldValue::Entries)
    }
}

/// Reads any value under `key`, the fields of an object under its name and theirs.
struct Flat<'o, 'a> {
    fields: &'o mut Fields<'a>,
    key: Cow<'a, str>,
}

impl<'a> DeserializeSeed<'a> for Flat<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Flat<'_, 'a> {
    fn put(self, value: FieldValue<'a>) {
        self.fields.insert(self.key, value);
    }
}

/// Names of fields inside fields get longer with each level: no document may make them take more memory than this many times its own.
const MAX_NAME_BYTES: usize = 1024;

impl<'a> Visitor<'a> for Flat<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.put(FieldValue::Null);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.put(FieldValue::Bool(value));
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.put(FieldValue::Int(value));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.put(i64::try_from(value).map_or(FieldValue::Float(value as f64), FieldValue::Int));
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.put(FieldValue::Float(value));
        Ok(())
    }

    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<(), E> {
        self.put(FieldValue::Text(Cow::Borrowed(text)));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.put(FieldValue::Text(Cow::Owned(text.to_owned())));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, seq: A) -> Result<(), A::Error> {
        let json = JsonValue::deserialize(SeqAccessDeserializer::new(seq))?.to_string();
        self.put(FieldValue::Json(json));
        Ok(())
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let mut is_empty = true;
        while let Some(inner) = map.next_key_seed(Key)? {
            is_empty = false;
            let key = format!("{}.{inner}", self.key);
            if key.len() > MAX_NAME_BYTES {
                return Err(A::Error::custom(format!("the name of a field is longer than {MAX_NAME_BYTES} bytes")));
            }
            map.next_value_seed(Flat { fields: &mut *self.fields, key: Cow::Owned(key) })?;
        }
        if is_empty {
            self.put(FieldValue::Json("{}".to_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str, nested: Nested) -> Vec<(String, String)> {
        let mut object = Object::default();
        object.read(text, nested).unwrap();
        let shown = |field: &Field<'_>| (field.key.to_string(), field.value.as_ref().to_json().to_string());
        object.fields.list.iter().map(shown).collect()
    }

    #[test]
    fn nested_objects_are_text_or_flat() {
        let text = r#"{"a":{"b":{"c":1},"d":[1,{"e":2}],"f":{}},"g\n":"h"}"#;
        let owned = |list: &[(&str, &str)]| list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
        assert_eq!(read(text, Nested::Flat), owned(&[("a.b.c", "1"), ("a.d", r#"[1,{"e":2}]"#), ("a.f", "{}"), ("g\n", "\"h\"")]));
        assert_eq!(read(text, Nested::Text), owned(&[("a", r#"{"b":{"c":1},"d":[1,{"e":2}],"f":{}}"#), ("g\n", "\"h\"")]));
    }

    #[test]
    fn of_equal_keys_the_last_value_is_kept_however_many_there_are() {
        for count in [3_usize, 1000] {
            let fields: Vec<String> = (0..count).map(|number| format!("\"key{}\":{number}", number % (count - 1))).collect();
            let read = read(&format!("{{{}}}", fields.join(",")), Nested::Text);
            assert_eq!((read.len(), &read[0]), (count - 1, &("key0".to_owned(), (count - 1).to_string())));
        }
    }

    #[test]
    fn a_name_grows_only_so_far() {
        let deep = format!("{}1{}", "{\"0123456789012345678901234\":".repeat(60), "}".repeat(60));
        assert!(Object::default().read(&deep, Nested::Flat).unwrap_err().to_string().contains("longer than"));
    }

    fn json() -> impl Strategy<Value = JsonValue> {
        let leaf = prop_oneof![
            Just(JsonValue::Null),
            any::<bool>().prop_map(JsonValue::from),
            any::<i64>().prop_map(JsonValue::from),
            any::<u64>().prop_map(JsonValue::from),
            proptest::num::f64::NORMAL.prop_map(JsonValue::from),
            any::<String>().prop_map(JsonValue::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(JsonValue::from),
                proptest::collection::vec((any::<String>(), inner), 0..4)
                    .prop_map(|entries| JsonValue::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// The plain way: `serde_json`'s own map.
        #[test]
        fn an_object_is_read_as_serde_json_reads_it(entries in proptest::collection::vec((any::<String>(), json()), 0..8)) {
            let map: serde_json::Map<String, JsonValue> = entries.into_iter().collect();
            prop_assume!(!map.contains_key("attributes") && !map.contains_key("resource"));
            let text = JsonValue::Object(map.clone()).to_string();
            let mut object = Object::default();
            object.read(&text, Nested::Text).unwrap();
            let expected: Vec<_> = map.into_iter().map(|(key, value)| (key, watchfire_types::Value::from(value))).collect();
            let read: Vec<_> = object.fields.list.iter().map(|field| (field.key.to_string(), field.value.as_ref().to_value())).collect();
            prop_assert_eq!(read, expected);
        }
    }
}
