//! The columns that a batch is made of: text end to end, values of any kind, strings that repeat.

use std::collections::HashMap;

use crate::attributes::ValueRef;

/// Strings end to end: row `i` is `bytes[offsets[i]..offsets[i + 1]]`. UTF-8 but for values of kind `Bytes`.
#[derive(Clone, Debug, PartialEq)]
pub struct TextColumn {
    /// One entry more than rows; the first is 0.
    pub offsets: Vec<u32>,
    /// All rows, one after the other.
    pub bytes: Vec<u8>,
}

impl Default for TextColumn {
    fn default() -> Self {
        Self { offsets: vec![0], bytes: Vec::new() }
    }
}

impl TextColumn {
    /// Returns the number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Returns whether it has no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns row `row`.
    #[must_use]
    pub fn get(&self, row: usize) -> &[u8] {
        &self.bytes[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }

    /// Appends a row.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.offsets.push(self.bytes.len() as u32);
    }

    /// Returns the row that holds byte `position` of `bytes`.
    #[must_use]
    pub fn row_at(&self, position: usize) -> usize {
        self.offsets.partition_point(|offset| *offset as usize <= position) - 1
    }
}

/// Values of any kind: the kind of each row beside its bytes.
///
/// Kinds are those of the plugin interface: 0 none, 1 text, 2 boolean, 3 integer, 4 float, 5 bytes, 6 JSON. Booleans, integers
/// and floats are kept as text, the shortest that reads back equal, so that a search sees what a person would type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ValueColumn {
    /// One per row.
    pub kind: Vec<u8>,
    /// The text of each row; raw bytes for kind 5.
    pub data: TextColumn,
}

impl ValueColumn {
    /// Appends a row.
    pub fn push(&mut self, value: ValueRef<'_>) {
        let (kind, bytes): (u8, &[u8]) = match value {
            ValueRef::Null => (0, b""),
            ValueRef::Text(text) => (1, text.as_bytes()),
            ValueRef::Bool(true) => (2, b"true"),
            ValueRef::Bool(false) => (2, b"false"),
            ValueRef::Bytes(bytes) => (5, bytes),
            ValueRef::Json(json) => (6, json.as_bytes()),
            ValueRef::Int(_) | ValueRef::Float(_) => {
                use std::io::Write as _;
                let kind = match value {
                    ValueRef::Int(number) => write!(self.data.bytes, "{number}").map(|()| 3),
                    ValueRef::Float(number) => write!(self.data.bytes, "{number}").map(|()| 4),
                    _ => Ok(0),
                };
                self.kind.push(kind.unwrap_or(0));
                self.data.offsets.push(self.data.bytes.len() as u32);
                return;
            }
        };
        self.kind.push(kind);
        self.data.push(bytes);
    }

    /// Appends a row as it lies in another column.
    pub fn push_raw(&mut self, kind: u8, bytes: &[u8]) {
        self.kind.push(kind);
        self.data.push(bytes);
    }

    /// Appends all rows of `other`.
    pub fn append_all(&mut self, other: &Self) {
        let before = self.data.bytes.len() as u32;
        self.kind.extend_from_slice(&other.kind);
        self.data.offsets.extend(other.data.offsets[1..].iter().map(|offset| before + offset));
        self.data.bytes.extend_from_slice(&other.data.bytes);
    }

    /// Returns row `row`. A row that does not say what its kind promises is read as text, or as bytes if it is not UTF-8.
    #[must_use]
    pub fn get(&self, row: usize) -> ValueRef<'_> {
        let bytes = self.data.get(row);
        let Ok(text) = str::from_utf8(bytes) else { return ValueRef::Bytes(bytes) };
        match self.kind[row] {
            0 => ValueRef::Null,
            2 => ValueRef::Bool(text == "true"),
            3 => text.parse().map_or(ValueRef::Text(text), ValueRef::Int),
            4 => text.parse().map_or(ValueRef::Text(text), ValueRef::Float),
            5 => ValueRef::Bytes(bytes),
            6 => ValueRef::Json(text),
            _ => ValueRef::Text(text),
        }
    }
}

/// Short strings that repeat, each kept once. Index 0 is the empty string.
#[derive(Clone, Debug)]
pub struct Dictionary {
    strings: Vec<String>,
    index: HashMap<String, u32>,
}

impl Default for Dictionary {
    fn default() -> Self {
        Self { strings: vec![String::new()], index: HashMap::from([(String::new(), 0)]) }
    }
}

impl PartialEq for Dictionary {
    fn eq(&self, other: &Self) -> bool {
        self.strings == other.strings
    }
}

impl Dictionary {
    /// Returns the index of `text`, adding it if it is new.
    pub fn intern(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        if let Some(index) = self.index.get(text) {
            return *index;
        }
        let index = self.strings.len() as u32;
        self.strings.push(text.to_owned());
        self.index.insert(text.to_owned(), index);
        index
    }

    /// Returns the index of `text`, if it is there.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<u32> {
        self.index.get(text).copied()
    }

    /// Returns the string at `index`; empty if there is none.
    #[must_use]
    pub fn get(&self, index: u32) -> &str {
        self.strings.get(index as usize).map_or("", String::as_str)
    }

    /// Returns all strings, the empty one first.
    #[must_use]
    pub fn strings(&self) -> &[String] {
        &self.strings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_in_the_bytes_finds_its_row() {
        let mut column = TextColumn::default();
        for text in ["ab", "", "c"] {
            column.push(text.as_bytes());
        }
        assert_eq!([0, 1, 2].map(|position| column.row_at(position)), [0, 0, 2]);
    }
}
