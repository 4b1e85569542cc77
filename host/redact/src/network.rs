//! Addresses of people and machines. Off by default: most faults are found by them.

use std::net::Ipv6Addr;

use crate::rules::{Found, begins, ends, run, run_before};
use crate::settings::Rule;

/// The longest local part. Source: RFC 5321, section 4.5.3.1.
const MAX_LOCAL_BYTES: usize = 64;

/// Reads an e-mail address at its at sign.
pub(crate) fn email(row: &[u8], at: usize) -> Option<Found> {
    let local = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-');
    let mut start = at - run_before(row, at, local);
    // In JSON `\n` before an address is a line break, and its letter no part of the address.
    start += usize::from(run_before(row, start, |byte| byte == b'\\') % 2 == 1);
    let before = at.checked_sub(start)?;
    let domain = run(row, at + 1, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
    // A full stop ends the sentence, not the address.
    let domain = &row[at + 1..at + 1 + domain];
    let domain = &domain[..domain.iter().rposition(u8::is_ascii_alphanumeric).map_or(0, |last| last + 1)];
    let top = domain.rsplit(|byte| *byte == b'.').next()?;
    let has_labels = domain.split(|byte| *byte == b'.').all(|label| !label.is_empty() && label.len() <= 63);
    let is_domain = has_labels && domain.len() > top.len() && top.len() >= 2 && top.iter().all(u8::is_ascii_alphabetic);
    let is_email = (1..=MAX_LOCAL_BYTES).contains(&before) && row[start..at].iter().any(u8::is_ascii_alphanumeric) && is_domain;
    is_email.then(|| Found::new(Rule::Email, start, at + 1 + domain.len()))
}

/// Reads an IPv4 address at one of its points.
pub(crate) fn ip_v4(row: &[u8], at: usize) -> Option<Found> {
    if row[at] != b'.' {
        return None;
    }
    let part = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    let start = at - run_before(row, at, part);
    let mut end = at + run(row, at, part);
    // A full stop after it.
    end -= run_before(&row[start..end], end - start, |byte| byte == b'.');
    let text = &row[start..end];
    let is_octet = |text: &[u8]| {
        (1..=3).contains(&text.len())
            && (text.len() == 1 || text[0] != b'0')
            && text.iter().fold(0, |n, digit| n * 10 + u32::from(digit - b'0')) < 256
    };
    let mut count = 0;
    let all = text.split(|byte| *byte == b'.').inspect(|_| count += 1).all(|octet| !octet.is_empty() && is_octet(octet));
    // `v1.2.3.4` and `1.2.3.4-rc1` are versions.
    let is_address = all && count == 4 && begins(row, start) && ends(row, end) && !row[end..].starts_with(b"-");
    is_address.then(|| Found::new(Rule::Ip, start, end))
}

/// Looks at what a colon or a hyphen at `at` may stand in.
pub(crate) fn separator(row: &[u8], at: usize, is_on: &dyn Fn(Rule) -> bool) -> Option<Found> {
    let on = |rule: Rule, read: fn(&[u8], usize) -> Option<Found>| if is_on(rule) { read(row, at) } else { None };
    on(Rule::Mac, mac).or_else(|| if row[at] == b':' { on(Rule::Ip, ip_v6) } else { on(Rule::Uuid, uuid) })
}

/// Reads six pairs of hexadecimal digits at their first separator.
fn mac(row: &[u8], at: usize) -> Option<Found> {
    let start = at.checked_sub(2)?;
    let text = row.get(start..start + 17)?;
    let fits = |(index, byte): (usize, &u8)| if index % 3 == 2 { *byte == row[at] } else { byte.is_ascii_hexdigit() };
    let is_part = |byte: Option<&u8>| byte.is_some_and(|byte| *byte == row[at]);
    let is_mac = text.iter().enumerate().all(fits) && begins(row, start) && ends(row, start + 17);
    // Not six of many pairs: a fingerprint.
    let is_alone = !is_part(row.get(start + 17)) && !is_part(start.checked_sub(1).and_then(|before| row.get(before)));
    (is_mac && is_alone).then(|| Found::new(Rule::Mac, start, start + 17))
}

/// Reads an IPv6 address around its colon at `at`.
fn ip_v6(row: &[u8], at: usize) -> Option<Found> {
    let part = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let start = at - run_before(row, at, part).min(45);
    let mut end = at + run(row, at, part).min(46);
    while row[start..end].ends_with(b".") || (row[start..end].ends_with(b":") && !row[start..end].ends_with(b"::")) {
        end -= 1;
    }
    if end <= at || !begins(row, start) || !ends(row, end) {
        return None;
    }
    let text = str::from_utf8(&row[start..end]).ok()?;
    let is_address = text.parse::<Ipv6Addr>().is_ok();
    // `dead::beef` is a path of some language.
    let is_likely = text.bytes().any(|byte| byte.is_ascii_digit());
    (is_address && is_likely).then(|| Found::new(Rule::Ip, start, end))
}

/// Reads 8-4-4-4-12 hexadecimal digits at their first hyphen.
fn uuid(row: &[u8], at: usize) -> Option<Found> {
    let start = at.checked_sub(8)?;
    let text = row.get(start..start + 36)?;
    let fits =
        |(index, byte): (usize, &u8)| if matches!(index, 8 | 13 | 18 | 23) { *byte == b'-' } else { byte.is_ascii_hexdigit() };
    let is_uuid = text.iter().enumerate().all(fits) && begins(row, start) && ends(row, start + 36);
    is_uuid.then(|| Found::new(Rule::Uuid, start, start + 36))
}

/// Reads the user's name after `/home/` and the like.
pub(crate) fn user_path(row: &[u8], at: usize) -> Option<Found> {
    let folder = [&b"/home/"[..], b"/Users/", b"\\Users\\"].into_iter().find(|folder| row[at..].starts_with(folder))?;
    // In JSON a backslash is written twice.
    let start = at + folder.len() + usize::from(folder.starts_with(b"\\") && row.get(at + folder.len()) == Some(&b'\\'));
    let length =
        run(row, start, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'@' | b'$') || byte >= 0x80);
    let is_shared = matches!(&row[start..start + length], b"Shared" | b"Public" | b"Default");
    (length > 0 && !is_shared).then(|| Found { keeps_place: true, ..Found::new(Rule::UserPath, start, start + length) })
}
