//! The elements of one message, or of the pattern that stands for many.

use crate::bytes::{SEED, hash, then};
use crate::chunk::MAX_WORD;
use crate::scan::{MAX_NAMES, Sink};

/// What stands in a template where values differ.
pub const HOLE: &str = "<*>";
/// What a hole is hashed as.
pub(crate) const HOLE_CODE: u64 = 0xa409_3822_299f_31d0;

/// What an element is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A word that belongs to the pattern.
    Word = 0,
    /// One byte of punctuation.
    Mark = 1,
    /// A value, in which no blank stands.
    Hole = 2,
    /// Any number of words and values, even none.
    Many = 3,
}

impl Kind {
    pub(crate) fn is_hole(self) -> bool {
        matches!(self, Self::Hole | Self::Many)
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Word, Self::Mark, Self::Hole, Self::Many].get(usize::from(byte)).copied()
    }
}

/// One element. Its text lies in the [`Shape`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) at: u16,
    pub(crate) len: u16,
    pub(crate) kind: Kind,
    /// Whether a blank stands before it.
    pub(crate) space: bool,
}

/// A sequence of elements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    text: Vec<u8>,
    tokens: Vec<Token>,
}

impl Shape {
    pub(crate) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    pub(crate) fn text(&self, token: Token) -> &[u8] {
        let at = usize::from(token.at);
        &self.text[at..at + usize::from(token.len)]
    }

    /// Appends an element; two holes without a blank between them are one. Returns whether there was room.
    pub(crate) fn push(&mut self, kind: Kind, space: bool, text: &[u8]) {
        if let Some(last) = self.tokens.last_mut()
            && last.kind.is_hole()
            && kind.is_hole()
            && (!space || last.kind == Kind::Many || kind == Kind::Many)
        {
            if space || kind == Kind::Many {
                last.kind = Kind::Many;
            }
            return;
        }
        let text = if kind.is_hole() { &[][..] } else { text };
        // At most 256 elements of at most 64 bytes: offsets have room.
        debug_assert!(text.len() <= MAX_WORD.max(16));
        let (Ok(at), Ok(len)) = (u16::try_from(self.text.len()), u16::try_from(text.len())) else { return };
        self.text.extend_from_slice(text);
        self.tokens.push(Token { at, len, kind, space });
    }

    /// Gives back memory that is not needed.
    pub(crate) fn shrink(&mut self) {
        self.text.shrink_to_fit();
        self.tokens.shrink_to_fit();
    }

    /// Returns what each element is compared and hashed by.
    pub(crate) fn codes(&self) -> Vec<u64> {
        self.tokens.iter().map(|token| code(token.kind, self.text(*token))).collect()
    }

    /// Returns it as text, holes as `<*>`.
    pub(crate) fn render(&self) -> String {
        let mut out = Vec::with_capacity(self.text.len() + 2 * self.tokens.len());
        for (index, token) in self.tokens.iter().enumerate() {
            if token.space && index > 0 {
                out.push(b' ');
            }
            out.extend_from_slice(if token.kind.is_hole() { HOLE.as_bytes() } else { self.text(*token) });
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Returns how many words it has that have a letter.
    pub(crate) fn words(&self) -> usize {
        self.tokens.iter().copied().filter(|token| is_telling(token.kind, self.text(*token))).count()
    }

    /// Appends it to `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.tokens.len() as u16).to_le_bytes());
        for token in &self.tokens {
            out.push(token.kind as u8 | u8::from(token.space) << 4);
            if !token.kind.is_hole() {
                out.push(token.len as u8);
                out.extend_from_slice(self.text(*token));
            }
        }
    }

    /// Reads one from the beginning of `bytes`, which is moved behind it.
    pub(crate) fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let mut shape = Self::default();
        let count = u16::from_le_bytes(*take::<2>(bytes)?);
        for _ in 0..count {
            let [head] = *take::<1>(bytes)?;
            let kind = Kind::from_byte(head & 0xf)?;
            let mut text = &[][..];
            if !kind.is_hole() {
                let [len] = *take::<1>(bytes)?;
                let (word, rest) = bytes.split_at_checked(usize::from(len).min(MAX_WORD))?;
                (text, *bytes) = (word, rest);
            }
            shape.push(kind, head & 0x10 != 0, text);
        }
        shape.shrink();
        Some(shape)
    }
}

/// Takes `N` bytes from the front of `bytes`.
pub(crate) fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(first)
}

fn code(kind: Kind, text: &[u8]) -> u64 {
    match kind {
        Kind::Word => hash(text),
        Kind::Mark => mark_code(text[0]),
        Kind::Hole | Kind::Many => HOLE_CODE,
    }
}

pub(crate) fn mark_code(byte: u8) -> u64 {
    u64::from(byte) + 1
}

/// Returns whether an element says what happened: a word of at least two letters that is not just grammar.
pub(crate) fn is_telling(kind: Kind, text: &[u8]) -> bool {
    const GRAMMAR: [&[u8]; 22] = [
        b"to", b"of", b"for", b"in", b"on", b"at", b"by", b"with", b"from", b"is", b"are", b"was", b"be", b"the", b"an", b"and",
        b"or", b"as", b"it", b"has", b"been", b"this",
    ];
    kind == Kind::Word
        && text.len() > 1
        && (text.iter().any(u8::is_ascii_alphabetic) || !text.is_ascii())
        && !text.iter().any(u8::is_ascii_digit)
        && !(text.len() <= 4 && GRAMMAR.contains(&text))
}

/// Hashes the elements of a message as they come.
pub(crate) struct Signature {
    pub(crate) hash: u64,
    taken: usize,
    hole_end: usize,
    names: u8,
}

impl Signature {
    pub(crate) fn new() -> Self {
        Self { hash: SEED, taken: 0, hole_end: usize::MAX, names: 0 }
    }
}

impl Sink for Signature {
    #[inline]
    fn word(&mut self, text: &[u8], start: usize, end: usize) {
        let word = &text[start..end];
        self.hash = then(self.hash, hash(&word[..word.len().min(MAX_WORD)]));
        self.taken += 1;
    }

    #[inline]
    fn name(&mut self, text: &[u8], start: usize, end: usize) {
        self.names += 1;
        if self.names <= MAX_NAMES {
            self.word(text, start, end);
        } else {
            self.names -= 1;
            self.hole(text, start, end);
        }
    }

    #[inline]
    fn hole(&mut self, _text: &[u8], start: usize, end: usize) {
        // Directly behind another one it is the same.
        if self.hole_end != start {
            self.hash = then(self.hash, HOLE_CODE);
            self.taken += 1;
        }
        self.hole_end = end;
    }

    #[inline]
    fn mark(&mut self, text: &[u8], at: usize) {
        self.hash = then(self.hash, mark_code(text[at]));
        self.taken += 1;
    }

    #[inline]
    fn taken(&self) -> usize {
        self.taken
    }
}

/// Collects the elements of a message.
#[derive(Default)]
pub(crate) struct Collect {
    pub(crate) shape: Shape,
    /// Where each element stands in the text.
    pub(crate) spans: Vec<(usize, usize)>,
    end: usize,
    names: u8,
}

impl Collect {
    fn push(&mut self, kind: Kind, start: usize, end: usize, text: &[u8]) {
        let space = start != self.end;
        let before = self.shape.tokens().len();
        self.shape.push(kind, space, text);
        if self.shape.tokens().len() == before {
            if let Some(last) = self.spans.last_mut() {
                last.1 = end;
            }
        } else {
            self.spans.push((start, end));
        }
        self.end = end;
    }
}

impl Sink for Collect {
    fn word(&mut self, text: &[u8], start: usize, end: usize) {
        let word = &text[start..end];
        self.push(Kind::Word, start, end, &word[..word.len().min(MAX_WORD)]);
    }

    fn name(&mut self, text: &[u8], start: usize, end: usize) {
        self.names += 1;
        if self.names <= MAX_NAMES {
            self.word(text, start, end);
        } else {
            self.names -= 1;
            self.hole(text, start, end);
        }
    }

    fn hole(&mut self, _text: &[u8], start: usize, end: usize) {
        self.push(Kind::Hole, start, end, &[]);
    }

    fn mark(&mut self, text: &[u8], at: usize) {
        self.push(Kind::Mark, at, at + 1, &text[at..=at]);
    }

    fn taken(&self) -> usize {
        self.shape.tokens().len()
    }
}
