//! What two messages have in common, and whether a pattern describes a message.

use crate::shape::{Kind, Shape, Token};

/// Returns the shape that describes both: what stands in both, in order, and holes for the rest.
pub(crate) fn generalise(a: &Shape, b: &Shape) -> Shape {
    let (left, right) = (a.codes(), b.codes());
    let mut out = Shape::default();
    let (mut i, mut j) = (0, 0);
    for (at_left, at_right) in common(&left, &right, a, b) {
        gap(&mut out, a, i..at_left, b, j..at_right);
        let (token, other) = (&a.tokens()[at_left], &b.tokens()[at_right]);
        let kind = if token.kind == Kind::Many || other.kind == Kind::Many { Kind::Many } else { token.kind };
        out.push(kind, token.space, a.text(*token));
        (i, j) = (at_left + 1, at_right + 1);
    }
    gap(&mut out, a, i..left.len(), b, j..right.len());
    out.shrink();
    out
}

/// Appends holes for what differs between two common elements.
fn gap(out: &mut Shape, a: &Shape, left: std::ops::Range<usize>, b: &Shape, right: std::ops::Range<usize>) {
    if left.is_empty() && right.is_empty() {
        return;
    }
    let (a, b) = (&a.tokens()[left], &b.tokens()[right]);
    let is_many = |tokens: &[Token]| tokens.iter().any(|token| token.kind == Kind::Many);
    // Runs without a blank are one value each; as many on both sides stay apart.
    let runs = |tokens: &[Token]| usize::from(!tokens.is_empty()) + tokens.iter().skip(1).filter(|token| token.space).count();
    let space = a.first().or(b.first()).is_some_and(|token| token.space);
    let count = runs(a);
    let alike = a.first().map(|token| token.space) == b.first().map(|token| token.space);
    if count == runs(b) && alike && !is_many(a) && !is_many(b) && count <= 4 {
        out.push(Kind::Hole, space, &[]);
        for _ in 1..count {
            out.push(Kind::Hole, true, &[]);
        }
    } else {
        out.push(Kind::Many, space, &[]);
    }
}

/// Returns the pairs of the longest common subsequence; words weigh more than holes, and those more than marks.
fn common(left: &[u64], right: &[u64], a: &Shape, b: &Shape) -> Vec<(usize, usize)> {
    let begin = left.iter().zip(right).take_while(|(a, b)| a == b).count();
    let most = left.len().min(right.len()) - begin;
    let tail = left.iter().rev().zip(right.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
    let (rows, columns) = (left.len() - begin - tail, right.len() - begin - tail);
    let mut pairs: Vec<_> = (0..begin).map(|index| (index, index)).collect();
    let width = columns + 1;
    let mut best = vec![0_u32; (rows + 1) * width];
    let weight = |i: usize, j: usize| match a.tokens()[i].kind {
        Kind::Word => 8,
        // What begins a run on both sides, or on neither.
        Kind::Hole | Kind::Many => 3,
        Kind::Mark => 1 + u32::from(a.tokens()[i].space == b.tokens()[j].space),
    };
    for i in (0..rows).rev() {
        for j in (0..columns).rev() {
            let mut value = best[(i + 1) * width + j].max(best[i * width + j + 1]);
            if left[begin + i] == right[begin + j] {
                value = value.max(best[(i + 1) * width + j + 1] + weight(begin + i, begin + j));
            }
            best[i * width + j] = value;
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < rows && j < columns {
        let here = best[i * width + j];
        if left[begin + i] == right[begin + j] && here == best[(i + 1) * width + j + 1] + weight(begin + i, begin + j) {
            pairs.push((begin + i, begin + j));
            i += 1;
            j += 1;
        } else if here == best[(i + 1) * width + j] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs.extend((0..tail).map(|index| (left.len() - tail + index, right.len() - tail + index)));
    pairs
}

/// Returns whether the pattern with these elements describes a message: holes stand for runs without a blank, or for anything.
pub(crate) fn describes(pattern: &Shape, codes: &[u64], message: &Shape, message_codes: &[u64]) -> bool {
    let tokens = message.tokens();
    let count = tokens.len();
    // Most are told by their first or last element.
    let differs = |token: Option<&Token>, code: Option<&u64>, other: Option<&u64>| {
        token.is_some_and(|token| !token.kind.is_hole()) && code != other
    };
    let (first, last) = (pattern.tokens().first(), pattern.tokens().last());
    if differs(first, codes.first(), message_codes.first()) || differs(last, codes.last(), message_codes.last()) {
        return false;
    }
    // `here[j]`: the pattern up to the element describes the first j elements of the message.
    let mut here = vec![false; count + 1];
    let mut next = vec![false; count + 1];
    here[0] = true;
    for (token, &code) in pattern.tokens().iter().zip(codes) {
        next[0] = token.kind == Kind::Many && here[0];
        let mut any = here[0];
        let mut in_run = false;
        for j in 0..count {
            next[j + 1] = match token.kind {
                Kind::Word | Kind::Mark => here[j] && message_codes[j] == code,
                Kind::Hole => {
                    in_run = (here[j] || in_run && !tokens[j].space) && tokens[j].kind != Kind::Many;
                    in_run
                }
                Kind::Many => {
                    any |= here[j + 1];
                    any
                }
            };
        }
        if !next.iter().any(|reached| *reached) {
            return false;
        }
        std::mem::swap(&mut here, &mut next);
    }
    here[count]
}

/// As [`describes`], and says which elements of the message each hole stands for.
pub(crate) fn holes(pattern: &Shape, message: &Shape) -> Option<Vec<(usize, usize)>> {
    let (codes, message_codes) = (pattern.codes(), message.codes());
    let (rows, count) = (pattern.tokens().len(), message.tokens().len());
    let tokens = message.tokens();
    let width = count + 1;
    // `reach[i * width + j]`: the pattern from element i on describes the message from element j on.
    let mut reach = vec![false; (rows + 1) * width];
    reach[rows * width + count] = true;
    // The run that begins at j ends before this element.
    let run_end = |j: usize| (j + 1..count).find(|next| tokens[*next].space).unwrap_or(count);
    for i in (0..rows).rev() {
        for j in (0..=count).rev() {
            let ahead = |k: usize| reach[(i + 1) * width + k];
            let reached = match pattern.tokens()[i].kind {
                Kind::Word | Kind::Mark => j < count && codes[i] == message_codes[j] && ahead(j + 1),
                Kind::Hole => j < count && (j + 1..=run_end(j)).any(ahead),
                Kind::Many => ahead(j) || j < count && reach[i * width + j + 1],
            };
            reach[i * width + j] = reached;
        }
    }
    if !reach[0] {
        return None;
    }
    let mut found = Vec::new();
    let mut j = 0;
    for i in 0..rows {
        let ahead = |k: &usize| reach[(i + 1) * width + *k];
        match pattern.tokens()[i].kind {
            Kind::Word | Kind::Mark => j += 1,
            kind => {
                // As little as possible, but a hole of the message whole.
                let end = if kind == Kind::Hole { (j + 1..=run_end(j)).find(ahead)? } else { (j..=count).find(ahead)? };
                found.push((j, end));
                j = end;
            }
        }
    }
    Some(found)
}
