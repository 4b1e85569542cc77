//! The second stage: which patterns are one, though words differ.
//!
//! Patterns that agree in all but one place (a word, a run of words, the end, or two words) are looked at together. If what stands
//! there are many different things, or names rather than words of messages, the place holds a variable. Few different words of the
//! language stay apart: `paused` and `started` are two messages. Only patterns are counted, never lines, so how often one is written
//! decides nothing.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::bytes::{SEED, then};
use crate::shape::{HOLE_CODE, Kind, Shape, is_telling, mark_code};
use crate::{texts, vocabulary};

/// Elements of a pattern that are varied.
const MAX_VARIED: usize = 64;
/// Words of a pattern that are varied in pairs.
const MAX_PAIRED: usize = 16;

/// What is known of one element.
#[derive(Clone, Copy)]
struct Element {
    code: u64,
    /// How much a different value here says that there is a variable; 0 for marks.
    weight: u8,
    /// Whether it is a word that tells what happened.
    telling: bool,
    /// Whether it begins a run.
    space: bool,
}

/// A pattern as this stage sees it.
struct View {
    elements: Vec<Element>,
    /// Hashes of the first i elements, and of those from i on.
    before: Vec<u64>,
    after: Vec<u64>,
    /// Telling words among the first i elements.
    telling: Vec<u16>,
}

/// Weights are in twelfths of a name.
const NAME: u8 = 12;
const WORD: u8 = 3;
const ABSENT: u8 = 8;

impl View {
    fn new(shape: &Shape) -> Self {
        let elements: Vec<_> = shape
            .tokens()
            .iter()
            .zip(shape.codes())
            .map(|(token, code)| {
                let text = shape.text(*token);
                Element { code, weight: weight(token.kind, text), telling: is_telling(token.kind, text), space: token.space }
            })
            .collect();
        let mut before = vec![SEED];
        let mut telling = vec![0];
        for element in &elements {
            before.push(then(before[before.len() - 1], element.code));
            telling.push(telling[telling.len() - 1] + u16::from(element.telling));
        }
        let mut after = vec![SEED; elements.len() + 1];
        for index in (0..elements.len()).rev() {
            after[index] = then(after[index + 1], elements[index].code);
        }
        Self { elements, before, after, telling }
    }

    /// Calls `each` with the key of what stands around every place that is varied.
    fn places(&self, mut each: impl FnMut(u64, Place)) {
        let count = self.elements.len().min(MAX_VARIED);
        let words = self.telling[self.elements.len()];
        let mut one = |start: usize, end: usize| {
            let around = words - (self.telling[end] - self.telling[start]);
            if around > 0 {
                each(then(then(1, self.before[start]), self.after[end]), Place { start, end, second: 0 });
            }
        };
        // Single elements.
        for index in 0..count {
            if self.elements[index].weight > 0 {
                one(index, index + 1);
            }
        }
        // Up to five runs, and everything up to the end.
        let starts: Vec<_> = (0..count).filter(|index| *index == 0 || self.elements[*index].space).collect();
        for (index, &start) in starts.iter().enumerate() {
            for &end in starts.iter().skip(index + 1).take(5) {
                if end - start > 1 {
                    one(start, end);
                }
            }
            if self.elements.len() - start > 1 {
                one(start, self.elements.len());
            }
        }
        // Two single elements.
        let singles: Vec<_> = (0..count).filter(|index| self.elements[*index].weight > 0).take(MAX_PAIRED).collect();
        for (index, &first) in singles.iter().enumerate() {
            for &second in &singles[index + 1..] {
                let inside = self.elements[first + 1..second].iter().fold(SEED, |hash, element| then(hash, element.code));
                let around = words - u16::from(self.elements[first].telling) - u16::from(self.elements[second].telling);
                if around > 1 {
                    let key = then(then(then(2, self.before[first]), inside), self.after[second + 1]);
                    each(key, Place { start: first, end: first + 1, second });
                }
            }
        }
    }
}

/// Where a pattern is varied: `start..end`, and the single element `second` unless that is 0.
#[derive(Clone, Copy)]
struct Place {
    start: usize,
    end: usize,
    second: usize,
}

fn weight(kind: Kind, text: &[u8]) -> u8 {
    match kind {
        Kind::Mark => 0,
        // `-`, `none`.
        Kind::Word if is_absence(text) || text.is_ascii() && !text.iter().any(u8::is_ascii_alphanumeric) => ABSENT,
        Kind::Word if text.iter().any(u8::is_ascii_digit) => NAME,
        Kind::Word if vocabulary::contains(text) => WORD,
        // `SYN_SENT`, `onStart`, `QuorumPeer`: names that programs have for few things.
        Kind::Word if text.iter().all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'_' | b'-')) => WORD + 1,
        Kind::Word if text[1..].iter().any(u8::is_ascii_uppercase) && text.iter().all(u8::is_ascii_alphabetic) => WORD + 3,
        Kind::Word | Kind::Hole | Kind::Many => NAME,
    }
}

fn is_absence(text: &[u8]) -> bool {
    [
        &b"none"[..],
        b"nil",
        b"unknown",
        b"undefined",
        b"n/a",
        b"nobody",
        b"default",
        b"any",
        b"all",
        b"empty",
        b"localhost",
        b"yes",
        b"no",
        b"on",
        b"off",
    ]
    .iter()
    .any(|word| text.eq_ignore_ascii_case(word))
}

/// Returns whether several elements are words of a text, and not one name with marks in it, nor the text of an error.
fn is_text(elements: &[Element]) -> bool {
    let has_blank = elements.iter().skip(1).any(|element| element.space);
    let has_word = elements.iter().any(|element| element.weight > 0 && element.weight < ABSENT);
    elements.len() > 1 && (has_blank || has_word) && !texts::is_error(value_of(elements))
}

fn value_of(elements: &[Element]) -> u64 {
    elements.iter().fold(SEED, |hash, element| then(hash, element.code))
}

/// What has been seen in one place.
#[derive(Default)]
struct Values {
    seen: FxHashSet<u64>,
    weight: u32,
    /// Whether values have been seen there.
    has_hole: bool,
}

impl Values {
    fn add(&mut self, elements: &[Element], assigned: bool, after_colon: bool, is_key: bool) {
        let value = value_of(elements);
        if self.seen.insert(value) {
            self.has_hole |= elements.len() == 1 && elements[0].code == HOLE_CODE;
            self.weight += if assigned || texts::is_error(value) {
                u32::from(NAME)
            } else if is_key {
                // Of `key = value` the key is rarely the variable.
                u32::from(WORD)
            } else if elements.len() == 1 {
                u32::from(elements[0].weight)
            } else {
                // Several: the least telling word among them decides, and a text after a colon says more.
                let least =
                    elements.iter().filter(|element| element.weight > 0).map(|element| element.weight).min().unwrap_or(ABSENT);
                u32::from(if least >= ABSENT {
                    NAME
                } else if after_colon {
                    2 * WORD
                } else {
                    WORD
                })
            };
        }
    }
}

/// Returns the sets of patterns that are one, as indices into `shapes`.
pub(crate) fn same(shapes: &[&Shape]) -> Vec<Vec<u32>> {
    let views: Vec<_> = shapes.iter().map(|shape| View::new(shape)).collect();
    // First the keys alone, since most stand for one pattern only.
    let mut keys = Vec::new();
    for view in &views {
        view.places(|key, _| keys.push(key));
    }
    keys.sort_unstable();
    let mut shared = FxHashSet::default();
    for pair in keys.windows(2) {
        if pair[0] == pair[1] {
            shared.insert(pair[0]);
        }
    }
    drop(keys);
    let mut buckets: FxHashMap<u64, Vec<(u32, Place)>> = FxHashMap::default();
    for (index, view) in views.iter().enumerate() {
        view.places(|key, place| {
            if shared.contains(&key) {
                buckets.entry(key).or_default().push((index as u32, place));
            }
        });
    }
    // What agrees in most is decided first, and each pattern only once: what it becomes is looked at again in the next round.
    let mut buckets: Vec<_> = buckets.into_iter().map(|(key, members)| (Around::of(&views, &members), key, members)).collect();
    buckets.sort_unstable_by_key(|(around, key, _)| (std::cmp::Reverse(around.words), around.varied, *key));
    let mut taken = vec![false; shapes.len()];
    let mut groups = Vec::new();
    for (around, _, mut members) in buckets {
        members.retain(|(index, _)| !taken[*index as usize]);
        members.dedup_by_key(|(index, _)| *index);
        let mut found = members.len() > 1 && is_variable(&views, &members, around);
        if !found && around.varied == 2 {
            // Perhaps the single words among them.
            members.retain(|(index, place)| !is_text(&views[*index as usize].elements[place.start..place.end]));
            found = members.len() > 1 && is_variable(&views, &members, Around::of(&views, &members));
        }
        if found {
            for (index, _) in &members {
                taken[*index as usize] = true;
            }
            groups.push(members.into_iter().map(|(index, _)| index).collect());
        }
    }
    groups
}

/// How much agrees around a place.
#[derive(Clone, Copy)]
struct Around {
    /// Telling words outside it.
    words: u16,
    /// Most telling words of a text inside it.
    inside: u16,
    /// 0 for a single element, 1 for two of them, 2 for a run.
    varied: u8,
}

impl Around {
    fn of(views: &[View], members: &[(u32, Place)]) -> Self {
        let mut around = Self { words: u16::MAX, inside: 0, varied: 0 };
        for (index, place) in members {
            let view = &views[*index as usize];
            let mut inside = view.telling[place.end] - view.telling[place.start];
            let is_text = is_text(&view.elements[place.start..place.end]);
            if place.second > 0 {
                inside += u16::from(view.elements[place.second].telling);
            }
            around.words = around.words.min(view.telling[view.elements.len()] - inside);
            if is_text {
                around.inside = around.inside.max(inside);
            }
            around.varied = around.varied.max(if place.second > 0 {
                1
            } else if is_text {
                2
            } else {
                0
            });
        }
        around
    }
}

/// Returns whether what stands in the same place of these patterns is a variable.
fn is_variable(views: &[View], members: &[(u32, Place)], around: Around) -> bool {
    let mut first = Values::default();
    let mut second = Values::default();
    for (index, place) in members {
        let view = &views[*index as usize];
        let is_after = |at: usize, mark: u8| at > 0 && view.elements[at - 1].code == mark_code(mark);
        let is_key = view.elements.get(place.end).is_some_and(|next| next.code == mark_code(b'='));
        first.add(&view.elements[place.start..place.end], is_after(place.start, b'='), is_after(place.start, b':'), is_key);
        if place.second > 0 {
            second.add(&view.elements[place.second..=place.second], is_after(place.second, b'='), false, false);
        }
    }
    let name = u32::from(NAME);
    let needed = match around.words {
        0 => return false,
        // A text of several words needs more around it than it has itself.
        words if around.varied == 2 && (words < 3 || words < around.inside) => return false,
        1 => 4 * name,
        2 => 2 * name,
        3 => 2 * name - 3,
        4..=5 => 2 * name - 9,
        6..=9 => name,
        _ => name / 2,
    };
    // Where there are values already, less is needed.
    let needed = match around.words {
        0..=1 => needed,
        2 if first.has_hole => needed - u32::from(WORD),
        _ if first.has_hole => needed.min(name + u32::from(WORD)),
        _ => needed,
    };
    first.seen.len() > 1 && first.weight >= needed && (around.varied != 1 || second.seen.len() > 1 && second.weight >= needed)
}
