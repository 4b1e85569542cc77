//! The second stage: which patterns are one, though words differ.
//!
//! Patterns that agree in all but one place (a word, a run of words, the end, or two words) are looked at together. If what stands
//! there are many different things, or names rather than words of messages, the place holds a variable. Few different words of the
//! language stay apart: `paused` and `started` are two messages. Only patterns are counted, never lines, so how often one is written
//! decides nothing.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::bytes::{SEED, then};
use crate::shape::{Kind, Shape, is_telling};
use crate::vocabulary;

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
    /// Whether it is a mark after which values stand: `=`.
    assigns: bool,
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
                let text = shape.text(token);
                Element {
                    code,
                    weight: weight(token.kind, text),
                    telling: is_telling(token.kind, text),
                    space: token.space,
                    assigns: token.kind == Kind::Mark && text == b"=",
                }
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
        Kind::Hole | Kind::Many => NAME,
        Kind::Word if text.iter().all(|byte| !byte.is_ascii_alphabetic()) && text.is_ascii() => ABSENT,
        Kind::Word if is_absence(text) => ABSENT,
        Kind::Word if vocabulary::contains(text) => WORD,
        Kind::Word => NAME,
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

/// What has been seen in one place.
#[derive(Default)]
struct Values {
    seen: FxHashSet<u64>,
    weight: u32,
}

impl Values {
    fn add(&mut self, elements: &[Element], assigned: bool) {
        let value = elements.iter().fold(SEED, |hash, element| then(hash, element.code));
        if self.seen.insert(value) {
            self.weight += if assigned {
                u32::from(NAME)
            } else if elements.len() == 1 {
                u32::from(elements[0].weight)
            } else {
                // Several words: a text or a name with marks. Its least telling word decides.
                let names = elements.iter().filter(|element| element.weight >= ABSENT).count();
                if names * 2 >= elements.iter().filter(|element| element.weight > 0).count() {
                    u32::from(NAME)
                } else {
                    u32::from(WORD) + 1
                }
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
    let mut sets = Sets::new(shapes.len());
    for members in buckets.values() {
        if is_variable(&views, members) {
            for (index, _) in &members[1..] {
                sets.join(members[0].0, *index);
            }
        }
    }
    sets.into_groups()
}

/// Returns whether what stands in the same place of these patterns is a variable.
fn is_variable(views: &[View], members: &[(u32, Place)]) -> bool {
    let mut first = Values::default();
    let mut second = Values::default();
    let mut around = u16::MAX;
    for (index, place) in members {
        let view = &views[*index as usize];
        let words = view.telling[view.elements.len()]
            - (view.telling[place.end] - view.telling[place.start])
            - if place.second > 0 { u16::from(view.elements[place.second].telling) } else { 0 };
        around = around.min(words);
        let assigned = |at: usize| at > 0 && view.elements[at - 1].assigns;
        first.add(&view.elements[place.start..place.end], assigned(place.start));
        if place.second > 0 {
            second.add(&view.elements[place.second..=place.second], assigned(place.second));
        }
    }
    let name = u32::from(NAME);
    let needed = match around {
        0 => return false,
        1 => 4 * name,
        2 => 2 * name,
        _ => 2 * name - 3,
    };
    let is_pair = members[0].1.second > 0;
    first.seen.len() > 1 && first.weight >= needed && (!is_pair || second.seen.len() > 1 && second.weight >= needed)
}

/// Disjoint sets.
struct Sets {
    parent: Vec<u32>,
}

impl Sets {
    fn new(count: usize) -> Self {
        Self { parent: (0..count as u32).collect() }
    }

    fn find(&mut self, mut at: u32) -> u32 {
        while self.parent[at as usize] != at {
            let above = self.parent[self.parent[at as usize] as usize];
            self.parent[at as usize] = above;
            at = above;
        }
        at
    }

    fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.find(a), self.find(b));
        self.parent[a.max(b) as usize] = a.min(b);
    }

    /// Returns the sets of more than one, each in order.
    fn into_groups(mut self) -> Vec<Vec<u32>> {
        let mut groups: FxHashMap<u32, Vec<u32>> = FxHashMap::default();
        for index in 0..self.parent.len() as u32 {
            let root = self.find(index);
            groups.entry(root).or_default().push(index);
        }
        let mut groups: Vec<_> = groups.into_values().filter(|group| group.len() > 1).collect();
        groups.sort_unstable();
        groups
    }
}
