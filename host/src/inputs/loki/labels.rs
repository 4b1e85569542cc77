//! The labels of a stream as text: `{app="shop", path="/var/log/\"x\".log"}`.

use std::borrow::Cow;

/// Reads labels.
///
/// # Errors
/// What is wrong, and where.
pub fn parse(text: &str) -> Result<Vec<(&str, Cow<'_, str>)>, String> {
    let wrong = |rest: &str, expected: &str| format!("labels {text}: expected {expected} at byte {}", text.len() - rest.len());
    let mut rest = text.trim_start().strip_prefix('{').ok_or_else(|| wrong(text, "`{`"))?.trim_start();
    let mut labels = Vec::new();
    while !rest.starts_with('}') {
        let end = rest.find(['=', ' ', '\t', '}', ',', '"']).unwrap_or(rest.len());
        let name = &rest[..end];
        if name.is_empty() {
            return Err(wrong(rest, "the name of a label"));
        }
        let after = rest[end..].trim_start();
        let quoted = after.strip_prefix('=').ok_or_else(|| wrong(after, "`=`"))?.trim_start();
        let (value, after) = string(quoted).ok_or_else(|| wrong(quoted, "a quoted value"))?;
        labels.push((name, value));
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(more) => more.trim_start(),
            None if after.starts_with('}') => after,
            None => return Err(wrong(after, "`,` or `}`")),
        };
    }
    if rest[1..].trim().is_empty() { Ok(labels) } else { Err(wrong(&rest[1..], "the end")) }
}

/// Reads a string literal of Go; returns it and what follows.
fn string(text: &str) -> Option<(Cow<'_, str>, &str)> {
    if let Some(raw) = text.strip_prefix('`') {
        return raw.split_once('`').map(|(value, rest)| (value.into(), rest));
    }
    let body = text.strip_prefix('"')?;
    let end = body.find(['"', '\\'])?;
    if body.as_bytes()[end] == b'"' {
        return Some((body[..end].into(), &body[end + 1..]));
    }
    let mut bytes = body.as_bytes()[..end].to_vec();
    let mut rest = &body[end..];
    loop {
        let at = rest.find(['"', '\\'])?;
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        if rest.as_bytes()[at] == b'"' {
            // `\xff` can say what is no text; a label's value is none then.
            return Some((String::from_utf8(bytes).ok()?.into(), &rest[at + 1..]));
        }
        let escape = *rest.as_bytes().get(at + 1)?;
        let after = at + 2;
        let (skipped, char) = match escape {
            b'a' => (0, '\x07'),
            b'b' => (0, '\x08'),
            b'f' => (0, '\x0c'),
            b'n' => (0, '\n'),
            b'r' => (0, '\r'),
            b't' => (0, '\t'),
            b'v' => (0, '\x0b'),
            b'\\' | b'"' | b'\'' => (0, char::from(escape)),
            b'u' => (4, char::from_u32(digits(rest, after, 4, 16)?)?),
            b'U' => (8, char::from_u32(digits(rest, after, 8, 16)?)?),
            b'x' => {
                bytes.push(u8::try_from(digits(rest, after, 2, 16)?).ok()?);
                rest = &rest[after + 2..];
                continue;
            }
            b'0'..=b'7' => {
                bytes.push(u8::try_from(digits(rest, after - 1, 3, 8)?).ok()?);
                rest = &rest[after + 2..];
                continue;
            }
            _ => return None,
        };
        bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
        rest = &rest[after + skipped..];
    }
}

fn digits(text: &str, from: usize, count: usize, radix: u32) -> Option<u32> {
    let digits = text.get(from..from + count)?;
    if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) { u32::from_str_radix(digits, radix).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn labels_are_read_with_every_escape() {
        let labels = parse(r#" { app="shop" ,path = "C:\\x\n\u00e9\x41\101",raw=`a"b\`, e="", } "#).unwrap();
        let expected = [("app", "shop"), ("path", "C:\\x\n\u{e9}AA"), ("raw", "a\"b\\"), ("e", "")];
        assert_eq!(labels.iter().map(|(name, value)| (*name, &**value)).collect::<Vec<_>>(), expected);
        assert_eq!(parse("{}").unwrap(), []);
    }

    #[test]
    fn what_is_wrong_is_shown_where_it_is() {
        for (text, expected) in [
            ("app=1", "expected `{` at byte 0"),
            ("{app}", "expected `=` at byte 4"),
            ("{=\"\"}", "expected the name of a label at byte 1"),
            ("{app=shop}", "expected a quoted value at byte 5"),
            ("{app=\"a\\xff\"}", "expected a quoted value at byte 5"),
            ("{app=\"a\" b=\"c\"}", "expected `,` or `}` at byte 9"),
            ("{app=\"a\"", "expected `,` or `}` at byte 8"),
            ("{} x", "expected the end at byte 2"),
        ] {
            assert!(parse(text).unwrap_err().ends_with(expected), "{text}: {}", parse(text).unwrap_err());
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text: String, like in "[{}a=\",\\\\xu0-9` ]{0,40}") {
            let _ = (parse(&text), parse(&like));
        }

        #[test]
        fn what_go_would_quote_reads_back(value: String) {
            // Rust's Debug escapes differ from Go's only where neither is needed; JSON's are a part of Go's.
            let quoted = serde_json::to_string(&value).unwrap();
            let text = format!("{{label={quoted}}}");
            let labels = parse(&text).unwrap();
            prop_assert_eq!((labels[0].0, &*labels[0].1), ("label", value.as_str()));
        }
    }
}
