//! One pass over much text that finds where a rule should look closer.
//!
//! The literals are searched for by SIMD (Teddy), which takes 64 of them at most and is fast as long as few are met: so each is as rare
//! a part of what it stands for as can be.

use aho_corasick::packed::{Config, MatchKind, Searcher};
use aho_corasick::{AhoCorasick, AhoCorasickKind, Input, Span};
use watchfire_types::log::TextColumn;

use crate::digits;
use crate::settings::Rule;

/// What a rule should look for at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// A key such as `password`, of which this is a part.
    Key,
    /// `Bearer` or `Basic`.
    Scheme,
    /// `://`.
    Url,
    /// `-----BEGIN`.
    Pem,
    /// The beginning of a key that is told by its form.
    Prefix,
    /// The beginning of a JSON Web Token.
    Jwt,
    /// A folder that holds those of users.
    Path,
    /// A run of digits, or two runs with something between them.
    Digits,
    /// `ddd?dd?dddd`.
    Ssn,
    /// An at sign.
    At,
    /// A digit, something, and a digit.
    Dotted,
    /// A colon or a hyphen.
    Separator,
}

/// Literals of one kind, and the rule that needs them.
type Literals = (Look, Rule, &'static [&'static str]);

/// In the order in which they are tried where several begin at one place.
const LITERALS: [Literals; 7] = [
    (
        Look::Key,
        Rule::Secret,
        &[
            "pass",
            "Pass",
            "PASS",
            "pwd",
            "Pwd",
            "PWD",
            "secret",
            "Secret",
            "SECRET",
            "token",
            "Token",
            "TOKEN",
            "_key",
            "-key",
            "-Key",
            "_KEY",
            "Key",
            "ikey",
            "IKEY",
            "credential",
            "CREDENTIAL",
            "ookie",
            "sessid",
            "SESSID",
            "sessionid",
            "SESSIONID",
            "session_id",
            "cvv",
            "CVV",
        ],
    ),
    (Look::Key, Rule::Authorization, &["uthorization", "UTHORIZATION"]),
    (Look::Scheme, Rule::Authorization, &["earer ", "asic ", "EARER "]),
    (Look::Url, Rule::UrlPassword, &["://"]),
    (Look::Pem, Rule::PrivateKey, &["-----BEGIN "]),
    (
        Look::Prefix,
        Rule::CloudKey,
        &[
            "AKIA",
            "ASIA",
            "AIza",
            "ya29.",
            "ghp_",
            "gho_",
            "ghu_",
            "ghs_",
            "ghr_",
            "github_pat_",
            "glpat-",
            "xox",
            "xapp-",
            "k_live_",
            "k_test_",
            "whsec_",
            "sk-",
            "npm_",
            "pypi-",
            "SG.",
            "hf_",
            "LTAI",
            "AKID",
            "GOCSPX-",
            "sig=",
            "dckr_pat_",
        ],
    ),
    (Look::Jwt, Rule::Jwt, &["eyJ"]),
];

/// Apart, because with them there would be more than 64; they are rarely looked for.
const PATHS: [&str; 3] = ["/home/", "/Users/", "\\Users\\"];

/// A place and what to look for there.
pub(crate) type Candidate = (u32, Look);

/// Finds candidates.
pub(crate) struct Scanner {
    literals: Vec<Look>,
    search: Option<Search>,
    paths: Option<AhoCorasick>,
    digits: digits::Wanted,
    at: bool,
    separators: bool,
}

enum Search {
    Packed(Searcher),
    /// Where there is no SIMD of the kind that is needed.
    Plain(AhoCorasick),
}

impl Scanner {
    /// Returns one that looks for what `is_on`.
    pub(crate) fn new(is_on: &dyn Fn(Rule) -> bool) -> Self {
        let mut literals = Vec::new();
        let mut texts = Vec::new();
        for (look, _, group) in LITERALS.iter().filter(|(_, rule, _)| is_on(*rule)) {
            for text in *group {
                literals.push(*look);
                texts.push(*text);
            }
        }
        let paths = is_on(Rule::UserPath).then(|| plain(&PATHS));
        let any = |rules: &[Rule]| rules.iter().any(|rule| is_on(*rule));
        let digits = digits::Wanted {
            runs: any(&[Rule::Card, Rule::Iban, Rule::CnId, Rule::CnMobile, Rule::Imei]),
            ssn: is_on(Rule::Ssn),
            dotted: is_on(Rule::Ip),
        };
        let search = (!texts.is_empty()).then(|| {
            let packed = Config::new().match_kind(MatchKind::LeftmostFirst).builder().extend(&texts).build();
            packed.map_or_else(|| Search::Plain(plain(&texts)), Search::Packed)
        });
        let separators = any(&[Rule::Ip, Rule::Mac, Rule::Uuid]);
        Self { literals, search, paths, digits, at: is_on(Rule::Email), separators }
    }

    /// Puts every candidate of `column` into `found`, in order.
    pub(crate) fn scan(&self, column: &TextColumn, found: &mut Vec<Candidate>) {
        found.clear();
        let text = &column.bytes;
        if let Some(search) = &self.search {
            self.literals(search, column, found);
        }
        let literals = found.len();
        digits::scan(text, self.digits, found);
        if self.digits.runs {
            // A run that begins in the row before hides the one that begins with the row.
            let is_digit = |position: usize| text.get(position).is_some_and(u8::is_ascii_digit);
            let hidden = column
                .offsets
                .iter()
                .filter(|offset| **offset > 0 && is_digit(**offset as usize - 1) && is_digit(**offset as usize));
            found.extend(hidden.map(|offset| (*offset, Look::Digits)));
        }
        if let Some(paths) = &self.paths {
            found.extend(paths.find_iter(text).map(|hit| (hit.start() as u32, Look::Path)));
        }
        if self.at {
            found.extend(memchr::memchr_iter(b'@', text).map(|position| (position as u32, Look::At)));
        }
        if self.separators {
            found.extend(memchr::memchr2_iter(b':', b'-', text).map(|position| (position as u32, Look::Separator)));
        }
        if found.len() > literals {
            // Stable: what is looked for by a literal goes before what is looked for by its form.
            found.sort_by_key(|(position, _)| *position);
        }
    }

    fn literals(&self, search: &Search, column: &TextColumn, found: &mut Vec<Candidate>) {
        let text = &column.bytes[..];
        let (mut from, mut row_ends) = (0, column.offsets.iter().map(|offset| *offset as usize).skip(1));
        let mut row_end = row_ends.next().unwrap_or(0);
        while let Some((start, end, literal)) = search.next(text, from) {
            while row_end <= start {
                let Some(next) = row_ends.next() else { return };
                row_end = next;
            }
            if end > row_end {
                // It begins in one row and ends in the next, where it may hide what begins there.
                from = row_end;
                continue;
            }
            found.push((start as u32, self.literals[literal]));
            from = end;
        }
    }
}

impl Search {
    fn next(&self, text: &[u8], from: usize) -> Option<(usize, usize, usize)> {
        let hit = match self {
            Self::Packed(search) => search.find_in(text, Span { start: from, end: text.len() }),
            Self::Plain(search) => search.find(Input::new(text).span(from..text.len())),
        }?;
        Some((hit.start(), hit.end(), hit.pattern().as_usize()))
    }
}

fn plain(texts: &[&str]) -> AhoCorasick {
    let builder =
        AhoCorasick::builder().match_kind(aho_corasick::MatchKind::LeftmostFirst).kind(Some(AhoCorasickKind::DFA)).build(texts);
    builder.expect("a few short literals make a small automaton")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_literals_are_few_enough_for_simd() {
        assert!(LITERALS.iter().map(|(.., texts)| texts.len()).sum::<usize>() <= 64);
        #[cfg(target_arch = "x86_64")]
        assert!(matches!(Scanner::new(&|_| true).search, Some(Search::Packed(_))));
    }

    fn column(rows: &[&str]) -> TextColumn {
        let mut column = TextColumn::default();
        for row in rows {
            column.push(row.as_bytes());
        }
        column
    }

    #[test]
    fn a_row_hides_nothing_of_the_next() {
        let mut found = Vec::new();
        Scanner::new(&|rule| rule == Rule::Secret || rule == Rule::Card)
            .scan(&column(&["com pas", "secret=x", "12", "4111111111111111"]), &mut found);
        assert_eq!(found, [(7, Look::Key), (15, Look::Digits), (17, Look::Digits)]);
    }

    #[test]
    fn candidates_come_in_order() {
        let mut found = Vec::new();
        Scanner::new(&|_| true).scan(&column(&["4111111111111111 a@b password=x /home/y"]), &mut found);
        assert!(found.is_sorted_by_key(|(position, _)| *position));
        let looks: Vec<_> = found.iter().map(|(_, look)| *look).collect();
        assert_eq!(looks, [Look::Digits, Look::At, Look::Key, Look::Path]);
    }
}
