//! Messages of one kind whose values differ in form: lists of different lengths, `5 KB` and `3 MB`, `(1.2 KB)` or nothing.

use crate::bytes::{SEED, hash, then};
use crate::shape::{HOLE_CODE, Kind, Shape, is_telling, mark_code};
use crate::texts;

/// Returns the hash of what is left of a message when runs of values are one, units and what stands in parentheses around values
/// alone are gone, and the brackets around lists too. The text of an error is a value.
pub(crate) fn coarse(shape: &Shape) -> u64 {
    let mut out = Coarse { codes: Vec::with_capacity(shape.tokens().len()) };
    let mut words = 0;
    let tokens = shape.tokens();
    let codes = shape.codes();
    let mut error_end = 0;
    for (index, token) in tokens.iter().enumerate() {
        if index < error_end {
            continue;
        }
        if let Some(length) = texts::error_at(&codes[index..]) {
            error_end = index + length;
            out.hole();
            continue;
        }
        let text = shape.text(*token);
        match token.kind {
            // A name with a digit may be a value.
            Kind::Word if text.iter().any(u8::is_ascii_digit) => out.hole(),
            Kind::Word if is_file(text) => out.hole(),
            Kind::Word if out.ends_with_hole() && is_unit(text) => {}
            Kind::Word => {
                words += usize::from(is_telling(token.kind, text));
                out.codes.push(hash(if out.ends_with_hole() { singular(text) } else { text }));
            }
            Kind::Hole | Kind::Many => out.hole(),
            Kind::Mark => {
                let ends = tokens.get(index + 1).is_none_or(|next| next.space);
                out.mark(text[0]);
                if text[0] == b'=' && ends && !token.space {
                    // A key whose value is empty.
                    out.hole();
                }
            }
        }
    }
    // Without a word nothing but its exact form tells a message from others.
    if words == 0 {
        return codes.into_iter().fold(SEED ^ 1, then);
    }
    out.codes.into_iter().fold(SEED, then)
}

struct Coarse {
    codes: Vec<u64>,
}

impl Coarse {
    fn ends_with_hole(&self) -> bool {
        self.codes.last() == Some(&HOLE_CODE)
    }

    /// Adds a hole; what separates it from the last one goes.
    fn hole(&mut self) {
        let dash = hash(b"-");
        let is_soft = |code: u64| code == dash || b",;:/-.|+<>~".iter().any(|mark| mark_code(*mark) == code);
        let kept = self.codes.len() - self.codes.iter().rev().take_while(|code| is_soft(**code)).count();
        if kept > 0 && self.codes[kept - 1] == HOLE_CODE {
            self.codes.truncate(kept);
            return;
        }
        // `<1 sec` is a value like `2 sec`.
        if self.codes.last().is_some_and(|code| [b'<', b'>', b'~'].iter().any(|mark| mark_code(*mark) == *code)) {
            self.codes.pop();
        }
        self.codes.push(HOLE_CODE);
    }

    fn mark(&mut self, mark: u8) {
        let open = mark_code(match mark {
            b')' => b'(',
            b']' => b'[',
            b'}' => b'{',
            b'"' | b'\'' => mark,
            _ => return self.codes.push(mark_code(mark)),
        });
        let has_values = self.ends_with_hole();
        let before = self.codes.len() - usize::from(has_values);
        if before == 0 || self.codes[before - 1] != open {
            return self.codes.push(mark_code(mark));
        }
        self.codes.truncate(before - 1);
        if mark != b')' {
            self.hole();
        }
    }
}

/// Returns whether a word is the name of a file.
fn is_file(word: &[u8]) -> bool {
    const ENDS: [&[u8]; 28] = [
        b"log", b"conf", b"cfg", b"ini", b"txt", b"xml", b"json", b"yaml", b"yml", b"jar", b"so", b"py", b"java", b"c", b"cc",
        b"cpp", b"h", b"rs", b"go", b"js", b"html", b"png", b"dat", b"tmp", b"db", b"exe", b"dll", b"service",
    ];
    let Some(dot) = memchr::memrchr(b'.', word) else { return false };
    dot > 0 && ENDS.contains(&&word[dot + 1..])
}

fn singular(word: &[u8]) -> &[u8] {
    if word.len() > 3 { word.strip_suffix(b"s").unwrap_or(word) } else { word }
}

/// Returns whether a word after a number is its unit.
fn is_unit(word: &[u8]) -> bool {
    const UNITS: [&[u8]; 34] = [
        b"b", b"kb", b"mb", b"gb", b"tb", b"kib", b"mib", b"gib", b"ns", b"us", b"ms", b"msec", b"msecs", b"s", b"sec", b"secs",
        b"second", b"seconds", b"min", b"mins", b"minute", b"minutes", b"h", b"hour", b"hours", b"hr", b"hrs", b"d", b"day",
        b"days", b"am", b"pm", b"usec", b"millis",
    ];
    word.len() <= 7 && UNITS.iter().any(|unit| word.eq_ignore_ascii_case(unit))
}
