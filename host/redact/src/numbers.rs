//! Numbers that stand for money or people. Most prove themselves by a check digit; a random number of the right length passes one time in
//! ten or a hundred, so what surrounds it counts, too: no number is taken out of a longer one.

use crate::rules::{Found, begins, ends, run, run_before};
use crate::settings::Rule;

/// Looks at the digits around `at`: ten or more in a row, or two groups of four with a byte between them.
pub(crate) fn digits(row: &[u8], at: usize, is_on: &dyn Fn(Rule) -> bool) -> Option<Found> {
    let start = at - run_before(row, at, |byte| byte.is_ascii_alphanumeric());
    let end = at + run(row, at, |byte| byte.is_ascii_alphanumeric());
    let token = &row[start..end];
    let on = |rule: Rule, start, end| is_on(rule).then(|| Found::new(rule, start, end));
    if is_whole(row, start, end) {
        let digits = token.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let found = match token.len() {
            11 if digits == 11 && is_mobile(token) => on(Rule::CnMobile, start, end),
            // With the country before it.
            13 if digits == 13 && token.starts_with(b"86") && is_mobile(&token[2..]) && row[..start].ends_with(b"+") => {
                on(Rule::CnMobile, start + 2, end)
            }
            18 if digits >= 17 && is_resident(token) => on(Rule::CnId, start, end),
            13..=19 if digits == token.len() && is_card(token) => on(Rule::Card, start, end),
            15 if digits == 15 && luhn(token) => on(Rule::Imei, start, end),
            15..=34 if is_iban(token) => on(Rule::Iban, start, end),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
    grouped_card(row, at).filter(|found| is_on(found.rule)).or_else(|| grouped_iban(row, at).filter(|found| is_on(found.rule)))
}

/// Returns whether a number at `start..end` is not part of a larger thing: a fraction, a UUID, a version.
fn is_whole(row: &[u8], start: usize, end: usize) -> bool {
    let is_joint = |byte: Option<&u8>| matches!(byte, Some(b'.' | b'-' | b'_'));
    let is_part = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let before = start.checked_sub(1).and_then(|index| row.get(index));
    let two_before = start.checked_sub(2).and_then(|index| row.get(index));
    begins(row, start)
        && ends(row, end)
        && !(is_joint(before) && is_part(two_before))
        && !(is_joint(row.get(end)) && is_part(row.get(end + 1)))
}

/// ISO/IEC 7812-1, annex B.
fn luhn(digits: &[u8]) -> bool {
    let doubled = |digit: u32| if digit > 4 { 2 * digit - 9 } else { 2 * digit };
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, byte)| {
            let digit = u32::from(byte - b'0');
            if index % 2 == 1 { doubled(digit) } else { digit }
        })
        .sum();
    sum.is_multiple_of(10) && digits.iter().any(|byte| *byte != b'0')
}

/// Returns whether `digits` are the number of a card: of a brand, as long as that brand's are, with the right check digit.
fn is_card(digits: &[u8]) -> bool {
    let first = |count: usize| digits[..count].iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    let (two, three, four) = (first(2), first(3), first(4));
    let fits = match digits.len() {
        14 => matches!(two, 36 | 38 | 39) || matches!(three, 300..=305),
        15 => matches!(two, 34 | 37),
        16 => {
            matches!(two, 40..=49 | 51..=55 | 62 | 65 | 81 | 36)
                || matches!(three, 644..=649)
                || matches!(four, 2221..=2720 | 3528..=3589 | 6011 | 5018 | 5020 | 5038 | 6304 | 6759 | 6761 | 6763)
        }
        17 | 18 => matches!(two, 62 | 65) || matches!(four, 6011 | 5018 | 5020 | 5038 | 6304 | 6759 | 6761 | 6763),
        19 => matches!(two, 40..=49 | 62 | 65) || matches!(four, 6011 | 5018 | 5020 | 5038 | 6304 | 6759 | 6761 | 6763),
        _ => false,
    };
    // All the same digit is a placeholder.
    fits && luhn(digits) && digits.iter().any(|digit| *digit != digits[0])
}

/// Reads a card as it is printed: groups of four, or of four, six and four or five, with a blank or a hyphen between them.
fn grouped_card(row: &[u8], at: usize) -> Option<Found> {
    let digit = |byte: u8| byte.is_ascii_digit();
    let start = at - run_before(row, at, digit);
    let joint = *row.get(at + run(row, at, digit)).filter(|byte| matches!(byte, b' ' | b'-'))?;
    let (mut number, mut sizes, mut end) = (Vec::with_capacity(24), Vec::new(), start);
    let mut card = None;
    while sizes.len() < 5 {
        let size = run(row, end, digit);
        number.extend_from_slice(&row[end..end + size]);
        sizes.push(size);
        end += size;
        let is_printed = matches!(&sizes[..], [4, 6, 4 | 5] | [4, 4, 4, 4] | [4, 4, 4, 4, 1..=3]);
        // The longest one: a number may follow a card.
        if is_printed && is_whole(row, start, end) && is_card(&number) {
            card = Some(Found::new(Rule::Card, start, end));
        }
        if size > 6 || row.get(end) != Some(&joint) || !row.get(end + 1).is_some_and(u8::is_ascii_digit) {
            break;
        }
        end += 1;
    }
    card
}

/// Countries and how long their account numbers are. Source: SWIFT, IBAN Registry, release 99.
const IBAN_LENGTHS: [(&[u8; 2], usize); 78] = [
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NL", 18),
    (b"NO", 15),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"SA", 24),
    (b"SC", 31),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
];

fn iban_length(text: &[u8]) -> Option<usize> {
    let country = text.first_chunk::<2>()?;
    let is_checked = text.get(2..4)?.iter().all(u8::is_ascii_digit);
    IBAN_LENGTHS.iter().find(|(known, _)| *known == country && is_checked).map(|(_, length)| *length)
}

/// ISO 13616: the country moved to the end and letters as numbers from 10 on, the rest modulo 97 is 1.
fn is_iban(text: &[u8]) -> bool {
    if iban_length(text) != Some(text.len()) {
        return false;
    }
    let mut rest = 0_u32;
    for byte in text[4..].iter().chain(&text[..4]) {
        rest = match byte {
            b'0'..=b'9' => rest * 10 + u32::from(byte - b'0'),
            b'A'..=b'Z' => rest * 100 + u32::from(byte - b'A') + 10,
            _ => return false,
        } % 97;
    }
    rest == 1
}

/// Reads an IBAN as it is printed: groups of four with blanks between them.
fn grouped_iban(row: &[u8], at: usize) -> Option<Found> {
    let letter = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    let mut start = at - run_before(row, at, letter);
    while iban_length(&row[start..]).is_none() {
        if start < 5 || row[start - 1] != b' ' || run_before(row, start - 1, letter) != 4 {
            return None;
        }
        start -= 5;
    }
    let length = iban_length(&row[start..])?;
    let mut text = Vec::with_capacity(length);
    let mut end = start;
    while text.len() < length {
        let size = run(row, end, letter).min(4);
        if size == 0 || (size < 4 && text.len() + size != length) {
            return None;
        }
        text.extend_from_slice(&row[end..end + size]);
        end += size;
        if text.len() < length {
            if row.get(end) != Some(&b' ') {
                return None;
            }
            end += 1;
        }
    }
    (begins(row, start) && ends(row, end) && is_iban(&text)).then(|| Found::new(Rule::Iban, start, end))
}

/// Reads `ddd-dd-dddd`. Source of what is never given out: SSA, "SSN Randomization".
pub(crate) fn ssn(row: &[u8], at: usize) -> Option<Found> {
    let text = row.get(at..at + 11)?;
    let is_given = !matches!(&text[..3], b"000" | b"666" | [b'9', ..]) && &text[4..6] != b"00" && &text[7..] != b"0000";
    let is_ssn = text[3] == b'-' && text[6] == b'-' && is_given && is_whole(row, at, at + 11);
    is_ssn.then(|| Found::new(Rule::Ssn, at, at + 11))
}

/// Eleven digits from 13 to 19. Source: YD/T, numbering plan of the public networks.
fn is_mobile(digits: &[u8]) -> bool {
    digits[0] == b'1' && (b'3'..=b'9').contains(&digits[1])
}

/// GB 11643-1999: region, date of birth, serial number, and a check character that may be X.
fn is_resident(text: &[u8]) -> bool {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    const CHECKS: &[u8; 11] = b"10X98765432";
    let number = |range: std::ops::Range<usize>| text[range].iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    let (region, year, month, day) = (number(0..2), number(6..10), number(10..12), number(12..14));
    if !(11..=91).contains(&region) || !(1850..=2100).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return false;
    }
    let sum: u32 = WEIGHTS.iter().zip(text).map(|(weight, byte)| weight * u32::from(byte - b'0')).sum();
    CHECKS[(sum % 11) as usize] == text[17].to_ascii_uppercase()
}
