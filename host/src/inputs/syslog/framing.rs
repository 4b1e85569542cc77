//! Where one message ends and the next begins.
//!
//! In a stream there are two ways (RFC 6587), and a sender may use either for each message: its length before it (octet counting), or
//! a newline after it. A datagram is one message by RFC 5426, but some senders put several into it.

use std::ops::Range;

/// More digits than this are not a length.
const MAX_LENGTH_DIGITS: usize = 9;

/// What the bytes at hand begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A message, where it lies; the next thing begins after `consumed` bytes. It was longer than allowed, or cut off, if `is_cut`.
    Message { bytes: Range<usize>, consumed: usize, is_cut: bool },
    /// So many bytes are no message.
    Skip(usize),
    /// More bytes are needed to tell.
    More,
}

/// Finds messages in a stream, however it is split into pieces.
#[derive(Clone, Debug)]
pub struct Framing {
    max_message_bytes: usize,
    skipping: Skipping,
}

/// What is left of a message that was too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skipping {
    Nothing,
    Octets(usize),
    Line,
}

/// How the message at hand is delimited.
enum Frame {
    /// Its length, and how many bytes say it.
    Counted {
        header: usize,
        length: usize,
    },
    Line,
    /// Too few bytes to tell.
    Unknown,
}

impl Framing {
    /// Returns one at the beginning of a stream; what is longer than `max_message_bytes` is cut there.
    #[must_use]
    pub fn new(max_message_bytes: usize) -> Self {
        Self { max_message_bytes, skipping: Skipping::Nothing }
    }

    /// Returns what `bytes` begin with. Those that it consumes or skips must not be given again.
    pub fn next(&mut self, bytes: &[u8]) -> Step {
        if bytes.is_empty() {
            return Step::More;
        }
        match self.skipping {
            Skipping::Nothing => {}
            Skipping::Octets(left) => {
                let skipped = left.min(bytes.len());
                self.skipping = if skipped == left { Skipping::Nothing } else { Skipping::Octets(left - skipped) };
                return Step::Skip(skipped);
            }
            Skipping::Line => {
                let Some(end) = delimiter(bytes) else { return Step::Skip(bytes.len()) };
                self.skipping = Skipping::Nothing;
                return Step::Skip(end + 1);
            }
        }
        let blank = bytes.iter().take_while(|byte| matches!(byte, b'\n' | b'\r' | b'\0')).count();
        if blank > 0 {
            return Step::Skip(blank);
        }
        match frame(bytes) {
            Frame::Unknown => Step::More,
            Frame::Counted { header, length } => self.counted(bytes, header, length),
            Frame::Line => self.line(bytes),
        }
    }

    fn counted(&mut self, bytes: &[u8], header: usize, length: usize) -> Step {
        let kept = length.min(self.max_message_bytes);
        if bytes.len() < header + kept {
            return Step::More;
        }
        let is_cut = kept < length;
        if is_cut {
            self.skipping = Skipping::Octets(length - kept);
        }
        Step::Message { bytes: trimmed(bytes, header..header + kept), consumed: header + kept, is_cut }
    }

    fn line(&mut self, bytes: &[u8]) -> Step {
        let max = self.max_message_bytes;
        match delimiter(&bytes[..bytes.len().min(max + 1)]) {
            Some(end) => Step::Message { bytes: trimmed(bytes, 0..end), consumed: end + 1, is_cut: false },
            None if bytes.len() <= max => Step::More,
            None => {
                self.skipping = Skipping::Line;
                Step::Message { bytes: trimmed(bytes, 0..max), consumed: max, is_cut: true }
            }
        }
    }

    /// Returns the message that the stream ended in, given the bytes that were not consumed, and whether a part of it is missing.
    #[must_use]
    pub fn finish(&self, bytes: &[u8]) -> Option<(Range<usize>, bool)> {
        if self.skipping != Skipping::Nothing {
            return None;
        }
        let (start, is_cut) = match frame(bytes) {
            Frame::Counted { header, .. } => (header, true),
            _ => (0, false),
        };
        let range = trimmed(bytes, start..bytes.len());
        (!range.is_empty()).then_some((range, is_cut))
    }
}

/// A length is believed only before what must be a priority: text without a priority may begin with a number, too.
fn frame(bytes: &[u8]) -> Frame {
    let digits = bytes.iter().take(MAX_LENGTH_DIGITS + 1).take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || digits > MAX_LENGTH_DIGITS || bytes[0] == b'0' {
        return Frame::Line;
    }
    match &bytes[digits..] {
        [b' ', b'<', digit, ..] if digit.is_ascii_digit() => {
            let length = bytes[..digits].iter().fold(0, |length, digit| length * 10 + usize::from(digit - b'0'));
            Frame::Counted { header: digits + 1, length }
        }
        [] | [b' '] | [b' ', b'<'] => Frame::Unknown,
        _ => Frame::Line,
    }
}

/// Returns where the first newline is. Python's handler ends messages with a zero byte instead, in a stream, too.
fn delimiter(bytes: &[u8]) -> Option<usize> {
    memchr::memchr2(b'\n', b'\0', bytes)
}

/// Returns `range` without line ends and zero bytes at its end.
fn trimmed(bytes: &[u8], range: Range<usize>) -> Range<usize> {
    let end = bytes[range.clone()].iter().rposition(|byte| !matches!(byte, b'\n' | b'\r' | b'\0'));
    range.start..end.map_or(range.start, |last| range.start + last + 1)
}

/// Calls `take` with each message of a datagram, and whether it was cut at `max_message_bytes`.
///
/// One that begins with a priority may have several lines of its own (a stack trace): there a new message begins only where a line
/// begins with a priority. Without a priority each line is one.
pub fn datagram<'a>(bytes: &'a [u8], max_message_bytes: usize, take: &mut dyn FnMut(&'a [u8], bool)) {
    let mut emit = |message: &'a [u8]| {
        // A length has no place in a datagram, but is sent there by mistake.
        let start = if let Frame::Counted { header, .. } = frame(message) { header } else { 0 };
        let message = &message[trimmed(message, start..message.len())];
        if !message.is_empty() {
            take(&message[..message.len().min(max_message_bytes)], message.len() > max_message_bytes);
        }
    };
    let mut start = bytes.iter().take_while(|byte| matches!(byte, b'\n' | b'\r' | b'\0')).count();
    let mut has_priority = begins_message(&bytes[start..]);
    let mut from = start;
    while let Some(position) = delimiter(&bytes[from..]) {
        let next = from + position + 1;
        let begins = begins_message(&bytes[next..]);
        if begins || !has_priority {
            emit(&bytes[start..next]);
            (start, has_priority) = (next, begins);
        }
        from = next;
    }
    emit(&bytes[start..]);
}

/// Returns whether `bytes` begin with a priority, or with a length and a priority.
fn begins_message(bytes: &[u8]) -> bool {
    let message = if let Frame::Counted { header, .. } = frame(bytes) { &bytes[header..] } else { bytes };
    let Some(rest) = message.strip_prefix(b"<") else { return false };
    let digits = rest.iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
    (1..=3).contains(&digits) && rest.get(digits) == Some(&b'>')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds `pieces` one after the other, as a connection does.
    fn read(pieces: &[&[u8]], max: usize) -> Vec<(String, bool)> {
        let mut framing = Framing::new(max);
        let (mut buffer, mut messages) = (Vec::new(), Vec::new());
        for piece in pieces {
            buffer.extend_from_slice(piece);
            loop {
                match framing.next(&buffer) {
                    Step::More => break,
                    Step::Skip(count) => drop(buffer.drain(..count)),
                    Step::Message { bytes, consumed, is_cut } => {
                        messages.push((String::from_utf8_lossy(&buffer[bytes]).into_owned(), is_cut));
                        buffer.drain(..consumed);
                    }
                }
            }
        }
        let last = framing.finish(&buffer).map(|(range, is_cut)| (String::from_utf8_lossy(&buffer[range]).into_owned(), is_cut));
        messages.into_iter().chain(last).collect()
    }

    fn texts(stream: &str, max: usize) -> Vec<String> {
        let mark = |(text, is_cut): (String, bool)| if is_cut { text + "…" } else { text };
        read(&[stream.as_bytes()], max).into_iter().map(mark).collect()
    }

    #[test]
    fn both_ways_may_be_mixed() {
        let stream = "<1>a\n5 <2>b\n6 <3>c\nd<4>e\r\n\n<5>f\0<6>g";
        assert_eq!(texts(stream, 100), ["<1>a", "<2>b", "<3>c\nd", "<4>e", "<5>f", "<6>g"]);
    }

    #[test]
    fn a_number_is_a_length_only_before_a_priority() {
        assert_eq!(
            texts("5 apples\n0 <1>x\n12345678901 <1>y\n7 <b>z\n", 100),
            ["5 apples", "0 <1>x", "12345678901 <1>y", "7 <b>z"]
        );
    }

    #[test]
    fn what_is_too_long_is_cut_and_the_next_is_whole() {
        assert_eq!(texts("<1>0123456789\n<2>a\n15 <3>0123456789ab<4>b\n", 6), ["<1>012…", "<2>a", "<3>012…", "<4>b"]);
        // Just as long as allowed.
        assert_eq!(texts("<1>012\n<2>a\n", 6), ["<1>012", "<2>a"]);
    }

    #[test]
    fn a_stream_may_end_anywhere() {
        assert_eq!(texts("9 <1>abc", 100), ["<1>abc…"]);
        assert_eq!(texts("9 ", 100), ["9 "]);
        assert_eq!(texts("<1>0123456789", 6), ["<1>012…"]);
        assert_eq!(texts("\n\r\n", 6), Vec::<String>::new());
    }

    fn packet(bytes: &str) -> Vec<String> {
        let mut messages = Vec::new();
        datagram(bytes.as_bytes(), 20, &mut |message, is_cut| {
            messages.push(String::from_utf8_lossy(message).into_owned() + if is_cut { "…" } else { "" });
        });
        messages
    }

    #[test]
    fn a_datagram_may_hold_several_messages_and_messages_several_lines() {
        assert_eq!(packet("<1>a\n\tat b\n<2>c\n"), ["<1>a\n\tat b", "<2>c"]);
        assert_eq!(packet("a\nb\n\nc"), ["a", "b", "c"]);
        assert_eq!(packet("a\n<1>b\nc"), ["a", "<1>b\nc"]);
        assert_eq!(packet("<1>a\0"), ["<1>a"]);
        assert_eq!(packet("4 <1>a\n5 <2>b\n"), ["<1>a", "<2>b"]);
        assert_eq!(packet("<1>01234567890123456789"), ["<1>01234567890123456…"]);
        assert_eq!(packet("\n\0"), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_messages(
            stream in "(<[0-9]{1,2}>[a-z \n]{0,12}[\n\0]|[0-9]{1,3} <[0-9]>[a-z\n]{0,12}|[0-9 <>\r\n]{0,6}){0,12}",
            cuts in proptest::collection::vec(0_usize..200, 0..8),
            max in 1_usize..24,
        ) {
            let bytes = stream.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([0, bytes.len()]).collect();
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(read(&pieces, max), read(&[bytes], max));
        }

        #[test]
        fn what_is_framed_reads_back(messages in proptest::collection::vec(("<[0-9]{1,2}>[a-z <>0-9]{0,20}", any::<bool>()), 0..10)) {
            let framed: String = messages
                .iter()
                .map(|(text, is_counted)| if *is_counted { format!("{} {text}", text.len()) } else { format!("{text}\n") })
                .collect();
            let expected: Vec<_> = messages.into_iter().map(|(text, _)| (text, false)).collect();
            prop_assert_eq!(read(&[framed.as_bytes()], 100), expected);
        }
    }
}
