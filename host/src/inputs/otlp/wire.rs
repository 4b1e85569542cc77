//! The protobuf wire format, as little of it as decoding OTLP needs: no objects, no copies, every length checked.
//!
//! Source: protobuf.dev, "Encoding". What this reader refuses, prost refuses too.

/// Why bytes are not protobuf, or not the message they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A length or a number goes past the end.
    #[error("the message ends in the middle of a field")]
    Truncated,
    /// A variable-length integer of more than 64 bits.
    #[error("a variable-length integer is too long")]
    Varint,
    /// A field number of zero, a reserved wire type, or an unmatched end of a group.
    #[error("a field key is not valid")]
    Key,
    /// A known field with the wire type of another.
    #[error("field {0} has the wrong wire type")]
    WireType(u32),
    /// A string that is not UTF-8.
    #[error("a string is not UTF-8")]
    Utf8,
    /// Messages inside messages beyond prost's limit of a hundred.
    #[error("messages are nested too deeply")]
    Depth,
}

/// How many more messages may be nested inside this one.
#[derive(Clone, Copy, Debug)]
pub struct Depth(u32);

impl Depth {
    /// The outermost message.
    pub const TOP: Self = Self(100);

    /// Returns the depth one message further in.
    pub fn enter(self) -> Result<Self, WireError> {
        self.0.checked_sub(1).map(Self).ok_or(WireError::Depth)
    }
}

/// One field: its number and its raw value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field<'a> {
    /// Field number.
    pub number: u32,
    value: Raw<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Raw<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
    Group,
}

impl<'a> Field<'a> {
    /// Returns the value of an integer, enum or boolean field.
    pub fn varint(self) -> Result<u64, WireError> {
        if let Raw::Varint(value) = self.value { Ok(value) } else { Err(WireError::WireType(self.number)) }
    }

    /// Returns the value of a `fixed64` field.
    pub fn fixed64(self) -> Result<u64, WireError> {
        if let Raw::Fixed64(value) = self.value { Ok(value) } else { Err(WireError::WireType(self.number)) }
    }

    /// Returns the value of a `fixed32` field.
    pub fn fixed32(self) -> Result<u32, WireError> {
        if let Raw::Fixed32(value) = self.value { Ok(value) } else { Err(WireError::WireType(self.number)) }
    }

    /// Returns the content of a `bytes` field or of an embedded message.
    pub fn bytes(self) -> Result<&'a [u8], WireError> {
        if let Raw::Bytes(value) = self.value { Ok(value) } else { Err(WireError::WireType(self.number)) }
    }

    /// Returns the value of a `string` field.
    pub fn text(self) -> Result<&'a str, WireError> {
        str::from_utf8(self.bytes()?).map_err(|_| WireError::Utf8)
    }
}

/// Reads the fields of one message, one after the other.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    depth: Depth,
}

impl<'a> Reader<'a> {
    /// Returns a reader of a message that lies at `depth`.
    pub fn new(bytes: &'a [u8], depth: Depth) -> Self {
        Self { bytes, depth }
    }

    /// Returns the next field; `None` at the end of the message.
    ///
    /// # Errors
    /// See [`WireError`]. The reader is then of no further use.
    #[expect(clippy::should_implement_trait, reason = "`?` reads better on a Result of an Option")]
    pub fn next(&mut self) -> Result<Option<Field<'a>>, WireError> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let (number, wire_type) = self.key()?;
        let value = match wire_type {
            0 => Raw::Varint(self.varint()?),
            1 => Raw::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| WireError::Truncated)?;
                Raw::Bytes(self.take(length)?)
            }
            3 => {
                self.skip_group(number, self.depth)?;
                Raw::Group
            }
            5 => Raw::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(WireError::Key),
        };
        Ok(Some(Field { number, value }))
    }

    fn key(&mut self) -> Result<(u32, u32), WireError> {
        let key = u32::try_from(self.varint()?).map_err(|_| WireError::Key)?;
        if key >> 3 == 0 { Err(WireError::Key) } else { Ok((key >> 3, key & 7)) }
    }

    fn varint(&mut self) -> Result<u64, WireError> {
        if let [first @ 0..0x80, rest @ ..] = self.bytes {
            self.bytes = rest;
            return Ok(u64::from(*first));
        }
        let mut value = 0_u64;
        for (index, byte) in self.bytes.iter().enumerate() {
            // The tenth byte has room for one bit.
            if index == 9 && *byte > 1 {
                return Err(WireError::Varint);
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.bytes = &self.bytes[index + 1..];
                return Ok(value);
            }
        }
        Err(WireError::Truncated)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(WireError::Truncated)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or(WireError::Truncated)?;
        self.bytes = rest;
        Ok(*taken)
    }

    /// Skips to the end of group `number`, whose start has been read.
    fn skip_group(&mut self, number: u32, depth: Depth) -> Result<(), WireError> {
        loop {
            let (inner, wire_type) = self.key()?;
            match wire_type {
                0 => drop(self.varint()?),
                1 => drop(self.take(8)?),
                2 => {
                    let length = usize::try_from(self.varint()?).map_err(|_| WireError::Truncated)?;
                    self.take(length)?;
                }
                3 => self.skip_group(inner, depth.enter()?)?,
                4 if inner == number => return Ok(()),
                5 => drop(self.take(4)?),
                _ => return Err(WireError::Key),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn first(bytes: &[u8]) -> Result<Option<Field<'_>>, WireError> {
        Reader::new(bytes, Depth::TOP).next()
    }

    #[test]
    fn each_wire_type_is_read() {
        assert_eq!(first(&[0x08, 0x96, 0x01]).unwrap().unwrap().varint(), Ok(150));
        assert_eq!(first(&[0x09, 1, 0, 0, 0, 0, 0, 0, 0]).unwrap().unwrap().fixed64(), Ok(1));
        assert_eq!(first(&[0x12, 2, b'h', b'i']).unwrap().unwrap().text(), Ok("hi"));
        assert_eq!(first(&[0x0d, 1, 0, 0, 0]).unwrap().unwrap().fixed32(), Ok(1));
        assert_eq!(first(&[]), Ok(None));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        assert_eq!(first(&[0x12, 3, b'h']), Err(WireError::Truncated));
        assert_eq!(first(&[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), Err(WireError::Truncated));
        assert_eq!(first(&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]), Err(WireError::Varint));
        assert_eq!(first(&[0x00]), Err(WireError::Key));
        assert_eq!(first(&[0x0f]), Err(WireError::Key));
        assert_eq!(first(&[0x0c]), Err(WireError::Key), "an end of a group that never began");
        assert_eq!(first(&[0x0a, 1, 0xff]).unwrap().unwrap().text(), Err(WireError::Utf8));
        assert_eq!(first(&[0x08, 1]).unwrap().unwrap().bytes(), Err(WireError::WireType(1)));
    }

    #[test]
    fn an_unknown_group_is_skipped_with_all_it_holds() {
        let bytes = [0x53, 0x08, 0x01, 0x1b, 0x1c, 0x54, 0x08, 7];
        let mut reader = Reader::new(&bytes, Depth::TOP);
        assert!(reader.next().unwrap().unwrap().varint().is_err());
        assert_eq!(reader.next().unwrap().unwrap().varint(), Ok(7));
        assert_eq!(first(&vec![0x0b; 1000]), Err(WireError::Depth));
    }

    proptest! {
        #[test]
        fn reading_any_bytes_ends(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes, Depth::TOP);
            while let Ok(Some(_)) = reader.next() {}
        }
    }
}
