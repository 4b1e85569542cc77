//! Splits a text into what stays the same from record to record and what varies: numbers, ids, addresses.
//!
//! This is no mining of patterns: it looks at one text only, in one pass, and it need not be right, only useful. Whatever it takes
//! for a variable, text and variables together are the text again, byte for byte.

/// Stands in a template where a variable was. A text that contains it is not split.
pub(super) const HOLE: u8 = 0x11;
/// A longer text is not split.
const MAX_TEXT_BYTES: usize = 16 << 10;
/// A word of so many hexadecimal digits is an id, even if all of them happen to be letters, or none.
const ID_DIGITS: usize = 8;
/// Lengths of the words of a UUID, between which there are hyphens.
const UUID: [usize; 5] = [8, 4, 4, 4, 12];

/// Splits `text`: appends the template to `template` and where each variable lies to `variables`. Returns whether it is split; if it
/// is not, both are as they were.
pub(super) fn split(text: &[u8], template: &mut Vec<u8>, variables: &mut Vec<(u32, u32)>) -> bool {
    if text.len() > MAX_TEXT_BYTES || memchr::memchr(HOLE, text).is_some() {
        return false;
    }
    let mut done = 0;
    let mut at = 0;
    let mut hole = |start: usize, end: usize, template: &mut Vec<u8>| {
        template.extend_from_slice(&text[done..start]);
        template.push(HOLE);
        variables.push((start as u32, end as u32));
        done = end;
    };
    while at < text.len() {
        if CLASS[text[at] as usize] == OTHER {
            at += 1;
            continue;
        }
        let start = at;
        let mut seen = 0;
        // Where the kind of character changes within the word.
        let mut changes = 0;
        while at < text.len() && CLASS[text[at] as usize] != OTHER {
            let class = CLASS[text[at] as usize];
            changes += u32::from(at > start && (class == DIGIT) != (CLASS[text[at - 1] as usize] == DIGIT));
            seen |= class;
            at += 1;
        }
        if at - start == UUID[0] && seen & LETTER == 0 && is_uuid(&text[start..]) {
            at = start;
            for length in UUID {
                hole(at, at + length, template);
                at += length + 1;
            }
            at -= 1;
        } else if seen == DIGIT
            && at - start <= 3
            && (start == 0 || text[start - 1] != b'.')
            && text.get(at) == Some(&b'.')
            && let Some(length) = address(&text[start..])
        {
            // One variable, not four: the same addresses come again.
            at = start + length;
            hole(start, at, template);
        } else if seen == DIGIT || (seen & LETTER == 0 && at - start >= ID_DIGITS) {
            hole(start, at, template);
        } else if seen & DIGIT == 0 {
            // A word: it stays.
        } else if changes <= 2 {
            // As in `150ms`, `v2`, `24T05`: the letters stay.
            let mut from = start;
            while from < at {
                let digits = CLASS[text[from] as usize] == DIGIT;
                let length = text[from..at].iter().take_while(|byte| (CLASS[**byte as usize] == DIGIT) == digits).count();
                if digits {
                    hole(from, from + length, template);
                }
                from += length;
            }
        } else {
            hole(start, at, template);
        }
    }
    template.extend_from_slice(&text[done..]);
    true
}

/// Returns the length of the IPv4 address that `text` begins with.
fn address(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    for part in 0..4 {
        if part > 0 {
            at += usize::from(*text.get(at)? == b'.');
        }
        let digits = text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=3).contains(&digits) || (part > 0 && text[at - 1] != b'.') {
            return None;
        }
        at += digits;
    }
    // Neither the beginning of a longer word nor of a longer number with dots.
    let ends = |at: usize| text.get(at).is_none_or(|byte| CLASS[*byte as usize] == OTHER);
    let goes_on = text.get(at) == Some(&b'.') && text.get(at + 1).is_some_and(u8::is_ascii_digit);
    (ends(at) && !goes_on).then_some(at)
}

fn is_uuid(text: &[u8]) -> bool {
    let Some((text, rest)) = text.split_at_checked(36) else { return false };
    // What goes on is no UUID: no run of letters is ever cut, which probes of blocks rely on.
    rest.first().is_none_or(|byte| CLASS[*byte as usize] == OTHER)
        && text.iter().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

const OTHER: u8 = 0;
const DIGIT: u8 = 1;
const HEX_LETTER: u8 = 2;
const LETTER: u8 = 4;

const CLASS: [u8; 256] = {
    let mut class = [OTHER; 256];
    let mut byte = 0;
    while byte < 256 {
        class[byte] = match byte as u8 {
            b'0'..=b'9' => DIGIT,
            b'a'..=b'f' | b'A'..=b'F' => HEX_LETTER,
            b'g'..=b'z' | b'G'..=b'Z' => LETTER,
            _ => OTHER,
        };
        byte += 1;
    }
    class
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        let (mut template, mut variables) = (Vec::new(), Vec::new());
        assert!(split(text.as_bytes(), &mut template, &mut variables));
        let mut parts = template.split(|byte| *byte == HOLE);
        let mut whole = parts.next().unwrap().to_vec();
        for (start, end) in &variables {
            whole.extend_from_slice(&text.as_bytes()[*start as usize..*end as usize]);
            whole.extend_from_slice(parts.next().unwrap());
        }
        assert_eq!((whole.as_slice(), parts.next()), (text.as_bytes(), None));
        String::from_utf8_lossy(&template).replace(char::from(HOLE), "*")
    }

    #[test]
    fn numbers_and_ids_vary_and_words_stay() {
        assert_eq!(shown("took 12.5 ms, code 200"), "took *.* ms, code *");
        assert_eq!(shown("took 150ms in v2 at 24T05"), "took *ms in v* at *T*");
        assert_eq!(shown("id deadbeef of 0a1b2c3d4e5f, x7Gh2kQ9"), "id * of *, *");
        assert_eq!(shown("8d9f1e2a-1111-4abc-abcd-0123456789ab."), "*-*-*-*-*.");
        assert_eq!(shown("from 10.0.0.1:80 or 1.2.3.4.5, 1.2.3.x"), "from *:* or *.*.*.*.*, *.*.*.x");
        assert_eq!(shown("a decade of beef"), "a decade of beef");
        assert_eq!(shown(""), "");
        assert!(!split(&[HOLE], &mut Vec::new(), &mut Vec::new()));
    }

    proptest! {
        #[test]
        fn template_and_variables_are_the_text(text in "([a-h0-9A-F .é-]{0,60}|[0-9.]{0,30})") {
            shown(&text);
        }

        #[test]
        fn no_run_of_letters_is_cut(text in "([a-h0-9A-FxY ._é-]{0,40}|[0-9a-f]{8}-1111-2222-3333-[0-9a-f]{12}[a-z0-9]{0,4})") {
            let (mut template, mut variables) = (Vec::new(), Vec::new());
            prop_assert!(split(text.as_bytes(), &mut template, &mut variables));
            let is_letter = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_alphabetic);
            for cut in variables.iter().flat_map(|(start, end)| [*start as usize, *end as usize]) {
                prop_assert!(cut == 0 || !(is_letter(cut - 1) && is_letter(cut)), "{} at {}", text, cut);
            }
        }
    }
}
