//! Attribute values, as OpenTelemetry's `AnyValue`, flattened: an array or a map is kept as its JSON text.

use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};

/// Key and value pairs in the order in which they came. Keys are unique.
pub type Attributes = Vec<(String, Value)>;

/// OpenTelemetry attribute keys that the host itself reads or writes.
pub mod keys {
    /// The program a record comes from.
    pub const SERVICE_NAME: &str = "service.name";
    /// Which instance of the program.
    pub const SERVICE_INSTANCE_ID: &str = "service.instance.id";
    /// The machine it runs on.
    pub const HOST_NAME: &str = "host.name";
    /// Process id.
    pub const PROCESS_PID: &str = "process.pid";
    /// Full path of the file a line was read from.
    pub const LOG_FILE_PATH: &str = "log.file.path";
    /// Version of the program.
    pub const SERVICE_VERSION: &str = "service.version";
    /// Where the program runs: `production`, `staging`.
    pub const DEPLOYMENT_ENVIRONMENT: &str = "deployment.environment.name";
    /// What tells a user from others and does not say who it is.
    pub const USER_HASH: &str = "user.hash";
    /// Id that a Sentry SDK gave to an event.
    pub const SENTRY_EVENT_ID: &str = "sentry.event_id";
    /// Number of the project that an SDK sent an event to.
    pub const SENTRY_PROJECT: &str = "sentry.project";
    /// An event as a Sentry SDK sent it, tidied, in JSON.
    pub const SENTRY_EVENT: &str = "sentry.event";
    /// What a program said before an error: a list of objects with `timestamp`, `level`, `category` and `message`, the oldest first.
    pub const BREADCRUMBS: &str = "breadcrumbs";
    /// Class or type of an exception.
    pub const EXCEPTION_TYPE: &str = "exception.type";
    /// Its message.
    pub const EXCEPTION_MESSAGE: &str = "exception.message";
    /// Its stack trace as text.
    pub const EXCEPTION_STACKTRACE: &str = "exception.stacktrace";
    /// Low-cardinality class of an error.
    pub const ERROR_TYPE: &str = "error.type";
}

/// One attribute value, owned.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// No value.
    #[default]
    Null,
    /// Text.
    Text(String),
    /// True or false.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// A float; `NaN` and infinities are kept, and are `null` in JSON.
    Float(f64),
    /// Bytes; base64 in JSON.
    Bytes(Vec<u8>),
    /// JSON text of an array or an object.
    Json(String),
}

/// One attribute value, borrowed: what inputs hand to a [`crate::LogBatch`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum ValueRef<'a> {
    /// No value.
    #[default]
    Null,
    /// Text.
    Text(&'a str),
    /// True or false.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// Bytes.
    Bytes(&'a [u8]),
    /// JSON text of an array or an object.
    Json(&'a str),
}

impl Value {
    /// Returns it borrowed.
    #[must_use]
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::Null => ValueRef::Null,
            Self::Text(text) => ValueRef::Text(text),
            Self::Bool(value) => ValueRef::Bool(*value),
            Self::Int(value) => ValueRef::Int(*value),
            Self::Float(value) => ValueRef::Float(*value),
            Self::Bytes(bytes) => ValueRef::Bytes(bytes),
            Self::Json(json) => ValueRef::Json(json),
        }
    }

    /// Returns the text of a text value.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl ValueRef<'_> {
    /// Returns an owned copy.
    #[must_use]
    pub fn to_value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Text(text) => Value::Text(text.to_owned()),
            Self::Bool(value) => Value::Bool(value),
            Self::Int(value) => Value::Int(value),
            Self::Float(value) => Value::Float(value),
            Self::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
            Self::Json(json) => Value::Json(json.to_owned()),
        }
    }

    /// Returns it as a JSON value: bytes as base64, a float that JSON cannot say as `null`.
    #[must_use]
    pub fn to_json(self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Text(text) => text.into(),
            Self::Bool(value) => value.into(),
            Self::Int(value) => value.into(),
            Self::Float(value) => value.into(),
            Self::Bytes(bytes) => base64(bytes).into(),
            Self::Json(json) => serde_json::from_str(json).unwrap_or_else(|_| json.into()),
        }
    }

    /// Returns its plain text: the text itself, decimal numbers, base64 for bytes, JSON as written, nothing for null.
    #[must_use]
    pub fn display(self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Text(text) | Self::Json(text) => text.to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Bytes(bytes) => base64(bytes),
        }
    }
}

/// Returns standard base64 with padding (RFC 4648, section 4).
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for position in 0..4 {
            let index = (word >> (18 - 6 * position)) & 63;
            text.push(if position <= chunk.len() { char::from(ALPHABET[index as usize]) } else { '=' });
        }
    }
    text
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_ref().to_json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(serde_json::Value::deserialize(deserializer)?.into())
    }
}

impl From<serde_json::Value> for Value {
    fn from(json: serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(value),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(value) => Self::Int(value),
                None => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            serde_json::Value::String(text) => Self::Text(text),
            nested => Self::Json(nested.to_string()),
        }
    }
}

/// Serialises attributes as one JSON object, for `#[serde(serialize_with)]`.
pub fn serialize_map<S: Serializer>(attributes: &Attributes, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(attributes.len()))?;
    for (key, value) in attributes {
        map.serialize_entry(key, value)?;
    }
    map.end()
}

/// Reads attributes from one JSON object, for `#[serde(deserialize_with)]`.
pub fn deserialize_map<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Attributes, D::Error> {
    let map = serde_json::Map::<String, serde_json::Value>::deserialize(deserializer)?;
    Ok(map.into_iter().map(|(key, value)| (key, value.into())).collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_agrees_with_the_vectors_of_rfc_4648() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(super::base64(plain.as_bytes()), coded);
        }
    }
}
