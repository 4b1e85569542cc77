//! Builds a [`LogBatch`] from decoded records without hashing what neighbours share, and within a bound of memory.

use std::hash::Hasher;

use rustc_hash::{FxHashMap, FxHasher};
use watchfire_types::attributes::keys;
use watchfire_types::log::RecordHead;
use watchfire_types::{Attributes, LogBatch, LogRecord, Value, ValueRef};

/// What one dictionary entry or one resource takes in memory beside its text, in bytes, roughly.
const ENTRY_BYTES: usize = 128;

/// The records would take more memory than a request may: a few bytes on the wire can say "a million empty records".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the records take more than {budget} bytes of memory; send fewer at a time")]
pub struct OverBudget {
    /// The bound.
    pub budget: usize,
}

/// Builds a batch record by record.
#[derive(Debug)]
pub struct BatchBuilder {
    batch: LogBatch,
    budget: usize,
    /// Bytes that `LogBatch::size_bytes` does not see.
    extra_bytes: usize,
    /// Hash of a resource to its index.
    resources: FxHashMap<u64, u32>,
    /// Hash of service and host to the resource that has these, and the last one that was asked for.
    named: FxHashMap<u64, u32>,
    last_named: Option<u32>,
    /// Key at each attribute position of the last record that had one there.
    previous_keys: Vec<u32>,
    position: usize,
    /// For each key, the last record that has it, counted from 1: tells a repeated key without a search.
    last_use: Vec<u32>,
    /// What [`Self::text_resource`] was last asked for, and its answer.
    last_texts: ([Named<String>; 3], Option<u32>),
}

/// An attribute that is a text, if it is there.
type Named<T> = Option<(&'static str, T)>;

impl BatchBuilder {
    /// Returns an empty builder of at most about `budget` bytes.
    #[must_use]
    pub fn new(budget: usize) -> Self {
        Self {
            batch: LogBatch::default(),
            budget,
            extra_bytes: 0,
            resources: FxHashMap::default(),
            named: FxHashMap::default(),
            last_named: None,
            previous_keys: Vec::new(),
            position: 0,
            last_use: Vec::new(),
            last_texts: ([const { None }; 3], None),
        }
    }

    /// Returns the index of a resource with these attributes; of two with one key the first is kept.
    pub fn resource(&mut self, mut attributes: Attributes) -> u32 {
        keep_first(&mut attributes, |(key, _)| key.as_str());
        let hash = hash(&attributes);
        if let Some(index) = self.resources.get(&hash)
            && self.batch.resources[*index as usize] == attributes
        {
            return *index;
        }
        let index = self.batch.resources.len() as u32;
        self.extra_bytes += ENTRY_BYTES + attributes.len() * ENTRY_BYTES;
        self.batch.resources.push(attributes);
        self.resources.insert(hash, index);
        index
    }

    /// Returns the index of a resource with these texts as its attributes. Neighbours mostly share it: then nothing is allocated.
    pub fn text_resource(&mut self, names: [Option<(&'static str, &str)>; 3]) -> u32 {
        let same = |(last, asked): (&Named<String>, &Named<&str>)| match (last, asked) {
            (Some((key, text)), Some((asked, value))) => key == asked && text == value,
            (None, None) => true,
            _ => false,
        };
        if let (last, Some(index)) = &self.last_texts
            && last.iter().zip(&names).all(same)
        {
            return *index;
        }
        let attributes = names.iter().flatten().map(|(key, text)| ((*key).to_owned(), (*text).into())).collect();
        let index = self.resource(attributes);
        self.last_texts = (names.map(|name| name.map(|(key, text)| (key, text.to_owned()))), Some(index));
        index
    }

    /// Returns the index of a resource with this service, this host and `more`: without allocating if it was asked for before.
    pub fn named_resource(&mut self, service: Option<&str>, host: Option<&str>, more: &[(String, Value)]) -> u32 {
        if let Some(index) = self.last_named
            && is_named(&self.batch.resources[index as usize], service, host, more)
        {
            return index;
        }
        let mut hasher = FxHasher::default();
        for name in [service, host].into_iter().flatten() {
            hasher.write(name.as_bytes());
            hasher.write_u8(0xff);
        }
        hasher.write_u8(u8::from(service.is_some()));
        let hash = hasher.finish();
        let index = match self.named.get(&hash) {
            Some(index) if is_named(&self.batch.resources[*index as usize], service, host, more) => *index,
            _ => {
                let named = [(keys::SERVICE_NAME, service), (keys::HOST_NAME, host)];
                let named = named.into_iter().filter_map(|(key, name)| Some((key.to_owned(), name?.into())));
                let index = self.resource(named.chain(more.iter().cloned()).collect());
                self.named.insert(hash, index);
                index
            }
        };
        self.last_named = Some(index);
        index
    }

    /// Appends a record. Its attributes follow.
    ///
    /// # Errors
    /// [`OverBudget`] when the batch has grown too large.
    pub fn push(&mut self, head: &RecordHead<'_>, body: ValueRef<'_>) -> Result<(), OverBudget> {
        let size = self.batch.size_bytes() + self.batch.dict.strings().len() * ENTRY_BYTES + self.extra_bytes;
        if size > self.budget {
            return Err(OverBudget { budget: self.budget });
        }
        self.batch.push(head, body);
        self.position = 0;
        Ok(())
    }

    /// Adds an attribute to the last record. A key that it has already is kept as it was.
    pub fn attribute(&mut self, key: &str, value: ValueRef<'_>) {
        let index = match self.previous_keys.get(self.position) {
            Some(index) if self.batch.dict.get(*index) == key => *index,
            _ => {
                let index = self.batch.dict.intern(key);
                if self.position < self.previous_keys.len() {
                    self.previous_keys[self.position] = index;
                } else {
                    self.previous_keys.push(index);
                }
                index
            }
        };
        self.position += 1;
        let row = self.batch.len() as u32;
        if self.last_use.len() <= index as usize {
            self.last_use.resize(index as usize + 1, 0);
        }
        if std::mem::replace(&mut self.last_use[index as usize], row) != row {
            self.batch.attribute_at(index, value);
        }
    }

    /// Appends a whole record, `seq` aside.
    ///
    /// # Errors
    /// [`OverBudget`] when the batch has grown too large.
    pub fn push_record(&mut self, mut record: LogRecord) -> Result<(), OverBudget> {
        let resource = self.resource(std::mem::take(&mut record.resource));
        self.push(&record.head(resource), record.body.as_ref())?;
        for (key, value) in &record.attributes {
            self.attribute(key, value.as_ref());
        }
        Ok(())
    }

    /// Returns the number of records so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batch.len()
    }

    /// Returns whether there is no record yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Returns the batch.
    #[must_use]
    pub fn finish(self) -> LogBatch {
        self.batch
    }
}

/// Returns whether a resource is what [`BatchBuilder::named_resource`] makes of these.
fn is_named(resource: &Attributes, service: Option<&str>, host: Option<&str>, more: &[(String, Value)]) -> bool {
    let mut rest = resource.as_slice();
    for (key, name) in [(keys::SERVICE_NAME, service), (keys::HOST_NAME, host)] {
        let Some(name) = name else { continue };
        match rest.split_first() {
            Some(((found, Value::Text(text)), after)) if found == key && text == name => rest = after,
            _ => return false,
        }
    }
    rest == more
}

/// Removes every item whose key came before. Linear for the few keys that records have, and never quadratic.
pub fn keep_first<T>(items: &mut Vec<T>, key: impl Fn(&T) -> &str) {
    if items.len() <= 32 {
        let mut index = 1;
        while index < items.len() {
            if items[..index].iter().any(|earlier| key(earlier) == key(&items[index])) {
                items.remove(index);
            } else {
                index += 1;
            }
        }
        return;
    }
    let mut seen = std::collections::HashSet::with_capacity(items.len());
    let keep: Vec<bool> = items.iter().map(|item| seen.insert(key(item))).collect();
    let mut keep = keep.into_iter();
    items.retain(|_| keep.next().unwrap_or(true));
}

fn hash(attributes: &Attributes) -> u64 {
    let mut hasher = FxHasher::default();
    for (key, value) in attributes {
        hasher.write(key.as_bytes());
        match value {
            Value::Null => hasher.write_u8(0),
            Value::Text(text) | Value::Json(text) => hasher.write(text.as_bytes()),
            Value::Bool(value) => hasher.write_u8(u8::from(*value)),
            Value::Int(value) => hasher.write_i64(*value),
            // Adding zero makes both zeros one, as `==` does.
            Value::Float(value) => hasher.write_u64((value + 0.0).to_bits()),
            Value::Bytes(bytes) => hasher.write(bytes),
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_builder_gives_what_the_plain_batch_gives() {
        let mut plain = LogBatch::default();
        let mut builder = BatchBuilder::new(usize::MAX);
        for row in 0..50_i64 {
            let resource = vec![("service.name".to_owned(), Value::Int(row % 3))];
            let head =
                |resource| RecordHead { resource, severity_text: ["INFO", "WARN"][(row % 2) as usize], ..RecordHead::default() };
            let index = plain.resource(resource.clone());
            plain.push(&head(index), ValueRef::Int(row));
            let index = builder.resource(resource);
            builder.push(&head(index), ValueRef::Int(row)).unwrap();
            for key in ["a", "b", if row % 5 == 0 { "a" } else { "c" }, "d"] {
                plain.attribute(key, ValueRef::Int(row));
                builder.attribute(key, ValueRef::Int(row));
            }
        }
        assert_eq!(builder.finish(), plain);
    }

    #[test]
    fn a_named_resource_is_the_one_that_it_would_be_otherwise() {
        let more = [("log.file.path".to_owned(), Value::from("/a"))];
        let mut builder = BatchBuilder::new(usize::MAX);
        let names =
            [(Some("a"), Some("h")), (Some("b"), None), (None, Some("h")), (None, None), (Some("h"), None), (Some("a"), Some("h"))];
        let indices: Vec<u32> = names.iter().map(|(service, host)| builder.named_resource(*service, *host, &more)).collect();
        assert_eq!(indices, [0, 1, 2, 3, 4, 0]);
        assert_eq!(builder.named_resource(Some("a"), Some("h"), &[]), 5);
        let whole = vec![("service.name".to_owned(), "a".into()), ("host.name".to_owned(), "h".into()), more[0].clone()];
        assert_eq!(builder.resource(whole), 0);
    }

    #[test]
    fn of_two_equal_keys_the_first_is_kept() {
        for count in [3, 100] {
            let mut items: Vec<(String, usize)> = (0..count).map(|index| (format!("k{}", index % (count - 1)), index)).collect();
            keep_first(&mut items, |(key, _)| key);
            assert_eq!(items.len(), count - 1);
            assert_eq!(items[0].1, 0);
        }
    }

    #[test]
    fn a_million_empty_records_do_not_fit_into_a_small_budget() {
        let mut builder = BatchBuilder::new(10_000);
        let refused = (0..1_000_000).find(|_| builder.push(&RecordHead::default(), ValueRef::Null).is_err());
        assert!(refused.is_some_and(|count| count < 200));
    }
}
