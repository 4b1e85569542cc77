//! What a function was called before a minifier renamed it: finds where the minified file declares the function that a call is in.
//!
//! A source map says which place was which, not which function a place lies in. So the declaration is looked for in the minified file,
//! backwards from the call; the map then says what stood there. What cannot be told stays untold.

/// How far back a declaration is looked for, in bytes.
const MAX_DISTANCE: usize = 512 << 10;
/// Declarations of one name that are looked at: minifiers use the same few names again and again.
const MAX_CANDIDATES: usize = 64;
/// What is looked through for all of them, in bytes.
const MAX_SCANNED: usize = 2 << 20;

/// Returns where `text` declares the function or class `name` that `at` lies in, in bytes.
#[must_use]
pub(super) fn declaration(text: &str, at: usize, name: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let at = at.min(bytes.len());
    if name.is_empty() || !name.bytes().all(is_part) {
        return None;
    }
    let from = at.saturating_sub(MAX_DISTANCE);
    let finder = memchr::memmem::FinderRev::new(name.as_bytes());
    let mut budget = MAX_SCANNED;
    let mut end = at;
    for _ in 0..MAX_CANDIDATES {
        let found = from + finder.rfind(&bytes[from..end])?;
        end = found;
        let after = found + name.len();
        let is_word = (found == 0 || !is_part(bytes[found - 1])) && bytes.get(after).is_none_or(|byte| !is_part(*byte));
        if !is_word {
            continue;
        }
        let Some(body) = body(bytes, found, after) else { continue };
        budget = budget.checked_sub(at.saturating_sub(after))?;
        if holds(bytes, body, at) {
            return Some(found);
        }
    }
    None
}

/// Where a function's or a class's body begins, and how it ends.
#[derive(Clone, Copy, Debug)]
enum Body {
    /// Parameters and a block: with the brace that closes the first one after this.
    Block(usize),
    /// An arrow's expression: with a comma, a semicolon or a bracket of what is around it.
    Expression(usize),
}

/// Returns the body of what is declared at `found..after`, if anything is.
fn body(bytes: &[u8], found: usize, after: usize) -> Option<Body> {
    let before = bytes[..found].trim_ascii_end();
    let word = last_word(before.strip_suffix(b"*").map_or(before, <[u8]>::trim_ascii_end));
    if matches!(word, b"function" | b"class") {
        return Some(Body::Block(after));
    }
    let next = skip_space(bytes, after);
    match bytes.get(next)? {
        b'=' if !matches!(bytes.get(next + 1), Some(b'=' | b'>')) => value(bytes, skip_space(bytes, next + 1)),
        b':' => value(bytes, skip_space(bytes, next + 1)),
        // A method: `pay(a){`. A call looks the same up to its end.
        b'(' => {
            let close = closing(bytes, next)?;
            let open = skip_space(bytes, close + 1);
            let is_statement = matches!(word, b"if" | b"for" | b"while" | b"switch" | b"with" | b"catch");
            (bytes.get(open) == Some(&b'{') && !is_statement).then_some(Body::Block(open))
        }
        _ => None,
    }
}

/// Returns the body of the function or class that begins at `at`, if one does.
fn value(bytes: &[u8], at: usize) -> Option<Body> {
    let rest = &bytes[at.min(bytes.len())..];
    let starts = |word: &[u8]| rest.starts_with(word) && rest.get(word.len()).is_none_or(|byte| !is_part(*byte));
    if starts(b"function") {
        return Some(Body::Block(at + 8));
    }
    if starts(b"class") {
        return Some(Body::Block(at + 5));
    }
    if starts(b"async") {
        let next = skip_space(bytes, at + 5);
        if bytes.get(next) != Some(&b'=') {
            return value(bytes, next);
        }
    }
    // An arrow: `e=>` or `(e,t)=>`.
    let parameters = match rest.first()? {
        b'(' => closing(bytes, at)? + 1,
        byte if is_part(*byte) => at + rest.iter().position(|byte| !is_part(*byte))?,
        _ => return None,
    };
    let arrow = skip_space(bytes, parameters);
    if !bytes.get(arrow..)?.starts_with(b"=>") {
        return None;
    }
    let begin = skip_space(bytes, arrow + 2);
    Some(if bytes.get(begin) == Some(&b'{') { Body::Block(begin) } else { Body::Expression(begin) })
}

/// Returns whether `at` lies in `body`.
fn holds(bytes: &[u8], body: Body, at: usize) -> bool {
    match body {
        Body::Block(begin) => {
            let (mut depth, mut is_open) = (0_usize, false);
            for (place, byte) in Code::new(bytes, begin, at) {
                match byte {
                    b'{' => {
                        depth += 1;
                        is_open = true;
                    }
                    b'}' => {
                        depth = depth.saturating_sub(1);
                        if is_open && depth == 0 && place < at {
                            return false;
                        }
                    }
                    _ => {}
                }
            }
            begin <= at
        }
        Body::Expression(begin) => {
            let mut depth = 0_usize;
            for (_, byte) in Code::new(bytes, begin, at) {
                match byte {
                    b'(' | b'[' | b'{' => depth += 1,
                    b')' | b']' | b'}' if depth == 0 => return false,
                    b')' | b']' | b'}' => depth -= 1,
                    b',' | b';' if depth == 0 => return false,
                    _ => {}
                }
            }
            begin <= at
        }
    }
}

/// Returns the bracket that closes the one at `open`.
fn closing(bytes: &[u8], open: usize) -> Option<usize> {
    // Parameters are short.
    let end = bytes.len().min(open + 4_096);
    let mut depth = 0_usize;
    for (place, byte) in Code::new(bytes, open, end) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(place);
                }
            }
            _ => {}
        }
    }
    None
}

/// The bytes of code, without texts, comments and regular expressions.
struct Code<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
    /// The last byte that was no blank: it says whether `/` divides.
    last: usize,
    /// Depths of braces at which a template goes on.
    templates: Vec<usize>,
    depth: usize,
}

impl<'a> Code<'a> {
    fn new(bytes: &'a [u8], at: usize, end: usize) -> Self {
        Self { bytes, at, end: end.min(bytes.len()), last: at, templates: Vec::new(), depth: 0 }
    }

    /// Goes to the end of a text that begins before `self.at`.
    fn skip_text(&mut self, quote: u8) {
        while self.at < self.end {
            let byte = self.bytes[self.at];
            self.at += 1;
            match byte {
                b'\\' => self.at += 1,
                b'$' if quote == b'`' && self.bytes.get(self.at) == Some(&b'{') => {
                    self.at += 1;
                    self.depth += 1;
                    self.templates.push(self.depth);
                    return;
                }
                b'\n' if quote != b'`' => return,
                _ if byte == quote => return,
                _ => {}
            }
        }
    }

    /// Goes to the end of a regular expression.
    fn skip_expression(&mut self) {
        let mut in_class = false;
        while self.at < self.end {
            let byte = self.bytes[self.at];
            self.at += 1;
            match byte {
                b'\\' => self.at += 1,
                b'[' => in_class = true,
                b']' => in_class = false,
                b'\n' => return,
                b'/' if !in_class => return,
                _ => {}
            }
        }
    }

    /// Whether a `/` here begins a regular expression.
    fn begins_expression(&self) -> bool {
        let before = &self.bytes[..=self.last.min(self.bytes.len() - 1)];
        match before.last() {
            Some(b')' | b']' | b'}' | b'"' | b'\'' | b'`') => false,
            Some(byte) if is_part(*byte) => {
                matches!(
                    last_word(before),
                    b"return" | b"typeof" | b"case" | b"in" | b"of" | b"delete" | b"void" | b"throw" | b"new" | b"else" | b"do"
                )
            }
            _ => true,
        }
    }
}

impl Iterator for Code<'_> {
    type Item = (usize, u8);

    fn next(&mut self) -> Option<(usize, u8)> {
        while self.at < self.end {
            let place = self.at;
            let byte = self.bytes[place];
            self.at += 1;
            match byte {
                b'"' | b'\'' | b'`' => self.skip_text(byte),
                b'/' => match self.bytes.get(self.at) {
                    Some(b'/') => {
                        let rest = &self.bytes[self.at..self.end.max(self.at)];
                        self.at += memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                        continue;
                    }
                    Some(b'*') => {
                        let rest = &self.bytes[self.at..self.end.max(self.at)];
                        self.at += memchr::memmem::find(rest, b"*/").map_or(rest.len(), |end| end + 2);
                        continue;
                    }
                    _ if self.begins_expression() => self.skip_expression(),
                    _ => {}
                },
                b'}' if self.templates.last() == Some(&self.depth) && self.depth > 0 => {
                    // A template goes on: neither brace of `${…}` is one of a block.
                    self.templates.pop();
                    self.depth -= 1;
                    self.skip_text(b'`');
                }
                b'{' => {
                    self.depth += 1;
                    self.last = place;
                    return Some((place, byte));
                }
                b'}' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.last = place;
                    return Some((place, byte));
                }
                _ if byte.is_ascii_whitespace() => continue,
                _ => {
                    self.last = place;
                    return Some((place, byte));
                }
            }
            self.last = (self.at - 1).min(self.bytes.len().saturating_sub(1));
        }
        None
    }
}

/// Returns the identifier at the beginning of `text`, past the words that stand before a name.
#[must_use]
pub(super) fn identifier(text: &str) -> Option<&str> {
    const BEFORE: [&str; 18] = [
        "export",
        "default",
        "async",
        "function",
        "function*",
        "class",
        "const",
        "let",
        "var",
        "static",
        "public",
        "private",
        "protected",
        "readonly",
        "override",
        "get",
        "set",
        "declare",
    ];
    let mut text = text.trim_start();
    for _ in 0..6 {
        text = text.trim_start_matches(['*', '#']).trim_start();
        let end = text.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '$'))).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        if word.is_empty() || word.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        if !BEFORE.contains(&word) || rest.trim_start().starts_with(['(', '=', ':']) {
            return Some(word).filter(|word| !matches!(*word, "function" | "class" | "new" | "return" | "this"));
        }
        text = rest.trim_start();
    }
    None
}

/// Whether a byte can be part of a name; all of UTF-8 beyond ASCII can.
const fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 128..)
}

fn last_word(bytes: &[u8]) -> &[u8] {
    let begin = bytes.iter().rposition(|byte| !is_part(*byte)).map_or(0, |at| at + 1);
    &bytes[begin..]
}

fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Finds the declaration of `name` around the `@` in `text`, and shows what stands there.
    fn found<'a>(text: &'a str, name: &str) -> &'a str {
        let at = text.find('@').unwrap();
        declaration(text, at, name).map_or("", |found| &text[found..(found + 6).min(text.len())])
    }

    #[test]
    fn a_declaration_is_found_however_it_is_written() {
        for (text, name, expected) in [
            ("function p(e){throw @}", "p", "p(e){t"),
            ("function*p(e){throw @}", "p", "p(e){t"),
            ("var p=function(e){@}", "p", "p=func"),
            ("var c=r=>new e(@)", "c", "c=r=>n"),
            ("var c=(r,t)=>{@}", "c", "c=(r,t"),
            ("var c=async r=>{@}", "c", "c=asyn"),
            ("var e=class{pay(){@}}", "e", "e=clas"),
            ("var e=class{pay(){@}}", "pay", "pay(){"),
            ("x={a:function(){@}}", "a", "a:func"),
            // The one of the same name before it has ended.
            ("function p(){a()}function q(){@}function p(){}", "p", ""),
            ("function p(){var p=e=>e+1;@}", "p", "p(){va"),
            ("var c=r=>r+1,d=t=>@", "c", ""),
            // Brackets in texts, comments and expressions are none.
            ("function p(){var a=\"}\",b=/[/}]/,c=`}${{x:1}.x}`;/*}*/@}", "p", "p(){va"),
            ("function p(e){return e/2}//}\n@", "p", ""),
            ("if(p(1)){@}", "p", ""),
        ] {
            assert_eq!(found(text, name), expected, "{text} {name}");
        }
        assert_eq!(declaration("", 5, "p"), None);
        assert_eq!(declaration("function p(){}", 100, ""), None);
    }

    #[test]
    fn a_name_is_read_where_it_was_written() {
        for (text, expected) in [
            ("export function total(price) {", Some("total")),
            ("total(price)", Some("total")),
            ("export const checkout = (", Some("checkout")),
            ("async function* walk(", Some("walk")),
            ("private readonly lines", Some("lines")),
            ("get(key) {", Some("get")),
            ("(x) => 1", None),
            ("function (x) {", None),
            ("9", None),
        ] {
            assert_eq!(identifier(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_looked_through(text in "[-a-c(){}\\[\\]=>,;:`$\"'/\\\\ \né]{0,80}", at in 0_usize..90) {
            if let Some(found) = declaration(&text, at, "a") {
                prop_assert!(text[found..].starts_with('a') && found <= at);
            }
            let _ = identifier(&text);
        }
    }
}
