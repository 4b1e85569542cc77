//! Numbers and texts in the sections of blocks and summaries: LEB128 varints, signed ones zigzag-coded first.

/// What is read ends too early, or says a number that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut;

pub(super) fn put(buffer: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        buffer.push(number as u8 | 0x80);
        number >>= 7;
    }
    buffer.push(number as u8);
}

pub(super) fn put_signed(buffer: &mut Vec<u8>, number: i64) {
    put(buffer, ((number << 1) ^ (number >> 63)) as u64);
}

pub(super) fn put_bytes(buffer: &mut Vec<u8>, bytes: &[u8]) {
    put(buffer, bytes.len() as u64);
    buffer.extend_from_slice(bytes);
}

/// What is left of a section.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn byte(&mut self) -> Result<u8, Cut> {
        let (first, rest) = self.0.split_first().ok_or(Cut)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn number(&mut self) -> Result<u64, Cut> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Cut)
    }

    pub(super) fn signed(&mut self) -> Result<i64, Cut> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Cut> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Cut)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Cut> {
        let count = self.number()? as usize;
        self.take(count)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Cut> {
        str::from_utf8(self.bytes()?).map_err(|_| Cut)
    }

    /// A count of things that take at least one byte each.
    pub(super) fn count(&mut self) -> Result<usize, Cut> {
        let count = self.number()? as usize;
        if count > self.0.len() { Err(Cut) } else { Ok(count) }
    }

    /// A count of which there are at most `most`.
    pub(super) fn count_of(&mut self, most: usize) -> Result<usize, Cut> {
        let count = self.number()? as usize;
        if count > most { Err(Cut) } else { Ok(count) }
    }
}
