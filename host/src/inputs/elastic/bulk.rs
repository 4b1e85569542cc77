//! The body of a bulk request: an action on a line, and its document on the next.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use watchfire_types::LogBatch;

use super::fields::{meaning, stem};
use crate::http::ApiError;
use crate::inputs::builder::BatchBuilder;
use crate::inputs::json_fields::{Nested, Object};
use crate::inputs::ndjson::{Defaults, LineRefused, MAX_LINE_BYTES};
use crate::inputs::object_record;

/// The attribute, of the resource, that says to which index a document was sent.
const INDEX: &str = "elasticsearch.index";

/// Longest name of an index, in bytes, as Elasticsearch has it.
const MAX_INDEX_BYTES: usize = 255;

/// Longest id, in bytes, as Elasticsearch has it.
const MAX_ID_BYTES: usize = 512;

/// What is said of one action takes about this much memory.
const ANSWER_BYTES: usize = 320;

/// What is to be done with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Append it.
    Create,
    /// Append it, too: what is logged does not change.
    Index,
    /// Refused.
    Update,
    /// Refused.
    Delete,
}

impl Kind {
    /// Returns its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Index => "index",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// Why one document is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Elasticsearch's name of the error.
    pub kind: &'static str,
    /// What is wrong.
    pub reason: String,
}

/// One action of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What was to be done.
    pub kind: Kind,
    /// Which of [`Decoded::indices`].
    pub index: u32,
    /// Its id, if the sender gave one.
    pub id: Option<String>,
    /// Why it is no row of the batch.
    pub refusal: Option<Refusal>,
}

/// A request, read. The items without a refusal are the rows of the batch, in their order.
#[derive(Debug, Default)]
pub struct Decoded {
    /// The records.
    pub batch: LogBatch,
    /// Every action.
    pub items: Vec<Item>,
    /// The names of indices.
    pub indices: Vec<String>,
}

impl Decoded {
    /// Returns how many items are no rows.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.items.iter().filter(|item| item.refusal.is_some()).count() as u64
    }

    fn index(&mut self, name: &str) -> u32 {
        // The last one first: neighbours mostly go to the same.
        let known = self.indices.iter().rposition(|index| index == name);
        known.unwrap_or_else(|| {
            self.indices.push(name.to_owned());
            self.indices.len() - 1
        }) as u32
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action<'a> {
    Create(#[serde(borrow)] Target<'a>),
    Index(#[serde(borrow)] Target<'a>),
    Update(#[serde(borrow)] Target<'a>),
    Delete(#[serde(borrow)] Target<'a>),
}

#[derive(Deserialize)]
struct Target<'a> {
    #[serde(rename = "_index", borrow, default)]
    index: Option<Cow<'a, str>>,
    /// Text, or a number in the hand of some senders.
    #[serde(rename = "_id", borrow, default)]
    id: Option<&'a RawValue>,
}

/// An action that was read, kept because the next is mostly the same.
struct Read<'a> {
    line: &'a [u8],
    kind: Kind,
    index: Option<u32>,
    id: Option<String>,
}

/// Reads a whole request. `index` is meant where an action names none.
///
/// # Errors
/// 400 when it is no bulk request, 413 when its records take too much memory together.
pub fn decode(bytes: &[u8], index: Option<&str>, defaults: &Defaults<'_>, budget: usize) -> Result<Decoded, ApiError> {
    let mut decoded = Decoded::default();
    let mut builder = BatchBuilder::new(budget);
    let mut object = Object::default();
    let mut last: Option<Read<'_>> = None;
    let mut lines = Lines { rest: bytes, number: 0 };
    let mut bytes_of_items = 0;
    while let Some(line) = lines.next_not_blank() {
        let action = match last.take().filter(|last| last.line == line) {
            Some(same) => same,
            None => read_action(line, lines.number, index, &mut decoded)?,
        };
        // A million actions without documents must not fit into a small request.
        bytes_of_items += size_of::<Item>() + ANSWER_BYTES + action.id.as_ref().map_or(0, String::len);
        if bytes_of_items > budget {
            return Err(ApiError::too_large(crate::inputs::builder::OverBudget { budget }.to_string()));
        }
        let refusal = match (action.kind, action.index) {
            (Kind::Delete, _) => Some(unchanged(action.kind)),
            (Kind::Update, _) => {
                lines.next();
                Some(unchanged(action.kind))
            }
            (_, place) => {
                let Some(document) = lines.next() else {
                    return Err(ApiError::bad_request(format!(
                        "the action on line {} has no document: the request ends there",
                        lines.number
                    )));
                };
                let index = place.map(|place| decoded.indices[place as usize].as_str());
                append(&mut builder, document, index, defaults, &mut object)?
            }
        };
        let place = action.index.unwrap_or_else(|| decoded.index(""));
        decoded.items.push(Item { kind: action.kind, index: place, id: action.id.clone(), refusal });
        last = Some(action);
    }
    if decoded.items.is_empty() {
        return Err(ApiError::bad_request(
            "the request has no action: it must be NDJSON, an action and a document on each two lines",
        ));
    }
    decoded.batch = builder.finish();
    Ok(decoded)
}

/// Reads a request that is one document.
///
/// # Errors
/// 413 when it is too large.
pub fn decode_one(
    bytes: &[u8],
    kind: Kind,
    index: &str,
    id: Option<String>,
    defaults: &Defaults<'_>,
    budget: usize,
) -> Result<Decoded, ApiError> {
    let mut builder = BatchBuilder::new(budget);
    let refusal = append(&mut builder, bytes.trim_ascii(), Some(index), defaults, &mut Object::default())?;
    let items = vec![Item { kind, index: 0, id, refusal }];
    Ok(Decoded { batch: builder.finish(), items, indices: vec![index.to_owned()] })
}

fn read_action<'a>(line: &'a [u8], number: u64, index: Option<&str>, decoded: &mut Decoded) -> Result<Read<'a>, ApiError> {
    let malformed = |reason: String| {
        ApiError::bad_request(format!("line {number} is not an action such as {{\"create\":{{\"_index\":\"logs\"}}}}: {reason}"))
    };
    let action: Action<'_> = serde_json::from_slice(line).map_err(|error| malformed(error.to_string()))?;
    let (kind, target) = match action {
        Action::Create(target) => (Kind::Create, target),
        Action::Index(target) => (Kind::Index, target),
        Action::Update(target) => (Kind::Update, target),
        Action::Delete(target) => (Kind::Delete, target),
    };
    let name = target.index.as_deref().or(index).filter(|name| !name.is_empty());
    if name.is_some_and(|name| name.len() > MAX_INDEX_BYTES) {
        return Err(malformed(format!("the name of the index is longer than {MAX_INDEX_BYTES} bytes")));
    }
    let id = match target.id.map(RawValue::get) {
        None | Some("null") => None,
        Some(text) if text.len() > MAX_ID_BYTES => return Err(malformed(format!("the id is longer than {MAX_ID_BYTES} bytes"))),
        Some(text) => Some(serde_json::from_str(text).unwrap_or_else(|_| text.to_owned())),
    };
    Ok(Read { line, kind, index: name.map(|name| decoded.index(name)), id })
}

fn unchanged(kind: Kind) -> Refusal {
    let reason = format!("`{}` is not taken: what is logged does not change; send `create` or `index`", kind.name());
    Refusal { status: 400, kind: "illegal_argument_exception", reason }
}

/// Appends a document, or says why not.
fn append<'a>(
    builder: &mut BatchBuilder,
    document: &'a [u8],
    index: Option<&str>,
    defaults: &Defaults<'_>,
    object: &mut Object<'a>,
) -> Result<Option<Refusal>, ApiError> {
    let refused = |status, kind, reason: String| Ok(Some(Refusal { status, kind, reason }));
    let Some(index) = index else {
        return refused(400, "illegal_argument_exception", "neither the action nor the path names an index".to_owned());
    };
    if document.len() > MAX_LINE_BYTES {
        return refused(413, "content_too_long_exception", format!("the document is longer than {MAX_LINE_BYTES} bytes"));
    }
    let unreadable = |reason: String| refused(400, "document_parsing_exception", reason);
    let Ok(text) = str::from_utf8(document) else { return unreadable("the document is not UTF-8".to_owned()) };
    if let Err(error) = object.read(text, Nested::Flat) {
        return unreadable(format!("the document is not a JSON object: {error}"));
    }
    let defaults = Defaults { service: defaults.service.or(Some(stem(index))), ..*defaults };
    match object_record::push(builder, object, meaning, &defaults, Some((INDEX, index))) {
        Ok(()) => Ok(None),
        Err(LineRefused::Reason(reason)) => unreadable(reason),
        Err(LineRefused::OverBudget(error)) => Err(ApiError::too_large(error.to_string())),
    }
}

/// Lines of a request, without their ends.
struct Lines<'a> {
    rest: &'a [u8],
    /// That of the last one, from 1.
    number: u64,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        self.number += 1;
        let (line, rest) = match memchr::memchr(b'\n', self.rest) {
            Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
            None => (self.rest, &[][..]),
        };
        self.rest = rest;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }

    fn next_not_blank(&mut self) -> Option<&'a [u8]> {
        loop {
            let line = self.next()?;
            if !line.trim_ascii().is_empty() {
                return Some(line);
            }
        }
    }
}
