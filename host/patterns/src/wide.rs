//! Scripts that are written without blanks between words: Chinese, Japanese, Korean.

use crate::bytes::{WIDE, class};
use crate::scan::{Sink, scan_range};

/// Longest piece of such text that is one word, in bytes: sixteen characters of three bytes.
const MAX_PIECE: usize = 48;

/// Reads a run with such characters in it: they are words up to their punctuation, and what stands between them is read as usual.
pub(crate) fn read<S: Sink>(text: &[u8], start: usize, end: usize, sink: &mut S) {
    let mut at = start;
    while at < end {
        let begun = at;
        if !is_wide(text, at, end) {
            while at < end && !is_wide(text, at, end) {
                at += 1;
            }
            if text[begun..at].iter().all(|byte| class(*byte) & WIDE == 0) {
                scan_range(text, begun, at, sink);
            } else {
                // No text at all.
                sink.hole(text, begun, at);
            }
            continue;
        }
        let is_mark = is_punctuation(&text[at..]);
        while at < end && is_wide(text, at, end) && at - begun < MAX_PIECE && is_punctuation(&text[at..]) == is_mark {
            at += 3;
            if is_mark {
                break;
            }
        }
        sink.word(text, begun, at);
    }
}

/// Returns whether a character of three bytes begins here.
fn is_wide(text: &[u8], at: usize, end: usize) -> bool {
    at + 3 <= end && class(text[at]) & WIDE != 0 && text[at + 1] & 0xc0 == 0x80 && text[at + 2] & 0xc0 == 0x80
}

/// `，` `。` `：` `（` and so on.
fn is_punctuation(text: &[u8]) -> bool {
    match text {
        [0xe3, 0x80, ..] => true,
        [0xef, 0xbc, last, ..] => matches!(last, 0x81..=0x8f | 0x9a..=0xa0),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::line;
    use crate::shape::Collect;

    fn template(line: &str) -> String {
        let mut collect = Collect::default();
        line::read(line.as_bytes(), &mut collect);
        collect.shape.render()
    }

    #[test]
    fn values_between_characters_are_found() {
        assert_eq!(template("用户12登录成功，耗时35ms"), "用户<*>登录成功，耗时<*>");
        assert_eq!(template("CPU使用率过高：93.5%"), "CPU使用率过高：<*>%");
        assert_eq!(template("café12 ouvert"), "<*> ouvert");
    }
}
