//! Writes OTLP's protobuf. By hand, because it is little: six messages that are only ever written. The generated code and its runtime would
//! be most of what an application compiles because of this client.

/// A message that is being written. Field numbers are those of `opentelemetry-proto` 1.x.
#[derive(Debug, Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

impl Message {
    fn raw(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn key(&mut self, field: u64, kind: u64) {
        self.raw(field << 3 | kind);
    }

    /// Writes an integer, unless it is 0.
    pub(crate) fn varint(&mut self, field: u64, number: u64) {
        if number != 0 {
            self.always_varint(field, number);
        }
    }

    /// Writes an integer, also 0: within a `oneof` that is a value.
    pub(crate) fn always_varint(&mut self, field: u64, number: u64) {
        self.key(field, VARINT);
        self.raw(number);
    }

    /// Writes eight bytes, also of 0.
    pub(crate) fn fixed64(&mut self, field: u64, number: u64) {
        self.key(field, FIXED64);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    /// Writes four bytes, also of 0.
    pub(crate) fn fixed32(&mut self, field: u64, number: u32) {
        self.key(field, FIXED32);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    /// Writes a float, also 0.
    pub(crate) fn double(&mut self, field: u64, number: f64) {
        self.fixed64(field, number.to_bits());
    }

    /// Writes bytes or text, unless empty.
    pub(crate) fn bytes(&mut self, field: u64, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.always_bytes(field, bytes);
        }
    }

    /// Writes bytes or text, also empty ones: within a `oneof` that is a value.
    pub(crate) fn always_bytes(&mut self, field: u64, bytes: &[u8]) {
        self.key(field, BYTES);
        self.raw(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// Writes a message within this one.
    pub(crate) fn message(&mut self, field: u64, write: impl FnOnce(&mut Self)) {
        self.key(field, BYTES);
        let length_at = self.0.len();
        // Most are shorter than 128 bytes; a longer one is moved to make room for its length.
        self.0.push(0);
        let begin = self.0.len();
        write(self);
        let length = self.0.len() - begin;
        if length < 0x80 {
            self.0[length_at] = length as u8;
        } else {
            let mut prefix = Self::default();
            prefix.raw(length as u64);
            self.0.splice(length_at..begin, prefix.0);
        }
    }

    /// Writes packed eight-byte numbers, unless there are none.
    pub(crate) fn packed64(&mut self, field: u64, numbers: impl ExactSizeIterator<Item = u64>) {
        if numbers.len() > 0 {
            self.key(field, BYTES);
            self.raw(numbers.len() as u64 * 8);
            numbers.for_each(|number| self.0.extend_from_slice(&number.to_le_bytes()));
        }
    }
}

/// Returns how many records an answer says were refused, and why: `partial_success`, the same in answers about logs and metrics.
pub(crate) fn partial_success(answer: &[u8]) -> (u64, String) {
    let (mut rejected, mut reason) = (0, String::new());
    walk(answer, &mut |field, _, bytes| {
        if field == 1 {
            walk(bytes, &mut |field, number, bytes| match field {
                1 => rejected = number,
                2 => reason = String::from_utf8_lossy(&bytes[..bytes.len().min(500)]).into_owned(),
                _ => {}
            });
        }
    });
    (rejected, reason)
}

/// Calls `see` with number, integer and bytes of each field. What is no protobuf ends it.
fn walk(mut rest: &[u8], see: &mut dyn FnMut(u64, u64, &[u8])) {
    fn number(rest: &mut &[u8]) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (first, left) = rest.split_first()?;
            *rest = left;
            number |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
    let mut field = move || {
        let key = number(&mut rest)?;
        let length = match key & 7 {
            VARINT => {
                see(key >> 3, number(&mut rest)?, &[]);
                return Some(());
            }
            FIXED64 => 8,
            FIXED32 => 4,
            BYTES => usize::try_from(number(&mut rest)?).ok()?,
            _ => return None,
        };
        let (bytes, left) = rest.split_at_checked(length)?;
        rest = left;
        see(key >> 3, 0, bytes);
        Some(())
    };
    while field().is_some() {}
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    #[test]
    fn a_partial_success_is_read() {
        let partial = ExportLogsPartialSuccess { rejected_log_records: 300, error_message: "too old".into() };
        let answer = ExportLogsServiceResponse { partial_success: Some(partial) }.encode_to_vec();
        assert_eq!(partial_success(&answer), (300, "too old".to_owned()));
        assert_eq!(partial_success(&[]), (0, String::new()));
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(answer in proptest::collection::vec(any::<u8>(), 0..200)) {
            partial_success(&answer);
        }
    }
}
