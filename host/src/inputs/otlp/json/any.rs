//! `AnyValue` and `KeyValue` in JSON.

use std::borrow::Cow;
use std::fmt;

use opentelemetry_proto::tonic::common::v1::{self as proto, any_value};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use watchfire_types::ValueRef;
use watchfire_types::attributes::base64;

use super::super::json_text::{push_float, push_int, push_string};
use super::super::logs_proto::write_entries;
use super::scalars::{Base64, Bool, F64, I64, List, Text};

/// `AnyValue`.
#[derive(Clone, Debug, Default)]
pub(super) enum Any<'a> {
    #[default]
    Null,
    Text(Cow<'a, str>),
    Bool(bool),
    Int(i64),
    Float(f64),
    Bytes(Vec<u8>),
    Array(Vec<Any<'a>>),
    Map(Vec<KeyValue<'a>>),
}

/// `KeyValue`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(super) struct KeyValue<'a> {
    #[serde(borrow)]
    pub key: Text<'a>,
    pub value: Any<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, bound(deserialize = "T: Deserialize<'de> + Default"))]
struct Values<T> {
    values: List<T>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Any<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyVisitor;
        impl<'de> Visitor<'de> for AnyVisitor {
            type Value = Any<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object such as {\"stringValue\": \"text\"}")
            }
            fn visit_unit<E: serde::de::Error>(self) -> Result<Any<'de>, E> {
                Ok(Any::Null)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Any<'de>, A::Error> {
                let mut any = Any::Null;
                while let Some(Text(key)) = map.next_key()? {
                    // A field that is `null` is one that is not set.
                    let value = match &*key {
                        "stringValue" => map.next_value::<Option<Text<'de>>>()?.map(|text| Any::Text(text.0)),
                        "boolValue" => map.next_value::<Option<Bool>>()?.map(|value| Any::Bool(value.0)),
                        "intValue" => map.next_value::<Option<I64>>()?.map(|number| Any::Int(number.0)),
                        "doubleValue" => map.next_value::<Option<F64>>()?.map(|number| Any::Float(number.0)),
                        "bytesValue" => map.next_value::<Option<Base64>>()?.map(|bytes| Any::Bytes(bytes.0)),
                        "arrayValue" => map.next_value::<Option<Values<Any<'de>>>>()?.map(|array| Any::Array(array.values.0)),
                        "kvlistValue" => map.next_value::<Option<Values<KeyValue<'de>>>>()?.map(|list| Any::Map(list.values.0)),
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            None
                        }
                    };
                    any = value.unwrap_or(any);
                }
                Ok(any)
            }
        }
        deserializer.deserialize_any(AnyVisitor)
    }
}

impl Any<'_> {
    /// Returns it as a value; `json` is overwritten and holds the text of a nested one.
    pub(super) fn to_value<'v>(&'v self, json: &'v mut String) -> ValueRef<'v> {
        match self {
            Self::Null => ValueRef::Null,
            Self::Text(text) => ValueRef::Text(text),
            Self::Bool(value) => ValueRef::Bool(*value),
            Self::Int(number) => ValueRef::Int(*number),
            Self::Float(number) => ValueRef::Float(*number),
            Self::Bytes(bytes) => ValueRef::Bytes(bytes),
            Self::Array(_) | Self::Map(_) => {
                json.clear();
                self.write_json(json);
                ValueRef::Json(json)
            }
        }
    }

    fn write_json(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Text(text) => push_string(out, text),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Int(number) => push_int(out, *number),
            Self::Float(number) => push_float(out, *number),
            Self::Bytes(bytes) => push_string(out, &base64(bytes)),
            Self::Array(values) => {
                out.push('[');
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    value.write_json(out);
                }
                out.push(']');
            }
            Self::Map(pairs) => {
                let entries = pairs.iter().map(|pair| {
                    let mut json = String::new();
                    pair.value.write_json(&mut json);
                    (&*pair.key.0, json)
                });
                write_entries(entries.collect(), out);
            }
        }
    }
}

impl From<Any<'_>> for proto::AnyValue {
    fn from(any: Any<'_>) -> Self {
        let value = match any {
            Any::Null => None,
            Any::Text(text) => Some(any_value::Value::StringValue(text.into_owned())),
            Any::Bool(value) => Some(any_value::Value::BoolValue(value)),
            Any::Int(number) => Some(any_value::Value::IntValue(number)),
            Any::Float(number) => Some(any_value::Value::DoubleValue(number)),
            Any::Bytes(bytes) => Some(any_value::Value::BytesValue(bytes)),
            Any::Array(values) => {
                let values = values.into_iter().map(Into::into).collect();
                Some(any_value::Value::ArrayValue(proto::ArrayValue { values }))
            }
            Any::Map(values) => {
                let values = values.into_iter().map(Into::into).collect();
                Some(any_value::Value::KvlistValue(proto::KeyValueList { values }))
            }
        };
        Self { value }
    }
}

impl From<KeyValue<'_>> for proto::KeyValue {
    fn from(pair: KeyValue<'_>) -> Self {
        Self { key: pair.key.0.into_owned(), value: Some(pair.value.into()), ..Self::default() }
    }
}
